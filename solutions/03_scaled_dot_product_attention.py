# %% [markdown]
# # 03 · How does scaled dot-product attention work?
#
# About 85 minutes. You need notebook 01 (softmax), notebook 02 (queries, keys, values), matrix products, and what a derivative is.
#
# You will be able to
#
# - compute softmax(q kᵀ / √D) v with a pencil, with loops, and for any number of batch and head axes;
# - say how the spread of a dot product grows with the width of the vectors, and show it by measuring;
# - explain what a saturated softmax does to learning, from its Jacobian;
# - mask keys so that the remaining weights still sum to 1, and decide what a query without keys gets;
# - find bugs that leave every shape right.

# %% [markdown]
# ## A puzzle: the wider model
#
# A model describes every word by 4 numbers, and it learns. Its owner widens the vectors to 1024 numbers, drawn by the same rule,
# and changes nothing else. No error, no NaN; every row of attention weights still sums to 1. But the model hardly learns any more.
#
# Where did it break, and which single division mends it? Keep a guess in mind; the end of this notebook answers with
# measurements.

# %% [markdown]
# ## One word asks, by hand
#
# *She dropped the pan because it was hot.* Let *it* ask, and let three words be found: *pan*, *hot* and *she*. To keep the
# numbers small enough for a pencil, each word uses its own vector of D = 4 numbers as query, key and value alike.

# %%
import math

import numpy as np

from autograder import check, hint, mine, progress, reflect
from autograder.material.sentence import WORDS, embeddings

FOUND = ("pan", "hot", "she")
query = embeddings(["it"])[0]  # (D,) = (4,)
keys = values = embeddings(FOUND)  # (Tk, D) = (3, 4)
for word, vector in zip(("it", *FOUND), (query, *keys), strict=True):
    print(f"{word:4}", vector)

# %% [markdown]
# Four steps per key: multiply and add, divide by √D = 2, take exp, divide by the total. Do the row of *pan* yourself
# before you read on.

# %%
scores = [sum(a * b for a, b in zip(query, key, strict=True)) / math.sqrt(4) for key in keys]
total = sum(math.exp(score) for score in scores)
weights = [math.exp(score) / total for score in scores]
for word, score, weight in zip(FOUND, scores, weights, strict=True):
    print(f"{word}: product {2 * score:.2f}, score {score:.3f}, exp {math.exp(score):.3f}, weight {weight:.3f}")
print(f"the exponentials add up to {total:.3f}, the weights to {sum(weights):.3f}")

# %% [markdown]
# The output is the average of the three values with these weights: most of *pan*, some of *hot*, a little of *she*.

# %%
output = sum(weight * value for weight, value in zip(weights, values, strict=True))  # (Dv,)
print("it reads", output.round(3))

# %% [markdown]
# ## The whole sentence: loops, then one line
#
# Every word asks every word. The scores are a table, row `i` for the query, column `j` for the key. Three loops fill it: two
# choose the pair, the third adds up the D products of a pair.

# %%
x = embeddings()  # (T, D) = (8, 4)
by_loops = np.zeros((8, 8))
for i in range(8):
    for j in range(8):
        for n in range(4):
            by_loops[i, j] += x[i, n] * x[j, n]
by_loops /= math.sqrt(4)
by_product = x @ x.T / 2  # (T, D) times (D, T): the axis of length D is summed away
print("they agree:", np.allclose(by_loops, by_product))

# %% [markdown]
# So the whole recipe is one line (Vaswani et al. 2017, equation 1):
#
# $$\text{out} = \text{softmax}\!\left(\frac{q\,k^\top}{\sqrt{D}}\right) v$$
#
# | step | shapes |
# |---|---|
# | scores = q kᵀ / √D | (Tq, D) times (D, Tk) → (Tq, Tk) |
# | weights = softmax of each *row* | (Tq, Tk), every row sums to 1 |
# | out = weights v | (Tq, Tk) times (Tk, Dv) → (Tq, Dv) |
#
# Multiplication, softmax, multiplication. Only the division has no obvious reason yet.

