# %% [markdown]
# # 11 · How does efficient attention get by with fewer scores?
#
# About 170 minutes; after *One word that everyone hears*, and after the blocks, are good places to stop. You need
# notebook 03 (attention and masks) and notebook 10 (what full attention costs).
#
# You will be able to
#
# - write the masks of a window, of Longformer and of BigBird, and count the layers that each needs to connect all
#   words;
# - say why a mask alone saves nothing, and write attention that never makes an n × n array;
# - mix keys along the length (Linformer), and drop the softmax so that the keys can go first (linear attention);
# - name for each variant the bet it makes, and measure where the bet is lost.

# %% [markdown]
# ## A puzzle: the long contract
#
# A contract has 100 000 words. *It* in the last paragraph means a thing named in the first. Full attention fills a
# table of all pairs of words; a window in which every word sees 32 words on each side fills a small part of it.
#
# With the window, how many layers does it take until the last word can know anything at all of the first? And is there
# a cheaper remedy than that many layers? Keep a guess; the end of this notebook answers with numbers.

# %%
n, w = 100_000, 32
print(f"pairs of words: {n * n:,}, in float32 {4 * n * n / 1e9:.0f} GB for one head")
print(f"pairs in a window: {(2 * w + 1) * n:,}, {(2 * w + 1) / n:.3%} of all")

# %% [markdown]
# ## A window, by hand
#
# *She dropped the pan because it was hot.* Let every word see itself and one neighbour on each side. With a pencil: a
# table of eight rows, three marks in each, but two in the first and the last row, which have a neighbour on one side
# only. 6 · 3 + 2 · 2 = 22 marks in 64 places.

# %%
import math

import matplotlib.pyplot as plt
import numpy as np

from autograder import check, hint, mine, progress, reflect
from autograder.material import plots
from autograder.material.sentence import WORDS

for i, word in enumerate(WORDS):
    print(f"{word:8}", *("■" if abs(i - j) <= 1 else "·" for j in range(8)))

# %% [markdown]
# ### Exercise · window_mask (5 min, ●○○)
#
# Return the mask of a window: bool `(n, n)`, True where query `i` and key `j` are at most `w` apart, |i − j| ≤ w. So
# `w` counts the positions on *each* side. By hand: `n = 3, w = 1` gives `[[True, True, False], [True, True, True],
# [False, True, True]]`. A window of 0 leaves the diagonal, and one wider than the sequence is everything.


# %%
def window_mask(n, w):
    """Which keys lie within w positions of each query.

    n: how many positions there are, 1 or more.
    w: how far a query sees on each side, 0 or more; it may be n or more.
    Returns (n, n) bool, True where |i − j| ≤ w.
    Source: Beltagy et al. 2020, section 3.1, where w counts both sides together.
    """
    ### BEGIN SOLUTION
    place = np.arange(n)
    return np.abs(place[:, None] - place) <= w
    ### END SOLUTION


# %%
check("window_mask", window_mask)

# %%
for w in (0, 1, 2, 7):
    print(f"w = {w}: {mine.window_mask(8, w).sum():2} of 64 pairs")

# %% [markdown]
# Twice the length, twice the pairs: the cost of a window is n · (2w + 1), no longer n². What did that buy, and what did
# it cost? The pairs left out are far apart, and *it* and the thing it means may be far apart.

# %% [markdown]
# ## What does a token hear of after several layers?
#
# One layer later all is not lost. *The* sees *dropped*, and *dropped* has just heard of *she*. What a word can know
# spreads by one window a layer, as long as each word also keeps what it has: the residual path of the model sees to
# that.
#
# `known[i, j]` says that word `i` has heard of word `j`. It starts as the identity. In one layer, word `i` hears of
# everything that those whom it attends to have heard of.

# %%
known = np.eye(8, dtype=bool)  # every word knows itself
for layer in (1, 2):
    known = mine.window_mask(8, 1) @ known  # a product of bools: True if any of the eight terms is True
    print(f"after layer {layer}, 'the' has heard of:", *(WORDS[j] for j in np.flatnonzero(known[2])))

# %% [markdown]
# ### Exercise · layers_to_connect (12 min, ●●○)
#
# Given the mask of every layer, bool `(n, n)`, return the number of layers after which every token can have heard of
# every other. Every layer has a residual path: a token keeps what it has, also where the mask is False on the diagonal.
# A single token needs 0 layers; if no number is enough, return None. By hand: a window of 1 over three tokens needs 2;
# full attention needs 1; a causal mask over two tokens gives None, for the first never hears of the second.


# %%
def layers_to_connect(mask):
    """How many layers it takes until every token can have heard of every other.

    mask: (n, n) bool, True where token i attends to token j, the same in every layer; a residual path is added.
    Returns an int, 0 for n = 1, or None if no number of layers is enough.
    """
    ### BEGIN SOLUTION
    step = mask | np.eye(len(mask), dtype=bool)
    known = np.eye(len(mask), dtype=bool)
    layers = 0
    while not known.all():
        further = step @ known
        if (further == known).all():
            return None  # a layer that changes nothing: no later one will
        known, layers = further, layers + 1
    return layers
    ### END SOLUTION


# %%
check("layers_to_connect", layers_to_connect)

# %%
for n, w in ((8, 1), (8, 2), (64, 8), (128, 8), (256, 8)):
    layers = mine.layers_to_connect(mine.window_mask(n, w))
    print(f"{n:3} tokens, window {w}: {layers:2} layers, (n − 1) / w rounded up is {math.ceil((n - 1) / w)}")
    assert layers == math.ceil((n - 1) / w)

# %% [markdown]
# A window alone pays for its n · (2w + 1) pairs with about n / w layers. And "can have heard" is the best case: what
# comes through thirty averages in a row is thin.

# %% [markdown]
# ## One word that everyone hears
#
# Keep the window of 1, and make a single word special: *she* sees every word, and every word sees *she*. In the table
# that is one full row and one full column, 12 more marks.
#
# ### Exercise · layers_with_a_global (1 min, ●○○)
#
# Eight words, a window of 1, and *she* as a global word. Alone, the window needs 7 layers. How many layers does it take
# now until every word can have heard of every other? Commit to a number before the cells below show it.

# %%
### BEGIN SOLUTION
#: layers_with_a_global = ...  # your prediction: an int
layers_with_a_global = 2
### END SOLUTION

# %%
check("layers_with_a_global", layers_with_a_global)

# %%
with_she = mine.window_mask(8, 1)
with_she[0, :] = with_she[:, 0] = True  # she hears all, and all hear her
known = with_she @ np.eye(8, dtype=bool)
print("after 1 layer, 'hot' has heard of:", *(WORDS[j] for j in np.flatnonzero(known[7])))
print("layers:", mine.layers_to_connect(with_she))

