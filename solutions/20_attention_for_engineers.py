# %% [markdown]
# # 20 · Why understanding attention matters
#
# About 170 minutes. You need notebook 03 (scaled dot products), 06 (heads), 08 (masks) and 18 (causal attention).
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
        if a.shape != b.shape or a.dtype != b.dtype or not torch.allclose(a, b, atol=1e-4):
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
# hide what happened to the inputs.

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
