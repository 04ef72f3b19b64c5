"""Notebook 20, the visible half: a clinic of six code reviews, and tests that find what a review does not see.

About 640 lines, since the tests that learners write are tried on a bank of functions that stands here.
"""

import math

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

NOTEBOOK = "20_attention_for_engineers"

# --- the clinic -------------------------------------------------------------------------------------------------------

CLINIC_DIAGNOSES = (
    "softmax over the wrong axis",
    "scale from the wrong width",
    "mask inverted",
    "mask applied after the softmax",
    "mask broadcast along the wrong axis",
    "causal mask one place too wide",
    "query positions counted from zero",
    "heads split without swapping axes",
    "running sums not rescaled",
    "exponentials out of the range of the type",
    "gradient cut off from the scores",
    "values taken from the keys",
    "inputs changed in place",
)
_CLINIC_NONE, _CLINIC_UNKNOWN = len(CLINIC_DIAGNOSES), len(CLINIC_DIAGNOSES) + 1


def clinic_diagnosis(text):
    """Which diagnosis a text is, as a row of flags: one for each of the list, one for no text, one for another text."""
    flags = np.zeros(len(CLINIC_DIAGNOSES) + 2, bool)
    known = {" ".join(words.casefold().split()): place for place, words in enumerate(CLINIC_DIAGNOSES)}
    if text is None or text is ... or (isinstance(text, str) and not text.strip()):
        flags[_CLINIC_NONE] = True
    elif isinstance(text, str):
        flags[known.get(" ".join(text.casefold().strip(" .").split()), _CLINIC_UNKNOWN)] = True
    else:
        flags[_CLINIC_UNKNOWN] = True
    return flags


def call_clinic(answer, inputs, keywords):
    """Drive a case of the clinic: the pair itself, or a function without arguments that returns it.

    Without inputs it is the diagnosis that is asked for, as flags; with inputs the repaired function is called.
    """
    pair = answer() if callable(answer) else answer
    pair = pair if isinstance(pair, (tuple, list)) and len(pair) == 2 else None
    if not inputs:
        return clinic_diagnosis(None if pair is None else pair[0])
    if pair is None:
        raise TypeError("a pair is wanted: the diagnosis, a text, and the repaired function")
    return call_answer(pair[1], inputs, keywords)


def _clinic(number, signature, contract, hints, checks, **others):
    return Exercise(
        id=f"clinic_{number}",
        kind="B",
        notebook=NOTEBOOK,
        contract=(
            f"clinic_{number} = diagnosis, {signature}\n"
            "as a pair, or as a function without arguments that returns the pair\n"
            "diagnosis: one text of CLINIC_DIAGNOSES, what is wrong with the function as it was given\n" + contract
        ),
        section="Six pull requests",
        hints=hints,
        checks=(*checks, Check("diagnosis", 2, "the one cause on the list that brings about what the data show")),
        library="torch",
        call=call_clinic,
        **others,
    )


_CLINIC_UNCHANGED = Check(INPUTS_UNCHANGED, 1, "all inputs as they were before the call")
_CLINIC_AXES = {"q": "... Tq D", "k": "... Tk D", "v": "... Tk Dv", "mask": "... Tq Tk", "result": "... Tq Dv"}

