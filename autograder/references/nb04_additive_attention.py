"""Notebook 04, the hidden half: references, accepted and wrong answers, cases."""

import math

import numpy as np
import torch

from autograder.exercise import DIFFERENTIABLE, KEEPS_DTYPE, Case, Misconception, Reference

# --- additive_scores -------------------------------------------------------------------------------------------------


def additive_scores(q, k, w_q, w_k, w):
    hidden = torch.tanh((q @ w_q)[:, :, None, :] + (k @ w_k)[:, None, :, :])
    return hidden @ w


def additive_by_loops(q, k, w_q, w_k, w):
    rows = [
        [torch.stack([w @ torch.tanh(a @ w_q + b @ w_k) for b in keys]) for a in qs]
        for qs, keys in zip(q, k, strict=True)
    ]
    return torch.stack([torch.stack(row) for row in rows])


def additive_by_sentence(q, k, w_q, w_k, w):
    return [torch.tanh((a @ w_q).unsqueeze(1) + b @ w_k) @ w for a, b in zip(q, k, strict=True)]


def additive_by_einsum(q, k, w_q, w_k, w):
    asked, found = torch.einsum("bid,dh->bih", q, w_q), torch.einsum("bjd,dh->bjh", k, w_k)
    return torch.einsum("bijh,h->bij", (asked.unsqueeze(2) + found.unsqueeze(1)).tanh(), w)


def additive_by_concatenation(q, k, w_q, w_k, w):
    """Bahdanau's network as one layer over both vectors, laid side by side."""
    shape = (q.shape[0], q.shape[1], k.shape[1])
    pairs = torch.cat([q[:, :, None].expand(*shape, -1), k[:, None].expand(*shape, -1)], dim=-1)
    return (torch.cat([w_q, w_k]).T @ pairs[..., None]).squeeze(-1).tanh().mul(w).sum(-1)


def additive_by_hidden_unit(q, k, w_q, w_k, w):
    scores = q.new_zeros(q.shape[0], q.shape[1], k.shape[1])
    for n in range(len(w)):
        scores = scores + w[n] * torch.tanh((q @ w_q[:, n])[..., None] + (k @ w_k[:, n])[:, None])
    return scores


def _net(
    inside=lambda a, b: a + b,
    bend=torch.tanh,
    project=lambda q, k, w_q, w_k: (q @ w_q, k @ w_k),
    read=lambda hidden, w: hidden @ w,
):
    """The right answer with one step replaced: how the pair is joined, bent, projected, or read out."""

    def scores(q, k, w_q, w_k, w):
        asked, found = project(q, k, w_q, w_k)
        return read(bend(inside(asked[:, :, None], found[:, None])), w)

    return scores


def _then(change):
    """The right answer, changed at the end: `change(scores, q, k, w_q, w_k, w)`."""
    return lambda *inputs: change(additive_scores(*inputs), *inputs)


def _paired_by_place(axis):
    """Both projections get their new axis in the same place."""

    def scores(q, k, w_q, w_k, w):
        return torch.tanh((q @ w_q).unsqueeze(axis) + (k @ w_k).unsqueeze(axis)) @ w

    return scores


def _without_new_axes(q, k, w_q, w_k, w):
    return torch.tanh(q @ w_q + k @ w_k) @ w


def _tanh_outside(q, k, w_q, w_k, w):
    return torch.tanh((q @ w_q @ w)[:, :, None] + (k @ w_k @ w)[:, None])


def _tanh_of_each(q, k, w_q, w_k, w):
    return (torch.tanh(q @ w_q)[:, :, None] + torch.tanh(k @ w_k)[:, None]) @ w


def _tanh_of_query_only(q, k, w_q, w_k, w):
    return (torch.tanh(q @ w_q)[:, :, None] + (k @ w_k)[:, None]) @ w


def _weights(axis):
    return _then(lambda s, *inputs: s.softmax(axis))


def _swapped_matrices(q, k, w_q, w_k, w):
    return additive_scores(q, k, w_k, w_q, w)


def _one_matrix(which):
    return lambda q, k, w_q, w_k, w: additive_scores(q, k, (w_q, w_k)[which], (w_q, w_k)[which], w)


def _transposed_matrices(q, k, w_q, w_k, w):
    return additive_scores(q, k, w_q.T, w_k.T, w)


def _reshaped_matrices(q, k, w_q, w_k, w):
    return additive_scores(q, k, w_q.T.reshape(w_q.shape), w_k.T.reshape(w_k.shape), w)


def _transposed(q, k, w_q, w_k, w):
    return torch.tanh((q @ w_q)[:, None] + (k @ w_k)[:, :, None]) @ w


def _repeated_the_wrong_way(q, k, w_q, w_k, w):
    tq, tk = q.shape[1], k.shape[1]
    asked, found = (q @ w_q).repeat(1, tk, 1), (k @ w_k).repeat_interleave(tq, dim=1)
    return (torch.tanh(asked + found) @ w).reshape(len(q), tq, tk)


def _all_sentences(q, k, w_q, w_k, w):
    """Keys of every sentence meet the queries of every sentence; the sentences are added up or laid in a row."""
    return torch.tanh((q @ w_q)[:, None, :, None] + (k @ w_k)[None, :, None]) @ w


def _first_only(q, k, w_q, w_k, w):
    return additive_scores(q[:1], k[:1], w_q, w_k, w)


def _first_for_all(q, k, w_q, w_k, w):
    return _first_only(q, k, w_q, w_k, w).expand(len(q), -1, -1)


def _first_without_batch(q, k, w_q, w_k, w):
    return _first_only(q, k, w_q, w_k, w)[0]


def _keys_of_first(q, k, w_q, w_k, w):
    return additive_scores(q, k[:1], w_q, w_k, w)


def _tanh_by_exponentials(x):
    return (torch.exp(x) - torch.exp(-x)) / (torch.exp(x) + torch.exp(-x))


def _tanh_by_one_exponential(x):
    return (torch.exp(2 * x) - 1) / (torch.exp(2 * x) + 1)


