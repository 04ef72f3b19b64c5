# %% [markdown]
# # 08 · What are attention masks?
#
# About 95 minutes. You need notebook 03 (softmax of the scores, the mask), notebook 05 (self-attention), and tensors
# of PyTorch.
#
# You will be able to
#
# - say what a mask does to scores and what it does to weights, and why the two are not the same;
# - write the masks for padding and for order, and combine them;
# - decide what a query with nothing to attend to gets, so that no NaN is made, forwards or backwards;
# - translate a mask between libraries that mean opposite things by True;
# - find a leak by measuring what must not change.

# %% [markdown]
# ## A puzzle: one sentence, four answers
#
# A small service reads how hot a sentence is: every word attends to every word, the outputs are averaged, and the
# number *heat* of the average is the answer. Sentences come in batches. A batch is one tensor, so the short ones are
# filled up with **padding**, here rows of zeros, to the length of the longest.

# %%
import math

import torch

from autograder import check, hint, mine, progress, reflect
from autograder.material.sentence import WORDS, embeddings

x = torch.from_numpy(embeddings())  # (T, C) = (8, 4)
for n in (8, 9, 16, 64):
    padded = torch.cat([x, torch.zeros(n - 8, 4)])  # (n, 4)
    out = torch.softmax(padded @ padded.T / math.sqrt(4), dim=-1) @ padded
    print(f"the longest sentence has {n:2} words: heat {out[:8].mean(dim=0)[3]:.3f}")  # the mean of the 8 real words

# %% [markdown]
# The same eight words, no randomness, padding that is nothing but zeros, and even the average takes the eight real
# outputs alone. Yet the answer depends on *who else is in the batch*. How can zeros change a number? And what has to
# be done so that they do not? The end of this notebook answers both.

# %% [markdown]
# ## Not zero: minus infinity
#
# One row by hand. *It* asks; *pan*, *hot* and *she* can be found, and behind them stand two positions of padding. A
# vector of zeros has product 0 with anything, so padding scores 0. Do the last row yourself: exp of its score,
# divided by the total.

# %%
FOUND = ("pan", "hot", "she", "pad", "pad")
query = torch.from_numpy(embeddings(["it"]))[0]  # (4,)
keys = torch.cat([torch.from_numpy(embeddings(FOUND[:3])), torch.zeros(2, 4)])  # (Tk, D) = (5, 4)
row = [sum((query * key).tolist()) / math.sqrt(4) for key in keys]
total = sum(math.exp(score) for score in row)
for word, score in zip(FOUND, row, strict=True):
    print(f"{word}: score {score:.3f}, exp {math.exp(score):.3f}, weight {math.exp(score) / total:.3f}")

# %% [markdown]
# exp(0) = 1: padding weighs as much as *she*, who scores 0 too. 0 is a score like any other, neither the lowest nor
# "none". What adds nothing to the total is exp(−∞) = 0. Three ways to hide the padding:

# %%
keep = torch.tensor([True, True, True, False, False])
scores = torch.tensor(row)  # (5,)
ways = {
    "score 0 before the softmax": torch.softmax(scores * keep, dim=-1),
    "weight 0 after the softmax": torch.softmax(scores, dim=-1) * keep,
    "score −∞ before the softmax": torch.softmax(scores.masked_fill(~keep, -math.inf), dim=-1),
}
for way, weights in ways.items():
    print(f"{way:27}", *(f"{weight:.3f}" for weight in weights), f"  sum {weights.sum():.3f}")

# %% [markdown]
# Only the last is right: nothing for the padding, and the rest shared in full.
#
# It is often said that *a mask zeros out scores*. It is a natural thing to say, because the zeros are what one sees
# in a map of attention. But those are **weights**. A mask sets **scores** to −∞ *before* the softmax; the zeros come
# out of it. Whoever takes the sentence at its word writes the first line.

# %% [markdown]
# ## A mask is about keys
#
# Padding stands in the table of weights twice: as columns, where it is found, and as rows, where it asks.
#
# | asks ↓ · is found → | real key | padded key |
# |---|---|---|
# | real query | wanted | **leak**: a real output changes |
# | padded query | harmless: an output that nobody has to read | harmless |
#
# So a padding mask hides columns. Hiding rows mends nothing: the other rows read the padding still. What a padded
# query computes is thrown away later, at the mean or at the loss; that is a second step, and it is needed too.

# %% [markdown]
# The course's convention: a mask is bool, **True = may attend**, and broadcasts to the scores, `(B, H, Tq, Tk)`.
# Whether a key is padding depends on the sentence and the key, not on head or query. So these two axes get length 1,
# and broadcasting repeats them. By hand, for lengths 2 and 3, padded to 4:

# %%
by_hand = torch.tensor([[True, True, False, False], [True, True, True, False]])  # (B, n) = (2, 4)
print("positions:", torch.arange(4).tolist())
print("as a mask:", tuple(by_hand[:, None, None, :].shape))
print("scores   :", tuple(torch.broadcast_shapes((2, 1, 1, 4), (2, 8, 4, 4))), "with 8 heads and 4 queries")

# %% [markdown]
# ### Exercise · padding_mask (8 min, ●○○)
#
# Given `lengths`, `(B,)` int64, the numbers of real tokens, and the padded length `n`, return the bool mask `(B, 1,
# 1, n)`: True where the key is a real token. Real tokens stand first. A sentence of length 0 has no True at all. By
# hand: `lengths = (2, 3)`, `n = 4` gives the table above.