# %% [markdown]
# Two: in the first layer *she* hears every word, in the second every word hears *she*. That holds for any length. This
# is Longformer's design (Beltagy et al. 2020): a window for what is near, and a few global positions for what is far:
# the mark `[CLS]` that stands before a text, or the words of a question.

# %% [markdown]
# ### Exercise · longformer_mask (8 min, ●○○)
#
# Return the mask of a window together with global positions: bool `(n, n)`, True where |i − j| ≤ w, or `i` is global,
# or `j` is global. `global_idx` is a list, a tuple or an int array of positions from 0 to n − 1; it may be empty or
# name one twice. By hand: `n = 4, w = 0, global_idx = [1]` has the diagonal (4 entries), 3 more in row 1 and 3 more in
# column 1.


# %%
def longformer_mask(n, w, global_idx):
    """A window, and positions that see all and are seen by all.

    n: how many positions there are; w: how far a query sees on each side.
    global_idx: list, tuple or int array of positions from 0 to n − 1; may be empty, may name one twice.
    Returns (n, n) bool.
    Source: Beltagy et al. 2020, section 3.1.
    """
    ### BEGIN SOLUTION
    place = np.arange(n)
    mask = np.abs(place[:, None] - place) <= w
    chosen = np.asarray(global_idx, dtype=int)  # an empty list would become float64 and could not index
    mask[chosen, :] = True
    mask[:, chosen] = True
    return mask
    ### END SOLUTION


# %%
check("longformer_mask", longformer_mask)

# %%
def heard(mask, layers):
    """Who has heard of whom after some layers: (n, n) bool."""
    known = np.identity(len(mask), dtype=bool)
    for _ in range(layers):
        known = mask @ known
    return known


# %%
figure, axes = plt.subplots(2, 3, figsize=(7, 5), sharex=True, sharey=True, layout="constrained")
spread = {"window of 2": mine.window_mask(24, 2), "and position 0 global": mine.longformer_mask(24, 2, [0])}
for row, (name, mask) in zip(axes, spread.items(), strict=True):
    for ax, layers in zip(row, (1, 2, 4), strict=True):
        ax.imshow(heard(mask, layers), cmap="Blues", vmin=0, vmax=1.4)
        ax.set_title(f"{name}\nafter {layers} layer{'s' * (layers > 1)}", fontsize=9)
    row[0].set_ylabel("token")
for ax in axes[1]:
    ax.set_xlabel("has heard of")
alt = "Six squares of 24 by 24 tokens. Above, a window of 2: a band that widens by 2 per layer and leaves both corners "
alt += "empty. Below, with position 0 global: a band with a row and a column, and all filled from layer 2 on."
plots.show(figure, alt)

# %% [markdown]
# Above, the band widens by one window a layer and both corners stay empty: what the window alone breaks. Below, one
# global position fills the square in two layers.
#
# A common belief: "then one global token repairs everything." It is *one* vector. All that the first words know of the
# last has to fit in it, averaged. Connected is not the same as retrieved; the experiment below measures the difference.

# %% [markdown]
# ## A mask saves nothing by itself
#
# The second common belief: "a sparse mask makes attention cheap." Notebook 03's function takes a mask, and first
# computes *all* scores; the mask then throws most of them away. The work is done, the memory was taken.

# %%
rng = np.random.default_rng(11)
q, k, v = (rng.standard_normal((1000, 16)) for _ in range(3))
masked, weights = mine.scaled_dot_product_attention(q, k, v, mine.window_mask(1000, 8))
print(f"weights computed: {weights.size:,}; of these not 0: {np.count_nonzero(weights):,}")
print("every row sums to 1:", np.allclose(weights.sum(axis=1), 1))

# %% [markdown]
# To save, the other entries must never be made. A query needs 2w + 1 keys: *gather* them. For each of the n queries
# write down the positions i − w … i + w, and index k with this table. Near the ends some positions do not exist; they
# are clipped to the end, so that indexing works, and their scores become −∞, so that nobody sees the copies.

# %%
near = np.arange(5)[:, None] + np.arange(-1, 2)  # (n, 2w + 1) = (5, 3)
exists = (near >= 0) & (near < 5)
print("positions:", near.tolist())
print("clipped:  ", near.clip(0, 4).tolist())
print("hidden:   ", (~exists).sum(), "of", near.size)
print("gathered keys:", k[near.clip(0, 4)].shape, "= (n, 2w + 1, D)")

# %% [markdown]
# Why hide them? Here is the bug of many first versions: zeros stand in for the positions that do not exist, and nothing
# is hidden. All values are 1, so an average must be 1 everywhere.


# %%
def padded(n, w, hide):
    """Attention with equal scores over zero-padded windows of values that are all 1."""
    near = np.arange(n)[:, None] + np.arange(-w, w + 1)
    real = (0 <= near) & (near < n)
    scores = np.where(real | (not hide), 0.0, -np.inf)  # a zero vector scores 0
    return (mine.softmax(scores) * real).sum(axis=1)  # 1 where there is a position, 0 where there is none


# %%
figure, ax = plt.subplots(figsize=(7, 2.6), layout="constrained")
ax.plot(padded(40, 6, hide=False), "o-", markersize=4, color=plots.COLOURS["other"], label="zeros take part")
ax.plot(padded(40, 6, hide=True), "s-", markersize=4, color=plots.COLOURS["truth"], label="hidden with −∞")
ax.set(xlabel="position", ylabel="average of ones", ylim=(0.4, 1.1))
ax.legend(loc="lower center")
alt = "The average of ones against position: 1 everywhere if hidden, down to about half at both ends if not."
plots.show(figure, alt)

# %% [markdown]
# Orange dips at both ends: a score of 0 is an ordinary score, exp(0) = 1, and the zeros take up to half of the weight.
# No error, no NaN, and right in the middle of every test sequence.

# %% [markdown]
# ### Exercise · local_attention (20 min, ●●●)
#
# Write attention in a window: `q, k` are `(n, D)`, `v` is `(n, Dv)`, out is `(n, Dv)`, what full attention gives under
# `window_mask(n, w)`. Never make an array of n × n entries: the check runs n = 20000 with w = 32, and allows a quarter
# of the memory of the scores. Scores may be as large as ±10000, and w may be 0, or n and more. By hand: `w = 0` gives v
# itself. Use NumPy alone, whose memory the check can see.


