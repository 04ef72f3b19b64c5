# %% [markdown]
# # 10 · What does full self-attention cost?
#
# About 80 minutes. You need notebook 01 (softmax), notebook 03 (scaled dot-product attention), and logarithms.
#
# You will be able to
#
# - count the operations and the bytes of attention for any number of tokens, before running it;
# - read from measurements with which power of n a cost grows;
# - compute exact attention without ever holding the n × n matrix, in two ways;
# - say what that saves and what it leaves as it was.

# %% [markdown]
# ## A puzzle: the missing matrix
#
# One head, 64 numbers wide, reads a long book of 100 000 tokens. What goes in and what comes out is small:

# %%
import math

import numpy as np

from autograder import check, hint, mine, progress, reflect
from autograder.material.sentence import WORDS, embeddings

TOKENS, WIDTH = 100_000, 64
in_and_out = 4 * TOKENS * WIDTH * 2  # q, k, v and out, in float16: 2 bytes a number
print(f"q, k, v and out of {TOKENS} tokens: {in_and_out / 1e6:.1f} MB")

# %% [markdown]
# Between input and output stands a matrix with one score for every pair of tokens, and that is one head of many. Yet
# models read such books, and compute the very softmax that this matrix defines, without leaving anything out.
#
# How large would the matrix be, and where is it? Keep a guess in mind; the end of this notebook answers with
# measurements.

# %% [markdown]
# ## Two products, counted
#
# Begin with the eight words of the course's sentence, four numbers each. A product added to a sum, `s += a * b`, is one
# **multiply-add**. Count them while the scores are made.

# %%
x = embeddings()  # (n, D) = (8, 4)
counted = 0
by_loops = np.zeros((8, 8))
for i in range(8):  # each query
    for j in range(8):  # with each key
        for c in range(4):  # along the width
            by_loops[i, j] += x[i, c] * x[j, c]
            counted += 1
print("they agree:", np.allclose(by_loops, x @ x.T))
print(f"multiply-adds of q kᵀ: {counted} = 8 · 8 · 4")

# %% [markdown]
# A multiply-add is two floating-point operations, a product and a sum: two **FLOPs**. The second product, weights·v, is
# three loops as well: for each query, and each number of a value, a sum over the keys.
#
# Two things are left out of the count, as is usual. The softmax takes a handful of operations for each score, whatever
# the widths are. And the projections to q, k and v belong to the layer around attention; they come back below.

# %% [markdown]
# ### Exercise · attention_flops (6 min, ●○○)
#
# Count the FLOPs of the two products q kᵀ and weights·v: `b` sequences, `h` heads, `n_q` queries and `n_k` keys, `d`
# numbers in a query and a key of one head, `d_v` in a value. Return an int, exact however large. By hand: the eight
# words, `attention_flops(1, 1, 8, 8, 4, 4)`, give 8 · 8 · 4 multiply-adds twice, 512 in all, so 1024.


# %%
def attention_flops(b, h, n_q, n_k, d, d_v):
    """Count the floating-point operations of the two products of attention.

    b:        how many sequences.
    h:        how many heads, each with its own products.
    n_q, n_k: how many queries and keys a sequence has.
    d, d_v:   how many numbers a query or key, and a value, of one head has.
    Returns an int: 2 for each multiply-add of q kᵀ and of weights·v; softmax and projections are not counted.
    """
    ### BEGIN SOLUTION
    scores = n_q * n_k * d
    output = n_q * d_v * n_k
    return 2 * b * h * (scores + output)
    ### END SOLUTION


# %%
check("attention_flops", attention_flops)

# %%
for n in (1024, 2048, 4096):
    flops = mine.attention_flops(1, 12, n, n, 64, 64)
    print(f"{n} tokens, 12 heads of width 64: {flops / 1e9:5.1f} billion FLOPs")

# %% [markdown]
# Twice the tokens, four times the FLOPs. That is the **quadratic** cost of Vaswani et al., table 1: n² · d for one
# layer.

# %% [markdown]
# ## What has to be held
#
# FLOPs take time. Bytes take room, and room runs out first: a program that is slow ends, one that does not fit never
# starts. Written as one line, softmax(q kᵀ / √D) v first makes *all* scores, then all weights, then the output. At one
# moment the whole table of scores is there, for every head of every sequence.

