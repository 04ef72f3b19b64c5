"""Notebook 17, the hidden half: references, accepted and wrong answers, cases.

About 1700 lines, since five functions share the module and each mistake with heads or places has several shapes.
"""

import math

import numpy as np
import torch

from autograder.exercise import KEEPS_DTYPE, Case, Misconception, Reference

INF = math.inf

SUM_FOR_MEAN = "these are sums over the rows, not means: the longer the text, the larger the score"
OVER_HEADS = "all heads have the same score, or there is one for all: the mean ran over the heads as well"
FIRST_HEAD = "every head has the score of the first: the other maps were not looked at"
PER_ROW = "there is a number for every row: the mean over the rows is wanted, one number for each head"
LARGEST = "these are the largest entries on the wanted line, where their mean is wanted"
SHARE = (
    "these are shares of rows whose largest weight lies on the wanted token: the weights themselves are to be averaged"
)
ONE_DTYPE = "the result has one and the same dtype, whatever that of the weights"
IN_PLACE = "the weights are others after the call: numbers were written into the tensor given"


def _softmax(scores):
    e = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def _maps(rng, h, n, dtype=np.float64, causal=False):
    scores = 1.5 * rng.normal(size=(h, n, n))
    return _softmax(np.where(np.tri(n, dtype=bool), scores, -INF) if causal else scores).astype(dtype)


def _then(answer, change):
    return lambda *inputs: change(answer(*inputs), *inputs)


def _cast(dtype):
    return lambda found, *inputs: found.to(dtype)


def _same_for_all(found, *inputs):
    return found.mean().expand(found.shape)


def _one_for_all(found, *inputs):
    return found.mean()


def _first_for_all(found, *inputs):
    return found[0].expand(found.shape)


def _writing(answer, change):
    """A right answer that changes its first input afterwards."""

    def changed(weights, *others):
        found = answer(weights, *others)
        change(weights)
        return found

    return changed


# --- offset_score ----------------------------------------------------------------------------------------------------


def offset_score(weights, offset):
    return weights.diagonal(offset, dim1=1, dim2=2).mean(dim=-1)


def offset_by_loops(weights, offset):
    h, n, _ = weights.shape
    scores = []
    for head in range(h):
        found = [weights[head, i, i + offset].item() for i in range(n) if 0 <= i + offset < n]
        scores.append(sum(found) / len(found))
    return torch.tensor(scores, dtype=weights.dtype)


def offset_by_indices(weights, offset):
    rows = torch.arange(weights.shape[-1])
    rows = rows[(rows + offset >= 0) & (rows + offset < len(rows))]
    return weights[:, rows, rows + offset].mean(1)


def offset_by_mask(weights, offset):
    n = weights.shape[-1]
    places = torch.arange(n)
    wanted = (places[None, :] - places[:, None]) == offset
    return (weights * wanted).sum((1, 2)) / wanted.sum()


def offset_by_eye(weights, offset):
    n = weights.shape[-1]
    line = torch.diag(torch.ones(n - abs(offset), dtype=weights.dtype), offset)
    return torch.einsum("hij,ij->h", weights, line) / (n - abs(offset))


def offset_in_numpy(weights, offset):
    return np.diagonal(weights.numpy(), offset, 1, 2).mean(-1)


def offset_in_python(weights, offset):
    return [np.trace(head.numpy().astype(np.float64), offset) / (len(head) - abs(offset)) for head in weights]


def _line(shift):
    """An answer: the mean along the diagonal that `shift(offset, n)` names."""
    return lambda weights, offset: weights.diagonal(shift(offset, weights.shape[-1]), dim1=1, dim2=2).mean(dim=-1)


def _columns(choose):
    """An answer: the mean over all rows of the weight on the column that `choose(i + offset, n)` names."""

    def answer(weights, offset):
        rows = torch.arange(weights.shape[-1])
        return weights[:, rows, choose(rows + offset, len(rows))].mean(-1)

    return answer


def _python_indices(weights, offset):
    """Loops that leave a negative index to Python, which counts it from the end."""
    h, n, _ = weights.shape
    found = [[weights[m, i, i + offset] for i in range(n) if i + offset < n] for m in range(h)]
    return torch.stack([torch.stack(row).mean() for row in found])


def _python_indices_unguarded(weights, offset):
    n = weights.shape[-1]
    return torch.stack([weights[:, i, i + offset] for i in range(n)]).mean(0)


def _fewer_rows(weights, offset):
    return weights.diagonal(offset, dim1=1, dim2=2)[:, :-1].mean(dim=-1)


def _fewer_rows_in_front(weights, offset):
    return weights.diagonal(offset, dim1=1, dim2=2)[:, 1:].mean(dim=-1)


def _up_to(weights, offset):
    """All the weight between a token and the one `offset` away."""
    places = torch.arange(weights.shape[-1])
    apart = (places[None, :] - places[:, None]) * (1 if offset >= 0 else -1)
    near = (apart <= abs(offset)) & (apart > 0)
    return (weights * near).sum((1, 2)) / max(1, weights.shape[-1] - abs(offset))


def _both_sides(combine):
    def answer(weights, offset):
        before, after = (weights.diagonal(side * offset, dim1=1, dim2=2) for side in (-1, 1))
        return combine(before, after)

    return answer


def _strongest(weights, offset):
    rows = torch.arange(weights.shape[-1])
    rows = rows[(rows + offset >= 0) & (rows + offset < len(rows))]
    return (weights.argmax(-1)[:, rows] == rows + offset).to(weights.dtype).mean(-1)


def offset_cases(rng):
    for h, n, offset in ((3, 5, 1), (2, 7, 3), (4, 4, 2), (3, 3, 1)):
        yield Case("later", (_maps(rng, h, n), offset))
    for h, n, offset in ((3, 5, -1), (2, 7, -3), (4, 4, -2), (3, 3, -1)):
        yield Case("earlier", (_maps(rng, h, n), offset))
    yield Case("earlier", (_maps(rng, 2, 6, causal=True), -2))
    for h, n, offset in ((3, 5, 0), (2, 4, 3), (2, 4, -3), (1, 6, -1), (2, 1, 0)):
        yield Case("edges", (_maps(rng, h, n), offset))
    for dtype in (np.float32, np.float64):
        yield Case(KEEPS_DTYPE, (_maps(rng, 3, 5, dtype), -1))


