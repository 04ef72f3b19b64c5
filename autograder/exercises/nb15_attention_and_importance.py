"""Notebook 15, the visible half: does attention mean importance? Rank agreement, erasure, gradients, permutations."""

from typing import Any

from autograder.exercise import INPUTS_UNCHANGED, KEEPS_DTYPE, Check, Exercise, call_answer, take_answer

NOTEBOOK = "15_attention_and_importance"

VOCABULARY = 130  # ids that the sentence functions below know
LONGEST = 24
MOST_ROWS = 4000  # weights given to f that are kept
FEW = 20  # rows that are kept if their shapes differ


# --- the functions that answers are given ----------------------------------------------------------------------------


def _numbers(seed, *shapes):
    """Standard normal float64 tensors, the same for the same seed."""
    import numpy as np
    import torch

    rng = np.random.default_rng(seed)
    return [torch.from_numpy(rng.standard_normal(shape)) for shape in shapes]


def sentence_score(seed, offset=0.0):
    """A number for a sentence of ids (T,), as a float: it depends on each word, its place and its neighbour."""
    import torch

    words, places, single, paired = _numbers(seed, (VOCABULARY, 3), (LONGEST, 3), (3,), (3,))

    def f(ids):
        ids = torch.as_tensor(ids)
        if ids.ndim != 1:
            raise ValueError(f"f takes the ids of one sentence, (T,); these have the shape {tuple(ids.shape)}")
        h = torch.tanh(words[ids.long()] + 0.7 * places[: len(ids)])  # (T, 3)
        return float(offset + (h @ single).sum() + (h[:-1] * h[1:] @ paired).sum())

    return f


def _one_matrix(x):
    if x.ndim != 2:
        raise ValueError(f"f takes the vectors of one sentence, (T, C); these have the shape {tuple(x.shape)}")


def linear(tokens, width, seed):
    """A weighted sum of all numbers of x (T, C), as a scalar tensor; its gradient is the same at every x."""
    (weights,) = _numbers(seed, (tokens, width))
    weights.requires_grad_()

    def f(x):
        _one_matrix(x)
        return (x * weights.to(x.dtype)).sum()

    return f


def bent(tokens, width, seed):
    """A small network over the words and over neighbours; its gradient depends on x."""
    import torch

    w_1, w_2, w_3 = (part.requires_grad_() for part in _numbers(seed, (width, 4), (tokens, 4), (4,)))

    def f(x):
        _one_matrix(x)
        h = torch.tanh(x @ w_1.to(x.dtype) / width**0.5)  # (T, 4)
        return (h * w_2.to(x.dtype)).sum() + (h[:-1] * h[1:] @ w_3.to(x.dtype)).sum()

    return f


def pooling(tokens, width, seed, reads):
    """An attention-weighted average of the first `reads` words, then a number of it; the other words are not read."""
    import torch

    w_s, w_v = (part.requires_grad_() for part in _numbers(seed, (width,), (width,)))

    def f(x):
        _one_matrix(x)
        seen = x[:reads]
        weights = torch.softmax(seen @ w_s.to(x.dtype), dim=0)  # (reads,)
        return torch.sigmoid(weights @ seen @ w_v.to(x.dtype))

    return f


def classes(tokens, count, seed, sharpness=3.0):
    """Probabilities of some classes (K,) from attention weights (T,), by a fixed value for each word."""
    import torch

    (values,) = _numbers(seed, (tokens, count))

    def f(weights):
        weights = torch.as_tensor(weights)
        if weights.ndim != 1:
            raise ValueError(f"f takes one row of weights, (T,); these have the shape {tuple(weights.shape)}")
        return torch.softmax(sharpness * weights.to(values.dtype) @ values, dim=0).to(weights.dtype)

    return f


# --- driving an answer -----------------------------------------------------------------------------------------------


def call_with_old_gradient(answer, inputs, keywords):
    """Drive grad_x_input; with a third input True, x already holds a gradient from an earlier backward pass."""
    import torch

    f, x, *old = inputs
    if old and old[0]:
        x.requires_grad_()
        x.grad = torch.ones_like(x.detach())
    return call_answer(answer, (f, x), keywords)


