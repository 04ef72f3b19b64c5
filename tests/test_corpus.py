"""The parallel corpus: one translation a sentence, true links, right French, and splits that share nothing."""

import doctest
import re
from collections import Counter
from itertools import islice, pairwise

import numpy as np
import pytest
import torch

from autograder.material import corpus as package
from autograder.material.corpus import (
    BOS,
    EOS,
    PAD,
    ROOT,
    UNK,
    Pair,
    Vocabulary,
    batches,
    corpus,
    draw,
    fixed_offset,
    lexicon,
    links,
    padded,
    pair,
    parse,
    parsing,
    splits,
    translate,
    vocabulary,
)

# Sentences that were translated by hand, one rule or more in each.
BY_HAND = [
    ("Anna is tired", "Anna est fatiguée"),
    ("the dog sleeps", "le chien dort"),
    ("the apples fall", "les pommes tombent"),
    ("an old man sings", "un vieil homme chante"),
    ("the old men sing", "les vieux hommes chantent"),
    ("a beautiful island burns", "une belle île brûle"),
    ("this new hotel is very expensive", None),  # no such word
    ("this new hotel is very cheap", "ce nouvel hôtel est très bon marché"),
    ("this hotel is empty", "cet hôtel est vide"),
    ("my aunt is hungry", "ma tante a faim"),
    ("my orange is cold", "mon orange est froide"),
    ("my cold orange falls", "mon orange froide tombe"),
    ("some big black birds never arrive", "de grands oiseaux noirs n' arrivent jamais"),
    ("some black birds arrive", "des oiseaux noirs arrivent"),
    ("the girl does not eat an apple", "la fille ne mange pas de pomme"),
    ("the girl does not eat any eggs", "la fille ne mange pas d' œufs"),
    ("the girl does not eat the egg", "la fille ne mange pas l' œuf"),
    ("the girl does not eat two apples", "la fille ne mange pas deux pommes"),
    ("the potatoes are near the table", "les pommes de terre sont près de la table"),
    ("the key is near the bridge", "la clé est près du pont"),
    ("the key is near the bridges", "la clé est près des ponts"),
    ("the key is near some bridges", "la clé est près de ponts"),
    ("the key is near some islands", "la clé est près d' îles"),
    ("the key is next to the hotel", "la clé est à côté de l' hôtel"),
    ("a cat is in front of the train station", "un chat est devant la gare"),
    ("the king 's old hat belongs to the boy", "le vieux chapeau du roi appartient au garçon"),
    ("Oscar 's two red boxes belong to the boys", "les deux boîtes rouges d' Oscar appartiennent aux garçons"),
    ("the woman wakes up", "la femme se réveille"),
    ("the women do not wake up", "les femmes ne se réveillent pas"),
    ("Emma looks for the keys slowly", "Emma cherche lentement les clés"),
    ("Paul often gives a postcard to the queen", "Paul donne souvent une carte postale à la reine"),
    ("the girl washes the apple and eats it", "la fille lave la pomme et la mange"),
    ("the girl washes the cake but does not eat it", "la fille lave le gâteau mais ne le mange pas"),
    ("the cat finds the egg and eats it", "le chat trouve l' œuf et le mange"),  # no cat eats itself
    ("the girl sees the cat because it is hungry", "la fille voit le chat parce qu' il a faim"),
    ("the girl sees the turtle because it is tired", "la fille voit la tortue parce qu' elle est fatiguée"),
    ("the boys love the cows because they are strange", None),  # who is strange
    ("the boy loves the cows because they are strange", "le garçon aime les vaches parce qu' elles sont étranges"),
    ("the man sleeps if he is ill", "l' homme dort s' il est malade"),
    ("the woman sleeps if she is ill", "la femme dort si elle est malade"),
    ("the dog that sleeps is black", "le chien qui dort est noir"),
    ("the woman who the dog loves sleeps", None),  # "that", for an object
    ("the apple that Anna eats is red", "la pomme qu' Anna mange est rouge"),
    ("the women who listen to Paul are happy", "les femmes qui écoutent Paul sont heureuses"),
    ("tonight the man dances with a woman", "ce soir l' homme danse avec une femme"),
    ("at night the bees hear her", None),  # whom
    ("the wooden tables are not heavy", "les tables en bois ne sont pas lourdes"),
    ("every small horse eats quietly", None),  # "eat" takes an object
    ("every small horse walks quietly", "chaque petit cheval marche sans bruit"),
]