OFFSET_MISCONCEPTIONS = (
    Misconception(
        "wrong_sign",
        "the score for an offset is the one that −offset should have: token i reads token i + offset, in row i and "
        "column i + offset; a turned sign or swapped axes give the other side of the diagonal",
        [
            _line(lambda offset, n: -offset),
            lambda weights, offset: offset_score(weights.mT, offset),
            lambda weights, offset: weights.diagonal(offset, dim1=2, dim2=1).mean(-1),
        ],
    ),
    Misconception(
        "counts_empty_rows",
        "right for offset 0, and too small for any other: the rows that have no such token were counted as 0",
        lambda weights, offset: weights.diagonal(offset, dim1=1, dim2=2).sum(-1) / weights.shape[-1],
    ),
    Misconception(
        "counts_empty_rows+wrong_sign",
        "the score for an offset lies on the side of −offset, and rows without such a token were counted as 0",
        lambda weights, offset: weights.diagonal(-offset, dim1=1, dim2=2).sum(-1) / weights.shape[-1],
    ),
    Misconception(
        "wraps_round",
        "rows without such a token were counted with a token from the other end of the text: a negative index counts "
        "from the end, and so does a roll or a remainder",
        [
            _columns(lambda places, n: places % n),
            _python_indices,
            _python_indices_unguarded,
        ],
    ),
    Misconception(
        "clamps",
        "rows without such a token were counted with the first or last token: they are to be left out",
        _columns(lambda places, n: places.clamp(0, n - 1)),
    ),
    Misconception(
        "sum_for_mean",
        SUM_FOR_MEAN,
        lambda weights, offset: weights.diagonal(offset, dim1=1, dim2=2).sum(-1),
    ),
    Misconception(
        "mean_over_heads", OVER_HEADS, [_then(offset_score, _same_for_all), _then(offset_score, _one_for_all)]
    ),
    Misconception("first_head", FIRST_HEAD, _then(offset_score, _first_for_all)),
    Misconception(
        "per_row",
        PER_ROW,
        lambda weights, offset: weights.diagonal(offset, dim1=1, dim2=2),
    ),
    Misconception("largest", LARGEST, lambda weights, offset: weights.diagonal(offset, dim1=1, dim2=2).amax(-1)),
    Misconception("share_of_rows", SHARE, _strongest),
    Misconception(
        "sign_ignored",
        "offset and −offset have the same score: the sign says on which side the token stands",
        [
            _line(lambda offset, n: abs(offset)),
            _line(lambda offset, n: -abs(offset)),
            _both_sides(lambda before, after: torch.cat([before, after], -1).mean(-1)),
            _both_sides(lambda before, after: before.mean(-1) + after.mean(-1)),
        ],
    ),
    Misconception(
        "one_further",
        "the score is that of a neighbouring offset, one more or one less: 0 is the token itself, 1 the one after it",
        [
            _line(lambda offset, n: offset + 1),
            _line(lambda offset, n: offset - 1),
            _line(lambda offset, n: offset + (1 if offset > 0 else -1)),
            _line(lambda offset, n: offset - (1 if offset > 0 else -1)),
        ],
    ),
    Misconception(
        "one_row_short",
        "a row is missing from the mean: there are n − |offset| of them, and with one left the result is NaN",
        [_fewer_rows, _fewer_rows_in_front],
    ),
    Misconception(
        "up_to_the_offset",
        "the weight on all tokens up to the offset was added up, where only that of one token is wanted",
        _up_to,
    ),
    Misconception("another_dtype", ONE_DTYPE, [_then(offset_score, _cast(d)) for d in (torch.float32, torch.float64)]),
    Misconception(
        "overwrites_weights",
        IN_PLACE,
        [_writing(offset_score, lambda w: w.tril_()), _writing(offset_score, lambda w: w.zero_())],
    ),
)


# --- link_accuracy ---------------------------------------------------------------------------------------------------


def _others(weights):
    return weights.masked_fill(torch.eye(weights.shape[-1], dtype=torch.bool), -INF)


def _ends(links):
    return torch.tensor(list(links)), torch.tensor(list(links.values()))


def _hits(weights, links, hide=_others):
    """Whether a dependent's head word is found, along rows and along columns: (h, links) bool twice."""
    dependents, heads = _ends(links)
    hidden = hide(weights)
    return hidden.argmax(2)[:, dependents] == heads, hidden.argmax(1)[:, dependents] == heads


def link_accuracy(weights, links):
    rows, columns = _hits(weights, links)
    return torch.maximum(rows.double().mean(1), columns.double().mean(1))


def links_by_loops(weights, links):
    found = []
    for head in weights:
        row = column = 0
        for dependent, wanted in links.items():
            words = [j for j in range(len(head)) if j != dependent]
            row += max(words, key=head[dependent].tolist().__getitem__) == wanted
            column += max(words, key=head[:, dependent].tolist().__getitem__) == wanted
        found.append(max(row, column) / len(links))
    return found


def links_by_topk(weights, links):
    """The best word, or the second best where the best is the word itself."""
    dependents, heads = _ends(links)
    shares = []
    for given in (weights, weights.mT):
        best = given[:, dependents].topk(2).indices
        guess = torch.where(best[..., 0] == dependents, best[..., 1], best[..., 0])
        shares.append((guess == heads).float().mean(1))
    return torch.stack(shares).amax(0)


def links_in_numpy(weights, links):
    table = weights.numpy().copy()
    places = np.arange(table.shape[1])
    table[:, places, places] = -1.0
    dependents, heads = np.array(list(links.items())).T
    shares = [(table.argmax(axis)[:, dependents] == heads).mean(1) for axis in (2, 1)]
    return np.max(shares, axis=0)


def links_by_comparing(weights, links):
    """No other word has more weight than the head word."""
    dependents, heads = _ends(links)
    n = weights.shape[-1]
    other = torch.arange(n) != dependents[:, None]  # (links, n)
    shares = []
    for given in (weights, weights.transpose(1, 2)):
        rows = given[:, dependents]  # (h, links, n)
        mine = rows.gather(2, heads.expand(len(rows), -1)[..., None])
        shares.append(((rows <= mine) | ~other).all(-1).sum(1) / len(links))
    return torch.where(shares[0] > shares[1], shares[0], shares[1])


def _linked(combine=torch.maximum, hide=_others):
    """An answer that hides something of the maps, and combines the shares of rows and columns."""

    def answer(weights, links):
        rows, columns = _hits(weights, links, hide)
        return combine(rows.double().mean(1), columns.double().mean(1))

    return answer


def _per_link(combine):
    """An answer that combines row and column for each link, before the mean."""
    return lambda weights, links: combine(*_hits(weights, links)).double().mean(1)


def _as_it_is(weights):
    return weights


def _reversed(links):
    """The head words' own rows and columns: (dependents, heads) with the two swapped, every link kept."""
    dependents, heads = _ends(links)
    return heads, dependents


def _own_row(weights, links):
    heads, dependents = _reversed(links)
    return (_others(weights).argmax(2)[:, heads] == dependents).double().mean(1)


def _own_column(weights, links):
    heads, dependents = _reversed(links)
    return (_others(weights).argmax(1)[:, heads] == dependents).double().mean(1)


def _row_share(weights, links):
    return _hits(weights, links)[0].double().mean(1)


def _best_of(*shares):
    return lambda weights, links: torch.stack([share(weights, links) for share in shares]).amax(0)


def _one_direction_for_all(weights, links):
    rows, columns = (found.double().mean(1) for found in _hits(weights, links))
    return rows if rows.mean() >= columns.mean() else columns


def _direction_by_weight(weights, links):
    dependents, heads = _ends(links)
    rows, columns = (found.double().mean(1) for found in _hits(weights, links))
    along_rows = weights[:, dependents, heads].mean(1) >= weights[:, heads, dependents].mean(1)
    return torch.where(along_rows, rows, columns)


def _without_shift(weights, links):
    """Takes the dependent out of its row, and forgets that the words behind it moved up."""
    shares = []
    for given in (weights, weights.mT):
        hits = []
        for dependent, head in links.items():
            row = torch.cat([given[:, dependent, :dependent], given[:, dependent, dependent + 1 :]], dim=1)
            hits.append(row.argmax(1) == head)
        shares.append(torch.stack(hits).double().mean(0))
    return torch.maximum(*shares)


def _mean_weight(weights, links):
    dependents, heads = _ends(links)
    return torch.maximum(weights[:, dependents, heads].mean(1), weights[:, heads, dependents].mean(1))


def _among_heads(weights, links):
    """Which words are head words is told beforehand: the argmax runs over them alone."""
    allowed = torch.zeros(weights.shape[-1], dtype=torch.bool)
    allowed[list(links.values())] = True
    dependents, heads = _ends(links)
    hidden = _others(weights)
    rows = hidden.masked_fill(~allowed, -INF).argmax(2)[:, dependents] == heads
    columns = hidden.masked_fill(~allowed[:, None], -INF).argmax(1)[:, dependents] == heads
    return torch.maximum(rows.double().mean(1), columns.double().mean(1))


def _hides_in_place(value):
    def answer(weights, links):
        weights.diagonal(dim1=1, dim2=2).fill_(value)
        return link_accuracy(weights, links)

    return answer


def _averaged_first(weights, links):
    return link_accuracy(weights.mean(0, keepdim=True), links).expand(len(weights))


def _empties_links(weights, links):
    found = link_accuracy(weights, links)
    while links:
        links.popitem()
    return found


def _tree(rng, n, size):
    """Links of `size` words, each to some other."""
    dependents = rng.permutation(n)[:size].tolist()
    return {d: int(rng.choice([j for j in range(n) if j != d])) for d in dependents}