CLINIC = (
    _clinic(
        1,
        "blockwise(q, k, v, block=64) → out",
        "q: (..., Tq, D) float tensor, k: (..., Tk, D), v: (..., Tk, Dv); block: int ≥ 1, keys per piece\n"
        "out: (..., Tq, Dv) in the dtype of q: softmax(q kᵀ / √D) v over all Tk keys, whatever the block",
        (
            "Two sums are kept while the blocks go by. Relative to which number is each term of them measured, and is "
            "it the same number for all of them?",
            "Follow one query through two blocks by hand: the scores 0 and, in the next block, 1. Say what total and "
            "out hold after each, and what they should hold, measured from the largest score so far.",
            "shrink = torch.exp(____)  # for what was summed before the largest score grew",
        ),
        (
            Check("all_keys", 3, "softmax(q kᵀ / √D) v over all keys, also where they come in several blocks"),
            Check("any_block", 1, "the same result for every size of block, also where it does not divide Tk"),
            Check("large_scores", 1, "finite and exact for scores as large as ±10000"),
            Check("one_block", 1, "the right result where all keys fit into one block, as before"),
            Check(KEEPS_DTYPE, 1, "the dtype of q"),
            _CLINIC_UNCHANGED,
        ),
        minutes=8,
        difficulty=2,
        axes=_CLINIC_AXES,
    ),
    _clinic(
        2,
        "attend(x, w_q, w_k, w_v, w_o, h) → out",
        "x: (B, T, C) float tensor; w_q, w_k, w_v: (C, h·D), head n in its n-th run of D columns; w_o: (h·D, C)\n"
        "out: (B, T, C) in the dtype of x: every head's softmax(q kᵀ / √D) v over all T tokens, joined, times w_o",
        (
            "A token's vector of h·D numbers lies in one piece in memory: which numbers does a reshape to (h, T, D) "
            "put into one row?",
            "Write down the numbers 0 … 7 of two tokens with two heads of width 2. Reshape them to (h, T, D), and see "
            "whose numbers the first head holds. Then do what keeps tokens apart: an axis more, and two axes swapped.",
            "(x @ w).reshape(b, t, h, -1).____  # and the same backwards before w_o",
        ),
        (
            Check("every_token", 3, "each head's average over all tokens, joined, times w_o"),
            Check("free_width", 1, "the same where h·D is not C"),
            Check("one_head", 1, "the right result for one head, as before"),
            Check("batch", 1, "every text of a batch by itself"),
            Check(KEEPS_DTYPE, 1, "the dtype of x"),
            _CLINIC_UNCHANGED,
        ),
        minutes=8,
        difficulty=2,
        axes={"x": "B T C", "w_q": "C h·D", "w_k": "C h·D", "w_v": "C h·D", "w_o": "h·D C", "result": "B T C"},
    ),
    _clinic(
        3,
        "attend(q, k, v, real) → out",
        "q: (B, h, Tq, D) float tensor, k: (B, h, Tk, D), v: (B, h, Tk, Dv)\n"
        "real: (B, Tk) bool, True where sentence b has a word, False where it is padded\n"
        "out: (B, h, Tq, Dv) in the dtype of q: every query over the words of its own sentence; 0 for a sentence "
        "without words",
        (
            "Sizes are matched from the right. Against which of the four axes of the scores does each axis of the mask "
            "stand?",
            "Write the shapes one under the other: scores (B, h, Tq, Tk), mask (B, 1, Tk). Say what each row of "
            "real decides now, and what it should decide.",
            "mask = real[____]  # (B, 1, 1, Tk)",
        ),
        (
            Check("own_padding", 3, "every sentence of a batch over its own words"),
            Check("any_batch", 1, "the same for any number of sentences and heads, equal or not"),
            Check("no_words", 1, "0, not NaN, for a sentence without words, and the others as ever"),
            Check("one_sentence", 1, "the right result for a single sentence, as before"),
            Check("large_scores", 1, "finite and exact for scores as large as ±10000"),
            Check(KEEPS_DTYPE, 1, "the dtype of q"),
            _CLINIC_UNCHANGED,
        ),
        minutes=7,
        difficulty=1,
        axes={"q": "B h Tq D", "k": "B h Tk D", "v": "B h Tk Dv", "real": "B Tk", "result": "B h Tq Dv"},
    ),
    _clinic(
        4,
        "attend(q, k, v, mask=None) → out",
        "q: (..., Tq, D) float16, float32 or float64 tensor, k: (..., Tk, D), v: (..., Tk, Dv)\n"
        "mask: bool, broadcastable to (..., Tq, Tk), True where query i may read key j; None is everywhere\n"
        "out: (..., Tq, Dv) in the dtype of q; 0 for a query that may read nothing; scores may be as large as ±10000",
        (
            "What is exp(12) in float16, and what is exp(−20)?",
            "A softmax does not change when the same number is taken off all scores of a row. Choose it so that no "
            "exponential can be too large and not all of them can be 0. With a mask, of which keys must it come?",
            "scores = scores - scores.____  # hidden keys must not decide it, and −∞ − (−∞) is NaN",
        ),
        (
            Check("half_precision", 3, "finite and right in float16, also where scores pass 12"),
            Check("far_below_zero", 1, "right where all scores of a row are far below 0"),
            Check("hidden_keys", 1, "hidden keys without any effect, however large their scores"),
            Check("empty_rows", 1, "0, not NaN, for a query that may read nothing, as before"),
            Check("small_scores", 1, "the right result for small scores, as before"),
            Check(KEEPS_DTYPE, 1, "the dtype of q, also float16"),
            _CLINIC_UNCHANGED,
        ),
        minutes=8,
        difficulty=2,
        axes=_CLINIC_AXES,
    ),
    _clinic(
        5,
        "attend(q, k, v, window) → out",
        "q: (..., Tq, D) float tensor, the newest Tq of Tk ≥ Tq tokens; k: (..., Tk, D), v: (..., Tk, Dv)\n"
        "window: int ≥ 0; a token reads itself and the `window` tokens before it\n"
        "out: (..., Tq, Dv) in the dtype of q; a text read in pieces gives the rows of the text read at once",
        (
            "With six tokens kept and one new: at which place of the text does the new query stand, and which number "
            "does i give it?",
            "Write i and j for Tq = 2 and Tk = 5, and the mask by hand. The last query is the last token, so it must "
            "see the last key. Shift i until it does.",
            "i = torch.arange(____)[:, None]  # the places of the newest Tq of Tk tokens",
        ),
        (
            Check("from_a_cache", 3, "the newest token reads itself and the window before it"),
            Check("chunks", 1, "the same for several new tokens, none of which reads a later one"),
            Check("whole_text", 1, "the right result for Tq = Tk, as before"),
            Check("large_scores", 1, "finite and exact for scores as large as ±10000"),
            Check(KEEPS_DTYPE, 1, "the dtype of q"),
            _CLINIC_UNCHANGED,
        ),
        minutes=7,
        difficulty=2,
        axes=_CLINIC_AXES,
    ),
    _clinic(
        6,
        "attend(q, k, v, mask=None) → out",
        "q: (..., Tq, D) float tensor, k: (..., Tk, D), v: (..., Tk, Dv)\n"
        "mask: bool, broadcastable to (..., Tq, Tk), True where query i may read key j; None is everywhere\n"
        "out: (..., Tq, Dv) in the dtype of q, differentiable in q, k and v; 0 for a query that may read nothing",
        (
            "All numbers are right, and yet something stands still while the model trains. What do q and k learn from?",
            "Ask for the gradient of the sum of out² with respect to q, k and v, one by one. Where it is missing, go "
            "back along the computation to the line at which the way ends.",
            "weights = torch.softmax(scores, dim=-1)  # outside of ____",
        ),
        (
            Check("output", 1, "softmax(q kᵀ / √D) v over the keys that may be read, as before"),
            Check(DIFFERENTIABLE, 4, "finite gradients that flow to q, k and v"),
            Check("empty_rows", 1, "0, not NaN, for a query that may read nothing, as before"),
            Check("large_scores", 1, "finite and exact for scores as large as ±10000, as before"),
            Check(KEEPS_DTYPE, 1, "the dtype of q"),
            _CLINIC_UNCHANGED,
        ),
        minutes=7,
        difficulty=1,
        axes=_CLINIC_AXES,
    ),
)