# %%
by_rows = mine.softmax(by_product, axis=-1)  # over the keys
by_columns = mine.softmax(by_product, axis=0)  # over the queries: a wrong turn with the same shape
print("over keys:    every row sums to 1:", np.allclose(by_rows.sum(axis=1), 1))
print("over queries: every row sums to 1:", np.allclose(by_columns.sum(axis=1), 1))

# %% [markdown]
# ## How large is a product of two random vectors?
#
# Before training, the numbers in q and k behave like independent draws with mean 0 and variance 1. Their product is a sum of
# D terms q₁k₁ + … + q_D k_D, each with mean 0 and variance 1. Variances of independent terms add up: the product has variance
# D, and standard deviation √D. That is the argument in a footnote of Vaswani et al.; arguments can be measured.
#
# The standard deviation of a few numbers is the root of their mean squared distance from their mean. By hand: 3 and 7 have
# mean 5, distances 2 and 2, standard deviation 2.

# %%
pair = np.array([3.0, 7.0])
print("by hand:", math.sqrt(((3 - 5) ** 2 + (7 - 5) ** 2) / 2), "  NumPy:", pair.std())

# %% [markdown]
# ### Exercise · dot_product_std (8 min, ●○○)
#
# Draw `trials` pairs of vectors with `d` standard normal numbers each, and return the population standard deviation of the
# `trials` products q·k. The first line is there: `q` is `(trials, d)`, one query a row. Draw `k` in the same way, make one
# product per row, and return one number. By hand: `trials=1` always gives 0, since one number is its own mean.


# %%
def dot_product_std(d, trials, rng):
    """Measure how far products of random vectors spread.

    d:      how many numbers a vector has.
    trials: how many pairs (q, k) are drawn.
    rng:    numpy.random.Generator; every random number comes from it.
    Returns the population standard deviation of the `trials` products, a number.
    Source: Vaswani et al. 2017, section 3.2.1, footnote 4.
    """
    ### BEGIN SOLUTION
    #: q = rng.standard_normal((trials, d))
    #: raise NotImplementedError("draw k, make one product per row, return their standard deviation")
    q = rng.standard_normal((trials, d))
    k = rng.standard_normal((trials, d))
    return (q * k).sum(axis=-1).std()
    ### END SOLUTION


# %%
check("dot_product_std", dot_product_std)

# %%
WIDTHS = (4, 16, 64, 256, 1024)
rng = np.random.default_rng(3)
for d in WIDTHS:
    std = mine.dot_product_std(d, 4000, rng)
    print(f"d = {d:4}: standard deviation {std:4.1f}, √d = {math.sqrt(d):4.1f}")
    assert abs(std / math.sqrt(d) - 1) < 0.1

# %% [markdown]
# Four times the width, twice the spread. The mean stays at 0: wide vectors do not score higher, they score *further apart*.

# %% [markdown]
# ## What wide vectors do to a softmax
#
# A query and eight keys are drawn at random, `d` standard normal numbers each. No scale: the scores are the bare products.
# The function below makes many such rows at once.


# %%
def products(d, seed, rows=200):
    """Bare products of random queries with 8 random keys each: (rows, 8), and the keys (rows, 8, d)."""
    rng = np.random.default_rng([seed, d])
    q = rng.standard_normal((rows, 1, d))
    k = rng.standard_normal((rows, 8, d))
    return (q * k).sum(axis=-1), k


# %% [markdown]
# ### Exercise · saturation (1 min, ●○○)
#
# Take the softmax of each row of eight unscaled scores and look at its largest weight, averaged over many rows. For which of
# d = 4, 64 and 1024 is it closest to 1? Commit to one before the cell below shows it.