def _linked_maps(rng, h, n, links, rows=0.5, columns=0.5, itself=0.3):
    """Maps in which some heads find some of the links, along rows or columns; and words look at themselves."""
    scores = 1.5 * rng.normal(size=(h, n, n))
    for d, head in links.items():
        scores[:, d, head] += 4 * (rng.random(h) < rows)
    weights = _softmax(scores)
    for d, head in links.items():  # along a column the largest of several rows counts
        found = rng.random(h) < columns
        weights[found, head, d] = weights[found, :, d].max(1) * (1.1 + rng.random())
    weights /= weights.sum(-1, keepdims=True)
    d = np.arange(n)
    weights[:, d, d] += 3 * (rng.random((h, n)) < itself)
    return weights / weights.sum(-1, keepdims=True)


def link_cases(rng):
    for h, n, size in ((5, 8, 6), (6, 6, 4), (4, 9, 8), (3, 5, 3)):
        links = _tree(rng, n, size)
        yield Case("better_of_two", (_linked_maps(rng, h, n, links), links))
    links = {1: 0, 2: 4, 3: 4, 5: 4, 6: 5}
    yield Case("better_of_two", (_linked_maps(rng, 6, 7, links).astype(np.float32), links))
    for check, shares in (("rows", (0.8, 0.0)), ("columns", (0.0, 0.9))):
        for h, n, size in ((4, 7, 5), (5, 5, 4)):
            links = _tree(rng, n, size)
            yield Case(check, (_linked_maps(rng, h, n, links, *shares, itself=0.0), links))
    for h, n, size in ((5, 7, 5), (4, 4, 3)):
        links = _tree(rng, n, size)
        yield Case("others_only", (_linked_maps(rng, h, n, links, itself=0.9), links))
    for n, links in ((6, {4: 1}), (4, {0: 2})):
        yield Case("small", (_linked_maps(rng, 8, n, links, itself=0.5), links))
    yield Case("small", (_linked_maps(rng, 1, 5, {0: 3, 2: 1, 4: 3}), {0: 3, 2: 1, 4: 3}))
    for links in ({1: 0}, {0: 1}):
        yield Case("small", (_linked_maps(rng, 5, 2, links, itself=0.5), links))


LINK_MISCONCEPTIONS = (
    Misconception(
        "columns_only",
        "these are the shares along the columns alone, where some other word looks at the dependent; a head in which "
        "the dependent itself looks at its head word is not seen",
        _linked(lambda rows, columns: columns),
    ),
    Misconception(
        "rows_only",
        "these are the shares along the rows alone, where the dependent looks at its head word; a head in which the "
        "head word looks at its dependent is not seen",
        _linked(lambda rows, columns: rows),
    ),
    Misconception(
        "self_counted",
        "a word that puts most weight on itself counts as wrong: the largest weight is to be sought among the other "
        "words",
        [
            _linked(hide=_as_it_is),
            lambda weights, links: torch.maximum(
                _hits(weights, links, _as_it_is)[0].double().mean(1), _hits(weights, links)[1].double().mean(1)
            ),
            lambda weights, links: torch.maximum(
                _hits(weights, links)[0].double().mean(1), _hits(weights, links, _as_it_is)[1].double().mean(1)
            ),
        ],
    ),
    Misconception(
        "self_counted+columns_only",
        "these are the shares along the columns alone, and a word that looks at itself most counts as wrong",
        _linked(lambda rows, columns: columns, _as_it_is),
    ),
    Misconception(
        "self_counted+rows_only",
        "these are the shares along the rows alone, and a word that looks at itself most counts as wrong",
        _linked(lambda rows, columns: rows, _as_it_is),
    ),
    Misconception(
        "better_for_each_link",
        "a link counts if it is found along its row or along its column: the better of the two is to be chosen once "
        "for a head, not anew for every link",
        _per_link(torch.logical_or),
    ),
    Misconception(
        "better_for_each_link+self_counted",
        "the better of row and column was chosen anew for every link, and a word that looks at itself most counts as "
        "wrong",
        lambda weights, links: torch.logical_or(*_hits(weights, links, _as_it_is)).double().mean(1),
    ),
    Misconception(
        "both_must_hold",
        "a link counts only if it is found along its row and along its column; one of the two is enough, for a head",
        _per_link(torch.logical_and),
    ),
    Misconception(
        "row_of_the_head_word",
        "for the second direction the head word's row was read, which finds one dependent at most of each head word; "
        "wanted is the dependent's column: which other word looks at it most",
        [_best_of(_row_share, _own_row), _own_row],
    ),
    Misconception(
        "links_reversed",
        "head words and dependents have changed places: links is {dependent: head word}, and it is the dependent's row "
        "and column that are read",
        [_best_of(_own_row, _own_column), _own_column],
    ),
    Misconception(
        "links_inverted",
        "the links were read the other way round, as {head word: dependent}, by which a head word with several "
        "dependents counts once: the keys are the dependents",
        lambda weights, links: link_accuracy(weights, {head: dependent for dependent, head in links.items()}),
    ),
    Misconception(
        "one_direction_for_all_heads",
        "the direction was chosen once for all heads together: some heads read along rows and others along columns",
        _one_direction_for_all,
    ),
    Misconception(
        "direction_by_weight",
        "the direction with more weight on the links was taken: wanted is the one in which more head words are found",
        _direction_by_weight,
    ),
    Misconception(
        "mean_of_directions",
        "these are means of the shares along rows and along columns, where the larger of the two is wanted",
        _linked(lambda rows, columns: (rows + columns) / 2),
    ),
    Misconception(
        "sum_of_directions",
        "the shares along rows and along columns were added: the larger of the two is wanted",
        _linked(torch.add),
    ),
    Misconception(
        "smaller_of_two",
        "these are the smaller of the two shares, where the larger is wanted",
        _linked(torch.minimum),
    ),
    Misconception(
        "both_shares",
        "there are two shares for every head: the larger of them is wanted",
        [
            _linked(lambda rows, columns: torch.stack([rows, columns])),
            _linked(lambda rows, columns: torch.stack([rows, columns], 1)),
            _linked(lambda rows, columns: (rows, columns)),
        ],
    ),
    Misconception(
        "symmetric",
        "the map and its transpose were added before the largest weight was sought: rows and columns are two readings, "
        "not one",
        lambda weights, links: _hits(weights + weights.mT, links)[0].double().mean(1),
    ),
    Misconception(
        "mean_weight",
        "these are mean weights on the links: wanted is how often the head word has the largest weight",
        _mean_weight,
    ),
    Misconception(
        "count_for_share",
        "these are numbers of links found: divided by how many there are, they are the shares",
        lambda weights, links: link_accuracy(weights, links) * len(links),
    ),
    Misconception(
        "divided_by_n",
        "the number of links found was divided by the number of words; only some words are dependents",
        lambda weights, links: link_accuracy(weights, links) * len(links) / weights.shape[-1],
    ),
    Misconception(
        "heads_averaged_first",
        "all heads have the same share: their maps were averaged before anything was counted",
        _averaged_first,
    ),
    Misconception(
        "best_head_only",
        "there is one number, that of the best head, or it stands for all heads; each head has its own",
        [
            lambda weights, links: link_accuracy(weights, links).max(),
            lambda weights, links: link_accuracy(weights, links).max().expand(len(weights)),
        ],
    ),
    Misconception(
        "mean_over_heads", OVER_HEADS, [_then(link_accuracy, _same_for_all), _then(link_accuracy, _one_for_all)]
    ),
    Misconception(
        "places_moved",
        "links to words behind their dependent are never found: once the dependent is taken out of its row, the places "
        "behind it are one smaller",
        _without_shift,
    ),
    Misconception(
        "only_among_head_words",
        "the largest weight was sought among the head words of the sentence alone: which words are head words is not "
        "told, all others count",
        _among_heads,
    ),
    Misconception(
        "smallest_weight",
        "the head word counts as found where it has the smallest weight of all",
        lambda weights, links: link_accuracy(-weights, links),
    ),
    Misconception("overwrites_weights", IN_PLACE, [_hides_in_place(-INF), _hides_in_place(0.0)]),
    Misconception("empties_links", "links is empty or shorter after the call: entries were taken out", _empties_links),
)