@pytest.fixture(scope="module")
def data():
    return corpus()


@pytest.fixture(scope="module")
def some(data):
    """Short and long sentences."""
    return data.train[:1500] + data.longer


def words(pair, links):
    return {(pair.target[t], pair.source[s]) for t, s in links}


# One translation


@pytest.mark.parametrize(("source", "target"), BY_HAND, ids=lambda text: text)
def test_a_sentence_has_the_translation_that_a_person_gives_it(source, target):
    if target is None:
        with pytest.raises(ValueError, match="no sentence of the corpus's grammar"):
            translate(source)
    else:
        assert " ".join(translate(source).target) == target


def test_every_pair_is_derived_from_its_source_and_in_one_way(some):
    for one in some:
        found = parse(one.source)
        assert [found_pair for _, found_pair in found] == [one], str(one)


def test_what_is_no_sentence_is_refused_with_the_unknown_words():
    with pytest.raises(ValueError, match=r"it does not know purple, whale$"):
        translate("the purple whale sleeps")
    with pytest.raises(ValueError, match="no rule gives it, or a pronoun is not clear"):
        translate("dog the sleeps")


@pytest.mark.parametrize("source", ["a old dog sleeps", "an dog sleeps", "the dogs sleeps", "the dog do not sleep"])
def test_wrong_english_is_no_sentence(source):
    with pytest.raises(ValueError, match="no sentence"):
        translate(source)


# Alignment


def test_links_cover_every_word_of_both_sides(data):
    for one in data.train + data.test + data.longer:
        assert {t for t, _ in one.possible} == set(range(len(one.target))), str(one)
        assert {s for _, s in one.possible} == set(range(len(one.source))), str(one)


def test_sure_links_are_possible_and_no_target_needs_two(data):
    for one in data.train + data.test + data.longer:
        assert one.sure <= one.possible, str(one)
        assert len({t for t, _ in one.sure}) == len(one.sure), str(one)


def test_sure_links_join_words_of_content_alone(data):
    function = {*lexicon.DETERMINERS, "an", "'s", "to", "not", "do", "does", "is", "are", "it", "he", "she", "they"}
    function |= {word for phrase in (*lexicon.PLACES, *lexicon.JOINTS) for word in phrase.english.split()}
    for one in data.train:
        assert not function & {one.source[s] for _, s in one.sure}, str(one)


def test_the_links_of_an_article_and_a_negation_are_those_of_the_syllabus():
    one = translate("the women do not buy the old hat")
    assert " ".join(one.target) == "les femmes n' achètent pas le vieux chapeau"
    assert words(one, one.sure) == {("femmes", "women"), ("achètent", "buy"), ("vieux", "old"), ("chapeau", "hat")}
    assert one.possible - one.sure == {(0, 0), (0, 1), (5, 5), (5, 7), *((t, s) for t in (2, 4) for s in (2, 3, 4))}


def test_the_links_of_a_merged_word_are_those_of_both_its_parts():
    one = translate("Anna walks near the bridge")
    assert one.target[-3:] == ("près", "du", "pont")
    assert words(one, one.possible) >= {("près", "near"), ("du", "near"), ("du", "the"), ("du", "bridge")}


def test_expressions_of_several_words_are_linked_as_wholes():
    one = translate("Anna wakes up because she sees a potato in front of the train station")
    assert words(one, one.sure) == {
        ("Anna", "Anna"),
        ("réveille", "wakes"),
        ("voit", "sees"),
        ("pomme", "potato"),
        ("terre", "potato"),
        ("gare", "station"),
    }
    assert words(one, one.possible) >= {
        ("se", "up"),
        ("parce", "because"),
        ("qu'", "because"),
        ("elle", "she"),
        ("elle", "Anna"),
        ("de", "potato"),
        ("devant", "in"),
        ("devant", "front"),
        ("devant", "of"),
        ("gare", "train"),
    }


def test_nearly_half_of_the_sentences_are_reordered(data):
    crossed = [any(a > b for (_, a), (_, b) in pairwise(sorted(one.sure))) for one in data.train]
    assert 0.35 < np.mean(crossed) < 0.65


# Right French. The forms are written down here once more, apart from the rules that make the sentences.