def _clipped(limit):
    return lambda *inputs: additive_scores(*(x.clamp(-limit, limit) for x in inputs[:2]), *inputs[2:])


def _through_numpy(q, k, w_q, w_k, w):
    q, k, w_q, w_k, w = (x.detach().numpy() for x in (q, k, w_q, w_k, w))
    return torch.from_numpy(np.tanh((q @ w_q)[:, :, None] + (k @ w_k)[:, None]) @ w)


def _through_numpy_directly(q, k, w_q, w_k, w):
    return torch.from_numpy(np.tanh((q @ w_q).numpy()[:, :, None] + (k @ w_k).numpy()[:, None]) @ w.numpy())


def _detached(which):
    return lambda *inputs: additive_scores(*(x.detach() if n in which else x for n, x in enumerate(inputs)))


def _into_default_dtype(q, k, w_q, w_k, w):
    scores = torch.zeros(q.shape[0], q.shape[1], k.shape[1])
    for i in range(q.shape[1]):
        scores[:, i] = torch.tanh(q[:, i : i + 1] @ w_q + k @ w_k) @ w
    return scores


def _in_another_dtype(dtype):
    return lambda *inputs: additive_scores(*(x.to(dtype) for x in inputs)).to(inputs[0].dtype)


def _w_unsqueezed_in_place(q, k, w_q, w_k, w):
    w.unsqueeze_(-1)
    return (torch.tanh((q @ w_q)[:, :, None] + (k @ w_k)[:, None]) @ w).squeeze(-1)


def _q_unsqueezed_in_place(q, k, w_q, w_k, w):
    return torch.tanh(q.unsqueeze_(2) @ w_q + (k @ w_k)[:, None]) @ w


def _changed_afterwards(right, *which):
    """A right answer that then writes into the inputs at the places `which`."""

    def scores(*inputs):
        result = right(*inputs)
        with torch.no_grad():
            for n in which:
                inputs[n].mul_(2)
        return result

    return scores


def _inputs(rng, b, tq, tk, dq, dk, h, dtype=np.float64):
    """Matrices are drawn so that the numbers inside the tanh have variance 1: it neither saturates nor is straight."""
    q, k = rng.normal(size=(b, tq, dq)), rng.normal(size=(b, tk, dk))
    w_q, w_k = rng.normal(size=(dq, h)) / math.sqrt(dq), rng.normal(size=(dk, h)) / math.sqrt(dk)
    return tuple(x.astype(dtype) for x in (q, k, w_q, w_k, rng.normal(size=h)))


def additive_cases(rng):
    # A diagnosis goes through the cases in this order, so one of each kind comes first.
    yield Case("scores", _inputs(rng, 2, 3, 4, 5, 6, 7))
    yield Case(DIFFERENTIABLE, _inputs(rng, 2, 3, 4, 5, 6, 7))
    for dtype in (np.float32, np.float64):
        yield Case(KEEPS_DTYPE, _inputs(rng, 2, 3, 4, 5, 6, 7, dtype))
    for large in (10.0, 1e4):
        q, k, *ws = _inputs(rng, 2, 3, 4, 5, 6, 7)
        yield Case("large_inputs", (large * q, large * k, *ws))
    for sizes in ((1, 3, 4, 5, 6, 7), (3, 4, 2, 1, 1, 1), (2, 1, 4, 3, 5, 6), (2, 3, 1, 5, 4, 6), (1, 1, 1, 1, 1, 1)):
        yield Case("sizes_of_one", _inputs(rng, *sizes))
    for sizes in ((3, 5, 2, 4, 4, 6), (3, 3, 3, 3, 3, 3)):
        yield Case("scores", _inputs(rng, *sizes))
    yield Case("scores", _inputs(rng, 4, 2, 2, 3, 5, 3, np.float32))


