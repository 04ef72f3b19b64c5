"""Reports with planted reasons: the label follows from the marked words and from nothing else."""

import doctest

import numpy as np
import pytest

from autograder.material import rationales as module
from autograder.material.rationales import (
    BAD,
    GOOD,
    MASK,
    NOT,
    PAD,
    VOCABULARY,
    average_precision,
    encode,
    padded,
    reports,
)


@pytest.mark.parametrize("negated", [0.0, 0.5, 1.0])
def test_the_label_is_that_of_the_marked_words(negated):
    for report in reports(400, np.random.default_rng(0), negated=negated):
        marked = [word for word, reason in zip(report.words, report.rationale, strict=True) if reason]
        assert [word for word in report.words if word in (*GOOD, *BAD, NOT)] == marked  # all there is of opinion
        assert (marked[-1] in GOOD) == (report.good != (NOT in marked))
        assert len(marked) == 1 + (NOT in marked)


def test_words_outside_the_reason_say_nothing_about_the_label():
    rows = reports(6000, np.random.default_rng(1))
    counts = {}
    for row in rows:
        for word in set(row.words) - set(GOOD) - set(BAD):
            counts.setdefault(word, []).append(row.good)
    assert len(counts) > 30
    for word, found in counts.items():
        assert abs(np.mean(found) - 0.5) < 5 * 0.5 / len(found) ** 0.5, word


def test_the_place_of_the_reason_varies():
    places = {row.rationale.index(True) for row in reports(400, np.random.default_rng(2))}
    assert len(places) > 8


def test_half_are_negated_when_asked_and_half_are_good():
    rows = reports(2000, np.random.default_rng(3), negated=0.5)
    assert abs(np.mean([NOT in row.words for row in rows]) - 0.5) < 0.06
    assert abs(np.mean([row.good for row in rows]) - 0.5) < 0.06


def test_no_article_stands_before_a_vowel():
    for row in reports(500, np.random.default_rng(4)):
        after = [b for a, b in zip(row.words, row.words[1:], strict=False) if a == "a"]
        assert not any(word[0] in "aeiou" for word in after), row.text


def test_the_same_seed_gives_the_same_reports():
    first, again, other = (reports(20, np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert first == again != other


def test_a_batch_is_padded_behind_the_words():
    rows = reports(30, np.random.default_rng(5))
    ids, labels, truth = padded(rows)
    assert ids.shape == truth.shape == (30, max(len(row.words) for row in rows))
    assert labels.dtype == np.float32 and ids.dtype == np.int64
    for row, numbers, reason in zip(rows, ids, truth, strict=True):
        n = len(row.words)
        assert tuple(VOCABULARY[i] for i in numbers[:n]) == row.words
        assert (numbers[n:] == PAD).all() and not reason[n:].any() and tuple(reason[:n]) == row.rationale
    assert MASK not in ids


def test_an_unknown_word_is_named():
    with pytest.raises(KeyError, match="pizza"):
        encode(["the", "pizza"])


@pytest.mark.parametrize(
    ("scores", "truth", "wanted"),
    [
        ([3, 2, 1], [1, 0, 0], 1.0),
        ([3, 2, 1], [0, 0, 1], 1 / 3),
        ([4, 3, 2, 1], [1, 0, 1, 0], (1 + 2 / 3) / 2),
        ([1, 1, 1, 1], [0, 1, 0, 0], 1 / 4),  # equal scores enter together
        ([-1, -2, -3], [1, 1, 1], 1.0),
    ],
)
def test_average_precision_is_the_step_area(scores, truth, wanted):
    assert average_precision(scores, truth) == pytest.approx(wanted)


def test_nothing_to_find_is_refused():
    with pytest.raises(ValueError, match="nothing is true"):
        average_precision([1.0, 2.0], [False, False])


def test_the_examples_in_the_docstrings_hold():
    assert doctest.testmod(module).failed == 0
