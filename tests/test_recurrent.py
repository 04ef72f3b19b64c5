"""The recurrent encoder–decoder: a word at a time is as all at once, padding changes nothing, and it learns."""

import doctest

import numpy as np
import pytest
import torch

from autograder.material import recurrent, training
from autograder.material.corpus import BOS, EOS, Vocabulary, batches, padded, translate
from autograder.material.recurrent import Translator, falling, loss_of
from autograder.mine import stand_in

attend, shift, greedy = (stand_in(name) for name in ("attention_step", "shift_right", "greedy_translate"))
TEXTS = ("the dog sleeps", "the red hat falls", "Anna is tired", "the girl does not eat the red apples")
PAIRS = [translate(text) for text in TEXTS]
SOURCE, TARGET = (Vocabulary.of(getattr(pair, side) for pair in PAIRS) for side in ("source", "target"))


def model(attend=attend, **how):
    return Translator(SOURCE, TARGET, attend, **{"width": 12, "hidden": 8, "embedding": 6} | how)


def taught(one, pair):
    """Logits (Tt, V) and weights (Tt, Ts) of one pair, by teacher forcing."""
    target = padded([[*TARGET.encode(pair.target), EOS]])
    logits, weights = one.logits(padded([SOURCE.encode(pair.source)]), shift(target, BOS))
    return logits[0], weights[0]


@pytest.mark.parametrize("attend", [attend, None], ids=["attention", "fixed"])
def test_one_word_at_a_time_is_the_same_as_all_at_once(attend):
    one = model(attend)
    for pair in PAIRS:
        logits, _ = taught(one, pair)
        state = one.begin(pair.source)
        for t, token in enumerate([BOS, *TARGET.encode(pair.target)]):
            found, state = one.step(token, state)
            assert torch.allclose(found, logits[t], atol=1e-6)


@pytest.mark.parametrize("attend", [attend, None], ids=["attention", "fixed"])
def test_padding_of_other_sentences_changes_nothing(attend):
    one = model(attend)
    (batch,) = batches(PAIRS, SOURCE, TARGET, 8)
    together, _ = one.logits(batch.source, shift(batch.target, BOS))
    for pair, logits in zip(PAIRS, together, strict=True):
        alone, _ = taught(one, pair)
        assert torch.allclose(logits[: len(alone)], alone, atol=1e-6)


def test_weights_sum_to_one_over_the_words_and_a_fixed_vector_has_one():
    for pair in PAIRS:
        _, weights = taught(model(), pair)
        assert weights.shape == (len(pair.target) + 1, len(pair.source))
        assert torch.allclose(weights.sum(-1), torch.ones(()))
        _, weights = taught(model(None), pair)
        assert weights.shape == (len(pair.target) + 1, 1)


def test_both_kinds_start_from_the_same_weights_and_other_seeds_from_others():
    first, fixed, other = model().state_dict(), model(None).state_dict(), model(seed=1).state_dict()
    assert all(torch.equal(first[name], fixed[name]) for name in first)
    assert not any(torch.equal(first[name], other[name]) for name in first)


def test_only_attention_tells_the_decoder_of_single_words():
    read = []
    model(lambda *inputs: read.append(inputs[1].shape) or attend(*inputs)).begin(PAIRS[3].source)
    assert not read
    _, enc, mask = model().begin(PAIRS[3].source)
    assert enc.shape == (1, 8, 24) and mask.all()
    _, enc, _ = model(None).begin(PAIRS[3].source)
    assert enc.shape == (1, 1, 24)


@pytest.mark.parametrize("attend", [attend, None], ids=["attention", "fixed"])
def test_it_learns_a_few_sentences_by_heart(attend):
    one = model(attend)
    shifts = [shift, lambda target, bos: shift(target, bos).tolist()]  # a learner's may return lists
    for each in shifts:
        data = list(batches(PAIRS, SOURCE, TARGET, 8))
        records = training.train(one, loss_of(each), data, steps=120, lr=0.03, clip=1.0)
    assert records[-1].loss < 0.05
    with torch.no_grad():
        for pair in PAIRS:
            ids = greedy(one.step, one.begin(pair.source), BOS, EOS, 20)
            assert TARGET.decode(ids) == pair.target


def test_dropout_is_only_there_while_training():
    one = model(dropout=0.5)
    assert not torch.equal(taught(one.train(), PAIRS[0])[0], taught(one, PAIRS[0])[0])
    assert torch.equal(taught(one.eval(), PAIRS[0])[0], taught(one, PAIRS[0])[0])


def test_the_rate_rises_falls_and_stays_above_zero():
    rates = np.array([falling(0.01, 400)(step) for step in range(1, 401)])
    assert rates.argmax() + 1 == recurrent.WARM_UP
    assert rates.min() > 0 and rates[-1] < 0.01 / 20


def test_the_example_in_the_docstring_is_true():
    failed, tried = doctest.testmod(recurrent)
    assert tried > 0 and failed == 0
