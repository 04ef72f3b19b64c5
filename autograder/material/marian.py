"""The forward pass of a Marian translation student, as functions on plain tensors; a learner's attention fits inside.

A transformer encoder, and a decoder whose layers have cross-attention but a recurrence in the place of self-attention:
the SSRU of Kim et al. 2019, "From research to production and back" (ACL Anthology D19-5632). Layer norm comes after
each residual sum. Axes: B sentences, Ts source and Tt target pieces, C width, H heads, V vocabulary.

A given function can do the attention: `attention` in the decoder, `self_attention` in the encoder. Either is one
function for all layers, or a list with one for each layer, None meaning the model's own.

    attention(dec, enc, w_q, w_k, w_v, w_o, h, src_mask)      → (out, weights)
    self_attention(x_q, x_kv, w_q, w_k, w_v, w_o, h, mask)    → (out, weights)

All arguments are given by position: dec, x_q (B, Tt, C); enc, x_kv (B, Ts, C); each w (C, C); src_mask (B, Ts) and mask
(B, 1, 1, Ts) bool, True = may attend; out (B, Tt, C), weights (B, H, Tt, Ts). In translation Tt is 1. Such a function
adds no biases and the model has four; it still gives the model's own result, see `Projections`.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F

Tensor = torch.Tensor
Attention = Callable[..., tuple[Tensor, Tensor]]
Attentions = Attention | Sequence[Attention | None] | None

NO_PIECE = -1


@dataclass(frozen=True)
class Projections:
    """The weights of one attention, (C, C), used as `x @ w`, and their biases (C,).

    A function without biases gives the same result if its queries come from `x + shift` and `constant` is added to its
    output, since
    - b_q can move into the input: shift (C,) solves shift @ w_q = b_q;
    - b_k adds the same number to all scores of a query, and the softmax cancels it;
    - b_v adds b_v to each weighted average, as weights sum to 1: b_v @ w_o + b_o is the constant (C,).
    """

    w_q: Tensor
    w_k: Tensor
    w_v: Tensor
    w_o: Tensor
    b_q: Tensor
    b_k: Tensor
    b_v: Tensor
    b_o: Tensor

    @cached_property
    def shift(self) -> Tensor:
        # In float64: w_q has a condition number of up to 5e4.
        return torch.linalg.solve(self.w_q.double().T, self.b_q.double()).to(self.b_q.dtype)

    @cached_property
    def constant(self) -> Tensor:
        return self.b_v @ self.w_o + self.b_o


@dataclass(frozen=True)
class Marian:
    """The weights of a model under Marian's names, float32, used as `x @ w`: "encoder_l1_self_Wq", "Wemb", …"""

    tensors: Mapping[str, Tensor]
    heads: int
    encoder_layers: int
    decoder_layers: int

    @cached_property
    def attentions(self) -> dict[str, Projections]:
        """Each attention by name: "encoder_l1_self" to the last layer, "decoder_l1_context" to the last layer."""
        names = [name.removesuffix("_Wq") for name in self.tensors if name.endswith("_Wq")]
        return {
            name: Projections(*(self.tensors[f"{name}_{kind}{x}"] for kind in "Wb" for x in "qkvo")) for name in names
        }


def encode(model: Marian, ids: Tensor, mask: Tensor, self_attention: Attentions = None) -> tuple[Tensor, Tensor]:
    """Run the encoder.

    ids:  (B, Ts) int, pieces of the source.
    mask: (B, Ts) bool, False where a shorter sentence is padded.
    Returns the states (B, Ts, C) and the weights (B, layers, H, Ts, Ts).
    """
    x = embed(model, ids)
    seen = []
    for layer, given in enumerate(_per_layer(self_attention, model.encoder_layers), start=1):
        name = f"encoder_l{layer}"
        x, weights = _attention(model, f"{name}_self", x, x, mask, given, mask[:, None, None, :])
        x = _feed_forward(model, f"{name}_ffn", x)
        seen.append(weights)
    return x, torch.stack(seen, dim=1)


