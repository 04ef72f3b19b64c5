"""The kinds of words that the corpus knows, and how the tables of lexicon.py are read into them."""

from dataclasses import dataclass
from typing import NamedTuple


class Forms(NamedTuple):
    """A form for one and a form for more than one."""

    singular: str
    plural: str

    def of(self, plural: bool) -> str:
        return self.plural if plural else self.singular


@dataclass(frozen=True, eq=False, slots=True)
class Noun:
    """A noun or a name. A name has no article and no plural."""

    english: Forms
    french: Forms
    feminine: bool
    tags: frozenset[str]
    is_name: bool = False

    @property
    def pronoun(self) -> str:
        """The English pronoun for one: he, she or it."""
        return ("she" if self.feminine else "he") if "person" in self.tags else "it"


@dataclass(frozen=True, eq=False, slots=True)
class Adjective:
    """An adjective; `soft` is its masculine form between an article and a vowel, as in "un vieil homme"."""

    english: str
    masculine: Forms
    feminine: Forms
    soft: str
    before_noun: bool
    gradable: bool
    tags: frozenset[str]

    def french(self, feminine: bool, plural: bool) -> str:
        return (self.feminine if feminine else self.masculine).of(plural)


@dataclass(frozen=True, eq=False, slots=True)
class Verb:
    """A verb of the present tense: English third person (one, more), French third person (one, more).

    particle: what follows it in English and is not translated on its own: "up" in "wake up", "for" in "look for".
    subjects, objects, recipients: tags; without objects it is intransitive, without recipients it takes no "to".
    manner:   whether it can be done slowly or carefully.
    state:    whether it holds for long, like knowing and belonging.
    """

    english: Forms
    particle: str
    french: Forms
    reflexive: bool
    subjects: frozenset[str]
    objects: frozenset[str]
    recipients: frozenset[str]
    manner: bool
    state: bool


@dataclass(frozen=True, eq=False, slots=True)
class Phrase:
    """An expression that does not inflect: adverbs, prepositions, conjunctions, numbers, states."""

    english: str
    french: str
    tags: frozenset[str] = frozenset()


def _rows(table: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.split("|")] for line in table.strip().splitlines()]


def _tags(cell: str) -> frozenset[str]:
    return frozenset(cell.split())


def _english_s(word: str) -> str:
    """The word with the -s of a plural or of a third person."""
    first, _, rest = word.partition(" ")
    if rest:  # "train station": the last word inflects
        return f"{first} {_english_s(rest)}"
    if word.endswith(("s", "sh", "ch", "x", "o")):
        return word + "es"
    return word[:-1] + "ies" if word.endswith("y") and word[-2] not in "aeiou" else word + "s"


def _french_s(word: str) -> str:
    """The plural of a noun or adjective; only the first part of a longer expression takes it."""
    first, _, rest = word.partition(" ")
    ending = "" if first.endswith(("s", "x")) else "x" if first.endswith("eau") else "s"
    return f"{first}{ending} {rest}".strip()


def nouns(table: str) -> tuple[Noun, ...]:
    """Return the nouns of a table: English | French | gender | tags."""
    found = []
    for english, french, gender, tags in _rows(table):
        one, _, more = english.partition("/")
        un, _, des = french.partition("/")
        found.append(
            Noun(Forms(one, more or _english_s(one)), Forms(un, des or _french_s(un)), gender == "f", _tags(tags))
        )
    return tuple(found)


def adjectives(table: str, before_noun: bool) -> tuple[Adjective, ...]:
    """Return the adjectives of a table: English | French | form before a vowel | "very" if gradable | tags."""
    found = []
    for english, french, soft, degree, tags in _rows(table):
        if french.startswith("="):  # does not inflect
            masculine = feminine = Forms(french[1:], french[1:])
        else:
            un, une, des, *_ = [*french.split("/"), "", ""]
            une = une or (un if un.endswith("e") else un + "e")
            masculine, feminine = Forms(un, des or _french_s(un)), Forms(une, _french_s(une))
        found.append(Adjective(english, masculine, feminine, soft, before_noun, degree == "very", _tags(tags)))
    return tuple(found)


def verbs(table: str) -> tuple[Verb, ...]:
    """Return the verbs of a table: English | French | subjects | objects | recipients | "how", "state" or nothing."""
    found = []
    for english, french, subjects, objects, recipients, kind in _rows(table):
        main, _, particle = english.partition(" ")
        reflexive = french.startswith("se ")
        one, _, more = french.removeprefix("se ").partition("/")
        found.append(
            Verb(
                Forms(_english_s(main), main),
                particle,
                Forms(one, more or one + "nt"),
                reflexive,
                _tags(subjects),
                _tags(objects),
                _tags(recipients),
                kind == "how",
                kind == "state",
            )
        )
    return tuple(found)


def phrases(table: str) -> tuple[Phrase, ...]:
    """Return the expressions of a table: English | French | tags."""
    return tuple(Phrase(english, french, _tags(tags)) for english, french, tags in _rows(table))