# %%
def padding_mask(lengths, n):
    """Say which keys are words of their sentence and not padding.

    lengths: (B,) int64, how many real tokens each sentence has, 0 to n; they stand first.
    n:       the length to which every sentence is padded.
    Returns bool (B, 1, 1, n), True where the key is a real token.
    """
    ### BEGIN SOLUTION
    return (torch.arange(n) < lengths[:, None])[:, None, None, :]
    ### END SOLUTION


# %%
check("padding_mask", padding_mask)

# %%
print("as by hand:", torch.equal(mine.padding_mask(torch.tensor([2, 3]), 4)[:, 0, 0], by_hand))
for length, mask in zip((0, 2, 4), mine.padding_mask(torch.tensor([0, 2, 4]), 4), strict=True):
    print(f"length {length}:", mask[0, 0].int().tolist())

# %% [markdown]
# ## No looking ahead
#
# A model that writes text predicts the next word from the words so far. In training all words are given at once, and
# the mask has to hide what comes later: query `i` sees key `j` if j ≤ i. Such a mask is called **causal**. It says
# the same for every sentence and head, so `(Tq, Tk)` is enough. With loops, for 4 words:

# %%
for i in range(4):
    print(f"query {i}:", *("sees" if j <= i else "·   " for j in range(4)))

# %% [markdown]
# When a model writes, the keys of earlier words are kept and only the new words ask. Then there are more keys than
# queries, say 5 keys and 2 queries. The new words are the *last* two of five: the first of them sees 4 keys, the
# second all 5. So the triangle is aligned **bottom-right**: query `i` stands at key i + (n_k − n_q).
#
# Aligned top-left, the first new word would see the oldest key alone, the second the two oldest, and neither itself.
# With as many keys as queries the two alignments are the same, so this mistake stays unseen until the model writes.

# %% [markdown]
# ### Exercise · causal_mask (10 min, ●●○)
#
# Return the bool mask `(n_q, n_k)`, True where the key is not later than the query, aligned bottom-right: the last
# query sees every key. `n_k=None` means as many keys as queries. With more queries than keys the first rows are
# empty. By hand: `causal_mask(2, 3)` is `[[True, True, False], [True, True, True]]`, and `causal_mask(2, 1)` is
# `[[False], [True]]`.


# %%
def causal_mask(n_q, n_k=None):
    """Say which keys are not later than their query.

    n_q: how many queries there are; the last one stands at the last key.
    n_k: how many keys there are; None is as many as queries.
    Returns bool (n_q, n_k), True where the query may attend to the key.
    Source: Vaswani et al. 2017, section 3.2.3.
    """
    ### BEGIN SOLUTION
    n_k = n_q if n_k is None else n_k
    return torch.ones(n_q, n_k, dtype=torch.bool).tril(diagonal=n_k - n_q)
    ### END SOLUTION


# %%
check("causal_mask", causal_mask)

# %% [markdown]
# Not everyone aligns that way: PyTorch's `is_causal=True` counts from the top left. The test: two new words must get
# what they get when the whole sentence asks.

# %%
from torch.nn import functional

q, k, v = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(0))  # (T, D) = (5, 4) each
newest = q[-2:]  # two queries, five keys
ours = functional.scaled_dot_product_attention(newest[None], k[None], v[None], mine.causal_mask(2, 5))
theirs = functional.scaled_dot_product_attention(newest[None], k[None], v[None], is_causal=True)
whole = functional.scaled_dot_product_attention(q[None], k[None], v[None], mine.causal_mask(5))
print("two new words with bottom-right give what the whole sentence gave:", torch.allclose(ours, whole[:, -2:]))
print("is_causal=True gives it too:", torch.allclose(theirs, whole[:, -2:]))

# %% [markdown]
# ## Many masks, one operation
#
# Every mask is a table of permissions, so masks combine with `&` (both must permit) and `|` (one is enough). Which
# keys a **window** or a shared **document** permits is again a comparison of positions.

# %%
places = torch.arange(8)
earlier, near = mine.causal_mask(8), places[:, None] - places <= 2
document = torch.tensor([0, 0, 0, 1, 1, 1, 1, 1])  # two texts packed into one row
padding = mine.padding_mask(torch.tensor([5]), 8)[0, 0].expand(8, 8)
FAMILIES = {
    "padding: 5 of 8 are real": padding,
    "causal": earlier,
    "window: causal & near": earlier & near,
    "padding & causal": padding & earlier,
    "prefix: causal | key < 3": earlier | (places < 3),
    "documents: causal & same text": earlier & (document[:, None] == document),
}

# %%
import matplotlib.pyplot as plt

from autograder.material import plots


def permissions(ax, mask, title):
    """Draw a mask, one square per pair, blue where the query may attend to the key."""
    plots.heatmap(mask.int().tolist(), range(8), range(8), ax, title=title, numbers=False, limits=(0, 1.4))
    ax.set(aspect="equal")
    for line in range(1, 8):
        ax.axhline(line - 0.5, color="w", linewidth=1.5)
        ax.axvline(line - 0.5, color="w", linewidth=1.5)


# %%
figure, axes = plt.subplots(2, 3, figsize=(8.5, 5.6), layout="constrained", sharex=True, sharey=True)
for ax, (name, mask) in zip(axes.flat, FAMILIES.items(), strict=True):
    permissions(ax, mask, name)