# %% [markdown]
# ### Exercise · score_bytes (4 min, ●○○)
#
# How many bytes do all scores take, for `b` sequences of `n` tokens, `h` heads, and `bytes_per` bytes for one number?
# Every token is a query and a key. Return an int. By hand: the eight words in float32, `score_bytes(1, 1, 8, 4)`, have
# 64 scores of 4 bytes each, 256 in all.


# %%
def score_bytes(b, h, n, bytes_per):
    """Count the bytes of all attention scores, held at once.

    b:         how many sequences.
    h:         how many heads, each with its own scores.
    n:         how many tokens a sequence has, each a query and a key.
    bytes_per: bytes of one number, 4 for float32, 2 for float16.
    Returns an int.
    """
    ### BEGIN SOLUTION
    return b * h * n * n * bytes_per
    ### END SOLUTION


# %%
check("score_bytes", score_bytes)

# %%
for n in (128, 256, 512, 4096, TOKENS):
    table, rest = mine.score_bytes(1, 1, n, 2), 4 * n * WIDTH * 2
    print(f"{n:6} tokens: scores {table / 1e6:9.2f} MB, the rest {rest / 1e6:6.2f} MB, ratio {table / rest:6.1f}")
    assert table / rest == n / (4 * WIDTH)

# %% [markdown]
# The ratio is n / (4 D). Up to n = 4 D, here 256 tokens, the scores are the smaller part, and nobody needs to think
# about them. Beyond that they soon are nearly everything. The last line is the matrix of the puzzle: for one head.

# %% [markdown]
# ## Reading an exponent
#
# A cost that grows like y = c · nᵖ is hard to recognise on ordinary axes. Take logarithms of both:
#
# $$\log y = \log c + p \,\log n$$
#
# This is a straight line, and its slope is the exponent p. The factor c, which depends on the machine and on the units,
# only moves the line up or down.
#
# By hand: if n doubles and y becomes four times as large, the slope is log 4 / log 2 = 2. The base of the logarithm
# cancels.

# %%
for factor in (2, 4, 8):
    print(f"n doubles, y times {factor}: exponent {math.log(factor) / math.log(2):.0f}")

# %% [markdown]
# Measured points do not lie exactly on a line. The first and the last alone would decide everything and the others
# nothing. So take the line with the smallest sum of squared vertical distances to all points. With X = log n, Y = log
# y, and their means X̄ and Ȳ, its slope is
#
# $$p = \frac{\sum_i (X_i - \bar X)(Y_i - \bar Y)}{\sum_i (X_i - \bar X)^2}$$

# %% [markdown]
# ### Exercise · fit_exponent (8 min, ●●○)
#
# Given sizes `ns` and costs `ys`, arrays or lists of m ≥ 2 positive numbers in any order, return the slope of the
# least-squares line through the points (log n, log y), a number. An n may come again, as in repeated measurements:
# each of its points counts. By hand: `fit_exponent([1, 2], [3, 12])` is log 4 /
# log 2 = 2.


# %%
def fit_exponent(ns, ys):
    """Find the power of n with which y grows.

    ns: (m,) positive numbers, array or list, in any order; one may come again, but not all are the same.
    ys: (m,) positive numbers, array or list; ys[i] was measured at ns[i].
    Returns the slope of the least-squares line through the points (log n, log y), a number.
    """
    ### BEGIN SOLUTION
    x, y = np.log(ns), np.log(ys)
    x, y = x - x.mean(), y - y.mean()
    return (x * y).sum() / (x * x).sum()
    ### END SOLUTION


# %%
check("fit_exponent", fit_exponent)

# %% [markdown]
# An exponent belongs to a *range* of n. A whole layer also has four projections of its width C: 8 · n · C² FLOPs that
# grow with n alone. Together, for C = 768:

