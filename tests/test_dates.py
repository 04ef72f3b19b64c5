"""Dates in words: right in three languages, one ISO form each, and no day on both sides of the split."""

import datetime
import doctest
import re

import numpy as np
import pytest

from autograder.material import dates as module
from autograder.material.dates import FIRST, FORMS, LANGUAGES, LAST, DatePair, dates, splits

# All ways to write one Monday, by hand.
MONDAY = {
    "en": {"Monday, March 3, 2014", "March 3, 2014", "3 March 2014", "Mar 3, 2014"},
    "de": {"Montag, 3. März 2014", "3. März 2014"},
    "fr": {"lundi 3 mars 2014", "3 mars 2014"},
}


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_day_is_written_as_people_write_it(language):
    day, rng = (datetime.date(2014, 3, 3) - FIRST).days, np.random.default_rng(0)
    assert {module._written(day, rng, language).source for _ in range(60)} == MONDAY[language]


def test_the_first_of_a_month_is_the_first_in_french():
    day, rng = (datetime.date(2021, 5, 1) - FIRST).days, np.random.default_rng(0)
    assert {module._written(day, rng, "fr").source for _ in range(60)} == {"samedi 1er mai 2021", "1er mai 2021"}


@pytest.mark.parametrize("language", LANGUAGES)
def test_pairs_have_the_day_the_year_and_a_month_in_words(language):
    pairs = dates(300, np.random.default_rng(0), language)
    assert len(pairs) == 300
    for pair in pairs:
        assert re.fullmatch(r"\d{4}-\d\d-\d\d", pair.target)
        assert FIRST <= pair.date <= LAST
        numbers = [int(number) for number in re.findall(r"\d+", pair.source)]
        assert numbers in ([pair.date.day, pair.date.year], [pair.date.year, pair.date.day]), pair
        assert re.search(r"[^\W\d]{3}", pair.source), pair
        assert pair.language == language


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_text_of_a_language_means_two_days(language):
    pairs = dates(20000, np.random.default_rng(1), language)
    assert len({(pair.source, pair.target) for pair in pairs}) == len({pair.source for pair in pairs})
    assert len({pair.source for pair in pairs}) > len({pair.target for pair in pairs})


def test_the_split_shares_no_day_and_mixes_the_languages():
    train, test = splits(3000, 300)
    assert (len(train), len(test)) == (3000, 300)
    assert len({pair.target for pair in test}) == 300
    assert not {pair.target for pair in train} & {pair.target for pair in test}
    for split in (train, test):
        assert [sum(pair.language == language for pair in split) for language in LANGUAGES] == [len(split) / 3] * 3


def test_the_same_seed_gives_the_same_pairs_and_another_one_others():
    assert splits(50, 10, seed=1) == splits(50, 10, seed=1) != splits(50, 10, seed=2)
    assert dates(9, np.random.default_rng(1), "de") == dates(9, np.random.default_rng(1), "de")


def test_only_some_languages_may_be_asked_for():
    train, test = splits(20, 4, languages=("fr",))
    assert {pair.language for pair in train + test} == {"fr"}
    for call in (lambda: dates(1, np.random.default_rng(0), "it"), lambda: splits(1, 1, languages=("it",))):
        with pytest.raises(ValueError, match="'it' is not there; the languages are en, de, fr"):
            call()


def test_more_days_than_there_are_cannot_be_held_out():
    days = (LAST - FIRST).days + 1
    with pytest.raises(ValueError, match=f"leave none of {days} to train on"):
        splits(1, days)


def test_every_form_names_the_month():
    assert all("MMM" in form for forms in FORMS.values() for form in forms)
    assert DatePair("1. Mai 2001", "2001-05-01", "de").date == datetime.date(2001, 5, 1)


def test_the_examples_in_the_docstrings_are_true():
    assert doctest.testmod(module) == (0, 3)