for ax in axes[:, 0]:
    ax.set_ylabel("query", color=plots.COLOURS["query"])
for ax in axes[1]:
    ax.set_xlabel("key", color=plots.COLOURS["key"])
alt = "Six masks, queries by row, keys by column, blue where attention is allowed. Padding: the first five columns. Causal: the "
alt += "lower triangle. Window: a band of three. Padding and causal: the triangle cut at column five. Prefix: three columns "
plots.show(figure, alt + "and the triangle. Documents: two triangles along the diagonal.")

# %% [markdown]
# Blue may attend. Padding cuts whole columns; order cuts along the diagonal. A *window* forgets what is far; a
# *prefix*, such as a question, is read in both directions while the answer is causal; *documents* packed into one row
# must not read each other. All six are one kind of table, and one function, written below, takes any of them.

# %% [markdown]
# ## A row with nothing in it
#
# Combining masks can leave a query without any key. It needs no exotic case: sentences padded on the *left*, as is
# common when a model writes, and the causal mask. Or a sentence of length 0. Or text that may attend to a picture
# that is not there.

# %%
left_padded = torch.tensor([False, False, True, True, True])  # two positions of padding, then three words
both = mine.causal_mask(5) & left_padded
print(both.int())
print("queries without a key:", (~both.any(dim=-1)).nonzero()[:, 0].tolist())

# %% [markdown]
# What is the softmax of such a row? It depends on the number that was put in place of the scores. Many programs do
# not use −∞ but "a very negative number", say −1e9.

# %% [markdown]
# ### Exercise · empty_rows (2 min, ●○○)
#
# All four scores of a row are hidden. `torch.softmax` then gives four weights. What are they if the scores were
# replaced by −1e9, and what if by −∞? Answer with two words in this order, each `"zero"` (all 0), `"even"` (all 0.25)
# or `"nan"`. Commit to them before the cell below shows it.

# %%
### BEGIN SOLUTION
#: empty_rows = ...  # your prediction: two words, such as ("zero", "zero")
empty_rows = ("even", "nan")
### END SOLUTION

# %%
check("empty_rows", empty_rows)

# %%
for fill in (-1e9, -math.inf):
    print(f"four scores of {fill}:", torch.softmax(torch.full((4,), fill), dim=-1).tolist())

# %% [markdown]
# A softmax sees differences only, and four equal scores do not differ, however low. So with −1e9 an empty row attends
# *evenly to everything it must not see*: finite, plausible, wrong. With −∞ it is 0 / 0.
#
# NaN is the more honest of the two, and it spreads. Below, two rows share one parameter `w`. One row is empty, and
# its NaN is replaced by 0 at once.

# %%
bias = torch.tensor([[0.0, 0.0, -math.inf], [-math.inf, -math.inf, -math.inf]])  # the second row is empty
w = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
weights = torch.softmax(w + bias, dim=-1).nan_to_num(0.0)
loss = (weights[:, 0] ** 2).sum()
loss.backward()
print(f"loss {loss.item():.4f}, gradient of w: {w.grad.tolist()}")

# %% [markdown]
# The loss is finite. The gradient is not: on its way back it passes the softmax that made the NaN, 0 · NaN is NaN, and
# the addition hands it on. One optimizer step, and `w` is NaN for good. (`masked_fill`, which passes no gradient to
# the hidden scores, happens to stop it.) An empty row that is caught *before* the softmax makes no NaN at all.
#
# This course decides, as in notebook 03: an empty row gets weights of 0. The plan: put any finite scores into empty
# rows, so that the softmax is well-behaved, then set their weights to 0.

# %% [markdown]
# ### −1e9 in half precision
#
# Many models compute in float16, two bytes a number. Its range is small, and −1e9 lies outside it. −∞ exists in every
# float dtype.

# %%
half = torch.tensor([1.0, 2.0], dtype=torch.float16)
hidden = torch.tensor([False, True])
print("the most negative float16:", torch.finfo(torch.float16).min)
try:
    half.masked_fill(hidden, -1e9)
except RuntimeError as error:
    print("filling with −1e9:", type(error).__name__, "·", "overflow" in str(error))
print("filling with −∞:", half.masked_fill(hidden, -math.inf).tolist())

# %% [markdown]
# ### Exercise · masked_softmax (15 min, ●●○)
#
# Softmax over the last axis of `scores (..., Tq, Tk)`, float16, float32 or float64 and as large as ±10000, under a
# bool `mask` that broadcasts to them. Hidden keys weigh 0, the rest of the row sums to 1; a row without keys is all
# 0. The weights have the dtype of the scores, the inputs stay as they are, and the gradient is never NaN. By hand:
# scores `(ln 3, 0, 5)` with mask `(True, True, False)` give `(0.75, 0.25, 0)`.


# %%
def masked_softmax(scores, mask):
    """Turn scores into weights over the keys that may be attended to.

    scores: (..., Tq, Tk) float, how well each key suits each query.
    mask:   bool, broadcastable to scores, True where the query may attend to the key.
    Returns (..., Tq, Tk) in the dtype of scores; a query that may attend to nothing gets weights of 0.
    Source: Vaswani et al. 2017, section 3.2.3.
    """
    ### BEGIN SOLUTION
    scores = scores.masked_fill(~mask, -math.inf)
    empty = ~mask.any(dim=-1, keepdim=True)
    weights = torch.softmax(scores.masked_fill(empty, 0.0), dim=-1)
    return weights.masked_fill(empty, 0.0)
    ### END SOLUTION


