"""One sentence, its translation, and everything that is known about both; and what is asked of many."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

ROOT = -1  # the head of the word that depends on no other


@dataclass(frozen=True)
class Pair:
    """A source sentence and its one translation.

    source, target: their words, Ts and Tt of them.
    sure:           {(t, s)}: target word t translates source word s; content words only, at most one s for each t.
    possible:       {(t, s)}, a superset of sure that covers every word of both sides: an article also goes with its
                    noun, a negation with the verb and its "do", a pronoun with its antecedent.
    heads:          (Ts,) the source word that each source word depends on, ROOT for none.
    relations:      (Ts,) how it does, in the labels of Universal Dependencies.
    antecedents:    {personal pronoun: noun that it stands for}, places in source.
    """

    source: tuple[str, ...]
    target: tuple[str, ...]
    sure: frozenset[tuple[int, int]]
    possible: frozenset[tuple[int, int]]
    heads: tuple[int, ...]
    relations: tuple[str, ...]
    antecedents: dict[int, int]

    def __str__(self) -> str:
        return f"{' '.join(self.source)} → {' '.join(self.target)}"


def links(pair: Pair, relation: str | None = None) -> dict[int, int]:
    """Return {dependent: head} of one relation, or of all; the root is left out.

    >>> from autograder.material.corpus import translate
    >>> links(translate("the old dog sleeps"), "nsubj")
    {2: 3}
    """
    return {
        dependent: head
        for dependent, (head, label) in enumerate(zip(pair.heads, pair.relations, strict=True))
        if head != ROOT and relation in (None, label)
    }


def fixed_offset(pairs: Iterable[Pair], relation: str | None = None) -> tuple[int, float]:
    """Return the offset from dependent to head that is most often right, and how often it is.

    This is the baseline of a head that only counts words: a score for grammar has to beat it.
    Raises ValueError if no pair has the relation.

    >>> from autograder.material.corpus import translate
    >>> fixed_offset([translate("the dog sleeps"), translate("the red hat falls")], "det")
    (1, 0.5)
    """
    offsets = Counter(head - dependent for pair in pairs for dependent, head in links(pair, relation).items())
    if not offsets:
        raise ValueError(f"counting offsets: no pair has the relation {relation!r}")
    best = min(offsets, key=lambda offset: (-offsets[offset], abs(offset), offset))
    return best, offsets[best] / offsets.total()