# %%
### BEGIN SOLUTION
#: saturation = ...  # your prediction: 4, 64 or 1024
saturation = 1024
### END SOLUTION

# %%
check("saturation", saturation)

# %%
largest = {d: mine.softmax(products(d, seed=0)[0]).max(axis=-1).mean() for d in (4, 64, 1024)}
for d, weight in largest.items():
    print(f"d = {d:4}: the largest of 8 weights is {weight:.2f} on average")
assert largest[4] < largest[64] < largest[1024]

# %% [markdown]
# The widest vectors. A softmax sees only *differences* of scores: the ratio of two weights is exp(difference). With scores
# that lie √d apart, the best key is ahead of the second by so much that it gets nearly everything. Such a softmax is called
# **saturated**. Now the same rows with and without the division by √d.

# %%
import matplotlib.pyplot as plt

from autograder.material import plots

WITHOUT = {"color": plots.COLOURS["other"], "label": "q·k"}
WITH = {"color": plots.COLOURS["truth"], "label": "q·k / √d"}


def ranked(scores):
    """Mean weight of the best key, the second best, and so on: (8,)."""
    return np.sort(mine.softmax(scores), axis=-1)[:, ::-1].mean(axis=0)


# %%
figure, axes = plt.subplots(1, 3, figsize=(9, 2.8), sharey=True, layout="constrained")
for ax, d in zip(axes, (4, 64, 1024), strict=True):
    ax.bar(np.arange(1, 9) - 0.2, ranked(products(d, seed=0)[0]), width=0.4, **WITHOUT)
    ax.bar(np.arange(1, 9) + 0.2, ranked(products(d, seed=0)[0] / math.sqrt(d)), width=0.4, **WITH)
    ax.set(title=f"d = {d}", xlabel="key, best first", xticks=range(1, 9), ylim=(0, 1))
axes[0].set_ylabel("weight")
axes[2].legend()
plots.show(
    figure,
    "Mean weights of 8 keys, best first, for d = 4, 64 and 1024. Without the scale the best key takes about half, then "
    "most, then nearly all. With the scale the three panels look the same and every key keeps a share.",
)

# %% [markdown]
# Orange, without the scale: from left to right the attention collapses onto one key. Black, with it: the three panels are
# alike, and the width no longer matters.

# %% [markdown]
# ## What is left to learn from
#
# Attention on one key is no fault in itself; sometimes one key is right. The trouble is that a saturated softmax stops
# listening. Learning works by nudging scores and seeing what changes. So nudge: raise each score by a little, and see how much
# the first weight moves.

# %%
for gap in (0, 2, 8, 32):
    s = np.array([gap, 0.0])
    p = mine.softmax(s)
    moved = mine.softmax(s + [0.001, 0])[0] - p[0]
    print(f"scores {s}: first weight {p[0]:.4f}, moves by {moved / 0.001:.4f} times the nudge")

# %% [markdown]
# The derivative has a short form. With p = softmax(s), raising score j moves weight i by
#
# $$\frac{\partial p_i}{\partial s_j} = p_i\,(\delta_{ij} - p_j)$$
#
# where δ is 1 if i = j and 0 otherwise. On the diagonal p_i (1 − p_i): a weight grows with its own score. Off it −p_i p_j: it
# shrinks when another score grows. As a matrix: diag(p) − p pᵀ, the **Jacobian** of the softmax. It is made of the weights
# alone; the scores are not needed any more.

# %% [markdown]
# ### Exercise · softmax_jacobian (10 min, ●●○)
#
# Given the weights `p` of one row, shape `(n,)`, return the `(n, n)` matrix whose entry `[i, j]` says how fast weight `i`
# moves with score `j`. By hand: `p = (0.5, 0.5)` gives `[[0.25, -0.25], [-0.25, 0.25]]`, since 0.5 · (1 − 0.5) = 0.25 and
# −0.5 · 0.5 = −0.25. The result keeps the dtype of `p`.


