# %% [markdown]
# # 02 · What are queries, keys and values?
#
# About 70 minutes. You need notebook 01 (scores, softmax, soft lookup) and matrix products.
#
# You will be able to
#
# - name the three jobs that a token has in attention, and project a batch of sentences to queries, keys and values;
# - say what changes when queries and keys trade places, and why the rest does not;
# - write two matrices with which every token reads the one before it;
# - read from the products QK and OV who asks for whom and what is handed over.

# %% [markdown]
# ## A puzzle: *hot* finds itself
#
# *She dropped the pan because it was hot.* Which thing is hot? In notebook 01 a query was compared with keys by a
# product. Let every word ask with its own vector, and be found by its own vector: four numbers, made by hand.

# %%
import numpy as np

from autograder import check, hint, mine, progress, reflect
from autograder.material.sentence import FEATURES, WORDS, embeddings

x = embeddings()  # (T, C) = (8, 4): one row per word
print(f"{'':8}", *FEATURES)
for word, vector in zip(WORDS, x, strict=True):
    print(f"{word:8}", *(f"{number:{len(name)}.1f}" for name, number in zip(FEATURES, vector, strict=True)))

# %%
raw = x @ x.T  # (T, T): raw[i, j] says how well word j suits word i
hot, pan = WORDS.index("hot"), WORDS.index("pan")
for j in np.argsort(-raw[hot])[:3]:
    print(f"hot · {WORDS[j]:4} = {raw[hot, j]:.2f}")
print(f"pan · hot  = {raw[pan, hot]:.2f}")
print("equal to its transpose:", np.array_equal(raw, raw.T))

# %% [markdown]
# *Hot* suits *hot* best, and *pan* comes second. And *pan* suits *hot* exactly as much as *hot* suits *pan*: a product
# of two vectors has no direction. The sentence has one. *Hot* needs a thing to belong to; a pan needs no heat to be a
# pan.
#
# So, three questions. How can *hot* find *pan* rather than itself? How can it do so without *pan* finding *hot*? And
# once it has found it, what should *pan* tell that *hot* did not ask for? The end of this notebook answers all three.

# %% [markdown]
# ## Asking is a job of its own
#
# Give each word a second vector that says what it *looks for*: its **query**. Ours has three numbers: how much a *who*
# is wanted, how much a *what*, how much a *did*. A small table turns what a word is into what it looks for: an action
# looks for a who, heat looks for a what, a person looks for a did. One row per feature, one column per question.

# %%
QUESTIONS = ("who", "what", "did")
w_q = np.array(
    [  # who what did
        [0.0, 0.0, 1.0],  # person: what did she do?
        [0.0, 0.0, 0.0],  # thing: looks for nothing
        [1.0, 0.0, 0.0],  # action: who does it?
        [0.0, 1.0, 0.0],  # heat: what is hot?
    ]
)  # (C, D) = (4, 3)

# %% [markdown]
# By hand, for *hot*: each number of the query is a sum over the four features, how much of the feature the word has
# times how much the feature asks that question.

# %%
for d, question in enumerate(QUESTIONS):
    terms = " + ".join(f"{x[hot, c]:g}·{w_q[c, d]:g}" for c in range(4))
    print(f"{question:4} = {terms} = {sum(x[hot, c] * w_q[c, d] for c in range(4)):g}")

# %% [markdown]
# *Hot* asks for a *what* and for nothing else. The same sums for every word are one matrix product: row `i` of `x`
# times column `d` of `w_q`. The convention of this course is `x @ w`, with `w` of shape (in, out).

# %%
by_loops = np.zeros((8, 3))
for i in range(8):
    for d in range(3):
        for c in range(4):
            by_loops[i, d] += x[i, c] * w_q[c, d]
by_product = x @ w_q  # (T, C) times (C, D): (T, D)
print("they agree:", np.allclose(by_loops, by_product))

# %% [markdown]
# ## Being found is another
#
# A question is answered by words that can be *found* under it. A second table says under what a word is found: its
# **key**, in the same three numbers as the queries, since the two are to be compared. A person is found as a who, a
# thing as a what, an action as a did. Heat is not a heading here: *hot* is found as nothing much.