def call_with_recorded_f(answer, inputs, keywords):
    """Drive attention_permutation_test and keep the weights that f was given, since its result is judged at them.

    inputs: (f, weights, rng, trials, again); with `again`, two more calls show where the shuffles come from.
    Returns {"result", "given": the rows f was given, "twin": those of a call with a copy of rng in its first state,
    "next": those of another call with rng itself}.
    """
    import copy

    f, weights, rng, trials, again = inputs
    kept, twin = weights.clone(), copy.deepcopy(rng)
    result, given = _recorded(answer, f, weights, rng, trials)
    found = {"result": result, "given": given, "twin": [], "next": []}
    if again:
        found["twin"] = _recorded(answer, f, kept.clone(), twin, trials)[1]
        found["next"] = _recorded(answer, f, kept.clone(), rng, trials)[1]
    return found


def _unwrapped(row):
    """Inside torch.vmap, the whole batch of rows that stands behind one row, where torch lets us see it."""
    import torch

    functorch: Any = getattr(torch._C, "_functorch", None)
    while hasattr(functorch, "is_batchedtensor") and functorch.is_batchedtensor(row):
        row = functorch.get_unwrapped(row)
    return row


def _recorded(answer, f, weights, rng, trials):
    import torch

    given: list = []

    def recorded(row):
        if len(given) < MOST_ROWS:
            given.append(_unwrapped(torch.as_tensor(row)).detach().clone())
        return f(row)

    result = call_answer(answer, (recorded, weights, rng, trials), {})
    rows: list = []
    for row in given:
        rows += list(row) if row.ndim == 2 else [row]
    rows = [row.double() for row in rows]
    return result, torch.stack(rows) if len({row.shape for row in rows}) == 1 else rows[:FEW]


_ERASURE = (
    "f: a function of ids (T,) int64 that returns a float; it may be called often\n"
    "ids: (T,) int64, one sentence\n"
    "scores: (T,) float, how important each token is said to be; no two are equal, some may be negative\n"
    "k: int, 0 to T, how many of the highest-scored tokens are taken\n"
    "mask_id: int, the id that stands in place of a masked token\n"
)

