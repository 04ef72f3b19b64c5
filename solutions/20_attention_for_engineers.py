# %% [markdown]
# # 20 · Why understanding attention matters
#
# About 170 minutes. You need notebook 03 (scaled dot products), 06 (heads), 08 (masks), 12 (positions) and 18 (causal
# attention, the cache).
#
# You will be able to
#
# - find what is wrong with someone else's attention from what it does, and mend the cause, not the symptom;
# - write tests that catch wrong attention and spare right attention, however it is written;
# - follow a loss that is too good to the line that leaks;
# - share keys and values among groups of heads, and adapt a model with a low-rank update;
# - count the bytes of a cache, write a mask from rules, and stream past the training length.

# %% [markdown]
# ## A puzzle: four green checks
#
# A colleague hands in an attention function. Its unit test runs on four words of the running sentence, and everything
# that the test looks at is right. Its code looks as it should, too.

# %%
import math

import torch
from torch.nn import functional

from autograder import check, hint, mine, progress, reflect
from autograder.material.sentence import embeddings

words = torch.from_numpy(embeddings()).float()  # (T, C) = (8, 4)


# %%
def handed_in(q, k, v, mask=None):
    """The function of the colleague."""
    scores = q @ k.mT / math.sqrt(k.shape[-2])
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf)
    weights = torch.softmax(scores, dim=-1).nan_to_num(0.0)
    return weights @ v, weights


# %%
four = words[:4]
out, weights = handed_in(four, four, four)
print("shapes are right:     ", tuple(out.shape) == (4, 4) == tuple(weights.shape))
print("every row sums to 1:  ", torch.allclose(weights.sum(dim=-1), torch.ones(4)))
print("no NaN:               ", bool(out.isfinite().all()))
print("PyTorch gives the same:", torch.allclose(out, functional.scaled_dot_product_attention(four, four, four)))

# %% [markdown]
# Four times True, and the function is wrong. Which fifth line would have shown it, without reading the code, and
# without another attention to compare with? This notebook collects such lines, first in six cases of other people's
# code, then in a test of yours, then in a model that trains too well.

# %% [markdown]
# ## Six pull requests
#
# Each case is a change that passed a review: a title, the reason given for it, the code, and afterwards something
# odd in the data. You hand in two things, which count apart:
#
# - the **diagnosis**, one text of this list;
# - the function, **repaired**: right in every case its description promises. What only hides the oddity will not do.

# %%
from autograder.exercises.nb20_attention_for_engineers import CLINIC_DIAGNOSES

print(*CLINIC_DIAGNOSES, sep="\n")

# %% [markdown]
# An answer is a function without arguments that returns the pair. It begins as `return "", repaired`; put the
# diagnosis into the quotes and edit the code above it. Small random inputs for all cases:

# %%
draw = torch.Generator().manual_seed(20)


def new(*shape):
    """Standard normal numbers."""
    return torch.randn(*shape, generator=draw)


# %% [markdown]
# ### PR 1 · "Attend block by block"
#
# *Long documents ran out of memory. Scores are now made for 64 keys at a time and the sums are kept running, so
# memory no longer grows with the square of the length. Tests pass (sentences of 40 words).*


# %%
def pr_1(q, k, v, block=64):
    """q (..., Tq, D), k (..., Tk, D), v (..., Tk, Dv) → (..., Tq, Dv)."""
    top = torch.full_like(q[..., :1], -math.inf)  # the largest score so far, (..., Tq, 1)
    total, out = torch.zeros_like(top), 0
    for keys, values in zip(k.split(block, dim=-2), v.split(block, dim=-2), strict=True):
        scores = q @ keys.mT / math.sqrt(q.shape[-1])  # (..., Tq, block)
        top = torch.maximum(top, scores.amax(dim=-1, keepdim=True))
        e = torch.exp(scores - top)
        total = total + e.sum(dim=-1, keepdim=True)
        out = out + e @ values
    return out / total


# %% [markdown]
# The symptom: quality falls on long documents only. Here, for texts of several lengths: does it agree with PyTorch?
# And is an average of ones still 1?

# %%
for n in (40, 64, 65, 128, 200):
    q, k, v = new(n, 16), new(n, 16), new(n, 16)
    right = torch.allclose(pr_1(q, k, v), functional.scaled_dot_product_attention(q, k, v), atol=1e-5)
    ones = torch.allclose(pr_1(q, k, torch.ones(n, 1)), torch.ones(n, 1))
    print(f"{n:3} keys: agrees {right!s:5}  average of ones is 1: {ones}")

# %% [markdown]
# ### Exercise · clinic_1 (8 min, ●●○)
#
# What is wrong, and how is it mended? Contract: softmax(q kᵀ / √D) v over all keys, for every `block` ≥ 1 and for
# scores of ±10000. By hand: with `block=1`, scores 0 and then ln 3, values 0 and 4, the result is 3.


# %%
def clinic_1():
    """Returns (diagnosis, repaired)."""

    def repaired(q, k, v, block=64):
        ### BEGIN SOLUTION
        #: top = torch.full_like(q[..., :1], -math.inf)  # the largest score so far, (..., Tq, 1)
        #: total, out = torch.zeros_like(top), 0
        #: for keys, values in zip(k.split(block, dim=-2), v.split(block, dim=-2), strict=True):
        #:     scores = q @ keys.mT / math.sqrt(q.shape[-1])  # (..., Tq, block)
        #:     top = torch.maximum(top, scores.amax(dim=-1, keepdim=True))
        #:     e = torch.exp(scores - top)
        #:     total = total + e.sum(dim=-1, keepdim=True)
        #:     out = out + e @ values
        #: return out / total
        top = torch.full_like(q[..., :1], -math.inf)  # the largest score so far, (..., Tq, 1)
        total, out = torch.zeros_like(top), 0
        for keys, values in zip(k.split(block, dim=-2), v.split(block, dim=-2), strict=True):
            scores = q @ keys.mT / math.sqrt(q.shape[-1])  # (..., Tq, block)
            before, top = top, torch.maximum(top, scores.amax(dim=-1, keepdim=True))
            e, shrink = torch.exp(scores - top), torch.exp(before - top)
            total = shrink * total + e.sum(dim=-1, keepdim=True)
            out = shrink * out + e @ values
        return out / total
        ### END SOLUTION

    ### BEGIN SOLUTION
    #: return "", repaired
    return "running sums not rescaled", repaired
    ### END SOLUTION


# %%
check("clinic_1", clinic_1)

# %% [markdown]
# ### PR 2 · "One reshape is enough"
#
# *The heads were made by a view and a transpose. The numbers of elements are the same, so one reshape gives the same
# shape with less code. All shape tests pass.*


# %%
def pr_2(x, w_q, w_k, w_v, w_o, h):
    """x (B, T, C), matrices (C, h·D) and (h·D, C) → (B, T, C)."""
    b, t, _ = x.shape
    q, k, v = ((x @ w).reshape(b, h, t, -1) for w in (w_q, w_k, w_v))  # (B, h, T, D)
    weights = torch.softmax(q @ k.mT / math.sqrt(q.shape[-1]), dim=-1)  # (B, h, T, T)
    return (weights @ v).reshape(b, t, -1) @ w_o


# %% [markdown]
# The symptom: answers about the end of a text ignore its beginning. A probe: change token `j` and see which outputs
# move. There is no mask, so all of them should.

# %%
import matplotlib.pyplot as plt

from autograder.material import plots

MATRICES = [new(8, 8) / math.sqrt(8) for _ in range(4)]


# %%
def reach(f, x):
    """Whether output i moves when token j is another, (T, T) of 0 and 1; f: (1, T, C) → (1, T, C)."""
    moved = torch.zeros(x.shape[1], x.shape[1])
    for j in range(x.shape[1]):
        other = x.clone()
        other[:, j] = new(x.shape[-1])
        moved[:, j] = ((f(other) - f(x)).abs().amax(dim=-1) > 1e-5)[0].float()
    return moved


# %%
text = new(1, 8, 8)
figure, axes = plt.subplots(1, 3, figsize=(9.5, 3.2), layout="constrained")
for ax, h in zip(axes, (1, 2, 4), strict=True):
    table = reach(lambda x, h=h: pr_2(x, *MATRICES, h), text)
    plots.heatmap(table.tolist(), range(8), range(8), ax, title=f"heads: {h}", numbers=False)
    ax.set_xlabel("token that is changed", color=plots.COLOURS["key"])
axes[0].set_ylabel("output that moves", color=plots.COLOURS["query"])
plots.show(figure, "Which outputs move when a token changes. One head: all. Two heads: two blocks of four. Four heads: four of two.")

# %% [markdown]
# Dark is "moves". With one head everything reaches everything; with more heads there are blocks, and nothing crosses
# their borders.

# %% [markdown]
# ### Exercise · clinic_2 (8 min, ●●○)
#
# Contract: `x (B, T, C)`; matrices `(C, h·D)`, head n in its n-th run of D columns, and `w_o (h·D, C)`; every head
# attends over all T tokens by softmax(q kᵀ / √D), the results side by side times `w_o`. By hand: for T = 1 the result
# is `x @ w_v @ w_o`, also in the code as it is.


# %%
def clinic_2():
    """Returns (diagnosis, repaired)."""

    def repaired(x, w_q, w_k, w_v, w_o, h):
        ### BEGIN SOLUTION
        #: b, t, _ = x.shape
        #: q, k, v = ((x @ w).reshape(b, h, t, -1) for w in (w_q, w_k, w_v))  # (B, h, T, D)
        #: weights = torch.softmax(q @ k.mT / math.sqrt(q.shape[-1]), dim=-1)  # (B, h, T, T)
        #: return (weights @ v).reshape(b, t, -1) @ w_o
        b, t, _ = x.shape
        q, k, v = ((x @ w).reshape(b, t, h, -1).transpose(1, 2) for w in (w_q, w_k, w_v))  # (B, h, T, D)
        weights = torch.softmax(q @ k.mT / math.sqrt(q.shape[-1]), dim=-1)  # (B, h, T, T)
        return (weights @ v).transpose(1, 2).reshape(b, t, -1) @ w_o
        ### END SOLUTION

    ### BEGIN SOLUTION
    #: return "", repaired
    return "heads split without swapping axes", repaired
    ### END SOLUTION


# %%
check("clinic_2", clinic_2)

# %% [markdown]
# ### PR 3 · "Support padded batches"
#
# *Takes the tokenizer's `real (B, Tk)`, True where there is a word. Tested with a batch of one and in production with
# four heads and batches of four. The last batch of an epoch raised a shape error, so the loader now drops it.*


# %%
def pr_3(q, k, v, real):
    """q (B, h, Tq, D), k (B, h, Tk, D), v (B, h, Tk, Dv), real (B, Tk) → (B, h, Tq, Dv)."""
    scores = q @ k.mT / math.sqrt(q.shape[-1])
    mask = real[:, None, :]  # an axis for the queries
    weights = torch.softmax(scores.masked_fill(~mask, -math.inf), dim=-1)
    return weights.masked_fill(~mask, 0) @ v


# %%
lengths = torch.tensor([5, 2, 3, 5])
real = torch.arange(5) < lengths[:, None]  # (B, Tk)
q, k, v = new(4, 4, 5, 6), new(4, 4, 5, 6), new(4, 4, 5, 6)
together = pr_3(q, k, v, real)
for b in range(4):
    alone = pr_3(q[b : b + 1], k[b : b + 1], v[b : b + 1], real[b : b + 1])
    print(f"sentence {b}, {lengths[b]} words: the same alone as in its batch: {torch.allclose(alone[0], together[b])}")
try:
    pr_3(q[:3], k[:3], v[:3], real[:3])
except RuntimeError as error:
    print("three sentences:", str(error)[:60])