# %%
def softmax_jacobian(p):
    """How each score moves each weight of a softmax.

    p: (n,) float, weights that sum to 1.
    Returns (n, n) in the dtype of p: entry [i, j] is the derivative of weight i by score j.
    """
    ### BEGIN SOLUTION
    return np.diag(p) - np.outer(p, p)
    ### END SOLUTION


# %%
check("softmax_jacobian", softmax_jacobian)

# %% [markdown]
# Compared with nudging each score in turn, and then on weights from even to saturated:

# %%
s, nudge = np.array([1.5, 0.4, 0.0]), 1e-6
nudged = np.stack([(mine.softmax(s + nudge * e) - mine.softmax(s)) / nudge for e in np.eye(3)], axis=1)
print("they agree:", np.allclose(mine.softmax_jacobian(mine.softmax(s)), nudged, atol=1e-5))
for p in ([0.5, 0.5], [0.9, 0.1], [0.999, 0.001], [1.0, 0.0]):
    print(f"p = {p}: largest entry {np.abs(mine.softmax_jacobian(np.array(p))).max():.4f}")

# %% [markdown]
# Where one weight is 1, the matrix is 0: no small change of any score changes anything, so no gradient comes back through
# the softmax. The weights are still valid, and the layer below learns nothing from them.

# %% [markdown]
# ## What the division does, and what it does not
#
# Dividing by √D brings the standard deviation of the scores back to 1, whatever D is. Two things are commonly believed about it.
#
# *"The scale changes what is attended to."* All scores of a row are divided by the same positive number, so their order stays.
# It changes how sharply, not whom.
#
# *"The scale keeps exp from overflowing."* Subtracting each row's maximum does that, scaled or not. The scale is for the
# gradient.

# %%
bare, _ = products(1024, seed=1)
order_kept = np.array_equal(bare.argsort(axis=-1), (bare / math.sqrt(1024)).argsort(axis=-1))
print("the keys keep their order in every row:", order_kept)
print("finite without the scale:", np.isfinite(mine.softmax(bare)).all())

# %% [markdown]
# ## Hiding keys: the mask
#
# Sometimes a query must not see a key: padding, or a word that comes later. A **mask** says so: True where query `i` may
# attend to key `j`. Hide *pan* from *it*, in three ways, and look at the sums.

# %%
may = np.array([False, True, True])  # pan is hidden; hot and she are not
bare_weights = mine.softmax(np.array(scores))
hidden = {
    "score −∞ before": mine.softmax(np.array([-np.inf, *scores[1:]])),
    "score 0 before": mine.softmax(np.array([0.0, *scores[1:]])),
    "weight 0 after": bare_weights * may,
}
for way, row in hidden.items():
    print(f"{way:15}", *(f"{word} {weight:.3f}" for word, weight in zip(FOUND, row, strict=True)), f"  sum {row.sum():.3f}")

# %% [markdown]
# Only the first is right. A score of 0 is an ordinary score: exp(0) = 1, and *pan* keeps a share. Zeroing weights afterwards
# loses what *pan* had. With −∞ the softmax itself shares everything among the keys that are left, for exp(−∞) = 0.
#
# One case remains: a query that may attend to *nothing*. Every exponential is 0, and 0 / 0 is NaN, which spreads to all that is
# computed from it. This course decides: such a query gets weights of 0 and an output of 0.

# %% [markdown]
# ### Many heads, many sentences, one line
#
# Models hold q, k and v as (B, H, T, D): sentences, heads, words, width. The operator `@` multiplies the last two axes and
# carries all axes before them along. So k needs its *last two* axes swapped; `.T` would reverse all four.

# %%
q4, k4 = np.zeros((2, 3, 4, 6)), np.zeros((2, 3, 5, 6))  # B=2, H=3, Tq=4, Tk=5, D=6
print("k.T:               ", k4.T.shape)
print("k.swapaxes(-1, -2):", k4.swapaxes(-1, -2).shape)
print("scores:            ", (q4 @ k4.swapaxes(-1, -2)).shape)
print("a mask (4, 5) fits:", np.broadcast_shapes((4, 5), (2, 3, 4, 5)))

