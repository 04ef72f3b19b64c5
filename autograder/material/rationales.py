"""Short reports from a kitchen whose mood is decided by words that were planted, so that the true reason is known.

In natural text nobody knows which words a label depends on; people only mark what looks right to them. Here one
opinion decides, everything else is neutral and drawn without looking at the label. Words and templates were written for
the course.

>>> reports(1, np.random.default_rng(0))[0].text
'the noisy spoon was shabby while she dropped the local bread'
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

GOOD = ("lovely", "superb", "splendid", "delightful", "charming", "cheerful", "pleasant", "wonderful")
BAD = ("dreadful", "wretched", "shabby", "horrid", "miserable", "dismal", "nasty", "terrible")
NEUTRAL = ("hot", "red", "round", "wooden", "heavy", "new", "local", "noisy", "large", "tall")
THINGS = ("pan", "soup", "basket", "waiter", "table", "spoon", "menu", "bread", "lamp", "plate", "oven", "cook")
# A clause without an opinion; the first slot is a neutral adjective, the second a thing.
CLAUSES = (
    "the {0} {1} arrived on monday",
    "she dropped the {0} {1}",
    "the {1} was {0}",
    "they took the {1} home",
    "it stood beside the {0} {1}",
    "we saw a {0} {1} there",
)
# A clause with the opinion in the third slot.
OPINIONS = ("the {0} {1} was {2}", "we found the {1} {2}", "it was a {2} {1}", "she called the {0} {1} {2}")
JOINTS = ("and", "but", "while")
NOT = "not"

PAD, MASK = 0, 1
_IN_TEMPLATES = {word for text in CLAUSES + OPINIONS for word in text.split() if "{" not in word}
VOCABULARY = ("[pad]", "[mask]", *sorted({*GOOD, *BAD, *NEUTRAL, *THINGS, *JOINTS, NOT} | _IN_TEMPLATES))
_NUMBER = {word: number for number, word in enumerate(VOCABULARY)}


@dataclass(frozen=True)
class Report:
    """A report, its label and the reason for it.

    words:     its words.
    good:      whether the opinion in it is a good one.
    rationale: for each word, whether the label depends on it.
    """

    words: tuple[str, ...]
    good: bool
    rationale: tuple[bool, ...]

    @property
    def text(self) -> str:
        """The words as one line."""
        return " ".join(self.words)


def reports(count: int, rng: np.random.Generator, *, negated: float = 0.0) -> list[Report]:
    """Draw reports of two or three clauses, one of them with an opinion, half of them good.

    negated: how often the opinion stands behind "not", which turns it around and belongs to the reason.
    """
    return [_report(rng, negated) for _ in range(count)]


def _report(rng: np.random.Generator, negated: float) -> Report:
    good, turned = bool(rng.random() < 0.5), bool(rng.random() < negated)
    word = str(rng.choice(GOOD if good != turned else BAD))
    count = int(rng.integers(2, 4))
    place = int(rng.integers(count))
    templates = [str(rng.choice(OPINIONS if i == place else CLAUSES)) for i in range(count)]
    neutral, things = rng.choice(NEUTRAL, count, replace=False), rng.choice(THINGS, count, replace=False)
    opinion = f"{NOT} {word}" if turned else word
    words = " ".join(
        (f"{rng.choice(JOINTS)} " if i else "") + template.format(neutral[i], things[i], opinion)
        for i, template in enumerate(templates)
    ).split()
    reason = {NOT, word} if turned else {word}
    return Report(tuple(words), good, tuple(w in reason for w in words))


def encode(words: Iterable[str]) -> list[int]:
    """The numbers of some words; raises KeyError for one that no report can hold."""
    return [_NUMBER[word] for word in words]


def padded(rows: Sequence[Report]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Some reports as one batch: ids (B, T) int64 padded with PAD, labels (B,) float32, rationale (B, T) bool."""
    length = max(len(row.words) for row in rows)
    ids = np.full((len(rows), length), PAD)
    truth = np.zeros((len(rows), length), dtype=bool)
    for b, row in enumerate(rows):
        ids[b, : len(row.words)], truth[b, : len(row.words)] = encode(row.words), row.rationale
    return ids, np.array([row.good for row in rows], dtype=np.float32), truth


def average_precision(scores: Sequence[float], truth: Sequence[bool]) -> float:
    """Area under precision against recall, as a step function: 1 if every true word is ranked before all others.

    scores: (T,) one number a word, larger is more important; truth: (T,) whether the word is one of those to be found.
    Words with equal scores enter together. Raises ValueError if no word is true.

    >>> average_precision([0.5, 0.9, 0.1], [True, False, False])  # found second
    0.5
    """
    values, wanted = np.asarray(scores, dtype=float), np.asarray(truth, dtype=bool)
    if not wanted.any():
        raise ValueError("nothing is true, so there is nothing to find")
    total = 0.0
    for threshold in np.unique(values[wanted]):
        chosen = values >= threshold
        gained = (wanted & (values == threshold)).sum()
        total += gained / wanted.sum() * wanted[chosen].mean()
    return float(total)