# %% [markdown]
# ### Exercise · clinic_3 (7 min, ●○○)
#
# Contract: every query reads the words of its own sentence, for any numbers of sentences and heads; a sentence without
# words gives 0. By hand: a sentence of one word gives that word's value in every row.


# %%
def clinic_3():
    """Returns (diagnosis, repaired)."""

    def repaired(q, k, v, real):
        ### BEGIN SOLUTION
        #: scores = q @ k.mT / math.sqrt(q.shape[-1])
        #: mask = real[:, None, :]  # an axis for the queries
        #: weights = torch.softmax(scores.masked_fill(~mask, -math.inf), dim=-1)
        #: return weights.masked_fill(~mask, 0) @ v
        scores = q @ k.mT / math.sqrt(q.shape[-1])
        mask = real[:, None, None, :]  # axes for the heads and the queries
        weights = torch.softmax(scores.masked_fill(~mask, -math.inf), dim=-1)
        return weights.masked_fill(~mask, 0) @ v
        ### END SOLUTION

    ### BEGIN SOLUTION
    #: return "", repaired
    return "mask broadcast along the wrong axis", repaired
    ### END SOLUTION


# %%
check("clinic_3", clinic_3)

# %% [markdown]
# ### PR 4 · "Serve in half precision"
#
# *The weights are cast to float16, which halves memory. The softmax is written out, since the old one was float32
# only. Compared with float32 on a thousand short requests: equal to three digits.*


# %%
def pr_4(q, k, v, mask=None):
    """q (..., Tq, D), k (..., Tk, D), v (..., Tk, Dv), mask (..., Tq, Tk) → (..., Tq, Dv)."""
    e = torch.exp(q @ k.mT / math.sqrt(q.shape[-1]))
    if mask is not None:
        e = e.masked_fill(~mask, 0)
    total = e.sum(dim=-1, keepdim=True)
    return (e / total.masked_fill(total == 0, 1)) @ v  # a row without keys is 0


# %% [markdown]
# The symptom: some users get empty answers, some NaN. One query, four keys; the scores are 0, 1, 2, 3, all shifted by
# the same number, which must change nothing:

# %%
ask, values = torch.ones(1, 1), torch.tensor([[1.0], [2.0], [3.0], [4.0]])
for dtype in (torch.float64, torch.float32, torch.float16):
    print(f"{dtype!s:13}", end="")
    for shift in (0, 8, 100, -20, -120):
        keys = torch.arange(4.0)[:, None] + shift
        print(f"  shift {shift}: {pr_4(ask.to(dtype), keys.to(dtype), values.to(dtype)).item():.2f}", end="")
    print()

# %% [markdown]
# ### Exercise · clinic_4 (8 min, ●●○)
#
# Contract: softmax attention in float16, float32 and float64, for scores of ±10000 and less; the result in the dtype
# of `q`; hidden keys have no effect, whatever their scores; a query that may read nothing gets 0. By hand: in the
# table above every number should be 3.49.


# %%
def clinic_4():
    """Returns (diagnosis, repaired)."""

    def repaired(q, k, v, mask=None):
        ### BEGIN SOLUTION
        #: e = torch.exp(q @ k.mT / math.sqrt(q.shape[-1]))
        #: if mask is not None:
        #:     e = e.masked_fill(~mask, 0)
        #: total = e.sum(dim=-1, keepdim=True)
        #: return (e / total.masked_fill(total == 0, 1)) @ v  # a row without keys is 0
        scores = q @ k.mT / math.sqrt(q.shape[-1])
        if mask is not None:
            scores = scores.masked_fill(~mask, -math.inf)
        top = scores.amax(dim=-1, keepdim=True)
        e = torch.exp(scores - top.masked_fill(top == -math.inf, 0))
        total = e.sum(dim=-1, keepdim=True)
        return (e / total.masked_fill(total == 0, 1)) @ v  # a row without keys is 0
        ### END SOLUTION

    ### BEGIN SOLUTION
    #: return "", repaired
    return "exponentials out of the range of the type", repaired
    ### END SOLUTION


# %%
check("clinic_4", clinic_4)

# %% [markdown]
# ### PR 5 · "Sliding window for the cache"
#
# *Each token reads itself and the `window` tokens before it. Trained with it for a week, loss as before. The same
# function now serves the cache: `q` holds the newest tokens, `k` and `v` all that are kept.*


# %%
def pr_5(q, k, v, window):
    """The newest Tq of Tk tokens: q (..., Tq, D), k (..., Tk, D), v (..., Tk, Dv) → (..., Tq, Dv)."""
    i, j = torch.arange(q.shape[-2])[:, None], torch.arange(k.shape[-2])
    mask = (j <= i) & (i - j <= window)  # (Tq, Tk)
    scores = (q @ k.mT / math.sqrt(q.shape[-1])).masked_fill(~mask, -math.inf)
    return torch.softmax(scores, dim=-1) @ v


# %% [markdown]
# The symptom: the model repeats the first word of every prompt. A text of six tokens, read at once and then one by
# one from a cache:

# %%
q, k, v = new(6, 4), new(6, 4), new(6, 4)
at_once = pr_5(q, k, v, window=2)
for t in range(6):
    step = pr_5(q[t : t + 1], k[: t + 1], v[: t + 1], window=2)[0]
    print(f"token {t}: as in the full pass {torch.allclose(step, at_once[t])!s:5}  equal to v[0] {torch.equal(step, v[0])}")

# %% [markdown]
# ### Exercise · clinic_5 (7 min, ●●○)
#
# Contract: whatever pieces a text is read in, the rows are those of the text read at once; in a piece of several
# tokens none reads a later one. By hand: with `window=0` every token gives its own value.


# %%
def clinic_5():
    """Returns (diagnosis, repaired)."""

    def repaired(q, k, v, window):
        ### BEGIN SOLUTION
        #: i, j = torch.arange(q.shape[-2])[:, None], torch.arange(k.shape[-2])
        #: mask = (j <= i) & (i - j <= window)  # (Tq, Tk)
        #: scores = (q @ k.mT / math.sqrt(q.shape[-1])).masked_fill(~mask, -math.inf)
        #: return torch.softmax(scores, dim=-1) @ v
        tq, tk = q.shape[-2], k.shape[-2]
        i, j = torch.arange(tk - tq, tk)[:, None], torch.arange(tk)
        mask = (j <= i) & (i - j <= window)  # (Tq, Tk)
        scores = (q @ k.mT / math.sqrt(q.shape[-1])).masked_fill(~mask, -math.inf)
        return torch.softmax(scores, dim=-1) @ v
        ### END SOLUTION

    ### BEGIN SOLUTION
    #: return "", repaired
    return "query positions counted from zero", repaired
    ### END SOLUTION


# %%
check("clinic_5", clinic_5)

# %% [markdown]
# ### PR 6 · "Half the memory for activations"
#
# *The table of weights is the largest thing kept for the backward pass. It is only a table of shares, so it is now
# computed without bookkeeping. Outputs are equal to the last bit.*


# %%
def pr_6(q, k, v, mask=None):
    """q (..., Tq, D), k (..., Tk, D), v (..., Tk, Dv), mask (..., Tq, Tk) → (..., Tq, Dv)."""
    with torch.no_grad():
        scores = q @ k.mT / math.sqrt(q.shape[-1])
        if mask is not None:
            scores = scores.masked_fill(~mask, -math.inf)
        weights = torch.softmax(scores, dim=-1)
        if mask is not None:
            weights = weights.masked_fill(~mask, 0)
    return weights @ v


# %% [markdown]
# The symptom is a loss curve. The task is a lookup: eight keys with a value each, and a query that is a disturbed copy
# of one key; its value is wanted. Matrices for queries, keys and values are learnt, from three starts, once with this
# function and once with PyTorch's.

# %%
def lookups(rng, count=64):
    """Keys (count, 8, 8), values (count, 8, 4), and queries (count, 1, 8), each near one key whose value is wanted."""
    keys, values = torch.randn(count, 8, 8, generator=rng), torch.randn(count, 8, 4, generator=rng)
    which = torch.randint(8, (count,), generator=rng)
    row = torch.arange(count)
    return keys, values, (keys[row, which] + 0.3 * torch.randn(count, 8, generator=rng))[:, None], values[row, which]


# %%
def lookup_curve(attend, seed, steps=150):
    """Losses while three matrices learn the lookup with a given attention."""
    rng = torch.Generator().manual_seed(seed)
    p = [(torch.randn(n, n, generator=rng) / math.sqrt(n)).requires_grad_() for n in (8, 8, 4)]
    adam, losses = torch.optim.Adam(p, lr=0.05), []
    for _ in range(steps):
        keys, values, asks, wanted = lookups(rng)
        loss = (attend(asks @ p[0], keys @ p[1], values @ p[2])[:, 0] - wanted).square().mean()
        adam.zero_grad(), loss.backward(), adam.step()
        losses.append(loss.item())
    return losses


# %% tags=["experiment"]
figure, ax = plt.subplots(layout="constrained")
ends = {}
for name, attend, colour in (("PR 6", pr_6, "key"), ("PyTorch's", functional.scaled_dot_product_attention, "value")):
    found = [lookup_curve(attend, seed) for seed in range(3)]
    ends[name] = [sum(curve[-20:]) / 20 for curve in found]
    for seed, curve in enumerate(found):
        ax.plot(curve, color=plots.COLOURS[colour], linewidth=0.9, label=name if seed == 0 else "")
ax.set(xlabel="step", ylabel="mean squared error", ylim=(0, None))
ax.legend()
plots.show(figure, "Loss against step, three starts each. With PyTorch's function it falls near 0; with PR 6 it stays near 0.9.")
assert min(ends["PR 6"]) > 3 * max(ends["PyTorch's"])

# %%
q, k, v = new(2, 3, 4), new(2, 5, 4), new(2, 5, 4)
print("outputs are right:", torch.allclose(pr_6(q, k, v), functional.scaled_dot_product_attention(q, k, v), atol=1e-6))

# %% [markdown]
# The orange curves stand still a little below the variance of the values, 1, and the green ones learn; yet outputs are
# the same for the same matrices.

# %% [markdown]
# ### Exercise · clinic_6 (7 min, ●○○)
#
# Contract: outputs as now, 0 for a query that may read nothing, and trainable: what has to flow back must be finite,
# also with rows that may read nothing. By hand: with a single key the output is its value, and only `v` has anything
# to learn.


# %%
def clinic_6():
    """Returns (diagnosis, repaired)."""

    def repaired(q, k, v, mask=None):
        ### BEGIN SOLUTION
        #: with torch.no_grad():
        #:     scores = q @ k.mT / math.sqrt(q.shape[-1])
        #:     if mask is not None:
        #:         scores = scores.masked_fill(~mask, -math.inf)
        #:     weights = torch.softmax(scores, dim=-1)
        #:     if mask is not None:
        #:         weights = weights.masked_fill(~mask, 0)
        #: return weights @ v
        scores = q @ k.mT / math.sqrt(q.shape[-1])
        if mask is not None:
            scores = scores.masked_fill(~mask, -math.inf)
        weights = torch.softmax(scores, dim=-1)
        if mask is not None:
            weights = weights.masked_fill(~mask, 0)
        return weights @ v
        ### END SOLUTION

    ### BEGIN SOLUTION
    #: return "", repaired
    return "gradient cut off from the scores", repaired
    ### END SOLUTION


# %%
check("clinic_6", clinic_6)

# %% [markdown]
# ### The six symptoms once more
#
# Each oddity is a sentence about what must not change, or must. The same sentences, asked of the code as it was and of
# the code as it is now:

# %%
CODE = {"as it was": (pr_1, pr_2, pr_3, pr_4, pr_5, pr_6)}
CODE["repaired"] = tuple(getattr(mine, f"clinic_{number}")()[1] for number in range(1, 7))
q, k, v = new(4, 4, 9, 4), new(4, 4, 9, 4), new(4, 4, 9, 4)
words_of = torch.arange(9) < torch.tensor([9, 2, 5, 9])[:, None]
ask, text = q.clone().requires_grad_(), new(1, 8, 8)


# %%
def near(a, b):
    """Whether two results are the same but for rounding."""
    return torch.allclose(a, b, atol=1e-3)


# %%
def first_alone(f):
    """Sentence 0 alone and in its batch."""
    return near(f(q[:1], k[:1], v[:1], words_of[:1]), f(q, k, v, words_of)[:1])


# %%
INVARIANTS = (
    ("the size of a block changes nothing", lambda f: near(f(q, k, v, 4), f(q, k, v, 9))),
    ("every token reaches every other", lambda f: reach(lambda x: f(x, *MATRICES, 2), text).all()),
    ("a sentence is the same in company", first_alone),
    ("large scores stay finite", lambda f: f(9 * q.half(), 9 * k.half(), v.half()).isfinite().all()),
    ("how a text is cut changes nothing", lambda f: near(f(q, k, v, 2)[..., -1:, :], f(q[..., -1:, :], k, v, 2))),
    ("queries have something to learn from", lambda f: f(ask, k, v).requires_grad),
)

# %%
for place, (sentence, holds) in enumerate(INVARIANTS):
    print(f"{sentence:38}", *(f"{name}: {bool(holds(code[place]))!s:6}" for name, code in CODE.items()))

# %% [markdown]
# None of the six sentences needs a right implementation beside it, or knows what the function is made of. They are
# **invariants**: what must stay the same when something is changed that does not matter. The last is one of the other
# kind: what must *not* stay the same, or nothing is learnt.
#
# All six codes had passed tests: of shapes, of one size, of one sentence, of small numbers, of whole texts, of
# outputs.

# %% [markdown]
# ## Tests that nobody has to believe
#
# Now the sentences become a test of any function `(q, k, v, mask=None) → (out, weights)`. A test can fail in two
# ways: it accepts what is wrong, or it refuses what is right and only written differently. To measure a test, one
# tries it on wrong functions, called **mutants**: its **mutation score** is the share that it catches, and 0 if it
# refuses a right one.
#
# First a factory: right attention, of which one part can be replaced.


# %%
def built(scores=lambda q, k: q @ k.mT / math.sqrt(q.shape[-1]), mask_is=lambda mask: mask, shares=lambda w: w):
    """Attention whose scores, mask or weights may be replaced."""

    def fn(q, k, v, mask=None):
        s = scores(q, k)
        if mask is not None:
            s = torch.where(mask_is(mask), s, -torch.inf)
        weights = shares(torch.softmax(s, dim=-1).nan_to_num(0.0))
        return weights @ v, weights

    return fn


# %%
def spoils_k(q, k):
    """Normalises k where it lies: right scores, and another k afterwards."""
    found = q @ k.mT / math.sqrt(q.shape[-1])
    k /= k.norm(dim=-1, keepdim=True)
    return found


# %%
def without_first(weights):
    """The first key gets nothing, and the others share what it had."""
    kept = weights * (torch.arange(weights.shape[-1]) > 0)
    return kept / kept.sum(dim=-1, keepdim=True).clamp(min=1e-30)


# %%
RIGHT = {
    "plain": built(),
    "scaled first": built(lambda q, k: (q * q.shape[-1] ** -0.5) @ k.mT),
    "by einsum": built(lambda q, k: torch.einsum("...id,...jd->...ij", q, k) / math.sqrt(k.shape[-1])),
}

# %%
def causal_unasked(q, k):
    """Hides later keys, whatever the mask says."""
    return (q @ k.mT / math.sqrt(q.shape[-1])).masked_fill(~mine.causal_mask(q.shape[-2], k.shape[-2]), -1e9)


# %%
MUTANTS = {
    "divided by the root of Tq": built(lambda q, k: q @ k.mT / math.sqrt(q.shape[-2])),
    "cosines": built(lambda q, k: functional.normalize(q, dim=-1) @ functional.normalize(k, dim=-1).mT),
    "float16 inside": built(lambda q, k: (q.half() @ k.half().mT).to(q.dtype) / math.sqrt(q.shape[-1])),
    "causal unasked": built(causal_unasked),
    "a key too many": built(mask_is=lambda mask: mask | mask.roll(1, dims=-1)),
    "open where empty": built(mask_is=lambda mask: mask | ~mask.any(dim=-1, keepdim=True)),
    "first key lost": built(shares=without_first),
    "writes into k": built(spoils_k),
}


# %%
def mutation_score(tests):
    """The share of mutants in which tests(fn) finds a fault; 0 if it finds one in a right function."""
    if any(tests(fn) for fn in RIGHT.values()):
        return 0.0
    return sum(bool(tests(fn)) for fn in MUTANTS.values()) / len(MUTANTS)


# %%
def shapes_only(fn):
    """What many tests look at."""
    out, weights = fn(new(2, 3, 4), new(2, 5, 4), new(2, 5, 6))
    return [] if out.shape == (2, 3, 6) and weights.shape == (2, 3, 5) else ["a shape"]


print(f"looking at shapes catches {mutation_score(shapes_only):.0%}")

# %% [markdown]
# What could be asked? By hand: two keys whose scores differ by ln 3 get 3/4 and 1/4; with `D = 9` that is a product of
# 3 ln 3, and whoever divides by anything but 3 is found out. Beside it invariants: keys that trade places with their
# values; hidden keys that could as well be cut off; an item alone and in its batch. And the edges: an empty row,
# large scores, both dtypes, inputs that stay.
#
# Three traps: equal sizes hide wrong ones; large inputs make all weights 0 or 1; exact comparison refuses right
# functions.

# %% [markdown]
# ### Exercise · attention_tests (30 min, ●●●)
#
# Write `attention_tests(fn)`: it returns a list of texts, one for each fault found in `fn`, empty if there are none.
# `fn` claims to be scaled dot-product attention with the conventions of this course: `q (..., Tq, D)`, `k (..., Tk,
# D)`, `v (..., Tk, Dv)`, any number of leading axes, float32 or float64; `mask` bool or None. It may raise errors; let
# through, they count as a fault. It hands back no gradients; call it at most 200 times. Your score is the share of
# wrong functions caught, among others than those above, and 0 once a right one is refused.


# %%
def attention_tests(fn):
    """The faults of an attention function.

    fn: (q, k, v, mask=None) → (out, weights); see above.
    Returns a list of texts, empty if no fault is found.
    """
    ### BEGIN SOLUTION
    faults, rng = [], torch.Generator().manual_seed(0)

    def normal(*shape, dtype=torch.float64):
        return torch.randn(*shape, generator=rng, dtype=dtype)

    def expect(name, a, b):
        if a.shape != b.shape or a.dtype != b.dtype or not torch.allclose(a, b, atol=1e-5):
            faults.append(name)

    # Sizes that are all different, a mask that leaves every query a key.
    q, k, v = normal(2, 3, 6, 4), normal(2, 3, 7, 4), normal(2, 3, 7, 5)
    mask = torch.rand(2, 3, 6, 7, generator=rng) < 0.5
    mask[..., 0] |= ~mask.any(dim=-1)
    before = [part.clone() for part in (q, k, v, mask)]
    out, weights = fn(q, k, v, mask)
    if not all(map(torch.equal, (q, k, v, mask), before)):
        faults.append("inputs are changed")
    q, k, v, mask = before
    expect("out is not weights times v", out, weights @ v)
    expect("an average of ones is not 1", weights.sum(dim=-1), torch.ones(2, 3, 6, dtype=torch.float64))
    for b, h, i in ((0, 0, 0), (0, 2, 4), (1, 0, 3), (1, 1, 5)):
        seen = mask[b, h, i]
        alone, _ = fn(q[b, h, i : i + 1], k[b, h, seen], v[b, h, seen])
        expect("a query alone with its keys gets something else", alone[0], out[b, h, i])
    order = torch.randperm(7, generator=rng)
    free, shares = fn(q, k, v)
    moved, others = fn(q, k[..., order, :], v[..., order, :])
    expect("the order of the keys matters", moved, free)
    expect("weights do not move with their keys", others, shares[..., order])
    if not (shares > 0).all():
        faults.append("a key that may be read gets nothing")
    # One case by hand: scores that differ by ln 3, with D, Dv and the number of keys all different.
    known = torch.zeros(2, 9, dtype=torch.float64)
    known[0] = math.log(3) / 3
    _, found = fn(torch.ones(1, 9, dtype=torch.float64), known, normal(2, 4))
    expect("three quarters and one quarter are not", found, torch.tensor([[0.75, 0.25]], dtype=torch.float64))
    # Edges: nothing to read, large scores beside small ones, both dtypes.
    nothing = torch.ones(6, 7, dtype=torch.bool)
    nothing[2] = False
    out, weights = fn(q, k, v, nothing)
    expect("something comes from nothing", out[..., 2, :], torch.zeros(2, 3, 5, dtype=torch.float64))
    expect("weights where there is nothing", weights[..., 2, :], torch.zeros(2, 3, 7, dtype=torch.float64))
    expect("an empty row changes others", out[..., 3, :], free[..., 3, :])
    high, keys = torch.tensor([[1e4], [1.0], [60.0]]), torch.tensor([[-1.0], [-1.1], [-0.9]])
    _, found = fn(high, keys, torch.ones(3, 2))
    rows = [[0.0, 0.0, 1.0], torch.softmax(-torch.tensor([1.0, 1.1, 0.9]), 0).tolist()]
    rows.append(torch.softmax(-torch.tensor([60.0, 66.0, 54.0]), 0).tolist())
    expect("large scores", found, torch.tensor(rows))
    for dtype in (torch.float32, torch.float64):
        given = [normal(2, *size, dtype=dtype) for size in ((3, 4), (5, 4), (5, 6))]
        if any(part.dtype != dtype for part in fn(*given)):
            faults.append(f"another dtype for {dtype}")
    return faults
    ### END SOLUTION


# %%
check("attention_tests", attention_tests)

# %% [markdown]
# ### How good is a test?
#
# Five kinds of test, from weak to strong, beside yours. The first two look at the result alone; the other three
# compare with PyTorch's function, on inputs that show more and more.


# %%
def against_torch(tq, tk, d, dv, masked=False, edges=False):
    """A test that compares with PyTorch on inputs of the given sizes."""

    def tests(fn):
        q, k, v, nothing = new(2, tq, d), new(2, tk, d), new(2, tk, dv), torch.zeros(tq, tk, dtype=torch.bool)
        mask, given = new(2, tq, tk) > -0.3 if masked else None, [part.clone() for part in (q, k, v)]
        differs = not near(fn(*given, mask)[0], functional.scaled_dot_product_attention(q, k, v, attn_mask=mask))
        at_edges = edges and (bool(fn(q, k, v, nothing)[0].any()) or not all(map(near, given, (q, k, v))))
        return ["a fault"] if differs or at_edges else []

    return tests


# %%
def rows_only(fn):
    """Do the weights of a row sum to 1?"""
    _, weights = fn(new(2, 6, 4), new(2, 7, 4), new(2, 7, 5))
    return [] if near(weights.sum(dim=-1), torch.ones(2, 6)) else ["rows"]


# %%
KINDS = {
    "shapes": shapes_only,
    "rows sum to 1": rows_only,
    "equal to PyTorch, all sizes equal": against_torch(4, 4, 4, 4),
    "… all sizes different": against_torch(6, 7, 4, 5),
    "… and with a mask": against_torch(6, 7, 4, 5, masked=True),
    "… and at the edges": against_torch(6, 7, 4, 5, masked=True, edges=True),
}