EXERCISES = (
    Exercise(
        id="kendall_tau",
        kind="I",
        notebook=NOTEBOOK,
        minutes=15,
        difficulty=2,
        contract=(
            "kendall_tau(a, b) → tau\n"
            "a, b: (n,) float tensors, n ≥ 1, two scores for each of n things\n"
            "tau: a number from −1 to 1, Kendall's tau-b: (agreeing − opposed pairs) / √(pairs not tied in a · pairs "
            "not tied in b)\n"
            "a pair is tied if its two scores are equal, however small the scores; 0.0 if a or b is constant"
        ),
        section="Do two rankings agree?",
        hints=(
            "For one pair of things, which sign has the difference in a, which in b, and what is their product if the "
            "pair is tied in either?",
            "Signs of all differences a_i − a_j as an (n, n) table of −1, 0, 1, the same for b. The sum of their "
            "product counts agreeing minus opposed pairs, each twice. The sums of their squares count the pairs that "
            "are not tied, also twice, so the 2 cancels. If either sum is 0, return 0.0.",
            "return (s_a * s_b).sum() / math.sqrt((s_a**2).sum() * ____)",
        ),
        checks=(
            Check("no_ties", 2, "agreeing minus opposed pairs, as a share of all pairs, where nothing is tied"),
            Check("ties_in_one", 1, "divided by √(pairs not tied in a · pairs not tied in b)"),
            Check("ties_in_both", 2, "the same where pairs are tied in a, in b and in both"),
            Check("same_or_reversed", 1, "1 for the same order, −1 for the reversed one, whatever the scores are"),
            Check("constant", 1, "0.0 where all scores of a or of b are equal, also for a single thing"),
            Check("small_scores", 1, "scores near 0 compared as exactly as large ones"),
            Check(INPUTS_UNCHANGED, 1, "a and b as they were before the call"),
        ),
        axes={"a": "n", "b": "n"},
        library="torch",
    ),
    Exercise(
        id="leave_one_out",
        kind="I",
        notebook=NOTEBOOK,
        minutes=10,
        difficulty=1,
        contract=(
            "leave_one_out(f, ids, mask_id) → change\n"
            "f: a function of ids (T,) int64 that returns a float; it may be called often\n"
            "ids: (T,) int64, one sentence\n"
            "mask_id: int, the id that stands in place of a masked token\n"
            "change: (T,) float, entry i is f(ids) − f(ids with token i masked); its sign is kept"
        ),
        section="Take a word away",
        hints=(
            "When token 3 is masked, which tokens has f to see as they were, token 2 among them?",
            "For each i make a copy of ids, write mask_id into place i of the copy, call f, and subtract from f(ids). "
            "Collect T numbers.",
            "masked = ids.____(); masked[i] = mask_id; changes.append(f(ids) - f(masked))",
        ),
        checks=(
            Check("signed_change", 3, "f(ids) − f(ids with token i masked), one token at a time"),
            Check("any_mask_id", 1, "the same whatever number mask_id is"),
            Check("repeated_words", 1, "one place at a time where a word stands twice or is masked already"),
            Check("short_sentences", 1, "one number for each word of a sentence of one or two"),
            Check(INPUTS_UNCHANGED, 1, "ids as they were before the call"),
        ),
        axes={"ids": "T", "result": "T"},
        library="torch",
        builders={"sentence_score": sentence_score},
    ),
    Exercise(
        id="grad_x_input",
        kind="I",
        notebook=NOTEBOOK,
        minutes=12,
        difficulty=2,
        contract=(
            "grad_x_input(f, x) → scores\n"
            "f: a function of x (T, C) that returns a scalar tensor\n"
            "x: (T, C) float tensor, one vector per token; it may hold a gradient from before\n"
            "scores: (T,) in the dtype of x, entry i is the dot product of ∂f/∂x_i and x_i, at x; its sign is kept"
        ),
        section="Ask the gradient",
        hints=(
            "∂f/∂x has the shape of x. Which axis has to go, so that one signed number is left per token?",
            "Make a copy of x that requires a gradient and belongs to no graph. One call of f, the gradient of its "
            "result by that copy (T, C), times x, summed over the width: (T,). torch.autograd.grad adds to nothing "
            "that is there already.",
            "(gradient,) = torch.autograd.grad(f(leaf), leaf); return (gradient * ____).sum(dim=-1)",
        ),
        checks=(
            Check("signed_dot", 3, "the dot product of each token's gradient with its vector"),
            Check("where_x_matters", 1, "the same for an f whose gradient depends on x"),
            Check("unread_tokens", 1, "0 for a token that f does not read"),
            Check("sizes_of_1", 1, "T = 1 and C = 1 as well"),
            Check("old_gradient", 1, "the same for an x that holds a gradient from an earlier pass"),
            Check(KEEPS_DTYPE, 1, "scores in the dtype of x"),
            Check(INPUTS_UNCHANGED, 1, "x as it was before the call"),
        ),
        axes={"x": "T C", "result": "T"},
        library="torch",
        builders={"linear": linear, "bent": bent, "pooling": pooling},
        call=call_with_old_gradient,
    ),
    Exercise(
        id="attention_permutation_test",
        kind="I",
        notebook=NOTEBOOK,
        minutes=15,
        difficulty=2,
        contract=(
            "attention_permutation_test(f, weights, rng, trials) → change\n"
            "f: a function of one row of weights (T,) that returns probabilities (K,)\n"
            "weights: (T,) float tensor, the attention weights of one sentence\n"
            "rng: the numpy.random.Generator that every shuffle comes from\n"
            "trials: int, at least 1, how many shuffles of weights are tried; every order is equally likely\n"
            "change: the median over the trials of the total variation distance ½ Σ_k |p_k − q_k| between f(weights) "
            "and f of the shuffled weights, a number; the mean of the middle two if trials is even"
        ),
        section="Shuffle the weights",
        hints=(
            "Which of the two things that f combines is shuffled, and with what is each shuffled result compared?",
            "p = f(weights) once. For each trial draw an order, rng.permutation(T), index weights with it, and take "
            "half the sum of |p − f(shuffled)|. Sort the distances, and for an even number average the middle two; "
            "torch.median gives the lower one.",
            "distances.append(0.5 * (p - f(weights[rng.permutation(____)])).abs().sum())",
        ),
        checks=(
            Check("median_distance", 3, "the median total variation between f(weights) and f of the shuffled weights"),
            Check("even_trials", 1, "the mean of the middle two distances for an even number of trials"),
            Check("no_change", 1, "0 where f or the weights make all orders alike"),
            Check("fair_shuffles", 2, "every order of the weights equally likely"),
            Check("follows_rng", 1, "shuffles from rng: the same for a generator in the same state, others later"),
            Check(INPUTS_UNCHANGED, 1, "weights as they were before the call"),
        ),
        axes={"weights": "T"},
        library="torch",
        builders={"classes": classes},
        call=call_with_recorded_f,
    ),
    Exercise(
        id="comprehensiveness",
        kind="I",
        notebook=NOTEBOOK,
        minutes=8,
        difficulty=2,
        contract=(
            "comprehensiveness(f, ids, scores, k, mask_id) → change\n"
            + _ERASURE
            + "change: f(ids) − f(ids with the k highest-scored tokens masked), a number; its sign is kept"
        ),
        section="Erase the reason, or keep nothing else",
        hints=(
            "If the scores are right about what was used, should f move much or little when the top k are gone?",
            "The places of the k largest scores; a copy of ids with mask_id written there; f(ids) minus f(copy).",
            "top = scores.argsort(descending=____)[:k]",
        ),
        checks=(
            Check("without_the_top", 3, "f(ids) − f(ids with the k highest-scored tokens masked)"),
            Check("none_or_all", 1, "0 for k = 0, and everything masked for k = T"),
            Check("negative_scores", 1, "the highest scores taken, not the largest in magnitude"),
            Check("repeated_words", 1, "single places masked, where a word stands twice"),
            Check(INPUTS_UNCHANGED, 1, "ids and scores as they were before the call"),
        ),
        axes={"ids": "T", "scores": "T"},
        library="torch",
        builders={"sentence_score": sentence_score},
    ),
    Exercise(
        id="sufficiency",
        kind="I",
        notebook=NOTEBOOK,
        minutes=5,
        difficulty=1,
        contract=(
            "sufficiency(f, ids, scores, k, mask_id) → change\n"
            + _ERASURE
            + "change: f(ids) − f(ids with every token but the k highest-scored masked), a number; its sign is kept"
        ),
        section="Erase the reason, or keep nothing else",
        hints=(
            "Which tokens are masked now: the ones that were masked before, or the others?",
            "A sentence that is mask_id throughout, with the tokens of the k highest scores written back in their "
            "places; f(ids) minus f of that.",
            "kept = torch.full_like(ids, mask_id); kept[top] = ____",
        ),
        checks=(
            Check("only_the_top", 3, "f(ids) − f(ids with all but the k highest-scored tokens masked)"),
            Check("none_or_all", 1, "everything masked for k = 0, and 0 for k = T"),
            Check("negative_scores", 1, "the highest scores kept, not the largest in magnitude"),
            Check("repeated_words", 1, "single places kept, where a word stands twice"),
            Check(INPUTS_UNCHANGED, 1, "ids and scores as they were before the call"),
        ),
        axes={"ids": "T", "scores": "T"},
        library="torch",
        builders={"sentence_score": sentence_score},
    ),
    Exercise(
        id="plausible_or_faithful",
        kind="P",
        notebook=NOTEBOOK,
        minutes=4,
        difficulty=2,
        contract=(
            'plausible_or_faithful = four words, each "plausible", "faithful", "both" or "neither": what the '
            "explanation is in each of the situations A to D"
        ),
        section="Three questions",
        hints=(
            "Who decides whether an explanation is plausible, and who decides whether it is faithful?",
            "Two separate questions for each situation: would a reader have marked these words? Does the prediction "
            "rest on these words, by what was measured?",
            'plausible_or_faithful = ("____", "____", "____", "____")',
        ),
        checks=(Check("prediction", 1, "one word for each of A, B, C and D"),),
        call=take_answer,
    ),
    Exercise(
        id="reflection_15",
        kind="R",
        notebook=NOTEBOOK,
        minutes=10,
        difficulty=3,
        contract="reflection_15 = your answer, a few sentences",
        section="In your own words",
        hints=(
            "What exactly was averaged with these weights, the words or something that had already read the sentence?",
            "Where it looked, what it used, what a reader would mark: one sentence each. Then one measurement that "
            "could refute the claim, and what even that one would leave open.",
            "the map shows ____, the claim is about ____, and the test that could refute it is …",
        ),
        checks=(
            Check("three_questions", 1, "weights, what the prediction used, and what a reader marks are kept apart"),
            Check("mixing", 1, "under the attention the vectors have already mixed words, so a weight is on a place"),
            Check("test", 1, "a test that changes the input or the weights and looks at the prediction"),
            Check("limits", 1, "what that test does not show: unusual inputs, other models, or that one is exclusive"),
        ),
        call=take_answer,
    ),
)