MARKS = {  # (feminine, plural); None is both
    "le": (False, False),
    "la": (True, False),
    "l'": (None, False),
    "les": (None, True),
    "un": (False, False),
    "une": (True, False),
    "des": (None, True),
    "du": (False, False),
    "au": (False, False),
    "aux": (None, True),
    "ce": (False, False),
    "cet": (False, False),
    "cette": (True, False),
    "ces": (None, True),
    "ma": (True, False),
    "mes": (None, True),
    "notre": (None, False),
    "nos": (None, True),
    "chaque": (None, False),
    "il": (False, False),
    "elle": (True, False),
    "ils": (False, True),
    "elles": (True, True),
    "est": (None, False),
    "sont": (None, True),
}
# Names, and nouns by their English head word.
GENDER = {noun.english.singular.split()[-1]: (noun.feminine, False) for noun in lexicon.NOUNS + lexicon.NAMES}
GENDER |= {noun.english.plural.split()[-1]: (noun.feminine, True) for noun in lexicon.NOUNS}
ADJECTIVES = {adjective.english: adjective for adjective in lexicon.ADJECTIVES}
VERBS = {form: verb for verb in lexicon.VERBS for form in verb.english}
VOWEL = re.compile("[aâàeéèêiîoôœuhAEO]")


def subject(one, predicate):
    """The noun that a predicate is about: its subject, what that stands for, or the subject of the clause before."""
    dependents = {one.relations[s]: s for s, head in enumerate(one.heads) if head == predicate}
    if "nsubj" in dependents:
        found = dependents["nsubj"]
        if one.source[found] in ("that", "who"):
            return one.heads[predicate]
        return one.antecedents.get(found, found)
    assert one.relations[predicate] == "conj", str(one)
    return subject(one, one.heads[predicate])


def fits(mark, noun):
    return all(wanted is None or wanted == got for wanted, got in zip(mark, noun, strict=True))


def test_articles_and_pronouns_agree_with_their_nouns(some):
    seen = Counter()
    for one in some:
        for t, word in enumerate(one.target):
            nouns = [s for a, s in one.possible if a == t and one.source[s] in GENDER]
            if word in MARKS and len(nouns) == 1 and "postale" not in one.target[t + 1 :][:1]:
                assert fits(MARKS[word], GENDER[one.source[nouns[0]]]), f"{word} in {one}"
                seen[word] += 1
    assert set(seen) >= set(MARKS) - {"est", "sont"}


def test_adjectives_and_verbs_agree_with_what_they_are_about(some):
    seen = Counter()
    for one in some:
        for t, s in one.sure:
            word, english = one.target[t], one.source[s]
            if english in ADJECTIVES:
                noun = one.heads[s] if one.relations[s] == "amod" else subject(one, s)
                feminine, plural = GENDER[one.source[noun]]
                adjective = ADJECTIVES[english]
                forms = adjective.french(feminine, plural).split()
                if (
                    adjective.soft
                    and (feminine, plural) == (False, False)
                    and VOWEL.match(one.target[t + 1 :][0] if one.relations[s] == "amod" else "-")
                ):
                    forms = [adjective.soft]
                assert word in forms, f"{word} in {one}"
                seen["adjective"] += 1
            elif english in VERBS and one.relations[s] not in ("case", "compound"):
                _, plural = GENDER[one.source[subject(one, s)]]
                assert word == VERBS[english].french.of(plural), f"{word} in {one}"
                seen["verb"] += 1
    assert min(seen["adjective"], seen["verb"]) > 1000


def test_to_be_and_to_have_agree_in_number(some):
    for one in some:
        for s, word in enumerate(one.source):
            if one.relations[s] == "cop":
                _, plural = GENDER[one.source[subject(one, one.heads[s])]]
                (t,) = [t for t, a in one.possible if a == s and one.target[t] in ("est", "sont", "a", "ont")]
                assert (one.target[t] in ("sont", "ont")) == plural == (word == "are"), str(one)


def test_elision_and_contraction_are_right_everywhere(data):
    for one in data.train + data.test + data.longer:
        text = " ".join(one.target)
        assert not re.search(rf"(^| )(le|la|de|ne|que|se|ma|ce) {VOWEL.pattern}", text), text
        assert not re.search(rf"(^| )(l'|d'|n'|qu'|cet|bel|vieil|nouvel) (?!{VOWEL.pattern})", text), text
        assert not re.search(r"(^| )(de (le|les|des|de|du)|à (le|les)|si il|s' elle) ", text), text


