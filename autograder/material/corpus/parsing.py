"""From an English sentence back to its tree, and so to its translation.

The parser tries every reading that the words allow. It does not look at number, at "a" and "an", or at what makes
sense; a reading counts only if its tree gives back the same sentence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TypeVar

from autograder.material.corpus import lexicon
from autograder.material.corpus.grammar import Clause, Description, NounPhrase, Place, Pronoun, Sentence
from autograder.material.corpus.pair import Pair
from autograder.material.corpus.transfer import Unclear, render
from autograder.material.corpus.words import Phrase, Verb

T = TypeVar("T")
Found = Iterator[tuple[T, int]]  # a part and where the next one starts


def _table(entries: Sequence[T], *forms: Callable[[T], str]) -> dict[tuple[str, ...], list[tuple[T, bool]]]:
    """Entries by the words of their forms; True marks the second form."""
    found: dict[tuple[str, ...], list[tuple[T, bool]]] = {}
    for entry in entries:
        for second, form in enumerate(forms):
            found.setdefault(tuple(form(entry).split()), []).append((entry, bool(second)))
    return found


def _phrases(entries: Sequence[Phrase]) -> dict[tuple[str, ...], list[tuple[Phrase, bool]]]:
    return _table(entries, lambda one: one.english)


NOUNS = _table(lexicon.NOUNS, lambda noun: noun.english.singular, lambda noun: noun.english.plural)
NAMES = _table(lexicon.NAMES, lambda name: name.english.singular)
VERBS = _table(
    lexicon.VERBS,
    lambda verb: f"{verb.english.singular} {verb.particle}",
    lambda verb: f"{verb.english.plural} {verb.particle}",
)
ADJECTIVES = _table(lexicon.ADJECTIVES, lambda adjective: adjective.english)
STATES, PLACES, TIMES = _phrases(lexicon.STATES), _phrases(lexicon.PLACES), _phrases(lexicon.TIMES)
FREQUENCIES, MANNERS = _phrases(lexicon.FREQUENCIES), _phrases(lexicon.MANNERS)
NUMBERS, JOINTS = _phrases(lexicon.NUMBERS), _phrases(lexicon.JOINTS)
SUBJECT_FORMS = dict.fromkeys(("he", "she", "it", "they"))
OBJECT_FORMS = {text: form for form, text in lexicon.OBJECT_PRONOUNS.items()}


def parse(words: Sequence[str]) -> list[tuple[Sentence, Pair]]:
    """Return every tree of an English sentence with its pair; none if it is not of the grammar."""
    found = []
    for tree in _Parser(tuple(words)).sentences():
        try:
            pair = render(tree)
        except Unclear:
            continue
        if pair.source == tuple(words):
            found.append((tree, pair))
    return found


def translate(sentence: str) -> Pair:
    """Return the pair of an English sentence of the grammar, words separated by spaces.

    Raises ValueError with the unknown words, if there are any, where the sentence is none of the grammar.

    >>> print(translate("Anna 's old uncle does not open the red box"))
    Anna 's old uncle does not open the red box → le vieil oncle d' Anna n' ouvre pas la boîte rouge
    """
    words = sentence.split()
    found = parse(words)
    if not found:
        unknown = [word for word in words if word not in KNOWN]
        why = f"it does not know {', '.join(unknown)}" if unknown else "no rule gives it, or a pronoun is not clear"
        raise ValueError(f"translating {sentence!r}: this is no sentence of the corpus's grammar; {why}")
    return found[0][1]


class _Parser:
    def __init__(self, words: tuple[str, ...]):
        self.words = words

    def sentences(self) -> Iterator[Sentence]:
        end = len(self.words)
        for time, i in self.optional(TIMES, 0):
            for clause, j in self.clause(i, self.subject_noun):
                if j == end:
                    yield Sentence(clause, time)
                for joint, k in self.entry(JOINTS, j) if not _ends_in_relative(clause) else ():
                    starts = (self.pronoun(k, SUBJECT_FORMS), [(None, k)] if "cc" in joint.tags else [])
                    for subject, m in (one for found in starts for one in found):
                        for second, n in self.predicate(m, subject):
                            if n == end:
                                yield Sentence(clause, time, joint, second)

    def clause(self, i: int, subject: Callable[[int], Found[NounPhrase]]) -> Found[Clause]:
        for found, j in subject(i):
            yield from self.predicate(j, found)

    def predicate(self, i: int, subject: NounPhrase | Pronoun | None, inner: bool = False) -> Found[Clause]:
        """A predicate; inner: whether it is in a relative clause, and so without another one."""
        for _ in self.word(i, "is", "are"):
            for negation, j in self.maybe(i + 1, "not", "never"):
                for frequency, k in self.optional(FREQUENCIES, j):
                    for complement, m in self.complement(k):
                        yield Clause(subject, None, negation, frequency, complement=complement), m
        for negation, j in self.negation(i):
            for frequency, k in self.optional(FREQUENCIES, j):
                for verb, m in self.entry(VERBS, k):
                    base = Clause(subject, verb, negation, frequency)
                    for clause, n in self.with_object(base, m, inner) if verb.objects else [(base, m)]:
                        yield from self.rest(clause, n)

    def with_object(self, base: Clause, i: int, inner: bool) -> Found[Clause]:
        for pronoun, j in self.pronoun(i, OBJECT_FORMS):
            yield replace(base, target=pronoun), j
        for target, j in self.noun_phrase(i):
            yield replace(base, target=target), j
            if not inner:
                for relative, k in self.relative(j):
                    yield replace(base, target=replace(target, relative=relative)), k

    def rest(self, clause: Clause, i: int) -> Found[Clause]:
        """What follows the verb and its object."""
        verb: Verb | None = clause.verb
        assert verb is not None
        if verb.recipients:
            for _ in self.word(i, "to"):
                for recipient, j in self.noun_phrase(i + 1):
                    if not _ends_in_relative(clause):
                        yield replace(clause, recipient=recipient), j
        elif _ends_in_relative(clause):
            yield clause, i
        else:
            for manner, j in self.optional(MANNERS, i):
                yield replace(clause, manner=manner), j
                for place, k in self.place(j):
                    yield replace(clause, manner=manner, place=place), k

    def complement(self, i: int) -> Found[Description | Phrase | Place]:
        yield from self.entry(STATES, i)
        yield from self.place(i)
        yield from self.description(i)

    def subject_noun(self, i: int) -> Found[NounPhrase]:
        for found, j in self.noun_phrase(i):
            yield found, j
            for place, k in self.place(j):
                yield replace(found, place=place), k
            for relative, k in self.relative(j):
                yield replace(found, relative=relative), k

    def relative(self, i: int) -> Found[Clause]:
        for _ in self.word(i, "who", "that"):
            yield from self.predicate(i + 1, None, inner=True)
        for _ in self.word(i, "that"):
            for subject, j in self.noun_phrase(i + 1):
                for negation, k in self.negation(j):
                    for verb, m in self.entry(VERBS, k):
                        if verb.objects and not verb.recipients:
                            yield Clause(subject, verb, negation), m

    def noun_phrase(self, i: int, owned: bool = True) -> Found[NounPhrase]:
        """A noun phrase without what may follow its noun; owned: whether it may have an owner."""
        for name, j in self.entry(NAMES, i):
            yield NounPhrase(name), j
        determiners = [("a" if word == "an" else word, i + 1) for word in self.word(i, *lexicon.DETERMINERS, "an")]
        for determiner, j in [("", i), *determiners]:
            for found, k in self.described(j):
                if determiner or found.number:
                    yield replace(found, determiner=determiner), k
        for owner, j in self.noun_phrase(i, owned=False) if owned else ():
            for _ in self.word(j, "'s"):
                for found, k in self.described(j + 1):
                    yield replace(found, owner=owner), k

    def described(self, i: int) -> Found[NounPhrase]:
        """A number, at most two adjectives, and a noun."""
        for number, j in self.optional(NUMBERS, i):
            for first, k in [(None, j), *self.description(j)]:
                for second, m in [(None, k), *(self.description(k) if first else ())]:
                    descriptions = tuple(one for one in (first, second) if one)
                    for n, noun, plural in self.forms(NOUNS, m):
                        yield NounPhrase(noun, plural, number=number, descriptions=descriptions), n

    def description(self, i: int) -> Found[Description]:
        for very, j in [(False, i), *((True, i + 1) for _ in self.word(i, "very"))]:
            for adjective, k in self.entry(ADJECTIVES, j):
                yield Description(adjective, very), k

    def place(self, i: int) -> Found[Place]:
        for preposition, j in self.entry(PLACES, i):
            for where, k in self.noun_phrase(j):
                yield Place(preposition, where), k

    def negation(self, i: int) -> Found[str]:
        yield "", i
        for _ in self.word(i, "never"):
            yield "never", i + 1
        for _ in self.word(i, "do", "does"):
            for _ in self.word(i + 1, "not"):
                yield "not", i + 2

    def pronoun(self, i: int, forms: dict) -> Found[Pronoun]:
        for word in self.word(i, *forms):
            yield Pronoun(forms[word] or word), i + 1

    def word(self, i: int, *texts: str) -> list[str]:
        return [text for text in self.words[i : i + 1] if text in texts]

    def maybe(self, i: int, *texts: str) -> list[tuple[str, int]]:
        return [("", i), *((text, i + 1) for text in self.word(i, *texts))]

    def forms(self, table: dict[tuple[str, ...], list[tuple[T, bool]]], i: int) -> Iterator[tuple[int, T, bool]]:
        for j in range(i + 1, min(i + 3, len(self.words)) + 1):
            for entry, second in table.get(self.words[i:j], ()):
                yield j, entry, second

    def entry(self, table: dict[tuple[str, ...], list[tuple[T, bool]]], i: int) -> Found[T]:
        for j, entry, _ in self.forms(table, i):
            yield entry, j

    def optional(self, table: dict[tuple[str, ...], list[tuple[T, bool]]], i: int) -> Found[T | None]:
        yield None, i
        yield from self.entry(table, i)


def _ends_in_relative(clause: Clause) -> bool:
    return isinstance(clause.target, NounPhrase) and clause.target.relative is not None


KNOWN = {
    word
    for table in (NOUNS, NAMES, VERBS, ADJECTIVES, STATES, PLACES, TIMES, FREQUENCIES, MANNERS, NUMBERS, JOINTS)
    for words in table
    for word in words
} | {*lexicon.DETERMINERS, *SUBJECT_FORMS, *OBJECT_FORMS, *"an 's to who that is are do does not never very".split()}
