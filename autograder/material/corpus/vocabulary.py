"""Words as numbers, and pairs as padded tensors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

    from autograder.material.corpus.splits import Pair

PAD, BOS, EOS, UNK = range(4)
SPECIAL = ("<pad>", "<bos>", "<eos>", "<unk>")


class Vocabulary:
    """Tokens and their ids: 0 pads, 1 opens a sentence, 2 ends it, 3 stands for a token that is not there.

    >>> words = Vocabulary(("cat", "sleeps"))
    >>> words.encode(("cat", "purrs", "sleeps"))
    [4, 3, 5]
    >>> words.decode([1, 4, 5, 2, 0, 0])
    ('cat', 'sleeps')
    """

    def __init__(self, tokens: Iterable[str]):
        self.tokens = (*SPECIAL, *tokens)
        self.ids = {token: number for number, token in enumerate(self.tokens)}
        if len(self.ids) < len(self.tokens):
            raise ValueError("making a vocabulary: a token occurs twice, or is one of " + ", ".join(SPECIAL))

    @classmethod
    def of(cls, sentences: Iterable[Sequence[str]]) -> Vocabulary:
        """Return the vocabulary of all tokens in some sentences, in alphabetical order."""
        return cls(sorted({token for sentence in sentences for token in sentence}))

    def __len__(self) -> int:
        return len(self.tokens)

    def __contains__(self, token: object) -> bool:
        return token in self.ids

    def encode(self, sentence: Iterable[str]) -> list[int]:
        """Return the ids of some tokens, without opening or end."""
        return [self.ids.get(token, UNK) for token in sentence]

    def decode(self, ids: Iterable[int]) -> tuple[str, ...]:
        """Return the tokens of some ids up to the first end; padding and openings are left out."""
        found = []
        for number in ids:
            if number == EOS:
                break
            if number not in (PAD, BOS):
                found.append(self.tokens[int(number)])
        return tuple(found)


@dataclass(frozen=True)
class Batch:
    """Sentences as tensors, padded with 0 on the right.

    source:  (B, Ts) int64, words only.
    target:  (B, Tt) int64, words and the end of the sentence.
    lengths: (B,) int64, source words.
    """

    source: torch.Tensor
    target: torch.Tensor
    lengths: torch.Tensor

    @property
    def source_mask(self) -> torch.Tensor:
        """(B, Ts) bool, True at words."""
        return self.source != PAD

    @property
    def target_mask(self) -> torch.Tensor:
        """(B, Tt) bool, True at words and at the end of the sentence."""
        return self.target != PAD

    def __len__(self) -> int:
        return len(self.source)


def padded(rows: Sequence[Sequence[int]]) -> torch.Tensor:
    """Return rows of ids as one (B, T) int64 tensor, padded with 0 on the right.

    >>> padded([[5, 6, 2], [7, 2]]).tolist()
    [[5, 6, 2], [7, 2, 0]]
    """
    import torch

    found = torch.full((len(rows), max(map(len, rows), default=0)), PAD)
    for row, ids in zip(found, rows, strict=True):
        row[: len(ids)] = torch.tensor(ids, dtype=torch.int64)
    return found


def batches(
    pairs: Sequence[Pair],
    source: Vocabulary,
    target: Vocabulary,
    size: int = 64,
    rng: np.random.Generator | None = None,
) -> Iterator[Batch]:
    """Yield every pair once, `size` at a time, in an order of rng's, or as they are if it is None.

    pairs: anything with a source and a target, sequences of tokens.
    """
    import torch

    order = np.arange(len(pairs)) if rng is None else rng.permutation(len(pairs))
    for first in range(0, len(pairs), size):
        chosen = [pairs[i] for i in order[first : first + size]]
        rows = [source.encode(pair.source) for pair in chosen]
        ends = [[*target.encode(pair.target), EOS] for pair in chosen]
        yield Batch(padded(rows), padded(ends), torch.tensor([len(row) for row in rows]))