# --- the functions that learners' tests are tried on ------------------------------------------------------------------


def _tests_plain(q, k, v, mask):
    scores = q @ k.mT / math.sqrt(q.shape[-1])
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf)
    weights = scores.softmax(-1).nan_to_num(0.0)
    return weights @ v, weights


def _tests_einsum(q, k, v, mask):
    import torch

    scores = torch.einsum("...id,...jd->...ij", q * q.shape[-1] ** -0.5, k)
    if mask is not None:
        scores = torch.where(mask, scores, -torch.inf)
    e = torch.exp(scores - scores.amax(-1, keepdim=True).clamp(min=-1e30))
    weights = e / e.sum(-1, keepdim=True).clamp(min=1e-30)
    return torch.einsum("...ij,...jd->...id", weights, v), weights


def _tests_double(q, k, v, mask):
    out, weights = _tests_plain(q.double(), k.double(), v.double(), mask)
    return out.to(q.dtype), weights.to(q.dtype)


def _tests_torch(q, k, v, mask):
    import torch
    from torch.nn.functional import scaled_dot_product_attention as attend

    eye = torch.eye(k.shape[-2], dtype=q.dtype).expand(*k.shape[:-2], -1, -1)
    mask = mask if mask is None else mask.expand(*mask.shape[:-2], q.shape[-2], k.shape[-2])
    weights = attend(q, k, eye, attn_mask=mask).nan_to_num(0.0)
    return attend(q, k, v, attn_mask=mask).nan_to_num(0.0), weights