# %%
w_k = np.array(
    [  # who what did
        [1.0, 0.0, 0.0],  # person
        [0.0, 1.0, 0.0],  # thing
        [0.0, 0.0, 1.0],  # action
        [0.0, 0.0, 0.0],  # heat
    ]
)  # (C, D)
asks, found = x @ w_q, x @ w_k
print("hot asks, pan is found:", asks[hot] @ found[pan])
print("pan asks, hot is found:", asks[pan] @ found[hot])
print("hot asks, hot is found:", asks[hot] @ found[hot])

# %% [markdown]
# One pair of words now has two scores, one per direction, and *hot* suits itself less than *pan* does. The first two
# questions have their answer: a word asks with one vector and is found by another.

# %% [markdown]
# ## Three matrices for the whole sentence
#
# What a word hands over to whoever reads it is the third job: its **value**. It may hold what neither the question nor
# the key says. Here it passes on person, thing and heat, and keeps the action to itself. A value is never compared with
# anything, so its width `Dv` is free.

# %%
HANDED = ("person", "thing", "heat")
w_v = np.zeros((4, 3))  # (C, Dv)
for column, name in enumerate(HANDED):
    w_v[FEATURES.index(name), column] = 1.0
print("pan is found as  ", *(f"{name} {number:g}" for name, number in zip(QUESTIONS, x[pan] @ w_k, strict=True)))
print("pan hands over   ", *(f"{name} {number:g}" for name, number in zip(HANDED, x[pan] @ w_v, strict=True)))

# %% [markdown]
# ### Exercise · project_qkv (8 min, ●○○)
#
# Models project many sentences at once: `x` is `(B, T, C)`, and every token of every sentence meets the same three
# matrices. Return `q`, `k` and `v`, in this order, of shapes `(B, T, D)`, `(B, T, D)` and `(B, T, Dv)`.
#
# By hand: one sentence of one token, `x = [[[1, 2]]]`, with `w_q = [[1], [3]]`, gives `q = [[[7]]]`, since 1·1 + 2·3 =
# 7.


# %%
def project_qkv(x, w_q, w_k, w_v):
    """Project every token to what it asks, what it is found by, and what it hands over.

    x:        (B, T, C) float, T vectors in each of B sentences.
    w_q, w_k: (C, D) float.
    w_v:      (C, Dv) float.
    Returns q (B, T, D), k (B, T, D), v (B, T, Dv), in the dtype of the inputs.
    Source: Vaswani et al. 2017, section 3.2.2, without their split into heads.
    """
    ### BEGIN SOLUTION
    return x @ w_q, x @ w_k, x @ w_v
    ### END SOLUTION


# %%
check("project_qkv", project_qkv)

# %% [markdown]
# ## Who asks, who is found
#
# The sentence is a batch of one. Queries and keys give all scores at once: `q @ k.T` is `(T, T)`, row `i` asks, column
# `j` is found. Beside it stand the scores of the bare vectors.

# %%
from autograder.material import plots

q, k, v = (part[0] for part in mine.project_qkv(x[None], w_q, w_k, w_v))  # (T, D), (T, D), (T, Dv)
scores = q @ k.T  # (T, T)
assert scores[hot].argmax() == pan and scores[hot, pan] > scores[pan, hot]
assert np.array_equal(raw, raw.T) and not np.array_equal(scores, scores.T)
assert np.diagonal(raw).max() == raw.max() and np.diagonal(scores).max() < scores.max()

# %%
import matplotlib.pyplot as plt


def draw_map(table, ax, **style):
    plots.heatmap(table, WORDS, WORDS, ax, **style)
    ax.tick_params(axis="x", rotation=40)
    ax.set_xlabel("is found", color=plots.COLOURS["key"])
    ax.set_ylabel("asks", color=plots.COLOURS["query"])


# %%
figure, axes = plt.subplots(1, 2, figsize=(11.5, 3.9), layout="constrained")
draw_map(raw, axes[0], title="bare vectors: x xᵀ", limits=(0, 5))
draw_map(scores, axes[1], title="queries and keys: q kᵀ", limits=(0, 5))
plots.show(
    figure,
    "Two 8 by 8 score tables with the words on both axes. Left, bare vectors: symmetric, large on the diagonal. "
    "Right, queries and keys: not symmetric; hot scores pan highest, she and dropped score each other.",
)

