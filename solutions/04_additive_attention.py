# %% [markdown]
# # 04 · How does additive (Bahdanau) attention differ?
#
# About 80 minutes. You need notebooks 01–03 (softmax; queries, keys, values; the scale), and tensors in PyTorch: `@`,
# indexing with `None`, `.mT`. How a model is trained is shown, not required.
#
# You will be able to
#
# - score a query against a key by a small network and by a matrix, for any batch;
# - say what the tanh in that network is for, and show what happens without it;
# - predict how far scores spread, and which score saturates the softmax when vectors get wide;
# - count what a score costs, and say why two equal counts can take very different times;
# - test the textbook's comparison of the two instead of repeating it.

# %% [markdown]
# ## A puzzle: three numbers ask, four are found
#
# *She dropped the pan because it was hot.* In notebook 02 a word asked with three numbers, how much it looks for a
# *who*, a *what*, a *did*. Now let words be found as they are, by their four features.

# %%
import math

import torch

from autograder import check, hint, mine, progress, reflect
from autograder.material.sentence import FEATURES, WORDS, embeddings

torch.set_num_threads(1)
x = torch.from_numpy(embeddings())  # (T, 4): the keys, as they are
QUESTIONS = ("who", "what", "did")
ask = torch.tensor([[0, 0, 1], [0, 0, 0], [1, 0, 0], [0, 1, 0]], dtype=torch.float64)  # (4, 3): w_q of notebook 02
asks = x @ ask  # (T, 3): the queries

# %%
hot, pan, she = (WORDS.index(word) for word in ("hot", "pan", "she"))
print("hot asks:   ", *(f"{name} {number:g}" for name, number in zip(QUESTIONS, asks[hot].tolist(), strict=True)))
print("pan is:     ", *(f"{name} {number:g}" for name, number in zip(FEATURES, x[pan].tolist(), strict=True)))
try:
    asks[hot] @ x[pan]
except RuntimeError:
    print("hot · pan:   not defined, 3 numbers against 4")

# %% [markdown]
# A product of three numbers with four does not exist. The first attention in translation (Bahdanau et al. 2015) had
# this problem: decoder states asked, encoder states of twice the width were found. They let a *small network* look at
# both vectors and give out one number. Luong et al. (2015) put a *matrix* in between.
#
# Nearly every model of today multiplies. Were the network's answers worse? Commit to a guess; the end of this notebook
# answers with measurements.

# %% [markdown]
# ## One pair, by hand
#
# The network has `h` **hidden numbers**. Each adds up a share of the query and a share of the key, and is bent by
# tanh, which maps any number to between −1 and 1. The score is their sum, weighted by `w`:
#
# $$\text{score}(q, k) = w \cdot \tanh(q\,W_q + k\,W_k)$$
#
# Take h = 2, made by hand for the question *what*. The first hidden number sees how much the key is a thing. The
# second sees that plus how much the query asks *what*. The first speaks for the key, the second against it: w = (8,
# −6).

# %%
what = asks[hot, QUESTIONS.index("what")].item()
for j in (pan, hot, she):
    thing = x[j, FEATURES.index("thing")].item()
    key_alone, both = math.tanh(thing), math.tanh(what + thing)
    print(
        f"hot asks {WORDS[j]:3}: 8 · tanh({thing:g}) − 6 · tanh({what:g} + {thing:g}) = {8 * key_alone - 6 * both:.2f}"
    )

# %% [markdown]
# *Pan* is the best key for *hot*. The trick is in the bend. For a query that asks, the second tanh is near 1 already,
# whatever the key is: it costs every key about 6, and the first number decides. For a query that does not ask, both
# see the same, and only a mild liking for things is left. Training would have to find such numbers; here they are
# given.
#
# The whole network has six hidden numbers, two for each question.

# %%
w_q, w_k = torch.zeros(3, 6, dtype=torch.float64), torch.zeros(4, 6, dtype=torch.float64)  # (Dq, h), (Dk, h)
for n in range(3):  # who and person, what and thing, did and action
    w_q[n, 2 * n + 1] = 1.0
    w_k[n, 2 * n] = w_k[n, 2 * n + 1] = 1.0
w = torch.tensor([8.0, -6.0] * 3, dtype=torch.float64)  # (h,)


# %%
def score_of_pair(q, k, bend=torch.tanh):
    """One query (Dq,) with one key (Dk,): one number, hidden number by hidden number."""
    score = 0.0
    for n in range(len(w)):
        inside = sum(q[i] * w_q[i, n] for i in range(len(q))) + sum(k[i] * w_k[i, n] for i in range(len(k)))
        score = score + w[n] * bend(inside)
    return score


by_loops = torch.stack([torch.stack([score_of_pair(q, k) for k in x]) for q in asks])  # (Tq, Tk)
weights = by_loops.softmax(dim=-1)
print("best key of hot:", WORDS[weights[hot].argmax()], "· of pan:", WORDS[weights[pan].argmax()])