def _tests_rows(q, k, v, mask):
    import torch

    scale = math.sqrt(q.shape[-1])
    found = []
    for i in range(q.shape[-2]):  # one query after another
        row = (k @ q[..., i, :, None]).squeeze(-1) / scale
        if mask is not None:
            # a mask may have one row for all queries
            wide = torch.broadcast_to(mask, torch.broadcast_shapes(mask.shape, (q.shape[-2], k.shape[-2])))
            row = row.masked_fill(~wide[..., i, :], -math.inf)
        found.append(row.softmax(-1).nan_to_num(0.0))
    weights = torch.stack(found, dim=-2)
    return weights @ v, weights


def _tests_logs(q, k, v, mask):
    scores = (q / q.shape[-1] ** 0.25) @ (k / q.shape[-1] ** 0.25).mT
    if mask is not None:
        scores = scores.masked_fill(mask.logical_not(), float("-inf"))
    weights = scores.log_softmax(-1).exp().nan_to_num(0.0)
    return (weights.unsqueeze(-1) * v.unsqueeze(-3)).sum(-2), weights


def _tests_blocks(q, k, v, mask):
    import torch

    scores = torch.cat([q @ part.mT for part in k.split(2, dim=-2)], dim=-1) / math.sqrt(q.shape[-1])
    if mask is not None:
        scores = scores.masked_fill(~mask, -1e30)
    top = scores.amax(-1, keepdim=True)
    e = torch.exp(scores - top) * (scores > -1e29)
    weights = e / torch.where(top > -1e29, e.sum(-1, keepdim=True), 1.0)
    pieces = zip(weights.split(2, dim=-1), v.split(2, dim=-2), strict=True)
    return sum(part @ values for part, values in pieces), weights


def _tests_wrong(
    scale=lambda q, k, v: math.sqrt(q.shape[-1]),
    mask_is=lambda mask, q: mask,
    fill=-math.inf,
    scores_are=lambda scores, mask: scores,
    softmax=lambda scores: scores.softmax(-1),
    empty="zero",
    weights_are=lambda weights, mask: weights,
    give=lambda out, weights, scores: (out, weights),
):
    """An attention with some of its parts replaced; without arguments it is a right one."""

    def fn(q, k, v, mask):
        scores = scores_are(q @ k.mT / scale(q, k, v), mask)
        mask = mask if mask is None else mask_is(mask, q)
        hidden = scores if mask is None else scores.masked_fill(~mask, fill)
        weights = softmax(hidden)
        if empty == "zero" and mask is not None:
            weights = weights.masked_fill(~mask.any(-1, keepdim=True), 0.0)
        weights = weights_are(weights, mask)
        return give(weights @ v, weights, hidden)

    return fn


def _tests_exp(shift):
    def softmax(scores):
        e = (scores - shift(scores)).exp()
        return e / e.sum(-1, keepdim=True)

    return softmax


def _tests_after(q, k, v, mask):
    weights = (q @ k.mT / math.sqrt(q.shape[-1])).softmax(-1)
    weights = weights if mask is None else weights * mask
    return weights @ v, weights