# %% tags=["experiment"]
torch.manual_seed(0)
KINDS["attention_tests"] = mine.attention_tests
caught = [[float(bool(tests(fn))) for fn in MUTANTS.values()] for tests in KINDS.values()]
share = {name: mutation_score(tests) for name, tests in KINDS.items()}

# %% tags=["experiment"]
figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), width_ratios=(2.2, 1), layout="constrained", sharey=True)
plots.heatmap(caught, KINDS, MUTANTS, left, numbers=False, title="mutants caught (dark)")
left.tick_params(axis="x", labelrotation=40)
plt.setp(left.get_xticklabels(), ha="right")
right.barh(range(len(KINDS)), share.values(), color=plots.COLOURS["output"])
for place, value in enumerate(share.values()):
    right.text(value + 0.02, place, f"{value:.0%}", va="center", fontsize=9)
right.set(xlabel="mutation score", xlim=(0, 1.15))
alt = "Which of eight mutants each of seven kinds of test catches, and the share. Shapes and row sums catch almost none; "
plots.show(figure, alt + "comparison with PyTorch catches more with different sizes, masks and edges; attention_tests catches most.")

# %% [markdown]
# Each row of the table is a kind of test, each column a mutant; the bars are the shares. Shapes catch nothing, sums of
# rows hardly anything: a softmax makes rows of sum 1 out of *any* scores. Comparing with a right function is only as
# strong as what it is compared on: equal sizes hide a wrong root, no mask hides all wrong masks, and outputs alone
# hide what happened to the inputs. Products in float16 are wrong in the fourth digit; `near` above allows three.

# %% tags=["experiment"]
assert share["shapes"] == 0 and share["rows sum to 1"] <= 0.25
assert share["equal to PyTorch, all sizes equal"] < share["… all sizes different"] < share["… and with a mask"]
assert share["… and with a mask"] < share["… and at the edges"]
print("attention_tests catches more than any comparison of outputs:", share["attention_tests"] >= share["… and at the edges"])

# %% [markdown]
# ### The puzzle, answered
#
# The colleague's function divides by the root of the number of keys; with four words of width four that is the right
# number. The fifth line is an invariant from notebook 03: to hear everything twice changes nothing.

# %%
twice = torch.cat([four, four])
print("the same when all keys come twice:", torch.allclose(handed_in(four, twice, twice)[0], out))
print("number of faults that attention_tests finds:", "none" if not mine.attention_tests(handed_in) else "some")

# %% [markdown]
# ## A loss that is too good
#
# So far the wrong functions made something worse. The most expensive fault makes everything better. The character
# model of notebook 18, two layers of four heads, gets a refactoring: *"Head 2 of layer 1 becomes local and reads only
# what is at most four places away."* (Layers and heads count from 0.) Three starts train with the new code, and the
# same three with the old idea written carefully.

# %% [markdown]
# ### Exercise · finds_the_leak (2 min, ●●○)
#
# Suppose the new model reads later letters. Nobody knows the source's entropy. Which of these four checks come out
# otherwise for it than for a sound model? `"held-out loss"`: is the loss on new text about that on the training text?
# `"other seeds"`: do three starts end alike? `"batch"`: does a text give the same alone and in company? `"later
# tokens"`: do earlier outputs stay when later tokens change? Answer with a set.

# %%
### BEGIN SOLUTION
#: finds_the_leak = ...  # your prediction: a set of words, such as {"batch", "other seeds"}
finds_the_leak = {"later tokens"}
### END SOLUTION

# %%
check("finds_the_leak", finds_the_leak)

# %% [markdown]
# The model, six of it side by side along a leading axis `S`: the first three with the mask of the pull request, the
# last three with a sound one, from the same three starts.

# %%
import numpy as np

from autograder.material import grammar_text

RATE = grammar_text.entropy_rate()  # nats per character: nobody can do better
V, C, HEADS, LAYERS, T, STARTS = len(grammar_text.CHARACTERS), 32, 4, 2, 48, 3
SIZES = {"letter": (V, C), "place": (T, C), "out": (C, V), "up": (LAYERS, C, 2 * C), "down": (LAYERS, 2 * C, C)}
SIZES |= {name: (LAYERS, C, C) for name in "qkvo"}

# %%
causal = mine.causal_mask(T)
gap = torch.arange(T)[:, None] - torch.arange(T)
MASKS = causal.repeat(2 * STARTS, LAYERS, HEADS, 1, 1)  # (S, layers, heads, T, T)
MASKS[:STARTS, 1, 2] = gap.abs() <= 4  # the pull request
MASKS[STARTS:, 1, 2] = (gap >= 0) & (gap <= 4)


# %%
def parameters():
    """Three random starts, each twice: a dict of (S, …)."""
    rng = torch.Generator().manual_seed(0)
    scale = {name: 1 / math.sqrt(size[-2]) for name, size in SIZES.items()} | {"letter": 0.5, "place": 0.2}
    starts = {name: scale[name] * torch.randn(STARTS, *size, generator=rng) for name, size in SIZES.items()}
    return {name: torch.cat([tensor, tensor]).requires_grad_() for name, tensor in starts.items()}


def norm(x):
    """Layer norm without parameters."""
    return functional.layer_norm(x, (C,))


# %%
def attend(p, layer, x, heads=range(HEADS)):
    """One layer's attention, x (S, B, n, C); heads that are not listed give nothing."""
    n, masks = x.shape[-2], MASKS[:, layer, None]  # (S, 1, heads, T, T)
    q, k, v = ((x @ p[name][:, layer, None]).unflatten(-1, (HEADS, -1)).transpose(2, 3) for name in "qkv")
    out, _ = mine.batched_attention(q, k, v, masks[..., :n, :n])  # (S, B, heads, n, D)
    kept = torch.tensor([float(head in heads) for head in range(HEADS)])
    return (out * kept[:, None, None]).transpose(2, 3).flatten(3) @ p["o"][:, layer, None]


# %%
def states(p, x):
    """Vectors after the embedding and after each layer, x (S, B, n, C) what the letters became."""
    found = [x]
    for layer in range(LAYERS):
        x = x + attend(p, layer, norm(x))
        x = x + torch.relu(norm(x) @ p["up"][:, layer, None]) @ p["down"][:, layer, None]
        found.append(x)
    return found


# %%
def read(p, ids):
    """What letters become, ids (B, n) → (S, B, n, C)."""
    return p["letter"][:, ids] + p["place"][:, None, : ids.shape[-1]]


# %%
def losses(p, ids):
    """Nats for each letter after the first, (S, B, T)."""
    x, y = mine.next_token_pairs(ids)
    chances = (norm(states(p, read(p, x))[-1]) @ p["out"][:, None]).log_softmax(dim=-1)
    return -chances.gather(-1, y.expand(len(chances), -1, -1)[..., None])[..., 0]


# %% tags=["experiment"]
from autograder.material.training import train


def rate(step):
    """Adam's rate: up for 30 steps, level, and down over the second half."""
    return 1e-2 * min(1, step / 30, 2 * (1 - step / (STEPS + 1)))


# %% tags=["experiment"]
STEPS, p = 320, parameters()
batches = lambda rng: [torch.from_numpy(grammar_text.windows(16, T + 1, rng))]
records = train(p, lambda p, ids: losses(p, ids).mean(dim=(1, 2)), batches, steps=STEPS, lr=rate)
curves = np.array([record.loss for record in records])  # (steps, S)
p = {name: tensor.detach() for name, tensor in p.items()}

# %% [markdown]
# ### Step 1: is it learnt by heart?
#
# Held-out text, drawn by another seed, scored on the second half of each window, as in 18:

# %% tags=["experiment", "nbval-ignore-output"]
held_out = torch.from_numpy(grammar_text.windows(200, T + 1, np.random.default_rng(9)))
on_new = losses(p, held_out)[..., T // 2 :].mean(dim=(1, 2))
print("share of the entropy, as in the pull request:", *(f"{x / RATE:.2f}" for x in on_new[:STARTS].tolist()))
print("share of the entropy, sound:                 ", *(f"{x / RATE:.2f}" for x in on_new[STARTS:].tolist()))
assert (on_new[:STARTS] < 0.8 * RATE).all() and (on_new[STARTS:] > 0.98 * RATE).all()

# %% [markdown]
# Not by heart: new text is predicted as well. And all three starts agree. Held-out loss and seeds only say that the
# gain is *real for this computation*. It is also impossible: below the entropy nobody can be who does not know the
# future. On real text there is no such floor to see, so from here on it is not used.

# %% [markdown]
# ### Step 2: does company matter?
#
# A text alone, and the same text with others beside it, in another order:

# %% tags=["experiment"]
some = held_out[:8, :T]
order = torch.randperm(8, generator=draw)
whole = states(p, read(p, some))[-1]
shuffled = states(p, read(p, some[order]))[-1]
print("shuffled within the batch:", torch.allclose(shuffled, whole[:, order], atol=1e-4))
print("a text alone:             ", torch.allclose(states(p, read(p, some[:1]))[-1], whole[:, :1], atol=1e-4))

# %% [markdown]
# Both hold for all six models: whatever is read too early stands in the same text.

# %% [markdown]
# ### Step 3: do later tokens matter?
#
# Change the letters from place 24 on. What stands before must not move, after any layer. How many places do?

# %% tags=["experiment"]
other = some.clone()
other[:, 24:] = held_out[8:16, 24:T]
for name, before, after in zip(("letters", "layer 0", "layer 1"), states(p, read(p, some)), states(p, read(p, other)), strict=True):
    moved = ((before - after).abs() > 1e-4).any(dim=-1).any(dim=1)[:, :24]  # (S, 24)
    print(f"after {name}: places before 24 that move, in each of six models:", moved.sum(dim=1).tolist())

# %% [markdown]
# There it is: four places before the change know of it, in the first three models, and only after layer 1. Neither
# the letters nor layer 0 are at fault.

# %% [markdown]
# ### Step 4: which head?
#
# Layer 1's attention again, with one head at a time. The other probe is the gradient: how much does output `i` react
# to the vector at place `j`?

# %% tags=["experiment"]
x, y = (norm(states(p, read(p, ids))[1]) for ids in (some, other))
for head in range(HEADS):
    moved = ((attend(p, 1, x, [head]) - attend(p, 1, y, [head])).abs() > 1e-4).any(dim=-1).any(dim=1)[:, :24]
    print(f"layer 1, head {head}: places before 24 that move:", moved.sum(dim=1).tolist())


# %% tags=["experiment"]
def gradient_map(p, n=16):
    """Size of the gradient of each output with respect to each place, (S, n, n), for one text."""
    x = read(p, some[:1, :n]).requires_grad_()
    out = states(p, x)[-1].sum(dim=(0, 1, 3))  # (n,)
    rows = [torch.autograd.grad(one, x, retain_graph=True)[0][:, 0].norm(dim=-1) for one in out]  # (S, n) each
    return torch.stack(rows, dim=1)


slopes = gradient_map(p)
ahead = slopes.triu(1) > 0
print("places ahead that are read:", [int((gap[:16, :16] * -1)[one].max()) if one.any() else 0 for one in ahead])

# %% tags=["experiment"]
def by_step(ax):
    """Losses against the step, and the entropy."""
    for group, colour, label in ((slice(0, STARTS), "other", "pull request"), (slice(STARTS, None), "truth", "sound")):
        lines = ax.plot(curves[:, group], color=plots.COLOURS[colour], linewidth=0.9)
        lines[0].set_label(label)
    ax.axhline(RATE, color=plots.COLOURS["query"], linestyle=":", linewidth=2, label="entropy of the source")
    ax.set(xlabel="step", ylabel="loss (nats per character)", yscale="log")
    ax.set_yticks([0.03, 0.1, 0.31, 1, 3], ["0.03", "0.1", "0.31", "1", "3"])
    ax.legend()


# %% tags=["experiment"]
figure, axes = plt.subplots(1, 3, figsize=(12, 3.7), width_ratios=(1.5, 1, 1), layout="constrained")
by_step(axes[0])
for ax, model, title in ((axes[1], 0, "pull request"), (axes[2], STARTS, "sound")):
    shown = (slopes[model] / slopes[model].max()).sqrt()
    plots.heatmap(shown.tolist(), range(16), range(16), ax, title=f"gradient, {title}", numbers=False)
    ax.set_xticks(range(0, 16, 5), range(0, 16, 5))
    ax.set_xlabel("place that is read", color=plots.COLOURS["key"])
axes[1].set_ylabel("output", color=plots.COLOURS["query"])
alt = "Left: losses; three of the pull request fall through the entropy, three sound ones end above it. Middle: its gradients reach "
plots.show(figure, alt + "up to four places above the diagonal. Right: the sound model's stay on and below it.")

# %% [markdown]
# Left, the three orange curves fall through the floor; the black ones stop at it. Middle and right, the square root of
# the gradient's size: only in the pull request does something stand above the diagonal, up to four places. A window of
# four in *both* directions; the mask of that head lost "and not later".

# %% [markdown]
# ### What the trail says
#
# Layer 1, head 2, four places ahead: the line is found, without the entropy and without reading the code first. The
# order of the steps is the method: from the outside inwards, each step one thing that must not change.
#
# What it does not say: that a model which passes is right. Invariants find what breaks them, and nothing else; a
# sound model may be poor. And 320 steps on a toy source show that such a leak is found fast by training, not how
# fast in a large model. The prediction from before:

# %% tags=["experiment"]
leaks = {
    "held-out loss": bool((on_new[:STARTS] > 2 * torch.from_numpy(curves[-20:, :STARTS].mean(axis=0))).any()),
    "batch": not torch.allclose(shuffled, whole[:, order], atol=1e-4),
    "later tokens": bool(ahead[:STARTS].any() and not ahead[STARTS:].any()),
}
print("checks that tell the two apart:", [name for name, tells in leaks.items() if tells])

# %% [markdown]
# ## What a cache holds
#
# Notebook 18 kept keys and values instead of computing them again. How much is that? By hand, for one layer with 2
# heads of width 3: a token leaves 2 keys and 2 values of 3 numbers, 12 numbers, 24 bytes in float16. With 5 layers it
# is 120 bytes; 100 tokens in each of 4 texts make 48,000.
#
# Many models let several query heads *share* one head of keys and values. The queries of a token are not kept at all:
# they have asked.

# %% [markdown]
# ### Exercise · bytes_of_a_token (3 min, ●○○)
#
# A model has 24 layers. In each, 8 query heads of width 64 share a single head of keys and values. Numbers are
# float32. By how many bytes does the cache grow with one more token of one text?

# %%
### BEGIN SOLUTION
#: bytes_of_a_token = ...  # a whole number
bytes_of_a_token = 24 * 2 * 1 * 64 * 4
### END SOLUTION

# %%
check("bytes_of_a_token", bytes_of_a_token)

# %% [markdown]
# ### Exercise · kv_cache_bytes (4 min, ●○○)
#
# Count it for any model, exactly, as an int: `layers`, heads of keys and values `h_kv`, width of a head `d`, tokens `n`
# of each of `batch` texts, and the bytes of one number, `bytes_per`. The example above is `kv_cache_bytes(5, 2, 3, 100,
# 4, 2)`, 48,000.


# %%
def kv_cache_bytes(layers, h_kv, d, n, batch, bytes_per):
    """Count the bytes of all keys and values that a model keeps.

    layers:    how many layers keep a cache.
    h_kv, d:   heads of keys and values in each, and the width of one.
    n, batch:  tokens of one text, and how many texts.
    bytes_per: bytes of one number, 2 for float16.
    Returns an int.
    """
    ### BEGIN SOLUTION
    return 2 * layers * h_kv * d * n * batch * bytes_per
    ### END SOLUTION


# %%
check("kv_cache_bytes", kv_cache_bytes)

# %% [markdown]
# SmolLM2-135M has 30 layers, 9 query heads and 3 heads of keys and values of width 64. What would its cache take with
# 9 heads, as plain multi-head attention has, and with one? Counted, and held against tensors of that size:

# %%
COUNTS_OF_HEADS = {"9 heads (MHA)": 9, "3 heads (GQA)": 3, "1 head (MQA)": 1}


def allocated(h_kv, n):
    """The bytes of a real cache: keys and values of 30 layers, float16."""
    cache = [torch.empty(2, 1, h_kv, n, 64, dtype=torch.float16) for _ in range(30)]
    return sum(part.untyped_storage().nbytes() for part in cache)


# %%
for name, h_kv in COUNTS_OF_HEADS.items():
    counted = mine.kv_cache_bytes(30, h_kv, 64, 2048, 1, 2)
    print(f"{name:14} 2,048 tokens: {counted / 1e6:6.1f} MB, allocated the same: {allocated(h_kv, 2048) == counted}")
WEIGHTS = 134_515_008 * 2  # its parameters, in float16
for name, h_kv in COUNTS_OF_HEADS.items():
    tokens = WEIGHTS // mine.kv_cache_bytes(30, h_kv, 64, 1, 1, 2)
    print(f"{name:14} the cache outgrows the weights at {tokens:,} tokens")

# %%
lengths = 2 ** np.arange(8, 18)
figure, ax = plt.subplots(figsize=(7.5, 3.5), layout="constrained")
for (name, h_kv), colour, marker in zip(COUNTS_OF_HEADS.items(), ("query", "key", "value"), "os^", strict=True):
    sizes = [mine.kv_cache_bytes(30, h_kv, 64, int(n), 1, 2) / 1e6 for n in lengths]
    ax.plot(lengths, sizes, color=plots.COLOURS[colour], marker=marker, markersize=4, label=name)
ax.axhline(WEIGHTS / 1e6, color=plots.COLOURS["truth"], linestyle=":", label="weights of the model")
ax.set(xscale="log", yscale="log", xlabel="tokens in the cache, of all texts together", ylabel="cache (MB)")
ax.set_xticks(lengths[::3], [f"{n:,}" for n in lengths[::3]])
ax.minorticks_off()
ax.legend()
plots.show(figure, "Cache of SmolLM2 against tokens: three parallel lines, 9, 3 and 1 heads, that cross the size of the weights.")

# %% [markdown]
# Three parallel lines: the number of heads moves the line and not its slope. Where one crosses the dotted line, texts
# take more memory than the model. With nine heads that is a few thousand tokens, all users of a service together.

# %% [markdown]
# ## Query heads that share
#
# With 4 query heads and 2 heads of keys and values, who reads whom? *Neighbours share*: query heads 0 and 1 read head
# 0, heads 2 and 3 head 1. Two ways to repeat the heads A, B:
#
# | call | heads | read by query heads 0 1 2 3 |
# |---|---|---|
# | `repeat_interleave(2)` | A A B B | neighbours share |
# | `repeat(2)` | A B A B | head 1 reads B |
#
# Both have the right shape, and a model trained with one convention talks nonsense with the other.

# %% [markdown]
# ### Exercise · grouped_query_attention (12 min, ●●○)
#
# Given `q (B, Hq, Tq, D)`, `k (B, Hkv, Tk, D)` and `v (B, Hkv, Tk, Dv)`, return `(B, Hq, Tq, Dv)`: softmax(q kᵀ / √D) v,
# without a mask, each run of Hq / Hkv query heads reading one head of keys and values. Raise a `ValueError` if Hkv does
# not divide Hq. By hand: with a single key every query head returns the value of its group.


# %%
def grouped_query_attention(q, k, v):
    """Attend with query heads that share heads of keys and values.

    q: (B, Hq, Tq, D), k: (B, Hkv, Tk, D), v: (B, Hkv, Tk, Dv); query heads 0 … Hq/Hkv − 1 read head 0, and so on.
    Returns (B, Hq, Tq, Dv) in the dtype of q.
    Raises ValueError if Hkv does not divide Hq.
    Source: Ainslie et al. 2023, section 2.2, arXiv:2305.13245.
    """
    ### BEGIN SOLUTION
    h_q, h_kv = q.shape[1], k.shape[1]
    if h_q % h_kv:
        raise ValueError(f"{h_kv} heads of keys do not divide {h_q} query heads")
    k, v = (part.repeat_interleave(h_q // h_kv, dim=1) for part in (k, v))  # (B, Hq, Tk, ·)
    return mine.batched_attention(q, k, v)[0]
    ### END SOLUTION


# %%
check("grouped_query_attention", grouped_query_attention)

# %% [markdown]
# Two ends of one scale. With as many heads of keys as of queries it is plain multi-head attention; and a plain model
# whose heads of keys happen to be equal within each group is a grouped one:

# %%
torch.manual_seed(0)
q, k, v = torch.randn(1, 6, 5, 4), torch.randn(1, 2, 5, 4), torch.randn(1, 2, 5, 4)
copied = [part.repeat_interleave(3, dim=1) for part in (k, v)]  # (1, 6, 5, 4) each
shared = mine.grouped_query_attention(q, k, v)
print("equals plain attention over copied keys:", torch.allclose(shared, mine.batched_attention(q, *copied)[0], atol=1e-6))
view = k[:, :, None].expand(-1, -1, 3, -1, -1)
print("numbers held by k, by the copy, by a view:", *(t.untyped_storage().nbytes() // 4 for t in (k, copied[0], view)))

# %% [markdown]
# A trap: `repeat_interleave` copies, so for the length of a call the saved memory is taken again. Kernels read the
# shared head in place, as the view does; in PyTorch, `scaled_dot_product_attention(…, enable_gqa=True)`.

# %% [markdown]
# ## A model to work on
#
# Notebook 18's character model in today's form: RMSNorm in place of LayerNorm, RoPE in place of a table of places. Three
# of them, from three starts, lie side by side along a first axis `S`.

# %%
V, C, HEADS, LAYERS, T, HALF, S = len(grammar_text.CHARACTERS), 32, 4, 2, 48, 24, 3
SIZES = {"letter": (V, C), "out": (C, V), "up": (LAYERS, C, 2 * C), "down": (LAYERS, 2 * C, C)}
SIZES |= {name: (LAYERS, C, C) for name in "qkvo"}
RATE = grammar_text.entropy_rate()  # nats for a character: nobody can do better


def norm(x):
    """RMSNorm without parameters."""
    return functional.rms_norm(x, x.shape[-1:])


# %%
def heads(x):
    """Vectors (…, T, h·8) as heads of width 8, (…, h, T, 8)."""
    return x.unflatten(-1, (-1, C // HEADS)).transpose(-3, -2)


def reads(p, layer, x, mask):
    """All attention of one layer of every model, (S, B, T, C) to the same; keys may have fewer heads than queries."""
    q, k, v = (heads(x @ p[name][:, layer, None]) for name in "qkv")
    q, k = (mine.apply_rope(part, torch.arange(x.shape[-2])) for part in (q, k))
    k, v = (part.repeat_interleave(q.shape[-3] // k.shape[-3], dim=-3) for part in (k, v))
    out, _ = mine.batched_attention(q, k, v, mask)
    return out.transpose(-3, -2).flatten(-2) @ p["o"][:, layer, None]


# %%
def logits(p, ids, mask=None, attend=reads):
    """Scores of the next letter, (S, B, T, V), for ids (S, B, T)."""
    mask = mine.causal_mask(ids.shape[-1]) if mask is None else mask
    x = torch.stack([table[part] for table, part in zip(p["letter"], ids, strict=True)])
    for layer in range(LAYERS):
        x = x + attend(p, layer, norm(x), mask)
        x = x + torch.relu(norm(x) @ p["up"][:, layer, None]) @ p["down"][:, layer, None]
    return norm(x) @ p["out"][:, None]


# %% tags=["experiment"]
def losses(p, ids, mask=None):
    """Nats for every character, (S, B, T), of windows (S, B, T + 1)."""
    scores = logits(p, ids[..., :-1], mask)
    return functional.cross_entropy(scores.flatten(0, 2), ids[..., 1:].flatten(), reduction="none").view(*ids.shape[:2], -1)


@torch.no_grad()
def score(p, ids):
    """The loss on the second half of windows (B, T + 1), as a multiple of the entropy, for each model."""
    return losses(p, ids.expand(S, -1, -1))[..., HALF:].mean(dim=(1, 2)) / RATE


# %% tags=["experiment"]
def batches(count, spell=lambda ids: ids):
    """What draws new windows for each step, (S, count, T + 1), spelt in some way."""
    return lambda rng: [spell(torch.from_numpy(grammar_text.windows(S * count, T + 1, rng)).view(S, count, -1))]


def learn(p, loss, draw, steps, lr):
    """Train in place; the rate goes up over 20 steps and down over the second half."""
    rate = lambda step: lr * min(1, step / 20, 2 * (1 - step / (steps + 1)))
    return train(p, lambda p, ids: loss(p, ids).mean(dim=(1, 2)), draw, steps=steps, lr=rate)


# %% tags=["experiment"]
torch.manual_seed(0)
scale = {name: 1 / math.sqrt(size[-2]) for name, size in SIZES.items()} | {"letter": 0.5}
start = {name: (scale[name] * torch.randn(S, *size)).requires_grad_() for name, size in SIZES.items()}
learn(start, losses, batches(12), steps=700, lr=1e-2)
base = {name: tensor.detach() for name, tensor in start.items()}  # frozen from here on
held_out = torch.from_numpy(grammar_text.windows(300, T + 1, np.random.default_rng(99)))

# %% tags=["experiment", "nbval-ignore-output"]
plain = score(base, held_out)
print("loss over the entropy, three starts:", *(f"{x:.3f}" for x in plain.tolist()))
assert (plain < 1.15).all()

# %% [markdown]
# ### From four heads to two and to one
#
# Can a finished model be made to share? Ainslie and others average the heads of keys and values of a group, then train
# on for a few per cent of the steps. Here with 4 heads in 2 groups and in 1, beside simply keeping the first head of
# each group, and 60 steps more.

# %% tags=["experiment"]
def grouped(p, h_kv, how):
    """The model with h_kv heads of keys and values, made from those of each group."""
    parts = {name: p[name].unflatten(-1, (h_kv, HEADS // h_kv, -1)) for name in "kv"}  # (S, L, C, h_kv, g, D)
    made = {name: part.mean(dim=-2) if how == "mean" else part[..., 0, :] for name, part in parts.items()}
    return p | {name: part.flatten(-2) for name, part in made.items()}


def trained_on(p, steps=60):
    """A copy, trained on for a few steps."""
    copy = {name: tensor.clone().requires_grad_() for name, tensor in p.items()}
    learn(copy, losses, batches(12), steps, lr=5e-3)
    return {name: tensor.detach() for name, tensor in copy.items()}


# %% tags=["experiment", "nbval-ignore-output"]
before = {(h, how): score(grouped(base, h, how), held_out) for h in (2, 1) for how in ("mean", "first")}
after = {h: score(trained_on(grouped(base, h, "mean")), held_out) for h in (2, 1)}
for (h, how), found in before.items():
    print(f"{h} heads, {how:5}           ", *(f"{x:.2f}" for x in found.tolist()))
for h, found in after.items():
    print(f"{h} heads, mean, 60 steps ", *(f"{x:.2f}" for x in found.tolist()))
assert all((after[h] < before[h, "mean"]).all() for h in (2, 1)) and all((x > 1.2 * plain).all() for x in before.values())

# %% [markdown]
# Averaging as such breaks the model: heads that learnt different jobs have no meaningful mean. A few steps bring most
# of it back. So the mean is a *start*, not a conversion: memory is saved, and paid for with training and with what the
# last rows are still worse by. Nor is the mean a better start here than simply keeping one of the heads; Ainslie and
# others found it better in T5.

# %% [markdown]
# ## A change of low rank
#
# To adapt a large model, all its weights could be trained on. *LoRA* leaves each matrix `w (in, out)` as it is and adds
# a product of two thin ones: `x w + (α / r) · x a b`, `a (in, r)`, `b (r, out)`. Only they learn. `a` starts random, `b`
# at 0, so at first nothing changes; dividing by r keeps changes of different ranks alike in size.
#
# By hand, with r = 1: `x = (1, 2)`, `w` the identity, `a = (3, 0)ᵀ`, `b = (0, 5)`, α = 1. Then x a = 3, x a b = (0, 15),
# and the result is (1, 2) + (0, 15) = (1, 17).

# %% [markdown]
# ### Exercise · first_to_move (3 min, ●●○)
#
# In the very first step, `a` random and `b` all 0: which of the two has a gradient that is not 0? A set drawn from
# `{"a", "b"}`.

# %%
### BEGIN SOLUTION
#: first_to_move = ...  # a set of names
first_to_move = {"b"}
### END SOLUTION

# %%
check("first_to_move", first_to_move)

# %% [markdown]
# ### Exercise · lora_forward (8 min, ●○○)
#
# Given `x (..., in)`, `w (in, out)`, `a (in, r)`, `b (r, out)` and a number `alpha`, return `x w + (alpha / r) x a b`.
# The numbers above give (1, 17).


# %%
def lora_forward(x, w, a, b, alpha):
    """Multiply by a frozen matrix and by the adapter beside it.

    x:     (..., in) float; w: (in, out), frozen.
    a, b:  (in, r) and (r, out), what is trained; alpha: a number.
    Returns (..., out) in the dtype of x, differentiable in x, a and b.
    Source: Hu et al. 2021, section 4.1, arXiv:2106.09685.
    """
    ### BEGIN SOLUTION
    return x @ w + (alpha / a.shape[1]) * (x @ a @ b)
    ### END SOLUTION


# %%
check("lora_forward", lora_forward)

# %%
w, a = torch.randn(6, 5), torch.randn(6, 2, requires_grad=True)
b, x = torch.zeros(2, 5, requires_grad=True), torch.randn(4, 6)
mine.lora_forward(x, w, a, b, 4.0).square().sum().backward()
print("largest gradient of a:", a.grad.abs().max().item(), "· of b larger than 0:", bool(b.grad.abs().max() > 0))
with torch.no_grad():
    b += torch.randn(2, 5)
    merged = mine.lora_forward(torch.eye(6), w, a, b, 4.0)  # fed the identity, it returns the matrix it amounts to
    print("one matrix in its place:", torch.allclose(x @ merged, mine.lora_forward(x, w, a, b, 4.0), atol=1e-5))

# %% [markdown]
# Right at the start `a` stands still and `b` moves; later both do. And fed the identity the function yields the matrix
# it amounts to, w + (α / r) a b: merged, it costs nothing at run time. That is also how the next cells use it.

# %% [markdown]
# ### A dialect
#
# The same grammar in a country where six consonants have shifted: p is said t, t is said k, k is said p; b, d and g go
# round likewise. Nothing is lost, so its entropy is the same, and the floor is known.
#
# How large is that change? Letters are rows of a table, and the new table is P times the old one, P a permutation. The
# rank of P − 1 tells how many directions have to change.

# %%
SHIFT = torch.arange(V)
for ring in ("ptk", "bdg"):
    for old, new in zip(grammar_text.encode(ring), grammar_text.encode(ring[1:] + ring[0]), strict=True):
        SHIFT[old] = new
sample = torch.tensor(grammar_text.encode("the queen drops two pans as she is late."))
print(grammar_text.decode(sample), "\n" + grammar_text.decode(SHIFT[sample]))
change = torch.eye(V)[SHIFT] - torch.eye(V)
print("letters that move:", int((SHIFT != torch.arange(V)).sum()), "· rank of the change:", torch.linalg.matrix_rank(change).item())

# %% [markdown]
# Six letters in two rings of three: rank 4. Two choices of what gets an adapter: the two tables of letters alone
# (first and last matrix), or every matrix of the model. Ranks 1, 2, 4, 8; beside them all weights trained on. 160 steps
# each.

# %% tags=["experiment"]
TABLES, EVERY = ("letter", "out"), tuple(SIZES)


def adapters(names, r):
    """a random and b zero for every matrix of these names, and every model."""
    torch.manual_seed(1)
    shapes = {name: base[name].shape for name in names}
    a = {f"{name} a": torch.randn(*shape[:-1], r) / math.sqrt(shape[-2]) for name, shape in shapes.items()}
    b = {f"{name} b": torch.zeros(*shape[:-2], r, shape[-1]) for name, shape in shapes.items()}
    return {name: tensor.requires_grad_() for name, tensor in (a | b).items()}


# %% tags=["experiment"]
def adapted(added):
    """The models with their adapters merged in, each matrix through lora_forward."""
    def merge(w, a, b):  # (…, in, out), one matrix at a time
        if w.ndim > 2:
            return torch.stack([merge(*parts) for parts in zip(w, a, b, strict=True)])
        return mine.lora_forward(torch.eye(len(w)), w, a, b, float(b.shape[0]))
    names = {name.split()[0] for name in added}
    return base | {name: merge(base[name], added[f"{name} a"], added[f"{name} b"]) for name in names}


# %% tags=["experiment"]
dialect = batches(8, lambda ids: SHIFT[ids])
results = {}  # (what has adapters, rank) → numbers trained, loss on the dialect, loss on the first text
for what, names in (("tables", TABLES), ("every", EVERY)):
    for r in (1, 2, 4, 8):
        added = adapters(names, r)
        learn(added, lambda added, ids: losses(adapted(added), ids), dialect, steps=160, lr=2e-2)
        with torch.no_grad():
            p = adapted(added)
        count = sum(tensor.numel() for tensor in added.values()) // S
        results[what, r] = count, score(p, SHIFT[held_out]), score(p, held_out)

# %% tags=["experiment"]
full = {name: tensor.clone().requires_grad_() for name, tensor in base.items()}
learn(full, losses, dialect, steps=160, lr=1e-2)
full_count = sum(tensor.numel() for tensor in full.values()) // S
results["all weights", full_count] = full_count, score(full, SHIFT[held_out]), score(full, held_out)
untouched = score(base, SHIFT[held_out])

# %% tags=["experiment", "nbval-ignore-output"]
print("before, on the dialect:", *(f"{x:.1f}" for x in untouched.tolist()))
for (what, r), (count, new, old) in results.items():
    rank = "" if what == "all weights" else f"rank {r}"
    shown = "  ".join(" ".join(f"{x:5.2f}" for x in found.tolist()) for found in (new, old))
    print(f"{what:12}{rank:7}{count:7,} numbers   dialect, then first text: {shown}")
by_rank = {what: torch.stack([results[what, r][1] for r in (1, 2, 4, 8)]) for what in ("tables", "every")}
assert (by_rank["tables"][1] > 1.2 * by_rank["tables"][2]).all()  # rank 2 is too small for a change of rank 4
assert (by_rank["every"][2] < 1.3 * results["all weights", full_count][1]).all()
assert all((old > 2 * plain).all() for _, _, old in results.values())  # all have forgotten

# %% tags=["experiment"]
figure, axes = plt.subplots(1, 2, figsize=(10.5, 3.6), layout="constrained", sharex=True)
for ax, index, title in zip(axes, (1, 2), ("on the dialect", "on the first text, adapter on"), strict=True):
    for what, colour in (("tables", "key"), ("every", "query"), ("all weights", "truth")):
        points = np.array([(found[0], x) for (kind, _), found in results.items() if kind == what for x in found[index].tolist()])
        ax.plot(*points.T, "o", markersize=4, color=plots.COLOURS[colour], label=what)
    ax.axhline(1, color=plots.COLOURS["data"], linestyle=":", label="entropy")
    ax.set(xscale="log", yscale="log", xlabel="numbers trained", title=title)
    ax.set_yticks((1, 2, 4, 8), ("1", "2", "4", "8"))
    ax.minorticks_off()
axes[0].set_ylabel("loss over the entropy")
axes[1].legend(title="adapted")
plots.show(figure, "Left: loss on the dialect falls with the numbers trained; right: loss on the first text is several times the entropy for all.")

# %% [markdown]
# Left: with the two tables alone, ranks 1 and 2 stay well above ranks 4 and 8, as a change of rank 4 must. With an
# adapter on every matrix, small ranks do more, since the layers between can share the work; from rank 4 on it is close
# to training all weights.
#
# Right, what is often left out: *with the adapter on, the first text is forgotten*, as it is by full training. LoRA
# forgets nothing in one sense only: take the adapter off and the old weights are there.

# %% [markdown]
# ## Masks from written rules
#
# Requirements come in words: "several documents in one row, none may read another; order matters; the question in front
# is read by all; otherwise only near tokens, but always the first four." Three rules, each with its exception:
#
# | rule | holds where | softened by |
# |---|---|---|
# | documents | `documents[i] == documents[j]` | nothing |
# | order, if `causal` | `j ≤ i` | `or j < prefix` |
# | nearness, if there is a `window` | `abs(i − j) ≤ window` | `or j < sinks` |
#
# A key is read where *all* hold. An exception softens its own rule and no other: a sink in another document stays
# hidden.

# %% [markdown]
# ### Exercise · design_mask (15 min, ●●●)
#
# Return the mask `(n, n)`, bool, True where query `i` may read key `j`, for a dict `rules` with any of `causal` (bool),
# `prefix` (int), `window` (int ≥ 0, or None for no window), `sinks` (int), `documents` (n ids, a list or tensor). By
# hand: causal, window 1 and 1 sink, n = 4, last row: key 0 is a sink, 1 is too far, 2 and 3 are near: True False True
# True.


# %%
def design_mask(rules, n):
    """Turn rules into a mask.

    rules: dict with any of causal (bool), prefix (int), window (int or None), sinks (int), documents (n ids).
    n:     how many tokens.
    Returns (n, n) bool, True where query i may read key j.
    """
    ### BEGIN SOLUTION
    i, j = torch.arange(n)[:, None], torch.arange(n)
    mask = torch.ones(n, n, dtype=torch.bool)
    if rules.get("documents") is not None:
        ids = torch.as_tensor(rules["documents"])
        mask = mask & (ids[:, None] == ids)
    if rules.get("causal"):
        mask = mask & ((j <= i) | (j < rules.get("prefix", 0)))
    if rules.get("window") is not None:
        mask = mask & (((i - j).abs() <= rules["window"]) | (j < rules.get("sinks", 0)))
    return mask
    ### END SOLUTION


# %%
check("design_mask", design_mask)

# %%
WRITTEN = {
    "causal": {"causal": True},
    "and a prefix of 4": {"causal": True, "prefix": 4},
    "and a window of 2, 2 sinks": {"causal": True, "window": 2, "sinks": 2},
    "all of it, two documents": {"causal": True, "prefix": 4, "window": 2, "sinks": 2, "documents": [1] * 7 + [2] * 5},
}
figure, axes = plt.subplots(1, 4, figsize=(11, 3), layout="constrained")
for ax, (title, rules) in zip(axes, WRITTEN.items(), strict=True):
    plots.heatmap(mine.design_mask(rules, 12).int().tolist(), range(12), range(12), ax, title=title, numbers=False)
    ax.set(aspect="equal", xlabel="key j")
axes[0].set_ylabel("query i")
plots.show(figure, "Four masks of 12 tokens: triangle; triangle with four full columns; band with two columns; the same cut into two documents.")

# %% [markdown]
# The last one is all of it: in the second document no sink is left, since the first two tokens belong to the other one.

# %% [markdown]
# ## Reading on and on
#
# A cache that only grows ends somewhere. Keep a *window* of the newest entries, and memory is bounded. Xiao and others
# found that large models then collapse the moment the first tokens drop out, since many heads rest their weight there
# (*sinks*; notebook 18 finds them), and that keeping a few of the first saves them.
#
# Does the small model? It was trained on 48 characters and now reads 432, nine times as many, one at a time: with
# everything kept, with a window, and with sinks and a window.


# %%
class Stream:
    """One layer's cache with bounded memory: the first `sinks` entries and those at most `window` back."""

    def __init__(self, sinks, window):
        self.sinks, self.window, self.k, self.v, self.places = sinks, window, None, None, []

    def keep(self, k, v):
        """Add the newest entry (B, h, 1, D), and drop what is neither a sink nor near."""
        self.places.append(self.places[-1] + 1 if self.places else 0)
        self.k, self.v = (new if old is None else torch.cat([old, new], dim=2) for old, new in ((self.k, k), (self.v, v)))
        rows = [n for n, j in enumerate(self.places) if j < self.sinks or self.places[-1] - j <= self.window]
        self.places, self.k, self.v = [self.places[n] for n in rows], self.k[:, :, rows], self.v[:, :, rows]


# %% [markdown]
# Keys are kept *before* they are turned, and turned by their place in the cache, as Xiao and others do: so no distance
# is ever larger than the cache is long. One query and no mask, so the attention is your `grouped_query_attention`.


# %%
def reads_from(caches):
    """A way to read for `logits`, fed one token at a time: (S, B, 1, C) to the same."""
    def attend(p, layer, x, mask):
        q, k, v = (heads(x @ p[name][:, layer, None]).flatten(0, 1) for name in "qkv")  # (S·B, h, 1, D)
        cache = caches[layer]
        cache.keep(k, v)
        places = torch.arange(len(cache.places))
        q, k = mine.apply_rope(q, places[-1:]), mine.apply_rope(cache.k, places)
        out = mine.grouped_query_attention(q, k, cache.v)
        return out.unflatten(0, x.shape[:2]).transpose(-3, -2).flatten(-2) @ p["o"][:, layer, None]
    return attend


# %% tags=["experiment"]
@torch.no_grad()
def stream(ids, sinks, window):
    """Read texts (B, n + 1) token by token: losses (S, B, n), entries kept after each, and what was kept (n, n)."""
    caches, found, kept = [Stream(sinks, window) for _ in range(LAYERS)], [], torch.zeros(LONG, LONG, dtype=torch.bool)
    for t in range(LONG):
        scores = logits(base, ids[:, t : t + 1].expand(S, -1, -1), True, reads_from(caches))[:, :, 0]
        wanted = ids[:, t + 1].expand(S, -1)
        found.append(functional.cross_entropy(scores.mT, wanted, reduction="none"))
        kept[t, caches[0].places] = True
    return torch.stack(found, dim=-1), kept


# %% tags=["experiment"]
LONG = 9 * T
texts = torch.from_numpy(grammar_text.windows(24, LONG + 1, np.random.default_rng(5)))
WAYS = {"everything kept": (0, LONG), "window of 47": (0, T - 1), "4 sinks and a window of 43": (4, T - 5)}
runs = {name: stream(texts, *sizes) for name, sizes in WAYS.items()}
floor = torch.from_numpy(grammar_text.surprise(texts.numpy())[:, 1:])  # the grammar itself, on the same texts
for name, (sinks, window) in WAYS.items():
    kept = runs[name][1]
    same = torch.equal(kept, mine.design_mask({"causal": True, "window": window, "sinks": sinks}, LONG))
    print(f"{name:27} most entries kept: {kept.sum(dim=1).max().item():3}   the mask of the rules: {same}")
    assert same

# %% [markdown]
# What such a cache keeps is one of the masks above, entry for entry. And a window without sinks gives the very scores
# of one masked pass over the whole text, since RoPE sees distances alone:

# %% tags=["experiment"]
with torch.no_grad():
    rules = {"causal": True, "window": T - 1}
    whole_pass = losses(base, texts[:4].expand(S, -1, -1), mine.design_mask(rules, LONG))
print("one masked pass gives what the stream gave:", torch.allclose(whole_pass, runs["window of 47"][0][:, :4], atol=1e-3))

# %% tags=["experiment", "nbval-ignore-output"]
far = {name: found[:, :, 2 * T :].mean(dim=(1, 2)) / floor[:, 2 * T :].mean() for name, (found, _) in runs.items()}
for name, found in far.items():
    print(f"{name:27} loss over the grammar's own, from character {2 * T} on:", *(f"{x:.2f}" for x in found.tolist()))
with torch.no_grad():
    weights = []
    def watched(p, layer, x, mask):
        q, k = (mine.apply_rope(heads(x @ p[name][:, layer, None]), torch.arange(T)) for name in "qk")
        weights.append(mine.batched_attention(q, k, k, mask)[1][..., HALF:, 0].mean(dim=(1, 3)))  # (S, h)
        return reads(p, layer, x, mask)
    logits(base, held_out[:, :T].expand(S, -1, -1), attend=watched)
print(f"heads with more than half of their weight on the first token: {(torch.stack(weights) > 0.5).sum()} of {S * LAYERS * HEADS}")

# %% tags=["experiment"]
smooth = lambda row: np.convolve(row, np.ones(16) / 16, mode="valid")
MIDDLES = np.arange(LONG - 15) + 8  # of 16 characters each

# %% tags=["experiment"]
figure, (left, right) = plt.subplots(1, 2, figsize=(10.5, 3.6), width_ratios=(1.6, 1), layout="constrained")
for (name, (found, kept)), colour in zip(runs.items(), ("key", "query", "value"), strict=True):
    style = {"color": plots.COLOURS[colour], "linewidth": 2, "linestyle": "--" if colour == "value" else "-"}
    left.plot(MIDDLES, smooth(found.mean(dim=(0, 1)).numpy()), label=name, **style)
    right.plot(kept.sum(dim=1), **style)
left.plot(MIDDLES, smooth(floor.mean(dim=0).numpy()), color=plots.COLOURS["truth"], linestyle=":", label="the grammar itself")
left.axvspan(0, T, color=plots.COLOURS["data"], alpha=0.2)
left.set(xlabel="characters read (grey: as far as training went)", ylabel="loss (nats per character)", yscale="log")
left.set_yticks([0.3, 1, 3], ["0.3", "1", "3"]), left.minorticks_off()
left.legend(loc="center right", fontsize=8)
right.set(xlabel="characters read", ylabel="entries in a layer's cache")
plots.show(figure, "Left: loss along the text for three caches and the grammar. Right: entries kept, growing or level at 48.")

# %% [markdown]
# Left, what matters is where the lines part. *Everything kept* is fine as far as training went, and then meets distances
# that it has never seen. A window as long as training never does, so it stays near the grammar for as long as you like,
# with 48 entries, right.
#
# Sinks change nothing of note here, and the count above says why: hardly any head rests on the first token. What saves a
# large model is not a trick that every model needs: in SmolLM2, 99 of its 270 heads are sinks (notebook 18 counts them).
# So look before you keep.

# %% tags=["experiment", "nbval-ignore-output"]
ends = {name: float(found.mean()) for name, found in far.items()}
print({name: round(x, 2) for name, x in ends.items()})
assert ends["everything kept"] > 1.1 * ends["window of 47"]
assert abs(ends["4 sinks and a window of 43"] / ends["window of 47"] - 1) < 0.1

# %% [markdown]
# ### Where sinks matter (optional)
#
# In SmolLM2 many heads do rest on the first token. Your masks inside the real model, on a page of Python's own
# documentation. Without the model (94 MB, not installed with the course) these cells print one line.

# %% tags=["experiment", "nbval-ignore-output"]
from autograder.material import causal_lm
from autograder.material.optional import ModelMissing

try:
    real = causal_lm.load()
except ModelMissing as missing:
    real = None
    print("skipped, the real model is not here:", missing)


# %% tags=["experiment"]
def reads_like_llama(mask):
    """A way to read for the real model, (1, n, C) to the same, under a mask (n, n)."""
    def attend(layer, x):
        w, places = real.attention(layer), torch.arange(x.shape[1])
        counts = {"w_q": real.heads, "w_k": real.kv_heads, "w_v": real.kv_heads}
        q, k, v = (mine.split_heads(x @ w[name], h) for name, h in counts.items())
        q, k = mine.apply_rope(q, places, real.base), mine.apply_rope(k, places, real.base)
        k, v = (part.repeat_interleave(real.heads // real.kv_heads, dim=1) for part in (k, v))
        return mine.merge_heads(mine.batched_attention(q, k, v, mask)[0]) @ w["w_o"]
    return attend


# %% tags=["experiment", "nbval-ignore-output"]
CACHES = {"everything": {}, "window of 63": {"window": 63}, "1 sink, window of 62": {"window": 62, "sinks": 1}}
told = {}
if real:
    from pydoc_data.topics import topics

    page = real.encode(" ".join(topics["compound"].split()))[:320]
    for name, rules in CACHES.items():
        found = causal_lm.run(real, page, reads_like_llama(mine.design_mask({"causal": True} | rules, len(page))))
        told[name] = functional.cross_entropy(found[128:-1], torch.tensor(page[129:])).item()
        print(f"SmolLM2, {name:21} {told[name]:.2f} nats for each token after the first 128")
    assert told["window of 63"] - told["everything"] > 4 * (told["1 sink, window of 62"] - told["everything"]) > 0

# %% [markdown]
# With the model installed: the window alone loses far more than the same number of entries with a single sink among
# them, which stays close to reading everything. The test asks for a factor of four. One page, one model.

# %% [markdown]
# ## The map
#
# Where does each thing that you wrote live in a model of today? The list of exercises is read from the course; the
# places are those of a language model that writes, from the text at the top to the next word at the bottom.

# %%
PLACES = {  # place → (what stands there today, what you wrote for it)
    "text → ids": ("tokens, pairs, noise", "next_token_pairs shift_right mlm_corrupt"),
    "embedding": ("a table of vectors; places, if not rotated", "bert_embed sinusoidal_encoding add_positions"),
    "norm": ("RMSNorm, before each part", "layer_norm"),
    "queries, keys, values": ("projections, adapters on them", "project_qkv qk_ov from_torch_mha lora_forward"),
    "positions in the scores": ("RoPE; ALiBi or T5's biases", "apply_rope alibi_bias t5_bucket t5_attention"),
}

# %%
PLACES["mask"] = (
    "causal, documents, windows, sinks",
    "causal_mask padding_mask convert_mask masked_softmax design_mask window_mask layers_to_connect longformer_mask "
    "bigbird_mask block_sparse_mask",
)
PLACES["scores → weights → mean"] = (
    "softmax(q kᵀ / √D) v",
    "softmax soft_lookup kernel_attention attend_to_previous dot_product_std softmax_jacobian additive_scores "
    "bilinear_scores scaled_dot_product_attention self_attention trace_token",
)

# %%
PLACES["heads"] = (
    "query heads in groups",
    "split_heads merge_heads batched_attention multi_head_attention grouped_query_attention causal_self_attention "
    "bert_self_attention cross_attention prune_heads",
)
PLACES["its kernel"] = (
    "FlashAttention; sparse, linear kinds",
    "attention_flops score_bytes fit_exponent scoring_cost layer_costs chunked_attention online_attention local_attention "
    "block_sparse_attention rank_k_error linformer_attention linear_attention",
)
PLACES["cache"] = ("keys and values, in pages", "KVCache precompute_kv cross_attention_step kv_cache_bytes")

# %%
PLACES["network, residual: the layer"] = (
    "gated network; encoders read, decoders write",
    "feed_forward encoder_layer bert_layer decoder_layer transformer rnn_forward",
)
PLACES["loss, rate"] = ("cross-entropy; warm-up", "mlm_loss label_smoothed_loss noam_rate")
PLACES["next word"] = (
    "temperature, top-k, beams",
    "sample_next greedy_translate beam_search attention_step",
)

# %%
PLACES["beside it: tests"] = (
    "what must not change",
    "check_permutation_equivariant is_causal gradient_reach attention_tests repaired_attention repaired_batch clinic_1 "
    "clinic_2 clinic_3 clinic_4 clinic_5 clinic_6",
)
PLACES["beside it: microscopes"] = (
    "maps, ablations, what a weight means",
    "plot_attention head_stats attention_rollout kendall_tau leave_one_out grad_x_input attention_permutation_test "
    "comprehensiveness sufficiency hard_alignment alignment_error_rate offset_score link_accuracy ablate_heads "
    "induction_score",
)

# %%
from autograder.exercise import exercises

NUMBER = {name: one.notebook[:2] for name, one in exercises().items() if one.kind in "IBTV"}  # all that is a function
placed = [name for _, names in PLACES.values() for name in names.split()]
assert sorted(placed) == sorted(NUMBER), set(placed) ^ set(NUMBER)
print(len(placed), "functions of", len(set(NUMBER.values())), "notebooks, each at one of", len(PLACES), "places")

# %%
import textwrap

LAYER = list(PLACES)[2:11]  # what stands in every layer
ROWS = {spot: textwrap.wrap(", ".join(f"{name}\N{NO-BREAK SPACE}{NUMBER[name]}" for name in names.split()), 108) for spot, (_, names) in PLACES.items()}
TOPS, line = {}, 0.0
for spot, wrapped in ROWS.items():
    TOPS[spot], line = line, line + max(2, len(wrapped)) + 0.9


# %%
def box(ax, place, colour):
    """One place: its box, what stands there today, and what you wrote."""
    top, height = TOPS[place], max(2, len(ROWS[place]))
    ax.add_patch(plt.Rectangle((0, top), 25, height, facecolor=colour, alpha=0.18, edgecolor=colour))
    ax.text(12.5, top + height / 2 - 0.4, place, ha="center", va="center", fontsize=8.5, weight="bold")
    ax.text(12.5, top + height / 2 + 0.5, PLACES[place][0], ha="center", va="center", fontsize=7)
    ax.text(27, top + height / 2, "\n".join(ROWS[place]), va="center", fontsize=7, linespacing=1.35)


# %%
def arrows(ax):
    """What follows what, and what is in every layer."""
    for place, below in zip(list(PLACES)[:12], list(PLACES)[1:13], strict=True):
        start = TOPS[place] + max(2, len(ROWS[place]))
        ax.annotate("", (12.5, TOPS[below]), (12.5, start), arrowprops={"arrowstyle": "-|>"})
    first, last = TOPS[LAYER[0]], TOPS[LAYER[-1]] + 2
    ax.plot([-0.8, -1.8, -1.8, -0.8], [first, first, last, last], color=plots.COLOURS["truth"], linewidth=1)
    ax.text(-2.6, (first + last) / 2, "in every layer", rotation=90, ha="center", va="center", fontsize=8)


# %%
figure, ax = plt.subplots(figsize=(11, 9.5), layout="constrained")
for place in PLACES:
    kind = "query" if place in LAYER[1:8] else "value" if place in LAYER else "data"
    box(ax, place, plots.COLOURS["other" if place.startswith("beside") else kind])
arrows(ax)
ax.set(xlim=(-4, 100), ylim=(line, -0.5))
ax.axis("off")
alt = "Fifteen boxes from text to the next word, with what stands there in a model of today and the functions of the course, "
plots.show(figure, alt + "each with the number of its notebook; nine of the boxes are in every layer, two stand beside the model.")

# %% [markdown]
# Blue is attention, green the rest of a layer, grey what happens once, orange what stands beside the model. Two things
# can be seen. Attention proper, one softmax, is one box; most of the work of ten years went into the boxes around it:
# what may be read, how it is stored, and what it costs. And the two orange boxes belong to no model at all: they are how
# you know.

# %% [markdown]
# ## To say to a colleague
#
# - A low loss proves little. Say what must not change, later tokens, company, the cut into pieces, and test that.
# - A test is as good as the wrong functions it catches, provided that it spares the right ones.
# - A cache holds two vectors for each token, layer and *key* head; sharing heads divides it, and has to be trained.
# - A change of low rank is as good as a full one where the change has low rank; switched on, it forgets as well.
# - A rule of a mask may soften itself, never another rule; a window bounds memory, and sinks help where there are any.

# %% [markdown]
# ## In your own words
#
# ### Exercise · reflection_20 (10 min, ●●○)
#
# A team shows you a new attention layer: grouped heads, a sliding window, a cache, and a loss that has fallen by a third.
# Which tests do you ask for before you believe the loss, at which places, and what does each rule out? What is to be
# compared with what, so that the fast path is known to be the right one? And what may the savings have cost? Five to
# eight sentences.

# %%
### BEGIN SOLUTION
#: reflection_20 = """
#: """
reflection_20 = """
A loss that falls by a third is first of all a suspect. I change later tokens, at every place and after every layer, and
want no earlier output to move; a leak would explain the loss at once. I read a text alone and in a padded batch, and one
document beside another in a row: nothing of it may change, or masks and batches are mixed up.

Then the fast path against the full one. The cache, fed one token at a time and in pieces, has to give the rows of one
masked pass; the window's mask has to be the one its rules say, entry for entry; grouped heads have to give what plain
attention gives over copied keys, neighbours sharing.

The loss itself I hold against a floor or at least against the old layer, with the same data and updates, on several seeds.
The savings may have cost something that the mean does not show: a window loses what lies far back, so I look at the loss by
distance; shared heads lose detail until they are trained on; and where heads rest on the first token, a window without it
breaks the model.
"""
### END SOLUTION

# %%
reflect("reflection_20", reflection_20)

# %% [markdown]
# ## Papers
#
# - Ainslie, Lee-Thorp, de Jong, Zemlyanskiy, Lebrón, Sanghai 2023, *GQA: Training Generalized Multi-Query Transformer
#   Models from Multi-Head Checkpoints*, section 2, arXiv:2305.13245.
# - Shazeer 2019, *Fast Transformer Decoding: One Write-Head is All You Need*, arXiv:1911.02150.
# - Hu, Shen, Wallis, Allen-Zhu, Li, Wang, Wang, Chen 2021, *LoRA: Low-Rank Adaptation of Large Language Models*, section 4,
#   arXiv:2106.09685.
# - Xiao, Tian, Chen, Han, Lewis 2023, *Efficient Streaming Language Models with Attention Sinks*, arXiv:2309.17453.
# - Dao, Fu, Ermon, Rudra, Ré 2022, *FlashAttention*, arXiv:2205.14135. The running sums of PR 1, done right.
# - DeMillo, Lipton, Sayward 1978, *Hints on Test Data Selection: Help for the Practicing Programmer*, Computer 11(4). Where
#   mutation testing begins.
# - Claessen, Hughes 2000, *QuickCheck: A Lightweight Tool for Random Testing of Haskell Programs*. Tests as properties.
