"""The course's own parallel corpus: English-like sentences, their French, and the true alignment of their words.

A small grammar makes them, with agreement in gender and number, adjectives behind the noun, negation around the verb,
object pronouns before it, possessors behind what is theirs, and expressions of several words. Every sentence has one
translation, so that counting exact matches is fair. Words, rules and sentences were written for the course.

>>> print(translate("the girl does not eat the red apples"))
the girl does not eat the red apples → la fille ne mange pas les pommes rouges
"""

from autograder.material.corpus.pair import ROOT, Pair, fixed_offset, links
from autograder.material.corpus.parsing import parse, translate
from autograder.material.corpus.splits import Corpus, corpus, draw
from autograder.material.corpus.vocabulary import BOS, EOS, PAD, UNK, Batch, Vocabulary, batches, padded

__all__ = [
    "BOS",
    "EOS",
    "PAD",
    "ROOT",
    "UNK",
    "Batch",
    "Corpus",
    "Pair",
    "Vocabulary",
    "batches",
    "corpus",
    "draw",
    "fixed_offset",
    "links",
    "padded",
    "parse",
    "translate",
]