def _tests_swapped(q, k, v, mask):
    scores = k @ q.mT / math.sqrt(q.shape[-1])
    scores = scores if mask is None else scores.masked_fill(~mask, -math.inf)
    weights = scores.softmax(-1).nan_to_num(0.0)
    return weights @ v, weights


def _tests_everywhere(scores):
    return scores.flatten(-2).softmax(-1).nan_to_num(0.0).unflatten(-1, scores.shape[-2:])


def _tests_first_keys(q, k, v, mask):
    flat = k.reshape(-1, *k.shape[-2:])[0]
    return _tests_plain(q, flat.expand(k.shape), v, mask)


def _tests_joined(q, k, v, mask):
    """Keys of all items of the first leading axis share one softmax."""
    scores = q @ k.mT / math.sqrt(q.shape[-1])
    scores = scores if mask is None else scores.masked_fill(~mask, -math.inf)
    e = (scores - scores.amax().clamp(min=-1e30)).exp()
    total = e.sum(-1, keepdim=True)
    total = total.mean(0, keepdim=True) if q.ndim > 2 else total
    weights = e / total.clamp(min=1e-30)
    return weights @ v, weights


def _tests_first_mask(mask, q):
    return mask[:1] if mask.ndim > 2 else mask


def _tests_without_last(scores, mask):
    import torch

    last = torch.arange(scores.shape[-1]) == scores.shape[-1] - 1
    return scores.masked_fill(last, -1e30) if scores.shape[-1] > 1 else scores


def _tests_top(weights, mask):
    import torch

    kept = torch.zeros_like(weights).scatter(-1, weights.topk(min(3, weights.shape[-1])).indices, 1.0)
    return weights * kept / (weights * kept).sum(-1, keepdim=True).clamp(min=1e-30)


def _tests_dropout(weights, mask):
    """One weight of every row, drawn anew with each call, is set to 0."""
    import torch

    place = torch.from_numpy(np.random.default_rng().integers(weights.shape[-1], size=(*weights.shape[:-1], 1)))
    return weights.scatter(-1, place, 0.0)


def _tests_near(scores, mask):
    """Only keys at most three places away."""
    import torch

    rows, columns = torch.arange(scores.shape[-2])[:, None], torch.arange(scores.shape[-1])
    return scores.masked_fill((rows - columns).abs() > 3, -1e30)


def _tests_scales_q(q, k, v, mask):
    q /= math.sqrt(q.shape[-1])
    return _tests_plain(q * math.sqrt(q.shape[-1]), k, v, mask)


def _tests_fills_mask(q, k, v, mask):
    found = _tests_plain(q, k, v, mask)
    if mask is not None:
        mask |= True
    return found


def _tests_in(dtype):
    def fn(q, k, v, mask):
        out, weights = _tests_plain(q, k, v, mask)
        return getattr(out, dtype)(), getattr(weights, dtype)()

    return fn


