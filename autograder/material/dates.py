"""Dates in the words of three languages and in ISO form: a translation task of real words, learned in seconds.

The words are those of the Unicode CLDR, through Babel (BSD-3; data under the Unicode licence).
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from babel.dates import format_date

# Every form names the month, so no two dates of a language are written alike.
FORMS = {
    "en": ("EEEE, MMMM d, y", "MMMM d, y", "d MMMM y", "MMM d, y"),
    "de": ("EEEE, d. MMMM y", "d. MMMM y", "d. MMM y"),
    "fr": ("EEEE d MMMM y", "d MMMM y", "d MMM y"),
}
LANGUAGES = tuple(FORMS)
FIRST, LAST = datetime.date(1950, 1, 1), datetime.date(2049, 12, 31)


@dataclass(frozen=True)
class DatePair:
    """A date in words, the same in ISO form, and its language; texts, to be cut into characters or words.

    >>> DatePair("lundi 3 mars 2014", "2014-03-03", "fr").date
    datetime.date(2014, 3, 3)
    """

    source: str
    target: str
    language: str

    @property
    def date(self) -> datetime.date:
        return datetime.date.fromisoformat(self.target)


def dates(n: int, rng: np.random.Generator, language: str) -> list[DatePair]:
    """Return n pairs of one language, "en", "de" or "fr": days from 1950 to 2049, each in a form drawn at random.

    A day may come more than once. Raises ValueError for another language.
    """
    days = rng.integers((LAST - FIRST).days + 1, size=n)
    return [_written(int(day), rng, language) for day in days]


def splits(
    train: int, test: int, seed: int = 0, languages: Sequence[str] = LANGUAGES
) -> tuple[list[DatePair], list[DatePair]]:
    """Return pairs to train on and pairs to test on, the languages mixed; no day of one is in the other.

    A split by pairs would leak: the same day in another form, or in another language, has the same ISO form.
    Raises ValueError for a language that is not there, or if days for both do not exist.

    >>> train, test = splits(300, 30)
    >>> {pair.target for pair in train} & {pair.target for pair in test}
    set()
    """
    rng = np.random.default_rng(seed)
    days = rng.permutation((LAST - FIRST).days + 1)
    if test >= len(days):
        raise ValueError(f"splitting dates: {test} days to test on leave none of {len(days)} to train on")
    held_out = days[:test]
    drawn = rng.choice(days[test:], size=train)
    first, second = (
        [_written(int(day), rng, languages[i % len(languages)]) for i, day in enumerate(chosen)]
        for chosen in (drawn, held_out)
    )
    return first, second


def _written(day: int, rng: np.random.Generator, language: str) -> DatePair:
    if language not in FORMS:
        raise ValueError(f"writing dates: {language!r} is not there; the languages are {', '.join(LANGUAGES)}")
    date = FIRST + datetime.timedelta(days=day)
    form = FORMS[language][int(rng.integers(len(FORMS[language])))]
    if language == "fr" and date.day == 1:  # the first is written so; CLDR has it as a mere 1
        form = form.replace("d ", "d'er' ")
    return DatePair(format_date(date, form, locale=language), date.isoformat(), language)