# %%
check("masked_softmax", masked_softmax)

# %% [markdown]
# The two rows from above once more, through it; then the picture that every leak makes. Four words of the sentence,
# padded to seven with zeros, every word asking every word.

# %%
w = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
loss = (mine.masked_softmax(w.expand(2, 3), bias == 0)[:, 0] ** 2).sum()
loss.backward()
print(f"loss {loss.item():.4f}, gradient is finite: {w.grad.isfinite().all()}")

# %%
short = torch.cat([x[:4], torch.zeros(3, 4)])  # (7, 4): she dropped the pan, and padding
scores = short @ short.T / math.sqrt(4)  # (7, 7)
seen = torch.softmax(scores, dim=-1)
hidden = mine.masked_softmax(scores, mine.padding_mask(torch.tensor([4]), 7)[0, 0])
assert seen[2, 4:].sum() > seen[2, :4].max() and hidden[:, 4:].sum() == 0
print("the row of the, no mask:", *(f"{weight:.2f}" for weight in seen[2]))

# %%
labels = [*WORDS[:4], "pad", "pad", "pad"]
figure, axes = plt.subplots(1, 2, figsize=(10.5, 3.5), layout="constrained")
for ax, table, title in zip(axes, (seen, hidden), ("no mask: padding is read", "padding mask"), strict=True):
    plots.heatmap(table.tolist(), labels, labels, ax, title=title)
    ax.axvline(3.5, color=plots.COLOURS["truth"], linewidth=1, linestyle=":")
    ax.axhline(3.5, color=plots.COLOURS["truth"], linewidth=1, linestyle=":")
    ax.set_xlabel("key", color=plots.COLOURS["key"])
    ax.set_ylabel("query", color=plots.COLOURS["query"])
alt = "Weights of four words and three pads. Without a mask every pad column holds weight, most of all for the word the. With "
plots.show(figure, alt + "the mask the three pad columns are 0, and the pad rows still hold weights on real words.")

# %% [markdown]
# Left of the dotted line are real keys. Without a mask, *the* gives more to the padding together than to any word.
# With it, the three right columns are 0 and each row sums to 1 on the left. The lower rows, padded queries, still
# read words: harmless, as long as nobody reads *them*.

# %% [markdown]
# ## One mask, three dialects
#
# Whether True shows or hides is a convention, and conventions differ. All of these are called "mask":
#
# | where | form |
# |---|---|
# | this course; `scaled_dot_product_attention`, bool `attn_mask` | True = attend |
# | `nn.MultiheadAttention`, `key_padding_mask` `(B, n)` and bool `attn_mask` | True = **ignore** |
# | both of them, float mask | **additive**: 0 or −∞, added to the scores |
# | tokenizers of Hugging Face, `attention_mask` `(B, n)` | 1 = real, 0 = padding |
#
# The first two cannot be told apart by dtype or shape. A mask of the wrong one raises no error, and the model reads
# nothing but padding.

# %% [markdown]
# The additive form has a trap of its own. It is tempting to compute it: hidden is 1, visible is 0, times −∞.

# %%
keep = torch.tensor([True, False])
print("(1 − keep) · −∞:", ((1 - keep.float()) * -math.inf).tolist())

# %% [markdown]
# ### Exercise · convert_mask (8 min, ●○○)
#
# `keep` is a bool mask of any shape, True = may attend. Return a mask of the same shape in the dialect `to`:
# `"additive"`, float32 with 0 where `keep` is True and −∞ where it is False; `"torch_key_padding"`, bool, True =
# ignore (for a `keep` of shape `(B, n)`); `"torch_sdpa"`, bool, True = attend. Any other `to` raises `ValueError`. By
# hand: `(True, False)` becomes `(0, −∞)`, `(False, True)` and `(True, False)`.


# %%
def convert_mask(keep, to):
    """Say a mask in the dialect of another function.

    keep: bool of any shape, True = may attend.
    to:   "additive", "torch_key_padding" (for a keep of shape (B, n)) or "torch_sdpa".
    Returns a mask of the shape of keep: float32 of 0 and −∞; bool, True = ignore; bool, True = attend.
    Raises ValueError for any other `to`.
    """
    ### BEGIN SOLUTION
    if to == "additive":
        return torch.zeros(keep.shape).masked_fill(~keep, -math.inf)
    if to == "torch_key_padding":
        return ~keep
    if to == "torch_sdpa":
        return keep
    raise ValueError(f"no dialect is called {to!r}; there are additive, torch_key_padding and torch_sdpa")
    ### END SOLUTION


# %%
check("convert_mask", convert_mask)

# %% [markdown]
# Now ask PyTorch. The first function takes two of the dialects and must agree with `masked_softmax`.

# %%
lengths = torch.tensor([4, 7])
q = k = v = torch.randn(2, 1, 7, 4, generator=torch.Generator().manual_seed(0))  # (B, H, T, D)
keep = mine.padding_mask(lengths, 7)  # (2, 1, 1, 7)
ours = mine.masked_softmax(q @ k.mT / math.sqrt(4), keep) @ v
for to in ("torch_sdpa", "additive"):
    theirs = functional.scaled_dot_product_attention(q, k, v, mine.convert_mask(keep, to))
    print(f"scaled_dot_product_attention, {to:10}: agrees {torch.allclose(theirs, ours, atol=1e-6)}")