# %% [markdown]
# Left, the table is its own mirror image, and its largest scores lie on the diagonal: words that suit themselves.
# Right, *hot* asks and *pan* is found, not the other way round. *She* and *dropped* find each other, because each has
# what the other asks for: direction allows mutual interest, it does not forbid it. Rows of zeros, as of *it*, ask for
# nothing; their weights will be even.

# %% [markdown]
# ### Exercise · swapped_roles (2 min, ●●○)
#
# Let q and k trade places: every word now asks with what it was found by and is found by what it asked, while `v`
# stays. As before, the weights are the softmax of each row of the scores, and the output is `weights @ v`. Each of
# `"scores"`, `"weights"`, `"output"` either comes back the same or transposed, entry `[j, i]` where `[i, j]` was, or
# changes *in another way*. Which do the latter? Commit to a set before you run the cell below: `{"scores"}`, for
# example, says that only the scores change other than by transposition.

# %%
### BEGIN SOLUTION
#: swapped_roles = ...  # your prediction: a set of those among "scores", "weights", "output"
swapped_roles = {"weights", "output"}
### END SOLUTION

# %%
check("swapped_roles", swapped_roles)


# %%
def attend(q, k, v):
    scores = q @ k.T
    weights = mine.softmax(scores)
    return {"scores": scores, "weights": weights, "output": weights @ v}


before, after = attend(q, k, v), attend(k, q, v)
for name in before:
    a, b = before[name], after[name]
    mirrored = a.shape == b.T.shape and np.allclose(a, b.T)
    print(f"{name:8} same: {np.allclose(a, b)!s:6} transposed: {mirrored}")

# %% [markdown]
# `k @ q.T` is `(q @ k.T).T`: the scores are only mirrored. But the softmax runs along rows, and what is a row now was a
# column before. Each asker shares out a total of 1; those who are found do not have to receive 1. That is where the two
# roles part, and other weights on the same values give another output.
#
# **A common belief**: "queries and keys are interchangeable, since the product is symmetric". For the scores it holds
# up to a transposition. For attention it does not.

# %% [markdown]
# ## Break it: hand over the keys
#
# Could a word simply hand over its key? Then there would be one matrix less. What *hot* reads, with its own weights:

# %%
weights = mine.softmax(scores)  # (T, T), rows sum to 1
for title, handed, names in (("values", v, HANDED), ("keys", k, QUESTIONS)):
    read = weights[hot] @ handed
    print(f"hot reads {title:6}:", ", ".join(f"{name} {number:.2f}" for name, number in zip(names, read, strict=True)))

# %% [markdown]
# *Hot* asked for a *what*. From keys it learns that there is a what, the very thing it asked for. From values it also
# learns that this thing is warm: temperature, then, and not spice. A key is what one is found by, and an answer that
# only repeats it says nothing new.

# %% [markdown]
# ## Break it: one matrix for asking and being found
#
# Now let `w_q = w_k`, so that `S = k kᵀ`, and look at token `a`, the one with the longest key. Its score with any
# other token `b` is a product of two lengths and a cosine: `S[a, b] ≤ |k_a| |k_b| ≤ |k_a|² = S[a, a]`. So no token
# suits `a` better than `a` itself does. Ties aside, at least one token of every sentence finds itself.

# %% [markdown]
# How much does that hurt? The experiment draws 20 sentences of 8 random tokens, gives each token another one to find,
# and learns the matrices by gradient descent.

# %% tags=["experiment"]
RUNS, T, C = 20, 8, 8
rng = np.random.default_rng(0)
tokens = rng.normal(size=(RUNS, T, C))
target = (np.arange(T) + rng.integers(1, T, size=(RUNS, T))) % T  # never the token itself
wanted = np.eye(T)[target]  # (RUNS, T, T): all weight on the target


def scores_of(w_ask, w_find):
    return (tokens @ w_ask) @ (tokens @ w_find).swapaxes(-1, -2)


# %% tags=["experiment"]
def learn(shared, width, steps=1000, rate=0.05):
    """Gradient descent on the cross-entropy; its gradient at the scores is weights − wanted."""
    w_ask, w_find = np.random.default_rng(1).normal(scale=0.1, size=(2, RUNS, C, width))
    for _ in range(steps):
        w_find = w_ask if shared else w_find
        error = tokens.swapaxes(-1, -2) @ (mine.softmax(scores_of(w_ask, w_find)) - wanted) @ tokens / T
        to_ask, to_find = error @ w_find, error.swapaxes(-1, -2) @ w_ask
        w_ask = w_ask - rate * (to_ask + to_find if shared else to_ask)
        w_find = w_find - rate * to_find
    return (scores_of(w_ask, w_ask if shared else w_find).argmax(-1) == target).mean(-1)  # (RUNS,)