ADDITIVE_MISCONCEPTIONS = (
    Misconception(
        "no_tanh",
        "without a tanh each score is a number of the query plus a number of the key: the query's part is the same for "
        "all keys, and after the softmax every query has the same weights",
        [
            _net(bend=lambda x: x),
            lambda q, k, w_q, w_k, w: (q @ w_q @ w)[:, :, None] + (k @ w_k @ w)[:, None],
        ],
        "Take the tanh out",
    ),
    Misconception(
        "paired_by_place",
        "query i meets only key i, and the axis of the keys has size 1: both projections got their new axis in the "
        "same place",
        [_paired_by_place(2), _paired_by_place(1)],
        "All pairs at once",
    ),
    Misconception(
        "no_new_axes",
        "query i meets only key i, and there is no axis for the keys: each projection needs an axis of size 1 for the "
        "other side",
        _without_new_axes,
        "All pairs at once",
    ),
    Misconception(
        "squeezed",
        "an axis of size 1 is gone: squeeze() takes out every axis of size 1, also a batch of one sentence",
        [
            _then(lambda s, *inputs: s.squeeze()),
            _then(lambda s, *inputs: s.squeeze(0)),
            _then(lambda s, *inputs: s.squeeze(-1)),
            _then(lambda s, *inputs: s.squeeze(1)),
        ],
    ),
    Misconception(
        "axis_kept",
        "there is an axis of size 1 at the end: w as a column keeps an axis where the sum over h should leave none",
        _then(lambda s, *inputs: s[..., None]),
    ),
    Misconception(
        "scaled",
        "every score is divided by the root of a width; the scale of the dot product is no part of this score",
        [
            _then(lambda s, q, k, w_q, w_k, w: s / math.sqrt(len(w))),
            _then(lambda s, q, k, w_q, w_k, w: s / math.sqrt(q.shape[-1])),
            _then(lambda s, q, k, w_q, w_k, w: s / math.sqrt(k.shape[-1])),
        ],
    ),
    Misconception(
        "scaled_inside",
        "what enters the tanh is divided by the root of a width; the sum of the two projections enters as it is",
        [
            _net(bend=lambda x: torch.tanh(x / math.sqrt(x.shape[-1]))),
            lambda q, k, *ws: additive_scores(q / math.sqrt(q.shape[-1]), k / math.sqrt(k.shape[-1]), *ws),
        ],
    ),
    Misconception(
        "averaged",
        "every score is h times too small: the mean over the hidden numbers stands where their sum should",
        _net(read=lambda hidden, w: (hidden * w).mean(-1)),
    ),
    Misconception(
        "tanh_of_the_score",
        "every score lies between −1 and 1: the tanh was taken of the sum over h, not of each hidden number before it",
        [
            _tanh_outside,
            _net(bend=lambda x: x, read=lambda hidden, w: torch.tanh(hidden @ w)),
        ],
        "One pair, by hand",
    ),
    Misconception(
        "tanh_twice",
        "every score lies between −1 and 1: a second tanh was taken, of the finished score",
        _then(lambda s, *inputs: torch.tanh(s)),
    ),
    Misconception(
        "tanh_of_each_side",
        "the tanh was taken before query and key were added: each score is again a number of the query plus a number "
        "of the key, and after the softmax every query has the same weights",
        [_tanh_of_each, _tanh_of_query_only],
        "Take the tanh out",
    ),
    Misconception(
        "w_inside",
        "w was multiplied in before the tanh; it weighs the hidden numbers after it",
        _net(bend=lambda x: x, read=lambda hidden, w: torch.tanh(hidden * w).sum(-1)),
    ),
    Misconception(
        "w_ignored",
        "the hidden numbers of a pair were added up as if every entry of w were 1",
        _net(read=lambda hidden, w: hidden.sum(-1)),
    ),
    Misconception(
        "w_ignored_and_averaged",
        "each score is the plain mean of the hidden numbers of a pair; w plays no part",
        _net(read=lambda hidden, w: hidden.mean(-1)),
    ),
    Misconception(
        "another_bend",
        "the hidden numbers were bent by another function than tanh: −1 to 1, odd, and steepest at 0",
        [
            _net(bend=torch.sigmoid),
            _net(bend=torch.relu),
            _net(bend=torch.sin),
            _net(bend=torch.exp),
            _net(bend=torch.atan),
            _net(bend=torch.nn.functional.hardtanh),
        ],
    ),
    Misconception(
        "multiplied",
        "inside the tanh the projections of query and key were multiplied; this score adds them",
        _net(inside=lambda a, b: a * b),
    ),
    Misconception(
        "dot_of_projections",
        "the projections of query and key were multiplied hidden number by hidden number and added up, which is a dot "
        "product of the two; this score adds them, bends, and adds up",
        [
            _net(inside=lambda a, b: a * b, bend=lambda x: x),
            _net(inside=lambda a, b: a * b, bend=lambda x: x, read=lambda hidden, w: hidden.sum(-1)),
            lambda q, k, w_q, w_k, w: (torch.tanh(q @ w_q) * w) @ torch.tanh(k @ w_k).mT,
        ],
    ),
    Misconception(
        "subtracted",
        "inside the tanh one projection was subtracted from the other; this score adds them",
        [_net(inside=lambda a, b: a - b), _net(inside=lambda a, b: b - a)],
    ),
    Misconception(
        "matrices_swapped",
        "w_k met the queries and w_q the keys, which goes unnoticed where the two widths are equal",
        _swapped_matrices,
    ),
    Misconception(
        "one_matrix",
        "one matrix projected both queries and keys, which goes unnoticed where the two widths are equal",
        [_one_matrix(0), _one_matrix(1)],
    ),
    Misconception(
        "matrices_transposed",
        "a projection ran over h, the second axis of its matrix, which fits only where h equals the width; here a "
        "matrix is (in, out)",
        [_transposed_matrices, lambda q, k, w_q, w_k, w: additive_scores(q, k, w_q.T, w_k, w)],
    ),
    Misconception(
        "matrices_reshaped",
        "the shapes are right and the numbers are not: a matrix was transposed and fitted by reshape, which mixes its "
        "rows and columns",
        _reshaped_matrices,
    ),
    Misconception(
        "keys_by_queries",
        "the last two axes are swapped, (B, Tk, Tq): axis 1 is to belong to the queries and axis 2 to the keys",
        [_transposed, _then(lambda s, *inputs: s.mT)],
        "All pairs at once",
    ),
    Misconception(
        "pairs_in_another_order",
        "the right numbers stand in the wrong places: the pairs were made key by key, and reshape to (Tq, Tk) reads "
        "them query by query",
        [_repeated_the_wrong_way, _then(lambda s, *inputs: s.mT.reshape(s.shape))],
    ),
    Misconception(
        "softmax_taken",
        "along one axis the results sum to 1: these are weights, and scores, before the softmax, are wanted",
        [_weights(-1), _weights(1), _weights(0)],
    ),
    Misconception(
        "all_sentences",
        "queries met the keys of other sentences: there is a second axis of sentences, or they were added up",
        [
            _all_sentences,
            lambda *inputs: _all_sentences(*inputs).sum(1),
            lambda *inputs: _all_sentences(*inputs).mean(1),
        ],
    ),
    Misconception(
        "first_sentence_only",
        "only the first sentence of the batch was scored",
        [_first_only, _first_for_all, _first_without_batch],
    ),
    Misconception(
        "keys_of_first_sentence", "the queries of every sentence met the keys of the first sentence", _keys_of_first
    ),
    Misconception(
        "flat_pairs",
        "the pairs come back in one axis, (B, Tq · Tk), or all sentences in one; the axes Tq and Tk are to be kept",
        [_then(lambda s, *inputs: s.flatten(1)), _then(lambda s, *inputs: s.flatten(0, 1))],
    ),
    Misconception(
        "hidden_returned",
        "an axis of size h is left: these are the hidden numbers, and their sum with w is wanted",
        [_net(read=lambda hidden, w: hidden), _net(read=lambda hidden, w: hidden * w)],
    ),
    Misconception(
        "tanh_overflows",
        "large inputs give NaN: a tanh put together from exponentials divides infinity by infinity; torch.tanh does "
        "not",
        [_net(bend=_tanh_by_exponentials), _net(bend=_tanh_by_one_exponential)],
    ),
    Misconception(
        "inputs_clipped",
        "where entries of q and k are large the scores are wrong: they were cut off at a limit before the projection",
        [_clipped(limit) for limit in (1.0, 10.0, 100.0)],
    ),
    Misconception(
        "no_gradient",
        "the scores are right and no gradient flows back: they left torch on the way, or were computed without its "
        "record, by detach, no_grad, NumPy or plain numbers",
        [_through_numpy, _through_numpy_directly],  # no_grad and plain numbers give what the first gives
    ),
    Misconception(
        "some_gradient_missing",
        "the scores are right, and to some of the inputs no gradient flows back, as after detach() or .data",
        [_detached(which) for which in ((0, 1), (2, 3, 4), (0,), (1,), (2,), (3,), (4,), (2, 3))],
    ),
    Misconception(
        "default_dtype",
        "float64 inputs gave float32 scores: torch.zeros and torch.empty are float32 unless told otherwise",
        _into_default_dtype,
    ),
    Misconception("always_float64", "float32 inputs gave float64 scores", _then(lambda s, *inputs: s.double())),
    Misconception(
        "float32_in_between",
        "float64 inputs gave numbers that are not exact to float64: something in between was in a shorter dtype",
        [_in_another_dtype(torch.float32), _in_another_dtype(torch.float16)],
    ),
    Misconception(
        "changes_inputs",
        "an input was written into: methods that end in an underscore, and operations such as *=, change the tensor "
        "that was given, and torch refuses that where gradients are recorded",
        [
            _w_unsqueezed_in_place,
            _q_unsqueezed_in_place,
            *(_changed_afterwards(additive_scores, *which) for which in ((0, 1), (0,))),
        ],
    ),
)