theirs = functional.scaled_dot_product_attention(q, k, v, ~keep)
print(f"the same, mask inverted: agrees {torch.allclose(theirs, ours, atol=1e-6)}")

# %% [markdown]
# The second has weights of its own, so it is compared with itself: the four words alone, without padding, are the
# truth.

# %%
torch.manual_seed(0)
layer = torch.nn.MultiheadAttention(4, num_heads=1, batch_first=True)
batch, real = v[:, 0], keep[:, 0, 0]  # (B, T, C) and (B, n)
alone, _ = layer(batch[:1, :4], batch[:1, :4], batch[:1, :4])
for name, mask in (("torch_key_padding", mine.convert_mask(real, "torch_key_padding")), ("keep as it is", real)):
    out, _ = layer(batch, batch, batch, key_padding_mask=mask)
    print(f"nn.MultiheadAttention, {name:17}: the words alone {torch.allclose(out[:1, :4], alone, atol=1e-5)}")
print(
    "no mask at all                          :", torch.allclose(layer(batch, batch, batch)[0][:1, :4], alone, atol=1e-5)
)

# %% [markdown]
# And a row without keys? Four ways to ask one library:

# %% tags=["nbval-ignore-output"]
nothing = torch.zeros(2, 7, dtype=torch.bool)
answers = {
    "torch.softmax": torch.softmax(torch.full((1, 7), -math.inf), dim=-1),
    "scaled_dot_product_attention": functional.scaled_dot_product_attention(q, k, v, nothing[:, None, None, :]),
    "MultiheadAttention": layer(batch, batch, batch, key_padding_mask=~nothing)[0],
    "MultiheadAttention, no weights": layer(batch, batch, batch, key_padding_mask=~nothing, need_weights=False)[0],
    "masked_softmax": mine.masked_softmax(q @ k.mT, nothing[:, None, None, :]) @ v,
}
for name, answer in answers.items():
    print(f"{name:30}", "NaN" if answer.isnan().any() else "zero" if answer.abs().max() == 0 else "something else")
assert answers["torch.softmax"].isnan().all() and (answers["masked_softmax"] == 0).all()

# %% [markdown]
# The softmax divides 0 by 0. What the two layers answer depends on the version of PyTorch and even on whether weights
# are asked for, so no program should rely on it. Decide yourself, before the softmax.

# %% [markdown]
# ## Which batch am I in?
#
# The test for leaks is short: *pad further, and compare*. Whatever stands in the padding, and however long it is, no
# answer about a real sentence may change. Two steps mix positions and can leak: attention, and the mean over tokens.
# Two sentences by hand, one number per token:
#
# | tokens | mean over n = 4 | mean over the real ones |
# |---|---|---|
# | 6, 2, pad, pad | (6 + 2 + 0 + 0) / 4 = 2 | (6 + 2) / 2 = 4 |
# | 6, 2, 4, 8 | 5 | 5 |

# %% [markdown]
# ### Exercise · repaired_batch (12 min, ●●○)
#
# The function reads a batch and gives one vector per sentence: self-attention, then a mean. It uses the lengths, yet
# longer padding changes its answer. Repair it: `hidden (B, T, C)`, `lengths (B,)`, matrices `(C, D)`, `(C, D)`,
# `(C, Dv)`, result `(B, Dv)`, the mean over real tokens of attention among real tokens, 0 for a sentence of length 0.
# Two things are wrong. By hand: a sentence of length 1 must give exactly the value of its only token.


# %%
def repaired_batch(hidden, lengths, w_q, w_k, w_v):
    """One vector per sentence, whatever the padding.

    hidden:   (B, T, C) float, the tokens; what stands in the padding may be any numbers up to ±1000.
    lengths:  (B,) int64, how many real tokens each sentence has, 0 to T; they stand first.
    w_q, w_k: (C, D) float.
    w_v:      (C, Dv) float.
    Returns (B, Dv) in the dtype of hidden: the mean output of the real tokens; 0 for a sentence of length 0.
    """
    ### BEGIN SOLUTION
    #: real = torch.arange(hidden.shape[1]) < lengths[:, None]  # (B, T)
    #: q, k, v = hidden @ w_q, hidden @ w_k, hidden @ w_v
    #: scores = q @ k.mT / math.sqrt(q.shape[-1])  # (B, T, T)
    #: weights = torch.softmax(scores, dim=-1) * real[:, :, None]
    #: return (weights @ v).mean(dim=1)  # (B, Dv)
    real = torch.arange(hidden.shape[1]) < lengths[:, None]  # (B, T)
    q, k, v = hidden @ w_q, hidden @ w_k, hidden @ w_v
    scores = q @ k.mT / math.sqrt(q.shape[-1])  # (B, T, T)
    weights = masked_softmax(scores, real[:, None, :]) * real[:, :, None]
    return (weights @ v).sum(dim=1) / lengths.clamp(min=1)[:, None]  # (B, Dv)
    ### END SOLUTION


# %%
check("repaired_batch", repaired_batch)

# %% [markdown]
# The service from the beginning, with this function inside. Its words are their own queries, keys and values, so the
# three matrices are the identity.