# %% [markdown]
# ## Take the tanh out
#
# What if the hidden numbers were not bent? The network would be simpler, and the score still depends on query and key.
# Draw both maps of weights. Before you look: what will the rows of the second map have in common?

# %%
import matplotlib.pyplot as plt

from autograder.material import plots

straight = torch.stack([torch.stack([score_of_pair(q, k, bend=lambda inside: inside) for k in x]) for q in asks])
unbent = straight.softmax(dim=-1)

# %%
figure, axes = plt.subplots(1, 2, figsize=(11.5, 3.9), layout="constrained")
for ax, table, title in zip(axes, (weights, unbent), ("with tanh", "without"), strict=True):
    plots.heatmap(table.tolist(), WORDS, WORDS, ax, title=title)
    ax.tick_params(axis="x", rotation=40)
    ax.set_xlabel("key", color=plots.COLOURS["key"])
    ax.set_ylabel("query", color=plots.COLOURS["query"])
alt = "Two maps of weights. With tanh, every asking word has a row of its own. Without it, all eight rows are the same."
plots.show(figure, alt)

# %% [markdown]
# Left, each word that asks has a row of its own, and *hot* reads *pan*. Right, all eight rows are the same: nobody
# asks any more. Without the bend the score is (a number of the query) + (a number of the key). In a row the first is
# the same for every key, and a softmax does not see what is added to the whole row.

# %%
print("all rows equal, with tanh:   ", torch.allclose(weights, weights[:1].expand(8, 8)))
print("all rows equal, without tanh:", torch.allclose(unbent, unbent[:1].expand(8, 8)))

# %% [markdown]
# The same happens when the tanh is taken of each side before the sum. If it is taken of the finished sum, the weights
# may differ between queries, but all queries rank the keys alike, since tanh keeps order. Brody et al. (2022) found
# this in a well-known graph network, and called it *static* attention. The bend must come after query and key have
# met, and before w.

# %% [markdown]
# ## All pairs at once
#
# A column and a row, added, make a table of all sums: an axis of size 1 is repeated as often as the other side needs
# it.

# %%
column, row = torch.tensor([10, 20, 30])[:, None], torch.tensor([1, 2, 3, 4])[None, :]  # (3, 1) and (1, 4)
print(column + row)

# %% [markdown]
# So every query can meet every key without a loop. The projections come first, once per *vector*; only then do pairs
# arise.
#
# | step | shapes |
# |---|---|
# | project the queries | (B, Tq, Dq) times (Dq, h) → (B, Tq, h) |
# | project the keys | (B, Tk, Dk) times (Dk, h) → (B, Tk, h) |
# | add each to each | (B, Tq, 1, h) + (B, 1, Tk, h) → (B, Tq, Tk, h) |
# | bend | (B, Tq, Tk, h) |
# | sum with w | (B, Tq, Tk, h) times (h,) → (B, Tq, Tk) |

# %% [markdown]
# ### Exercise · additive_scores (15 min, ●●○)
#
# Score every query of every sentence with every key of the same sentence: `q (B, Tq, Dq)`, `k (B, Tk, Dk)`, `w_q (Dq,
# h)`, `w_k (Dk, h)` and `w (h,)` give `(B, Tq, Tk)`. There is no scale and no softmax. Sizes of 1 keep their axis, q
# and k may be as large as ±10000, and gradients must flow back to all five tensors, since a model below is trained
# through this function.
#
# By hand: `q = [[[1]]]`, `k = [[[0], [1]]]`, `w_q = [[1]]`, `w_k = [[1]]`, `w = [2]` gives `[[[2 tanh 1, 2 tanh 2]]]`,
# about `[[[1.523, 1.928]]]`.


# %%
def additive_scores(q, k, w_q, w_k, w):
    """Score every query with every key by a network with one hidden layer.

    q:   (B, Tq, Dq) float tensor.
    k:   (B, Tk, Dk) float tensor.
    w_q: (Dq, h) float tensor, projects queries.
    w_k: (Dk, h) float tensor, projects keys.
    w:   (h,) float tensor, weighs the hidden numbers.
    Returns (B, Tq, Tk) in the dtype of the inputs, before any softmax: w · tanh(q_i w_q + k_j w_k).
    Source: Bahdanau, Cho, Bengio 2015, section 3.1 and appendix A.1.2.
    """
    ### BEGIN SOLUTION
    asked = (q @ w_q)[:, :, None, :]  # (B, Tq, 1, h)
    found = (k @ w_k)[:, None, :, :]  # (B, 1, Tk, h)
    return torch.tanh(asked + found) @ w  # (B, Tq, Tk)
    ### END SOLUTION


# %%
check("additive_scores", additive_scores)

# %%
at_once = mine.additive_scores(asks[None], x[None], w_q, w_k, w)[0]
print("as by loops:", torch.allclose(at_once, by_loops))