# --- bilinear_scores -------------------------------------------------------------------------------------------------


def bilinear_scores(q, k, w):
    return q @ w @ k.transpose(-1, -2)


def bilinear_by_einsum(q, k, w):
    return torch.einsum("bic,cd,bjd->bij", q, w, k)


def bilinear_by_loops(q, k, w):
    return [[[float(a @ w @ b) for b in keys] for a in queries] for queries, keys in zip(q, k, strict=True)]


def bilinear_by_projected_keys(q, k, w):
    return torch.bmm(q, (k @ w.T).transpose(1, 2))


def bilinear_by_weighted_products(q, k, w):
    return (q[:, :, None, :, None] * w * k[:, None, :, None, :]).sum((-1, -2))


def bilinear_by_linear(q, k, w):
    return torch.stack(
        [torch.nn.functional.linear(torch.nn.functional.linear(a, w.T), b) for a, b in zip(q, k, strict=True)]
    )


def _changed(change):
    return lambda *inputs: change(bilinear_scores(*inputs), *inputs)


def _with_w(change):
    return lambda q, k, w: bilinear_scores(q, k, change(w))


def _keys_reshaped(q, k, w):
    return q @ w @ k.reshape(k.shape[0], k.shape[2], k.shape[1])


def _keys_fully_transposed(q, k, w):
    return q @ w @ k.permute(2, 1, 0)


def _keys_as_they_are(q, k, w):
    return q @ w @ k


def _only_same_place(q, k, w):
    return (q @ w * k).sum(-1)


def _across_sentences(q, k, w):
    return torch.einsum("bic,cd,ejd->bij", q, w, k)


def _all_pairs_of_sentences(q, k, w):
    return torch.einsum("bic,cd,ejd->beij", q, w, k)


def _no_matrix(q, k, w):
    return q @ k.transpose(-1, -2)


def _cosine(q, k, w):
    asked = torch.nn.functional.normalize(q @ w, dim=-1)
    return asked @ torch.nn.functional.normalize(k, dim=-1).transpose(-1, -2)


def _matrix_on_both_sides(q, k, w):
    return q @ w @ (k @ w).transpose(-1, -2)


def _bilinear_first_only(q, k, w):
    return bilinear_scores(q[:1], k[:1], w)


def _bilinear_without_gradient(q, k, w):
    with torch.no_grad():
        return bilinear_scores(q, k, w)


def _bilinear_through_numpy(q, k, w):
    return torch.from_numpy(q.detach().numpy() @ w.detach().numpy() @ k.detach().numpy().swapaxes(1, 2))


def _bilinear_through_numpy_directly(q, k, w):
    return torch.from_numpy(q.numpy() @ w.numpy() @ k.numpy().swapaxes(1, 2))


def _bilinear_through_numbers(q, k, w):
    return torch.tensor(bilinear_scores(q, k, w).tolist(), dtype=q.dtype)


def _bilinear_detached(which):
    return lambda *inputs: bilinear_scores(*(x.detach() if n in which else x for n, x in enumerate(inputs)))


def _bilinear_into_default_dtype(q, k, w):
    scores = torch.zeros(q.shape[0], q.shape[1], k.shape[1])
    for i in range(len(q)):
        scores[i] = q[i] @ w @ k[i].T
    return scores


def _keys_transposed_in_place(q, k, w):
    return q @ w @ k.transpose_(1, 2)


def _w_transposed_in_place(q, k, w):
    return q @ (k @ w.t_()).transpose(1, 2)


def bilinear_cases(rng):
    def inputs(b, tq, tk, dq, dk, dtype=np.float64):
        sizes = ((b, tq, dq), (b, tk, dk), (dq, dk))
        return tuple(rng.normal(size=size).astype(dtype) for size in sizes)

    # A diagnosis goes through the cases in this order, so one of each kind comes first.
    yield Case("scores", inputs(2, 3, 4, 5, 6))
    yield Case(DIFFERENTIABLE, inputs(2, 3, 4, 5, 6))
    for dtype in (np.float32, np.float64):
        yield Case(KEEPS_DTYPE, inputs(2, 3, 4, 5, 6, dtype))
    for sizes in ((1, 3, 4, 5, 6), (3, 4, 2, 1, 5), (2, 3, 4, 5, 1), (2, 1, 4, 3, 5), (2, 3, 1, 5, 4), (1, 1, 1, 1, 1)):
        yield Case("sizes_of_one", inputs(*sizes))
    for sizes in ((4, 5, 2, 6, 3), (2, 3, 5, 4, 4), (3, 3, 3, 3, 3)):
        yield Case("scores", inputs(*sizes))
    yield Case("scores", inputs(2, 4, 3, 5, 6, np.float32))
    for scale in (1e-3, 1e3):  # where a small constant, rounding or clipping shows
        q, k, w = inputs(2, 3, 4, 6, 5)
        yield Case("scores", (scale * q, scale * k, w), relative=True)