# %%
def local_attention(q, k, v, w):
    """Attention of every query to the keys within w positions.

    q, k: (n, D) float.
    v:    (n, Dv) float.
    w:    how far a query sees on each side, 0 or more; it may be n or more.
    Returns (n, Dv) in the dtype of the inputs: softmax(q kᵀ / √D) v under a mask that is True where |i − j| ≤ w.
    Memory: O(n · w · D).
    Source: Beltagy et al. 2020, section 3.1.
    """
    ### BEGIN SOLUTION
    n = len(q)
    near = np.arange(n)[:, None] + np.arange(-w, w + 1)  # (n, 2w + 1)
    exists = (near >= 0) & (near < n)
    near = near.clip(0, n - 1)
    scores = np.einsum("nd,njd->nj", q, k[near]) / math.sqrt(q.shape[-1])  # (n, 2w + 1)
    scores = np.where(exists, scores, -np.inf)
    e = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights = e / e.sum(axis=-1, keepdims=True)
    return np.einsum("nj,njd->nd", weights, v[near])
    ### END SOLUTION


# %%
check("local_attention", local_attention)

# %%
print("they agree:", np.allclose(mine.local_attention(q, k, v, 8), masked))
print(f"scores made: {1000 * 17:,} in place of {1000 * 1000:,}")

# %% [markdown]
# ## Blocks: what a machine likes to read
#
# Gathering single keys copies each of them 2w + 1 times, and hardware likes to multiply whole tiles. So real sparse
# attention cuts the sequence into **blocks** of b positions, and keeps or drops whole b × b tiles. A small table says
# which, the **layout**: bool (n/b, n/b), True where the queries of block row I see the keys of block column J. By hand,
# for b = 2:
#
# | layout | mask |
# |---|---|
# | ■ · | ■ ■ · · |
# | ■ ■ | ■ ■ · · |
# | | ■ ■ ■ ■ |
# | | ■ ■ ■ ■ |

# %% [markdown]
# ### Exercise · block_sparse_mask (6 min, ●○○)
#
# Turn a layout, bool `(n/b, n/b)`, into a mask, bool `(n, n)`: every entry of the layout stands for `block` × `block`
# equal entries. By hand: the table above. Layouts need not be symmetric, and a block of 1 gives the layout itself.


# %%
def block_sparse_mask(layout, block):
    """Every entry of the layout as block × block entries.

    layout: (n / block, n / block) bool, True where the queries of block row I see the keys of block column J.
    block:  how many positions a block has, 1 or more.
    Returns (n, n) bool.
    Source: Child et al. 2019, whose kernels skip blocks.
    """
    ### BEGIN SOLUTION
    return layout.repeat(block, axis=0).repeat(block, axis=1)
    ### END SOLUTION


# %%
check("block_sparse_mask", block_sparse_mask)

# %%
layout = np.array([[True, False, False], [True, True, False], [False, True, False]])
for row in mine.block_sparse_mask(layout, 2):
    print(*("■" if yes else "·" for yes in row))

# %% [markdown]
# Now the attention itself. The queries of one block row all see the same keys: those of its active blocks. Put these
# keys one after the other, and it is ordinary attention between a few queries and a few keys. The softmax must run over
# *all* active blocks of the row at once; a softmax in each block by itself would give the best key of a poor block as
# much as that of a good one.

# %%
row, b = 1, 2
near = np.flatnonzero(layout[row].repeat(b))  # positions of all keys that block row 1 sees
print("block row 1: queries 2 and 3, keys", near.tolist())
print("its scores:", (q[2:4] @ k[near].T).shape, "in place of", (2, 6))

# %% [markdown]
# ### Exercise · block_sparse_attention (20 min, ●●●)
#
# Write attention on the active blocks of a layout: `q, k` are `(n, D)`, `v` is `(n, Dv)`, `layout` is bool `(n/b,
# n/b)`; out is `(n, Dv)`, what full attention gives under `block_sparse_mask(layout, block)`. A block row without
# active blocks gives 0. Never make an array of n × n entries; the check runs n = 8192. By hand: `block = 1` and a
# diagonal layout give v itself.


# %%
def block_sparse_attention(q, k, v, layout, block):
    """Attention that computes the active blocks of a layout and nothing else.

    q, k:   (n, D) float, n = block · len(layout).
    v:      (n, Dv) float.
    layout: (n / block, n / block) bool, True where the queries of block row I see the keys of block column J.
    Returns (n, Dv) in the dtype of the inputs; 0 for a block row without active blocks.
    Source: Zaheer et al. 2020, who compute BigBird in blocks.
    """
    ### BEGIN SOLUTION
    out = np.zeros((len(q), v.shape[-1]), dtype=v.dtype)
    for row in range(len(layout)):
        near = np.flatnonzero(layout[row].repeat(block))  # the keys that this block row sees
        if len(near) == 0:
            continue
        queries = slice(row * block, (row + 1) * block)
        scores = q[queries] @ k[near].T / math.sqrt(q.shape[-1])  # (block, active · block)
        e = np.exp(scores - scores.max(axis=-1, keepdims=True))
        out[queries] = e / e.sum(axis=-1, keepdims=True) @ v[near]
    return out
    ### END SOLUTION


# %%
check("block_sparse_attention", block_sparse_attention)

# %%
layout = mine.longformer_mask(50, 1, [0])  # blocks of 20: a window of one block each side, and the first block global
by_blocks = mine.block_sparse_attention(q, k, v, layout, 20)
by_mask, _ = mine.scaled_dot_product_attention(q, k, v, mine.block_sparse_mask(layout, 20))
print("they agree:", np.allclose(by_blocks, by_mask))
print(f"scores made: {layout.sum() * 20 * 20:,} in place of {1000 * 1000:,}")

# %% [markdown]
# This function runs Longformer, in blocks, and whatever else can be written as a layout.

# %% [markdown]
# ## Near, global, and a few at random
#
# BigBird (Zaheer et al. 2020) adds a third kind of entry. Besides its neighbours and a few global blocks, every block
# row sees some blocks drawn **at random**. Why should that help? In a network where everyone knows a few strangers, any
# two people are joined by a short chain. So random blocks connect all within a few layers, also without global ones.
#
# Random blocks are a matter of the query: block row 5 may draw block 9 while 9 does not draw 5.

# %% [markdown]
# ### Exercise · bigbird_mask (15 min, ●●○)
#
# Return a bool mask `(n, n)` of whole blocks. Every block row sees its own block and one on each side. The first
# `n_global` blocks see all blocks and are seen by all. Then every block row draws `n_random` distinct blocks from those
# it does not see yet, all of them if fewer are left; each row draws anew, evenly, from `rng`. Raise ValueError if
# `block` does not divide `n`. By hand: with 3 blocks, block row 0 sees blocks 0 and 1, and any draw gives it block 2.


