"""BERT's word pieces: lower-case words cut into the longest pieces of a fixed vocabulary.

Wu et al. 2016, section 4.1 (arXiv:1609.08144), is the source of the pieces; Devlin et al. 2019 (arXiv:1810.04805)
of the special tokens. Chinese characters and control characters are not treated as the original tokenizer treats them.
"""

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

LONGEST_WORD = 100  # characters; a longer word is unknown as a whole
SYMBOLS = frozenset("$+<=>^`|~")  # ASCII that Unicode does not call punctuation, and BERT does


@dataclass(frozen=True)
class Encoded:
    """A text as pieces.

    tokens: the pieces, "[CLS]" first and "[SEP]" last; "##" opens a piece that goes on with the word before it.
    ids:    their numbers in the vocabulary.
    words:  for each piece the number of its word, counted from 0; None for the two special tokens.
    """

    tokens: tuple[str, ...]
    ids: list[int]
    words: list[int | None]


@dataclass(frozen=True)
class WordPiece:
    """A vocabulary of pieces, in the order of their numbers.

    >>> pieces = WordPiece(("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "pan", "##s", "."))
    >>> pieces.encode("The pans.").tokens
    ('[CLS]', 'the', 'pan', '##s', '.', '[SEP]')
    """

    pieces: tuple[str, ...]

    def __post_init__(self) -> None:
        absent = [name for name in ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]") if name not in self.numbers]
        if absent:
            raise ValueError(f"reading a vocabulary of {len(self.pieces)} pieces: it has no {', '.join(absent)}")

    @cached_property
    def numbers(self) -> dict[str, int]:
        return {piece: i for i, piece in enumerate(self.pieces)}

    @property
    def size(self) -> int:
        return len(self.pieces)

    @property
    def pad_id(self) -> int:
        return self.numbers["[PAD]"]

    @property
    def unk_id(self) -> int:
        return self.numbers["[UNK]"]

    @property
    def cls_id(self) -> int:
        return self.numbers["[CLS]"]

    @property
    def sep_id(self) -> int:
        return self.numbers["[SEP]"]

    @property
    def mask_id(self) -> int:
        return self.numbers["[MASK]"]

    def encode(self, text: str) -> Encoded:
        """Cut a text into pieces, between "[CLS]" and "[SEP]". "[MASK]" in the text is the special token."""
        tokens, words = ["[CLS]"], [None]  # type: tuple[list[str], list[int | None]]
        for number, word in enumerate(split_words(text)):
            pieces = self.cut(word)
            tokens += pieces
            words += [number] * len(pieces)
        tokens.append("[SEP]")
        return Encoded(tuple(tokens), [self.numbers[token] for token in tokens], [*words, None])

    def cut(self, word: str) -> list[str]:
        """Return the pieces of one word, each the longest that fits; ["[UNK]"] if some part has none."""
        if word in self.numbers:
            return [word]
        if len(word) > LONGEST_WORD:
            return ["[UNK]"]
        found: list[str] = []
        start = 0
        while start < len(word):
            prefix = "##" if start else ""
            fitting = (end for end in range(len(word), start, -1) if prefix + word[start:end] in self.numbers)
            end = next(fitting, None)
            if end is None:
                return ["[UNK]"]
            found.append(prefix + word[start:end])
            start = end
        return found

    def tokens(self, ids: Sequence[int]) -> tuple[str, ...]:
        """Return the pieces that numbers stand for."""
        return tuple(self.pieces[i] for i in ids)


def read_vocabulary(path: Path) -> WordPiece:
    """Read a vocab.txt: one piece a line, its number the line's."""
    return WordPiece(tuple(path.read_text(encoding="utf-8").removesuffix("\n").split("\n")))


def split_words(text: str) -> list[str]:
    """Split a text at white space and around punctuation, in lower case and without accents.

    >>> split_words("She dropped the pan: it's HOT, [MASK]!")
    ['she', 'dropped', 'the', 'pan', ':', 'it', "'", 's', 'hot', ',', '[MASK]', '!']
    """
    return [word for part in text.split() for word in _split_part(part)]


def _split_part(part: str) -> Iterator[str]:
    """The words of a part without white space."""
    before, mask, after = part.partition("[MASK]")
    if mask:
        yield from _split_part(before)
        yield mask
        yield from _split_part(after)
        return
    word = ""
    for character in unicodedata.normalize("NFD", part.lower()):
        category = unicodedata.category(character)
        if category == "Mn":
            continue
        if category.startswith("P") or character in SYMBOLS:
            if word:
                yield word
            yield character
            word = ""
        else:
            word += character
    if word:
        yield word