# %% [markdown]
# ## A matrix in between
#
# Luong et al. keep the product, and first bring the query to the width of the key: q W has as many numbers as k. Row
# `i` of `W` says which features question `i` is looking for.

# %%
w_pair = torch.zeros(3, 4, dtype=torch.float64)  # (Dq, Dk)
for question, feature in zip(QUESTIONS, ("person", "thing", "action"), strict=True):
    w_pair[QUESTIONS.index(question), FEATURES.index(feature)] = 1.0
widened = asks[hot] @ w_pair  # (Dk,)
print("hot looks for:", *(f"{name} {number:g}" for name, number in zip(FEATURES, widened.tolist(), strict=True)))
print("hot and pan:  ", " + ".join(f"{a:g}·{b:g}" for a, b in zip(widened.tolist(), x[pan].tolist(), strict=True)))

# %% [markdown]
# ### Exercise · bilinear_scores (6 min, ●○○)
#
# Score every query of every sentence with every key of the same sentence through one matrix: `q (B, Tq, Dq)`, `k (B,
# Tk, Dk)` and `w (Dq, Dk)` give `(B, Tq, Tk)`, with q_i w k_jᵀ at `[b, i, j]`. There is no scale and no softmax, and
# gradients must flow back to q, k and w. By hand: `q = [[[1, 2]]]`, `k = [[[10]]]`, `w = [[3], [4]]` gives
# `[[[110]]]`, since (1·3 + 2·4)·10 = 110.


# %%
def bilinear_scores(q, k, w):
    """Score every query with every key through one matrix; linear in the query and in the key.

    q: (B, Tq, Dq) float tensor.
    k: (B, Tk, Dk) float tensor.
    w: (Dq, Dk) float tensor.
    Returns (B, Tq, Tk) in the dtype of the inputs, before any softmax: q_i w k_jᵀ.
    Source: Luong, Pham, Manning 2015, section 3.1, "general".
    """
    ### BEGIN SOLUTION
    return q @ w @ k.mT
    ### END SOLUTION


# %%
check("bilinear_scores", bilinear_scores)

# %%
through_w = mine.bilinear_scores(asks[None], x[None], w_pair)[0]
print("best key of hot:", WORDS[through_w[hot].argmax()], f"with {through_w[hot].max():g}")
plain_dot = mine.bilinear_scores(x[None], x[None], torch.eye(4, dtype=torch.float64))[0]
print("with w the identity, it is the dot product:", torch.allclose(plain_dot, x @ x.T))
qk = ask @ w_pair  # (4, 4): the matrix QK of notebook 02
print("questions and matrix in one:", torch.allclose(mine.bilinear_scores(x[None], x[None], qk)[0], through_w))

# %% [markdown]
# The dot product of projected vectors, (x W_q)(x W_k)ᵀ, *is* this form, with w = W_q W_kᵀ. So the question is not
# "learned or not". Both scores are learned similarities of the same projected vectors q′ = q W_q and k′ = k W_k. One
# multiplies them entry by entry and adds up; the other adds them entry by entry, bends, and adds up.
#
# **A common belief**: a network can learn any similarity, so it can at least do what the product does. Turn both
# vectors round and look:

# %%
generator = torch.Generator().manual_seed(4)
q, k = torch.randn(1, 1, 5, generator=generator), torch.randn(1, 1, 5, generator=generator)
mats = [torch.randn(5, 5, generator=generator) for _ in range(2)]
v = torch.randn(5, generator=generator)
for name, score, params in (("network", mine.additive_scores, (*mats, v)), ("product", mine.bilinear_scores, mats[:1])):
    there, turned = score(q, k, *params), score(-q, -k, *params)
    sign = "" if torch.allclose(turned, there) else "minus "
    print(f"{name}: the score of (−q, −k) is {sign}the score of (q, k)")
    assert torch.allclose(turned, there) or torch.allclose(turned, -there)

# %% [markdown]
# With both vectors turned round, the product finds them as alike as before. This network finds them exactly as
# *unlike* as it found them alike: tanh is odd. Where q and k come with either sign, it can be right about at most one
# of the two. A bias in the hidden layer cures it (`nn.Linear` has one), and so does any feature that is always 1.

# %% [markdown]
# ## How far apart do the scores lie?
#
# Notebook 03: a product of two vectors of width d spreads like √d, and a softmax over widely spread scores is
# saturated. Now the network, as it starts before training: the entries of q′ and k′ have variance 1, h = d, and w is
# drawn like the weights of any layer with d inputs, with variance 1/d.
#
# ### Exercise · which_saturates (1 min, ●○○)
#
# Eight keys, d = 512, no score divided by anything. Which of the two makes a softmax that puts nearly all weight on
# one key: `"dot"`, the product q′·k′, or `"additive"`, w · tanh(q′ + k′)? Commit before the cell below shows it.