BILINEAR_MISCONCEPTIONS = (
    Misconception(
        "w_transposed",
        "the scores are those of the transposed w: its rows belong to the queries and its columns to the keys, and the "
        "other way round fits only where the widths are equal",
        [_with_w(lambda w: w.T), lambda q, k, w: q @ (k @ w).transpose(1, 2)],
    ),
    Misconception(
        "w_reshaped",
        "the shapes are right and the numbers are not: w was fitted by reshape, which mixes its rows and columns",
        _with_w(lambda w: w.T.reshape(w.shape)),
    ),
    Misconception(
        "w_made_symmetric",
        "the scores are those of the mean of w and its transpose: who asks and who is found no longer differ",
        _with_w(lambda w: (w + w.T) / 2),
    ),
    Misconception(
        "scaled",
        "every score is divided by a width or by its root; this form has no scale",
        [
            _changed(lambda s, q, k, w: s / math.sqrt(k.shape[-1])),
            _changed(lambda s, q, k, w: s / math.sqrt(q.shape[-1])),
            _changed(lambda s, q, k, w: s / math.sqrt(q.shape[-1] * k.shape[-1])),
            _changed(lambda s, q, k, w: s / q.shape[-1]),
            _changed(lambda s, q, k, w: s / k.shape[-1]),
        ],
    ),
    Misconception(
        "w_ignored", "the scores are q kᵀ: w plays no part, which fits only where widths are equal", _no_matrix
    ),
    Misconception(
        "w_on_both_sides",
        "w was multiplied into the queries and into the keys; it stands between them once",
        _matrix_on_both_sides,
    ),
    Misconception(
        "keys_reshaped",
        "the shapes are right and the numbers are not: k was brought to (B, Dk, Tk) by reshape, which does not swap "
        "axes",
        _keys_reshaped,
    ),
    Misconception(
        "all_axes_reversed",
        "all three axes of k were turned round, batch included; only the last two are to be swapped",
        [_keys_fully_transposed, lambda q, k, w: q @ w @ k.T],
    ),
    Misconception(
        "keys_not_transposed",
        "q w was multiplied by k as it is: the product ran over the keys, which fits only where Tk equals Dk",
        _keys_as_they_are,
    ),
    Misconception(
        "same_place_only",
        "there is no axis for the keys: q w and k were multiplied entry by entry, so that query i meets only key i",
        [_only_same_place, lambda q, k, w: q @ w * k],
    ),
    Misconception(
        "keys_by_queries",
        "the last two axes are swapped, (B, Tk, Tq): the rows are to belong to the queries",
        _changed(lambda s, *inputs: s.mT),
    ),
    Misconception(
        "all_sentences",
        "queries met the keys of other sentences: there is a second axis of sentences, or they were added up",
        [_across_sentences, _all_pairs_of_sentences],
    ),
    Misconception(
        "first_sentence_only",
        "only the first sentence of the batch was scored",
        [
            _bilinear_first_only,
            lambda q, k, w: _bilinear_first_only(q, k, w)[0],
            lambda q, k, w: _bilinear_first_only(q, k, w).expand(len(q), -1, -1),
        ],
    ),
    Misconception(
        "keys_of_first_sentence",
        "the queries of every sentence met the keys of the first sentence",
        lambda q, k, w: q @ w @ k[0].T,
    ),
    Misconception(
        "squeezed",
        "an axis of size 1 is gone: one sentence is still a batch, and one key is still an axis",
        [
            _changed(lambda s, *inputs: s.squeeze()),
            _changed(lambda s, *inputs: s.squeeze(0)),
            _changed(lambda s, *inputs: s.squeeze(1)),
            _changed(lambda s, *inputs: s.squeeze(-1)),
        ],
    ),
    Misconception(
        "softmax_taken",
        "along one axis the results sum to 1: these are weights, and scores, before the softmax, are wanted",
        [_changed(lambda s, *inputs, axis=axis: s.softmax(axis)) for axis in (-1, 1, 0)],
    ),
    Misconception(
        "tanh_taken",
        "a tanh bends the scores; it belongs to the additive score",
        [_changed(lambda s, *inputs: torch.tanh(s)), lambda q, k, w: torch.tanh(q @ w) @ k.transpose(1, 2)],
    ),
    Misconception(
        "cosine",
        "every score lies between −1 and 1: the vectors were brought to length 1, and here their length counts",
        _cosine,
    ),
    Misconception(
        "no_gradient",
        "the scores are right and no gradient flows back: they left torch on the way, or were computed without its "
        "record, by detach, no_grad, NumPy or plain numbers",
        [
            bilinear_by_loops,
            _bilinear_through_numbers,
            _bilinear_without_gradient,
            _bilinear_through_numpy,
            _bilinear_through_numpy_directly,
        ],
    ),
    Misconception(
        "some_gradient_missing",
        "the scores are right, and to some of the inputs no gradient flows back, as after detach() or .data",
        [_bilinear_detached(which) for which in ((0,), (1,), (2,), (0, 1), (0, 2), (1, 2))],
    ),
    Misconception(
        "default_dtype",
        "float64 inputs gave float32 scores: torch.zeros and torch.empty are float32 unless told otherwise",
        [_bilinear_into_default_dtype, _changed(lambda s, *inputs: s.float())],
    ),
    Misconception("always_float64", "float32 inputs gave float64 scores", _changed(lambda s, *inputs: s.double())),
    Misconception(
        "float32_in_between",
        "float64 inputs gave numbers that are not exact to float64: something in between was in a shorter dtype",
        [
            lambda q, k, w: bilinear_scores(q.float(), k.float(), w.float()).to(q.dtype),
            lambda q, k, w: bilinear_scores(q.half(), k.half(), w.half()).to(q.dtype),
        ],
    ),
    Misconception(
        "changes_inputs",
        "an input was written into: methods that end in an underscore, and operations such as *=, change the tensor "
        "that was given, and torch refuses that where gradients are recorded",
        [
            _keys_transposed_in_place,
            _w_transposed_in_place,
            *(_changed_afterwards(bilinear_scores, *which) for which in ((0,), (1,), (2,))),
        ],
    ),
)