# %%
one = torch.eye(4, dtype=torch.float64)
for n in (8, 9, 16, 64):
    padded = torch.cat([x, torch.zeros(n - 8, 4)])[None]  # (1, n, 4)
    print(f"{n:2} positions: heat {mine.repaired_batch(padded, torch.tensor([8]), one, one, one)[0, 3]:.3f}")

# %% [markdown]
# ## Measure the leak
#
# The claim: without a mask a real token's output depends on the padding, and with it not at all. Four sentences,
# vectors of 16 numbers and projections drawn by five seeds, padded to up to 256 positions. The padding is once zeros,
# once a vector drawn like those of words. Each sentence alone, without padding, is the truth. What is measured is the
# largest change of a real token's output, as a share of the largest output.

# %%
SENTENCES = [
    "she dropped the pan because it was hot".split(),
    "it was hot because she dropped it".split(),
    "the pan was hot".split(),
    "she dropped it".split(),
]
LENGTHS = torch.tensor([len(sentence) for sentence in SENTENCES])


# %%
def batch_of(seed, n, pad):
    """The sentences padded to n positions, (4, n, 16), and three projections; pad scales the vector of padding."""
    generator = torch.Generator().manual_seed(seed)
    words, projections = torch.randn(9, 16, generator=generator), torch.randn(3, 16, 16, generator=generator) / 4
    words[8] *= pad  # the row behind those of the eight words
    rows = [[WORDS.index(word) for word in sentence] + [8] * (n - len(sentence)) for sentence in SENTENCES]
    return words[torch.tensor(rows)], projections


# %%
def outputs(x, projections, mask):
    """Self-attention of a batch (B, n, 16)."""
    q, k, v = (x @ projection for projection in projections)
    return mine.masked_softmax(q @ k.mT / math.sqrt(16), mask) @ v


EVERY = torch.ones(1, 1, dtype=torch.bool)  # a mask that hides nothing


# %%
def change(seed, n, pad, hide):
    """The largest change of a real token's output against its sentence alone, as a share of the largest output."""
    x, projections = batch_of(seed, n, pad)
    found = outputs(x, projections, mine.padding_mask(LENGTHS, n)[:, 0] if hide else EVERY)
    alone = [outputs(x[b, :length], projections, EVERY) for b, length in enumerate(LENGTHS)]
    worst = max((found[b, : len(truth)] - truth).abs().max() for b, truth in enumerate(alone))
    return (worst / max(truth.abs().max() for truth in alone)).item()


# %% tags=["experiment", "nbval-ignore-output"]
import numpy as np

LONGEST = (8, 16, 32, 64, 128, 256)
SETTINGS = {"no mask, padding drawn": (1, False), "no mask, padding of zeros": (0, False), "padding mask": (1, True)}
leaks = {name: np.array([[change(s, n, *how) for s in range(5)] for n in LONGEST]) for name, how in SETTINGS.items()}
print("padded to", *(f"{n:>9}" for n in LONGEST))
for name, found in leaks.items():
    print(f"{name}, mean of 5 seeds\n         ", *(f"{number:9.2g}" for number in found.mean(axis=1)))
unmasked = leaks["no mask, padding drawn"], leaks["no mask, padding of zeros"]
assert all((np.diff(found, axis=0) > 0).all() for found in unmasked)  # the further, the worse, for every seed
assert min(found.min() for found in unmasked) > max(0.25, 1e5 * leaks["padding mask"].max())
assert leaks["padding mask"].max() < 1e-5

# %% tags=["experiment"]
figure, ax = plt.subplots(figsize=(7.5, 3.4), layout="constrained")
for (name, found), colour, marker in zip(leaks.items(), ("key", "other", "truth"), "os^", strict=True):
    ax.plot(LONGEST, found.mean(axis=1), marker=marker, color=plots.COLOURS[colour], label=name)
    low, high = found.min(axis=1), found.max(axis=1)
    ax.fill_between(LONGEST, low, high, color=plots.COLOURS[colour], alpha=0.2, linewidth=0)
ax.set(xscale="log", ylim=(-0.1, 2.6), xlabel="positions in the batch", ylabel="largest change\n(share of the largest output)")
ax.set_xticks(LONGEST, LONGEST)
ax.minorticks_off()
ax.legend(loc="upper left", ncols=3, columnspacing=1.2)
alt = "Largest change of a real token's output against the padded length. Without a mask it begins at about half of the output "
plots.show(figure, alt + "or more and grows with the length; with the mask it lies on zero throughout.")

# %% [markdown]
# Bands are the range over five seeds. Without a mask the change is more than a quarter of the largest output from the
# start and grows with every doubling of the length, zeros or not. With it, less than a hundred-thousandth of that
# remains: the black line lies on 0.
#
# Not exactly on it, as the table shows: sums over rows of another length add up in another order, and float32 rounds. So
# a test for leaks compares within a tolerance; a leak is far above it.

# %% [markdown]
# ## A loss too good to be true
#
# What does a missing *causal* mask do? It makes training look wonderful. To see it, the best possible loss must be
# known. So let chance write the text: 8 letters, and each is drawn by chances that depend on the one before it alone.
# Nobody can predict better, on average, than the entropy of these chances. That is the **floor**.

