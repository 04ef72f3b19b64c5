"""Notebook 18, the visible half: attention to the past alone, the cache that follows from it, and writing with it.

About 500 lines, since three exercises need a driver of their own, and one of them a bank of functions to be tried on.
"""

import copy
from functools import lru_cache

import numpy as np

from autograder.exercise import (
    DIFFERENTIABLE,
    INPUTS_UNCHANGED,
    KEEPS_DTYPE,
    Check,
    Exercise,
    call_answer,
    take_answer,
)

NOTEBOOK = "18_causal_self_attention"

# --- the functions f that a test of causality is tried on -------------------------------------------------------------


class Drawn:
    """An input of a function f, (n, d) float32, and what f needs beside it: matrices, a vector for every place."""

    def __init__(self, seed, x):
        self.x = x
        self.n = len(x)
        self.seed = seed
        self.ask, self.give = _matrices(seed, x.shape[1])
        self.given = x @ self.give
        self.ahead = np.arange(self.n) - np.arange(self.n)[:, None]  # how many places key j stands after query i

    def attend(self, mask, shift=False):
        """Let every token read the tokens that a mask allows; a row that may read nothing is 0.

        shift: whether what is taken off before exp depends on all scores, which changes nothing but the rounding.
        """
        scores = self.x @ self.ask @ self.x.T / np.float32(np.sqrt(self.x.shape[1]))
        top = np.where(mask, scores, -np.inf).max(axis=1, keepdims=True)
        top = np.where(np.isneginf(top), 0, top) + (np.tanh(scores.max()) if shift else 0)
        e = np.exp(np.where(mask, scores, -np.inf) - top).astype(np.float32)
        return e @ self.given / np.maximum(e.sum(axis=1, keepdims=True), np.float32(1e-30))

    @property
    def causal(self):
        return self.attend(self.ahead <= 0)

    def moved(self, steps):
        """The given values `steps` places later, 0 where there are none."""
        out = np.zeros_like(self.given)
        if 0 < steps < self.n:
            out[steps:] = self.given[:-steps]
        elif -self.n < steps < 0:
            out[:steps] = self.given[-steps:]
        return out

    def leaking(self, reader, read, size=1.0):
        """Causal attention in which one place reads another as well."""
        out = self.causal
        out[reader] += np.float32(size) * self.given[read]
        return out


@lru_cache(maxsize=256)
def _matrices(seed, d):
    rng = np.random.default_rng([seed, d])
    return tuple((rng.normal(size=(d, d)) / np.sqrt(d)).astype(np.float32) for _ in range(2))


def _running(values):
    state, found = np.zeros_like(values[0]), []
    for value in values:
        state = np.tanh(value + np.float32(0.5) * state)
        found.append(state)
    return np.stack(found)


def _mean_so_far(d):
    return d.given.cumsum(axis=0) / np.arange(1, d.n + 1, dtype=np.float32)[:, None]


def _mean_by_what_is_left(d):
    """The total, less everything later: later tokens cancel, up to rounding."""
    later = d.given[::-1].cumsum(axis=0)[::-1] - d.given
    return (d.given.sum(axis=0) - later) / np.arange(1, d.n + 1, dtype=np.float32)[:, None]


def _masked_after(d):
    scores = np.exp(d.x @ d.ask @ d.x.T / np.float32(np.sqrt(d.x.shape[1])))
    return (scores / scores.sum(axis=1, keepdims=True) * (d.ahead <= 0).astype(np.float32)) @ d.given


def _asked_by_the_next(d):
    """Only earlier values are read, but how much of each is decided by the token that comes next."""
    queries = np.roll(d.x, -1, axis=0)
    queries[-1] = d.x[-1]
    e = np.exp(queries @ d.ask @ d.x.T / np.float32(np.sqrt(d.x.shape[1]))) * (d.ahead <= 0).astype(np.float32)
    return d.given + np.float32(2) * e @ d.given / e.sum(axis=1, keepdims=True) * (np.arange(d.n) + 1)[:, None]


def _in_one_feature(d, feature):
    out = d.causal
    out[:, feature] += d.given.mean(axis=0)[feature]
    return out


def _from_one_feature(d, feature):
    return d.causal + d.x.mean(axis=0)[feature]


