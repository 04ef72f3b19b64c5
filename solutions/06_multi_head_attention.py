# %% [markdown]
# # 06 · What is multi-head attention?
#
# About 100 minutes. You need notebook 02 (the three projections), notebook 03 (scaled dot-product attention, masks),
# notebook 05 (self-attention), and tensors of torch.
#
# You will be able to
#
# - say what one head cannot do, and show it with an experiment;
# - cut projected vectors into heads and join them again, without mixing tokens;
# - write multi-head attention for any mask, and load the weights of PyTorch's own layer into it;
# - count what heads cost, and say when there are too many of them.

# %% [markdown]
# ## A puzzle: who dropped what?
#
# *She dropped the pan because it was hot.* To be understood, *dropped* must learn two things: who did it, *she*, and to
# what, *pan*. Let it attend to both, half and half. What it gets is their average, computed here on the course's
# hand-made vectors, once for this sentence and once for *the pan dropped her*.

# %%
import math

import torch

from autograder import check, hint, mine, progress, reflect
from autograder.material.sentence import FEATURES, WORDS, embeddings

torch.set_num_threads(1)
x = torch.from_numpy(embeddings())  # (T, C) = (8, 4)

# %%
she, dropped, pan = x[WORDS.index("she")], x[WORDS.index("dropped")], x[WORDS.index("pan")]
print(f"{'':17}", *FEATURES)
for who, what, name in ((she, pan, "she dropped pan"), (pan, she, "pan dropped she")):
    print(f"{name:17}", *(f"{n:{len(f)}.2f}" for n, f in zip(0.5 * who + 0.5 * what, FEATURES, strict=True)))

# %% [markdown]
# One average, two stories. Whatever stands behind the attention, it cannot tell who dropped whom.
#
# Would uneven weights help? With 0.6 for who did it and 0.4 for what was dropped, the two averages differ. But the
# next layer multiplies by a matrix: treating all words alike, it rates each by a straight line in its weight. To find
# *what*, the line would have to be higher at 0.4 than at 0.6, and higher than at 0, where all absent words are. No
# straight line is.
#
# So the question is what else *dropped* could do. Keep a guess; the end of this notebook answers it, with a
# measurement.

# %% [markdown]
# ## Attention in torch
#
# The rest of the course trains what it builds, so it moves from NumPy to torch, which records every operation and can
# go back through them for gradients. Attention stays what it was in notebook 03. Three things look different: the
# last two axes are swapped by `.transpose(-2, -1)` or `.mT`, axes are named by `dim`, and the softmax is there
# already.

# %%
scores = torch.tensor([[math.log(3), 0.0], [0.0, 0.0]])
print("softmax over the keys:", torch.softmax(scores, dim=-1).numpy().round(2).tolist())
print("k (2, 3, 5, 6) becomes", tuple(torch.zeros(2, 3, 5, 6).mT.shape))

# %% [markdown]
# `torch.softmax` subtracts the maximum by itself, so large scores are safe. A query without keys is not: a row of −∞
# gives NaN. Two ways out give the same zeros. Look at what each sends back to the scores.

# %%
may = torch.tensor([False, False])
for way in ("masked_fill", "adding −∞"):
    s = torch.zeros(2, requires_grad=True)
    hidden = s.masked_fill(~may, -math.inf) if way == "masked_fill" else s + torch.tensor([-math.inf, -math.inf])
    weights = torch.softmax(hidden, dim=-1).nan_to_num()
    weights.sum().backward()
    print(f"{way:12} weights {weights.tolist()}, gradient {s.grad.tolist()}")

# %% [markdown]
# The result is mended, the way back is not: inside the softmax there is still a NaN, and 0 times NaN is NaN.
# `masked_fill` (and `torch.where`) lets no gradient through to a masked score; an addition lets everything through.
# One such row in one batch turns every weight of a model into NaN.

# %% [markdown]
# ### Exercise · batched_attention (12 min, ●●○)
#
# Write notebook 03's attention for tensors: `q (..., Tq, D)`, `k (..., Tk, D)`, `v (..., Tk, Dv)`, a boolean `mask`,
# True = may attend, that broadcasts to `(..., Tq, Tk)`, or None. Return `(out, weights)`. A query without keys gets 0
# in both, and finite gradients; scores may be as large as ±10000; stay in torch, so that gradients flow. By hand: `q
# = [[1]]`, `k = [[ln 3], [0]]`, `v = [[4], [0]]` gives weights `[[0.75, 0.25]]` and out `[[3]]`.