# --- same_map_same_head ----------------------------------------------------------------------------------------------

TRUTH = {"false": False, "no": False, "0": False, "true": True, "yes": True, "1": True}


def as_truth(case, answer):
    """True or False, also as a text, a number 0 or 1, or a NumPy scalar."""
    if isinstance(answer, np.ndarray) and answer.ndim == 0:
        answer = answer.item()
    if isinstance(answer, (bool, str, int, float)) and (word := str(answer).strip().lower()) in TRUTH:
        return TRUTH[word]
    raise ValueError("neither True nor False")


# --- ablate_heads ----------------------------------------------------------------------------------------------------


def split(x, h):
    return x.unflatten(-1, (h, -1)).transpose(1, 2)


def merge(x):
    return x.transpose(1, 2).flatten(2)


def attend(q, k, v):
    """Every head's weights and averages, (B, h, T, T) and (B, h, T, D)."""
    weights = torch.softmax(q @ k.mT / math.sqrt(q.shape[-1]), dim=-1)
    return weights, weights @ v


def heads_of(x, w_q, w_k, w_v, h):
    """The outputs of all heads, (B, h, T, D)."""
    return attend(split(x @ w_q, h), split(x @ w_k, h), split(x @ w_v, h))[1]


def ablate_heads(x, w_q, w_k, w_v, w_o, h, heads):
    out = heads_of(x, w_q, w_k, w_v, h)
    out[:, heads] = 0.0
    return merge(out) @ w_o


def ablate_by_rows_of_w_o(x, w_q, w_k, w_v, w_o, h, heads):
    d = w_q.shape[1] // h
    w_o = w_o.clone()
    for m in heads:
        w_o[m * d : (m + 1) * d] = 0
    return merge(heads_of(x, w_q, w_k, w_v, h)) @ w_o


def ablate_by_values(x, w_q, w_k, w_v, w_o, h, heads):
    on = torch.tensor([float(m not in heads) for m in range(h)], dtype=x.dtype)
    v = split(x @ w_v, h) * on.view(1, h, 1, 1)
    return merge(attend(split(x @ w_q, h), split(x @ w_k, h), v)[1]) @ w_o


def ablate_by_loop(x, w_q, w_k, w_v, w_o, h, heads):
    """Only the heads that are left are computed; each adds its own part."""
    d = w_q.shape[1] // h
    total = torch.zeros_like(x)
    for m in set(range(h)) - set(heads):
        own = slice(m * d, m * d + d)
        q, k, v = x @ w_q[:, own], x @ w_k[:, own], x @ w_v[:, own]
        total = total + torch.softmax(q @ k.transpose(1, 2) * d**-0.5, -1) @ v @ w_o[own]
    return total


def ablate_by_subtraction(x, w_q, w_k, w_v, w_o, h, heads):
    parts = torch.einsum("bhtd,hdc->hbtc", heads_of(x, w_q, w_k, w_v, h).double(), w_o.double().unflatten(0, (h, -1)))
    return (parts.sum(0) - sum((parts[m] for m in heads), torch.zeros(()).double())).to(x.dtype)


def ablate_by_weights(x, w_q, w_k, w_v, w_o, h, heads):
    weights, _ = attend(split(x @ w_q, h), split(x @ w_k, h), split(x @ w_v, h))
    off = torch.zeros(h, dtype=torch.bool)
    off[torch.tensor(heads, dtype=torch.long)] = True
    return merge(weights.masked_fill(off[None, :, None, None], 0) @ split(x @ w_v, h)) @ w_o


def _ablated(change=None, choose=None, joined=None, after=None, before=None, cut=split, core=attend):
    """An answer with some of its parts replaced; without arguments it is a right one.

    before: `(q, k, v, off, h) -> (q, k, v)`, on heads (B, h, T, D).
    change: `(out, off) -> out`, on the outputs of all heads, (B, h, T, D).
    choose: `(heads, h) -> heads`, which heads are switched off.
    joined: `(joined (B, T, h·D), off, h) -> joined`, after the merge.
    after:  `(out (B, T, C), off, h) -> out`, after w_o.
    """

    def answer(x, w_q, w_k, w_v, w_o, h, heads):
        off = list(choose(heads, h) if choose else heads)
        q, k, v = (cut(x @ w, h) for w in (w_q, w_k, w_v))
        if before:
            q, k, v = before(q, k, v, off, h)
        _, out = core(q, k, v)
        if change:
            out = change(out, off)
        elif not (joined or after or before):
            out = _zeroed(out, off)
        every = merge(out)
        if joined:
            every = joined(every, off, h)
        out = every @ w_o
        return after(out, off, h) if after else out

    return answer


def _zeroed(out, off):
    out = out.clone()
    out[:, off] = 0
    return out


def _runs(table, off, h):
    """Zeros in the runs of neighbouring columns of some heads."""
    table, d = table.clone(), table.shape[-1] // h
    for m in off:
        table[..., m * d : (m + 1) * d] = 0
    return table


def _every_hth(table, off, h):
    table = table.clone()
    for m in off:
        table[..., m::h] = 0
    return table


def _single_columns(table, off, h):
    table = table.clone()
    table[..., off] = 0
    return table


def _runs_of_h(table, off, h):
    """The runs that heads would have if each were as wide as there are heads."""
    table = table.clone()
    for m in off:
        table[..., m * h : (m + 1) * h] = 0
    return table


def _core_with_scores(change):
    def core(q, k, v):
        weights = torch.softmax(change(q @ k.mT / math.sqrt(q.shape[-1])), dim=-1)
        return weights, weights @ v

    return core


def _scores_filled(value):
    """The scores of the heads are replaced by one number: −∞ gives NaN, any other even weights."""

    def answer(x, w_q, w_k, w_v, w_o, h, heads):
        def fill(scores):
            scores = scores.clone()
            scores[:, heads] = value
            return scores

        q, k, v = (split(x @ w, h) for w in (w_q, w_k, w_v))
        return merge(_core_with_scores(fill)(q, k, v)[1]) @ w_o

    return answer


def _queries_zeroed(q, k, v, off, h):
    return _zeroed(q, off), k, v


def _outputs_filled(value):
    def change(out, off):
        out = out.clone()
        out[:, off] = value
        return out

    return change


def _mean_output(out, off):
    out = out.clone()
    out[:, off] = out[:, off].mean(2, keepdim=True)
    return out


def _own_values(x, w_q, w_k, w_v, w_o, h, heads):
    """The heads attend to the token itself alone."""
    out, v = heads_of(x, w_q, w_k, w_v, h), split(x @ w_v, h)
    out[:, heads] = v[:, heads]
    return merge(out) @ w_o


def _input_cut(x, w_q, w_k, w_v, w_o, h, heads):
    return merge(heads_of(_runs(x, heads, h), w_q, w_k, w_v, h)) @ w_o


def _kept(out, off):
    return out - _zeroed(out, off)


def _rescaled(out, off):
    h = out.shape[1]
    return _zeroed(out, off) * (h / max(1, h - len(off)))


def _tokens_zeroed(x, w_q, w_k, w_v, w_o, h, heads):
    out = heads_of(x, w_q, w_k, w_v, h)
    out[:, :, [m for m in heads if m < out.shape[2]]] = 0
    return merge(out) @ w_o


def _scaled_by(width):
    """The scores divided by the root of another width: `width(x, w_q, h)`."""

    def answer(x, w_q, w_k, w_v, w_o, h, heads):
        q = split(x @ w_q, h)
        factor = math.sqrt(q.shape[-1]) / math.sqrt(width(x, w_q, h))
        out = attend(q * factor, split(x @ w_k, h), split(x @ w_v, h))[1]
        return merge(_zeroed(out, heads)) @ w_o

    return answer


def _refilled(x, h):
    return x.reshape(len(x), h, x.shape[1], -1)


