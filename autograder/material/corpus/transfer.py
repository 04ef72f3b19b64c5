"""From a tree to its pair: one walk that builds both sides, English heads and the alignment."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from autograder.material.corpus.grammar import Clause, NounPhrase, Place, Pronoun, Sentence
from autograder.material.corpus.lexicon import DETERMINERS, ELIDED, OBJECT_PRONOUNS
from autograder.material.corpus.pair import ROOT, Pair
from autograder.material.corpus.sides import (
    Both,
    Token,
    Word,
    depend,
    description,
    expression,
    function_word,
    joined,
    negated,
    noun,
)
from autograder.material.corpus.words import Phrase


class Unclear(ValueError):
    """A pronoun fits no noun phrase before it, or more than one."""


@dataclass(eq=False, slots=True)
class Referent:
    """What a subject or a pronoun is about: its noun, and what agrees with it."""

    head: Token
    pronoun: str
    feminine: bool
    plural: bool


def render(sentence: Sentence) -> Pair:
    """Return the pair of a tree; Unclear if a pronoun could stand for nothing or for two things."""
    return _Renderer().sentence(sentence)


class _Renderer:
    def __init__(self) -> None:
        self.referents: list[Referent] = []
        self.antecedents: list[tuple[Token, Token]] = []

    def sentence(self, tree: Sentence) -> Pair:
        first, subject = self.clause(tree.clause)
        source, target = first.source, first.target
        if tree.time:
            time = expression(tree.time, "advmod", first.head)
            source, target = time.source + source, time.target + target
        if tree.joint and tree.second:
            second, _ = self.clause(tree.second, about=subject)
            joint = expression(tree.joint, "cc" if "cc" in tree.joint.tags else "mark", second.head)
            for word in joint.target:  # a function word, also where it is a single one
                word.sure = None
            depend(second.head, first.head, "conj" if "cc" in tree.joint.tags else "advcl")
            if joint.target[-1].text == "si" and second.target[0].text in ("il", "ils"):
                joint.target[-1].text = "s'"
            source = source + joint.source + second.source
            target = target + joint.target + second.target
        return self.pair(source, target)

    def pair(self, source: list[Token], target: list[Word]) -> Pair:
        for here, after in pairwise(source):
            if here.text == "a" and after.text[0].lower() in "aeiou":
                here.text = "an"
        place = {id(token): index for index, token in enumerate(source)}
        words = joined(target)
        sure = frozenset((t, place[id(word.sure)]) for t, word in enumerate(words) if word.sure)
        possible = frozenset((t, place[id(token)]) for t, word in enumerate(words) for token in word.possible)
        return Pair(
            tuple(token.text for token in source),
            tuple(word.text for word in words),
            sure,
            possible | sure,
            tuple(place[id(token.head)] if token.head else ROOT for token in source),
            tuple(token.relation for token in source),
            {place[id(pronoun)]: place[id(noun)] for pronoun, noun in self.antecedents},
        )

    def clause(
        self, tree: Clause, about: Referent | None = None, relative: Token | None = None
    ) -> tuple[Both, Referent]:
        """Both sides of a clause, and what its subject is.

        about:    what the clause is about if it has no subject of its own; in a relative clause, its noun.
        relative: the word "that" or "who" of a relative clause.
        """
        source: list[Token] = []
        target: list[Word] = []
        subject, opening = about, relative
        if tree.subject is not None:
            found, subject = self.subject(tree.subject)
            source, target, opening = found.source, found.target, found.head
        assert subject is not None
        predicate = self.be(tree, subject) if tree.verb is None else self.verb(tree, subject)
        if opening:
            depend(opening, predicate.head, "nsubj")
        if relative and tree.subject is not None:
            depend(relative, predicate.head, "obj")
        return Both(source + predicate.source, target + predicate.target, predicate.head), subject

    def subject(self, tree: NounPhrase | Pronoun) -> tuple[Both, Referent]:
        if isinstance(tree, NounPhrase):
            found = self.noun_phrase(tree)
            return found, next(one for one in self.referents if one.head is found.head)
        token, about = self.resolve(tree.form, tree.form, None)
        form = ("elle" if about.feminine else "il") + ("s" if about.plural else "")
        return Both([token], [Word(form, (token, about.head))], token), about

    def resolve(self, form: str, text: str, other: Referent | None) -> tuple[Token, Referent]:
        """The token of a pronoun and what it stands for, which is not `other`."""
        fits = [one for one in self.referents if one.pronoun == form and one is not other]
        if len(fits) != 1:
            raise Unclear(
                f"{text!r} fits {len(fits)} noun phrases before it: {', '.join(one.head.text for one in fits)}"
            )
        token = Token(text)
        self.antecedents.append((token, fits[0].head))
        return token, fits[0]

    def be(self, tree: Clause, subject: Referent) -> Both:
        """A predicate with "to be"."""
        copula = Token("are" if subject.plural else "is")
        french = "sont" if subject.plural else "est"
        what = tree.complement
        if isinstance(what, Place):
            complement = self.place(what)
        elif isinstance(what, Phrase):
            french = "ont" if subject.plural else "a"
            token = Token(what.english)
            complement = Both([token], [Word(what.french, (token,), token)], token)
        else:
            assert what is not None
            complement = description(what, subject.feminine, subject.plural, noun_follows=False)
        head = complement.head
        depend(copula, head, "cop")
        middle, negation = self.middle(tree, head)
        # "is hungry" is "a faim", has hunger: an expression as a whole.
        verb = Word(french, (copula, head) if isinstance(what, Phrase) else (copula,))
        before, after = negated(tree.negation, negation, [negation[-1], copula] if negation else [])
        source = [copula, *negation, *middle.source, *complement.source]
        return Both(source, [*before, verb, *after, *middle.target, *complement.target], head)

    def verb(self, tree: Clause, subject: Referent) -> Both:
        """A predicate with any other verb."""
        verb = tree.verb
        assert verb is not None
        head = Token(verb.english.of(subject.plural or tree.negation == "not"))
        particle = [Token(verb.particle, "compound:prt", head)] if verb.particle else []
        middle, negation = self.middle(tree, head)
        if tree.negation == "not":
            negation.insert(0, Token("do" if subject.plural else "does", "aux", head))
        before, after = negated(tree.negation, negation, [*negation, head])
        if verb.reflexive:
            before.append(Word("se", (head, *particle), soft="s'"))
        clitic, target = self.target(tree, subject, head)
        source = [*negation, *middle.source, head, *particle, *target.source]
        french = [
            *before,
            *clitic,
            Word(verb.french.of(subject.plural), (head, *particle), head),
            *after,
            *middle.target,
        ]
        rest: list[Word] = target.target
        if tree.recipient:
            to = self.recipient(tree.recipient, head)
            source, rest = source + to.source, rest + to.target
        if tree.manner:
            manner = expression(tree.manner, "advmod", head)
            source, french = source + manner.source, french + manner.target
        if tree.place:
            place = self.place(tree.place)
            depend(place.head, head, "obl")
            source, rest = source + place.source, rest + place.target
        return Both(source, french + rest, head)

    def middle(self, tree: Clause, head: Token) -> tuple[Both, list[Token]]:
        """How often, and the negating word."""
        negation = [Token(tree.negation, "advmod", head)] if tree.negation else []
        frequency = expression(tree.frequency, "advmod", head) if tree.frequency else Both([], [], head)
        return frequency, negation

    def target(self, tree: Clause, subject: Referent, verb: Token) -> tuple[list[Word], Both]:
        """The direct object: French words before the verb, and both sides of what follows it."""
        if tree.target is None:
            return [], Both([], [], verb)
        if isinstance(tree.target, NounPhrase):
            found = self.noun_phrase(tree.target, negative=bool(tree.negation))
            depend(found.head, verb, "obj")
            return [], found
        token, about = self.resolve(tree.target.form, OBJECT_PRONOUNS[tree.target.form], subject)
        depend(token, verb, "obj")
        form = "les" if about.plural else "la" if about.feminine else "le"
        return [Word(form, (token, about.head), soft=ELIDED.get(form, ""))], Both([token], [], verb)

    def recipient(self, tree: NounPhrase, verb: Token) -> Both:
        found = self.noun_phrase(tree)
        to = Token("to", "case", found.head)
        depend(found.head, verb, "obl")
        return Both([to, *found.source], [Word("à", (to,)), *found.target], found.head)

    def place(self, tree: Place) -> Both:
        """A preposition and its noun phrase, hanging on the noun."""
        found = self.noun_phrase(tree.where)
        tokens = [Token(text) for text in tree.preposition.english.split()]
        depend(tokens[0], found.head, "case")
        for token in tokens[1:]:
            depend(token, tokens[0], "fixed")
        words = [Word(text, tuple(tokens), soft=ELIDED.get(text, "")) for text in tree.preposition.french.split()]
        return Both(tokens + found.source, words + found.target, found.head)

    def noun_phrase(self, tree: NounPhrase, negative: bool = False) -> Both:
        """A noun with what belongs to it; negative: whether it is the direct object of a negated verb."""
        core = noun(tree)
        head, feminine = core.head, tree.noun.feminine
        descriptions = [description(one, feminine, tree.plural, True, head) for one in tree.descriptions]
        before = [both for both, one in zip(descriptions, tree.descriptions, strict=True) if one.adjective.before_noun]
        after = [both for both in descriptions if both not in before]
        opening, owner = self.determiner(tree, head, negative, bool(before))
        number = expression(tree.number, "nummod", head) if tree.number else Both([], [], head)
        source = [*opening.source, *number.source, *_sources(descriptions), *core.source]
        target = [*opening.target, *number.target, *_targets(before), *core.target, *_targets(after), *owner]
        me = Referent(head, tree.pronoun, feminine, tree.plural)
        self.referents.append(me)
        if tree.place:
            place = self.place(tree.place)
            depend(place.head, head, "nmod")
            source, target = source + place.source, target + place.target
        if tree.relative:
            relative = self.relative(tree.relative, me, "person" in tree.noun.tags)
            source, target = source + relative.source, target + relative.target
        return Both(source, target, head)

    def determiner(
        self, tree: NounPhrase, head: Token, negative: bool, adjective_first: bool
    ) -> tuple[Both, list[Word]]:
        """A determiner or an owner, and the French words that it puts behind the noun."""
        gender = 2 if tree.plural else int(tree.noun.feminine)
        if tree.owner:
            owner = self.noun_phrase(tree.owner)
            mark = Token("'s", "case", owner.head)
            depend(owner.head, head, "nmod:poss")
            of = Word("de", (mark,), soft="d'")
            return Both([*owner.source, mark], [function_word(DETERMINERS["the"][gender], mark, head)], head), [
                of,
                *owner.target,
            ]
        if not tree.determiner:
            return Both([], [], head), []
        token = Token(tree.determiner, "nmod:poss" if tree.determiner in ("my", "our") else "det", head)
        french = DETERMINERS[tree.determiner][gender]
        if (negative and tree.determiner in ("a", "any")) or (adjective_first and tree.determiner == "some"):
            french = "de"
        return Both([token], [function_word(french, token, head)], head), []

    def relative(self, tree: Clause, about: Referent, person: bool) -> Both:
        """A relative clause with its pronoun."""
        as_object = tree.subject is not None
        that = Token("who" if person and not as_object else "that")
        clause, _ = self.clause(tree, about, that)
        depend(clause.head, about.head, "acl:relcl")
        word = Word("que", (that, about.head), soft="qu'") if as_object else Word("qui", (that, about.head))
        return Both([that, *clause.source], [word, *clause.target], clause.head)


def _sources(parts: Iterable[Both]) -> list[Token]:
    return [token for part in parts for token in part.source]


def _targets(parts: Iterable[Both]) -> list[Word]:
    return [word for part in parts for word in part.target]