# %%
### BEGIN SOLUTION
#: which_saturates = ...  # your prediction: "dot" or "additive"
which_saturates = "dot"
### END SOLUTION

# %%
check("which_saturates", which_saturates)


# %%
def fresh_scores(d, w_std, seed=0, rows=200):
    """Scores of `rows` random queries with 8 random keys each, (rows, 1, 8): q′·k′, and w · tanh(q′ + k′)."""
    generator = torch.Generator().manual_seed(seed)
    q, k = torch.randn(rows, 1, d, generator=generator), torch.randn(rows, 8, d, generator=generator)
    w = w_std * torch.randn(d, generator=generator)
    same = torch.eye(d)  # q and k are projected already
    return mine.bilinear_scores(q, k, same), mine.additive_scores(q, k, same, same, w)


# %%
print("           standard deviation        largest of 8 weights")
print("   d      dot  dot/√d  additive      dot  dot/√d  additive")
top = {}
for d in (8, 64, 512):
    dot, additive = fresh_scores(d, w_std=d**-0.5)
    kinds = (dot, dot / math.sqrt(d), additive)
    top[d] = [scores.softmax(-1).amax(-1).mean().item() for scores in kinds]
    spread = [scores.std().item() for scores in kinds]
    print(
        f"{d:4} {spread[0]:8.1f} {spread[1]:7.1f} {spread[2]:9.1f} {top[d][0]:8.1f} {top[d][1]:7.1f} {top[d][2]:9.1f}"
    )
assert top[512][0] > 0.9 and max(top[d][kind] for d in top for kind in (1, 2)) < 0.6

# %% [markdown]
# The dot product. One of its terms has variance 1, and d of them are added. A term of the network is a number between
# −1 and 1 times an entry of w with variance 1/d; d of those have a variance below 1, whatever d is. The network
# carries a scale of its own: it sits in w.
#
# **A common belief**: additive scores cannot saturate, because tanh is bounded. The tanh is; the score is bounded by
# the sum of the sizes of w's entries, which grows with h unless they are small. Draw w with variance 1 instead:

# %%
for d in (8, 64, 512):
    _, additive = fresh_scores(d, w_std=1.0)
    heavy = additive.softmax(-1).amax(-1).mean().item()
    print(f"d = {d:3}, w with variance 1: the largest of 8 weights is {heavy:.1f} on average")
assert heavy > 0.8

# %% [markdown]
# And there is a second place to saturate, inside: projections that are too large push each tanh to ±1, where its slope
# is 0.

# %%
inside = torch.randn(2, 10_000, generator=torch.Generator().manual_seed(1)).sum(0)  # q′ + k′, as at the start
for size in (1, 4, 16):
    slope = 1 - torch.tanh(size * inside) ** 2
    print(f"projections {size:2} times as large: the typical slope of the tanh is {slope.median():.3f}")

# %% [markdown]
# ## What a score costs
#
# Count **multiply-adds**: a product added to a sum counts 1. A matrix product (n, d) times (d, m) makes n·m sums of d
# products each: n·m·d. So all dot products of 2 queries with 3 keys, d = 4, take 2·3·4 = 24.
#
# Count also what is *learned*, and the *largest tensor* that exists on the way: for 2 queries and 3 keys the dot
# product needs 6 numbers, its result. A product is summed while it is made; no tensor ever holds all its terms. Is
# that so for the network? Look at the table of shapes above.

# %% [markdown]
# ### Exercise · scoring_cost (12 min, ●●○)
#
# Return a dict of three whole numbers, `multiply_adds`, `parameters` and `largest_tensor`, for scoring `n_q` queries
# with `n_k` keys of width `d`. For `kind="dot"` q and k are multiplied as they are. For `"additive"` they go through
# your network with `h` hidden numbers: each vector is projected once, and a sum or a tanh by itself counts 0. The
# largest tensor is counted in elements, over all results on the way and the last one, inputs left out.
#
# By hand: `scoring_cost("additive", 1, 2, 1, 1)` is 5 multiply-adds, since 3 vectors are projected and 2 pairs summed
# with w, 3 parameters and a largest tensor of 2.


# %%
def scoring_cost(kind, n_q, n_k, d, h):
    """Count what it takes to score every query with every key of one sentence.

    kind: "dot", all q·k; or "additive", all w · tanh(q w_q + k w_k).
    n_q:  how many queries; n_k: how many keys; d: the width of both.
    h:    how many hidden numbers; "dot" does not use it.
    Returns {"multiply_adds": …, "parameters": …, "largest_tensor": …}, whole numbers. A sum or a tanh alone counts 0
    multiply-adds; the largest tensor made on the way or returned, inputs left out, is in elements.
    """
    ### BEGIN SOLUTION
    #: pairs = n_q * n_k
    #: if kind == "dot":
    #:     return {"multiply_adds": pairs * d, "parameters": 0, "largest_tensor": pairs}
    #: raise NotImplementedError("count the network: two projections, then h hidden numbers for every pair")
    pairs = n_q * n_k
    if kind == "dot":
        return {"multiply_adds": pairs * d, "parameters": 0, "largest_tensor": pairs}
    return {
        "multiply_adds": (n_q + n_k) * d * h + pairs * h,
        "parameters": 2 * d * h + h,
        "largest_tensor": pairs * h,
    }
    ### END SOLUTION