# --- which_saturates -------------------------------------------------------------------------------------------------


def as_name(case, answer):
    """The name in lower case, without quotes and words that change nothing: "the dot product" is "dot"."""
    if isinstance(answer, np.ndarray) and answer.ndim == 0:
        answer = answer.item()
    if not isinstance(answer, str):
        raise ValueError("not a name")
    words = answer.lower().replace("-", " ").strip(" '\".").split()
    empty = {"the", "product", "products", "attention", "score", "scores"}
    return " ".join(word for word in words if word not in empty) or answer


# --- scoring_cost ----------------------------------------------------------------------------------------------------


def scoring_cost(kind, n_q, n_k, d, h):
    if kind == "dot":
        return {"multiply_adds": n_q * n_k * d, "parameters": 0, "largest_tensor": n_q * n_k}
    return {
        "multiply_adds": (n_q + n_k) * d * h + n_q * n_k * h,
        "parameters": 2 * d * h + h,
        "largest_tensor": n_q * n_k * h,
    }


def cost_by_shapes(kind, n_q, n_k, d, h):
    made: list[tuple[int, ...]] = [(n_q, n_k)]
    products: list[tuple[int, ...]] = [(n_q, d, n_k)]
    learned: list[tuple[int, ...]] = []
    if kind == "additive":
        made += [(n_q, h), (n_k, h), (n_q, n_k, h)]
        products = [(n_q, d, h), (n_k, d, h), (n_q, n_k, h)]
        learned = [(d, h), (d, h), (h,)]
    return {
        "largest_tensor": max(math.prod(shape) for shape in made),
        "multiply_adds": sum(math.prod(shape) for shape in products),
        "parameters": sum(math.prod(shape) for shape in learned),
    }


def cost_in_numpy(kind, n_q, n_k, d, h):
    pairs = np.int64(n_q) * n_k
    per_pair, per_vector, learned = (d, 0, 0) if kind == "dot" else (h, d * h, h * (d + d + 1))
    return dict(
        multiply_adds=pairs * per_pair + (n_q + n_k) * per_vector,
        parameters=float(learned),
        largest_tensor=np.array(pairs * (1 if kind == "dot" else h)),
    )


def _cost(dot=None, additive=None):
    """The right counts with some replaced: dicts of functions of (n_q, n_k, d, h)."""

    def cost(kind, n_q, n_k, d, h):
        changed = (dot if kind == "dot" else additive) or {}
        return scoring_cost(kind, n_q, n_k, d, h) | {key: count(n_q, n_k, d, h) for key, count in changed.items()}

    return cost


def _largest(*counts):
    return [_cost(additive={"largest_tensor": count}) for count in counts]


def _multiply_adds(*counts):
    return [_cost(additive={"multiply_adds": count}) for count in counts]


def _parameters(*counts):
    return [_cost(additive={"parameters": count}) for count in counts]


def _doubled(kind, n_q, n_k, d, h):
    cost = scoring_cost(kind, n_q, n_k, d, h)
    return cost | {"multiply_adds": 2 * cost["multiply_adds"]}


def _doubled_less_one(kind, n_q, n_k, d, h):
    """Multiplications and additions one by one: a sum of d products has d − 1 additions."""
    if kind == "dot":
        return scoring_cost(kind, n_q, n_k, d, h) | {"multiply_adds": n_q * n_k * (2 * d - 1)}
    count = (n_q + n_k) * (2 * d - 1) * h + n_q * n_k * (2 * h - 1)
    return scoring_cost(kind, n_q, n_k, d, h) | {"multiply_adds": count}


def _d_for_h(kind, n_q, n_k, d, h):
    return scoring_cost(kind, n_q, n_k, d, d)


def _swapped_d_and_h(kind, n_q, n_k, d, h):
    return scoring_cost(kind, n_q, n_k, h, d)


def _same_for_both(kind):
    return lambda _, *sizes: scoring_cost(kind, *sizes)


def _square(which):
    return lambda kind, n_q, n_k, d, h: scoring_cost(kind, *((n_q, n_q) if which == 0 else (n_k, n_k)), d, h)


def _bytes(size):
    def cost(kind, n_q, n_k, d, h):
        right = scoring_cost(kind, n_q, n_k, d, h)
        return right | {"largest_tensor": size * right["largest_tensor"]}

    return cost


def _as_given(kind, n_q, n_k, d, h):
    if kind == "dot":
        return scoring_cost(kind, n_q, n_k, d, h)
    raise NotImplementedError("count the network: two projections, then h hidden numbers for every pair")


def _as_tuple(kind, n_q, n_k, d, h):
    return tuple(scoring_cost(kind, n_q, n_k, d, h).values())


def one_count(case, cost):
    """A check that is called like a count sees that count alone; the first of them also sees keys not asked for."""
    if not isinstance(cost, dict):
        raise ValueError("not a dict")
    known = {"multiply_adds", "parameters", "largest_tensor"}
    if case.check not in cost:
        return cost
    return {
        key: n for key, n in cost.items() if key == case.check or (case.check == "multiply_adds" and key not in known)
    }


def cost_cases(rng):
    for sizes in ((3, 5, 7, 11), (1, 6, 4, 9), (8, 8, 2, 1), (1, 1, 1, 1), (1000, 3000, 512, 256), (2, 1, 7, 5)):
        yield Case("dot", ("dot", *sizes))
    for check in ("multiply_adds", "parameters", "largest_tensor"):
        for sizes in ((3, 5, 7, 11), (6, 2, 13, 4), (1, 1, 3, 5), (1, 9, 4, 4), (7, 1, 1, 1), (2000, 3000, 512, 256)):
            yield Case(check, ("additive", *sizes))


