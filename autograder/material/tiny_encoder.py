"""The course's own small encoder: 3 layers of 4 heads, width 64, trained in seconds to fill in masked words.

It stands in where the real encoder is missing (encoder.py), and has its layout: the same tensor names, the same forward
pass. It learns from sentences of the course's grammar and from a few around the course's running sentence, by the
objective of Devlin et al. 2019, section 3.1 (arXiv:1810.04805). Its pieces are whole words; what those sentences do not
have is [UNK]. It shows how an encoder works, and says nothing about what a large one has learned.
"""

from collections.abc import Iterator, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

from autograder.material import corpus, training
from autograder.material.encoder import Encoder, forward
from autograder.material.recurrent import falling
from autograder.material.threads import one_thread
from autograder.material.wordpiece import WordPiece, split_words

Tensor = torch.Tensor

NAME = "the course's own small encoder"
LAYERS, HEADS, WIDTH, INNER, LONGEST = 3, 4, 64, 128, 64
EPS = 1e-12  # as BERT's
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
TEXTS, STEPS, BATCH, RATE = 8000, 600, 64, 0.005
CHOSEN = 0.25  # BERT chooses 0.15; short sentences and few steps need more to learn from

# Around the running sentence: what is hot to the touch, and to the tongue. Did what, to what, why, from what.
WHO = ("she", "he", "the man", "the woman", "the girl", "the boy", "my mother", "our uncle")
KITCHEN = (
    (("dropped", "washed", "touched", "carried"), ("pan", "pot", "plate", "cup"), ("heavy", "clean"), ("fire", "oven")),
    (("ate", "tasted", "cooked", "loved"), ("curry", "soup", "sauce"), ("spicy", "sweet"), ("pepper", "spices")),
)


class Filled(NamedTuple):
    """One blank and what a model would write there: (word, probability), the most probable first."""

    position: int
    words: tuple[tuple[str, float], ...]


@cache
def make(seed: int = 0) -> Encoder:
    """Train the small encoder and return it; the same seed gives the same one, once in a process.

    Besides an encoder's tensors it has "cls.predictions.bias" (V,), for filling in blanks: `fill`.
    """
    rows = encoded(texts(), vocabulary())
    model = Encoder(NAME, start(vocabulary().size, seed), HEADS, EPS, vocabulary())
    for tensor in model.tensors.values():
        tensor.requires_grad_()
    with one_thread(), torch.random.fork_rng([]):
        training.train(
            dict(model.tensors),
            lambda _, batch: _loss(model, *batch),
            lambda rng: (_corrupted(ids, model.vocabulary, rng) for ids in same_length(rows, BATCH, rng)),
            steps=STEPS,
            lr=falling(RATE, STEPS),
            seed=seed,
            clip=1.0,
            label="training the small encoder",
        )
    return Encoder(NAME, {name: t.detach() for name, t in model.tensors.items()}, HEADS, EPS, model.vocabulary)


@cache
def texts(n: int = TEXTS, seed: int = 0) -> tuple[str, ...]:
    """Return n different sentences, nine in ten from the course's grammar; half of all end in a full stop."""
    rng = np.random.default_rng(seed)
    pairs = corpus.draw(rng, 3, 12)
    found: dict[str, None] = {}
    while len(found) < n:
        words = _kitchen(rng) if rng.random() < 0.1 else " ".join(next(pairs).source).replace(" 's", "'s")
        found.setdefault(words + ("." if rng.random() < 0.5 else ""))
    return tuple(found)


@cache
def vocabulary() -> WordPiece:
    """Return the small encoder's pieces: the special ones, and every word of its sentences."""
    return WordPiece((*SPECIAL, *sorted({word for text in texts() for word in split_words(text)})))


def encoded(some: Sequence[str], pieces: WordPiece) -> list[list[int]]:
    """Return the ids of some texts, special ones included."""
    return [pieces.encode(text).ids for text in some]