# %% tags=["experiment"]
two, one = learn(shared=False, width=C), learn(shared=True, width=2 * C)  # as many parameters in both
assert (two == 1).all() and one.max() <= (T - 1) / T
assert one.mean() + 3 * one.std() / np.sqrt(RUNS) < two.mean()
figure, ax = plt.subplots(figsize=(7, 1.9))
for row, (share, colour) in enumerate(((two, "query"), (one, "other"))):
    values, counts = np.unique(share, return_counts=True)
    ax.scatter(values, [row] * len(values), s=45 * counts, color=plots.COLOURS[colour])
ax.axvline((T - 1) / T, color=plots.COLOURS["truth"], linestyle=":", linewidth=1)
ax.set(yticks=(0, 1), yticklabels=("two matrices", "one matrix"), ylim=(1.6, -0.6), xlim=(-0.03, 1.08))
ax.set_xlabel("share of tokens that find their target (area: number of runs)")
plots.show(figure, "Two rows of dots. Two matrices: all runs at 1. One matrix: spread below the dotted limit of 7/8.")

# %% [markdown]
# With two matrices every token finds its target in every run. With one, of the same number of parameters, none of the
# runs does; the dotted line is the limit of the argument above, all tokens but one. The gap between the means is wider
# than three standard errors. This does not show that sharing is useless: where a token is to find its likes, itself
# included, symmetry is no loss; here the links are random. Nor does it show how near the limit longer training comes.

# %% [markdown]
# ## Programming with two matrices
#
# Matrices can be written like programs. Let token `i` be row `i` of the identity: a 1 in place `i`, so that a token
# says nothing but where it stands. Then `q = w_q`, `k = w_k`, and the table of scores is `w_q @ w_k.T`. With `w_k` the
# identity, the table is `w_q` itself. One program, then: everyone reads token 0.

# %%
n = 5
to_first = np.zeros((n, n))
to_first[:, 0] = 1.0  # every row asks for token 0
print(np.round(mine.softmax(to_first @ np.eye(n).T), 2))

# %% [markdown]
# Column 0 leads, but not by much: scores are not weights. A score that leads `n − 1` equal ones by `c` gets the weight
# `e**c / (e**c + n - 1)`. Every further token costs something, and a larger lead pays for it.

# %%
for tokens_in_all in (5, 500):
    print(
        f"n = {tokens_in_all:3}:",
        ", ".join(f"lead {c:2} gives {np.exp(c) / (np.exp(c) + tokens_in_all - 1):.3f}" for c in (1, 5, 10, 20)),
    )

# %% [markdown]
# ### Exercise · attend_to_previous (15 min, ●●○)
#
# Write `w_q` and `w_k`, both `(n, n)`, for any `n ≥ 2`: token `i` is to give at least 0.99 of its weight to token `i −
# 1`, and token 0, which has none before it, to itself. The weights are `softmax(q @ k.T)`, without a scale. By hand,
# for `n = 3`: the large scores stand at `[0, 0]`, `[1, 0]` and `[2, 1]`. The table is begun for you.


# %%
def attend_to_previous(n):
    """Write two matrices with which each token attends to the one before it.

    n: int ≥ 2, the number of tokens; token i is row i of the n × n identity.
    Returns w_q, w_k, each (n, n): softmax(w_q @ w_k.T) has at least 0.99 at [i, i - 1] and at [0, 0].
    Source: Elhage et al. 2021, where such a previous-token head is half of an induction head.
    """
    table = np.zeros((n, n))  # the scores: row i asks, column j is found
    ### BEGIN SOLUTION
    #: # next: one large score in each row, then split the table into w_q @ w_k.T
    #: raise NotImplementedError("attend_to_previous is yours to complete")
    table[0, 0] = 30.0
    for i in range(1, n):
        table[i, i - 1] = 30.0
    return table, np.eye(n)
    ### END SOLUTION


# %%
check("attend_to_previous", attend_to_previous)