# %%
def layer_flops(n, c=768):
    """FLOPs of the four projections and the two products of a layer of width c, in 12 heads."""
    return 8 * n * c * c + mine.attention_flops(1, 12, n, n, c // 12, c // 12)


for ns in ([64, 128, 256], [1024, 2048, 4096], [32_768, 65_536, 131_072]):
    p = mine.fit_exponent(ns, [layer_flops(n) for n in ns])
    print(f"n from {ns[0]} to {ns[-1]}: the layer's FLOPs grow like n^{p:.2f}")

# %% [markdown]
# For short texts this layer is nearly *linear* in n: the projections are most of it. The products overtake them at
# n = 2 C. So "attention is quadratic" is a statement about long texts. The memory of the scores, though, is quadratic
# everywhere.

# %%
products = mine.attention_flops(1, 12, 1536, 1536, 64, 64)
print("at n = 2 C the products take as much as the projections:", products == 8 * 1536 * 768**2)

# %% [markdown]
# ## A row needs only its own scores
#
# Now the memory. Here is full attention, as thrifty as it can be: it holds one matrix, and overwrites it in place.
# Python's `tracemalloc` reports the most that was held at once. It sees NumPy's arrays, and not those of PyTorch: that
# is why this notebook is written in NumPy.

# %%
def full_attention(q, k, v):
    """softmax(q kᵀ / √D) v with the whole matrix, (n, n), held once."""
    weights = q @ k.T
    weights /= math.sqrt(q.shape[1])
    weights -= weights.max(axis=1, keepdims=True)
    np.exp(weights, out=weights)
    weights /= weights.sum(axis=1, keepdims=True)
    return weights @ v


# %%
import tracemalloc


def peak_bytes(f, *inputs):
    """The most memory that a call held at once, on top of its inputs."""
    tracemalloc.start()
    f(*inputs)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


# %%
def random_qkv(n, width=16, seed=0):
    """q, k and v, each (n, width), standard normal, float32."""
    return np.random.default_rng([seed, n]).standard_normal((3, n, width), dtype=np.float32)


q, k, v = random_qkv(2048)
scores_alone = mine.score_bytes(1, 1, 2048, 4)
print(f"the scores of 2048 tokens: {scores_alone / 1e6:.1f} MB")
print(f"full attention held:       {peak_bytes(full_attention, q, k, v) / 1e6:.1f} MB")

# %% [markdown]
# The count was right: the scores, and little else. Is there a moment when all of it is *needed*? Row `i` of the output
# is the softmax of row `i` of the scores, times v. No other row enters. So make one row, use it, forget it:

# %%
row_by_row = np.zeros((8, 4))
for i in range(8):
    row = x[i] @ x.T / math.sqrt(4)  # (n,): the scores of one query
    row_by_row[i] = mine.softmax(row) @ x  # and now the row is forgotten
print("they agree:", np.allclose(row_by_row, full_attention(x, x, x)))

# %% [markdown]
# One row at a time is slow in NumPy, since each step does little work. Take `chunk` queries at a time: a (chunk, n)
# strip of the scores. The keys and values are needed whole, by every strip. The last strip is shorter if chunk does not
# divide n; a slice past the end of an array takes what is there:

# %%
print([len(x[start : start + 3]) for start in range(0, 8, 3)])

# %% [markdown]
# ### Exercise · chunked_attention (12 min, ●●○)
#
# Compute softmax(q kᵀ / √D) v exactly, `chunk` queries at a time: `q` and `k` are `(T, D)`, `v` is `(T, Dv)`, the
# result is `(T, Dv)` in the dtype of the inputs, which stay as they are. `chunk` may be larger than T and need not
# divide it; scores may lie beyond ±10 000. The memory is judged with tracemalloc: use NumPy alone, and hold no more
# than a few `(chunk, T)` arrays. By hand: T = 8 and chunk = 3 make strips of 3, 3 and 2 queries.


# %%
def chunked_attention(q, k, v, chunk):
    """Exact attention of a few queries at a time.

    q, k:  (T, D) float arrays.
    v:     (T, Dv) float array.
    chunk: int ≥ 1, how many queries are taken at a time; need not divide T, may be larger.
    Returns softmax(q kᵀ / √D) v, (T, Dv) in the dtype of the inputs. Extra memory O(chunk · T + T · (D + Dv)).
    Source: Rabe & Staats 2021, section 2, with whole rows.
    """
    ### BEGIN SOLUTION
    out = np.empty((len(q), v.shape[1]), dtype=v.dtype)
    for start in range(0, len(q), chunk):
        scores = q[start : start + chunk] @ k.T / math.sqrt(q.shape[1])  # (chunk, T), the last one shorter
        e = np.exp(scores - scores.max(axis=1, keepdims=True))
        out[start : start + chunk] = e / e.sum(axis=1, keepdims=True) @ v
    return out
    ### END SOLUTION


# %%
check("chunked_attention", chunked_attention)

# %%
previous = peak_bytes(full_attention, q, k, v)
print(f"full attention held {previous / scores_alone:.0%} of the scores' memory")
for chunk in (128, 32, 8):
    peak = peak_bytes(mine.chunked_attention, q, k, v, chunk)
    same = np.allclose(mine.chunked_attention(q, k, v, chunk), full_attention(q, k, v), atol=1e-6)
    print(f"chunk = {chunk:3}: less than before: {peak < previous}, the same output: {same}")
    previous = peak

# %% [markdown]
# ## A softmax that never sees the whole row
#
# Strips of queries still need every key at once. That is a pity where keys arrive one block after the other: from
# another computer, from a slow memory into a small fast one, or one new token at a time. A strip of *keys* looks
# impossible: a softmax divides by the sum of its whole row.
#
# But the division can wait. The output of one query is a quotient of two sums over the keys,
#
# $$\text{out} = \frac{\sum_j e^{s_j}\, v_j}{\sum_j e^{s_j}}$$
#
# and sums may be taken in pieces. By hand, the row of *hot* in blocks of three words:

# %%
s = x[WORDS.index("hot")] @ x.T / math.sqrt(4)  # (8,): the scores of hot with every word
above, below = np.zeros(4), 0.0
for start in range(0, 8, 3):
    e = np.exp(s[start : start + 3])
    above, below = above + e @ x[start : start + 3], below + e.sum()
    print(f"after {WORDS[start:start + 3]}: the sum below is {below:.3f}")
hot = full_attention(x, x, x)[WORDS.index("hot")]
print("above / below is what full attention gives:", np.allclose(above / below, hot))

# %% [markdown]
# What is missing is the maximum. exp(1000) overflows, so a softmax subtracts the largest score of the row first. Which
# is the largest is known only at the end of the row.

# %% [markdown]
# Use the largest *so far*, m. The sum so far is ℓ = Σ exp(sⱼ − m). When a block brings a larger maximum m′, all earlier
# terms should have been exp(sⱼ − m′), and
#
# $$e^{s_j - m'} = e^{s_j - m}\; e^{m - m'}$$
#
# The same factor, exp(old − new), corrects all of them at once. Multiply both sums by it, then add the block. It is at
# most 1, so nothing overflows.

# %%
m, total = -math.inf, 0.0  # nothing seen yet
for start in range(0, 8, 3):
    block = s[start : start + 3]
    new = max(m, block.max())
    factor = math.exp(m - new)  # exp(−∞) = 0 at the first block: there is nothing to correct
    total = total * factor + np.exp(block - new).sum()
    print(f"{WORDS[start:start + 3]}: maximum {new:.3f}, factor {factor:.3f}, sum {total:.3f}")
    m = new
print("the sum of the whole row:", np.exp(s - s.max()).sum().round(3))

# %% [markdown]
# This is the **online softmax** (Milakov & Gimelshein 2018). Watch it on a longer row, whose scores rise along the
# keys, and beside it the same without the factor.

# %%
row = np.random.default_rng(4).standard_normal(64) + np.linspace(0, 3, 64)  # scores of one query with 64 keys


def running(row, block, rescale):
    """Running maximum and running sum of a row, after each block of keys: (2, blocks)."""
    m, total, seen = -math.inf, 0.0, []
    for start in range(0, len(row), block):
        new = max(m, row[start : start + block].max())
        total = total * (math.exp(m - new) if rescale else 1) + np.exp(row[start : start + block] - new).sum()
        m = new
        seen.append((m, total))
    return np.array(seen).T


# %%
import matplotlib.pyplot as plt

from autograder.material import plots

ends = np.arange(4, 65, 4)  # how many keys have been seen after each block of 4
maxima, sums = running(row, 4, rescale=True)
_, unscaled = running(row, 4, rescale=False)
true_sum = np.exp(row - row.max()).sum()
print("with the factor, the last sum is that of the row:", np.isclose(sums[-1], true_sum))
print("without it, the last sum is too large:", unscaled[-1] > true_sum)

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.1), layout="constrained")
left.plot(np.arange(1, 65), row, ".", color=plots.COLOURS["data"], label="score of a key")
left.step(ends, maxima, where="post", color=plots.COLOURS["key"], label="running maximum")
right.plot(ends, unscaled, "s-", color=plots.COLOURS["other"], label="never rescaled", markersize=4)
right.plot(ends, sums, "o-", color=plots.COLOURS["value"], label="rescaled by exp(old − new)", markersize=4)
right.axhline(true_sum, color=plots.COLOURS["truth"], linestyle=":", label="sum of the whole row")
for ax, name in ((left, "score"), (right, "running sum")):
    ax.set(xlabel="keys seen", ylabel=name)
    ax.legend()