def decode(
    model: Marian,
    previous: Tensor,
    enc: Tensor,
    mask: Tensor,
    attention: Attentions = None,
    start: int = 0,
    cells: Sequence[Tensor] | None = None,
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Run the decoder over target positions start, start + 1, …: one to translate, all if the target is known.

    previous: (B, Tt) int, the piece before each position; NO_PIECE before position 0.
    enc:      (B, Ts, C), from `encode`, and its mask (B, Ts).
    cells:    what the recurrence carries over from position start - 1, (B, C) for each layer; None at position 0.
    Returns logits (B, Tt, V), weights (B, layers, H, Tt, Ts) and the new cells.
    """
    x = embed(model, previous, start)
    cells = cells or [torch.zeros_like(x[:, 0]) for _ in range(model.decoder_layers)]
    seen, carried = [], []
    for layer, given in enumerate(_per_layer(attention, model.decoder_layers), start=1):
        name = f"decoder_l{layer}"
        x, cell = _recurrence(model, f"{name}_rnn", x, cells[layer - 1])
        x, weights = _attention(model, f"{name}_context", x, enc, mask, given, mask)
        x = _feed_forward(model, f"{name}_ffn", x)
        seen.append(weights)
        carried.append(cell)
    logits = F.linear(x, model.tensors["Wemb"], model.tensors["decoder_ff_logit_out_b"])
    return logits, torch.stack(seen, dim=1), carried


def embed(model: Marian, ids: Tensor, start: int = 0) -> Tensor:
    """Return scaled embeddings plus positions, (B, T, C); NO_PIECE has the zero vector for its embedding."""
    table = model.tensors["Wemb"]
    width = table.shape[1]
    x = table[ids.clamp(min=0)] * math.sqrt(width) * (ids != NO_PIECE)[..., None]
    return x + _positions(ids.shape[1], width, start)


def _positions(n: int, width: int, start: int) -> Tensor:
    """Sinusoids as Marian lays them out: all sines, then all cosines, where Vaswani et al. alternate. (n, width)."""
    half = width // 2
    rates = torch.exp(torch.arange(half) * (-math.log(10000) / (half - 1)))
    angles = torch.arange(start, start + n)[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def _attention(
    model: Marian, name: str, x: Tensor, enc: Tensor, mask: Tensor, given: Attention | None, given_mask: Tensor
) -> tuple[Tensor, Tensor]:
    """One attention with its residual and norm, by the model's own function or the given one."""
    p = model.attentions[name]
    if given is None:
        out, weights = _own_attention(x, enc, p, model.heads, mask)
    else:
        out, weights = given(x + p.shift, enc, p.w_q, p.w_k, p.w_v, p.w_o, model.heads, given_mask)
        wanted = (len(x), model.heads, x.shape[1], enc.shape[1])
        if out.shape != x.shape or weights.shape != wanted:
            raise ValueError(
                f"{name}: the given attention returned out {tuple(out.shape)} and weights {tuple(weights.shape)}; "
                f"wanted {tuple(x.shape)} and {wanted}"
            )
        out = out + p.constant
    return _normalised(model, f"{name}_Wo", x + out), weights


def _own_attention(x: Tensor, enc: Tensor, p: Projections, h: int, mask: Tensor) -> tuple[Tensor, Tensor]:
    def heads(projected: Tensor) -> Tensor:
        return projected.unflatten(-1, (h, -1)).transpose(1, 2)  # (B, H, T, D)

    q, k, v = heads(x @ p.w_q + p.b_q), heads(enc @ p.w_k + p.b_k), heads(enc @ p.w_v + p.b_v)
    scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
    weights = scores.masked_fill(~mask[:, None, None, :], -math.inf).softmax(dim=-1)
    return (weights @ v).transpose(1, 2).flatten(2) @ p.w_o + p.b_o, weights


def _recurrence(model: Marian, name: str, x: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
    """The SSRU, a running average whose gate sees the input only: x (B, Tt, C), cell (B, C) → states, last cell."""
    w = model.tensors
    keep = torch.sigmoid(x @ w[f"{name}_Wf"] + w[f"{name}_bf"])
    new = (1 - keep) * (x @ w[f"{name}_W"])
    states = []
    for t in range(x.shape[1]):
        cell = keep[:, t] * cell + new[:, t]
        states.append(cell)
    return _normalised(model, f"{name}_ffn", x + torch.stack(states, dim=1).relu()), cell


def _feed_forward(model: Marian, name: str, x: Tensor) -> Tensor:
    w = model.tensors
    hidden = (x @ w[f"{name}_W1"] + w[f"{name}_b1"]).relu()
    return _normalised(model, f"{name}_ffn", x + hidden @ w[f"{name}_W2"] + w[f"{name}_b2"])


def _normalised(model: Marian, name: str, x: Tensor) -> Tensor:
    scale, bias = model.tensors[f"{name}_ln_scale"], model.tensors[f"{name}_ln_bias"]
    return F.layer_norm(x, scale.shape, scale, bias, eps=1e-6)


def _per_layer(given: Attentions, layers: int) -> Sequence[Attention | None]:
    functions = [given] * layers if given is None or callable(given) else list(given)
    if len(functions) != layers:
        raise ValueError(f"{len(functions)} attention functions for {layers} layers; give one, or one for each layer")
    return functions
