"""Running text from a small grammar whose entropy is known exactly: what a character model can reach at best.

The grammar is regular and unambiguous: from every state go a few phrases, none of which begins another, so that a text
has one derivation and its probability is the product of the choices made. Written for this course.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

# Numbers and genders that a later word has to agree with: "he", "she" and "they" stand for them.
NOUNS = {"boy": "he", "king": "he", "duke": "he", "girl": "she", "queen": "she", "nun": "she"}
THINGS = ("pan", "cup", "pot", "jug", "mug", "hat")
VERBS = ("drop", "wash", "see", "hold", "get")
REASONS = ("hot", "wet", "old", "late", "sad")
START = "sentence"
REASON = 0.5  # how often a sentence gives a reason


@dataclass(frozen=True)
class Choice:
    """One way on from a state: the characters it writes, its probability, and the state it leads to."""

    text: str
    chance: float
    to: str


def _plural(word: str) -> str:
    return f"{word}s"


def _third_person(verb: str) -> str:
    return f"{verb}es" if verb.endswith("sh") else f"{verb}s"


def _evenly(choices: Mapping[str, str], total: float = 1.0) -> list[Choice]:
    return [Choice(text, total / len(choices), to) for text, to in choices.items()]


@cache
def grammar() -> Mapping[str, tuple[Choice, ...]]:
    """Every state with the choices it offers.

    "the queen drops two pans as she is late. ": a subject, a verb in its number, a thing, and perhaps a reason whose
    pronoun stands for the subject. A state is named by where the sentence is and by what has to be remembered.
    """
    singular = {f"{noun} ": who for noun, who in NOUNS.items()}
    plural = {f"{_plural(noun)} ": "they" for noun in NOUNS}
    numbers = {"the": singular | plural, "a": singular, "two": plural}
    states: dict[str, list[Choice]] = {START: _evenly({f"{word} ": f"{word} …" for word in numbers})}
    for word, nouns in numbers.items():
        states[f"{word} …"] = _evenly({noun: f"{who} …" for noun, who in nouns.items()})
    for who in ("he", "she", "they"):
        verbs = [f"{verb if who == 'they' else _third_person(verb)} " for verb in VERBS]
        states[f"{who} …"] = _evenly(dict.fromkeys(verbs, f"{who} verb …"))
        states[f"{who} verb …"] = _evenly({f"{word} ": f"{who} verb {word} …" for word in numbers})
        for word in numbers:
            things = [*([] if word == "two" else THINGS), *([] if word == "a" else map(_plural, THINGS))]
            states[f"{who} verb {word} …"] = [
                *_evenly({f"{thing}. ": START for thing in things}, 1 - REASON),
                *_evenly({f"{thing} as ": f"{who} as …" for thing in things}, REASON),
            ]
        states[f"{who} as …"] = [Choice(f"{who} {'are' if who == 'they' else 'is'} ", 1.0, f"{who} is …")]
        states[f"{who} is …"] = _evenly({f"{reason}. ": START for reason in REASONS})
    return {state: tuple(choices) for state, choices in states.items()}


def visits() -> dict[str, float]:
    """How often each state is passed in one sentence, on average."""
    states = grammar()
    place = {state: i for i, state in enumerate(states)}
    moves = np.zeros((len(states), len(states)))
    for state, choices in states.items():
        for choice in choices:
            if choice.to != START:
                moves[place[state], place[choice.to]] += choice.chance
    first = np.eye(len(states))[place[START]]
    expected = np.linalg.solve(np.eye(len(states)) - moves.T, first)
    return dict(zip(states, expected.tolist(), strict=True))


def entropy_rate() -> float:
    """The entropy of the text in nats per character, exactly: that of a sentence over its expected length.

    A sentence's entropy is that of its choices, since one text has one derivation (Shannon 1948, section 7: the sum
    over states of how often each is passed, times the entropy of what is chosen there).
    """
    nats = characters = 0.0
    for state, often in visits().items():
        for choice in grammar()[state]:
            nats -= often * choice.chance * float(np.log(choice.chance))
            characters += often * choice.chance * len(choice.text)
    return nats / characters


@dataclass(frozen=True)
class Chain:
    """The same grammar one character at a time.

    nodes:   what is known before a character: the state, and what has been written of a phrase.
    chances: (nodes, characters), the probability of each character next.
    to:      (nodes, characters), the node after it; 0 where the probability is 0.
    steady:  (nodes,), how often a running text is at each node.
    """

    nodes: tuple[tuple[str, str], ...]
    chances: np.ndarray
    to: np.ndarray
    steady: np.ndarray


@cache
def chain() -> Chain:
    """The grammar as a chain of characters, derived from the phrases."""
    total: dict[tuple[str, str], float] = {}
    for state, choices in grammar().items():
        for choice in choices:
            for end in range(len(choice.text)):
                node = state, choice.text[:end]
                total[node] = total.get(node, 0.0) + choice.chance
    place = {node: i for i, node in enumerate(total)}
    chances, to = np.zeros((len(total), len(CHARACTERS))), np.zeros((len(total), len(CHARACTERS)), int)
    for state, choices in grammar().items():
        for choice in choices:
            for end, character in enumerate(choice.text):
                at, column = place[state, choice.text[:end]], CHARACTERS.index(character)
                chances[at, column] += choice.chance / total[state, choice.text[:end]]
                longer = choice.text[: end + 1]
                to[at, column] = place[(choice.to, "") if longer == choice.text else (state, longer)]
    often = visits()
    steady = np.array([often[state] * total[state, written] for state, written in place])
    return Chain(tuple(place), chances, to, steady / steady.sum())


def _characters() -> str:
    return "".join(sorted({character for choices in grammar().values() for c in choices for character in c.text}))


CHARACTERS = _characters()


def words() -> list[str]:
    """The words of the grammar, in the order of the alphabet."""
    return sorted({word.strip(".") for choices in grammar().values() for c in choices for word in c.text.split()})


def encode(text: str) -> list[int]:
    """The ids of a text's characters, their places in CHARACTERS; ValueError names one that is not there."""
    strange = set(text) - set(CHARACTERS)
    if strange:
        raise ValueError(f"encoding a text: {min(strange)!r} is not among {CHARACTERS!r}")
    return [CHARACTERS.index(character) for character in text]