def test_a_negated_verb_stands_between_its_two_words(data):
    for one in data.train:
        before, after = (sum(word in pair for word in one.target) for pair in (("ne", "n'"), ("pas", "jamais")))
        assert before == after == sum(word in ("not", "never") for word in one.source), str(one)


# Heads and antecedents


def test_heads_make_one_tree(data):
    for one in data.train + data.longer:
        assert one.heads.count(ROOT) == 1, str(one)
        assert [label for label, head in zip(one.relations, one.heads, strict=True) if head == ROOT] == ["root"]
        for s in range(len(one.source)):
            for _ in one.source:
                s = one.heads[s] if s != ROOT else s
            assert s == ROOT, str(one)


def test_heads_of_a_sentence_are_those_that_a_person_gives_it():
    one = translate("the old king 's dog that Emma loves does not wait for us".replace("us", "the two girls"))
    named = {
        one.source[s]: (one.source[head], label)
        for s, (head, label) in enumerate(zip(one.heads, one.relations, strict=True))
        if head != ROOT and one.source[s] != "the"
    }
    assert named == {
        "old": ("king", "amod"),
        "king": ("dog", "nmod:poss"),
        "'s": ("king", "case"),
        "dog": ("wait", "nsubj"),
        "that": ("loves", "obj"),
        "Emma": ("loves", "nsubj"),
        "loves": ("dog", "acl:relcl"),
        "does": ("wait", "aux"),
        "not": ("wait", "advmod"),
        "for": ("wait", "compound:prt"),
        "two": ("girls", "nummod"),
        "girls": ("wait", "obj"),
    }
    assert one.source[one.heads.index(ROOT)] == "wait"
    assert links(one, "det") == {0: 2, 12: 14}


def test_a_pronoun_fits_its_antecedent_and_no_other_noun_before_it(some):
    nouns = {form.split()[-1]: noun for noun in lexicon.NOUNS + lexicon.NAMES for form in noun.english if form}
    forms = {"him": "he", "her": "she", "them": "they"}
    seen = Counter()
    for one in some:
        pronouns = [s for s, word in enumerate(one.source) if word in ("he", "she", "it", "they", *forms)]
        assert set(one.antecedents) == set(pronouns), str(one)
        for s, antecedent in one.antecedents.items():
            form = forms.get(one.source[s], one.source[s])
            before = [i for i in range(s) if one.source[i] in nouns and one.relations[i] != "compound"]
            fitting = [
                i for i in before if form == ("they" if GENDER[one.source[i]][1] else nouns[one.source[i]].pronoun)
            ]
            if one.relations[s] == "obj":
                fitting = [i for i in fitting if i != subject(one, one.heads[s])]
            assert fitting == [antecedent], str(one)
            seen[one.source[s]] += 1
    assert set(seen) == {"he", "she", "it", "they", "him", "her", "them"}


@pytest.mark.parametrize(
    ("relation", "most"),
    [("nsubj", 0.6), ("obj", 0.5), ("det", 0.65), ("obl", 0.45), ("nmod:poss", 0.5), ("acl:relcl", 0.5), ("cop", 0.65)],
)
def test_a_fixed_offset_does_badly_at_heads(data, relation, most):
    for split in (data.train, data.longer):
        _, share = fixed_offset(split, relation)
        assert share < most


def test_a_fixed_offset_does_badly_at_antecedents(data):
    offsets = Counter(noun - pronoun for one in data.train for pronoun, noun in one.antecedents.items())
    assert offsets.total() > 500
    assert max(offsets.values()) < 0.5 * offsets.total()


def test_an_offset_is_the_most_frequent_one_and_a_missing_relation_is_refused():
    three = [translate(text) for text in ("the dog sleeps", "the dog falls", "the red hat falls")]
    assert fixed_offset(three, "det") == (1, 2 / 3)
    assert fixed_offset(three, "nsubj") == (1, 1.0)
    with pytest.raises(ValueError, match="no pair has the relation 'obj'"):
        fixed_offset(three, "obj")


# Splits


def test_splits_have_their_sizes_and_share_no_sentence(data):
    assert (len(data.train), len(data.test), len(data.longer)) == (6000, 500, 300)
    everything = data.train + data.test + data.longer
    assert len({one.source for one in everything}) == len({one.target for one in everything}) == 6800


