"""The small encoder: laid out like the real one, the same for the same seed, and it has read its sentences."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from autograder.material import encoder, tiny_encoder
from autograder.material.tiny_encoder import SPECIAL, encoded, fill, make, same_length, start, texts, vocabulary


def names(layers):
    """The tensors of a BERT checkpoint."""
    found = {f"embeddings.{table}_embeddings.weight" for table in ("word", "position", "token_type")}
    modules = [f"attention.self.{role}" for role in ("query", "key", "value")]
    modules += ["attention.output.dense", "attention.output.LayerNorm", "intermediate.dense", "output.dense"]
    inside = [f"encoder.layer.{i}.{module}" for i in range(layers) for module in (*modules, "output.LayerNorm")]
    return found | {f"{module}.{part}" for module in ("embeddings.LayerNorm", *inside) for part in ("weight", "bias")}


def test_it_has_a_checkpoints_tensors_and_a_bias_for_its_predictions():
    tensors = start(vocabulary().size, 0)
    assert set(tensors) == names(tiny_encoder.LAYERS) | {"cls.predictions.bias"}
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float32}
    assert tensors["encoder.layer.0.intermediate.dense.weight"].shape == (tiny_encoder.INNER, tiny_encoder.WIDTH)


def test_another_seed_starts_elsewhere():
    one, again, other = (start(20, seed) for seed in (0, 0, 1))
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert not torch.equal(*(found["embeddings.word_embeddings.weight"] for found in (one, other)))


def test_its_sentences_are_different_and_the_same_for_the_same_seed():
    some = texts(300, 4)
    assert len(set(some)) == 300
    assert some == texts.__wrapped__(300, 4) != texts(300, 5)
    assert 100 < sum(text.endswith(".") for text in some) < 200


def test_it_knows_every_word_of_its_sentences_and_of_the_running_one():
    unknown = vocabulary().unk_id
    assert vocabulary().pieces[: len(SPECIAL)] == SPECIAL
    assert not any(unknown in row for row in encoded(texts(), vocabulary()))
    assert unknown not in vocabulary().encode("She dropped the pan because it was hot.").ids
    assert unknown in vocabulary().encode("the astronaut sleeps").ids


def test_batches_have_one_length_and_hold_every_sentence_once():
    rows = encoded(texts(200, 4), vocabulary())
    batches = list(same_length(rows, 8, np.random.default_rng(0)))
    assert sorted(tuple(row) for batch in batches for row in batch.tolist()) == sorted(map(tuple, rows))
    assert max(batch.numel() for batch in batches) <= 80


def test_the_corruption_asks_for_words_alone_and_keeps_the_rest():
    rng = np.random.default_rng(0)
    ids = torch.tensor([vocabulary().encode("the old dog sleeps because it is tired.").ids] * 400)
    inputs, original, at = tiny_encoder._corrupted(ids, vocabulary(), rng)
    assert torch.equal(original, ids) and torch.equal(inputs[~at], ids[~at])
    assert not at[:, [0, -1]].any()
    assert abs(at[:, 1:-1].float().mean() - tiny_encoder.CHOSEN) < 0.04
    assert abs((inputs[at] == vocabulary().mask_id).float().mean() - 0.75) < 0.08


@pytest.fixture(scope="module")
def small():
    """Trained once, in about 15 seconds."""
    before = torch.random.get_rng_state(), torch.get_num_threads()
    model = make()
    assert torch.equal(before[0], torch.random.get_rng_state()), "the caller's random state is left alone"
    assert before[1] == torch.get_num_threads()
    return model


def test_it_is_an_encoder_like_the_real_one(small):
    assert (small.layers, small.heads, small.width) == (tiny_encoder.LAYERS, tiny_encoder.HEADS, tiny_encoder.WIDTH)
    assert make() is small
    assert not any(tensor.requires_grad for tensor in small.tensors.values())
    run = encoder.run(small, "the old dog sleeps because it is tired.")
    assert run.tokens[0] == "[CLS]" and len(run.tokens) == 11
    assert run.hidden.shape == (small.layers + 1, 11, small.width)
    assert torch.allclose(run.weights.sum(-1), torch.ones(small.layers, small.heads, 11))


def test_it_beats_word_frequencies_on_sentences_it_has_not_met(small):
    rng, known = np.random.default_rng(1), set(texts())
    rows = encoded([text for text in texts(400, 9) if text not in known], small.vocabulary)
    counts = torch.bincount(
        torch.tensor([i for row in encoded(texts(), vocabulary()) for i in row]), minlength=vocabulary().size
    )
    counts[: len(SPECIAL)] = 0
    frequencies = ((counts + 1) / (counts + 1).sum()).log()
    losses, baseline = [], []
    for ids in same_length(rows, 64, rng):
        inputs, ids, at = tiny_encoder._corrupted(ids, small.vocabulary, rng)
        logits = tiny_encoder._logits(small, encoder.forward(small, inputs)[0][-1][at])
        losses += F.cross_entropy(logits, ids[at], reduction="none").tolist()
        baseline += (-frequencies[ids[at]]).tolist()
    assert np.mean(losses) < np.mean(baseline) - 1


def test_it_fills_in_blanks_from_both_sides(small):
    (one,) = fill(small, "the [MASK] is tired", top=3)
    assert one.position == 2 and len(one.words) == 3
    chances = [chance for _, chance in one.words]
    assert chances == sorted(chances, reverse=True) and 0 < sum(chances) < 1
    assert one.words != fill(small, "the [MASK] are tired", top=3)[0].words
    assert len(fill(small, "the [MASK] [MASK] sleeps")) == 2


def test_an_encoder_without_predictions_fills_in_nothing(small):
    tensors = {name: tensor for name, tensor in small.tensors.items() if name != "cls.predictions.bias"}
    headless = encoder.Encoder("another encoder", tensors, small.heads, small.eps, small.vocabulary)
    with pytest.raises(ValueError, match="another encoder has no head that predicts words"):
        fill(headless, "the [MASK] sleeps")
