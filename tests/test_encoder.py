"""The real encoder: its word pieces, its forward pass against PyTorch's own layers, and what a wrong file says."""

import doctest
import json
import math

import pytest
import torch

from autograder.material import encoder, optional, wordpiece
from autograder.material.wordpiece import WordPiece

ABSENT = optional.missing(optional.ENCODER)
real = pytest.mark.skipif(ABSENT is not None, reason=str(ABSENT))

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
PIECES = WordPiece((*SPECIAL, "the", "pan", "##s", "un", "##hot", "hot", "##er", "cafe", ".", "'", "s", "$", "5"))


def small(width=8, inner=12, layers=2, seed=0):
    """An encoder of random weights, in the layout of the checkpoint."""
    torch.manual_seed(seed)
    shapes = {
        "embeddings.word_embeddings.weight": (PIECES.size, width),
        "embeddings.position_embeddings.weight": (16, width),
        "embeddings.token_type_embeddings.weight": (2, width),
    }
    norms = ["embeddings.LayerNorm"]
    for number in range(layers):
        at = f"encoder.layer.{number}."
        for name in ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"):
            shapes |= {f"{at}{name}.weight": (width, width), f"{at}{name}.bias": (width,)}
        shapes |= {f"{at}intermediate.dense.weight": (inner, width), f"{at}intermediate.dense.bias": (inner,)}
        shapes |= {f"{at}output.dense.weight": (width, inner), f"{at}output.dense.bias": (width,)}
        norms += [f"{at}attention.output.LayerNorm", f"{at}output.LayerNorm"]
    for name in norms:
        shapes |= {f"{name}.weight": (width,), f"{name}.bias": (width,)}
    tensors = {name: torch.randn(shape) for name, shape in shapes.items()}
    return encoder.Encoder("a small one", tensors, 2, 1e-12, PIECES)


def torch_layer(model, number):
    """PyTorch's own layer with the weights of one of the model's: written by other hands, so it can disagree."""
    p, width = model.layer(number), model.width
    inner = p["intermediate.dense.bias"].shape[0]
    layer = torch.nn.TransformerEncoderLayer(
        width, model.heads, inner, dropout=0.0, activation="gelu", layer_norm_eps=model.eps, batch_first=True
    )
    attention = layer.self_attn
    state = {
        attention.in_proj_weight: torch.cat([p[f"attention.self.{role}.weight"] for role in ("query", "key", "value")]),
        attention.in_proj_bias: torch.cat([p[f"attention.self.{role}.bias"] for role in ("query", "key", "value")]),
        attention.out_proj.weight: p["attention.output.dense.weight"],
        attention.out_proj.bias: p["attention.output.dense.bias"],
        layer.linear1.weight: p["intermediate.dense.weight"],
        layer.linear1.bias: p["intermediate.dense.bias"],
        layer.linear2.weight: p["output.dense.weight"],
        layer.linear2.bias: p["output.dense.bias"],
        layer.norm1.weight: p["attention.output.LayerNorm.weight"],
        layer.norm1.bias: p["attention.output.LayerNorm.bias"],
        layer.norm2.weight: p["output.LayerNorm.weight"],
        layer.norm2.bias: p["output.LayerNorm.bias"],
    }
    with torch.no_grad():
        for parameter, values in state.items():
            parameter.copy_(values)
    return layer.eval()


def assert_layers_agree(model, ids, tolerance):
    found = encoder.run(model, ids)
    for number in range(model.layers):
        layer = torch_layer(model, number)
        before = found.hidden[number][None]
        with torch.no_grad():
            _, weights = layer.self_attn(before, before, before, average_attn_weights=False)
            after = layer(before)
        assert torch.allclose(found.hidden[number + 1], after[0], atol=tolerance)
        assert torch.allclose(found.weights[number], weights[0], atol=tolerance)


# Word pieces