# %%
ask_previous, be_found = mine.attend_to_previous(len(WORDS))
reading = mine.softmax(ask_previous @ be_found.T)  # (T, T)
figure, ax = plt.subplots(figsize=(6.2, 3.6))
draw_map(reading, ax)
plots.show(figure, "An 8 by 8 map of weights: each word gives its weight to the word before it, the first to itself.")

# %% [markdown]
# The weights stand one below the diagonal: each word reads its left neighbour, whatever the words are. Trained models
# grow such heads by themselves; notebook 17 looks for them.

# %% [markdown]
# ## Four matrices, two products
#
# What a word has read must be written back into its own four numbers, (T, Dv) to (T, C). A fourth matrix does it,
# `w_o`: `output = weights @ v @ w_o`. Open the brackets:
#
# - scores `(x w_q)(x w_k)ᵀ = x (w_q w_kᵀ) xᵀ`
# - output `weights (x w_v) w_o = weights x (w_v w_o)`
#
# Four matrices, but only two products ever meet the tokens. **QK** says who asks for whom, **OV** what is handed over
# and where it is written. Both are `(C, C)`: from features to features.

# %% [markdown]
# ### Exercise · qk_ov (10 min, ●●○)
#
# Return the two products, `QK` and `OV`, each `(C, C)`, without a scale. `w_q`, `w_k` and `w_v` are `(C, D)`, `w_o` is
# `(D, C)`: here `Dv = D`. By hand, for `C = 2` and `D = 1`: `w_q = [[1], [2]]` and `w_k = [[3], [4]]` give
# `QK = [[3, 4], [6, 8]]`, for instance 2·4 = 8 where feature 1 asks and feature 1 is found.


# %%
def qk_ov(w_q, w_k, w_v, w_o):
    """Multiply out what decides the scores and what decides the output.

    w_q, w_k, w_v: (C, D) float.
    w_o:           (D, C) float, from the width of a value back to the width of a token.
    Returns QK (C, C) and OV (C, C), in the dtype of the inputs: the scores are x QK xᵀ, the output is weights x OV.
    Source: Elhage et al. 2021; with tokens as columns, theirs are W_Qᵀ W_K, the same, and W_O W_V, the transpose.
    """
    ### BEGIN SOLUTION
    return w_q @ w_k.T, w_v @ w_o
    ### END SOLUTION


# %%
check("qk_ov", qk_ov)

# %%
w_o = w_v.T  # (Dv, C): person, thing and heat go back to where they came from
QK, OV = mine.qk_ov(w_q, w_k, w_v, w_o)
print("scores agree:", np.allclose(x @ QK @ x.T, scores))
print("output agrees:", np.allclose(weights @ x @ OV, weights @ v @ w_o))

# %%
figure, axes = plt.subplots(1, 2, figsize=(9.5, 2.6), layout="constrained")
names = (("QK", QK, "asks", "is found"), ("OV", OV, "is read", "is written"))
for ax, (title, table, row, column) in zip(axes, names, strict=True):
    plots.heatmap(table, FEATURES, FEATURES, ax, title=title)
    ax.set_ylabel(row, color=plots.COLOURS["query" if title == "QK" else "value"])
    ax.set_xlabel(column, color=plots.COLOURS["key" if title == "QK" else "output"])
plots.show(
    figure, "QK has ones where person asks for action, action for person, heat for thing. OV is diagonal, no action."
)

# %% [markdown]
# QK can be read row by row: a person asks for an action, an action for a person, heat for a thing. OV copies three
# features to where they were and drops the action. A trained model's tables have hundreds of rows and no names on them,
# but mean the same.

# %% [markdown]
# **A common belief**: "a query is a meaning, so one can look at a query vector and see what is asked". Take any
# invertible `m` and use `w_q @ m` with `w_k @ inv(m).T`. What happens to the queries, and to what they find?

# %%
m = np.random.default_rng(0).normal(size=(3, 3))
other_q, other_k = x @ (w_q @ m), x @ (w_k @ np.linalg.inv(m).T)
print("queries equal:", np.allclose(other_q, q), "· scores equal:", np.allclose(other_q @ other_k.T, scores))
print("hot asks, before:", np.round(q[hot], 2), "after:", np.round(other_q[hot], 2))