alt = "Left: 64 rising scores and their running maximum, a staircase. Right: the rescaled sum falls where the maximum "
alt += "steps up and ends on the true sum; never rescaled it only rises and ends far above it."
plots.show(figure, alt)

# %% [markdown]
# Where the maximum steps up by much, left, the green sum, right, is cut down: it is corrected on the spot, and ends on
# the dotted line. Without the factor, in orange, early keys are measured from a maximum that was too low and count too
# much: weights that are divided by this sum add up to less than 1.

# %% [markdown]
# ### The state of a query
#
# A query carries three things from block to block: its maximum, its sum ℓ, and its unfinished output Σ exp(sⱼ − m) vⱼ.
# The output is corrected by the same factor as the sum, and divided by it once, after the last block. All queries go
# through a block together:
#
# | what | shape |
# |---|---|
# | scores of the block | (T, block) |
# | running maximum, running sum | (T, 1) each |
# | unfinished output | (T, Dv) |

# %% [markdown]
# ### Exercise · online_attention (20 min, ●●●)
#
# Compute softmax(q kᵀ / √D) v exactly, in one pass over blocks of `block` keys and values: `q` and `k` are `(T, D)`,
# `v` is `(T, Dv)`, the result is `(T, Dv)` in the dtype of the inputs, which stay as they are. Scores may lie
# beyond ±10 000, also all of a row. Memory is judged as before: a few `(T, block)` arrays, all queries going through a
# block together. By hand, `q = [[1], [1]]`, `k = [[0], [ln 3]]`, `v = [[8], [4]]`, block 1: first m = 0, ℓ = 1, output
# 8; then the factor is 1/3, ℓ = 1/3 + 1, output 8/3 + 4, and their quotient is 5.