def decode(ids: Sequence[int] | np.ndarray) -> str:
    """The text of some ids."""
    return "".join(CHARACTERS[int(i)] for i in ids)


def windows(count: int, size: int, rng: np.random.Generator) -> np.ndarray:
    """Cut `count` pieces of `size` characters, each anywhere in a running text: (count, size) int64 ids."""
    source = chain()
    node = rng.choice(len(source.nodes), size=count, p=source.steady)
    limits = source.chances.cumsum(axis=1)
    found = np.empty((count, size), np.int64)
    for place in range(size):
        found[:, place] = (limits[node] <= rng.random((count, 1)) * limits[node, -1:]).sum(axis=1)
        node = source.to[node, found[:, place]]
    return found


def sentences(count: int, rng: np.random.Generator) -> list[str]:
    """Draw `count` sentences, each with its full stop and without the space behind it."""
    found = []
    for _ in range(count):
        state, text = START, ""
        while not text or state != START:
            choices = grammar()[state]
            choice = choices[int(rng.choice(len(choices), p=[c.chance for c in choices]))]
            text, state = text + choice.text, choice.to
        found.append(text.rstrip())
    return found


def derivation(sentence: str) -> list[Choice] | None:
    """The choices that write a sentence (with its full stop, without the space behind it), or None if none do."""
    rest, state, found = f"{sentence} ", START, list[Choice]()
    while rest:
        choice = next((c for c in grammar()[state] if rest.startswith(c.text)), None)
        if choice is None or (found and state == START):
            return None
        rest, state = rest[len(choice.text) :], choice.to
        found.append(choice)
    return found if found and state == START else None


def surprise(ids: np.ndarray) -> np.ndarray:
    """−log p of every character given those before it in its window, by the true model: nobody can do better.

    ids: (count, size) windows cut anywhere, so that at first even the true model does not know where it is.
    Returns (count, size) nats; inf from the first character on that no text can have there.
    """
    source = chain()
    at = [np.flatnonzero(column) for column in source.chances.T]  # the nodes that can write each character
    belief = np.tile(source.steady, (len(ids), 1))
    found = np.empty(ids.shape)
    for place, column in enumerate(ids.T):
        after = np.zeros_like(belief)
        for character in np.unique(column):
            rows, nodes = np.flatnonzero(column == character), at[character]
            joint = belief[np.ix_(rows, nodes)] * source.chances[nodes, character]
            likely = joint.sum(axis=1)
            with np.errstate(divide="ignore"):
                found[rows, place] = -np.log(likely)
            share = joint / np.where(likely > 0, likely, 1.0)[:, None]
            moved = np.zeros((len(source.nodes), len(rows)))
            np.add.at(moved, source.to[nodes, character], share.T)
            after[rows] = moved.T
        belief = after
    return found