def _width_of_c(x, w_q, w_k, w_v, w_o, h, heads):
    """The width of a head from C."""
    d = x.shape[-1] // h
    out = heads_of(x, w_q, w_k, w_v, h)
    joined = merge(out)
    for m in heads:
        joined[..., m * d : (m + 1) * d] = 0
    return joined @ w_o


def _width_of_c_reshaped(x, w_q, w_k, w_v, w_o, h, heads):
    b, t, c = x.shape
    q, k, v = ((x @ w).reshape(b, t, h, c // h).transpose(1, 2) for w in (w_q, w_k, w_v))
    return merge(_zeroed(attend(q, k, v)[1], heads)).reshape(b, t, c) @ w_o


def _causal(scores):
    return scores.masked_fill(~torch.ones(scores.shape[-2:], dtype=torch.bool).tril(), -INF)


def _over_queries(q, k, v):
    weights = torch.softmax(q @ k.mT / math.sqrt(q.shape[-1]), dim=-2)
    return weights, weights @ v


def _without_w_o(x, w_q, w_k, w_v, w_o, h, heads):
    return merge(_zeroed(heads_of(x, w_q, w_k, w_v, h), heads))


def _with_weights(x, w_q, w_k, w_v, w_o, h, heads):
    weights, _ = attend(split(x @ w_q, h), split(x @ w_k, h), split(x @ w_v, h))
    return ablate_heads(x, w_q, w_k, w_v, w_o, h, heads), weights


def _writes_in(place, rows):
    """Right, but zeros are written into one of the matrices given."""

    def answer(x, w_q, w_k, w_v, w_o, h, heads):
        matrices, d = [w_q, w_k, w_v, w_o], w_q.shape[1] // h
        for m in heads:
            own = slice(m * d, (m + 1) * d)
            matrices[place][own if rows else (slice(None), own)] = 0
        w_q, w_k, w_v, w_o = matrices
        return merge(heads_of(x, w_q, w_k, w_v, h)) @ w_o

    return answer


def _sorts_heads(x, w_q, w_k, w_v, w_o, h, heads):
    heads.sort()
    return ablate_heads(x, w_q, w_k, w_v, w_o, h, heads)


def _matrices(rng, c, h, d, dtype=np.float64):
    ins = [rng.normal(size=(c, h * d)) / math.sqrt(c) for _ in range(3)]
    return *(w.astype(dtype) for w in (*ins, rng.normal(size=(h * d, c)) / math.sqrt(h * d))), h


def _attention(rng, b, t, c, h, d, dtype=np.float64):
    return rng.normal(size=(b, t, c)).astype(dtype), *_matrices(rng, c, h, d, dtype)


def ablate_cases(rng):
    for sizes, heads in (
        ((2, 4, 6, 3, 2), [1]),
        ((3, 5, 8, 4, 2), [3]),
        ((3, 3, 9, 3, 3), [0]),
        ((2, 5, 4, 2, 2), [1]),
    ):
        yield Case("switched_off", (*_attention(rng, *sizes), heads))
    for sizes, heads in (((2, 3, 10, 5, 2), [4, 1]), ((4, 4, 16, 4, 4), [2, 0, 1]), ((1, 6, 8, 4, 2), [1, 2])):
        yield Case("several", (*_attention(rng, *sizes), heads))
    for heads in ([], [2, 0, 1]):
        yield Case("none_and_all", (*_attention(rng, 2, 4, 6, 3, 2), heads))
    yield Case("none_and_all", (*_attention(rng, 1, 3, 4, 1, 4), [0]))
    for sizes, heads in (((2, 4, 5, 3, 2), [2]), ((1, 3, 12, 3, 2), [1, 0]), ((2, 2, 3, 4, 6), [3])):
        yield Case("free_width", (*_attention(rng, *sizes), heads))
    for dtype in (np.float32, np.float64):
        yield Case(KEEPS_DTYPE, (*_attention(rng, 2, 4, 6, 3, 2, dtype), [0, 2]))


ABLATE_MISCONCEPTIONS = (
    Misconception(
        "after_w_o",
        "some columns of the result are 0: they were zeroed after w_o, where the heads are already mixed and no column "
        "belongs to one of them",
        [
            _ablated(after=_runs),
            lambda x, w_q, w_k, w_v, w_o, h, heads: merge(heads_of(x, w_q, w_k, w_v, h)) @ _runs(w_o, heads, h),
            _ablated(after=_every_hth),
        ],
    ),
    Misconception(
        "not_a_number",
        "the result is not finite as soon as a head is switched off: a softmax over scores that are all −∞ is 0 / 0, "
        "and −∞ is no 0; it is the head's output that becomes 0",
        [
            _scores_filled(-INF),
            _ablated(change=_outputs_filled(-INF)),
            _ablated(change=_outputs_filled(math.nan)),
        ],
    ),
    Misconception(
        "even_weights",
        "the heads still add something, the same for every token: with scores or queries of 0 the softmax is even, and "
        "they hand over the mean of all values",
        [
            _scores_filled(0.0),
            _ablated(before=_queries_zeroed),
            _ablated(before=lambda q, k, v, off, h: (q, _zeroed(k, off), v)),
            _scores_filled(-1e9),
        ],
    ),
    Misconception(
        "mean_output",
        "the outputs of the heads were replaced by their mean over the tokens: wanted is 0",
        _ablated(change=_mean_output),
    ),
    Misconception(
        "one_for_zero",
        "the outputs of the heads were set to 1 and still go through w_o: wanted is 0",
        _ablated(change=_outputs_filled(1.0)),
    ),
    Misconception(
        "own_values",
        "the heads that are switched off hand over each token's own value: without a map their output is still not 0",
        _own_values,
    ),
    Misconception(
        "every_hth_column",
        "every h-th column of the joined outputs is 0: a head owns D neighbouring columns, from m·D on",
        _ablated(joined=_every_hth),
    ),
    Misconception(
        "single_columns",
        "one column of the joined outputs is 0 for each head named; a head owns D of them, from m·D on",
        _ablated(joined=_single_columns),
    ),
    Misconception(
        "runs_of_h",
        "the columns m·h to m·h + h − 1 of the joined outputs are 0: a head is D wide, and h is how many there are",
        _ablated(joined=_runs_of_h),
    ),
    Misconception(
        "others_switched_off",
        "the heads named are the only ones left: they are to be switched off",
        _ablated(change=_kept),
    ),
    Misconception(
        "first_heads",
        "as many heads as are named are off, but the first ones of the layer; heads holds their numbers",
        _ablated(choose=lambda heads, h: range(len(heads))),
    ),
    Misconception(
        "counted_from_one",
        "the head before each one named is off: heads are counted from 0",
        [
            _ablated(choose=lambda heads, h: [m - 1 for m in heads]),
            _ablated(choose=lambda heads, h: [m - 1 for m in heads if m]),
        ],
    ),
    Misconception(
        "counted_from_the_end",
        "heads are counted from the end: head 0 owns the first D columns",
        _ablated(choose=lambda heads, h: [h - 1 - m for m in heads]),
    ),
    Misconception(
        "first_named_only",
        "only the first head of the list is off",
        _ablated(choose=lambda heads, h: heads[:1]),
    ),
    Misconception(
        "last_named_only",
        "only the last head of the list is off: each turn of a loop has to go on from the one before",
        _ablated(choose=lambda heads, h: heads[-1:]),
    ),
    Misconception(
        "run_between",
        "all heads from the smallest to the largest named are off, those between them as well",
        _ablated(choose=lambda heads, h: range(min(heads), max(heads) + 1) if heads else []),
    ),
    Misconception(
        "nothing_switched_off",
        "this is the attention of all heads, whichever are named",
        _ablated(choose=lambda heads, h: []),
    ),
    Misconception(
        "rescaled",
        "the heads that are left are scaled up by h over their number, as dropout does in training: wanted is the sum "
        "of what they write, as it is",
        _ablated(change=_rescaled),
    ),
    Misconception(
        "part_of_x",
        "numbers of x were set to 0: heads are cut from the projections, and each of them reads all C numbers of a "
        "token",
        _input_cut,
    ),
    Misconception(
        "tokens_zeroed",
        "tokens were switched off in all heads, where heads are wanted in all tokens: the axes are (B, h, T, D)",
        _tokens_zeroed,
    ),
    Misconception(
        "reshaped_for_split",
        "the heads mix neighbouring tokens: (B, T, h·D) was read as (B, h, T, D) without a swap of axes",
        [_ablated(cut=_refilled)],
    ),
    Misconception(
        "causal",
        "no token reads a later one: there is no mask here, every token attends to every token of its sentence",
        _ablated(core=_core_with_scores(_causal)),
    ),
    Misconception(
        "softmax_over_queries",
        "the weights sum to 1 over the queries: the softmax runs over the keys, the last axis of the scores",
        _ablated(core=_over_queries),
    ),
    Misconception(
        "no_scale",
        "the scores lack their scale, 1 / √D, so the heads that are left are too sharp",
        _scaled_by(lambda x, w_q, h: 1),
    ),
    Misconception(
        "scaled_by_whole_width",
        "the scores are divided by the root of the whole width: the product of a head sums D numbers",
        [_scaled_by(lambda x, w_q, h: x.shape[-1]), _scaled_by(lambda x, w_q, h: w_q.shape[1])],
    ),
    Misconception(
        "width_of_c",
        "right where h·D is C, and elsewhere wrong or stopped by an error: the width of a head is w_q.shape[1] // h, "
        "whatever that of x",
        [_width_of_c, _width_of_c_reshaped],
    ),
    Misconception(
        "without_w_o",
        "the joined outputs were never multiplied by w_o",
        _without_w_o,
    ),
    Misconception("with_weights", "the weights come back as well: out alone is wanted", _with_weights),
    Misconception(
        "residual_added",
        "x was added to the output: attention alone is wanted, without the residual",
        lambda x, *others: x + ablate_heads(x, *others),
    ),
    Misconception(
        "another_dtype",
        "the result has one and the same dtype, whatever that of x",
        [_then(ablate_heads, _cast(d)) for d in (torch.float32, torch.float64)],
    ),
    Misconception(
        "overwrites_matrices",
        "a matrix is another after the call: zeros were written into the tensor given, and the head stays off for "
        "whoever uses it next",
        [_writes_in(3, True), _writes_in(2, False)],
    ),
    Misconception("sorts_heads", "the list of heads is in another order after the call", _sorts_heads),
)


# --- prune_heads -----------------------------------------------------------------------------------------------------


def _places(h, width, keep):
    return [m * (width // h) + i for m in keep for i in range(width // h)]


def prune_heads(w_q, w_k, w_v, w_o, h, keep):
    own = _places(h, w_q.shape[1], keep)
    return w_q[:, own], w_k[:, own], w_v[:, own], w_o[own]


def prune_by_joining(w_q, w_k, w_v, w_o, h, keep):
    """Every matrix cut into h runs; those that stay are joined, in the order of the layer."""
    staying = sorted(keep)
    columns = [torch.cat([w.chunk(h, dim=1)[m] for m in staying], dim=1) for w in (w_q, w_k, w_v)]
    return *columns, torch.cat([w_o.chunk(h)[m] for m in staying])


def prune_by_mask(w_q, w_k, w_v, w_o, h, keep):
    owner = torch.arange(w_q.shape[1]) // (w_q.shape[1] // h)
    stays = torch.isin(owner, torch.tensor(keep))
    return [w_q[:, stays], w_k[:, stays], w_v[:, stays], w_o[stays]]


def prune_by_reshaping(w_q, w_k, w_v, w_o, h, keep):
    backwards = sorted(keep, reverse=True)
    ins = [w.reshape(len(w), h, -1)[:, backwards].reshape(len(w), -1) for w in (w_q, w_k, w_v)]
    return *ins, w_o.reshape(h, -1, w_o.shape[1])[backwards].reshape(-1, w_o.shape[1])


def prune_in_numpy(w_q, w_k, w_v, w_o, h, keep):
    gone = [m for m in range(h) if m not in keep]
    drop = _places(h, w_q.shape[1], gone)
    return *(np.delete(w.numpy(), drop, axis=1) for w in (w_q, w_k, w_v)), np.delete(w_o.numpy(), drop, axis=0)


def as_attention(case, matrices):
    """What 06's function gives with these matrices for two probing sentences; the order of the heads does not show.

    Where one head stays, and only the dtype is asked, the matrices themselves.
    Raises ValueError unless there are four of the wanted shapes.
    """
    w_q, _, _, w_o, h, keep = case.inputs
    parts = [np.asarray(part) for part in matrices] if isinstance(matrices, (tuple, list)) else []
    c, width = w_q.shape[0], len(keep) * (w_q.shape[1] // h)
    if [part.shape for part in parts] != [(c, width)] * 3 + [(width, w_o.shape[1])]:
        raise ValueError("not four matrices of the wanted shapes")
    if any(part.dtype.kind not in "fiu" for part in parts):
        raise ValueError("not numbers")
    if case.check == KEEPS_DTYPE:
        return tuple(matrices)
    x = torch.from_numpy(np.random.default_rng(c).normal(size=(2, 5, c)))
    w_q, w_k, w_v, w_o = (torch.from_numpy(part.astype(np.float64)) for part in parts)
    return {"out": (merge(heads_of(x, w_q, w_k, w_v, len(keep))) @ w_o).numpy()}


def _cut(columns=None, rows=None, of=(0, 1, 2), after=None):
    """An answer that takes `columns(h, width, keep)` of w_q, w_k and w_v, and `rows(h, width, keep)` of w_o.

    of:    which of the three are cut; the others stay whole.
    after: `(matrices, h, keep) -> matrices`.
    """

    def answer(w_q, w_k, w_v, w_o, h, keep):
        own = list((columns or _places)(h, w_q.shape[1], keep))
        cut = [w[:, own] if i in of else w for i, w in enumerate((w_q, w_k, w_v))]
        found = (*cut, w_o[list((rows or columns or _places)(h, w_q.shape[1], keep))])
        return after(found, h, keep) if after else found

    return answer


def _gone(h, width, keep):
    return _places(h, width, [m for m in range(h) if m not in keep])


def _strided(h, width, keep):
    return [i for m in keep for i in range(m, width, h)]


def _strided_side_by_side(h, width, keep):
    return [i * h + m for i in range(width // h) for m in keep]


def _first(h, width, keep):
    return range(len(keep) * (width // h))


def _last(h, width, keep):
    return range(width - len(keep) * (width // h), width)


def _in_order(h, width, keep):
    return _places(h, width, sorted(keep))


def _one_lower(h, width, keep):
    return _places(h, width, [(m - 1) % h for m in keep])


def _from_the_end(h, width, keep):
    return _places(h, width, [h - 1 - m for m in keep])


def _interleaved(h, width, keep):
    """The right columns, but the first of every head first."""
    d = width // h
    return [m * d + i for i in range(d) for m in keep]


def _just_these(h, width, keep):
    return list(keep)


def _columns_of_w_o(w_q, w_k, w_v, w_o, h, keep):
    own = _places(h, w_q.shape[1], keep)
    return w_q[:, own], w_k[:, own], w_v[:, own], w_o[:, own]


def _runs_of_w_o(w_q, w_k, w_v, w_o, h, keep):
    own, runs = _places(h, w_q.shape[1], keep), _places(h, w_o.shape[1], keep)
    return w_q[:, own], w_k[:, own], w_v[:, own], w_o[:, runs]


def _rows_of_ins(w_q, w_k, w_v, w_o, h, keep):
    own = _places(h, w_q.shape[1], keep)
    return w_q[own], w_k[own], w_v[own], w_o[:, own]


def _rows_everywhere(w_q, w_k, w_v, w_o, h, keep):
    own = _places(h, w_q.shape[1], keep)
    return w_q[own], w_k[own], w_v[own], w_o[own]


def _zeroed_matrices(w_q, w_k, w_v, w_o, h, keep):
    gone = _gone(h, w_q.shape[1], keep)
    found = [w.clone() for w in (w_q, w_k, w_v, w_o)]
    for w in found[:3]:
        w[:, gone] = 0
    found[3][gone] = 0
    return tuple(found)


def _w_o_whole(w_q, w_k, w_v, w_o, h, keep):
    own = _places(h, w_q.shape[1], keep)
    return w_q[:, own], w_k[:, own], w_v[:, own], w_o


def _stacked(found, h, keep):
    *ins, w_o = found
    k = len(keep)
    return *(w.reshape(len(w), k, -1) for w in ins), w_o.reshape(k, -1, w_o.shape[1])


def _width_from_c(h, width, keep, c):
    return [m * (c // h) + i for m in keep for i in range(c // h)]


def _c_over_h(w_q, w_k, w_v, w_o, h, keep):
    own = _width_from_c(h, w_q.shape[1], keep, len(w_q))
    return w_q[:, own], w_k[:, own], w_v[:, own], w_o[own]


def _rescaled_w_o(found, h, keep):
    return *found[:3], found[3] * (h / len(keep))


def _pops(w_q, w_k, w_v, w_o, h, keep):
    found = prune_heads(w_q, w_k, w_v, w_o, h, keep)
    keep.sort(reverse=True)
    keep.pop()
    return found


def _zeroes_given(w_q, w_k, w_v, w_o, h, keep):
    found = prune_heads(w_q, w_k, w_v, w_o, h, keep)
    w_o[_gone(h, w_q.shape[1], keep)] = 0
    return found


def prune_cases(rng):
    for sizes, keep in (((6, 3, 2), [0, 2]), ((8, 4, 2), [1, 2, 3]), ((9, 3, 3), [1, 2]), ((16, 4, 4), [0, 1, 3])):
        yield Case("pruned", (*_matrices(rng, *sizes), keep))
    for sizes, keep in (((10, 5, 2), [4, 1, 3]), ((9, 3, 3), [2, 0]), ((8, 4, 2), [3, 0, 1])):
        yield Case("any_order", (*_matrices(rng, *sizes), keep))
    for sizes, keep in (((6, 3, 2), [2]), ((6, 3, 2), [0, 1, 2]), ((4, 1, 4), [0]), ((4, 4, 1), [1])):
        yield Case("one_and_all", (*_matrices(rng, *sizes), keep))
    for sizes, keep in (((5, 3, 2), [1, 2]), ((12, 3, 2), [0, 2]), ((3, 4, 6), [3, 1])):
        yield Case("free_width", (*_matrices(rng, *sizes), keep))
    for dtype in (np.float32, np.float64):
        yield Case(KEEPS_DTYPE, (*_matrices(rng, 6, 3, 2, dtype), [1]))


W_O_COLUMNS = (
    "w_o was cut along its columns, which are the C numbers of a token: the heads lie in its rows, h·D of them"
)

PRUNE_MISCONCEPTIONS = (
    Misconception("columns_of_w_o", W_O_COLUMNS, [_columns_of_w_o, _runs_of_w_o]),
    Misconception(
        "rows_of_projections",
        "w_q, w_k and w_v were cut along their rows, which are the C numbers of a token: the heads lie in their "
        "columns",
        [_rows_everywhere, _rows_of_ins],
    ),
    Misconception(
        "others_kept",
        "the heads named are gone and the others are here: keep lists those that stay",
        _cut(_gone),
    ),
    Misconception(
        "every_hth_column",
        "the columns were taken h apart: a head owns D neighbouring columns, from m·D on",
        [_cut(_strided), _cut(_strided_side_by_side), _cut(_strided, _places), _cut(_places, _strided)],
    ),
    Misconception(
        "interleaved",
        "the right columns, laid out with the first of every head in front: the D columns of a head have to stay "
        "neighbours, or the next function cuts across heads",
        _cut(_interleaved),
    ),
    Misconception(
        "single_columns",
        "one column was taken for each head that stays: a head owns D of them, from m·D on",
        _cut(_just_these),
    ),
    Misconception(
        "zeros_instead",
        "the matrices have their full size, with zeros in the place of heads: that is switching off; cut out, they are "
        "smaller",
        _zeroed_matrices,
    ),
    Misconception(
        "w_o_whole",
        "w_o has all its h·D rows: those of the heads that are gone have nothing left to multiply",
        _w_o_whole,
    ),
    Misconception(
        "not_all_three",
        "not all of w_q, w_k and w_v were cut: queries, keys and values have to keep the same heads",
        [_cut(of=(0, 1)), _cut(of=(0, 2)), _cut(of=(1, 2)), _cut(of=(2,)), _cut(of=(0,)), _cut(of=(1,))],
    ),
    Misconception(
        "other_order_in_w_o",
        "right for heads named in ascending order; otherwise w_o has its rows in another order than the columns of the "
        "projections, and a head's output meets the rows of another",
        [_cut(_places, _in_order), _cut(_in_order, _places)],
    ),
    Misconception(
        "first_heads",
        "the first or last heads are here, as many as keep names: keep holds their numbers",
        [_cut(_first), _cut(_last)],
    ),
    Misconception(
        "counted_from_one",
        "the head before each one named stays: heads are counted from 0",
        _cut(_one_lower),
    ),
    Misconception(
        "counted_from_the_end",
        "heads are counted from the end: head 0 owns the first D columns",
        _cut(_from_the_end),
    ),
    Misconception(
        "width_of_c",
        "right where h·D is C; elsewhere the runs are C / h wide, and a head is w_q.shape[1] // h wide",
        _c_over_h,
    ),
    Misconception(
        "axis_of_heads",
        "the matrices have an axis for the heads: it is to be joined with their width, (C, k·D) and (k·D, C)",
        _cut(after=_stacked),
    ),
    Misconception(
        "rescaled",
        "w_o was scaled up by h over the heads that stay: wanted is what they wrote before, as it is",
        _cut(after=_rescaled_w_o),
    ),
    Misconception(
        "w_o_transposed",
        "w_o is (C, k·D): it keeps its form, (k·D, C), one row for each number of the joined heads",
        _cut(after=lambda found, h, keep: (*found[:3], found[3].T)),
    ),
    Misconception(
        "three_matrices",
        "w_o is missing: there are four matrices",
        _cut(after=lambda found, h, keep: found[:3]),
    ),
    Misconception(
        "queries_and_keys_swapped",
        "the matrices come back in another order: w_q, w_k, w_v, w_o",
        [
            _cut(after=lambda found, h, keep: (found[1], found[0], *found[2:])),
            _cut(after=lambda found, h, keep: (found[0], found[2], found[1], found[3])),
            _cut(after=lambda found, h, keep: (found[2], found[0], found[1], found[3])),
        ],
    ),
    Misconception(
        "another_dtype",
        "the matrices have one and the same dtype, whatever that of those given",
        [
            _cut(after=lambda found, h, keep: tuple(w.float() for w in found)),
            _cut(after=lambda found, h, keep: tuple(w.double() for w in found)),
        ],
    ),
    Misconception("changes_keep", "the list keep is another after the call", _pops),
    Misconception(
        "overwrites_matrices",
        "a matrix is another after the call: zeros were written into the tensor given",
        _zeroes_given,
    ),
)


# --- induction_score -------------------------------------------------------------------------------------------------


def induction_score(weights, period):
    i = torch.arange(period, 2 * period)
    return weights[:, i, i - period + 1].mean(dim=-1)


def induction_by_loops(weights, period):
    return [sum(head[i, i - period + 1].item() for i in range(period, len(head))) / period for head in weights]


def induction_by_diagonal(weights, period):
    """The diagonal 1 − period has one entry more, of the last token of the first copy."""
    return weights.diagonal(1 - period, dim1=1, dim2=2)[:, 1:].mean(-1)


def induction_by_block(weights, period):
    """In the block of second-copy rows and keys 1 … period, the main diagonal."""
    return torch.einsum("hii->h", weights[:, period:, 1 : period + 1]) / period


def induction_by_mask(weights, period):
    n = weights.shape[-1]
    row, column = torch.meshgrid(torch.arange(n), torch.arange(n), indexing="ij")
    wanted = (row >= period) & (column == row - period + 1)
    return weights[:, wanted].mean(1)


def induction_in_numpy(weights, period):
    return np.trace(weights.numpy()[:, period:], 1, 1, 2) / period


def _looking(target, rows=lambda period: range(period, 2 * period), total=None):
    """An answer: the mean over some rows of the weight on `target(i, period)`, a negative one counted from the end.

    rows:  `(period) -> rows`; those whose target is beyond the text are left out.
    total: `(period) -> number` that the sum is divided by, instead of the number of rows.
    """

    def answer(weights, period):
        pairs = [(i, target(i, period)) for i in rows(period) if target(i, period) < 2 * period]
        found = [weights[:, i, j] for i, j in pairs]
        if not found:
            return torch.full(weights.shape[:1], math.nan, dtype=weights.dtype)
        return torch.stack(found).sum(0) / (total(period) if total else len(found))

    return answer


def _next(i, period):
    return i - period + 1


def _pairs_only(weights, period):
    i = torch.arange(period, 2 * period)
    return weights[:, i, i - period + 1]


def _hit_share(weights, period):
    i = torch.arange(period, 2 * period)
    return (weights.argmax(-1)[:, i] == i - period + 1).to(weights.dtype).mean(-1)


def induction_cases(rng):
    for h, period in ((3, 4), (4, 5), (6, 3), (2, 6)):
        yield Case("second_copy", (_maps(rng, h, 2 * period), period))
    for h, period in ((3, 4), (2, 5)):
        yield Case("causal_maps", (_maps(rng, h, 2 * period, causal=True), period))
    for h, period in ((3, 1), (2, 2), (4, 2), (1, 3)):
        yield Case("short", (_maps(rng, h, 2 * period), period))
    for dtype in (np.float32, np.float64):
        yield Case(KEEPS_DTYPE, (_maps(rng, 3, 8, dtype), 4))


INDUCTION_MISCONCEPTIONS = (
    Misconception(
        "same_token",
        "the weights are those on token i − period, the same token the first time: an induction head looks one place "
        "further, at the token that came after it",
        [
            _looking(lambda i, period: i - period),
            lambda weights, period: weights.diagonal(-period, dim1=1, dim2=2).mean(-1),
        ],
    ),
    Misconception(
        "one_too_far",
        "the weights are those on token i − period + 2, one place further than the token that came next",
        _looking(lambda i, period: i - period + 2),
    ),
    Misconception(
        "one_before",
        "the weights are those on token i − period − 1, the one before the same token; what came after it is at "
        "i − period + 1",
        [
            _looking(lambda i, period: i - period - 1),
            _looking(lambda i, period: i - period - 1, rows=lambda period: range(period + 1, 2 * period)),
        ],
    ),
    Misconception(
        "whole_diagonal",
        "one row of the first copy is counted: the diagonal 1 − period begins in row period − 1, and the second copy "
        "in row period",
        lambda weights, period: weights.diagonal(1 - period, dim1=1, dim2=2).mean(-1),
    ),
    Misconception(
        "first_copy_counted",
        "rows of the first copy are counted: their tokens have not been seen before, and i − period + 1 is no place of "
        "theirs",
        [
            _looking(_next, rows=lambda period: range(2 * period)),
            _looking(lambda i, period: max(0, i - period + 1), rows=lambda period: range(2 * period)),
        ],
    ),
    Misconception(
        "first_copy_only",
        "these are rows of the first copy, whose tokens have not been seen before; wanted are the rows from period on",
        [
            _looking(_next, rows=lambda period: range(period)),
            _looking(lambda i, period: i + period + 1, rows=lambda period: range(period)),
            _looking(lambda i, period: i + period, rows=lambda period: range(period)),
        ],
    ),
    Misconception(
        "divided_by_n",
        "the score is half of the wanted one: the sum over the second copy was divided by n, which counts the first "
        "copy too",
        _looking(_next, total=lambda period: 2 * period),
    ),
    Misconception(
        "divided_by_period_plus_one",
        "the sum over the second copy was divided by period + 1: it has period tokens",
        _looking(_next, total=lambda period: period + 1),
    ),
    Misconception(
        "last_left_out",
        "the last token of the text is left out: it too has a place to look at, period, the first of the second copy",
        [
            _looking(_next, rows=lambda period: range(period, 2 * period - 1)),
            _looking(_next, rows=lambda period: range(period, 2 * period - 1), total=lambda period: period),
        ],
    ),
    Misconception(
        "first_left_out",
        "the first token of the second copy is left out: it has been seen before, at place 0, and looks at place 1",
        _looking(_next, rows=lambda period: range(period + 1, 2 * period)),
    ),
    Misconception(
        "axes_swapped",
        "the weights are those of the other direction, from token i − period + 1 to token i: queries are rows",
        [
            lambda weights, period: induction_score(weights.mT, period),
            lambda weights, period: weights.diagonal(period - 1, dim1=1, dim2=2).mean(-1),
        ],
    ),
    Misconception(
        "token_before",
        "the weights are those on the token just before, i − 1: that is what a previous-token head does",
        _looking(lambda i, period: i - 1),
    ),
    Misconception(
        "sum_for_mean",
        SUM_FOR_MEAN,
        _looking(_next, total=lambda period: 1),
    ),
    Misconception(
        "mean_over_heads", OVER_HEADS, [_then(induction_score, _same_for_all), _then(induction_score, _one_for_all)]
    ),
    Misconception("first_head", FIRST_HEAD, _then(induction_score, _first_for_all)),
    Misconception("per_row", PER_ROW, _pairs_only),
    Misconception("largest", LARGEST, lambda weights, period: _pairs_only(weights, period).amax(-1)),
    Misconception("share_of_rows", SHARE, _hit_share),
    Misconception(
        "another_dtype", ONE_DTYPE, [_then(induction_score, _cast(d)) for d in (torch.float32, torch.float64)]
    ),
    Misconception(
        "overwrites_weights",
        IN_PLACE,
        [_writing(induction_score, lambda w: w.tril_()), _writing(induction_score, lambda w: w.zero_())],
    ),
)


REFERENCES = (
    Reference(
        id="offset_score",
        reference=offset_score,
        accepted=(
            offset_by_loops,
            offset_by_indices,
            offset_by_mask,
            offset_by_eye,
            offset_in_numpy,
            offset_in_python,
        ),
        misconceptions=OFFSET_MISCONCEPTIONS,
        cases=offset_cases,
    ),
    Reference(
        id="link_accuracy",
        reference=link_accuracy,
        accepted=(links_by_loops, links_by_topk, links_in_numpy, links_by_comparing),
        misconceptions=LINK_MISCONCEPTIONS,
        cases=link_cases,
    ),
    Reference(
        id="same_map_same_head",
        reference=False,
        accepted=(np.False_, "False", 0),
        misconceptions=(
            Misconception(
                "true",
                "the map comes from w_q and w_k alone: two heads with the same map may hand over other values, and "
                "write them elsewhere, by their own w_v and w_o",
                True,
            ),
        ),
        cases=lambda rng: [Case("prediction")],
        view=as_truth,
    ),
    Reference(
        id="ablate_heads",
        reference=ablate_heads,
        accepted=(
            ablate_by_rows_of_w_o,
            ablate_by_values,
            ablate_by_loop,
            ablate_by_subtraction,
            ablate_by_weights,
        ),
        misconceptions=ABLATE_MISCONCEPTIONS,
        cases=ablate_cases,
    ),
    Reference(
        id="prune_heads",
        reference=prune_heads,
        accepted=(prune_by_joining, prune_by_mask, prune_by_reshaping, prune_in_numpy),
        misconceptions=PRUNE_MISCONCEPTIONS,
        cases=prune_cases,
        view=as_attention,
    ),
    Reference(
        id="induction_score",
        reference=induction_score,
        accepted=(
            induction_by_loops,
            induction_by_diagonal,
            induction_by_block,
            induction_by_mask,
            induction_in_numpy,
        ),
        misconceptions=INDUCTION_MISCONCEPTIONS,
        cases=induction_cases,
    ),
)
