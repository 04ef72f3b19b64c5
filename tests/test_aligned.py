"""The hand-aligned sentences: the links say what they seem to say, and words are made of pieces rightly."""

import pytest
import torch

from autograder.material import aligned, optional, translation

SENTENCES = aligned.sentences()

needs_model = pytest.mark.skipif(
    bool(optional.missing(optional.TRANSLATION)), reason="the translation model is not installed"
)


def _translation(source, target, weights):
    return translation.Translation("", source, target, weights, torch.zeros(1, 1, 1, 1), torch.zeros(len(target)))


def test_there_are_enough_sentences_and_most_have_links_that_cross():
    assert len(SENTENCES) >= 12
    assert sum(len(sentence.links) for sentence in SENTENCES) >= 80
    assert sum(bool(sentence.crossing) for sentence in SENTENCES) > len(SENTENCES) / 2


@pytest.mark.parametrize(("source", "target", "links"), aligned._TABLE, ids=lambda part: part[:24])
def test_a_link_names_words_that_occur_once_in_their_sentence(source, target, links):
    english, portuguese = aligned.words_of(source), aligned.words_of(target)
    for link in links.split():
        a, b = link.split("=")
        assert portuguese.count(a) == 1 and english.count(b) == 1, link
    assert source.endswith(".") and target.endswith(".")


def test_a_target_word_translates_one_source_word():
    for sentence in SENTENCES:
        assert len({t for t, _ in sentence.links}) == len(sentence.links), sentence.target


def test_links_are_word_numbers():
    sentence = aligned._aligned("The white cat sleeps.", "O gato branco dorme.", "gato=cat branco=white dorme=sleeps")
    assert sentence.links == {(1, 2), (2, 1), (3, 3)}
    assert sentence.crossing == {(1, 2), (2, 1)}


def test_the_weights_of_a_word_are_those_of_its_pieces_together():
    source, target = ("▁The", "▁pan", "s", ".", "</s>"), ("▁As", "▁pa", "nelas", ".", "</s>")
    weights = torch.arange(25.0).reshape(1, 1, 5, 5)
    table = aligned.by_words(_translation(source, target, weights))
    assert table.shape == (1, 1, 2, 2)
    # Row "As" is row 0; row "panelas" the mean of rows 1 and 2; column "pans" the sum of columns 1 and 2.
    assert table[0, 0].tolist() == [[0.0, 3.0], [7.5, 18.0]]


def test_a_head_that_reads_every_linked_word_hits_all_and_one_row_later_none():
    ahead = [torch.zeros(1, 2, *_sizes(sentence)) for sentence in SENTENCES]
    for sentence, table in zip(SENTENCES, ahead, strict=True):
        for t, s in sentence.links:
            table[0, 0, t, s] = 1.0
            if t + 1 < table.shape[2]:
                table[0, 1, t + 1, s] = 1.0
    assert aligned.shares(SENTENCES, ahead)[0, 0] == 1.0
    assert aligned.shares(SENTENCES, ahead, kind="crossing")[0, 0] == 1.0
    assert aligned.shares(SENTENCES, ahead, later=1)[0, 1] == 1.0
    assert aligned.shares(SENTENCES, ahead, later=1)[0, 0] < 0.5


def test_a_diagonal_explains_about_half_of_the_links_and_few_that_cross():
    straight = [aligned._aligned("A b c.", "X y z.", "X=A y=b z=c")]
    turned = [aligned._aligned("A b c.", "X y z.", "X=A y=c z=b")]
    assert aligned.diagonal_share(straight) == 1.0
    assert aligned.diagonal_share(turned, "crossing") == 0.0
    assert aligned.diagonal_share(SENTENCES, "crossing") < 0.2 < aligned.diagonal_share(SENTENCES) < 0.7


@needs_model
def test_the_model_gives_these_translations_and_their_words():
    model = translation.load("en-pt")
    found = translation.translate_all(model, [sentence.source for sentence in SENTENCES])
    assert [one.text for one in found] == [sentence.target for sentence in SENTENCES]
    for sentence, one in zip(SENTENCES, found, strict=True):
        assert aligned.by_words(one).shape[2:] == _sizes(sentence)


def _sizes(sentence):
    return len(aligned.words_of(sentence.target)), len(aligned.words_of(sentence.source))