def _places(d):
    place, feature = np.arange(1.0, d.n + 1)[:, None], np.arange(1.0, d.x.shape[1] + 1)
    return np.sin(0.7 * place * feature + d.seed).astype(np.float32)


FUNCTIONS = {
    "the same": lambda d: d.x,
    "one matrix": lambda d: d.given,
    "a small network": lambda d: np.tanh(d.x @ d.ask) @ d.give,
    "centred features": lambda d: d.x - d.x.mean(axis=1, keepdims=True),
    "nothing": lambda d: np.zeros_like(d.given),
    "places alone": _places,
    "earlier and itself": lambda d: d.causal,
    "earlier and itself, shifted": lambda d: d.attend(d.ahead <= 0, shift=True),
    "mean so far": _mean_so_far,
    "total less the rest": _mean_by_what_is_left,
    "recurrent": lambda d: _running(d.given),
    "maximum so far": lambda d: np.maximum.accumulate(d.given, axis=0),
    "window behind": lambda d: d.attend((d.ahead <= 0) & (d.ahead > -3)) + _places(d),
    "earlier alone": lambda d: d.attend(d.ahead < 0),
    "two back and earlier": lambda d: d.attend(d.ahead < -1),
    "token before": lambda d: d.moved(1),
    "first token": lambda d: 0 * d.given + d.given[:1],
    "everything": lambda d: d.attend(d.ahead < d.n),
    "mask after the softmax": _masked_after,
    "mean": lambda d: d.given + d.given.mean(axis=0),
    "centred tokens": lambda d: d.given - d.given.mean(axis=0),
    "scaled tokens": lambda d: d.given / (d.given.std(axis=0) + np.float32(0.1)),
    "maximum": lambda d: d.given - d.given.max(axis=0),
    "mirror": lambda d: d.given[::-1],
    "last token": lambda d: d.given + d.given[-1],
    "later and itself": lambda d: d.attend(d.ahead >= 0),
    "recurrent backwards": lambda d: _running(d.given[::-1])[::-1],
    "one ahead": lambda d: d.attend(d.ahead <= 1),
    "token after": lambda d: d.given + d.moved(-1),
    "both neighbours": lambda d: d.moved(1) + d.given + d.moved(-1),
    "square of the next": lambda d: d.causal + d.moved(-1) ** 2,
    "asked by the next": _asked_by_the_next,
    "start": lambda d: d.leaking(0, 1),
    "middle": lambda d: d.leaking(d.n // 2 - 1, d.n // 2),
    "end": lambda d: d.leaking(-2, -1),
    "first reads last": lambda d: d.leaking(0, -1),
    "ring": lambda d: np.roll(d.given, 1, axis=0),
    "far ahead": lambda d: d.causal + d.moved(-(d.n // 2)),
    "in the first feature": lambda d: _in_one_feature(d, 0),
    "in the last feature": lambda d: _in_one_feature(d, -1),
    "from the first feature": lambda d: _from_one_feature(d, 0),
    "from the last feature": lambda d: _from_one_feature(d, -1),
    "small leak": lambda d: d.causal + np.float32(0.02) * d.moved(-1),
    "small leak at the end": lambda d: d.leaking(-2, -1, 0.05),
}


def _as_array(x):
    """A copy of a tensor or an array, float32."""
    return np.array(x.detach().numpy() if hasattr(x, "detach") else x, dtype=np.float32)


def build_function(kind, seed, n, d):
    """A function of x (1, n, d) float32 that returns (1, n, d) float32; `kind` is a key of FUNCTIONS."""

    def f(x):
        import torch

        x = _as_array(x)
        if x.shape != (1, n, d):
            raise ValueError(f"f takes x of shape (1, n, d) = {(1, n, d)}, this one is {x.shape}")
        with np.errstate(all="ignore"):
            found = FUNCTIONS[kind](Drawn(seed, x[0]))
        return torch.from_numpy(np.array(found, dtype=np.float32)[None])

    return f


# Calls of a test: this few where all say False, this many where all say True, and at most this many. The same for every
# f: a number that went with what f is would tell a test what to say.
FIRST, ENOUGH, MANY = 3, 8, 24
SMALL = 0.02  # a change of the inputs that is never larger is a small one


def call_tester(answer, inputs, keywords):
    """Drive a test of causality: call it again and again on one f with one generator, and note what it shows to f.

    inputs: (f, n, d, rng).
    Returns a dict. answers: what the calls returned; shown: how many inputs f was shown in one call; starts: the first
    place that a later input of a call has otherwise than one before it, in any of the first calls, sorted; alone:
    whether such inputs never differ in more than one place; size: "nan", "small" or ""; repeats: whether a generator in
    the same state shows f the same; varies: whether the calls do not all show f the same.
    """
    f, n, d, rng = inputs
    twin = copy.deepcopy(rng)
    notes: list[_Note] = []
    answers: list = []
    while not _settled(answers):
        note = _Note(f)
        notes.append(note)
        answers.append(call_answer(answer, (note.watched, n, d, rng), keywords))
    again = _Note(f)
    call_answer(answer, (again.watched, n, d, twin), keywords)
    changes = [change for note in notes[:3] for change in note.changes()]
    largest = max((size for _, _, size in changes), default=0.0)
    return {
        "answers": answers,
        "shown": max(note.calls for note in notes),
        "starts": sorted({start for start, _, _ in changes}),
        "alone": all(many == 1 for _, many, _ in changes),
        "size": "" if SMALL < largest < np.inf else "small" if largest <= SMALL else "nan",
        "repeats": again.seen() == notes[0].seen(),
        "varies": any(note.seen() != notes[0].seen() for note in notes),
    }


def _settled(answers):
    said = {_word(answer) for answer in answers}
    return len(answers) >= MANY or (len(said) == 1 and len(answers) >= (FIRST if said == {"False"} else ENOUGH))


def _word(answer):
    """True, False, or neither, also of a tensor or array of one number."""
    if getattr(answer, "ndim", None) == 0 and hasattr(answer, "item"):
        answer = answer.item()
    return str(answer) if isinstance(answer, bool) else "neither"


class _Note:
    """What one call of a test shows to f: how often it calls, and the first inputs."""

    MOST = 32

    def __init__(self, f):
        self.f, self.inputs, self.calls = f, [], 0

    def watched(self, x):
        self.calls += 1
        if len(self.inputs) < self.MOST:
            self.inputs.append(_as_array(x))
        return self.f(x)

    def seen(self):
        return [x.tobytes() for x in self.inputs[:4]]

    def changes(self):
        """(first changed place, how many changed, largest change) of every input against the one it is most like."""
        found = []
        for i in range(1, len(self.inputs)):
            x = self.inputs[i]
            alike = [y for y in self.inputs[:i] if y.shape == x.shape and x.ndim == 3]
            if not alike:
                continue
            differ = (np.stack(alike) != x).any(axis=(1, 3))  # (inputs, n)
            differ = differ[differ.any(axis=1)] if differ.any() else differ[:0]
            if len(differ):
                starts = differ.argmax(axis=1)
                best = int(starts.argmax())
                other = [y for y in alike if (y != x).any()][best]
                size = np.abs(other - x)
                largest = float(size.max()) if np.isfinite(size).all() else np.inf
                found.append((int(starts[best]), int(differ[best].sum()), largest))
        return found


# --- drivers of the cache and of sampling -----------------------------------------------------------------------------


def call_cache(answer, inputs, keywords):
    """Drive a cache through a script.

    inputs: (w_q, w_k, w_v, w_o, h); keywords: x_t, the script, a list of pairs (which cache, what).
    What is a chunk (B, n, C), which is handed to `.step`; "reset"; or "count", from which on multiply-adds are counted.
    Returns {"step 1, 3 tokens": (B, 3, C), …} and, where they were counted, "multiply-adds".
    """
    from autograder.plain import to_plain

    caches: dict = {}
    found: dict = {}
    counter = None
    try:
        for name, what in keywords["x_t"]:
            if name not in caches:
                caches[name] = call_answer(answer, inputs, {})
            if isinstance(what, str) and what == "count":
                from torch.utils.flop_counter import FlopCounterMode

                counter = FlopCounterMode(display=False)
                counter.__enter__()
            elif isinstance(what, str):
                caches[name].reset()
            else:
                of = "" if name == "a" else f" of cache {name}"
                key = f"step {len(found) + 1}{of}, {what.shape[1]} token{'s'[: what.shape[1] - 1]}"
                found[key] = to_plain(caches[name].step(what))  # as it is now: a cache may use its memory again
    finally:
        if counter is not None:
            counter.__exit__(None, None, None)
    if counter is not None:
        found["multiply-adds"] = counter.get_total_flops() // 2
    return found


def call_draws(answer, inputs, keywords):
    """Drive a random answer: `repeats` calls that share one generator, and the first ones again with a twin of it.

    inputs: (logits, temperature, top_k, rng, repeats).
    Returns {"draws": the results in order, "again": what the twin gives}. Every call has logits of its own, but for the
    last, by which it is judged whether they are changed.
    """
    logits, temperature, top_k, rng, repeats = inputs
    twin = copy.deepcopy(rng)

    def draw(given, generator):
        return _whole(call_answer(answer, (given, temperature, top_k, generator), keywords))

    draws = [draw(logits.clone(), rng) for _ in range(repeats)]
    again = [draw(logits.clone(), twin) for _ in range(min(repeats, 7))]
    return {"draws": draws, "again": [*again, draw(logits, twin)]}


def _whole(value):
    """A whole number as an int, whatever holds it; anything else as it is."""
    if isinstance(value, np.generic) or (hasattr(value, "ndim") and value.ndim == 0 and hasattr(value, "item")):
        value = value.item()
    return value


EXERCISES = (
    Exercise(
        id="causal_self_attention",
        kind="I",
        notebook=NOTEBOOK,
        minutes=12,
        difficulty=2,
        contract=(
            "causal_self_attention(x, w_q, w_k, w_v, w_o, h) → out\n"
            "x: (B, T, C) float tensor, T tokens in each of B texts\n"
            "w_q, w_k, w_v: (C, h·D), head n in its n-th run of D columns; w_o: (h·D, C); h: how many heads\n"
            "out: (B, T, C) in the dtype of x, differentiable in x and the matrices\n"
            "every head: token i reads the tokens 0 … i, itself included, by softmax(q kᵀ / √D); the heads' averages "
            "side by side, times w_o\n"
            "scores may be as large as ±10000"
        ),
        section="All prefixes at once",
        hints=(
            "Which of notebook 06's functions does everything but hide the later tokens, and which of 08's hides them?",
            "Queries, keys and values all come from x. The mask is (T, T), True on and below the diagonal. All heads "
            "of all texts share it.",
            "out, _ = mine.multi_head_attention(x, x, w_q, w_k, w_v, w_o, h, ____)",
        ),
        checks=(
            Check("output", 3, "each head's average over the tokens 0 … i, joined, times w_o"),
            Check("first_token", 1, "the first token reads itself alone: x w_v w_o"),
            Check("later_tokens_hidden", 2, "no trace of a later token in an earlier output, however large it is"),
            Check("free_width", 1, "the same where h·D is not C: D = w_q.shape[1] // h"),
            Check("large_scores", 1, "finite and exact outputs for scores as large as ±10000"),
            Check(DIFFERENTIABLE, 1, "a result through which gradients flow to x and the four matrices"),
            Check(KEEPS_DTYPE, 1, "the dtype of x"),
            Check(INPUTS_UNCHANGED, 1, "x and the four matrices as they were before the call"),
        ),
        axes={
            "x": "B T C",
            "w_q": "C h·D",
            "w_k": "C h·D",
            "w_v": "C h·D",
            "w_o": "h·D C",
            "result": "B T C",
        },
        library="torch",
    ),
    Exercise(
        id="is_causal",
        kind="T",
        notebook=NOTEBOOK,
        minutes=15,
        difficulty=3,
        contract=(
            "is_causal(f, n, d, rng) → verdict\n"
            "f: a function that takes x (1, n, d) float32 and returns (1, n, d) float32, for this n and d alone; it "
            "leaves x as it is and hands back numbers only, no gradients\n"
            "n: how many tokens, 2 or more; d: how many features; rng: numpy.random.Generator; every random number "
            "comes from it\n"
            "verdict: bool, True if no change of later tokens changes an earlier output: f(x)[0, i] depends on the "
            "tokens 0 … i alone, for every i\n"
            "an f that does not even read token i itself is causal too\n"
            "for standard normal x rounding stays below 1e-5; where f leaks, later tokens drawn anew move some earlier "
            "output by 0.001 or more, perhaps in one place or one feature only\n"
            "an f that is causal must never be refused; one that is not may slip through a call by chance, but of 24 "
            "calls at least 8 must find it out"
        ),
        section="A test for leaks",
        hints=(
            "Draw the tokens from place t on anew: which outputs may change, and which must not?",
            "Draw x, (1, n, d), and y = f(x). For every t from 1 to n − 1: copy x, draw its tokens from t on anew, and "
            "compare the outputs before t with y's, up to rounding. A leak may stand in one place only, so try every "
            "t.",
            "if not torch.allclose(f(other)[:, :____], y[:, :____], atol=1e-4): return False",
        ),
        checks=(
            Check("spares_single_tokens", 1, "True for an f that maps every token by itself, or reads none"),
            Check("spares_earlier", 2, "True for an f that reads earlier tokens and its own, whatever way it sums"),
            Check("spares_strict", 1, "True for an f that reads earlier tokens and not its own"),
            Check("catches_all_ahead", 1, "False where a token reads all others; True where it reads earlier ones"),
            Check("catches_one_ahead", 1, "False where a token reads the next one; else True"),
            Check("catches_one_place", 2, "False where one place leaks: start, middle, end, or far apart; else True"),
            Check("catches_small_leaks", 1, "False where one feature, or a few hundredths, leak; else True"),
            Check("two_tokens", 1, "the same for n = 2 and d = 1"),
            Check("draws_from_rng", 1, "inputs drawn from rng: the same state shows f the same, a later one does not"),
        ),
        library="torch",
        builders={"f": build_function},
        call=call_tester,
    ),
    Exercise(
        id="next_token_pairs",
        kind="I",
        notebook=NOTEBOOK,
        minutes=5,
        difficulty=1,
        contract=(
            "next_token_pairs(ids) → (x, y)\n"
            "ids: (B, T) int64 tensor, T ≥ 1, B pieces of text\n"
            "x, y: (B, T − 1) int64 each: y[b, i] is the token that comes right after x[b, i]"
        ),
        section="A text is its own answer key",
        hints=(
            "The last token of a piece has no successor in it, and the first is nobody's successor: where does each "
            "have to be left out?",
            "x is ids without its last column, y is ids without its first. The rows stay as they are.",
            "return ids[:, :-1], ids[:, ____]",
        ),
        checks=(
            Check("pairs", 2, "y one place ahead of x: the token after each token of x"),
            Check("edge_sizes", 1, "the same for one piece, for two tokens, and (B, 0) for one token"),
            Check(INPUTS_UNCHANGED, 1, "ids as they were before the call"),
        ),
        axes={"ids": "B T", "x": "B T-1", "y": "B T-1"},
        returns=("x", "y"),
        library="torch",
    ),
    Exercise(
        id="sample_next",
        kind="I",
        notebook=NOTEBOOK,
        minutes=15,
        difficulty=2,
        contract=(
            "sample_next(logits, temperature, top_k, rng) → id\n"
            "logits: (V,) float32 tensor, one number for each token of the vocabulary, as large as ±10000\n"
            "temperature: a number ≥ 0; the logits are divided by it, and 0 means the largest logit, no chance\n"
            "top_k: how many of the largest logits stay in play, exactly; None or V and more means all of them\n"
            "rng: numpy.random.Generator; every random number comes from it\n"
            "id: int, drawn by the softmax of the logits that stay in play\n"
            "of equal logits the lowest index comes first: at temperature 0, and where top_k cuts"
        ),
        section="From scores to a letter",
        hints=(
            "What must the chances of the tokens that stay in play sum to, and when are they computed: before or after "
            "the others are removed?",
            "At temperature 0 return the argmax. Otherwise: indices from the largest logit down, in a stable order, "
            "cut after top_k; the logits there, as float64, divided by the temperature; softmax; rng.choice among the "
            "indices with these chances.",
            "order = torch.argsort(logits, descending=True, stable=____)[:top_k]",
        ),
        checks=(
            Check("chances", 3, "every token as often as the softmax of the logits says"),
            Check("temperature", 2, "logits divided by the temperature: below 1 sharper, above 1 flatter"),
            Check("top_k", 2, "only the top_k largest logits drawn, as often as the softmax over them says"),
            Check("greedy", 1, "the largest logit at temperature 0, whatever top_k is"),
            Check("all_in_play", 1, "with top_k None, V or more, every token in play"),
            Check("ties", 1, "of equal logits the lowest index, at temperature 0 and where top_k cuts"),
            Check("large_logits", 1, "no overflow for logits as large as ±10000 or a very small temperature"),
            Check("follows_rng", 1, "every number drawn from rng: the same state gives the same tokens"),
            Check(INPUTS_UNCHANGED, 1, "logits as they were before the call"),
        ),
        axes={"logits": "V"},
        library="torch",
        call=call_draws,
    ),
    Exercise(
        id="worth_keeping",
        kind="P",
        notebook=NOTEBOOK,
        minutes=2,
        difficulty=1,
        contract=(
            'worth_keeping = a set drawn from {"queries", "keys", "values", "scores"}: what of the earlier tokens does '
            "a layer of causal attention need to compute the output of one more token?"
        ),
        section="What has been computed before",
        hints=(
            "Write down the row of one new token: which vectors of earlier tokens stand in it?",
            "The new row is softmax(q kᵀ / √D) v with one q. Whose q, whose k, whose v?",
            'worth_keeping = {"____", "____"}',
        ),
        checks=(Check("prediction", 1, "what the row of one new token is computed from"),),
        call=take_answer,
    ),
    Exercise(
        id="KVCache",
        kind="I",
        notebook=NOTEBOOK,
        minutes=25,
        difficulty=3,
        contract=(
            "KVCache(w_q, w_k, w_v, w_o, h) → cache, with .step(x_t) → out and .reset()\n"
            "w_q, w_k, w_v: (C, h·D), w_o: (h·D, C), h: how many heads, as in causal_self_attention\n"
            ".step(x_t): the next n tokens of the texts, x_t (B, n, C), n ≥ 1, any n at each call; out (B, n, C) in "
            "the dtype of x_t: the rows that causal_self_attention gives these tokens in the whole text so far\n"
            "keys and values of earlier tokens are kept, not computed again; two caches know nothing of each other\n"
            ".reset(): the next step begins new texts, of any B"
        ),
        section="A cache",
        hints=(
            "n new tokens ask, and all tokens so far can be found: at which key does the first of the new ones stand?",
            "Keep k and v, (B, h, T, D), as attributes, None at first. In a step: q, k, v of x_t; join the kept k and "
            "v with the new ones along the axis of tokens, and keep that; attend with the causal mask of n queries and "
            "all keys, aligned bottom-right; merge the heads; times w_o. reset puts None back.",
            "mask = mine.causal_mask(x_t.shape[1], ____)",
        ),
        checks=(
            Check("one_at_a_time", 3, "fed one token at a time, the rows of the full pass"),
            Check("chunks", 3, "the same for chunks of any sizes, one after another, and for the whole text at once"),
            Check("reset", 1, "after reset, new texts from their first token, as if by a new cache"),
            Check("apart", 1, "two caches used in turn, each with its own texts"),
            Check("keys_kept", 1, "a further token costs its own projections, not those of all tokens before it"),
            Check("large_scores", 1, "finite and exact outputs for scores as large as ±10000"),
            Check(KEEPS_DTYPE, 1, "outputs in the dtype of x_t"),
            Check(INPUTS_UNCHANGED, 1, "the matrices and every x_t as they were before"),
        ),
        axes={"w_q": "C h·D", "w_k": "C h·D", "w_v": "C h·D", "w_o": "h·D C"},
        library="torch",
        call=call_cache,
    ),
    Exercise(
        id="reflection_18",
        kind="R",
        notebook=NOTEBOOK,
        minutes=8,
        difficulty=2,
        contract="reflection_18 = your answer, a few sentences",
        section="In your own words",
        hints=(
            "Adding a word at the end: what of all that was computed for the earlier words becomes wrong?",
            "Say what the mask forbids, what therefore never changes, what is kept, what is computed anew for one more "
            "token, and which kind of model cannot do this.",
            "since no token reads ____, its keys and values …",
        ),
        checks=(
            Check("mask", 1, "token i reads tokens 0 … i, so a later token changes no earlier output"),
            Check("training", 1, "hence one pass trains all positions: every prefix is an example at once"),
            Check("cache", 1, "hence keys and values can be kept, and a further token asks with one query"),
            Check(
                "limits", 1, "without the mask all layers change with every token; and the cache grows with the text"
            ),
        ),
        call=take_answer,
    ),
)