# %% tags=["experiment"]
LETTERS, T, D, RUNS, STEPS = 8, 12, 16, 3, 300
CHANCES = np.random.default_rng(0).dirichlet(np.full(LETTERS, 0.5), size=LETTERS)  # row: letter; column: the next one
STEADY = np.linalg.matrix_power(CHANCES, 200)[0]  # how often each letter occurs
FLOOR = -(STEADY[:, None] * CHANCES * np.log(CHANCES)).sum()


def texts(count, rng):
    """(count, T + 1) letters, each drawn by the one before it."""
    letters = [rng.choice(LETTERS, count, p=STEADY)]
    for _ in range(T):
        letters.append((CHANCES[letters[-1], :-1].cumsum(axis=1) < rng.random((count, 1))).sum(axis=1))
    return torch.from_numpy(np.stack(letters, axis=1))


# %% [markdown]
# The model: a letter plus its position gives a vector; one head of attention reads others; from both, side by side,
# comes a guess at the next letter. Three models, each from a start of its own, train at once along a leading axis.

# %% tags=["experiment"]
SIZES = {"letter": (LETTERS, D), "place": (T, D), "q": (D, D), "k": (D, D), "v": (D, D), "guess": (2 * D, LETTERS)}


def parameters():
    """RUNS models side by side."""
    torch.manual_seed(0)
    scale = {name: 1 if name in ("letter", "place") else math.sqrt(rows) for name, (rows, _) in SIZES.items()}
    return {name: (torch.randn(RUNS, *size) / scale[name]).requires_grad_() for name, size in SIZES.items()}


# %% tags=["experiment"]
def guesses(p, letters, mask):
    """Scores of the next letter, (RUNS, B, T, LETTERS), and the attention weights, (RUNS, B, T, T)."""
    x = p["letter"][:, letters] + p["place"][:, None]  # (RUNS, B, T, D)
    q, k, v = (x @ p[name][:, None] for name in "qkv")
    weights = mine.masked_softmax(q @ k.mT / math.sqrt(D), mask)
    return torch.cat([x, weights @ v], dim=-1) @ p["guess"][:, None], weights


# %% tags=["experiment"]
from autograder.material.training import train

MASKS = {"causal mask": mine.causal_mask(T), "no mask": torch.ones(T, T, dtype=torch.bool)}


def loss_under(mask, p, letters):
    """Mean cross-entropy of each model, (RUNS,), in nats per letter."""
    found, _ = guesses(p, letters[:, :-1], mask)
    right = letters[:, 1:, None].expand(RUNS, -1, -1, 1)  # the letter that came next
    return -found.log_softmax(dim=-1).gather(-1, right).mean(dim=(1, 2, 3))


# %% tags=["experiment"]
from functools import partial

LOSSES = {name: partial(loss_under, mask) for name, mask in MASKS.items()}
models, curves = {name: parameters() for name in MASKS}, {}
for name, model in models.items():
    records = train(model, LOSSES[name], lambda rng: [texts(32, rng)], steps=STEPS, lr=1e-2, label=name)
    curves[name] = np.array([record.loss for record in records])
print({name: curve.shape for name, curve in curves.items()}, "steps, models")

# %% [markdown]
# Then both are tested on new texts, as they were trained, and once more as they would be used: when a model writes,
# what comes later does not exist, so the causal mask is a fact, not a choice.

# %% tags=["experiment", "nbval-ignore-output"]
new = texts(2000, np.random.default_rng(1))
with torch.no_grad():
    tested = {name: LOSSES[name](model, new).numpy() for name, model in models.items()}
    used = LOSSES["causal mask"](models["no mask"], new).numpy()
print(
    f"floor {FLOOR:.3f}, all letters equally likely {math.log(LETTERS):.3f}, floor / T {FLOOR / T:.3f} nats per letter"
)
for name, found in {**tested, "no mask, in use": used}.items():
    print(f"{name:16}", *(f"{number:.3f}" for number in found))
assert (abs(tested["causal mask"] - FLOOR) < 0.04).all()  # at the floor, not below
assert (tested["no mask"] < 1.5 * FLOOR / T).all()  # far below what is possible
assert (used > math.log(LETTERS)).all()  # worse than guessing evenly

# %% tags=["experiment"]
with torch.no_grad():
    weights = guesses(models["no mask"], new[:, :-1], MASKS["no mask"])[1][0].mean(dim=0)  # (T, T), of the first model
assert (weights.diagonal(1) > 0.9).all()


def losses(ax):
    """Every model's loss against the step, and the floor."""
    for (name, curve), colour in zip(curves.items(), ("truth", "other"), strict=True):
        lines = ax.plot(range(1, STEPS + 1), curve, color=plots.COLOURS[colour], linewidth=0.8)
        lines[0].set_label(name)


# %% tags=["experiment"]
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), width_ratios=(1.5, 1), layout="constrained")
losses(left)
left.axhline(FLOOR, color=plots.COLOURS["query"], linewidth=2, linestyle=":", label="floor: the best possible")
left.set(xlabel="step", ylabel="loss (nats per letter)", ylim=(0, 3))
left.legend(loc="upper right")
plots.heatmap(weights.tolist(), range(T), range(T), right, title="no mask: mean weights", numbers=False)
right.set(aspect="equal")
right.set_xlabel("key", color=plots.COLOURS["key"])
right.set_ylabel("query", color=plots.COLOURS["query"])
alt = "Left: three loss curves with the causal mask settle at the floor, three without it fall far below. Right: mean weights of a "
plots.show(figure, alt + "model without a mask; each query attends to the key one place to its right, but the last one cannot.")