def test_the_examples_in_the_docstrings_hold():
    assert doctest.testmod(wordpiece).failed == 0


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("the pans.", ("the", "pan", "##s", ".")),
        ("THE  PAN\n", ("the", "pan")),
        ("Café's $5", ("cafe", "'", "s", "$", "5")),
        ("unhotter", ("[UNK]",)),  # un ##hot, and then no ##t
        ("unhoter", ("un", "##hot", "##er")),
        ("the [MASK].", ("the", "[MASK]", ".")),
        ("x" * 101, ("[UNK]",)),
        ("", ()),
    ],
)
def test_a_text_is_cut_into_the_longest_pieces(text, tokens):
    assert PIECES.encode(text).tokens == ("[CLS]", *tokens, "[SEP]")


def test_pieces_know_their_words_and_numbers():
    found = PIECES.encode("The pans [MASK].")
    assert found.words == [None, 0, 1, 1, 2, 3, None]
    assert PIECES.tokens(found.ids) == found.tokens
    ids = (PIECES.pad_id, PIECES.unk_id, PIECES.cls_id, PIECES.sep_id, PIECES.mask_id)
    assert ids == (0, 1, 2, 3, 4)


def test_a_vocabulary_without_its_special_pieces_is_refused():
    with pytest.raises(ValueError, match=r"2 pieces: it has no \[PAD\], \[CLS\], \[SEP\], \[MASK\]"):
        WordPiece(("[UNK]", "pan"))


# The forward pass


def test_each_layer_does_what_pytorch_does_with_its_weights():
    assert_layers_agree(small(), PIECES.encode("the pans unhoter.").ids, 1e-5)


def test_padding_changes_no_real_piece():
    model, ids = small(), torch.tensor([[2, 5, 6, 3]])
    padded, mask = torch.tensor([[2, 5, 6, 3, 0, 0]]), torch.tensor([[True] * 4 + [False] * 2])
    hidden, weights = encoder.forward(model, padded, mask)
    alone, _ = encoder.forward(model, ids)
    assert torch.allclose(hidden[:, :, :4], alone, atol=1e-5)
    assert (weights[..., 4:] == 0).all()


def test_a_head_multiplied_by_zero_is_as_if_its_columns_of_the_output_matrix_were_zero():
    model, ids = small(), [2, 5, 6, 8, 3]
    without = torch.ones(2, 2)
    without[0, 1] = 0
    cut = dict(model.tensors)
    cut["encoder.layer.0.attention.output.dense.weight"] = cut["encoder.layer.0.attention.output.dense.weight"].clone()
    cut["encoder.layer.0.attention.output.dense.weight"][:, 4:] = 0  # (out, in): the second head's four columns
    found = encoder.run(model, ids, head_mask=without).hidden
    wanted = encoder.run(encoder.Encoder("cut", cut, 2, 1e-12, PIECES), ids).hidden
    assert torch.allclose(found, wanted, atol=1e-6)
    assert not torch.allclose(found[1], encoder.run(model, ids).hidden[1], atol=1e-2)


def test_sentence_vectors_have_length_one_and_do_not_depend_on_the_others():
    vectors = encoder.embed(small(), ["the pan", "hot pans.", "cafe"])
    assert torch.allclose(vectors.norm(dim=1), torch.ones(3))
    assert torch.allclose(vectors[1], encoder.embed(small(), ["hot pans."])[0])


def test_a_text_longer_than_the_positions_is_refused_with_both_numbers():
    with pytest.raises(ValueError, match="17 pieces: a small one has positions for 16"):
        encoder.run(small(), [5] * 17)


def test_running_leaves_the_number_of_threads_alone():
    before = torch.get_num_threads()
    encoder.run(small(), [2, 3])
    assert torch.get_num_threads() == before


# The files


@pytest.fixture
def folder(tmp_path):
    save_file = pytest.importorskip("safetensors.torch").save_file
    model = small()
    save_file(dict(model.tensors), tmp_path / "model.safetensors")
    (tmp_path / "vocab.txt").write_text("\n".join(PIECES.pieces) + "\n", encoding="utf-8")
    config = {"model_type": "bert", "hidden_act": "gelu", "num_attention_heads": 2, "layer_norm_eps": 1e-12}
    config |= {"hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 2}
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return tmp_path


def change(folder, **settings):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | settings), encoding="utf-8")