# %% [markdown]
# Last trap: in NumPy 2, `np.sqrt` returns a NumPy float64, and a float32 array divided by it becomes float64, twice the memory.
# `math.sqrt` returns a plain Python number and leaves the dtype alone.

# %%
row = np.ones(3, dtype=np.float32)
print("np.sqrt:  ", (row / np.sqrt(6)).dtype)
print("math.sqrt:", (row / math.sqrt(6)).dtype)

# %% [markdown]
# ### Exercise · scaled_dot_product_attention (20 min, ●●○)
#
# Write the whole of it: `q (..., Tq, D)`, `k (..., Tk, D)`, `v (..., Tk, Dv)` with any number of leading axes, and a boolean
# `mask` that broadcasts to `(..., Tq, Tk)`, or None. Return `(out, weights)`: `(..., Tq, Dv)` and `(..., Tq, Tk)`.
#
# Scores may be as large as ±10000, a query without keys gets 0 in both results, inputs stay as they are, and float32 stays
# float32. By hand: `q = [[1]]`, `k = [[ln 3], [0]]`, `v = [[4], [0]]` gives weights `[[0.75, 0.25]]` and out `[[3]]`.


# %%
def scaled_dot_product_attention(q, k, v, mask=None):
    """Average the values, weighted by how well each key suits each query.

    q:    (..., Tq, D) float.
    k:    (..., Tk, D) float.
    v:    (..., Tk, Dv) float.
    mask: bool, broadcastable to (..., Tq, Tk), True where query i may attend to key j; None is everywhere.
    Returns (out (..., Tq, Dv), weights (..., Tq, Tk)) in the dtype of the inputs. A query that may attend to nothing
    gets weights of 0 and an output of 0.
    Source: Vaswani et al. 2017, section 3.2.1.
    """
    ### BEGIN SOLUTION
    scores = q @ k.swapaxes(-1, -2) / math.sqrt(q.shape[-1])  # (..., Tq, Tk)
    if mask is not None:
        scores = np.where(mask, scores, -np.inf)
    top = scores.max(axis=-1, keepdims=True)  # (..., Tq, 1); −∞ where the row is empty
    e = np.exp(scores - np.where(np.isneginf(top), 0, top))
    total = e.sum(axis=-1, keepdims=True)  # (..., Tq, 1); 0 where the row is empty
    weights = e / np.where(total == 0, 1, total)
    return weights @ v, weights
    ### END SOLUTION


# %%
check("scaled_dot_product_attention", scaled_dot_product_attention)

# %% [markdown]
# It gives what the pencil gave. And here is the sentence, once with every word in sight, once with a mask under which a word sees
# only itself and the words before it.

# %%
_, again = mine.scaled_dot_product_attention(query[None], keys, values)
print("as by hand:", np.allclose(again[0], weights))
_, everywhere = mine.scaled_dot_product_attention(x, x, x)
_, backwards = mine.scaled_dot_product_attention(x, x, x, np.tri(8, dtype=bool))
print("every row sums to 1:", np.allclose(everywhere.sum(axis=-1), 1) and np.allclose(backwards.sum(axis=-1), 1))

# %%
figure, axes = plt.subplots(1, 2, figsize=(11.5, 3.9), layout="constrained")
for ax, table, title in zip(axes, (everywhere, backwards), ("no mask", "itself and earlier words"), strict=True):
    plots.heatmap(table, WORDS, WORDS, ax, title=title)
    ax.tick_params(axis="x", rotation=40)
    ax.set_xlabel("key", color=plots.COLOURS["key"])
    ax.set_ylabel("query", color=plots.COLOURS["query"])