# %%
check("scoring_cost", scoring_cost)

# %%
print("n queries, n keys, d = h = 64; additive divided by dot")
for n in (16, 128, 1024, 8192):
    dot, additive = (mine.scoring_cost(kind, n, n, 64, 64) for kind in ("dot", "additive"))
    ratios = [additive[key] / dot[key] for key in ("multiply_adds", "largest_tensor")]
    sizes = " and ".join(f"{4 * cost['largest_tensor'] / 1e3:,.0f}" for cost in (dot, additive)) + " kB in float32"
    print(f"n = {n:4}: multiply-adds {ratios[0]:4.1f}, largest tensor {ratios[1]:.0f} ({sizes})")

# %% [markdown]
# Look at the two columns. For long sequences the projections hardly count, and the multiply-adds of the two become
# *equal*: d per pair here, h per pair there. By this count neither is faster. The largest tensor differs by the factor
# h at any length.
#
# So which is it on the clock: alike, like the multiply-adds, or apart? Guess before you measure.

# %% tags=["experiment"]
import time


def fastest(*calls, rounds=7):
    """The shortest time of each call in seconds; they take turns, so that a busy moment hits all alike."""
    times = [[] for _ in calls]
    for _ in range(rounds):
        for call, found in zip(calls, times, strict=True):
            begin = time.perf_counter()
            call()
            found.append(time.perf_counter() - begin)
    return [min(found) for found in times]


# %% tags=["experiment", "nbval-ignore-output"]
LENGTHS, WIDTH = (16, 32, 64, 128, 256, 512), 64
generator = torch.Generator().manual_seed(0)
w_one, w_two, w_out = (torch.randn(size, generator=generator) / 8 for size in ((64, 64), (64, 64), (64,)))
seconds = []
for n in LENGTHS:
    q, k = torch.randn(1, n, WIDTH, generator=generator), torch.randn(1, n, WIDTH, generator=generator)
    seconds.append(fastest(lambda: q @ k.mT, lambda: mine.additive_scores(q, k, w_one, w_two, w_out)))
slower = [additive / dot for dot, additive in seconds]
print("additive takes this many times as long:", *(f"n = {n}: {r:.0f}" for n, r in zip(LENGTHS, slower, strict=True)))

# %% tags=["experiment"]
costs = [[mine.scoring_cost(kind, n, n, WIDTH, WIDTH) for kind in ("dot", "additive")] for n in LENGTHS]
COUNTED = {key: [additive[key] / dot[key] for dot, additive in costs] for key in ("multiply_adds", "largest_tensor")}


def finish(ax, ylabel):
    ax.set(xlabel="n, queries and keys", ylabel=ylabel, xticks=LENGTHS, xticklabels=LENGTHS)
    ax.yaxis.set_major_formatter("{x:g}")
    ax.minorticks_off()
    ax.legend()


# %% tags=["experiment", "nbval-ignore-output"]
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.3), layout="constrained")
for column, kind, colour, marker in ((0, "dot", "other", "o"), (1, "additive", "value", "s")):
    times = [1e3 * both[column] for both in seconds]
    left.loglog(LENGTHS, times, color=plots.COLOURS[colour], marker=marker, label=kind)
right.loglog(LENGTHS, slower, color=plots.COLOURS["truth"], marker="o", label="time, measured")
for key, name, style in (("multiply_adds", "multiply-adds", "--"), ("largest_tensor", "largest tensor", ":")):
    right.loglog(LENGTHS, COUNTED[key], style, color=plots.COLOURS["data"], label=f"{name}, counted")
right.set_ylim(0.8, 5e3)  # room for the legend
finish(left, "milliseconds a call")
finish(right, "additive divided by dot")
plots.show(figure, "Time against length: additive above dot. Ratio of times: far above that of multiply-adds, near 1.")

# %% [markdown]
# Left: additive lies above dot at every length. Right: the longer the sequence, the nearer the counted multiply-adds
# come to a ratio of 1, and the measured time does not follow. At short lengths the fixed cost of any call hides part
# of it.
#
# So time goes where the count does not look. Take the steps of the network apart: adding all pairs, the tanh, the sum
# with w, and for comparison the whole dot product.

# %% tags=["experiment", "nbval-ignore-output"]
asked, found = (q @ w_one)[:, :, None], (k @ w_two)[:, None]  # of the longest sequence
inside = asked + found
bent = torch.tanh(inside)
*parts, whole_dot = fastest(lambda: asked + found, lambda: torch.tanh(inside), lambda: bent @ w_out, lambda: q @ k.mT)
for name, part in zip(("adding all pairs", "the tanh", "the sum with w"), parts, strict=True):
    print(f"{name:16} takes {part / whole_dot:4.0f} times as long as the whole dot product")

