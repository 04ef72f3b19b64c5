"""Notebook 05, the visible half: self-attention, what a token reads, and what it cannot know about order."""

import copy
import itertools
import math
from functools import lru_cache

import numpy as np

from autograder.exercise import INPUTS_UNCHANGED, KEEPS_DTYPE, Check, Exercise, call_answer, take_answer

NOTEBOOK = "05_self_attention"

# --- the functions f that a tester of equivariance is tried on --------------------------------------------------------


class Drawn:
    """An input of a function f, and what f needs beside it: fixed matrices and one vector for every place."""

    def __init__(self, seed, x):
        self.x = x
        self.size = x.shape[1]
        self.ask, self.give, self.pool = _matrices(seed, x.shape[2])
        self.given = x @ self.give  # (B, T, width)
        self.seed = seed

    @property
    def places(self):
        """One vector for every place, (T, width), the same for a place in sentences of any length."""
        place, feature = np.arange(1.0, self.size + 1)[:, None], np.arange(1.0, self.given.shape[2] + 1)
        return np.sin(0.7 * place * feature + self.seed)

    def attend(self, mask=None, bias=0.0, scale=1.0):
        """Let every token read the tokens that a mask allows, (B, T, width)."""
        scores = scale * (self.x @ self.ask) @ self.x.swapaxes(1, 2) / math.sqrt(self.x.shape[2]) + bias
        e = np.exp(scores - scores.max(axis=2, keepdims=True)) * (1.0 if mask is None else mask)
        return e @ self.given / np.maximum(e.sum(axis=2, keepdims=True), 1e-300)

    @property
    def apart(self):
        """How many places lie between two tokens, (T, T)."""
        return np.abs(np.subtract.outer(np.arange(self.size), np.arange(self.size)))


@lru_cache(maxsize=256)
def _matrices(seed, c):
    """Three fixed matrices, (C, C), (C, width) and (C, width), where width is C, one more or one less."""
    rng = np.random.default_rng([seed, c])
    width = max(1, c + (0, 1, -1)[seed % 3])
    return tuple(rng.normal(size=(c, n)) / math.sqrt(c) for n in (c, width, width))


def _running(d):
    state, found = np.zeros(d.given[:, 0].shape), []
    for t in range(d.size):
        state = np.tanh(d.given[:, t] + 0.5 * state)
        found.append(state)
    return np.stack(found, axis=1)


def _before(values):
    """The values of the token before, 0 where there is none."""
    out = np.zeros_like(values)
    out[:, 1:] = values[:, :-1]
    return out


def _fixed_table(d):
    table = np.random.default_rng([d.seed, d.size]).normal(size=(d.size, d.size)) / math.sqrt(d.size)
    return table @ d.given


def _one_is_other(d, place):
    out = d.attend()
    out[:, place] = d.given[:, place] + 1.0
    return out