plots.show(
    figure,
    "Attention weights of the eight words, query by row and key by column. Left: every row spreads over all words. "
    "Right: the upper triangle is 0, and she, which sees only itself, has weight 1 on itself.",
)

# %% [markdown]
# Right, the upper triangle is empty, and each row shares its 1 among fewer keys: *she* has only itself. Compare the row of
# *hot*, which sees everything both times.

# %% [markdown]
# ## Two bugs that raise no error
#
# Bugs in attention seldom crash: every result has the right shape, and rows of numbers look like rows of numbers. What finds
# them is a property that must hold. Two of them: every row of weights sums to 1; and hearing everything twice changes
# nothing, since two copies of a key share its weight and carry the same value.

# %%
out, _ = mine.scaled_dot_product_attention(x, x, x)
doubled = np.concatenate([x, x])  # (16, 4): every word twice
out_twice, _ = mine.scaled_dot_product_attention(x, doubled, doubled)
print("the same output when all keys and values come twice:", np.allclose(out, out_twice))

# %% [markdown]
# ### Exercise · repaired_attention (10 min, ●●○)
#
# The function below has two bugs. It never fails, and its results always have the right shapes: q, k and v are `(..., T, D)`,
# out is `(..., T, D)`, weights are `(..., T, T)`. Repair it so that it gives what `scaled_dot_product_attention` gives without
# a mask. Test the two properties above on it first; by hand, for T = 1 the only weight must be 1.


# %%
def repaired_attention(q, k, v):
    """Attention of every word to every word, without a mask.

    q, k, v: (..., T, D) float.
    Returns (out (..., T, D), weights (..., T, T)) in the dtype of the inputs.
    """
    ### BEGIN SOLUTION
    #: scores = q @ k.swapaxes(-1, -2) / math.sqrt(k.shape[-2])
    #: e = np.exp(scores - scores.max(axis=-1, keepdims=True))
    #: weights = e / e.sum(axis=-2, keepdims=True)
    #: return weights @ v, weights
    scores = q @ k.swapaxes(-1, -2) / math.sqrt(k.shape[-1])
    e = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights = e / e.sum(axis=-1, keepdims=True)
    return weights @ v, weights
    ### END SOLUTION


# %%
check("repaired_attention", repaired_attention)

# %% [markdown]
# ## Measure the claim
#
# The claim: without the scale the scores spread like √d, the weights lose their entropy, and the gradient dies; with it,
# none of the three depends on d. It could be refuted, so measure: five seeds, 200 rows of 8 keys, five widths.
#
# *Entropy* says how evenly a row is spread: ln 8 nats for eight equal weights, 0 for all on one. The *gradient* is how fast the
# eight weights move with the query: the Jacobian times how the scores move with the query, which is the keys times the scale.


# %%
def measure(d, scale, seed):
    """Of 200 rows: std of the scores, mean entropy of the weights, and median and mean norm of the gradient."""
    bare, k = products(d, seed)
    weights = mine.softmax(bare * scale)
    entropy = -(weights * np.log(np.maximum(weights, 1e-300))).sum(axis=-1).mean()
    norms = [np.linalg.norm(mine.softmax_jacobian(p) @ keys * scale) for p, keys in zip(weights, k, strict=True)]
    return (bare * scale).std(), entropy, np.median(norms), np.mean(norms)


# %% tags=["experiment"]
SEEDS = range(5)
without = np.array([[measure(d, 1.0, seed) for seed in SEEDS] for d in WIDTHS])  # (5 widths, 5 seeds, 4 measures)
scaled = np.array([[measure(d, 1 / math.sqrt(d), seed) for seed in SEEDS] for d in WIDTHS])
exponent = {}
for name, found in (("without the scale", without), ("with the scale", scaled)):
    slopes = [np.polyfit(np.log(WIDTHS), np.log(found[:, seed, 0]), 1)[0] for seed in SEEDS]
    exponent[name] = np.mean(slopes)
    print(f"{name}: std of the scores grows like d^{abs(np.mean(slopes)):.2f}, ± {np.std(slopes):.2f} over seeds")