# %% [markdown]
# Adding, which the count leaves out, takes longer than the whole dot product, and so does the tanh. Each handles a
# tensor of n·n·h numbers: it has to be written to memory and read again. A matrix product adds up while it multiplies
# and writes n·n, and libraries have code made for it alone. This was one thread of a processor; a graphics card was
# not tested here.

# %% [markdown]
# ## Experiment: do they learn equally well?
#
# Vaswani et al. (2017, section 3.2.1) say: alike for narrow vectors, and for wide ones the network is ahead of the
# product *without scale*, citing Britz et al. Test it on a small alignment task.
#
# There are 32 symbols in two languages and a dictionary between them that nobody tells. A sentence has 8 different
# symbols, each with one of 8 labels, drawn anew. A question is one symbol in the other language; the answer is the
# label of its translation. Right answers require looking at the right key, but nobody says which: the loss knows only
# the label. Guessing gives 1/8.

# %% tags=["experiment"]
from functools import partial

import numpy as np
import torch.nn.functional as F

from autograder.material.training import train

# %% tags=["experiment"]
SYMBOLS, KEYS, LABELS, SEEDS = 32, 8, 8, 3


def lessons(rng, size):
    """A batch for each seed: symbols (S, size, 8), all different; their labels; the place asked for, (S, size, 1)."""
    symbols = rng.permuted(np.tile(np.arange(SYMBOLS), (SEEDS, size, 1)), axis=-1)[..., :KEYS]
    labels, place = rng.integers(LABELS, size=(SEEDS, size, KEYS)), rng.integers(KEYS, size=(SEEDS, size, 1))
    return tuple(map(torch.from_numpy, (symbols, labels, place)))


# %% tags=["experiment"]
def start(d):
    """Parameters of three models side by side, one a seed; the same for every score."""
    generator = torch.Generator().manual_seed(d)
    shapes = {"asked": (SYMBOLS, d), "found": (SYMBOLS, d), "values": (LABELS, 16)}  # a row is one vector
    layers = {"w_q": (d, d), "w_k": (d, d), "w": (d, 1)}  # (in, out), variance 1 / in
    p = {name: torch.randn(SEEDS, *shape, generator=generator) for name, shape in shapes.items()}
    p |= {n: torch.randn(SEEDS, *shape, generator=generator) / math.sqrt(shape[0]) for n, shape in layers.items()}
    return {name: tensor.requires_grad_() for name, tensor in p.items()}


# %% [markdown]
# One model per score, all from the same start: the same vectors for symbols, the same w_q and w_k. Only the way from
# q′ and k′ to a score differs, by your own functions: `bilinear_scores` with w_q w_kᵀ, that divided by √d, and
# `additive_scores`. Three seeds are trained side by side.


# %% tags=["experiment"]
def score(kind, q, k, p):
    """Scores (S, size, 1, 8), each seed by its own matrices."""
    if kind == "additive":
        parts = zip(q, k, p["w_q"], p["w_k"], p["w"][..., 0], strict=True)
        return torch.stack([mine.additive_scores(*part) for part in parts])
    parts = zip(q, k, p["w_q"] @ p["w_k"].mT, strict=True)
    scores = torch.stack([mine.bilinear_scores(*part) for part in parts])
    return scores / math.sqrt(q.shape[-1]) if kind == "scaled dot" else scores


# %% tags=["experiment"]
def answer(kind, p, symbols, labels, place):
    """What each model answers, (S, size, 8), and its attention, (S, size, 8)."""
    seed = torch.arange(SEEDS)[:, None, None]
    q = p["asked"][seed, symbols.gather(-1, place)]  # (S, size, 1, d); symbol i of one language means i of the other
    k, v = p["found"][seed, symbols], p["values"][seed, labels]  # (S, size, 8, d), (S, size, 8, 16)
    weights = score(kind, q, k, p).softmax(-1)  # (S, size, 1, 8)
    return (weights @ v @ p["values"].mT[:, None])[:, :, 0] / 4, weights[:, :, 0]  # what was read, against each label


# %% tags=["experiment"]
EXAM = lessons(np.random.default_rng(99), 256)


def loss(kind, p, batch):
    """Cross-entropy of the asked label, one number a seed."""
    logits, _ = answer(kind, p, *batch)
    wanted = batch[1].gather(-1, batch[2])[..., 0]
    return F.cross_entropy(logits.flatten(0, 1), wanted.flatten(), reduction="none").view(SEEDS, -1).mean(-1)