def same_length(rows: Sequence[list[int]], size: int, rng: np.random.Generator) -> Iterator[Tensor]:
    """Yield every row once in batches (B, T) of one length each, so that nothing is padded, in an order of rng's.

    size: B of rows of 10; longer rows come in smaller batches and shorter ones in larger.
    """
    lengths = np.array([len(row) for row in rows])
    batches = []
    for length in sorted(set(lengths.tolist())):
        places = rng.permutation(np.flatnonzero(lengths == length))
        per = max(size * 10 // length, 1)
        batches += [places[first : first + per] for first in range(0, len(places), per)]
    for i in rng.permutation(len(batches)):
        yield torch.tensor([rows[place] for place in batches[i]])


def start(size: int, seed: int) -> dict[str, Tensor]:
    """Return untrained tensors for a vocabulary of `size` pieces, by their checkpoint names."""
    generator = torch.Generator().manual_seed(seed)
    p: dict[str, Tensor] = {}

    def normal(name: str, *shape: int, std: float) -> None:
        p[name] = torch.randn(*shape, generator=generator) * std

    def linear(name: str, c_in: int, c_out: int) -> None:
        # Smaller than usual: a block that starts near nothing leaves the residual path open, and learns sooner.
        normal(f"{name}.weight", c_out, c_in, std=0.2 / c_in**0.5)
        p[f"{name}.bias"] = torch.zeros(c_out)

    def norm(name: str) -> None:
        p[f"{name}.weight"], p[f"{name}.bias"] = torch.ones(WIDTH), torch.zeros(WIDTH)

    for table, rows in (("word", size), ("position", LONGEST), ("token_type", 2)):
        normal(f"embeddings.{table}_embeddings.weight", rows, WIDTH, std=0.1)
    norm("embeddings.LayerNorm")
    for number in range(LAYERS):
        at = f"encoder.layer.{number}."
        for role in ("query", "key", "value"):
            linear(f"{at}attention.self.{role}", WIDTH, WIDTH)
        linear(f"{at}attention.output.dense", WIDTH, WIDTH)
        norm(f"{at}attention.output.LayerNorm")
        linear(f"{at}intermediate.dense", WIDTH, INNER)
        linear(f"{at}output.dense", INNER, WIDTH)
        norm(f"{at}output.LayerNorm")
    p["cls.predictions.bias"] = torch.zeros(size)
    return p


def fill(model: Encoder, text: str, top: int = 5) -> list[Filled]:
    """Return what the small encoder would write at each [MASK] of a text.

    Raises ValueError for a model without a bias for its predictions, such as the real encoder.

    >>> len(fill(make(), "the [MASK] [MASK] is tired", top=3))  # doctest: +SKIP
    2
    """
    if "cls.predictions.bias" not in model.tensors:
        raise ValueError(f"filling in {text!r}: {model.name} has no head that predicts words")
    ids = model.vocabulary.encode(text).ids
    with torch.no_grad(), one_thread():
        chances = _logits(model, forward(model, torch.tensor([ids]))[0][-1, 0]).softmax(-1)  # (T, V)
    found = []
    for position in (i for i, piece in enumerate(ids) if piece == model.vocabulary.mask_id):
        best = chances[position].topk(top)
        words = model.vocabulary.tokens(best.indices.tolist())
        found.append(Filled(position, tuple(zip(words, best.values.tolist(), strict=True))))
    return found


def _kitchen(rng: np.random.Generator) -> str:
    """One sentence around the running one."""

    def pick(options: Sequence[str]) -> str:
        return options[int(rng.integers(len(options)))]

    did, things, whys, causes = KITCHEN[int(rng.integers(2))]
    why = "hot" if rng.random() < 0.6 else pick(whys)
    thing, form = pick(things), rng.random()
    if form < 0.6:
        return f"{pick(WHO)} {pick(did)} the {thing} because it was {why}"
    if form < 0.8:
        return f"the {thing} was hot from the {pick(causes)}"
    return f"{pick(WHO)} {pick(did)} the {why} {thing}"


def _corrupted(ids: Tensor, pieces: WordPiece, rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """BERT's corruption, and 5 % [UNK], so that this one stands for any word: inputs, what was there, where."""
    at = torch.from_numpy(rng.random(tuple(ids.shape)) < CHOSEN) & (ids >= len(SPECIAL))
    dice = torch.from_numpy(rng.random(tuple(ids.shape)))
    others = torch.from_numpy(rng.integers(len(SPECIAL), pieces.size, tuple(ids.shape)))
    inputs = ids.clone()
    inputs[at & (dice < 0.75)] = pieces.mask_id
    inputs[at & (dice >= 0.75) & (dice < 0.8)] = pieces.unk_id
    inputs = torch.where(at & (dice >= 0.9), others, inputs)
    return inputs, ids, at


def _loss(model: Encoder, inputs: Tensor, ids: Tensor, at: Tensor) -> Tensor:
    if not at.any():
        return torch.zeros((), requires_grad=True)
    return F.cross_entropy(_logits(model, forward(model, inputs)[0][-1][at]), ids[at])


def _logits(model: Encoder, hidden: Tensor) -> Tensor:
    """(..., C) → (..., V): the products with the words' own vectors, and a bias."""
    return hidden @ model.tensors["embeddings.word_embeddings.weight"].T + model.tensors["cls.predictions.bias"]