# %% [markdown]
# Left, the three models with a mask settle at the floor; those without fall through it, which is impossible for
# honest guesses. Right, how: every letter looks one place to the right, where its own answer stands. Only the last
# has nobody to copy from, and it alone pays: about one T-th of the floor.

# %% [markdown]
# ## What the measurement says, and what it does not
#
# The leak of padding is large, grows with its length, and vanishes with the mask up to rounding. These were random
# projections. A model *trained* on unmasked padding may learn to give it little weight, for lengths it has seen; that
# was not tested here.
#
# Without the causal mask the loss is wonderful and the model useless: in use, it is worse than guessing evenly. The
# exact figures belong to this toy. The lesson does not: a loss below what is possible is a bug. Where the floor is
# unknown, test the mask itself: *change a later word, and no earlier output may change*.

# %%
vectors = torch.randn(1, 8, 16, generator=torch.Generator().manual_seed(0))
other = vectors.clone()
other[0, 7] += 1.0  # the last word is another
_, projections = batch_of(0, 8, 1)
for name, mask in (("causal mask", mine.causal_mask(8)), ("no mask", torch.ones(8, 8, dtype=torch.bool))):
    before, after = outputs(vectors, projections, mask), outputs(other, projections, mask)
    print(f"{name}: the first seven outputs stay: {torch.allclose(before[0, :7], after[0, :7])}")

# %% [markdown]
# ## Where you will meet this
#
# | where | the line |
# |---|---|
# | PyTorch | `scaled_dot_product_attention(q, k, v, attn_mask)`, True = attend; `nn.MultiheadAttention(…, key_padding_mask=…)`, True = ignore |
# | BERT | `(1.0 - attention_mask) * -10000.0` in the first code, the dtype's most negative number in Hugging Face's |
# | FlashAttention, vLLM | `causal=True`: no mask is stored, blocks that are hidden whole are skipped; bottom-right since version 2.1 |
# | UniLM, the prefix language model in T5's paper | the prefix mask |

# %% [markdown]
# ## One sentence, four answers: answered
#
# Zeros are not nothing. A padded key scores 0 with every query, exp(0) = 1, and each position of padding takes that
# share away from the words. The longer the longest sentence of the batch, the less was left, and the colder the
# answer became. With −∞ in place of the scores of padded keys, and a mean over real tokens, the four answers are one.

# %% [markdown]
# ## To say to a colleague
#
# - A mask sets scores to −∞ before the softmax; the zeros that one sees are weights.
# - It hides keys. What padded queries compute is dropped later, at the mean or at the loss.
# - An empty row gets NaN with −∞ and equal weights with −1e9: decide what it gets, before the softmax makes a NaN.
# - True means attend in one library and ignore in another; no error tells you.
# - Test by invariance: pad further, or change a later word, and see what moves.

# %% [markdown]
# ## In your own words
#
# ### Exercise · reflection_08 (8 min, ●●○)
#
# A colleague fills padding with zeros, multiplies the attention weights by the padding mask, and is puzzled that
# answers still depend on the batch. Explain what goes wrong in each of the two steps, where the mask belongs, which
# number it writes there and why not 0, what it hides (keys or queries), and what has to be decided about a row that
# is left empty. Four to six sentences.

# %%
### BEGIN SOLUTION
#: reflection_08 = """
#: """
reflection_08 = """
A padded vector of zeros is still a key: its score with every query is 0, and exp(0) = 1, so the softmax gives it a share.
Multiplying by the mask afterwards removes that share, but nobody gets it back: the weights of the real keys no longer
sum to 1, and the more padding there is, the smaller they are. So the answer still depends on the batch.

The mask belongs before the softmax, and it writes −∞ in place of the scores: exp(−∞) = 0, and the other keys share the
whole 1 among them. It hides keys, that is columns; a padded query harms nobody as long as its output is left out of
the mean or the loss. If every key of a row is hidden, the softmax is 0 / 0. One has to decide what such a query gets,
here weights of 0, and to do it before the softmax: a NaN that is replaced afterwards can still reach the gradient.
"""
### END SOLUTION

# %%
reflect("reflection_08", reflection_08)

# %% [markdown]
# ## Papers
#
# - Vaswani, Shazeer, Parmar, Uszkoreit, Jones, Gomez, Kaiser, Polosukhin 2017, *Attention Is All You Need*, section
#   3.2.3, arXiv:1706.03762. Illegal connections are set to −∞ in the input of the softmax.
# - Raffel, Shazeer, Roberts, Lee, Narang, Matena, Zhou, Li, Liu 2020, *Exploring the Limits of Transfer Learning with
#   a Unified Text-to-Text Transformer*, section 3.2.1, arXiv:1910.10683. Fully visible, causal and prefix masks
#   compared.
# - Dong, Yang, Wang and others 2019, *Unified Language Model Pre-training*, arXiv:1905.03197. Three masks, one model.
# - Beltagy, Peters, Cohan 2020, *Longformer*, section 3.1, arXiv:2004.05150. Windows.
# - Krell, Kosec, Perez, Fitzgibbon 2021, *Efficient Sequence Packing without Cross-contamination*, arXiv:2107.02027.
#   Documents packed into one row, and the mask that keeps them apart.