# %% tags=["experiment"]
@torch.no_grad()
def examine(kind, p):
    """Of each seed: the share of right answers; and how large the largest weight is where it lies on a wrong key."""
    logits, weights = answer(kind, p, *EXAM)
    wanted, largest = EXAM[1].gather(-1, EXAM[2])[..., 0], weights.max(-1)
    astray = largest.values[largest.indices != EXAM[2][..., 0]]
    return (logits.argmax(-1) == wanted).float().mean(-1).numpy(), astray.median().item()


# %% tags=["experiment"]
KINDS, STEPS, EVERY = ("dot", "scaled dot", "additive"), 300, 20


def homework(rng):
    """Fresh batches of 32 for one epoch."""
    return (lessons(rng, 32) for _ in range(STEPS))


# %% tags=["experiment"]
def learn(kind, d, rate):
    """Train from the start of width d; the share of right answers of each seed as it grew (times, S), and `examine`."""
    p = start(d)
    grown = [examine(kind, p)[0]]

    def metric():
        grown.append(examine(kind, p)[0])
        return grown[-1].mean()

    train(p, partial(loss, kind), homework, steps=STEPS, lr=rate, metric=metric, every=EVERY, label=kind)
    return np.array(grown), examine(kind, p)[1]


# %% tags=["experiment", "nbval-ignore-output"]
SETTINGS = ((8, 0.01), (256, 0.001), (256, 0.01))  # width, learning rate of Adam
learned = {}
for d, rate in SETTINGS:
    for kind in KINDS:
        learned[d, rate, kind] = learn(kind, d, rate)
        last = ", ".join(f"{share:.2f}" for share in learned[d, rate, kind][0][-1])
        print(f"d = {d:3}, rate {rate}: {kind:10} answers {last} of the exam right")