COST_MISCONCEPTIONS = (
    Misconception(
        "no_hidden_tensor",
        "largest_tensor misses the factor h: before the sum with w every pair has h hidden numbers, and all of them "
        "exist at once",
        _largest(lambda n_q, n_k, d, h: n_q * n_k),
        "All pairs at once",
    ),
    Misconception(
        "largest_is_a_projection",
        "largest_tensor counts the projected queries or keys; the hidden numbers of all pairs are more",
        _largest(
            lambda n_q, n_k, d, h: max(n_q, n_k) * h,
            lambda n_q, n_k, d, h: (n_q + n_k) * h,
            lambda n_q, n_k, d, h: max(n_q * h, n_k * h, n_q * n_k),
            lambda n_q, n_k, d, h: n_k * h,
            lambda n_q, n_k, d, h: n_q * h,
        ),
    ),
    Misconception(
        "largest_with_d",
        "largest_tensor has the width d where a pair has h hidden numbers",
        _largest(
            lambda n_q, n_k, d, h: n_q * n_k * d,
            lambda n_q, n_k, d, h: 2 * n_q * n_k * d,
            lambda n_q, n_k, d, h: n_q * n_k * d * h,
        ),
    ),
    Misconception(
        "largest_is_a_sum",
        "largest_tensor is more than any single tensor here has: the largest one is wanted, not several added up",
        _largest(
            lambda n_q, n_k, d, h: n_q * n_k * h + n_q * n_k,
            lambda n_q, n_k, d, h: (n_q + n_k + n_q * n_k) * h,
            lambda n_q, n_k, d, h: (n_q + n_k + n_q * n_k) * h + n_q * n_k,
            lambda n_q, n_k, d, h: 2 * n_q * n_k * h,
            lambda n_q, n_k, d, h: 2 * n_q * n_k * h + n_q * n_k,
        ),
    ),
    Misconception(
        "largest_with_inputs",
        "largest_tensor counts a matrix that was given where it is larger than what is made on the way",
        _largest(
            lambda n_q, n_k, d, h: max(n_q * n_k * h, d * h),
            lambda n_q, n_k, d, h: max(n_q * n_k * h, d * h, n_q * d, n_k * d),
        ),
    ),
    Misconception("bytes", "largest_tensor is in bytes; elements are wanted", [_bytes(4), _bytes(8)]),
    Misconception(
        "projected_per_pair",
        "multiply_adds projects a query and a key anew for every pair; a vector is projected once, however many it "
        "meets",
        _multiply_adds(
            lambda n_q, n_k, d, h: n_q * n_k * (2 * d * h + h),
            lambda n_q, n_k, d, h: n_q * n_k * (d * h + h),
            lambda n_q, n_k, d, h: 2 * n_q * n_k * d * h,
            lambda n_q, n_k, d, h: n_q * n_k * d * h,
        ),
        "One pair, by hand",
    ),
    Misconception(
        "one_projection",
        "multiply_adds counts the projection of one side only; queries and keys are both projected",
        _multiply_adds(
            lambda n_q, n_k, d, h: n_q * d * h + n_q * n_k * h,
            lambda n_q, n_k, d, h: n_k * d * h + n_q * n_k * h,
            lambda n_q, n_k, d, h: d * h + n_q * n_k * h,
        ),
    ),
    Misconception(
        "no_projection",
        "multiply_adds has no projections, which take (n_q + n_k) d h",
        _multiply_adds(lambda n_q, n_k, d, h: n_q * n_k * h, lambda n_q, n_k, d, h: n_q * n_k * d),
    ),
    Misconception(
        "projections_of_one_vector",
        "multiply_adds projects one query and one key, not n_q and n_k of them",
        _multiply_adds(lambda n_q, n_k, d, h: 2 * d * h + n_q * n_k * h),
    ),
    Misconception(
        "no_read_out",
        "multiply_adds lacks the sum with w: h for every pair",
        _multiply_adds(lambda n_q, n_k, d, h: (n_q + n_k) * d * h),
    ),
    Misconception(
        "read_out_once",
        "the sum with w is counted as often as there are vectors, or once per pair; it takes h multiply-adds for "
        "each pair",
        _multiply_adds(
            lambda n_q, n_k, d, h: (n_q + n_k) * d * h + h,
            lambda n_q, n_k, d, h: (n_q + n_k) * d * h + n_q * n_k,
            lambda n_q, n_k, d, h: (n_q + n_k) * (d * h + h),
        ),
    ),
    Misconception(
        "adding_counted",
        "multiply_adds is too large by n_q n_k h or twice that: adding the projections, or the tanh, was counted, and "
        "a sum or a tanh alone counts 0",
        _multiply_adds(
            lambda n_q, n_k, d, h: (n_q + n_k) * d * h + 2 * n_q * n_k * h,
            lambda n_q, n_k, d, h: (n_q + n_k) * d * h + 3 * n_q * n_k * h,
        ),
    ),
    Misconception(
        "two_per_multiply_add",
        "multiply_adds is twice the count: a product added to a sum counts 1 here",
        _doubled,
    ),
    Misconception(
        "additions_one_by_one",
        "multiply_adds counts products and additions apart; a product added to a sum counts 1 here",
        _doubled_less_one,
    ),
    Misconception(
        "parameters_without_w",
        "parameters lacks the h entries of w",
        _parameters(lambda n_q, n_k, d, h: 2 * d * h),
    ),
    Misconception(
        "parameters_of_one_matrix",
        "parameters counts one of the two matrices",
        _parameters(lambda n_q, n_k, d, h: d * h + h, lambda n_q, n_k, d, h: d * h),
    ),
    Misconception(
        "parameters_with_biases",
        "parameters is too large by what biases would add; this network has none",
        _parameters(
            lambda n_q, n_k, d, h: 2 * d * h + 2 * h,
            lambda n_q, n_k, d, h: 2 * d * h + 3 * h,
            lambda n_q, n_k, d, h: 2 * d * h + 2 * h + 1,
            lambda n_q, n_k, d, h: 2 * d * h + 3 * h + 1,
            lambda n_q, n_k, d, h: 2 * d * h + h + 1,
        ),
    ),
    Misconception(
        "parameters_per_vector",
        "parameters grows with the numbers of queries and keys; the same matrices serve all of them",
        _parameters(lambda n_q, n_k, d, h: (n_q + n_k) * d * h + h, lambda n_q, n_k, d, h: (n_q + n_k) * d * h),
    ),
    Misconception(
        "dot_has_parameters",
        "the dot product has parameters here, and it learns nothing itself: 0",
        [
            _cost(dot={"parameters": lambda n_q, n_k, d, h: d}),
            _cost(dot={"parameters": lambda n_q, n_k, d, h: 2 * d * h}),
            _cost(dot={"parameters": lambda n_q, n_k, d, h: d * d}),
            _cost(dot={"parameters": lambda n_q, n_k, d, h: 2 * d * d}),
            _cost(dot={"parameters": lambda n_q, n_k, d, h: 2 * d}),
            _cost(dot={"parameters": lambda n_q, n_k, d, h: 1}),
        ],
    ),
    Misconception(
        "dot_per_pair",
        "a product of two vectors of width d takes d multiply-adds, and n_q n_k of them are made",
        [
            _cost(dot={"multiply_adds": lambda n_q, n_k, d, h: n_q * n_k}),
            _cost(dot={"multiply_adds": lambda n_q, n_k, d, h: n_q * n_k * (d - 1)}),
            _cost(dot={"multiply_adds": lambda n_q, n_k, d, h: (n_q + n_k) * d}),
        ],
    ),
    Misconception(
        "dot_with_width",
        "the largest tensor of the dot product has no axis of size d or h: the products are summed as they are made, "
        "and a matrix product leaves (n_q, n_k)",
        [
            _cost(dot={"largest_tensor": lambda n_q, n_k, d, h: n_q * n_k * d}),
            _cost(dot={"largest_tensor": lambda n_q, n_k, d, h: n_q * n_k * h}),
            _cost(dot={"largest_tensor": lambda n_q, n_k, d, h: max(n_q * n_k, n_q * d, n_k * d)}),
            _cost(dot={"largest_tensor": lambda n_q, n_k, d, h: max(n_q, n_k) * d}),
            _cost(dot={"largest_tensor": lambda n_q, n_k, d, h: n_q * n_k * d + n_q * n_k}),
            _cost(dot={"largest_tensor": lambda n_q, n_k, d, h: n_q * d}),
            _cost(dot={"largest_tensor": lambda n_q, n_k, d, h: max(n_q * n_k, d)}),
        ],
    ),
    Misconception(
        "dot_projected",
        "the counts of the dot product contain projections; q and k are compared as they are given",
        [
            _cost(dot={"multiply_adds": lambda n_q, n_k, d, h: (n_q + n_k) * d * h + n_q * n_k * h}),
            _cost(dot={"multiply_adds": lambda n_q, n_k, d, h: (n_q + n_k) * d * h + n_q * n_k * d}),
            _cost(dot={"multiply_adds": lambda n_q, n_k, d, h: (n_q + n_k) * d * d + n_q * n_k * d}),
        ],
    ),
    Misconception(
        "dot_depends_on_h",
        "multiply_adds of the dot product changes with h, which it does not use",
        [
            _cost(dot={"multiply_adds": lambda n_q, n_k, d, h: n_q * n_k * d * h}),
            _cost(dot={"multiply_adds": lambda n_q, n_k, d, h: n_q * n_k * h}),
        ],
    ),
    Misconception(
        "no_parameters",
        "parameters is 0 for additive, whose matrices and w are learned",
        _parameters(lambda n_q, n_k, d, h: 0),
    ),
    Misconception(
        "d_for_h",
        "d stands where the hidden width, h, should",
        [
            _d_for_h,
            _cost(additive={"multiply_adds": lambda n_q, n_k, d, h: (n_q + n_k) * d * h + n_q * n_k * d}),
            _cost(additive={"parameters": lambda n_q, n_k, d, h: 2 * d * h + d}),
        ],
    ),
    Misconception("d_and_h_swapped", "d and h stand in each other's place", _swapped_d_and_h),
    Misconception(
        "one_length",
        "the numbers of queries and keys were taken to be equal; n_q and n_k may differ",
        [_square(0), _square(1)],
    ),
    Misconception("always_dot", "the counts of the dot product come back for additive as well", _same_for_both("dot")),
    Misconception(
        "always_additive", "the counts of the additive score come back for dot as well", _same_for_both("additive")
    ),
    Misconception("untouched", "this is the code as it was given", _as_given),
    Misconception("no_dict", "a tuple came back; a dict with three keys is wanted", _as_tuple),
)


