"""The grammar's text: derivable, of one derivation each, and of exactly the entropy that is claimed."""

import itertools

import numpy as np
import pytest

from autograder.material import grammar_text
from autograder.material.grammar_text import CHARACTERS, START, chain, grammar, windows


@pytest.fixture(scope="module")
def drawn():
    return grammar_text.sentences(4000, np.random.default_rng(0))


def test_there_are_at_most_fifty_words():
    assert 30 < len(grammar_text.words()) <= 50


def test_the_chances_of_every_state_sum_to_one_and_lead_to_known_states():
    for state, choices in grammar().items():
        assert sum(choice.chance for choice in choices) == pytest.approx(1.0), state
        assert {choice.to for choice in choices} <= grammar().keys()


def test_no_phrase_of_a_state_begins_another_so_a_text_has_one_derivation():
    for state, choices in grammar().items():
        for one, other in itertools.permutations(choices, 2):
            assert not other.text.startswith(one.text), (state, one.text, other.text)


def test_every_sentence_that_is_drawn_is_derived_and_made_of_its_choices(drawn):
    for sentence in drawn:
        found = grammar_text.derivation(sentence)
        assert found is not None
        assert "".join(choice.text for choice in found) == f"{sentence} "
        assert found[-1].to == START


@pytest.mark.parametrize(
    "wrong",
    [
        "the queen drop a pan.",
        "two queens drops a pan.",
        "the king gets two hats as they are late.",  # the king is late
        "the king gets a cup as she is late.",
        "a boys hold a pan.",
        "the boy holds two pan.",
        "the boy holds a pan",
        "the boy holds a pan. the boy holds a pan.",
        "",
        ".",
        "the boy holds a pan as he is",
    ],
)
def test_a_sentence_of_wrong_agreement_or_cut_short_has_no_derivation(wrong):
    assert grammar_text.derivation(wrong) is None


def test_what_the_true_model_loses_is_the_entropy(drawn):
    # Of choices, sentence by sentence: the sample's mean is within five standard errors of the exact rate.
    nats = np.array([-sum(np.log(choice.chance) for choice in grammar_text.derivation(text)) for text in drawn])
    length = np.array([len(text) + 1 for text in drawn])
    rate = grammar_text.entropy_rate()
    error = (nats - rate * length).std() / np.sqrt(len(drawn)) / length.mean()
    assert abs(nats.sum() / length.sum() - rate) < 5 * error < 0.01


def test_two_ways_to_the_entropy_agree_exactly():
    chances = chain().chances
    logs = np.log(chances, where=chances > 0, out=np.zeros_like(chances))
    assert grammar_text.entropy_rate() == pytest.approx(-(chain().steady @ (chances * logs).sum(axis=1)), rel=1e-12)


def test_the_chain_of_characters_is_one_and_is_steady():
    source = chain()
    assert source.chances.sum(axis=1) == pytest.approx(np.ones(len(source.nodes)))
    after = np.zeros(len(source.nodes))
    np.add.at(after, source.to, source.steady[:, None] * source.chances)
    assert after == pytest.approx(source.steady)


def test_windows_are_pieces_of_derivable_text():
    found = windows(40, 150, np.random.default_rng(1))
    assert (found.shape, found.dtype) == ((40, 150), np.int64)
    for row in found:
        first, *inner, _ = grammar_text.decode(row).split(". ")
        assert inner and len(first) < 50
        assert all(grammar_text.derivation(f"{sentence}.") for sentence in inner)


def test_windows_begin_anywhere_as_often_as_a_running_text_is_there(drawn):
    running = np.bincount(grammar_text.encode(" ".join(drawn)), minlength=len(CHARACTERS)) / len(" ".join(drawn))
    first = np.bincount(windows(20_000, 1, np.random.default_rng(2))[:, 0], minlength=len(CHARACTERS)) / 20_000
    assert abs(first - running).max() < 0.012


def test_the_best_loss_falls_to_the_entropy_within_a_window():
    found = grammar_text.surprise(windows(400, 65, np.random.default_rng(3)))
    assert np.isfinite(found).all()
    assert found[:, 0].mean() > 2
    assert found[:, 33:].mean() == pytest.approx(grammar_text.entropy_rate(), rel=0.05)


def test_the_best_loss_of_a_known_start_is_that_of_the_choices():
    sentence = "the queen drops two pans as she is late. "
    nats = -sum(np.log(choice.chance) for choice in grammar_text.derivation(sentence.rstrip()))
    whole = grammar_text.encode(". " + sentence + sentence)  # after the full stop and its space the state is known
    found = grammar_text.surprise(np.array([whole]))[0]
    assert found[2:].sum() == pytest.approx(2 * nats)


def test_what_no_text_has_is_infinitely_surprising():
    found = grammar_text.surprise(np.array([grammar_text.encode("the queem")]))[0]
    assert np.isfinite(found[:8]).all() and np.isinf(found[8])


def test_ids_and_text_are_one_another():
    text = "the king gets a cup."
    assert grammar_text.decode(grammar_text.encode(text)) == text
    with pytest.raises(ValueError, match="'X' is not among"):
        grammar_text.encode("the X")


def test_the_same_generator_gives_the_same_text():
    one, again, other = (windows(3, 20, np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert (one == again).all() and (one != other).any()
    assert grammar_text.sentences(5, np.random.default_rng(0)) == grammar_text.sentences(5, np.random.default_rng(0))