# %% tags=["experiment", "nbval-ignore-output"]
STYLES = {"dot": ("other", "o"), "scaled dot": ("truth", "v"), "additive": ("value", "s")}
figure, axes = plt.subplots(1, 3, figsize=(11, 3.2), sharey=True, layout="constrained")
for ax, (d, rate) in zip(axes, SETTINGS, strict=True):
    for kind, (colour, marker) in STYLES.items():
        curve, steps = learned[d, rate, kind][0], EVERY * np.arange(STEPS // EVERY + 1)
        ax.plot(steps, curve.mean(1), marker=marker, markersize=4, color=plots.COLOURS[colour], label=kind)
        ax.fill_between(steps, curve.min(1), curve.max(1), color=plots.COLOURS[colour], alpha=0.2, linewidth=0)
    ax.axhline(1 / LABELS, color=plots.COLOURS["data"], linestyle=":")
    ax.set(title=f"d = {d}, rate {rate}", xlabel="step", ylim=(0, 1.03))
axes[0].set_ylabel("share of right answers")
axes[0].legend(loc="center right")
plots.show(figure, "Learning curves. d = 8: three alike. d = 256: the bare dot product stays behind at either rate.")

# %% [markdown]
# Lines are means over three seeds, bands the worst and the best of them, the dotted line is guessing. All start above
# it: in a mixture of all eight labels the commonest stands out, and it is asked for more often than one time in eight.
# Left, narrow vectors: all three arrive. Middle, wide vectors and small steps: the scaled product and the network
# arrive at once, the bare product lags. Right, larger steps: the network arrives again, the scaled product climbs and
# then falls back, the bare product stops far short.

# %% tags=["experiment"]
last = {setting: shares[-1] for setting, (shares, _) in learned.items()}  # each (seeds,)
slow, fast = ({kind: last[256, rate, kind] for kind in KINDS} for rate in (0.001, 0.01))
assert min(last[8, 0.01, kind].min() for kind in KINDS) > 0.93
assert min(slow["scaled dot"].min(), slow["additive"].min()) > 0.97 > 0.93 > slow["dot"].max()
assert fast["dot"].max() < fast["scaled dot"].min() and fast["scaled dot"].max() < fast["additive"].min()
assert learned[256, 0.01, "scaled dot"][0].mean(1).max() > fast["scaled dot"].mean() + 0.03  # it falls back
assert min(learned[256, 0.01, kind][1] for kind in ("dot", "scaled dot")) > 0.99  # sure of a wrong key
print("d = 8: all three above 0.93 in every seed")
print("d = 256, rate 0.001: scaled dot and additive above 0.97, dot below 0.93, in every seed")
print("d = 256, rate 0.01: dot < scaled dot < additive, every seed against every seed")
print("where a product looks at a wrong key there, the typical largest weight is above 0.99")

# %% [markdown]
# ## What the measurement says, and what it does not
#
# *Similar accuracy*: yes for narrow vectors, and for wide ones with the scale and small steps. *Ahead of the unscaled
# product when wide*: yes. But the textbook's sentence says too little: with larger steps the network was also ahead of
# the *scaled* product.
#
# The scale sets the start, not what follows. A step of Adam moves every entry by about the rate, however wide the
# vectors, and a product adds up d such moves. Where it then looked at a wrong key, the typical largest weight was
# above 0.99: saturated, so hardly any gradient corrects it. The network's scores are bounded by w.

# %% [markdown]
# This does not show that additive attention makes better models. It is one toy task with three seeds, one optimiser,
# two rates and no warm-up, and the smaller rate made up for the whole difference to the scaled product. Britz et al.
# compared the two in translation models of 2017; look at their differences beside the spread over runs. Nor do the
# times say anything about graphics cards.

# %% [markdown]
# ## Where you will meet this
#
# | where | the line |
# |---|---|
# | PyTorch | `torch.nn.functional.bilinear`: Luong's score of pairs laid side by side; run below |
# | Keras | `layers.AdditiveAttention`: the sum of `scale * tanh(query + key)`; `scale` is w, the caller projects |
# | graph networks | GATv2: a·LeakyReLU(W [h_i ‖ h_j]), the bend before the last vector; in GAT it came after |
# | BERT | projected queries times projected keys, scaled: `bilinear_scores` with w_q w_kᵀ / √D, up to biases |
# | Llama | the same product, after q′ and k′ were turned by their positions (notebook 12) |
#
# Laid side by side, query and key are one vector, and the hidden layer is one matrix:

# %%
layer = torch.cat([w_q, w_k])  # (Dq + Dk, h)
pairs = torch.cat([asks[:, None].expand(8, 8, 3), x[None].expand(8, 8, 4)], dim=-1)  # (Tq, Tk, Dq + Dk)
print("one layer over both vectors:", torch.allclose(torch.tanh(pairs @ layer) @ w, by_loops))
theirs = torch.nn.functional.bilinear(pairs[..., :3].contiguous(), pairs[..., 3:].contiguous(), w_pair[None])[..., 0]
print("torch's bilinear agrees:    ", torch.allclose(theirs, through_w))

# %% [markdown]
# ## Three against four, answered
#
# A network or a matrix compares vectors of any two widths, and with two projections so does the dot product. The
# network's answers were not worse: on wide vectors as good as the scaled product's at one rate, better at the other.
# What it lost on is the clock. The multiply-adds per pair are the same, but it fills a tensor h times as large and
# takes a tanh of each entry, against one matrix product. And dividing by √d, one step per pair, made the product learn
# as well at a suitable rate.

# %% [markdown]
# ## To say to a colleague
#
# - Additive and dot-product attention are both learned similarities of projected queries and keys; one adds and bends,
#   the other multiplies.
# - Without the bend between query and key, every query reads the same keys.
# - Products spread like √d unless scaled; the network's spread is set by w.
# - Equal multiply-adds, unequal time: the product is a matrix multiplication, the network fills a tensor of n_q · n_k
#   · h.

# %% [markdown]
# ## In your own words
#
# ### Exercise · reflection_04 (8 min, ●●○)
#
# A colleague reads an old translation paper and asks why nobody uses its attention any more: "was the small network
# worse?" Answer in five or six sentences: what the two scores share, what the tanh is for, what happens to each when
# vectors get wide, and why one of them is faster although the counts are alike.

# %%
### BEGIN SOLUTION
#: reflection_04 = """
#: """
reflection_04 = """
Both scores are learned similarities: queries and keys are projected by trained matrices, and the two results become one
number, in one case by multiplying entry by entry and adding up, in the other by adding entry by entry, bending with
tanh, and adding up with weights w. The tanh is what lets query and key interact. Without it the query's part is the
same for every key, the softmax cancels it, and all queries have the same weights.

When vectors get wide, a product spreads like √d, and the softmax saturates unless the scores are divided by √d; the
network's scores are bounded by the sum of |w| and start small if w does. So it was not worse: on our task it learned at
least as well as the scaled product, and better than the unscaled one when vectors were wide.

It lost because of time and memory. Per pair both take about as many multiply-adds, but the network has to store and
bend h numbers for every pair of query and key, while all products together are one matrix multiplication, for which
libraries have code of their own.
"""
### END SOLUTION

# %%
reflect("reflection_04", reflection_04)

# %% [markdown]
# ## Papers
#
# - Bahdanau, Cho, Bengio 2015, *Neural Machine Translation by Jointly Learning to Align and Translate*, section 3.1
#   and appendix A.1.2, arXiv:1409.0473. The network as a score.
# - Luong, Pham, Manning 2015, *Effective Approaches to Attention-based Neural Machine Translation*, section 3.1,
#   arXiv:1508.04025. Dot, general and concat side by side.
# - Britz, Goldie, Luong, Le 2017, *Massive Exploration of Neural Machine Translation Architectures*, arXiv:1703.03906.
#   Both scores in many trained translation models.
# - Vaswani, Shazeer, Parmar and others 2017, *Attention Is All You Need*, section 3.2.1, arXiv:1706.03762. The
#   comparison tested here.
# - Brody, Alon, Yahav 2022, *How Attentive are Graph Attention Networks?*, arXiv:2105.14491. What a bend in the wrong
#   place costs.