# What the notebook's own bank holds stands in the notebook; these here are the ones by which tests are judged.
TESTS_RIGHT = {
    "plain": _tests_plain,
    "einsum": _tests_einsum,
    "double": _tests_double,
    "torch": _tests_torch,
    "rows": _tests_rows,
    "logs": _tests_logs,
    "blocks": _tests_blocks,
}
TESTS_WRONG = {
    "no scale": _tests_wrong(scale=lambda q, k, v: 1.0),
    "by D": _tests_wrong(scale=lambda q, k, v: q.shape[-1]),
    "by the width of v": _tests_wrong(scale=lambda q, k, v: math.sqrt(v.shape[-1])),
    "by the number of keys": _tests_wrong(scale=lambda q, k, v: math.sqrt(k.shape[-2])),
    "over the queries": _tests_wrong(softmax=lambda scores: scores.softmax(-2).nan_to_num(0.0)),
    "over everything": _tests_wrong(softmax=_tests_everywhere),
    "roles swapped": _tests_swapped,
    "one set of keys": _tests_first_keys,
    "batch joined": _tests_joined,
    "one mask for all": _tests_wrong(mask_is=_tests_first_mask),
    "mask ignored": lambda q, k, v, mask: _tests_plain(q, k, v, None),
    "mask inverted": _tests_wrong(mask_is=lambda mask, q: ~mask),
    "mask after": _tests_after,
    "scores of zero": _tests_wrong(fill=0.0),
    "empty rows NaN": _tests_wrong(empty="as they are"),
    "empty rows even": _tests_wrong(fill=-1e9, empty="as they are"),
    "empty rows in the weights": _tests_wrong(
        give=lambda out, weights, scores: (
            out,
            weights.masked_fill((scores.amax(-1, keepdim=True) == -math.inf), 1 / weights.shape[-1]),
        )
    ),
    "no maximum": _tests_wrong(softmax=_tests_exp(lambda scores: 0.0)),
    "one maximum": _tests_wrong(softmax=_tests_exp(lambda scores: scores.amax())),
    "clamped": _tests_wrong(scores_are=lambda scores, mask: scores.clamp(-30, 30)),
    "last key lost": _tests_wrong(scores_are=_tests_without_last),
    "three largest": _tests_wrong(weights_are=_tests_top),
    "dropout": _tests_wrong(weights_are=_tests_dropout),
    "three places": _tests_wrong(scores_are=_tests_near),
    "changes q": _tests_scales_q,
    "changes the mask": _tests_fills_mask,
    "always float32": _tests_in("float"),
    "always float64": _tests_in("double"),
    "returns scores": _tests_wrong(give=lambda out, weights, scores: (out, scores)),
}
TESTS_CALLS = 200  # of one function in one run of the tests


def build_attention(kind):
    """A function (q, k, v, mask) → what it returns, and its inputs as it leaves them; `kind` is a key of the bank.

    Its inputs are handed back since it may answer from another process, in which a change of them would be lost.
    """
    chosen = {**TESTS_RIGHT, **TESTS_WRONG}[kind]

    def inner(q, k, v, mask):
        given = [item if item is None else item.detach().clone() for item in (q, k, v, mask)]
        out, weights = chosen(*given)
        return {"out": out, "weights": weights, "left": given}

    return inner


def call_tests(answer, inputs, keywords):
    """Drive the tests that a learner wrote: run them on each of several functions.

    inputs: the functions, one or more; a generator behind them is not used.
    Returns a dict. found: for each function True (a fault was reported), False, or what came back instead of a list;
    called, masked, batched, large: whether any function was called at all, with a mask, with leading axes of more than
    one item, with products of q and k above 1000; square: whether Tq, Tk, D and Dv were all equal in every call.
    """
    notes = _Shown()
    found = [notes.verdict(answer, inner) for inner in inputs if callable(inner)]
    return {"found": found} | {
        name: getattr(notes, name) for name in ("called", "masked", "batched", "large", "square")
    }


class _Shown:
    """What the functions were shown, in all calls together."""

    def __init__(self):
        self.called = self.masked = self.batched = self.large = False
        self.square = True

    def verdict(self, answer, inner):
        """True if the tests report a fault of a function, False if they report none, or what they return instead."""
        raised: list[BaseException] = []
        calls = 0

        def fn(q, k, v, mask=None):
            nonlocal calls
            calls += 1
            if calls > TESTS_CALLS:
                raise RuntimeError(f"more than {TESTS_CALLS} calls of one function")
            try:
                self.note(q, k, v, mask)
                found = inner(q, k, v, mask)
            except Exception as error:
                raised.append(error)
                raise
            _write_back((q, k, v, mask), found["left"])
            return found["out"], found["weights"]

        try:
            said = call_answer(answer, (fn,), {})
        except NotImplementedError:
            raise
        except Exception as error:
            # An error that comes from the function is a fault that was found. Of any other the name is given: whether
            # right functions bring it about too is seen only when all have been tried.
            return True if any(error is one for one in raised) else type(error).__name__
        if isinstance(said, (list, tuple, set)):
            return bool(said)
        return "None" if said is None else type(said).__name__

    def note(self, q, k, v, mask):
        self.called = True
        self.masked |= mask is not None
        self.batched |= any(size > 1 for size in q.shape[:-2])
        self.square &= len({q.shape[-2], k.shape[-2], q.shape[-1], v.shape[-1]}) == 1
        self.large |= bool((q.detach().double() @ k.detach().double().mT).abs().max() > 1000)


