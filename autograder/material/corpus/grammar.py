"""The sentences of the parallel corpus as trees.

    sentence  = [time] clause [joint clause]        "tonight the dog sleeps because it is tired"
    clause    = [noun phrase or pronoun] predicate  without a subject after "and", "but" and in "the dog that sleeps"
    predicate = [not or never] [how often] verb [object] [to whom] [how] [where]
              | [not or never] [how often] is (adjective | state | where)
    noun phrase = determiner [number] [adjectives] noun [where] [relative clause]
    determiner  = the, a, my, ... | noun phrase 's

A relative clause stands at the end of a clause or of its subject, a place beside a noun only in a subject, and a second
clause never after a relative one: so every sentence has one tree.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from autograder.material.corpus.words import Adjective, Noun, Phrase, Verb


@dataclass(frozen=True, slots=True)
class Description:
    """An adjective, perhaps after "very"."""

    adjective: Adjective
    very: bool = False


@dataclass(frozen=True, slots=True)
class Place:
    """A preposition and its noun phrase."""

    preposition: Phrase
    where: NounPhrase


@dataclass(frozen=True, slots=True)
class NounPhrase:
    """A noun with what belongs to it; the determiner is English, or "" with an owner, a name or a number alone."""

    noun: Noun
    plural: bool = False
    determiner: str = ""
    owner: NounPhrase | None = None
    number: Phrase | None = None
    descriptions: tuple[Description, ...] = ()
    place: Place | None = None
    relative: Clause | None = None

    @property
    def pronoun(self) -> str:
        """The subject pronoun that can stand for it: he, she, it or they."""
        return "they" if self.plural else self.noun.pronoun


@dataclass(frozen=True, slots=True)
class Pronoun:
    """A pronoun, by its subject form; what it stands for is the one noun phrase before it that it fits."""

    form: str


@dataclass(frozen=True, slots=True)
class Clause:
    """A predicate with its subject.

    subject: None if it is shared with the clause before, or if the clause is relative and its noun is the subject.
    verb:    None is "to be", with `complement`.
    target:  the direct object. In a relative clause with a subject its noun is the object, and this is None.
    """

    subject: NounPhrase | Pronoun | None
    verb: Verb | None = None
    negation: str = ""  # "", "not" or "never"
    frequency: Phrase | None = None
    target: NounPhrase | Pronoun | None = None
    recipient: NounPhrase | None = None
    manner: Phrase | None = None
    place: Place | None = None
    complement: Description | Phrase | Place | None = None


@dataclass(frozen=True, slots=True)
class Sentence:
    """One clause, or two with a word between them."""

    clause: Clause
    time: Phrase | None = None
    joint: Phrase | None = None
    second: Clause | None = None


def mentions(clause: Clause) -> Iterator[NounPhrase]:
    """Yield the noun phrases of a clause, those inside others too."""
    inside: list[object] = [clause]
    while inside:
        node = inside.pop()
        if isinstance(node, NounPhrase):
            yield node
            inside += [node.owner, node.place, node.relative]
        elif isinstance(node, Place):
            inside.append(node.where)
        elif isinstance(node, Clause):
            inside += [node.subject, node.target, node.recipient, node.place, node.complement]