# %% [markdown]
# Other queries, other keys, the same scores: `m` and its inverse cancel inside QK. Only the product is determined, and
# a single query has a meaning only against the keys it meets. To compare two heads on the same tokens, compare their
# QK, never their `w_q`.

# %% [markdown]
# ## Experiment: a database that forgives
#
# *Query*, *key* and *value* are words from databases. There a query must equal a key to the last letter; attention
# compares, and returns a blend. Is that a weakness or a strength?

# %%
THINGS = "pan cup table ring coat boat window rope tyre coin sail book".split()
MADE_OF = "iron clay oak gold wool pine glass hemp rubber copper canvas paper".split()
FACTS = dict(zip(THINGS, MADE_OF, strict=True))
print("pan →", FACTS.get("pan"), "· pans →", FACTS.get("pans"))

# %% [markdown]
# The soft version stores a random key vector of `D` numbers for each fact; the values are one-hot, so that the largest
# number of the answer names a fact. A query is a key plus normal noise. It is compared with two exact lookups: equality
# to the last bit, and equality after rounding to whole numbers, which forgives a little. Which one degrades first, and
# is the soft one ever worse?

# %% tags=["experiment"]
NOISE, DATABASES, ASKED = (0.0, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0), 20, 200


def share_right(lookup, width, noise, seed):
    """The share of noisy queries that get the fact they are meant for."""
    rng = np.random.default_rng(seed)
    keys = rng.normal(size=(len(FACTS), width))
    meant = rng.integers(len(FACTS), size=ASKED)
    queries = keys[meant] + noise * rng.normal(size=(ASKED, width))
    return np.mean(lookup(queries, keys) == meant)


# %% tags=["experiment"]
def exact(queries, keys):
    equal = (queries[:, None] == keys).all(-1)  # (ASKED, facts)
    return np.where(equal.any(-1), equal.argmax(-1), -1)  # −1: no such key


def rounded(queries, keys):
    return exact(np.round(queries), np.round(keys))


def soft(queries, keys):
    values = np.eye(len(keys))
    return (mine.softmax(queries @ keys.T) @ values).argmax(-1)


# %% tags=["experiment"]
LOOKUPS = {
    "equal": (exact, 8, "truth", "s"),
    "equal after rounding, D = 8": (rounded, 8, "data", "v"),
    "soft, D = 8": (soft, 8, "other", "o"),
    "soft, D = 32": (soft, 32, "value", "o"),
}
right = {
    name: np.array([[share_right(lookup, width, noise, seed) for seed in range(DATABASES)] for noise in NOISE])
    for name, (lookup, width, _, _) in LOOKUPS.items()
}  # each (noise, databases)

# %% tags=["experiment"]
figure, ax = plt.subplots(figsize=(8, 3.6))
place = np.arange(len(NOISE))
for name, (_, _, colour, marker) in LOOKUPS.items():
    ax.plot(place, right[name].mean(1), marker=marker, color=plots.COLOURS[colour], label=name)
    ax.fill_between(place, right[name].min(1), right[name].max(1), color=plots.COLOURS[colour], alpha=0.18, linewidth=0)
ax.axhline(1 / len(FACTS), color=plots.COLOURS["data"], linestyle=":", linewidth=1)
ax.set(xticks=place, xticklabels=NOISE, ylim=(-0.03, 1.05))
ax.set(xlabel="standard deviation of the noise on the query (not to scale)", ylabel="share of right facts")
ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
plots.show(
    figure, "Share of right facts against noise. Equality falls to 0 at once, rounding soon, soft lookup slowly."
)

# %% tags=["experiment"]
equal, rounding, narrow, wide = right.values()
assert (equal[0] == 1).all() and (equal[1:] == 0).all(), "equality survives no noise"
assert (narrow.mean(1)[2:] > rounding.mean(1)[2:]).all(), "from noise 0.1 on, soft is ahead of rounding"
assert (rounding[0] == 1).all() and narrow[0].mean() < 1, "without noise, soft with D = 8 makes mistakes"
assert (wide.mean(1)[1:] > narrow.mean(1)[1:]).all(), "more numbers per key forgive more"
assert 1 / len(FACTS) < narrow[-1].mean() < wide[-1].mean() < 0.5, "large noise defeats it too, but not to chance"

