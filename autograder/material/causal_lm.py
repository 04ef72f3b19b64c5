"""A real causal language model, SmolLM2-135M-Instruct, read from its GGUF file as plain tensors; optional.

Allal and others 2025, arXiv:2502.02737; Apache-2.0; 30 layers of 9 query and 3 key heads, width 576, weights of four
bits, dequantised on loading (about 1 GB of memory and ten seconds). Attention is left to whoever runs it: `run` takes
it as an argument. The rest is a Llama block: RMSNorm before each part, and a gated network.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from autograder.material.optional import CAUSAL, locate, only_file

# GPT-2's way of cutting a text before its pieces are joined, with every digit by itself.
PIECES = re.compile(r"'(?:s|t|re|ve|m|ll|d)| ?[^\W\d_]+| ?\d| ?(?:[^\s\w]|_)+|\s+(?!\S)|\s+")
NAMES = {"w_q": "attn_q", "w_k": "attn_k", "w_v": "attn_v", "w_o": "attn_output"}


@dataclass(frozen=True)
class CausalModel:
    """The model as it was read.

    tensors: float32, by the names of the file, matrices as (out, in).
    tokens, merges: the byte-pair vocabulary, and the pairs it joins, first come first served.
    heads, kv_heads, layers, width, eps, base: sizes; `base` is that of the rotary positions.
    """

    tensors: Mapping[str, torch.Tensor]
    tokens: tuple[str, ...]
    merges: Mapping[tuple[str, str], int]
    heads: int
    kv_heads: int
    layers: int
    width: int
    eps: float
    base: float

    def attention(self, layer: int) -> dict[str, torch.Tensor]:
        """The four matrices of a layer for `x @ w`: w_q (C, h·D), w_k and w_v (C, h_kv·D), w_o (h·D, C)."""
        return {name: self.tensors[f"blk.{layer}.{stored}.weight"].T for name, stored in NAMES.items()}

    def encode(self, text: str) -> list[int]:
        """The ids of a text; it gets no special tokens."""
        place = {token: i for i, token in enumerate(self.tokens)}
        letters = _letters()
        found = []
        for piece in PIECES.findall(text):
            parts = [letters[byte] for byte in piece.encode()]
            while len(parts) > 1:
                ranks = [self.merges.get(pair, len(self.merges)) for pair in pairwise(parts)]
                first = min(range(len(ranks)), key=ranks.__getitem__)
                if ranks[first] == len(self.merges):
                    break
                parts[first : first + 2] = [parts[first] + parts[first + 1]]
            found += [place[part] for part in parts]
        return found

    def decode(self, ids: Sequence[int]) -> str:
        """The text of some ids."""
        byte_of = {letter: byte for byte, letter in _letters().items()}
        return bytes(byte_of[letter] for i in ids for letter in self.tokens[i]).decode(errors="replace")


def load(folder: str | os.PathLike[str] | None = None) -> CausalModel:
    """Read the model from a folder, from the one that ATTENTION_CAUSAL_MODEL names, or from its package.

    Raises ModelMissing, with the command that brings it, if it is not here.
    """
    path = only_file(locate(CAUSAL, folder), "*.gguf", CAUSAL)
    from gguf import GGUFReader, dequantize

    reader = GGUFReader(path)

    def value(key: str) -> Any:
        return reader.fields[key].contents()

    tensors = {}
    for entry in reader.tensors:
        shape = [int(size) for size in entry.shape][::-1]
        tensors[str(entry.name)] = torch.from_numpy(
            np.array(dequantize(entry.data, entry.tensor_type), np.float32).reshape(shape)
        )
    merges = [tuple(merge.split(" ")) for merge in value("tokenizer.ggml.merges")]
    return CausalModel(
        tensors,
        tuple(value("tokenizer.ggml.tokens")),
        {(first, second): rank for rank, (first, second) in enumerate(merges)},
        value("llama.attention.head_count"),
        value("llama.attention.head_count_kv"),
        value("llama.block_count"),
        value("llama.embedding_length"),
        value("llama.attention.layer_norm_rms_epsilon"),
        value("llama.rope.freq_base"),
    )


@torch.no_grad()
def run(model: CausalModel, ids: Sequence[int], attend: Callable[[int, torch.Tensor], torch.Tensor]) -> torch.Tensor:
    """Return the scores of the next token at every place, (T, V).

    attend: `(layer, x (1, T, C)) -> (1, T, C)`, all of a layer's attention, from normed vectors to what is added.
    """
    tensors = model.tensors
    x = tensors["token_embd.weight"][torch.tensor(list(ids))][None]
    for layer in range(model.layers):
        part = f"blk.{layer}."
        x = x + attend(layer, _rms_norm(x, tensors[f"{part}attn_norm.weight"], model.eps))
        y = _rms_norm(x, tensors[f"{part}ffn_norm.weight"], model.eps)
        gate = torch.nn.functional.silu(y @ tensors[f"{part}ffn_gate.weight"].T)
        x = x + (gate * (y @ tensors[f"{part}ffn_up.weight"].T)) @ tensors[f"{part}ffn_down.weight"].T
    return _rms_norm(x, tensors["output_norm.weight"], model.eps)[0] @ tensors["token_embd.weight"].T


def _rms_norm(x: torch.Tensor, gain: torch.Tensor, eps: float) -> torch.Tensor:
    return x * torch.rsqrt(x.pow(2).mean(dim=-1, keepdim=True) + eps) * gain


def _letters() -> dict[int, str]:
    """The printable letter that stands for each byte in a byte-level vocabulary (GPT-2's table)."""
    plain = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in plain]
    return {byte: chr(byte) for byte in plain} | {byte: chr(256 + i) for i, byte in enumerate(others)}