def test_a_folder_that_the_user_names_is_read(folder, monkeypatch):
    monkeypatch.setenv(optional.ENCODER.variable, str(folder))
    model, wanted = encoder.load(), small()
    assert (model.layers, model.heads, model.width, model.longest) == (2, 2, 8, 16)
    assert torch.equal(encoder.run(model, "the pans.").hidden, encoder.run(wanted, "the pans.").hidden)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"model_type": "roberta"}, "model_type is 'roberta', only 'bert' is known here"),
        ({"hidden_act": "gelu_new"}, "hidden_act is 'gelu_new', only 'gelu' is known here"),
        ({"num_hidden_layers": 3}, "encoder.layer.2.attention.self.query.weight is missing, wanted"),
        ({"intermediate_size": 13}, r"intermediate.dense.weight is \(12, 8\), wanted \(13, 8\)"),
    ],
)
def test_an_encoder_of_another_kind_is_refused(folder, settings, said):
    change(folder, **settings)
    with pytest.raises(encoder.BadEncoder, match=said):
        encoder.load(folder)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "vocab.txt"])
def test_a_damaged_file_is_named_by_its_folder(folder, name):
    (folder / name).write_bytes(b"\xff broken")
    with pytest.raises(encoder.BadEncoder, match=f"reading the encoder in {folder}"):
        encoder.load(folder)


def test_without_the_package_the_command_is_printed_and_the_small_one_given(monkeypatch, capsys):
    def gone(model, folder=None):
        raise optional.ModelMissing("looking for the sentence encoder: not here. To get it, run\n  pip install it")

    monkeypatch.setattr(optional, "locate", gone)
    monkeypatch.setattr("autograder.material.tiny_encoder.make", small)
    assert encoder.load_or_small().name == "a small one"
    assert "pip install it\nuntil then: the course's own small encoder" in capsys.readouterr().out


# The real model


@pytest.fixture(scope="module")
def minilm():
    return encoder.load()


@real
def test_the_real_layers_do_what_pytorch_does_with_their_weights(minilm):
    ids = minilm.vocabulary.encode("She dropped the pan because it was unbearably hot.").ids
    assert_layers_agree(minilm, ids, 2e-5)


@real
def test_the_real_embeddings_are_normed_sums_of_three_tables(minilm):
    ids = minilm.vocabulary.encode("A hot pan").ids
    p = minilm.tensors
    total = p["embeddings.word_embeddings.weight"][ids] + p["embeddings.position_embeddings.weight"][: len(ids)]
    total = total + p["embeddings.token_type_embeddings.weight"][0]
    normed = (total - total.mean(-1, keepdim=True)) / (total.var(-1, keepdim=True, unbiased=False) + 1e-12).sqrt()
    wanted = normed * p["embeddings.LayerNorm.weight"] + p["embeddings.LayerNorm.bias"]
    assert torch.allclose(encoder.run(minilm, ids).hidden[0], wanted, atol=1e-5)


@real
def test_the_real_model_finds_what_means_the_same(minilm):
    a, b, c = encoder.embed(minilm, ["A man is eating food.", "Someone has a meal.", "The sky is blue today."])
    assert a @ b > 0.6 > 0.2 > max(a @ c, b @ c)
    assert math.isclose(float(a @ b), 0.68, abs_tol=0.01)


@real
@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("The cat didn't cross.", "the cat didn ' t cross ."),
        ("Café naïveté", "cafe naive ##te"),
        ("embeddings", "em ##bed ##ding ##s"),
    ],
)
def test_the_real_vocabulary_cuts_words_as_berts_does(minilm, text, tokens):
    assert minilm.vocabulary.encode(text).tokens[1:-1] == tuple(tokens.split())