# %% [markdown]
# Lines are means over 20 databases, bands the worst and the best of them, the dotted line is chance. Equality is
# perfect and then useless. Rounding buys little. Soft lookup loses slowly, and slower with wider keys.
#
# It has a price, at the far left: with `D = 8` it errs even without noise. A product rewards long keys, so a short key
# can lose to a longer one on its own question. Wider random keys differ less in length, and their directions are closer
# to right angles, which hides it. Keys that resemble each other were not tested here.

# %% [markdown]
# ## The puzzle, answered
#
# *Hot* after one step of attention: its own numbers, and what it read, written back by `w_o`.

# %%
read = weights @ v @ w_o  # (T, C)
for name, row in (("hot", x[hot]), ("reads", read[hot]), ("together", x[hot] + read[hot])):
    print(f"{name:9}", ", ".join(f"{feature} {number:.2f}" for feature, number in zip(FEATURES, row, strict=True)))
best = {word: WORDS[j] for word, j in zip(("hot", "pan"), scores[[hot, pan]].argmax(1), strict=True)}
print("best match:", best)

# %% [markdown]
# *Hot* finds *pan* because it asks with its heat and *pan* is found as a thing. *Pan* does not find *hot*, because
# *hot* is hardly found as anything a pan asks for. And what *pan* hands over is more than the heading it was found
# under: it is a thing, and it is warm, which *hot* did not ask. Three jobs, three matrices.

# %% [markdown]
# ## Where you will meet this
#
# | where | the lines |
# |---|---|
# | PyTorch, `nn.MultiheadAttention` | `in_proj_weight`, (3C, C): w_q, w_k, w_v transposed, one below the other |
# | BERT | `self.query(hidden_states)`, `self.key(…)`, `self.value(…)`; w_o is `attention.output.dense` |
# | Llama | `q_proj`, `k_proj`, `v_proj`, `o_proj` |
# | vLLM | `qkv_proj`, one product for all three, then `qkv.split(…)` |
#
# `nn.Linear` keeps its weight as (out, in) and computes `x @ weight.T`: transpose when you carry weights into `x @ w`.

# %% [markdown]
# ## In short
#
# A query is what a token looks for, a key what it is found by, a value what it hands over. Separate matrices for query
# and key give a score a direction; with one for both, some token always finds itself. The softmax normalises over those
# who are found, so the roles cannot be swapped. Only `w_q w_kᵀ` and `w_v w_o` matter: who asks for whom, and what is
# handed over. Unlike a database, a soft lookup forgives an inexact question, and it can err on an exact one.

# %% [markdown]
# ### Exercise · In your own words (8 min, ●●○)
#
# A colleague wants to save parameters: "the keys can serve as queries and as values too, one matrix is enough". In four
# or five sentences: what does each role do, what would be lost in each of the two savings, and in what sense are there
# fewer than three independent matrices after all?

# %%
### BEGIN SOLUTION
#: reflection_02 = """
#: """
reflection_02 = """
A query is what a token looks for, a key is what it is found by, and a value is what it hands over to whoever reads it.
If keys served as queries, the score of i for j would equal the score of j for i: "hot" could not find "pan" without
"pan" finding "hot" as much, and at least one token in each sentence would find itself.
If keys served as values, a token could only answer with the heading it was found under: "hot" would learn that there is
a thing, which it asked for, and not that the thing is warm.
What your idea gets right is that scores depend on the product of w_q and the transposed w_k alone: any invertible
matrix can be moved from one to the other, so a single query vector has no meaning without the keys it is compared with.
"""
### END SOLUTION

# %%
reflect("reflection_02", reflection_02)

# %% [markdown]
# ## Papers
#
# - Miller et al. 2016, *Key-Value Memory Networks for Directly Reading Documents*, section 3, arXiv 1606.03126: keys to
#   address, values to answer.
# - Daniluk et al. 2017, *Frustratingly Short Attention Spans in Neural Language Modeling*, section 3.2, arXiv
#   1702.04521: one vector split into key and value, and what that gains.
# - Vaswani et al. 2017, *Attention Is All You Need*, sections 3.2 and 3.2.2, arXiv 1706.03762: the three projections.
# - Weiss et al. 2021, *Thinking Like Transformers*, section 3, arXiv 2106.06981: attention written as programs.
# - Elhage et al. 2021, *A Mathematical Framework for Transformer Circuits*, Transformer Circuits Thread (not on arXiv):
#   QK and OV.