def _one_number_is_other(d):
    out = d.attend()
    out[:, d.size // 2, out.shape[2] // 2] += 1.0
    return out


def _places_in_one_feature(d, feature):
    out = d.attend()
    out[..., feature] += d.places[:, feature]
    return out


def _small_leak(d):
    """Two places differ by 0 or by 0.002."""
    return d.attend() + 0.001 * np.sign(np.sin(np.arange(1.0, d.size + 1) ** 2))[:, None]


FUNCTIONS = {
    "the same": lambda d: d.x,
    "one matrix": lambda d: d.given,
    "a small network": lambda d: np.tanh(d.x @ d.ask) @ d.give,
    "centred features": lambda d: d.x - d.x.mean(axis=2, keepdims=True),
    "nothing": lambda d: np.zeros_like(d.given),
    "attention": lambda d: d.attend(),
    "attention without a scale": lambda d: d.attend(scale=math.sqrt(d.x.shape[2])),
    "attention to others": lambda d: d.given + d.attend(mask=1.0 - np.eye(d.size)),
    "mean": lambda d: d.given + d.x.mean(axis=1, keepdims=True) @ d.pool,
    "mean alone": lambda d: 0 * d.given + d.x.mean(axis=1, keepdims=True) @ d.pool,
    "maximum": lambda d: d.given - d.given.max(axis=1, keepdims=True),
    "shares": lambda d: np.exp(d.given) / np.exp(d.given).sum(axis=1, keepdims=True),
    "sentences together": lambda d: d.attend() + d.given.mean(axis=0, keepdims=True),
    "places added": lambda d: d.given + d.places,
    "places multiplied": lambda d: d.attend() * (1.5 + d.places),
    "places in the scores": lambda d: d.attend(bias=-0.5 * d.apart),
    "earlier tokens": lambda d: d.attend(mask=np.tri(d.size)),
    "running sum": lambda d: d.given.cumsum(axis=1),
    "recurrent": _running,
    "token before": lambda d: d.given + _before(d.given),
    "ring": lambda d: np.roll(d.given, 1, axis=1),
    "both neighbours": lambda d: np.roll(d.given, 1, axis=1) + np.roll(d.given, -1, axis=1),
    "window": lambda d: d.attend(mask=d.apart <= 2),
    "mirror": lambda d: d.given[:, ::-1],
    "fixed table": _fixed_table,
    "sorted": lambda d: np.sort(d.given, axis=1),
    "first token": lambda d: d.given + d.given[:, :1],
    "first row": lambda d: _one_is_other(d, 0),
    "one number": _one_number_is_other,
    "last row": lambda d: _one_is_other(d, -1),
    "first feature": lambda d: _places_in_one_feature(d, 0),
    "last feature": lambda d: _places_in_one_feature(d, -1),
    "small leak": _small_leak,
}


def build_function(kind, seed):
    """A function of x (B, T, C) that returns (B, T, some width); `kind` is a key of FUNCTIONS."""

    def f(x):
        x = np.array(x, dtype=np.float64)
        if x.ndim != 3 or 0 in x.shape:
            raise ValueError(f"f takes x of shape (B, T, C), this one is {x.shape}")
        return np.array(FUNCTIONS[kind](Drawn(seed, x)))

    return f


# Calls of a tester: this few where all say False, this many where all say True, and at most this many. The same for
# every f: a number that went with what f is would tell a tester what to say.
FIRST, ENOUGH, MANY = 3, 8, 24


def call_tester(answer, inputs, keywords):
    """Drive a tester: call it again and again on one f with one generator, and note what it shows to f.

    inputs: (f, rng).
    Returns a dict. answers: what the calls returned; tokens: the longest sentence that f was shown; moved: how the
    inputs of f within one call differ, a word of `_difference`, or "" if f was not called twice; still: whether some
    place kept its token whenever an x was reordered; repeats: whether a generator in the same state shows f the same;
    varies: whether the calls do not all show f the same.
    """
    f, rng = inputs
    twin = copy.deepcopy(rng)
    notes: list[_Note] = []
    answers: list = []
    while not _settled(answers):
        note = _Note(f)
        notes.append(note)
        answers.append(call_answer(answer, (note.watched, rng), keywords))
    again = _Note(f)
    call_answer(answer, (again.watched, twin), keywords)
    differences = {word for note in notes[:4] for word in note.differences()}
    order = ("apart", "tokens", "features", "sentences", "otherwise", "nothing")
    return {
        "answers": answers,
        "tokens": max(note.tokens for note in notes),
        "moved": next((word for word in order if word in differences), ""),
        "still": _some_place_is_still(notes[:8]),
        "repeats": again.seen() == notes[0].seen(),
        "varies": any(note.seen() != notes[0].seen() for note in notes),
    }


def _settled(answers):
    said = {str(answer) if isinstance(answer, (bool, np.bool_)) else "neither" for answer in answers}
    return len(answers) >= MANY or (len(said) == 1 and len(answers) >= (FIRST if said == {"False"} else ENOUGH))


class _Note:
    """What one call of a tester shows to f: the first inputs, and the longest sentence."""

    def __init__(self, f):
        self.f, self.inputs, self.tokens = f, [], 0

    def watched(self, x):
        x = np.array(x, dtype=np.float64)
        self.tokens = max(self.tokens, x.shape[1] if x.ndim == 3 else 0)
        if len(self.inputs) < 4:
            self.inputs.append(x)
        return self.f(x)

    def seen(self):
        return [x.tobytes() for x in self.inputs]

    def differences(self):
        return {_difference(self.inputs[0], x) for x in self.inputs[1:]}


def _some_place_is_still(notes):
    """Whether a place has the same token in any two inputs of a call that are reorderings of one another."""
    still = None
    for note in notes:
        numbers = [np.sort(x, axis=None) for x in note.inputs]
        for (x, a), (y, b) in itertools.combinations(zip(note.inputs, numbers, strict=True), 2):
            if x.ndim != 3 or x.shape != y.shape or not np.array_equal(a, b):
                continue
            same = (x == y).all(axis=(0, 2))
            if still is not None and still.shape != same.shape:
                return False
            still = same if still is None else still & same
    return still is not None and bool(still.any())


def _difference(x, y):
    """What was put in another order between two inputs: tokens, features, sentences, nothing; or otherwise.

    apart: tokens, and not in the same order in every sentence.
    """
    if x.shape != y.shape or x.ndim != 3:
        return "otherwise"
    if np.array_equal(x, y):
        return "nothing"
    if _same_rows(x.swapaxes(0, 1), y.swapaxes(0, 1)):
        return "tokens"
    if all(_same_rows(a, b) for a, b in zip(x, y, strict=True)):
        return "apart"
    if all(_same_rows(a.T, b.T) for a, b in zip(x, y, strict=True)):
        return "features"
    return "sentences" if _same_rows(x, y) else "otherwise"


def _same_rows(a, b):
    return sorted(row.tobytes() for row in a) == sorted(row.tobytes() for row in b)


EXERCISES = (
    Exercise(
        id="self_attention",
        kind="I",
        notebook=NOTEBOOK,
        minutes=15,
        difficulty=2,
        contract=(
            "self_attention(x, w_q, w_k, w_v, mask=None) → (out, weights)\n"
            "x: (B, T, C) float, T tokens in each of B sentences\n"
            "w_q, w_k: (C, D) float, w_v: (C, Dv) float\n"
            "mask: bool, broadcastable to (B, T, T), True where token i may attend to token j; None is everywhere\n"
            "out: (B, T, Dv), weights: (B, T, T), in the dtype of the inputs\n"
            "a token that may attend to nothing gets weights of 0 and an output of 0\n"
            "a 2-D mask always means (T, T); one of shape (B, T), with B neither 1 nor T, is refused by a ValueError"
        ),
        section="Many sentences: a batch",
        hints=(
            "Which of q, k and v come from another sequence than x?",
            "Project x three times: q and k (B, T, D), v (B, T, Dv). The rest is scaled dot-product attention: scores "
            "(B, T, T), within each sentence; the mask; softmax over the last axis; then weights times v.",
            "return mine.scaled_dot_product_attention(____, mask)  # after mine.project_qkv",
        ),
        checks=(
            Check("weights_and_output", 3, "softmax(q kᵀ / √D) over the keys, times v, with q, k, v projected from x"),
            Check("sentences_apart", 1, "every sentence of the batch attending within itself, however many there are"),
            Check("one_token", 1, "for T = 1 the weight 1, and the token's own value as output"),
            Check("mask", 2, "weight 0 on masked tokens, and every row summing to 1 over those that are left"),
            Check("mask_broadcasts", 1, "a mask such as (B, 1, T) or (T,) applied along its missing axes"),
            Check("empty_rows", 1, "weights and output 0, not NaN, for a token that may attend to nothing"),
            Check("refuses_padding_mask", 1, "a ValueError for a mask of shape (B, T), which has no axis of queries"),
            Check("large_scores", 1, "finite and exact weights for scores as large as ±10000"),
            Check(KEEPS_DTYPE, 1, "out and weights in the dtype of x"),
            Check(INPUTS_UNCHANGED, 1, "x, the three matrices and mask as they were before the call"),
        ),
        axes={
            "x": "B T C",
            "w_q": "C D",
            "w_k": "C D",
            "w_v": "C Dv",
            "mask": "B T T",
            "out": "B T Dv",
            "weights": "B T T",
        },
        returns=("out", "weights"),
    ),
    Exercise(
        id="trace_token",
        kind="I",
        notebook=NOTEBOOK,
        minutes=8,
        difficulty=1,
        contract=(
            "trace_token(weights, tokens, i) → pairs\n"
            "weights: (T, T) float, weights[i, j] is how much token i reads from token j\n"
            "tokens: list of T str; a word may occur more than once\n"
            "i: int, 0 ≤ i < T, the token that reads\n"
            "pairs: list of T pairs (token, weight), one for every position, largest weight first"
        ),
        section="Reading a map",
        hints=(
            "The reader is token i: do its weights stand in a row or in a column?",
            "Take row i, T numbers. Find the order that sorts them from large to small, and go through the positions "
            "in that order: each gives its token and its weight. Two equal words are two positions.",
            "order = sorted(range(len(tokens)), key=lambda j: ____)",
        ),
        checks=(
            Check("row_largest_first", 2, "the weights of row i with their tokens, from the largest to the smallest"),
            Check("every_token", 1, "any i, and one pair for every position, token i itself and weights of 0 included"),
            Check("repeated_words", 1, "a pair of its own for each position at which the same word stands"),
            Check(INPUTS_UNCHANGED, 1, "weights and tokens as they were before the call"),
        ),
        axes={"weights": "T T"},
    ),
    Exercise(
        id="order_matters",
        kind="P",
        notebook=NOTEBOOK,
        minutes=1,
        difficulty=1,
        contract=(
            "order_matters = True or False: in self-attention without a mask, does the output of one token depend on "
            "the order of the other tokens?"
        ),
        section="One token, and the order of the others",
        hints=(
            "The output of a token is a sum with one term for each token of the sentence: what happens to a sum if "
            "its terms trade places?",
            "Follow one term: its weight comes from the query, from its own key, and from the total over all keys.",
            "order_matters = ____",
        ),
        checks=(Check("prediction", 1, "whether the output of one token changes when the others trade places"),),
        call=take_answer,
    ),
    Exercise(
        id="check_permutation_equivariant",
        kind="T",
        notebook=NOTEBOOK,
        minutes=15,
        difficulty=3,
        contract=(
            "check_permutation_equivariant(f, rng) → verdict\n"
            "f: a function that takes x (B, T, C) float64 of any sizes and returns (B, T, width) float64, where width "
            "need not be C; it may mix the sentences of a batch; it leaves x as it is\n"
            "rng: numpy.random.Generator; every random number comes from it\n"
            "verdict: bool, True if for every x and every order p of the T tokens, the same order in every sentence, "
            "f(x[:, p]) equals f(x)[:, p] up to rounding\n"
            "for standard normal x rounding stays below 1e-12, and a difference of 0.001 or more counts; what depends "
            "on order may show only in sentences of 4 tokens or more\n"
            "an f that is equivariant must never be refused; one that is not may slip through a call by chance, but of "
            "24 calls at least 8 must find it out"
        ),
        section="Writing it as a test",
        hints=(
            "Put the tokens in another order: what must happen to the rows of the output, if f does not care?",
            "Draw x, for instance (2, 8, 5), and an order p of its 8 tokens. Compare f of the reordered x with the "
            "reordered f(x), up to rounding. Do it a few times: one order may move too little.",
            "if not np.allclose(f(x[:, p]), ____): return False",
        ),
        checks=(
            Check("spares_single_tokens", 1, "True for an f that maps every token by itself, to any width"),
            Check("spares_mixing", 2, "True for an f that mixes tokens alike, or sentences: attention, means, maxima"),
            Check("catches_positions", 1, "False where places are added, multiplied or enter the scores; else True"),
            Check("catches_direction", 1, "False where a token reads only those before it; True where it reads all"),
            Check("catches_neighbours", 1, "False where a token reads by distance, a few places away; else True"),
            Check(
                "catches_places",
                1,
                "False where a place has a role: first, last to first, by a table, by size; else True",
            ),
            Check(
                "catches_small_faults",
                1,
                "False where one token, one feature, or 0.1 % of the values gives it away; else True",
            ),
            Check("draws_from_rng", 1, "x and p drawn from rng: the same state shows f the same, a later one does not"),
        ),
        builders={"f": build_function},
        call=call_tester,
    ),
    Exercise(
        id="reflection_05",
        kind="R",
        notebook=NOTEBOOK,
        minutes=8,
        difficulty=2,
        contract="reflection_05 = your answer, a few sentences",
        section="In your own words",
        hints=(
            "Which parts of the computation are the same for both sentences, and which are not?",
            "Say what is looked up, what is averaged, and why the average differs; then what a sum does not know.",
            "the vector of bank is an average of ____, so …",
        ),
        checks=(
            Check("one_source", 1, "queries, keys and values are projections of the same tokens"),
            Check("context", 1, "the output is an average over the sentence, so the same word gets another vector"),
            Check(
                "order", 1, "shuffled tokens give the same vectors in the shuffled order: equivariant, not invariant"
            ),
            Check("remedy", 1, "order enters only if something depends on the position: an added vector or a mask"),
        ),
        call=take_answer,
    ),
)
