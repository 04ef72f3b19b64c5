"""The parallel corpus itself: sentences drawn by seed, in three splits that share no sentence."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from autograder.material.corpus.drawing import Draw, Exhausted
from autograder.material.corpus.pair import Pair
from autograder.material.corpus.transfer import Unclear, render
from autograder.material.corpus.vocabulary import Vocabulary

SHORTEST = 3  # "Anna is tired"


@dataclass(frozen=True)
class Corpus:
    """Three splits, and the vocabularies of the first.

    train, test: sentences of the same lengths, from the same rules and words; none is in both.
    longer:      sentences longer than every one of train, from the same rules and words.
    """

    train: tuple[Pair, ...]
    test: tuple[Pair, ...]
    longer: tuple[Pair, ...]
    source: Vocabulary
    target: Vocabulary


def draw(rng: np.random.Generator, shortest: int = SHORTEST, longest: int = 10) -> Iterator[Pair]:
    """Yield pairs without end, with `shortest` to `longest` source words; they may repeat.

    >>> len(next(draw(np.random.default_rng(1), 5, 5)).source)
    5
    """
    rich = min(1.0, 0.2 + shortest / 15)  # fewer draws are too short, or too long
    while True:
        try:
            pair = render(Draw(rng, rich).sentence())
        except (Exhausted, Unclear):
            continue
        if shortest <= len(pair.source) <= longest:
            yield pair


def corpus(
    seed: int = 0, train: int = 6000, test: int = 500, longer: int = 300, *, longest: int = 10, far: int = 16
) -> Corpus:
    """Return the corpus of a seed.

    train, test, longer: sizes of the splits.
    longest:             most source words of a sentence in train and test; `longer` has longest + 1 to `far`.

    >>> data = corpus(train=20, test=5, longer=5)
    >>> len(data.train), len(data.test), len(data.longer)
    (20, 5, 5)
    """
    rng = np.random.default_rng(seed)
    near = _distinct(draw(rng, SHORTEST, longest), train + test)
    # The short sentences run out first, so those drawn late are longer: both splits are mixed from all.
    mixed = [near[i] for i in rng.permutation(len(near))]
    pairs = tuple(mixed[:train])
    return Corpus(
        pairs,
        tuple(mixed[train:]),
        tuple(_distinct(draw(rng, longest + 1, far), longer)),
        Vocabulary.of(pair.source for pair in pairs),
        Vocabulary.of(pair.target for pair in pairs),
    )


def _distinct(pairs: Iterator[Pair], size: int) -> list[Pair]:
    """The first pairs that repeat neither a source nor a target."""
    found: list[Pair] = []
    seen: set[tuple[str, ...]] = set()
    while len(found) < size:
        pair = next(pairs)
        if pair.source not in seen and pair.target not in seen:
            seen |= {pair.source, pair.target}
            found.append(pair)
    return found