# %% tags=["experiment"]
print("             entropy (nats)     gradient, median     gradient, mean")
print("   d         q·k  q·k/√d        q·k    q·k/√d        q·k    q·k/√d")
for d, a, b in zip(WIDTHS, without.mean(axis=1), scaled.mean(axis=1), strict=True):
    print(f"{d:4}      {a[1]:6.2f} {b[1]:7.2f}  {a[2]:9.4f} {b[2]:9.2f}  {a[3]:9.1f} {b[3]:9.2f}")
assert abs(exponent["without the scale"] - 0.5) < 0.03 > abs(exponent["with the scale"])
assert without[-1, :, 1].max() < 0.1 * scaled[-1, :, 1].min()  # entropy, every seed against every seed
assert without[-1, :, 2].max() < 0.01 * scaled[-1, :, 2].min()  # median gradient
assert scaled[..., 2].max() < 1.3 * scaled[..., 2].min()  # with the scale, the same at every width
assert without[-1, :, 3].mean() > without[0, :, 3].mean()  # the mean gradient does not fall

# %% tags=["experiment"]
def curves(ax, number, name):
    """One measure against d, without and with the scale: the mean over seeds, and their range as a band."""
    for found, style, marker in ((without, WITHOUT, "o"), (scaled, WITH, "s")):
        values = found[..., number]
        ax.plot(WIDTHS, values.mean(axis=1), marker=marker, **style)
        ax.fill_between(WIDTHS, values.min(axis=1), values.max(axis=1), color=style["color"], alpha=0.2, linewidth=0)
    ax.set_xscale("log", base=2)
    ax.set_xticks(WIDTHS, WIDTHS)
    ax.set(xlabel="d, width of the vectors", ylabel=name)


# %% tags=["experiment"]
figure, axes = plt.subplots(1, 3, figsize=(11, 3.1), layout="constrained")
for ax, number, name in zip(axes, range(3), ("std of the scores", "entropy (nats)", "median gradient"), strict=True):
    curves(ax, number, name)
axes[0].set_yscale("log", base=2)
axes[0].yaxis.set_major_formatter("{x:g}")
axes[1].axhline(math.log(8), color=plots.COLOURS["data"], linestyle=":", label="even weights: ln 8")
axes[1].legend(loc="center right")
axes[2].set_yscale("log")
alt = "Against width, without the scale: the spread of the scores rises as a straight line of slope one half, entropy falls "
alt += "towards 0, the median gradient falls by orders of magnitude. With the scale all three are flat."
plots.show(figure, alt)

# %% [markdown]
# Left, a straight line of slope one half; middle, the entropy falls towards 0; right, the gradient of a typical row falls by
# orders of magnitude. With the scale, in black, all three stay level.

# %% [markdown]
# ## What the measurement says, and what it does not
#
# The claim holds for the *median* row. The *mean* gradient without the scale does not fall: see the table. In a few rows two keys
# happen to be nearly tied, and there a tiny change of the query flips everything, all the more steeply the wider the vectors.
# So "the gradient vanishes" is half of it: without the scale, most rows learn nothing and a few learn in jumps.
#
# Nor does it say that √D is right *after* training. The argument needs independent numbers. A query that equals its key is the
# other extreme:

# %%
for d in (4, 64, 1024):
    q = np.random.default_rng(d).standard_normal((2000, d))
    print(f"d = {d:4}: a vector with itself scores {(q * q).sum(axis=-1).mean() / math.sqrt(d):.0f} on average, scaled")

# %% [markdown]
# Scaled, it still grows like √d: for aligned vectors the divisor would have to be D. Some models therefore divide by D
# (Yang et al. 2022) or normalise q and k first (Dehghani et al. 2023). Which is better in training was not tested here.

