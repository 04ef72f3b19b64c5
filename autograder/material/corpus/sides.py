"""Words of both languages side by side: an English word knows its head, a French word what it translates.

A French word carries references to English ones, so that words may move, be elided or merge, and the alignment stays
true.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from autograder.material.corpus.grammar import Description, NounPhrase
from autograder.material.corpus.lexicon import CONTRACTED, ELIDED, FUNCTION_PARTS, VOWELS
from autograder.material.corpus.words import Phrase


@dataclass(eq=False, slots=True)
class Token:
    """An English word: its head (None at the root) and how it depends on it."""

    text: str
    relation: str = "root"
    head: Token | None = None


@dataclass(eq=False, slots=True)
class Word:
    """A French word: all it may be aligned to, the one it surely translates, and its form before a vowel."""

    text: str
    possible: tuple[Token, ...]
    sure: Token | None = None
    soft: str = ""


@dataclass(eq=False, slots=True)
class Both:
    """A stretch of both languages, and the English word that it hangs on."""

    source: list[Token]
    target: list[Word]
    head: Token


def noun(tree: NounPhrase) -> Both:
    """The noun alone; in English its last word is its head, in French all but "de" and "à" have content."""
    tokens = [Token(text) for text in tree.noun.english.of(tree.plural).split()]
    for token in tokens[:-1]:
        depend(token, tokens[-1], "compound")
    return Both(tokens, _content(tree.noun.french.of(tree.plural), tokens), tokens[-1])


def description(tree: Description, feminine: bool, plural: bool, noun_follows: bool, noun: Token | None = None) -> Both:
    """An adjective, perhaps with "very"; noun: what it describes, None in a predicate."""
    adjective = tree.adjective
    head = Token(adjective.english)
    if noun:
        depend(head, noun, "amod")
    words = _content(adjective.french(feminine, plural), [head])
    if noun_follows and adjective.before_noun and not plural and not feminine:
        words[0].soft = adjective.soft
    if not tree.very:
        return Both([head], words, head)
    very = Token("very", "advmod", head)
    return Both([very, head], [Word("très", (very,), very), *words], head)


def expression(phrase: Phrase, relation: str, head: Token) -> Both:
    """An expression that does not inflect; its last English word is its head."""
    tokens = [Token(text) for text in phrase.english.split()]
    depend(tokens[-1], head, relation)
    for token in tokens[:-1]:
        depend(token, tokens[-1], "det" if token.text == "every" else "case")
    return Both(tokens, _content(phrase.french, tokens), tokens[-1])


def _content(french: str, tokens: list[Token]) -> list[Word]:
    """The words of a French expression; those with content surely translate the last English word."""
    parts = french.split()
    return [
        Word(
            part, tuple(tokens), None if part in FUNCTION_PARTS and len(parts) > 1 else tokens[-1], ELIDED.get(part, "")
        )
        for part in parts
    ]


def negated(negation: str, negating: list[Token], possible: list[Token]) -> tuple[list[Word], list[Word]]:
    """What French puts before and after a negated verb."""
    if not negation:
        return [], []
    before = [Word("ne", tuple(possible), soft="n'")]
    if negation == "never":
        return before, [Word("jamais", tuple(negating), negating[-1])]
    return before, [Word("pas", tuple(possible))]


def function_word(text: str, *possible: Token) -> Word:
    return Word(text, possible, soft=ELIDED.get(text, ""))


def depend(token: Token, head: Token, relation: str) -> None:
    token.head, token.relation = head, relation


def joined(words: list[Word]) -> list[Word]:
    """The words with elision before vowels and with "de le" as "du"; a merged word has the links of both."""
    for here, after in pairwise(words):
        if here.soft and after.text[0].lower() in VOWELS:
            here.text = here.soft
    found: list[Word] = []
    for i, word in enumerate(words):
        together = CONTRACTED.get((found[-1].text, word.text)) if found else None
        if together == "de" and words[i + 1].text[0].lower() in VOWELS:
            together = "d'"
        if together:
            found[-1] = Word(together, found[-1].possible + word.possible)
        else:
            found.append(word)
    return found