# %%
def online_attention(q, k, v, block):
    """Exact attention in one pass over blocks of keys, without a whole row of scores.

    q, k:  (T, D) float arrays.
    v:     (T, Dv) float array.
    block: int ≥ 1, how many keys are taken at a time; need not divide T, may be larger.
    Returns softmax(q kᵀ / √D) v, (T, Dv) in the dtype of the inputs. Extra memory O(T · (block + D + Dv)).
    Source: Milakov & Gimelshein 2018, section 3; Dao et al. 2022, algorithm 1.
    """
    ### BEGIN SOLUTION
    top = np.full((len(q), 1), -np.inf, dtype=q.dtype)  # running maximum
    total = np.zeros((len(q), 1), dtype=q.dtype)  # running sum of exponentials
    out = np.zeros((len(q), v.shape[1]), dtype=v.dtype)  # unfinished output
    for start in range(0, len(k), block):
        scores = q @ k[start : start + block].T / math.sqrt(q.shape[1])  # (T, block), the last one narrower
        new = np.maximum(top, scores.max(axis=1, keepdims=True))
        factor = np.exp(top - new)
        e = np.exp(scores - new)
        total = total * factor + e.sum(axis=1, keepdims=True)
        out = out * factor + e @ v[start : start + block]
        top = new
    return out / total
    ### END SOLUTION


# %%
check("online_attention", online_attention)

# %% [markdown]
# *"It is a fast approximation."* People say so because it sounds too good. Nothing is left out: the same exponentials
# are added in another order. Compare both with a computation in float64, in which neither has anything to hide:

# %%
exact = full_attention(*random_qkv(2048).astype(np.float64))
for name, out in (("full", full_attention(q, k, v)), ("online", mine.online_attention(q, k, v, 64))):
    print(f"{name:6} float32 is off by less than a millionth:", np.abs(out - exact).max() < 1e-6)
words = mine.online_attention(x, x, x, 3)
print("the sentence, as in notebook 03:", np.allclose(words, mine.scaled_dot_product_attention(x, x, x)[0]))

# %% [markdown]
# Where is the memory now? Below, the n × n scores of 1024 tokens, drawn to scale, with pieces of 128.

# %%
def held(ax, title, f, rows, columns, size=1024):
    """Draw which part of the scores exists at one moment, and say what was measured."""
    share = peak_bytes(f, *random_qkv(size)) / mine.score_bytes(1, 1, size, 4)
    ax.imshow(np.full((8, 8), 0.12), cmap="Greys", vmin=0, vmax=1, extent=(0, size, size, 0))
    box = plt.Rectangle((columns[0], rows[0]), columns[1] - columns[0], rows[1] - rows[0], color=plots.COLOURS["other"])
    ax.add_patch(box)
    ax.set(title=f"{title}: {share:.2f} of the scores' memory", xticks=(0, size), yticks=(0, size))
    ax.set_xlabel("keys", color=plots.COLOURS["key"])


# %%
figure, axes = plt.subplots(1, 3, figsize=(10, 3.4), layout="constrained")
held(axes[0], "full", full_attention, (0, 1024), (0, 1024))
held(axes[1], "chunked", lambda q, k, v: mine.chunked_attention(q, k, v, 128), (384, 512), (0, 1024))
held(axes[2], "online", lambda q, k, v: mine.online_attention(q, k, v, 128), (0, 1024), (384, 512))
axes[0].set_ylabel("queries", color=plots.COLOURS["query"])
alt = "Three squares, queries down and keys across. Full: all of it is held. Chunked: one strip of rows. Online: one "
alt += "strip of columns. The titles give the measured share of the memory of all scores."
plots.show(figure, alt)

# %% [markdown]
# In orange what exists at one moment: everything, a strip of rows, a strip of columns. The titles are measured peaks; a
# strip is an eighth of the square, and an implementation that holds several arrays of its size has a larger peak.

# %% [markdown]
# ## Twice as long
#
# Before the measurement, commit yourself.
#
# ### Exercise · doubling (2 min, ●●○)
#
# The text gets twice as long, `block` stays. By which factor grow (1) the memory of full attention, (2) the memory of
# online attention, (3) the FLOPs of online attention? Take n so large that the largest part decides. Answer with a
# tuple of three numbers; `(1, 1, 1)` would say that nothing grows.

# %%
### BEGIN SOLUTION
#: doubling = ...  # your prediction: (memory full, memory online, FLOPs online)
doubling = (4, 2, 4)
### END SOLUTION

# %%
check("doubling", doubling)

# %% [markdown]
# ## Measure the claim
#
# The claim: full attention takes time and memory that grow like n²; online attention brings the memory to n¹, and
# leaves the FLOPs at n². So: three functions, n from 512 to 8192, width 16, pieces of 64, float32. Memory is the same
# in every run. Time is not, since other programs want the processor too: so three runs on other random numbers, and
# where a call is short, the shortest of several.

# %% tags=["experiment"]
import time

SIZES = [512, 1024, 2048, 4096, 8192]
WAYS = {
    "full": full_attention,
    "chunked": lambda q, k, v: mine.chunked_attention(q, k, v, 64),
    "online": lambda q, k, v: mine.online_attention(q, k, v, 64),
}


