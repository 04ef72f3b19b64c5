"""Sentences drawn at random, as trees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import TypeVar

import numpy as np

from autograder.material.corpus.grammar import Clause, Description, NounPhrase, Place, Pronoun, Sentence, mentions
from autograder.material.corpus.lexicon import (
    ADJECTIVES,
    AFTER_NOUN,
    BEFORE_NOUN,
    FREQUENCIES,
    JOINTS,
    MANNERS,
    NAMES,
    NOUNS,
    NUMBERS,
    PLACES,
    STATES,
    TIMES,
    VERBS,
)
from autograder.material.corpus.words import Adjective, Noun, Phrase, Verb

T = TypeVar("T")

# What a sentence is about: people and animals do more than things.
SUBJECTS = ("person",) * 6 + ("animal",) * 4 + ("food", "text", "thing", "place")


class Exhausted(Exception):
    """Every word that would fit has been used in this sentence."""


class Draw:
    """Draws one tree, in which no word of content comes twice; `rich` in 0 to 1 is how readily modifiers are added.

    `passing`, here and there, asks for what can be so for a while: happy, but not young; sleeps, but does not know.
    """

    def __init__(self, rng: np.random.Generator, rich: float):
        self.rng = rng
        self.rich = rich
        self.used: set[object] = set()

    def sentence(self) -> Sentence:
        """Return the tree of a sentence."""
        time = self.pick(TIMES) if self.chance(0.15) else None
        joint = self.pick(JOINTS) if self.chance(0.25 + 0.35 * self.rich) else None
        passing = bool(time or (joint and "passing" in joint.tags))
        subject = self.noun_phrase(self.subject_tags(), as_subject=True)
        clause = self.predicate(subject, subject, passing, final=not joint)
        second = self.second_clause(clause, subject, joint, passing) if joint else None
        return Sentence(clause, time, joint, second) if second else Sentence(clause, time)

    def second_clause(self, first: Clause, main: NounPhrase, joint: Phrase, passing: bool) -> Clause | None:
        """Return a clause with a pronoun or without a subject, or None where no pronoun would be clear."""
        known = list(mentions(first))
        absent = first.target if first.negation else None  # "does not see a cat": there may be none to speak of
        if "cc" in joint.tags and self.chance(0.6):
            others = [one for one in _clear([one for one in known if one is not main]) if one is not absent]
            return self.predicate(None, main, passing, final=True, known=others)
        fits = [one for one in _clear(known) if one is not absent]
        if not fits:
            return None
        who = fits[int(self.rng.random() * len(fits))]
        others = [one for one in fits if one is not who]
        return self.predicate(Pronoun(who.pronoun), who, passing, final=True, known=others)

    def predicate(
        self,
        subject: NounPhrase | Pronoun | None,
        who: NounPhrase,
        passing: bool,
        final: bool,
        known: Sequence[NounPhrase] = (),
    ) -> Clause:
        """Return a clause about `who`.

        final: whether it may end in a relative clause.
        known: what an object pronoun may stand for.
        """
        negation = self.pick(("not", "not", "never")) if self.chance(0.25) and who.determiner != "every" else ""
        often = [one for one in FREQUENCIES if "negatable" in one.tags or not negation]
        frequency = self.pick(often) if self.chance(0.15) and negation != "never" else None
        passing = passing or negation == "never" or frequency is not None
        base = Clause(subject, None, negation, frequency)
        verbs = [verb for verb in _verbs_of(who.noun.tags) if not (passing and verb.state)]
        if known and self.chance(0.7):
            one = known[int(self.rng.random() * len(known))]
            if objects := [verb for verb in verbs if verb.objects & one.noun.tags]:
                return self.verb_phrase(replace(base, verb=self.pick(objects), target=Pronoun(one.pronoun)))
        if not verbs or self.chance(0.15 if len(verbs) > 6 else 0.4):  # few verbs go with things
            return replace(base, complement=self.complement(who.noun.tags, passing))
        verb = self.pick(verbs)
        return self.verb_phrase(replace(base, verb=verb, target=self.object(verb, bool(negation), final)))

    def verb_phrase(self, clause: Clause) -> Clause:
        """Add to whom, how and where, unless the object has a relative clause, which ends it."""
        verb = clause.verb
        assert verb is not None
        if verb.recipients:
            return replace(clause, recipient=self.noun_phrase(verb.recipients))
        if isinstance(clause.target, NounPhrase) and clause.target.relative:
            return clause
        manner = self.pick(MANNERS) if verb.manner and not clause.frequency and self.chance(0.3) else None
        place = self.place(together=verb.manner) if self.chance(0.1 + 0.35 * self.rich) else None
        return replace(clause, manner=manner, place=place)

    def complement(self, tags: frozenset[str], passing: bool) -> Description | Phrase | Place:
        """Return what or where someone or something is."""
        states = [one for one in STATES if one.tags & tags]
        if states and self.chance(0.2):
            return self.pick(states)
        fitting = [one for one in ADJECTIVES if one.tags & tags and ("passing" in one.tags or not passing)]
        if not fitting or ("place" not in tags and self.chance(0.25)):
            return self.place()
        return self.description(fitting)

    def object(self, verb: Verb, negated: bool, final: bool) -> NounPhrase | None:
        """Return a direct object if the verb has one; final: whether it may have a relative clause."""
        if not verb.objects:
            return None
        found = self.noun_phrase(verb.objects, negated=negated)
        absent = negated and found.determiner in ("a", "any")
        wanted = final and not verb.recipients and not found.noun.is_name and not absent
        if wanted and self.chance(0.15 + 0.3 * self.rich):
            return replace(found, relative=self.relative(found))
        return found

    def relative(self, about: NounPhrase) -> Clause:
        """Return a relative clause about a noun phrase."""
        verbs = [verb for verb in VERBS if verb.objects & about.noun.tags and not verb.recipients]
        if verbs and self.chance(0.5):
            verb = self.pick(verbs)
            negation = "not" if self.chance(0.15) else ""
            return Clause(self.noun_phrase(verb.subjects), verb, negation)
        return self.predicate(None, about, passing=False, final=False)

    def noun_phrase(
        self, tags: frozenset[str], as_subject: bool = False, negated: bool = False, simple: bool = False
    ) -> NounPhrase:
        """Return a noun phrase that fits one of the tags.

        as_subject: whether a place or a relative clause may follow the noun.
        negated:    whether it is the object of a negated verb, which asks for "any" instead of "some".
        simple:     whether it has no owner.
        """
        if "person" in tags and self.chance(0.12):
            return NounPhrase(self.pick(NAMES))
        noun = self.pick(_nouns_of(tags))
        plural = self.chance(0.35)
        number = self.pick(NUMBERS) if plural and self.chance(0.2) else None
        found = NounPhrase(noun, plural, number=number, descriptions=self.descriptions(noun))
        if not simple and noun.pronoun == "it" and self.chance(0.12):
            owner = self.noun_phrase(frozenset(("person",)), simple=True)
            found = replace(found, owner=replace(owner, plural=False, number=None, determiner=_singular(owner)))
        else:
            found = replace(found, determiner=self.determiner(found, negated))
        if as_subject and self.chance(0.1 + 0.25 * self.rich):
            if self.chance(0.35):
                return replace(found, place=self.place())
            return replace(found, relative=self.relative(found))
        return found

    def determiner(self, found: NounPhrase, negated: bool) -> str:
        """Return the English determiner of a noun phrase."""
        if self.chance(0.5):
            return "the"
        ours = ("my", "our") if found.noun.pronoun == "it" or "kin" in found.noun.tags else ()
        if not found.plural:
            return self.pick(("a", "a", "a", "this", "a" if negated else "every", *ours))
        if found.number:
            return self.pick(("", "", "these", *ours))
        some = "any" if negated else "some"
        return self.pick((some, some, "these", *ours))

    def descriptions(self, noun: Noun) -> tuple[Description, ...]:
        """Return no adjective, or one from before the French noun, or one from after it, or both."""
        often = 0.2 + 0.2 * self.rich
        before = self.description(_fitting(BEFORE_NOUN, noun)) if self.chance(often) else None
        after = self.description(_fitting(AFTER_NOUN, noun)) if self.chance(often) else None
        if before and after:
            after = Description(after.adjective)
        return tuple(one for one in (before, after) if one)

    def description(self, fitting: Sequence[Adjective]) -> Description:
        adjective = self.pick(fitting)
        return Description(adjective, adjective.gradable and self.chance(0.15))

    def place(self, together: bool = False) -> Place:
        """Return a preposition with its noun phrase; "with" someone only if the verb is done together."""
        preposition = self.pick([one for one in PLACES if together or one.english != "with"])
        return Place(preposition, self.noun_phrase(preposition.tags))

    def subject_tags(self) -> frozenset[str]:
        return frozenset((self.pick(SUBJECTS),))

    def chance(self, probability: float) -> bool:
        return self.rng.random() < probability

    def pick(self, choices: Sequence[T]) -> T:
        """Return one of some determiners, or one of some words that the sentence does not have yet."""
        for _ in range(20):
            chosen = choices[int(self.rng.random() * len(choices))]
            if isinstance(chosen, str):
                return chosen
            if chosen not in self.used:
                self.used.add(chosen)
                return chosen
        raise Exhausted


def _clear(known: list[NounPhrase]) -> list[NounPhrase]:
    """Those that a pronoun can stand for, since it fits no other."""
    forms = [one.pronoun for one in known]
    return [one for one in known if forms.count(one.pronoun) == 1]


def _singular(owner: NounPhrase) -> str:
    """A determiner for one, where the owner was drawn with one for more."""
    if owner.noun.is_name or not owner.plural:
        return owner.determiner
    return owner.determiner if owner.determiner in ("my", "our") else "the"


def _without_relative(target: NounPhrase | Pronoun | None) -> NounPhrase | Pronoun | None:
    return replace(target, relative=None) if isinstance(target, NounPhrase) else target


@cache
def _nouns_of(tags: frozenset[str]) -> tuple[Noun, ...]:
    return tuple(noun for noun in NOUNS if noun.tags & tags)


@cache
def _verbs_of(tags: frozenset[str]) -> tuple[Verb, ...]:
    return tuple(verb for verb in VERBS if verb.subjects & tags)


@cache
def _fitting(adjectives: tuple[Adjective, ...], noun: Noun) -> tuple[Adjective, ...]:
    return tuple(adjective for adjective in adjectives if adjective.tags & noun.tags)