def _write_back(given, left):
    """Do to the tensors given what the function did to its copies of them."""
    import torch

    with torch.no_grad():
        for tensor, after in zip(given, left, strict=True):
            if tensor is not None and not torch.equal(tensor, after):
                tensor.copy_(after)


TESTS = Exercise(
    id="attention_tests",
    kind="T",
    notebook=NOTEBOOK,
    minutes=30,
    difficulty=3,
    contract=(
        "attention_tests(fn) → faults\n"
        "fn: any function (q, k, v, mask=None) → (out, weights) that claims to be scaled dot-product attention\n"
        "q: (..., Tq, D), k: (..., Tk, D), v: (..., Tk, Dv), float32 or float64 tensors; the leading axes, any number, "
        "are those of all three\n"
        "mask: bool, broadcastable to (..., Tq, Tk), True where query i may attend to key j; None is everywhere\n"
        "right: weights = softmax(q kᵀ / √D) over the keys that may be read, 0 in rows without any; out = weights v; "
        "both in the dtype of q; finite for scores of ±10000; the inputs as they were\n"
        "faults: a list of texts, one for each fault found; an empty list if there are none; an error that fn raises, "
        "or that its results bring about, counts as a fault if let through\n"
        f"fn hands back numbers only, no gradients; it may be called {TESTS_CALLS} times, with at most 256 entries "
        "along an axis\n"
        "for standard normal inputs rounding stays below 1e-5; no right fn may be refused, or nothing counts"
    ),
    section="Tests that nobody has to believe",
    hints=(
        "Which changes of q, k, v and mask must change nothing, and which must change the result in a way known "
        "beforehand?",
        "Draw inputs with every axis of another size. Trade two keys with their values: out stays. Hide keys: as if "
        "they were not there. Take one item of a batch alone. Know one case by hand for the scale. Then the edges: a "
        "row without keys, scores of ±10000, both dtypes, inputs left as they were. Each becomes one line in the list.",
        "if not torch.allclose(fn(q, k[..., order, :], v[..., order, :])[0], ____, atol=1e-4): faults.append(…)",
    ),
    checks=(
        Check("refuses_no_right_one", 4, "no faults in functions that are right, however they are written"),
        Check("catches_scales", 4, "faults in functions that divide by another number, and in no right one"),
        Check("catches_axes", 3, "faults where the softmax runs along other axes, or q and k trade roles"),
        Check("catches_mixed_batches", 3, "faults where items of a batch share keys, a total or a mask"),
        Check("catches_masks", 4, "faults where the mask is ignored, inverted, late, or a score of 0"),
        Check("catches_empty_rows", 3, "faults where a row without keys is NaN or shares, in out or in the weights"),
        Check("catches_large_scores", 3, "faults where large scores overflow, are clamped, or drown other rows"),
        Check("catches_lost_keys", 4, "faults where a key is left out: the last, by chance, small or far ones"),
        Check("catches_side_effects", 5, "faults in what is changed or handed back: inputs, dtypes, weights"),
    ),
    library="torch",
    builders={"fn": build_attention},
    call=call_tests,
)

PREDICTION = Exercise(
    id="finds_the_leak",
    kind="P",
    notebook=NOTEBOOK,
    minutes=2,
    difficulty=2,
    contract=(
        'finds_the_leak = a set of words from {"held-out loss", "other seeds", "batch", "later tokens"}: which of the '
        "four checks tell a model that reads later tokens from one that does not, without knowing the source's entropy?"
    ),
    section="A loss that is too good",
    hints=(
        "Which of the four asks something whose answer is known to be no, for every right model?",
        "Go through them: where else would a model that reads ahead also do well? What must not move at all?",
        'finds_the_leak = {"____"}',
    ),
    checks=(Check("prediction", 1, "the checks that come out otherwise for the model that reads ahead"),),
    call=take_answer,
)

EXERCISES = (*CLINIC, TESTS, PREDICTION)