# %%
def bigbird_mask(n, block, n_random, n_global, rng):
    """A window of blocks, global blocks, and random blocks.

    n:        how many positions there are.
    block:    how many a block has; ValueError if it does not divide n.
    n_random: how many blocks every block row draws, distinct ones that it does not see yet.
    n_global: the first so many blocks see all and are seen by all.
    rng:      numpy.random.Generator; every random number comes from it.
    Returns (n, n) bool.
    Source: Zaheer et al. 2020, section 2.
    """
    ### BEGIN SOLUTION
    if n % block:
        raise ValueError(f"{n} positions cannot be cut into blocks of {block}")
    place = np.arange(n // block)
    layout = np.abs(place[:, None] - place) <= 1
    layout[:n_global, :] = True
    layout[:, :n_global] = True
    for row in layout:
        left = np.flatnonzero(~row)
        row[rng.choice(left, size=min(n_random, len(left)), replace=False)] = True
    return layout.repeat(block, axis=0).repeat(block, axis=1)
    ### END SOLUTION


# %%
check("bigbird_mask", bigbird_mask)

# %%
rng = np.random.default_rng(4)
masks = {
    "window": mine.window_mask(32, 3),
    "Longformer": mine.longformer_mask(32, 3, [0, 1]),
    "blocks": mine.block_sparse_mask(mine.window_mask(8, 1), 4),
    "BigBird": mine.bigbird_mask(32, 4, 1, 1, rng),
    "BigBird, none global": mine.bigbird_mask(32, 4, 1, 0, rng),
}
for name, mask in masks.items():
    print(f"{name:20}: {mask.mean():.0%} of the pairs, {mine.layers_to_connect(mask)} layers")

# %%
figure, axes = plt.subplots(1, 5, figsize=(11, 2.7), sharey=True, layout="constrained")
for ax, (name, mask) in zip(axes, masks.items(), strict=True):
    ax.imshow(mask, cmap="Blues", vmin=0, vmax=1.4)
    ax.set(title=name, xlabel="key", xticks=(0, 31), yticks=(0, 31))
axes[0].set_ylabel("query")
alt = "Five masks of 32 by 32. Window: a band. Longformer: the band, two full rows and columns. Blocks: tiles. "
alt += "BigBird: a band of tiles, a row and a column of tiles, a scattered tile in each other row. Last: none global."
plots.show(figure, alt)

# %% [markdown]
# Each panel is a guess about which pairs matter. The number of layers grows with the length for a window or a band of
# blocks. For the others it does not, or hardly:

# %%
print("tokens   window   Longformer   BigBird   BigBird, none global")
for n in (32, 64, 128, 256):
    layers = [mine.layers_to_connect(mine.window_mask(n, 3)), mine.layers_to_connect(mine.longformer_mask(n, 3, [0]))]
    layers += [mine.layers_to_connect(mine.bigbird_mask(n, 4, 2, g, np.random.default_rng(n))) for g in (1, 0)]
    print("{:6}{:9}{:13}{:10}{:23}".format(n, *layers))
    assert layers[0] == math.ceil((n - 1) / 3) and layers[1] == layers[2] == 2 and layers[3] < 8

# %% [markdown]
# ## Few directions: is the table of weights simpler than it looks?
#
# The masks keep some entries. Another bet keeps none and looks at the table as a whole: perhaps its n rows are mixtures
# of only a few. Such a table has low **rank**, and everything in it follows from few numbers.

# %% [markdown]
# How far is a matrix from rank k? Its singular values s₁ ≥ s₂ ≥ … say how much each direction carries. The nearest
# matrix of rank k keeps the first k directions (Eckart and Young 1936), and what is lost is
#
# $$\frac{\|A - B\|}{\|A\|} = \sqrt{\frac{s_{k+1}^2 + s_{k+2}^2 + \dots}{s_1^2 + s_2^2 + \dots}}$$
#
# where ‖·‖ is the root of the sum of squared entries. By hand: singular values 4 and 3, k = 1: the root of 9 / 25, 0.6.

# %%
print("singular values of diag(4, 3):", np.linalg.svd(np.diag([4.0, 3.0]), compute_uv=False))

# %% [markdown]
# ### Exercise · rank_k_error (8 min, ●●○)
#
# Given a float64 matrix `a (m, n)` and a rank `k`, return the relative error of the nearest matrix of rank k, one
# number. A k of 0 loses everything: 1. A k as large as the rank, or larger, loses nothing: 0. A matrix of zeros gives
# 0.0. By hand: `a = [[4, 0], [0, 3]]`, `k = 1` gives 0.6.


# %%
def rank_k_error(a, k):
    """Relative error of the best approximation of rank k.

    a: (m, n) float64.
    k: the rank allowed, 0 or more; it may be more than m or n.
    Returns ‖a − b‖ / ‖a‖ with the nearest b of rank k, in the Frobenius norm; 0.0 for a matrix of zeros.
    Source: Eckart and Young 1936.
    """
    ### BEGIN SOLUTION
    s = np.linalg.svd(a, compute_uv=False)  # largest first
    total = (s**2).sum()
    if total == 0:
        return 0.0
    return math.sqrt((s[k:] ** 2).sum() / total)
    ### END SOLUTION


# %%
check("rank_k_error", rank_k_error)

# %% [markdown]
# Two tables of weights at the extremes. If every query averages all words, all rows are equal: rank 1. If every query
# looks at exactly the word before it, the rows are all different, and every direction is needed.

# %%
even = np.full((64, 64), 1 / 64)
previous = np.eye(64, k=-1)
for k_rank in (1, 8, 32):
    errors = mine.rank_k_error(even, k_rank), mine.rank_k_error(previous, k_rank)
    print(f"rank {k_rank:2} of 64: even weights lose {errors[0]:.2f}, the previous word loses {errors[1]:.2f}")

# %% [markdown]
# ### Linformer: mix the keys before they are asked
#
# If few directions are enough, few keys are enough. Linformer (Wang et al. 2020) mixes the n keys into m, and the n
# values into m, each with a matrix `(m, n)` that is learned: the rows of `e k` are weighted sums of keys. Scores are
# then (n, m) and not (n, n). The mixing runs along the *length*: it is positions that are mixed, not features. So n is
# fixed once `e` and `f` are learned, and a causal mask has no meaning any more, since a mixture holds late words and
# early ones.

# %%
e = np.array([[0.5, 0.5, 0, 0], [0, 0, 0.5, 0.5]])  # (m, n) = (2, 4): the average of either half
print((e @ np.array([[1.0], [3.0], [10.0], [20.0]])).tolist())

# %% [markdown]
# ### Exercise · linformer_attention (8 min, ●●○)
#
# `q, k` are `(n, D)`, `v` is `(n, Dv)`, `e` and `f` are `(m, n)`. Mix the keys by `e` and the values by `f`, and return
# the attention of the n queries to the m mixtures, `(n, Dv)`, with the scale 1/√D. The queries stay as they are. Scores
# may be as large as ±10000. By hand: with `e` and `f` the identity it is full attention, and with m = 1 every row of
# out is `f v`.


# %%
def linformer_attention(q, k, v, e, f):
    """Attention to m mixtures of keys and values.

    q, k: (n, D) float.
    v:    (n, Dv) float.
    e, f: (m, n) float; e mixes the keys, f the values, both along the length.
    Returns (n, Dv) in the dtype of the inputs.
    Source: Wang et al. 2020, section 4.
    """
    ### BEGIN SOLUTION
    scores = q @ (e @ k).T / math.sqrt(q.shape[-1])  # (n, m)
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights = weights / weights.sum(axis=-1, keepdims=True)
    return weights @ (f @ v)
    ### END SOLUTION


# %%
check("linformer_attention", linformer_attention)

# %% [markdown]
# ## No softmax: let the keys go first
#
# Leave the softmax out for a moment. Then (q kᵀ) v is a product of three matrices, and it does not matter which two
# come first:

# %%
print("they agree:", np.allclose((q @ k.T) @ v, q @ (k.T @ v)))
print("first q kᵀ:", (q @ k.T).shape, "   first kᵀ v:", (k.T @ v).shape)

# %% [markdown]
# `kᵀ v` is `(D, Dv)`, whatever the length. Only the softmax stands in the way: it needs whole rows of q kᵀ.
# Katharopoulos et al. (2020) drop exp(q·k) and take weights that are a product from the start, φ(q)·φ(k), where φ makes
# every number positive: elu(x) + 1, which is x + 1 where x > 0 and exp(x) elsewhere. Dividing by their sum gives rows
# that sum to 1:
#
# $$\text{out}_i = \frac{\sum_j \phi(q_i)\cdot\phi(k_j)\; v_j}{\sum_j \phi(q_i)\cdot\phi(k_j)}
# = \frac{\phi(q_i)\,S}{\phi(q_i)\cdot z}$$
#
# $$S = \sum_j \phi(k_j)^\top v_j,\quad z = \sum_j \phi(k_j)$$
#
# S is `(D, Dv)` and z is `(D,)`: the whole sequence in one small table.

# %% [markdown]
# **Causal**: query i has the keys up to its own. So add the keys one by one, and read after each: S and z are a *state*
# that is carried along, as in a recurrent network. By hand, D = Dv = 1, all q = k = 0, so that every φ is 1: values 4,
# 0, 2 give outputs 4 / 1, 4 / 2, 6 / 3.

# %%
state = total = 0.0
for value in (4.0, 0.0, 2.0):
    state, total = state + 1.0 * value, total + 1.0
    print(f"S = {state:.0f}, z = {total:.0f}, out = {state / total:.0f}")

# %% [markdown]
# ### Exercise · linear_attention (20 min, ●●●)
#
# Write it: `q (Tq, D)`, `k (Tk, D)`, `v (Tk, Dv)` → out `(Tq, Dv)`, without 1/√D, and with nothing added to the
# divisor. With `causal=True` (then Tq = Tk) query i has the keys up to i, its own among them. Never make an array of Tq
# × Tk entries: the check runs n = 8192, both ways. By hand: the three outputs above; without `causal` all three are 2.


# %%
def linear_attention(q, k, v, causal=False):
    """Attention whose weights are φ(q)·φ(k) over their sum, φ = elu + 1.

    q: (Tq, D) float.
    k: (Tk, D) float.
    v: (Tk, Dv) float.
    causal: whether query i has only the keys j ≤ i; then Tq = Tk.
    Returns (Tq, Dv) in the dtype of the inputs.
    Memory: never Tq × Tk.
    Source: Katharopoulos et al. 2020, sections 3.2 and 3.3.
    """
    ### BEGIN SOLUTION
    q, k = (np.where(x > 0, x + 1, np.exp(np.minimum(x, 0))) for x in (q, k))
    if not causal:
        return (q @ (k.T @ v)) / (q @ k.sum(axis=0))[:, None]
    out = np.zeros((len(q), v.shape[-1]), dtype=v.dtype)
    state = np.zeros((k.shape[-1], v.shape[-1]), dtype=v.dtype)  # S
    total = np.zeros(k.shape[-1], dtype=k.dtype)  # z
    for i in range(len(q)):
        state += np.outer(k[i], v[i])
        total += k[i]
        out[i] = (q[i] @ state) / (q[i] @ total)
    return out
    ### END SOLUTION


# %%
check("linear_attention", linear_attention)

# %%
ones = np.ones((1000, 1))
print("rows of weights sum to 1:", np.allclose(mine.linear_attention(q, k, ones), 1))
whole = mine.linear_attention(q, k, v, causal=True)
half = mine.linear_attention(q[:500], k[:500], v[:500], causal=True)
print("causal: the first half knows nothing of the second:", np.allclose(whole[:500], half))

# %% [markdown]
# Mind what was given up. Linear attention is not a cheaper way to the same numbers, as blocks and windows are for their
# masks. It is another function: D features of a key can tell only so many keys apart, and no score, however large,
# makes its weight stand out as exp does.

# %% [markdown]
# ## Measure the bets
#
# The textbook sentence: *sparse and low-rank variants cut the cost from n² to about n, at little loss.* The cost can be
# counted. The loss depends on what is asked, so ask four things of one sequence of n keys, each with one of 8 letters
# for its value. The query says what it wants:
#
# | kind | it wants the letter of | the bet it suits |
# |---|---|---|
# | near | a given key at most 16 away | window |
# | start | a given key among the first 16 | global block |
# | anywhere | a given key at any place | none |
# | all | the most frequent letter; its query is 0 | averages |


# %%
D, LETTERS, W, BLOCK, M = 16, 8, 16, 16, 64
KINDS = ("near", "start", "anywhere", "all")


# %%
def retrieval(n, rng, size):
    """Sequences with a question at every position: (q, k, v), the answers and the kinds, both (size, n)."""
    k, shape = rng.standard_normal((size, n, D), dtype=np.float32), (size, n)
    k *= math.sqrt(D) / np.linalg.norm(k, axis=-1, keepdims=True)
    common, kind = rng.integers(LETTERS, size=(size, 1)), rng.integers(4, size=shape)
    letter = np.where(rng.random(shape) < 0.25, common, rng.integers(LETTERS, size=shape))
    near = (np.arange(n) + rng.integers(-W, W + 1, size=shape)).clip(0, n - 1)
    wanted = np.choose(kind, [near, rng.integers(BLOCK, size=shape), rng.integers(n, size=shape), 0])
    q = 8 * np.take_along_axis(k, wanted[..., None], axis=1) * (kind < 3)[..., None].astype(np.float32)
    answer = np.where(kind < 3, np.take_along_axis(letter, wanted, axis=1), common)
    return (q, k, np.eye(LETTERS, dtype=np.float32)[letter]), answer, kind


# %% [markdown]
# A query of one kind is eight times the key it wants, so that full attention can find it by content. Every variant
# below gets the same questions, one layer, and the same window of 16 or block of 16; BigBird draws 3 blocks a row.
# Linformer has m = 64 mixtures, and its `e` and `f` are **trained** on such sequences, for each length anew, three
# seeds side by side.

# %%
import torch

from autograder.material.training import train

SEEDS, LENGTHS = 3, (128, 256, 512, 1024)


# %%
def mixing_loss(p, batch):
    """Mean squared distance of Linformer's output to the letter wanted, for each seed: (SEEDS,)."""
    (q, k, v), answer = batch
    weights = (q @ (p["e"][:, None] @ k).transpose(-1, -2) / math.sqrt(D)).softmax(dim=-1)  # (SEEDS, batch, n, M)
    out = weights @ (p["f"][:, None] @ v)
    return ((out - torch.nn.functional.one_hot(answer, LETTERS)) ** 2).sum(-1).mean((1, 2))


# %% tags=["experiment"]
def sequences(n, batch):
    """Endless batches for all seeds: a function of a generator, as `train` wants it."""

    def batches(rng):
        while True:
            parts, answer, _ = retrieval(n, rng, SEEDS * batch)
            *parts, answer = (torch.from_numpy(x).unflatten(0, (SEEDS, batch)) for x in (*parts, answer))
            yield parts, answer

    return batches


# %% tags=["experiment"]
def trained_mixing(n, steps=300):
    """Train e and f for one length: arrays (SEEDS, M, n)."""
    torch.manual_seed(n)
    p = {name: (torch.randn(SEEDS, M, n) / n).requires_grad_() for name in "ef"}
    train(p, mixing_loss, sequences(n, 4), steps=steps, lr=lambda step: (1 - step / (steps + 1)) / n, label=f"n = {n}")
    return {name: x.detach().numpy() for name, x in p.items()}


mixing = {n: trained_mixing(n) for n in LENGTHS}


# %% tags=["experiment"]
def layouts(n, seed=0):
    """Longformer and BigBird as layouts of blocks."""
    bigbird = mine.bigbird_mask(n // BLOCK, 1, 3, 1, np.random.default_rng(seed))
    return {"Longformer": mine.longformer_mask(n // BLOCK, 1, [0]), "BigBird": bigbird}


# %% tags=["experiment"]
def variants(n, seed=0):
    """Every variant as a function of q, k, v; the masks and the mixing of one seed."""
    e, f = mixing[n]["e"][seed], mixing[n]["f"][seed]
    found = {"full": lambda *x: mine.scaled_dot_product_attention(*x)[0]}
    found["window"] = lambda *x: mine.local_attention(*x, W)
    for name, at in layouts(n, seed).items():
        found[name] = lambda *x, at=at: mine.block_sparse_attention(*x, at, BLOCK)
    return found | {"Linformer": lambda *x: mine.linformer_attention(*x, e, f), "linear": mine.linear_attention}


# %% tags=["experiment"]
def accuracy(n, seed, size=4):
    """The share of right answers of each variant, by kind: {name: (4,)}."""
    parts, answer, kind = retrieval(n, np.random.default_rng([n, seed, 7]), size)
    found = {}
    for name, attention in variants(n, seed).items():
        right = np.stack([attention(*one).argmax(axis=-1) for one in zip(*parts, strict=True)]) == answer
        found[name] = np.array([right[kind == number].mean() for number in range(4)])
    return found


# %% tags=["experiment"]
scores = {n: [accuracy(n, seed) for seed in range(SEEDS)] for n in LENGTHS}
NAMES = tuple(scores[128][0])
# (lengths, seeds, names, kinds)
measured = np.array([[[one[name] for name in NAMES] for one in scores[n]] for n in LENGTHS])

# %% tags=["experiment", "nbval-ignore-output"]
print("n = 1024     " + "".join(f"{kind:>16}" for kind in KINDS))
for name, found in zip(NAMES, measured[-1].swapaxes(0, 1), strict=True):
    print(f"{name:12}", *(f"   {low:.2f} to {high:.2f}" for low, high in zip(found.min(0), found.max(0), strict=True)))
worst, best = measured.min(axis=1), measured.max(axis=1)  # over seeds: (lengths, names, kinds)
at, kinds = {name: i for i, name in enumerate(NAMES)}, {kind: i for i, kind in enumerate(KINDS)}
assert worst[:, at["full"]].min() > 0.98  # full attention answers everything at every length
assert all(worst[:, at[name], kinds["near"]].min() > 0.98 for name in ("window", "Longformer", "BigBird"))
assert all(worst[:, at[name], kinds["start"]].min() > 0.98 for name in ("Longformer", "BigBird"))
assert all(best[-1, at[name], kinds["anywhere"]] < 0.6 for name in NAMES if name != "full")  # nobody else's bet
assert all(worst[-1, at[name], kinds["all"]] > 0.9 for name in ("Linformer", "linear"))
assert all(worst[0, at[name], 2] > best[-1, at[name], 2] + 0.1 for name in ("Longformer", "BigBird"))  # falls with n

# %% tags=["experiment", "nbval-ignore-output"]
table = measured[-1].mean(axis=0)
ax = plots.heatmap(table, NAMES, KINDS, title="share of right answers, n = 1024, mean of three seeds")
ax.set(xlabel="what the query wants", ylabel="variant")
alt = "Right answers by variant and kind. Full: all near 1. Window: near. Longformer and BigBird: near and start. "
plots.show(ax, alt + "Linformer and linear: averages, at which all are good; anywhere: only full.")

# %% [markdown]
# Read it row by row: each variant is right where its bet is, and near guessing elsewhere. Guessing the most frequent
# letter is right about a third of the time. Nobody but full attention finds a given key *anywhere*: the pair is not in
# the mask, or the key is lost in a mixture.


# %% tags=["experiment"]
def multiply_adds(n):
    """What each variant multiplies and adds, for both of its products; the softmax is not counted."""
    width = D + LETTERS
    counted = {"full": n * n * width, "window": n * (2 * W + 1) * width, "Linformer": 2 * n * M * width}
    counted |= {name: int(layout.sum()) * BLOCK**2 * width for name, layout in layouts(n).items()}
    return counted | {"linear": 2 * n * D * LETTERS + 2 * n * D}


work = np.array([[2 * multiply_adds(n)[name] for name in NAMES] for n in LENGTHS])  # FLOPs: a multiply-add counts 2

# %% tags=["experiment"]
import tracemalloc


def peak(attention, parts):
    """The most bytes held at once beyond the inputs."""
    tracemalloc.start()
    attention(*parts)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return most


# %% tags=["experiment"]
held = [{name: peak(f, [x[0] for x in retrieval(n, rng, 1)[0]]) for name, f in variants(n).items()} for n in LENGTHS]
memory = np.array([[one[name] for name in NAMES] for one in held])

# %% tags=["experiment", "nbval-ignore-output"]
for what, table in (("FLOPs", work), ("memory", memory)):
    slopes = {name: np.polyfit(np.log(LENGTHS), np.log(table[:, i]), 1)[0] for name, i in at.items()}
    print(f"{what:6} grow like n to the", ", ".join(f"{slope:.2f} ({name})" for name, slope in slopes.items()))
    assert slopes["full"] > 1.7 and all(slope < 1.3 for name, slope in slopes.items() if name != "full")
assert work[0, at["Linformer"]] == work[0, at["full"]]
shares = (f"{work[-1, i] / work[-1, 0]:.1%} ({name})" for name, i in at.items())
print("FLOPs at n = 1024, of full attention's:", ", ".join(shares))

# %% tags=["experiment"]
STYLES = dict(zip(NAMES, ("truth", "query", "key", "output", "value", "other"), strict=True))


def panel(ax, table, label, log=True):
    """One measure against length, a line for each variant."""
    for (name, colour), marker in zip(STYLES.items(), "os^vDP", strict=True):
        ax.plot(LENGTHS, table[:, at[name]], marker=marker, markersize=5, color=plots.COLOURS[colour], label=name)
    ax.set_xscale("log", base=2)
    ax.set_xticks(LENGTHS, LENGTHS)
    ax.set(xlabel="length n", ylabel=label, yscale="log" if log else "linear")


# %% tags=["experiment", "nbval-ignore-output"]
figure, axes = plt.subplots(1, 3, figsize=(11, 3.4), layout="constrained")
panel(axes[0], measured.mean(axis=(1, 3)), "right answers, all kinds", log=False)
axes[0].set_ylim(0, 1.05)
panel(axes[1], work, "FLOPs")
panel(axes[2], memory, "peak memory (bytes)")
figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=6)
alt = "Against length: right answers stay at 1 for full attention and are lower for the others; FLOPs and memory "
plots.show(figure, alt + "of full attention rise with slope 2 on log scales, those of all others with slope about 1.")

# %% [markdown]
# Left, accuracy over all kinds: black stays at the top, the others fall with the length or stay low. Middle and right,
# on log scales: black alone rises twice as steeply. At n = 128 Linformer costs what full attention does:
# to mix takes 64 n multiply-adds per number of a key, and to ask the mixtures 64 n more. Now accuracy against cost:

# %% tags=["experiment", "nbval-ignore-output"]
figure, ax = plt.subplots(figsize=(7, 3.6), layout="constrained")
for (name, colour), marker in zip(STYLES.items(), "os^vDP", strict=True):
    i = at[name]
    ax.plot(work[:, i], measured.mean(axis=(1, 3))[:, i], marker=marker, color=plots.COLOURS[colour], label=name)
ax.set(xlabel="FLOPs", ylabel="right answers, all kinds", xscale="log", ylim=(0, 1.05))
ax.legend(ncols=1, loc="center left", bbox_to_anchor=(1, 0.5), title="n from 128 to 1024")
alt = "Accuracy against FLOPs, one line per variant over four lengths: full attention highest, at 1024 furthest right."
plots.show(ax, alt)

# %% [markdown]
# Every line runs from n = 128 at its left end to n = 1024 at its right. Up and left is good, and no variant is there
# for all four kinds: one buys cost with the answers that its bet leaves out. Were all questions near, the window would
# be best; were they all averages, linear attention would.

# %% [markdown]
# ## Are real tables of low rank?
#
# Linformer rests on the observation that trained attention is close to low rank. Here is a real model's: the encoder of
# the English–Portuguese translator, 6 layers of 8 heads, on three sentences written for this course. For each head: the
# error at rank n / 8, and how much of its weight falls on its best fixed offset, from three words back to three ahead.

# %%
TEXTS = (
    "The old woman who lives near the river told us that the bridge had been closed since the storm, so we had to "
    "walk back to the village, where a friend of hers lent us a car, and we reached the town before it was dark.",
    "My brother bought a red bicycle last summer, but he has never used it, because the roads around his house are"
    " steep and full of holes; he says that he will sell it to the girl next door, who rides to school every day.",
    "She dropped the pan because it was hot, and the soup ran over the floor and under the door into the hall, "
    "where the children, who had just come home with muddy shoes, stood still and did not dare to say a word.",
)


# %%
def offset_share(weights):
    """Mean weight on the best fixed offset from −3 to 3."""
    return max(np.diagonal(weights, offset).mean() for offset in range(-3, 4))


# %% tags=["experiment", "nbval-ignore-output"]
from autograder.material import optional, translation

absent = optional.missing(optional.TRANSLATION)
tables = []  # (layers, heads, n, n) of each sentence
if absent:
    print(absent)
else:
    model = translation.load("en-pt")
    tables = [translation.score(model, text, "Sim.").encoder_weights.double().numpy() for text in TEXTS]
    print("pieces:", [table.shape[-1] for table in tables])

# %% tags=["experiment", "nbval-ignore-output"]
heads = [table.reshape(-1, *table.shape[2:]) for table in tables]  # (48, n, n) of each sentence
errors = np.array([[mine.rank_k_error(a, len(a) // 8) for a in those] for those in heads])
shares = np.array([[offset_share(a) for a in those] for those in heads])
if tables:
    low, middle, high = np.quantile(errors, (0, 0.5, 1))
    print(f"error at rank n / 8 over {errors.size} tables: {low:.2f} to {high:.2f}, median {middle:.2f}")
    together = [np.corrcoef(*pair)[0, 1] for pair in zip(errors, shares, strict=True)]
    print("correlation with the share on a fixed offset, by sentence:", np.round(together, 2))
    assert low < 0.2 and high > 0.8 and min(together) > 0.6

# %% tags=["experiment", "nbval-ignore-output"]
def spectrum(ax, table, colour, label):
    """The error against the share of directions kept."""
    ranks = np.arange(0, len(table) + 1, max(1, len(table) // 28))
    lost = [mine.rank_k_error(table, int(rank)) for rank in ranks]
    ax.plot(ranks / len(table), lost, color=plots.COLOURS[colour], label=label)


(asked, found, _), _, _ = retrieval(64, np.random.default_rng(1), 1)
sharp = mine.scaled_dot_product_attention(asked[0], found[0], found[0])[1].astype(np.float64)

# %% tags=["experiment", "nbval-ignore-output"]
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.5), layout="constrained")
spectrum(left, sharp, "truth", "retrieval task")
if tables:
    spectrum(left, heads[0][errors[0].argmax()], "key", "real, head of highest rank")
    spectrum(left, heads[0][errors[0].argmin()], "query", "real, head of lowest rank")
    right.plot(shares.T, errors.T, ".", color=plots.COLOURS["data"])
left.set(xlabel="rank kept, share of n", ylabel="relative error", ylim=(0, 1.05))
left.legend()
right.set(xlabel="weight on the best fixed offset", ylabel="error at rank n / 8", xlim=(0, 1), ylim=(0, 1.05))
alt = "Left: error against the rank kept; it falls at once for one real head, slowly for another and the task. "
plots.show(figure, alt + "Right: one dot per head and sentence; more weight on a fixed offset, larger error.")

# %% [markdown]
# Left, a head that falls at once, and one for which nearly every direction counts. Right, one dot for each head and
# sentence: a head that looks at a fixed neighbour is far from low rank, like the table of the previous word above; a
# head that spreads its weight is near it.
#
# So "attention is of low rank" is true of some heads of one small model, and false of others in the same layers. For
# the false ones a window is the right bet.

# %% [markdown]
# ## What the measurement says, and what it does not
#
# The cost: as the textbooks say, about n in place of n². The loss: as large or small as the bet is wrong or right, and
# it grows with the length wherever a mask covers a shrinking share of pairs.
#
# Not tested here: many layers, where what one layer cannot see another may hand on; q, k and v that are *trained* with
# the variant, and learn to put what matters where the mask looks; whether 300 steps are enough for `e` and `f`; and
# time on a GPU. Tay et al. (2020, *Long Range Arena*) compare such models trained: no single one was best at every
# task.

# %% [markdown]
# ## Where you will meet this
#
# | where | the line |
# |---|---|
# | PyTorch | `flex_attention(q, k, v, block_mask=create_block_mask(…))` skips blocks that are off |
# | Hugging Face Longformer | `attention_window=512` is both sides together; `global_attention_mask` |
# | Mistral 7B, vLLM | `sliding_window`: each layer sees a causal window; what is further comes through the layers |
# | `F.scaled_dot_product_attention` | takes an `attn_mask`, and saves nothing by it |
#
# Exact attention without the n × n memory is another matter: that is notebook 10, and often the first thing to try.

# %% [markdown]
# ## The long contract, answered

# %%
n, w = 100_000, 32
print("layers with the window alone:", math.ceil((n - 1) / w))
small = {length: mine.layers_to_connect(mine.longformer_mask(length, 4, [0])) for length in (20, 80, 320)}
print("layers with one global position, at lengths 20, 80, 320:", list(small.values()))
print(f"pairs: {(2 * w + 1) * n + 2 * n:,} at most, in place of {n * n:,}")

# %% [markdown]
# Over three thousand layers, or two. Making the first position global costs two more entries a word. It *connects* the
# last paragraph with the first, through one vector. If the thing that *it* means is named in the first block and that
# block is global, it is also *found*, as in the column *start*. If it may be named anywhere, no mask here finds it in
# one layer: that is the bet one makes.

# %% [markdown]
# ## To say to a colleague
#
# - A mask decides which pairs count; only code that never makes the others saves anything.
# - A window needs about n / w layers to connect a text, one global position needs two.
# - Linformer and linear attention keep no pair exactly: here they answered averages and did not find single keys.
# - Each variant is a bet on which entries matter: near, chosen, few directions, or a product. Measure whether it is the
#   bet of the task.

# %% [markdown]
# ## In your own words
#
# ### Exercise · reflection_11 (8 min, ●●○)
#
# A colleague wants to answer questions on contracts of 100 000 words. Most answers depend on the sentences around a
# place, and some on one definition that may stand anywhere. They propose attention in a window, "since the rest of the
# matrix is nearly zero anyway". Say what bet that is, what fails and what can be done about it, what it costs, and what
# to measure before trusting it. Four to seven sentences.

# %%
### BEGIN SOLUTION
#: reflection_11 = """
#: """
reflection_11 = """
A window bets that what matters is near. For most questions that is right, and the cost falls from n² pairs to n times
the window. But the definition may stand anywhere, and a pair outside the mask has no weight at all, however well the
key suits the query: "nearly zero" describes an average row, and the few entries that are not small are what these
questions ask for.

Stacked layers widen the view by one window each, thousands of layers for this length. A global position connects all
words in two layers, but as one averaged vector, so it hands on a gist rather than a definition. If definitions stand in
a known place, make that place global; if they may stand anywhere, keep full attention in some layers, with an exact
method that does not store the matrix, or fetch the passage by search first.

Before trusting it I would measure the answers by kind: near questions and far ones apart, at several lengths, next to
full attention, and not only the mean.
"""
### END SOLUTION

# %%
reflect("reflection_11", reflection_11)

# %% [markdown]
# ## Papers
#
# - Child, Gray, Radford, Sutskever 2019, *Generating Long Sequences with Sparse Transformers*, arXiv:1904.10509. Fixed
#   sparse patterns, and kernels for blocks.
# - Beltagy, Peters, Cohan 2020, *Longformer: The Long-Document Transformer*, section 3, arXiv:2004.05150. Window and
#   global positions.
# - Zaheer, Guruganesh, Dubey and others 2020, *Big Bird: Transformers for Longer Sequences*, section 2,
#   arXiv:2007.14062. Random blocks.
# - Wang, Li, Khabsa, Fang, Ma 2020, *Linformer: Self-Attention with Linear Complexity*, sections 3 and 4,
#   arXiv:2006.04768.

# %% [markdown]
# - Katharopoulos, Vyas, Pappas, Fleuret 2020, *Transformers are RNNs: Fast Autoregressive Transformers with Linear
#   Attention*, section 3, arXiv:2006.16236.
# - Tay, Dehghani, Bahri, Metzler 2020, *Efficient Transformers: A Survey*, arXiv:2009.06732.
# - Tay, Dehghani, Abnar and others 2020, *Long Range Arena: A Benchmark for Efficient Transformers*, arXiv:2011.04006.
# - Eckart, Young 1936, *The approximation of one matrix by another of lower rank*, Psychometrika 1. The nearest matrix
#   of rank k.