def test_train_and_test_have_the_same_lengths_and_longer_is_longer(data):
    train, test, longer = ([len(one.source) for one in split] for split in (data.train, data.test, data.longer))
    assert (min(train), max(train)) == (min(test), max(test)) == (3, 10)
    assert abs(np.mean(train) - np.mean(test)) < 0.3
    assert (min(longer), max(longer)) == (11, 16)


def test_every_word_of_the_other_splits_is_in_train(data):
    for one in data.test + data.longer:
        assert all(word in data.source for word in one.source), str(one)
        assert all(word in data.target for word in one.target), str(one)


def test_there_are_enough_words_and_each_comes_often_enough_to_be_learned(data):
    assert min(len(data.source), len(data.target)) >= 150 + 4
    for side in ("source", "target"):
        counts = Counter(word for one in data.train for word in getattr(one, side))
        assert sorted(counts.values())[len(counts) // 10] >= 10, side


def test_the_same_seed_gives_the_same_corpus_and_another_one_another():
    first, again, other = (corpus(seed, 200, 20, 20) for seed in (1, 1, 2))
    assert (first.train, first.test, first.longer) == (again.train, again.test, again.longer)
    assert first.source.tokens == again.source.tokens
    assert first.train != other.train


def test_lengths_are_as_asked():
    small = corpus(0, 50, 10, 10, longest=6, far=9)
    assert max(len(one.source) for one in small.train + small.test) <= 6
    assert {len(one.source) for one in small.longer} <= {7, 8, 9}
    assert all(4 <= len(one.source) <= 5 for one in islice(draw(np.random.default_rng(0), 4, 5), 50))


# Vocabularies and batches


def test_a_vocabulary_goes_both_ways_and_knows_what_it_does_not_know():
    vocabulary = Vocabulary.of([("b", "a"), ("c", "a")])
    assert vocabulary.tokens == ("<pad>", "<bos>", "<eos>", "<unk>", "a", "b", "c")
    assert (vocabulary.encode("cab"), vocabulary.encode("x")) == ([6, 4, 5], [UNK])
    assert vocabulary.decode([BOS, 6, 4, EOS, 5, PAD]) == ("c", "a")
    assert vocabulary.decode(torch.tensor([4, 5])) == ("a", "b")
    assert len(vocabulary) == 7
    assert "a" in vocabulary
    assert "x" not in vocabulary


def test_a_token_that_comes_twice_is_refused():
    with pytest.raises(ValueError, match="occurs twice"):
        Vocabulary(("a", "a"))
    with pytest.raises(ValueError, match="occurs twice"):
        Vocabulary(("<pad>",))


def test_batches_hold_every_pair_once_padded_on_the_right(data):
    pairs = data.test[:50]
    found = list(batches(pairs, data.source, data.target, 16, np.random.default_rng(0)))
    assert [len(batch) for batch in found] == [16, 16, 16, 2]
    read = []
    for batch in found:
        assert batch.source.dtype == batch.target.dtype == torch.int64
        assert batch.source_mask.sum(1).tolist() == batch.lengths.tolist()
        assert batch.source.shape[1] == batch.lengths.max()
        for source, target, mask in zip(batch.source, batch.target, batch.target_mask, strict=True):
            assert target[mask][-1] == EOS
            assert (target == EOS).sum() == 1
            assert not mask[int(mask.sum()) :].any()
            read.append((data.source.decode(source), data.target.decode(target)))
    assert sorted(read) == sorted((one.source, one.target) for one in pairs)


def test_batches_are_in_order_without_a_generator_and_in_its_order_with_one(data):
    pairs = data.test[:40]

    def order(rng):
        return [
            tuple(row) for batch in batches(pairs, data.source, data.target, 40, rng) for row in batch.source.tolist()
        ]

    plain = order(None)
    assert [data.source.decode(row) for row in plain] == [one.source for one in pairs]
    assert order(np.random.default_rng(1)) == order(np.random.default_rng(1)) != plain


def test_nothing_to_pad_is_an_empty_tensor():
    assert padded([]).shape == (0, 0)
    assert padded([[], [4]]).tolist() == [[PAD], [4]]


@pytest.mark.parametrize("module", [package, pair, parsing, splits, vocabulary], ids=lambda module: module.__name__)
def test_the_examples_in_the_docstrings_are_true(module):
    failed, tried = doctest.testmod(module)
    assert tried > 0
    assert failed == 0


def test_a_pair_reads_as_a_line():
    assert str(translate("Paul runs")) == "Paul runs → Paul court"
    assert isinstance(translate("Paul runs"), Pair)