# %% [markdown]
# ## Where you will meet this
#
# | where | the line |
# |---|---|
# | PyTorch | `F.scaled_dot_product_attention(q, k, v, attn_mask)`; a boolean mask is True = may attend, as here |
# | BERT | `attention_scores / math.sqrt(self.attention_head_size)`, then a mask of 0 and very negative numbers is *added* |
# | Llama, vLLM | `self.scaling = self.head_dim**-0.5` |
# | T5 | no division: its initial weights are made smaller instead |
#
# The width is always that of *one head*. In PyTorch's `nn.MultiheadAttention` a boolean mask means the opposite: True =
# hidden. Read the documentation of every mask.

# %%
import torch

tensors = [torch.from_numpy(part) for part in (x, x, x, np.tri(8, dtype=bool))]
theirs = torch.nn.functional.scaled_dot_product_attention(*tensors)
ours, _ = mine.scaled_dot_product_attention(x, x, x, np.tri(8, dtype=bool))
print("PyTorch agrees:", np.allclose(theirs.numpy(), ours))

# %% [markdown]
# ## The wider model, answered
#
# Going from 4 to 1024 numbers made the scores spread √(1024 / 4) = 16 times as far. The softmax put nearly all weight on one key, its
# Jacobian was nearly 0 in most rows, and hardly any gradient came back to q and k. Nothing was NaN, because a saturated softmax is a
# valid one. Dividing the scores by √D gives the wide model the weights and gradients of the narrow one.

# %% [markdown]
# ## To say to a colleague
#
# - Attention is softmax(q kᵀ / √D) v: products, shares over the keys, an average.
# - A product of D independent numbers has standard deviation √D; the softmax must not notice.
# - The scale keeps the ranking of the keys, and keeps the gradient alive.
# - A mask sets scores to −∞ *before* the softmax, so that the rest still sums to 1.

# %% [markdown]
# ## In your own words
#
# ### Exercise · reflection_03 (8 min, ●●○)
#
# Explain to someone who has never heard of the scale why attention divides by √D. Follow the numbers from the width of the vectors
# to the scores, from the scores to the weights, from the weights to learning, and say what the division changes and what it
# leaves as it was. Four to six sentences.

# %%
### BEGIN SOLUTION
#: reflection_03 = """
#: """
reflection_03 = """
A score is a sum of D products. If the numbers are independent with variance 1, the variances add up, and the scores
have standard deviation √D: the wider the vectors, the further apart the scores lie. A softmax turns differences of
scores into ratios of weights, so widely spread scores put nearly all weight on a single key.

There its Jacobian, diag(p) − p pᵀ, is almost 0: a small change of q or k changes no weight, and for most queries hardly
any gradient comes back. Dividing by √D brings the standard deviation back to 1 at every width, so the weights are
spread and the gradient has the same size in a narrow and in a wide model. The ranking of the keys does not change,
since all scores of a row are divided by the same positive number.
"""
### END SOLUTION

# %%
reflect("reflection_03", reflection_03)

# %% [markdown]
# ## Papers
#
# - Vaswani, Shazeer, Parmar, Uszkoreit, Jones, Gomez, Kaiser, Polosukhin 2017, *Attention Is All You Need*, section 3.2.1 and
#   footnote 4, arXiv:1706.03762. The formula, and the argument for the scale.
# - Luong, Pham, Manning 2015, *Effective Approaches to Attention-based Neural Machine Translation*, section 3.1,
#   arXiv:1508.04025. The dot product as a score, without a scale.
# - Yang, Hu, Babuschkin and others 2022, *Tensor Programs V*, definition 4.1, arXiv:2203.03466. Division by D.
# - Dehghani, Djolonga, Mustafa and others 2023, *Scaling Vision Transformers to 22 Billion Parameters*, section 2,
#   arXiv:2302.05442. Queries and keys normalised before the product.