# --- the table -------------------------------------------------------------------------------------------------------

REFERENCES = (
    Reference(
        id="additive_scores",
        reference=additive_scores,
        accepted=(
            additive_by_loops,
            additive_by_sentence,
            additive_by_einsum,
            additive_by_concatenation,
            additive_by_hidden_unit,
        ),
        misconceptions=ADDITIVE_MISCONCEPTIONS,
        cases=additive_cases,
    ),
    Reference(
        id="bilinear_scores",
        reference=bilinear_scores,
        accepted=(
            bilinear_by_einsum,
            bilinear_by_projected_keys,
            bilinear_by_weighted_products,
            bilinear_by_linear,
        ),
        misconceptions=BILINEAR_MISCONCEPTIONS,
        cases=bilinear_cases,
    ),
    Reference(
        id="which_saturates",
        reference="dot",
        accepted=("Dot", " dot product ", np.str_("dot")),
        misconceptions=(
            Misconception(
                "additive",
                "a tanh lies between −1 and 1 and w is small where h is large, so these scores stay within reach of "
                "each other; nothing holds back a sum of d products",
                "additive",
            ),
        ),
        cases=lambda rng: [Case("prediction")],
        view=as_name,
    ),
    Reference(
        id="scoring_cost",
        reference=scoring_cost,
        accepted=(cost_by_shapes, cost_in_numpy),
        misconceptions=COST_MISCONCEPTIONS,
        cases=cost_cases,
        view=one_count,
    ),
)