# %%
def batched_attention(q, k, v, mask=None):
    """Average the values, weighted by how well each key suits each query; any leading axes.

    q:    (..., Tq, D) float tensor.
    k:    (..., Tk, D) float tensor.
    v:    (..., Tk, Dv) float tensor.
    mask: bool tensor, broadcastable to (..., Tq, Tk), True where query i may attend to key j; None is everywhere.
    Returns (out (..., Tq, Dv), weights (..., Tq, Tk)) in the dtype of the inputs, differentiable in q, k and v. A query
    that may attend to nothing gets weights of 0 and an output of 0.
    Source: Vaswani et al. 2017, section 3.2.1.
    """
    ### BEGIN SOLUTION
    scores = q @ k.mT / math.sqrt(q.shape[-1])  # (..., Tq, Tk)
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf)
    weights = torch.softmax(scores, dim=-1)
    if mask is not None:
        weights = weights.masked_fill(~mask, 0.0)  # also where a row without keys is NaN
    return weights @ v, weights
    ### END SOLUTION


# %%
check("batched_attention", batched_attention)

# %% [markdown]
# ## Two questions at once, by hand
#
# *Dropped* has two questions, so let it ask twice: **two heads**. Each has its own queries, keys and values, two
# numbers wide, and its own softmax. An action asks head 0 for a person and head 1 for a thing. Both heads hand over
# (person, thing).

# %%
w_q, w_k, w_v = torch.zeros(3, 4, 4, dtype=torch.float64)  # rows: person, thing, action, heat
w_q[2, 0] = w_q[2, 2] = 3.0  # an action asks: column 0 belongs to head 0, column 2 to head 1
w_k[0, 0] = w_k[1, 2] = 1.0  # a person is found by head 0, a thing by head 1
w_v[0, 0] = w_v[1, 1] = w_v[0, 2] = w_v[1, 3] = 1.0  # columns 0 and 1 for head 0, columns 2 and 3 for head 1

# %% [markdown]
# All queries stand in one matrix `x @ w_q` of width 4: the first two columns are head 0's, the last two head 1's. A
# loop over the heads cuts its columns out and runs the attention you have just written.

# %%
by_loop = []
for head in range(2):
    own = slice(2 * head, 2 * head + 2)  # this head's columns
    out, weights = mine.batched_attention(x @ w_q[:, own], x @ w_k[:, own], x @ w_v[:, own])
    by_loop.append(out)
    best = weights[1].argsort(descending=True)[:2].tolist()
    print(
        f"head {head}: dropped reads",
        *(f"{WORDS[j]} {weights[1, j]:.2f}" for j in best),
        "and gets",
        out[1].round(decimals=2),
    )

# %% [markdown]
# Head 0 finds *she*, head 1 finds *pan* (and *it*, which is the pan). Side by side their two averages are a vector of
# width 4 again, and place now says what an average could not: the first half is who, the second half is what.

# %%
print("dropped gets", torch.cat(by_loop, dim=-1)[1].round(decimals=2))

# %% [markdown]
# ## Cutting vectors into heads
#
# A loop over heads is slow; one call over an axis of heads is not. `batched_attention` takes any leading axes, so the
# projected vectors `(B, T, C)` only need the shape `(B, h, T, D)` with D = C / h. Which numbers go where? Two tokens
# of width 6, numbered, and three heads:

# %%
numbered = torch.arange(12.0).reshape(1, 2, 6)  # (B, T, C): token 0 is 0 … 5, token 1 is 6 … 11
for head in range(3):
    print(f"head {head} wants", numbered[0, :, 2 * head : 2 * head + 2].tolist())
print("view(1, 3, 2, 2) gives head 0", numbered.view(1, 3, 2, 2)[0, 0].tolist())

# %% [markdown]
# Head 0 wants the first two numbers of *both* tokens. `view` and `reshape` never move a number: they read in order
# and start a new row when one is full, so their head 0 gets four numbers of token 0 and calls them two tokens. The
# shape is right, and everything else is wrong. To cut the last axis is safe, for its pieces do lie in a row; the axes
# are then *swapped*, not reshaped, into their order.

# %% [markdown]
# ### Exercise · split_heads (8 min, ●●○)
#
# Turn `x (B, T, C)` into `(B, h, T, C // h)`: head `n` holds the n-th run of C // h neighbouring numbers of every
# token. If `h` does not divide C, raise a `ValueError` whose message names both numbers. By hand: the tensor above,
# with `h=3`, gives head 0 `[[0, 1], [6, 7]]`, head 1 `[[2, 3], [8, 9]]`, head 2 `[[4, 5], [10, 11]]`.


