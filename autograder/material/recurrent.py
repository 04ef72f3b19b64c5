"""A recurrent encoder–decoder that writes one word after the other, with attention or with one fixed vector.

After Bahdanau, Cho and Bengio 2015, arXiv:1409.0473, appendix A, with a plain readout in place of their maxout layer.
What the decoder reads of the source at each step is a function that comes from outside.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch.nn.functional import cross_entropy
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from autograder.material.corpus.vocabulary import BOS, PAD, Batch, Vocabulary

Tensor = torch.Tensor
# attend(s_prev, enc, src_mask, w_s, w_h, w) → (context, weights), as attention_step of notebook 07.
Attend = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor], Sequence[Tensor]]
# shift(target, bos) → what the decoder is given, as shift_right of notebook 07.
Shift = Callable[[Tensor, int], Tensor]
State = tuple[Tensor, Tensor, Tensor]  # s (B, C), enc (B, Ts, 2C), src_mask (B, Ts)

WARM_UP = 50  # steps


class Translator(torch.nn.Module):
    """A bidirectional GRU reads the source, another GRU writes the target.

    source, target: the vocabularies of both sides.
    attend:         what the decoder reads at each step. None is the fixed vector, the same at every step: the last
                    state of the encoder in each direction (Cho et al. 2014).
    width:          C, numbers in a state; an encoder vector has 2C, C from each direction.
    hidden, embedding: numbers inside the score, numbers of a word.
    seed:           of the initial weights; both kinds of model have the same ones.
    """

    def __init__(
        self,
        source: Vocabulary,
        target: Vocabulary,
        attend: Attend | None,
        *,
        width: int,
        hidden: int,
        embedding: int,
        dropout: float = 0.0,
        seed: int = 0,
    ):
        super().__init__()
        torch.manual_seed(seed)
        self.source, self.target, self.attend = source, target, attend
        self.source_embedding = torch.nn.Embedding(len(source), embedding)
        self.target_embedding = torch.nn.Embedding(len(target), embedding)
        self.encoder = torch.nn.GRU(embedding, width, batch_first=True, bidirectional=True)
        self.first_state = torch.nn.Linear(2 * width, width)
        self.decoder = torch.nn.GRUCell(embedding + 2 * width, width)
        self.readout = torch.nn.Linear(3 * width + embedding, len(target))
        self.w_s = torch.nn.Parameter(torch.randn(width, hidden) / width**0.5)
        self.w_h = torch.nn.Parameter(torch.randn(2 * width, hidden) / (2 * width) ** 0.5)
        self.w = torch.nn.Parameter(torch.randn(hidden) / hidden**0.5)
        self.dropout = torch.nn.Dropout(dropout)

    def encode(self, source: Tensor) -> State:
        """From ids (B, Ts) to the decoder's first state and what it may read; a fixed vector is an enc of one row."""
        mask = source != PAD
        words = self.dropout(self.source_embedding(source))  # (B, Ts, E)
        packed = pack_padded_sequence(words, mask.sum(1), batch_first=True, enforce_sorted=False)
        outputs, last = self.encoder(packed)
        fixed = torch.cat([last[0], last[1]], dim=-1)  # (B, 2C)
        s = torch.tanh(self.first_state(fixed))  # (B, C)
        if self.attend is None:
            return s, fixed[:, None], mask.any(1, keepdim=True)
        return s, pad_packed_sequence(outputs, batch_first=True)[0], mask

    def read(self, state: State) -> Sequence[Tensor]:
        """What the decoder reads next: context (B, 2C), weights (B, Ts)."""
        s, enc, mask = state
        if self.attend is None:
            return enc[:, 0], mask.to(enc.dtype)
        return self.attend(s, enc, mask, self.w_s, self.w_h, self.w)

    def logits(self, source: Tensor, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Teacher forcing: ids (B, Ts) and the decoder's inputs (B, Tt) → logits (B, Tt, V), weights (B, Tt, Ts)."""
        s, enc, mask = self.encode(source)
        words = self.dropout(self.target_embedding(inputs))  # (B, Tt, E)
        states, weights = [], []
        for t in range(inputs.shape[1]):
            context, taken = self.read((s, enc, mask))
            s = self.decoder(torch.cat([words[:, t], context], dim=-1), s)
            states.append(torch.cat([s, context], dim=-1))
            weights.append(taken)
        found = torch.cat([torch.stack(states, dim=1), words], dim=-1)  # (B, Tt, 3C + E)
        return self.readout(self.dropout(found)), torch.stack(weights, dim=1)

    def begin(self, words: Sequence[str]) -> State:
        """The state before the first word of a translation."""
        return self.encode(torch.tensor([self.source.encode(words)]))

    def step(self, token: int, state: State) -> tuple[Tensor, State]:
        """One word of one sentence: the last token and the state → logits (V,) of the next, and the state after it."""
        s, enc, mask = state
        word = self.target_embedding(torch.as_tensor(token).reshape(1))
        context, _ = self.read(state)
        s = self.decoder(torch.cat([word, context], dim=-1), s)
        return self.readout(torch.cat([s, context, word], dim=-1))[0], (s, enc, mask)


def loss_of(shift: Shift) -> Callable[[Translator, Batch], Tensor]:
    """The loss for `training.train`: mean −log probability of each right next word; padding does not count."""

    def loss(model: Translator, batch: Batch) -> Tensor:
        inputs = torch.as_tensor(shift(batch.target, BOS))
        logits, _ = model.logits(batch.source, inputs)
        return cross_entropy(logits.flatten(0, 1), batch.target.flatten(), ignore_index=PAD)

    return loss


def falling(peak: float, steps: int) -> Callable[[int], float]:
    """A learning rate by step: up to `peak` in the first steps, then down to nearly nothing.

    >>> rate = falling(0.01, 100)
    >>> [round(rate(step), 4) for step in (1, 50, 75, 100)]
    [0.0002, 0.005, 0.0025, 0.0002]
    """
    return lambda step: peak * min(step / WARM_UP, 1.0) * max(1 - step / steps, 0.02)