# %% tags=["experiment"]
def seconds(f, n, seed):
    """The time of a call on the random numbers of a seed; where a call is short, the shortest of several."""
    inputs, taken = random_qkv(n, seed=seed), []
    for _ in range(max(1, SIZES[-2] // n)):
        start = time.perf_counter()
        f(*inputs)
        taken.append(time.perf_counter() - start)
    return min(taken)


# %% tags=["experiment"]
peaks = {way: [peak_bytes(f, *random_qkv(n)) for n in SIZES] for way, f in WAYS.items()}
times = {way: np.array([[seconds(f, n, seed) for n in SIZES] for seed in range(3)]) for way, f in WAYS.items()}

# %% tags=["experiment"]
memory = {way: mine.fit_exponent(SIZES, peaks[way]) for way in WAYS}
flops = mine.fit_exponent(SIZES, [mine.attention_flops(1, 1, n, n, 16, 16) for n in SIZES])
for way, p in memory.items():
    twice = peaks[way][-1] / peaks[way][-2]
    print(f"{way:7}: peak memory like n^{p:.1f}, from 4096 to 8192 times {twice:.1f}; counted FLOPs like n^{flops:.1f}")
assert 1.9 < memory["full"] < 2.05
assert 0.9 < memory["chunked"] < 1.1 and 0.9 < memory["online"] < 1.1

# %% tags=["experiment", "nbval-ignore-output"]
print("time at n = 8192, and exponents: the best of three runs; in brackets, of each run alone")
for way, runs in times.items():
    each = [mine.fit_exponent(SIZES, run) for run in runs]
    best = mine.fit_exponent(SIZES, runs.min(axis=0))
    print(f"{way:7}: {runs.min(axis=0)[-1]:.2f} s, n^{best:.2f} ({min(each):.2f} to {max(each):.2f})")

# %% tags=["experiment"]
STYLES = {"full": ("truth", "s"), "chunked": ("query", "^"), "online": ("value", "o")}


def curve(ax, ns, way, ys):
    """Measured points of one way, and the fitted line through them with its exponent."""
    p = mine.fit_exponent(ns, ys)
    colour, marker = STYLES[way]
    line = np.exp(np.mean(np.log(ys)) + p * (np.log(ns) - np.mean(np.log(ns))))
    ax.plot(ns, ys, marker, color=plots.COLOURS[colour], label=f"{way}: n^{p:.2f}")
    ax.plot(ns, line, color=plots.COLOURS[colour], linewidth=1)


# %% tags=["experiment"]
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
for way in WAYS:
    curve(left, SIZES, way, np.array(peaks[way]) / 1e6)
    curve(right, SIZES, way, times[way].min(axis=0))
for ax, name in ((left, "peak memory (MB)"), (right, "time (s), best of 3 runs")):
    ax.set(xscale="log", yscale="log", xlabel="n, tokens", ylabel=name)
    ax.set_xticks(SIZES, SIZES, minor=False)
    ax.minorticks_off()
    ax.legend()
alt = "Log-log. Left, peak memory: full attention rises with slope two; chunked and online rise with slope one and end "
alt += "far below. Right, time: none of the three is near slope one."
plots.show(figure, alt)

# %% [markdown]
# Left, two slopes: the memory of full attention is quadratic, that of the other two, whose points nearly coincide, is
# linear. Right, no such difference: all three lines are far steeper than n, since no pair of tokens was left out. (Time
# depends on what else the machine does: on a busy one the points on the right wander. That is why memory is graded here,
# and time only shown.)

# %% [markdown]
# At n = 8192 with blocks of 16 keys, the whole of it beside the scores that were never held:

# %% tags=["experiment"]
q, k, v = random_qkv(8192)
table = mine.score_bytes(1, 1, 8192, 4)
share = peak_bytes(mine.online_attention, q, k, v, 16) / table
print(f"the scores of 8192 tokens would take {table / 1e6:.0f} MB")
print("online attention held less than 2 % of that:", share < 0.02)
same = np.allclose(mine.online_attention(q, k, v, 16), full_attention(q, k, v), rtol=1e-4, atol=1e-6)
print("the same numbers as full attention:", same)
assert same
assert share < 0.05, f"{share:.1%}: how many arrays of (T, block) are held at once?"

# %% [markdown]
# ## What the measurement says, and what it does not
#
# The claim holds for memory: n² became n, and the numbers are the same. It holds for FLOPs, which were counted. Time
# follows the FLOPs only roughly, since loops in Python and the way to memory take time as well; their parts were not
# measured. Its exponent describes these five points on one machine.
#
# *"So attention is linear now."* It is the memory that is. Twice the text is still four times the work; notebook 11 is
# about leaving pairs out, which is another matter: it changes the result.

# %% [markdown]
# Not tested here: graphics cards, for which Dao et al. (2022) report a gain in *time* as well, because a block that
# stays in the small fast memory of the chip need not travel; and training, which needs the weights once more, and
# recomputes them from m and ℓ.

# %% [markdown]
# ## Where you will meet this
#
# | where | the line |
# |---|---|
# | PyTorch | `F.scaled_dot_product_attention(q, k, v)` picks a fused kernel where one fits; `sdpa_kernel(SDPBackend.FLASH_ATTENTION)` insists |
# | Llama in Hugging Face's Transformers | `attn_implementation="flash_attention_2"` |
# | vLLM | keys and values in blocks (pages); partial outputs are joined by their maxima and sums |
# | Triton's tutorial on fused attention | `m_i`, `l_i`, `acc`: maximum, sum, unfinished output |
#
# These kernels never return the weights: the matrix that a heatmap would show does not exist.

# %%
import torch

theirs = torch.nn.functional.scaled_dot_product_attention(*[torch.from_numpy(x)[None]] * 3)[0]
print("PyTorch agrees:", np.allclose(theirs.numpy(), mine.online_attention(x, x, x, 3)))

# %% [markdown]
# ## The missing matrix, answered
#
# It does not exist. Of each row a block is there, for a moment, and two numbers and an unfinished output remember the
# rest.

# %%
block = 64
state = TOKENS * (block + 2 + WIDTH) * 2
print(f"all scores of one head: {mine.score_bytes(1, 1, TOKENS, 2) / 1e9:.0f} GB in float16")
print(f"a block of scores, maximum, sum and output of every query: {state / 1e6:.1f} MB")
print(f"FLOPs, in both cases: {mine.attention_flops(1, 1, TOKENS, TOKENS, WIDTH, WIDTH) / 1e12:.2f} million million")

# %% [markdown]
# ## To say to a colleague
#
# - Full attention takes 2 · n² · (D + Dv) FLOPs a head, and n² scores if they are all held at once.
# - Nobody has to hold them: a row needs only its own scores, and a softmax can be taken block by block.
# - A running maximum, a running sum, and one factor, exp(old − new), make that exact.
# - Memory falls from n² to n. The work stays n², since every pair is still scored.

# %% [markdown]
# ## In your own words
#
# ### Exercise · reflection_10 (8 min, ●●○)
#
# A colleague says: "a softmax needs the sum of its whole row, so attention needs the n × n matrix; whatever avoids it
# must be an approximation, and then it is linear". Explain what is right and what is wrong in that: what a query keeps,
# what happens when a larger score arrives, what the result is, and which costs change. Four to six sentences.

# %%
### BEGIN SOLUTION
#: reflection_10 = """
#: """
reflection_10 = """
A softmax does need the sum of its whole row, but not the whole row at once. Output and sum are two sums over the keys,
and the division can wait for the last block. A query keeps the largest score so far, the sum of exponentials measured
from it, and an unfinished output; the scores of a block are forgotten as soon as they have been added.

When a larger score arrives, everything summed so far was measured from too low a maximum. The mistake is one and the
same factor for all terms, so multiplying sum and output by exp(old − new) repairs it. The result is the same softmax,
apart from rounding: nothing was left out, only the order of the additions changed.

What falls is the memory, from n² to n. The work does not: every query still meets every key, so a text
of twice the length takes four times the FLOPs, with or without the matrix.
"""
### END SOLUTION

# %%
reflect("reflection_10", reflection_10)

# %% [markdown]
# ## Papers
#
# - Vaswani, Shazeer, Parmar, Uszkoreit, Jones, Gomez, Kaiser, Polosukhin 2017, *Attention Is All You Need*, section 4
#   and table 1, arXiv:1706.03762. The cost of a layer, n² · d.
# - Milakov, Gimelshein 2018, *Online normalizer calculation for softmax*, section 3, arXiv:1805.02867. The running
#   maximum and sum.
# - Rabe, Staats 2021, *Self-attention Does Not Need O(n²) Memory*, section 2, arXiv:2112.05682. Attention in pieces.
# - Dao, Fu, Ermon, Rudra, Ré 2022, *FlashAttention: Fast and Memory-Efficient Exact Attention with IO-Awareness*,
#   algorithm 1, arXiv:2205.14135. The same in blocks that fit into the fast memory of a graphics card.