# %%
def split_heads(x, h):
    """Cut every vector into h neighbouring pieces, one for each head.

    x: (B, T, C) float tensor.
    h: how many heads.
    Returns (B, h, T, C // h) in the dtype of x, differentiable in x.
    Raises ValueError naming h and C if h does not divide C.
    """
    ### BEGIN SOLUTION
    b, t, c = x.shape
    if c % h:
        raise ValueError(f"{h} heads do not divide a width of {c}")
    return x.reshape(b, t, h, c // h).transpose(1, 2)
    ### END SOLUTION


# %%
check("split_heads", split_heads)

# %% [markdown]
# ### Exercise · merge_heads (5 min, ●○○)
#
# The way back: turn `x (B, h, T, D)` into `(B, T, h·D)`, every token's pieces side by side, head 0 first. By hand:
# the three heads above give the two tokens 0 … 5 and 6 … 11 again. After a swap of axes neighbours no longer lie side
# by side in memory; `reshape` then copies, and `view` refuses.


# %%
def merge_heads(x):
    """Put the pieces of all heads side by side again.

    x: (B, h, T, D) float tensor.
    Returns (B, T, h·D) in the dtype of x, differentiable in x.
    """
    ### BEGIN SOLUTION
    b, h, t, d = x.shape
    return x.transpose(1, 2).reshape(b, t, h * d)
    ### END SOLUTION


# %%
check("merge_heads", merge_heads)

# %% [markdown]
# It is tempting to test the two only on each other. Look at what that test is worth:

# %%
there_and_back = mine.merge_heads(mine.split_heads(numbered, 3))
wrong_and_back = numbered.view(1, 3, 2, 2).view(1, 2, 6)
print("a right pair comes back to where it was:", there_and_back.equal(numbered))
print("a wrong pair comes back as well:        ", wrong_and_back.equal(numbered))

# %% [markdown]
# ## All heads at once
#
# The whole layer, for heads n = 0 … h−1 (Vaswani et al. 2017, section 3.2.2):
#
# $$\text{head}_n = \text{softmax}\!\left(\frac{q_n k_n^\top}{\sqrt{D}}\right) v_n$$
#
# $$\text{out} = [\,\text{head}_0, \dots, \text{head}_{h-1}\,]\; w_o$$
#
# | step | shapes |
# |---|---|
# | project: three products | (B, Tq, C) and (B, Tk, C) → (B, Tq, h·D), (B, Tk, h·D) twice |
# | split each | → (B, h, T, D) |
# | attention, all heads in one call | → (B, h, Tq, D), weights (B, h, Tq, Tk) |
# | merge, and mix with w_o | → (B, Tq, h·D) → (B, Tq, C) |
#
# D is the width of *one* head: the scale is 1 / √D.

# %% [markdown]
# ### One mask, three shapes
#
# Weights are `(B, h, Tq, Tk)`, and shapes are compared from the right. A mask `(Tq, Tk)` fits, and so does one with
# four axes. A mask for each sentence, `(B, Tq, Tk)`, does not: its B stands where the heads are. If B and h differ,
# that is an error. If they happen to be equal, sentence 1's mask silently goes to head 1 of every sentence. So it
# needs an axis of size 1 for the heads, which the broadcasting then fills.

# %%
for shape in ((4, 5), (2, 4, 5), (2, 1, 4, 5), (2, 1, 1, 5)):
    try:
        print(f"{shape!s:12} becomes", tuple(torch.broadcast_shapes(shape, (2, 3, 4, 5))))
    except RuntimeError:
        print(f"{shape!s:12} does not fit (B, h, Tq, Tk) = (2, 3, 4, 5)")

# %% [markdown]
# ### Exercise · multi_head_attention (20 min, ●●●)
#
# Queries come from `x_q (B, Tq, C)`, keys and values from `x_kv (B, Tk, C)`; for self-attention both are the same.
# `w_q`, `w_k`, `w_v` are `(C, h·D)`, `w_o` is `(h·D, C)`, and D = `w_q.shape[1] // h`, which need not be C / h. A
# `mask` is `(Tq, Tk)`, `(B, Tq, Tk)`, or has four axes that broadcast to `(B, h, Tq, Tk)`. Return `(out (B, Tq, C),
# weights (B, h, Tq, Tk))`.
#
# By hand: all widths 1, h = 1, every matrix `[[1]]`, `x_q = [[[1]]]`, `x_kv = [[[ln 3], [0]]]`: weights `[[[[0.75,
# 0.25]]]]`, out 0.75 · ln 3 = 0.824.


# %%
def multi_head_attention(x_q, x_kv, w_q, w_k, w_v, w_o, h, mask=None):
    """Let every token of x_q attend to the tokens of x_kv with h heads, each on its own slice of the projections.

    x_q:  (B, Tq, C) float tensor, the tokens that ask.
    x_kv: (B, Tk, C) float tensor, the tokens that are read.
    w_q, w_k, w_v: (C, h·D); head n owns the n-th run of D columns.
    w_o:  (h·D, C).
    h:    how many heads; D = w_q.shape[1] // h.
    mask: bool, True where query i may attend to key j: (Tq, Tk), (B, Tq, Tk), or 4-D, broadcastable to (B, h, Tq, Tk).
    Returns (out (B, Tq, C), weights (B, h, Tq, Tk)), differentiable. A query without keys gets weights and output 0.
    Source: Vaswani et al. 2017, section 3.2.2.
    """
    ### BEGIN SOLUTION
    q, k, v = split_heads(x_q @ w_q, h), split_heads(x_kv @ w_k, h), split_heads(x_kv @ w_v, h)  # (B, h, T, D)
    if mask is not None and mask.ndim == 3:
        mask = mask.unsqueeze(1)  # (B, 1, Tq, Tk)
    out, weights = batched_attention(q, k, v, mask)  # (B, h, Tq, D), (B, h, Tq, Tk)
    return merge_heads(out) @ w_o, weights
    ### END SOLUTION


# %%
check("multi_head_attention", multi_head_attention)

# %% [markdown]
# The loop above and the new function agree. And the same matrices can be read as *one* head of width 4: nothing is
# added or taken away, only the softmax now sees both questions at once.

# %%
eye = torch.eye(4, dtype=torch.float64)
two_out, two = mine.multi_head_attention(x[None], x[None], w_q, w_k, w_v, eye, h=2)
one_out, one = mine.multi_head_attention(x[None], x[None], w_q, w_k, w_v, eye, h=1)
print("loop and function agree:", torch.allclose(two_out[0], torch.cat(by_loop, dim=-1)))
print("two heads: dropped gets", two_out[0, 1].round(decimals=2).tolist())
print("one head:  dropped gets", one_out[0, 1].round(decimals=2).tolist())

# %%
import matplotlib.pyplot as plt

from autograder.material import plots

maps = {"one head of width 4": one[0, 0], "head 0 of two": two[0, 0], "head 1 of two": two[0, 1]}

# %%
figure, axes = plt.subplots(1, 3, figsize=(12.5, 2.1), layout="constrained", sharey=True)
for ax, (title, weights) in zip(axes, maps.items(), strict=True):
    plots.heatmap(weights[[1, 6]].tolist(), ["dropped", "was"], WORDS, ax, title=title)
    ax.tick_params(axis="x", rotation=40)
    ax.set_xlabel("key", color=plots.COLOURS["key"])
axes[0].set_ylabel("query", color=plots.COLOURS["query"])
plots.show(
    figure, "One head shares the weight of dropped among she, pan and it. Of two, one reads she, the other pan and it."
)

# %% [markdown]
# Left, one softmax for both questions: *dropped* shares its weight among *she*, *pan* and *it*, and gets a blur of
# them. Right, the same numbers cut into two heads: each question has its own row of weights that sum to 1. *Was*, an
# action as well, asks the same questions less sharply.

# %% [markdown]
# ## What a head sees, and what w_o does
#
# Two things are commonly believed about heads. *"Each head sees a part of the sentence."* Every head sees every
# token. *"Each head sees a part of the vector."* Nor that: it owns columns of `w_q`, `w_k`, `w_v`, and every column
# mixes all C numbers of a token. What is cut is the projection. Change one number of one token and look at which
# heads notice.

# %%
torch.manual_seed(0)
tokens, matrices = torch.randn(1, 5, 12), torch.randn(4, 12, 12) / math.sqrt(12)
changed = tokens.clone()
changed[0, 2, 7] += 1.0  # one number of token 2
before, after = (mine.multi_head_attention(y, y, *matrices, h=4)[1] for y in (tokens, changed))
print("heads whose weights change:", [n for n in range(4) if not torch.allclose(before[0, n], after[0, n])])

# %% [markdown]
# To multiply the joined heads by `w_o` is to multiply each head by *its own rows* of `w_o` and to add: every head
# writes its own contribution into the output. `w_o` therefore decides where each head's finding ends up, and keeps
# them apart, or not.

# %%
out, weights = mine.multi_head_attention(tokens, tokens, *matrices, h=4)
v = mine.split_heads(tokens @ matrices[2], 4)  # (1, 4, 5, 3)
written = sum((weights[:, n] @ v[:, n]) @ matrices[3][3 * n : 3 * n + 3] for n in range(4))
print("they agree:", torch.allclose(out, written, atol=1e-5))

# %% [markdown]
# ## What a head costs
#
# ### Exercise · parameters_vs_heads (1 min, ●○○)
#
# A layer of width C = 64 has four matrices. With h heads, each of width D = C / h, they are `(C, h·D)` three times
# and `(h·D, C)`. By which factor does the number of parameters change from h = 1 to h = 8? Commit to a number before
# the cell below counts.

# %%
### BEGIN SOLUTION
#: parameters_vs_heads = ...  # your prediction: parameters with 8 heads divided by parameters with 1
parameters_vs_heads = 1
### END SOLUTION

# %%
check("parameters_vs_heads", parameters_vs_heads)

# %%
for h in (1, 2, 4, 8):
    layer = torch.nn.MultiheadAttention(64, h, bias=False, batch_first=True)
    count = sum(p.numel() for p in layer.parameters())
    print(f"h = {h}: {count} parameters; 10 tokens have {h * 10 * 10} scores, each a sum of {64 // h} products")

# %% [markdown]
# The factor is 1: heads are cut from a fixed width. The number of multiplications is the same as well, h · D of them
# for each pair of tokens. What does grow with h is the number of *scores and weights*. And each head gets narrower,
# which is the price, as the experiment will show.

# %% [markdown]
# ## The same thing in PyTorch
#
# `torch.nn.MultiheadAttention` is this layer. It keeps its weights in another form: as every `nn.Linear` it computes
# x @ Wᵀ and stores W as (out, in); and the three input matrices stand in one, `in_proj_weight`, below one another:
# queries, keys, values.

# %%
layer = torch.nn.MultiheadAttention(6, 2, bias=False, batch_first=True)
print("in_proj_weight ", tuple(layer.in_proj_weight.shape))
print("out_proj.weight", tuple(layer.out_proj.weight.shape))

# %% [markdown]
# ### Exercise · from_torch_mha (8 min, ●●○)
#
# Given an `nn.MultiheadAttention(C, h, bias=False, batch_first=True)` whose keys and values have width C as well,
# return its four matrices as a dict with `w_q`, `w_k`, `w_v` and `w_o`, each (C, C), so that `multi_head_attention`
# gives what the layer gives. Leave the layer as it is. By hand: for C = 1 and `in_proj_weight = [[2], [3], [5]]`,
# `w_q` is `[[2]]`, `w_k` is `[[3]]`, `w_v` is `[[5]]`.


# %%
def from_torch_mha(mha):
    """Read the four matrices of PyTorch's layer, in the form x @ w.

    mha: torch.nn.MultiheadAttention with embed_dim C, bias=False, batch_first=True, kdim and vdim not given.
    Returns a dict with w_q, w_k, w_v and w_o, each (C, C), (in, out), in the dtype of the layer.
    """
    ### BEGIN SOLUTION
    w_q, w_k, w_v = mha.in_proj_weight.detach().chunk(3)  # (C, C) each, (out, in)
    return {"w_q": w_q.T, "w_k": w_k.T, "w_v": w_v.T, "w_o": mha.out_proj.weight.detach().T}
    ### END SOLUTION


# %%
check("from_torch_mha", from_torch_mha)

# %% [markdown]
# Now the layer and your function can be compared, on a mask too. In `nn.MultiheadAttention` a boolean mask means the
# opposite: True = hidden. By default it also returns the *mean* of the heads' weights, in which no single head can be
# seen any more.

# %%
torch.manual_seed(1)
layer = torch.nn.MultiheadAttention(12, 3, bias=False, batch_first=True)
asking, read, mask = torch.randn(2, 4, 12), torch.randn(2, 5, 12), torch.tensor(4 * [[True, True, True, True, False]])
theirs, their_weights = layer(asking, read, read, attn_mask=~mask, average_attn_weights=False)
ours, our_weights = mine.multi_head_attention(asking, read, **mine.from_torch_mha(layer), h=3, mask=mask)
print("outputs agree:", torch.allclose(theirs, ours, atol=1e-5))
print("weights agree:", torch.allclose(their_weights, our_weights, atol=1e-5))

# %% [markdown]
# ## Measure the claim
#
# The claim: several heads can look at two places at once and keep them apart; one head can only blur them. A task
# that would refute it: eight words stand in eight places; a query names two places *in order*, and the answer is the
# two words there, in that order.
#
# A token is 16 numbers: its word (one of 8, one-hot) and its place (one of 8, one-hot). A query is 16 numbers: the
# first place and the second place. The output is 16 numbers: a rating of each word as the first, and as the second.
# Words are drawn with replacement, so some come twice and some not at all.

# %%
from autograder.material.training import train

PLACES = torch.eye(8)
PAIRS = torch.tensor([(i, j) for i in range(8) for j in range(8) if i != j])  # (56, 2)
ASKED = PLACES[PAIRS].flatten(1)  # (56, 16): all queries there are


def sentences(n, generator):
    """Draw n sentences: their words (n, 8), and their tokens (n, 8, 16)."""
    words = torch.randint(8, (n, 8), generator=generator)
    return words, torch.cat([torch.eye(8)[words], PLACES.expand(n, 8, 8)], dim=-1)


# %% [markdown]
# The model is one layer of multi-head attention and nothing else: four 16 × 16 matrices, 1024 parameters for every h,
# no hidden layer that could disentangle a blur. Five models with different starts are trained side by side, along a
# leading axis S, which your functions see as part of the batch.


# %%
def answers(models, tokens, h):
    """Ratings (S, B, 56, 2, 8) and weights (S, B, h, 56, 8) of S models on B sentences."""
    w_q, w_k, w_v, w_o = models  # each (S, 16, 16)
    q = (ASKED @ w_q)[:, None].expand(-1, len(tokens), -1, -1)  # (S, B, 56, 16)
    k, v = tokens @ w_k[:, None], tokens @ w_v[:, None]  # (S, B, 8, 16)
    heads = [mine.split_heads(part.flatten(0, 1), h) for part in (q, k, v)]
    out, weights = mine.batched_attention(*heads)
    out = mine.merge_heads(out).unflatten(0, q.shape[:2]) @ w_o[:, None]
    return out.unflatten(-1, (2, 8)), weights.unflatten(0, q.shape[:2])


# %%
words, tokens = sentences(3, torch.Generator().manual_seed(0))
models = torch.randn(4, 1, 16, 16, generator=torch.Generator().manual_seed(1))
ratings, _ = answers(models, tokens, h=2)
by_definition, _ = mine.multi_head_attention(ASKED.expand(3, -1, -1), tokens, *models[:, 0], h=2)
print("one model, as multi_head_attention gives it:", torch.allclose(ratings[0].flatten(-2), by_definition, atol=1e-3))
print("parameters of a model:", models[:, 0].numel())

# %% [markdown]
# Training asks every sentence all 56 ordered pairs, and minimises the cross-entropy of both answers. Judged are new
# sentences, and pairs of two *different* words. An answer is right *in order* if both words are. To see what a wrong
# answer still knows, we also take the two words with the highest total rating, first and second together: is it the
# right pair, whichever came first? That is right *as a set*.


# %%
def losses(models, batch, h):
    """Mean cross-entropy of each of S models: (S,)."""
    words, tokens = batch
    ratings, _ = answers(models, tokens, h)
    wanted = words[:, PAIRS].expand(ratings.shape[:-1])  # (S, B, 56, 2)
    each = torch.nn.functional.cross_entropy(ratings.flatten(0, -2), wanted.flatten(), reduction="none")
    return each.unflatten(0, wanted.shape).mean((1, 2, 3))


# %%
def learn(h, draw=sentences):
    """Train five models with h heads; returns their matrices (4, 5, 16, 16)."""
    starts = [torch.randn(4, 16, 16, generator=torch.Generator().manual_seed(seed)) / 4 for seed in range(5)]
    models = torch.stack(starts, dim=1).requires_grad_()
    data = torch.Generator().manual_seed(7)
    batches = [draw(16, data) for _ in range(400)]
    train([models], lambda given, batch: losses(given[0], batch, h), batches, steps=400, lr=0.02, label=f"{h} heads")
    return models.detach()


# %%
def shares(models, h, draw=sentences):
    """Of pairs of different words, how many are right in order, and as a set: (5,) and (5,)."""
    words, tokens = draw(200, torch.Generator().manual_seed(99))
    ratings, _ = answers(models, tokens, h)
    wanted = words[:, PAIRS]  # (B, 56, 2)
    differ = wanted[..., 0] != wanted[..., 1]
    in_order = (ratings.argmax(-1) == wanted).all(-1)
    best = ratings.sum(-2).topk(2).indices.sort(-1).values
    as_set = (best == wanted.sort(-1).values).all(-1)
    return in_order[:, differ].float().mean(1), as_set[:, differ].float().mean(1)


# %% tags=["experiment", "nbval-ignore-output"]
HEADS = (1, 2, 4, 8, 16)
trained = {h: learn(h) for h in HEADS}
ordered, unordered = (torch.stack(found) for found in zip(*(shares(trained[h], h) for h in HEADS), strict=True))
for h, found in zip(HEADS, ordered, strict=True):
    print(f"h = {h:2}, D = {16 // h:2}: in order {found.mean():.3f}, from {found.min():.3f} to {found.max():.3f}")
print(f"one head, as a set: {unordered[0].mean():.3f}, from {unordered[0].min():.3f} to {unordered[0].max():.3f}")

# %% tags=["experiment"]
assert ordered[0].max() < 0.1 and unordered[0].min() > 0.95  # one head: which words, not which is which
assert ordered[1:4].min() > 0.95  # two, four, eight heads
assert ordered[4].max() < ordered[1:4].min() - 0.1  # sixteen heads of width 1: worse, with every start
print("one head: right as a set, wrong in order; two, four, eight: right in order; sixteen: worse again")

# %% tags=["experiment", "nbval-ignore-output"]
places = torch.arange(5)[:, None] + torch.linspace(-0.12, 0.12, 5)  # the five starts side by side
figure, ax = plt.subplots(figsize=(7.2, 3.3), layout="constrained")
ax.plot(range(5), ordered.mean(1), color=plots.COLOURS["truth"])
ax.plot(places.flatten(), ordered.flatten(), "o", color=plots.COLOURS["truth"], label="in order")
ax.plot(places[0], unordered[0], "s", color=plots.COLOURS["other"], label="one head, as a set")
ax.set_xticks(range(5), [f"{h}\n{16 // h}" for h in HEADS])
ax.set(xlabel="h, heads (above), and D, their width (below)", ylabel="share of pairs right", ylim=(-0.05, 1.05))
ax.legend(loc="lower center")
plots.show(figure, "In order: one head near 0; two, four and eight at 1; sixteen in between. As a set: one head at 1.")

# %% [markdown]
# Each point is one of five starts, the line their mean. One head knows *which two words* (orange) and not *which is
# which* (black). Two heads know both, with the same number of parameters, and so do four and eight. Sixteen heads of
# width 1 are worse again: every start stays well below the worst start with eight.

# %% tags=["experiment", "nbval-ignore-output"]
SHOWN = [[0, 3], [3, 0], [3, 7], [7, 3], [5, 3], [1, 2]]  # places in the running sentence
rows = [PAIRS.tolist().index(pair) for pair in SHOWN]
sentence = torch.cat([torch.eye(8), PLACES], dim=-1)[None]  # the word in place t is word t
panels = {"one head": answers(trained[1], sentence, 1)[1][0, 0, 0]}
panels |= {f"two heads: head {n}": answers(trained[2], sentence, 2)[1][0, 0, n] for n in range(2)}

# %% tags=["experiment", "nbval-ignore-output"]
figure, axes = plt.subplots(1, 3, figsize=(13, 3.4), layout="constrained", sharey=True)
for ax, (title, weights) in zip(axes, panels.items(), strict=True):
    plots.heatmap(weights[rows].tolist(), [f"{WORDS[i]}, {WORDS[j]}" for i, j in SHOWN], WORDS, ax, title=title)
    ax.tick_params(axis="x", rotation=40)
    ax.set_xlabel("key", color=plots.COLOURS["key"])
axes[0].set_ylabel("asked for, in order", color=plots.COLOURS["query"])
plots.show(
    figure, "Left: one head puts about half its weight on each of the two words, in either order. Right: one head each."
)

# %% [markdown]
# The weights of the first of the five starts on the running sentence, one asked pair a row. Left, one head reads both
# words at once, half and half, and *she, pan* looks much like *pan, she*. Middle and right, two heads: one reads the
# first place asked for, the other the second.
#
# Nobody assigned these roles. Which head takes the first place depends on the start:

# %% tags=["experiment", "nbval-ignore-output"]
_, weights = answers(trained[2], sentence, 2)  # (5, 1, 2, 56, 8)
on_first = weights[:, 0].gather(-1, PAIRS[:, 0].expand(5, 2, 56)[..., None]).mean((-1, -2))  # (5, 2)
for seed, (zero, one_more) in enumerate(on_first.tolist()):
    print(f"start {seed}: weight on the first place {zero:.2f} by head 0, {one_more:.2f} by head 1")
assert (on_first.max(1).values > 0.8).all() and (on_first.min(1).values < 0.2).all()  # one head each
assert 0 < (on_first[:, 0] > on_first[:, 1]).sum() < 5  # not always the same one

# %% [markdown]
# ## A task that one head can do
#
# The words were drawn *with replacement*. That matters. Suppose each of the eight words stood in each sentence
# exactly once. Could one head then answer in order? Try to find a way before the next cell; the argument with the
# straight line, at the top, rests on words that are absent.


# %%
def shuffled(n, generator):
    """As `sentences`, but every word occurs exactly once."""
    words = torch.rand(n, 8, generator=generator).argsort(dim=-1)
    return words, torch.cat([torch.eye(8)[words], PLACES.expand(n, 8, 8)], dim=-1)


# %% tags=["experiment", "nbval-ignore-output"]
single = learn(1, shuffled)
in_order, _ = shares(single, 1, shuffled)
mean = answers(single, shuffled(200, torch.Generator().manual_seed(5))[1], 1)[1].mean((1, 2))  # (5, 56, 8)
i, j = (mean.gather(-1, PAIRS[:, n].expand(5, 56)[..., None]).mean((1, 2)) for n in range(2))
for seed in range(5):
    print(f"start {seed}: in order {in_order[seed]:.3f}, weight on first {i[seed]:.2f}, on second {j[seed]:.2f}")
assert in_order.min() > 0.95 and torch.minimum(i, j).max() < 0.02 < 0.2 < torch.maximum(i, j).min()

# %% [markdown]
# One head answers in order, with every start. It reads one of the two words most, the other *not at all*, and all the
# rest a little. The word with the largest share is one answer; the word that is missing from the average is the
# other. No word is absent for any other reason, so a hole can be read like a peak.
#
# So "one head cannot look at two places" is true of a weighted average *when nothing else tells what is missing*. The
# experiment says no more than that. Nor does it speak of what a hidden layer behind the head could still disentangle;
# that was not tested here.

# %% [markdown]
# ## More heads, and too many
#
# Why do sixteen heads fail? At width 1 a query is one number and a key is one number. A positive query ranks the keys
# by size, a negative one in reverse. Whatever the matrices are, only the largest or the smallest key can come first.

# %%
keys = torch.randn(8, 1, generator=torch.Generator().manual_seed(2))
queries = torch.linspace(-3, 3, 100)[:, None]
for width in (1, 2):
    k = keys if width == 1 else torch.cat([keys.sin(), keys.cos()], dim=-1)
    q = queries if width == 1 else torch.cat([queries.sin(), queries.cos()], dim=-1)
    _, weights = mine.batched_attention(20 * q, k, k)
    print(f"width {width}: {len(set(weights.argmax(dim=-1).tolist()))} of 8 keys can come first")

# %% [markdown]
# At width 2 the keys can lie on a circle, and a query that points at one of them finds it. So heads trade number for
# width: enough heads for the questions asked at once, each wide enough to point. Bhojanapalli et al. (2020) call the
# other end of it a low-rank bottleneck.
#
# In trained transformers many heads turn out to be unneeded: Michel et al. (2019) remove a large part of them *after*
# training at little loss, Voita et al. (2019) find that a few specialised heads do most of the work, and Cordonnier
# et al. (2020) that heads learn overlapping keys and queries. Notebook 17 measures that on a real model.

# %% [markdown]
# ## Where you will meet this
#
# | where | the line |
# |---|---|
# | PyTorch | `nn.MultiheadAttention(C, h, batch_first=True)`; without `batch_first` the axes are (T, B, C) |
# | BERT | `num_attention_heads` and `attention_head_size`; `w_o` is `attention.output.dense`, in a module of its own |
# | Llama | `num_key_value_heads`: several query heads share one head of keys and values, to save memory |
# | vLLM | `qkv.split([self.q_size, self.kv_size, self.kv_size], dim=-1)`: the packed matrix, cut as above |
#
# In all of them the heads are an axis, never a loop, and C / h is a convention: `w_q.shape[1] // h` is the width.

# %% [markdown]
# ## The puzzle, answered
#
# *Dropped* could not learn who did it and what was dropped from one average: the two stories gave the same numbers.
# With two heads it asks two questions, and each answer has a place of its own in the joined vector. Trained on pairs
# of places, one head learned which words and not which is which; two heads, made of the same number of parameters,
# learned both.

# %% [markdown]
# ## To say to a colleague
#
# - One head is one softmax and one average: what it reads in two places comes back blurred.
# - Heads are slices of the same projections, each with its own softmax; `w_o` puts their findings in different places.
# - At fixed width, heads cost no parameters; they cost width. Too narrow a head cannot point.
# - Split by cutting the last axis and swapping axes; a bare reshape has the right shape and mixes tokens.
# - Heads are not given roles; they may take them, and another start gives them to other heads.

# %% [markdown]
# ## In your own words
#
# ### Exercise · reflection_06 (8 min, ●●○)
#
# A colleague says: "Eight heads are just eight times as much attention; the more the better." Explain what several
# heads can do that one cannot, and why that is; what they cost at a fixed width; and where more of them stops
# helping. Four to six sentences.

# %%
### BEGIN SOLUTION
#: reflection_06 = """
#: """
reflection_06 = """
One head makes one softmax and hands back one weighted average. If a token needs things from two places, both end up in
the same average, and what stands behind it can often still tell which tokens were read, but not which of them answered
which question.

With several heads each question has weights of its own, and w_o writes what each head found into a different
place, so the answers stay apart. At a fixed width C this costs no parameters, since the heads are slices of the same
matrices: eight heads are eight narrow ones, not eight times as much. That is also the limit. A head of width 1 can only
prefer the largest or the smallest key, so with too many heads none can point any more, and in trained models many
heads turn out to be removable.
"""
### END SOLUTION

# %%
reflect("reflection_06", reflection_06)

# %% [markdown]
# ## Papers
#
# - Vaswani, Shazeer, Parmar, Uszkoreit, Jones, Gomez, Kaiser, Polosukhin 2017, *Attention Is All You Need*, section
#   3.2.2, arXiv:1706.03762. Heads, and the remark that a single one averages.
# - Michel, Levy, Neubig 2019, *Are Sixteen Heads Really Better than One?*, arXiv:1905.10650. Heads removed after
#   training.
# - Voita, Talbot, Moiseev, Sennrich, Titov 2019, *Analyzing Multi-Head Self-Attention: Specialized Heads Do the Heavy
#   Lifting, the Rest Can Be Pruned*, arXiv:1905.09418. The roles that heads take.
# - Cordonnier, Loukas, Jaggi 2020, *Multi-Head Attention: Collaborate Instead of Concatenate*, arXiv:2006.16362. Heads
#   that share what they have in common.
# - Bhojanapalli, Yun, Rawat, Reddi, Kumar 2020, *Low-Rank Bottleneck in Multi-head Attention Models*,
#   arXiv:2002.07028. Why a head must not be too narrow.
