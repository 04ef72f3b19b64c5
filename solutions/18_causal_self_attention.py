# %% [markdown]
# # 18 · Causal self-attention
#
# About 110 minutes. You need notebook 06 (heads), notebook 08 (masks), and tensors of PyTorch.
#
# You will be able to
#
# - say what the causal mask forbids, and write attention that reads the past alone;
# - test any layer for leaks from the future, without looking at its code;
# - train a model that writes, and judge its loss against the best that is possible;
# - keep keys and values in a cache, and say why that is allowed and what it saves;
# - draw the next letter by chance, with temperature and top-k.

# %% [markdown]
# ## A puzzle: what can be kept?
#
# A program writes a sentence word by word. After every word it runs self-attention over all words so far. Here is
# what it computes for *pan*, the fourth word, as the sentence grows; the number is the *heat* of pan's output.

# %%
import math

import torch

from autograder import check, hint, mine, progress, reflect
from autograder.material.sentence import WORDS, embeddings

words = torch.from_numpy(embeddings()).float()  # (T, C) = (8, 4)
for n in range(4, 9):
    so_far = words[:n]
    out = torch.softmax(so_far @ so_far.T / math.sqrt(4), dim=-1) @ so_far
    print(f"{' '.join(WORDS[:n]):40} heat of pan {out[3, 3]:.3f}")

# %% [markdown]
# *pan* gets another vector with each word that is added, so everything is computed anew, again and again. Text of
# 1,000 words would take 1,000 passes, the last of them over 1,000 words.
#
# Programs that write do not work like that. They compute what belongs to a word *once*. What has to be forbidden for
# that to be right? And what, then, has to be kept? The end of this notebook answers both.

# %% [markdown]
# ## All prefixes at once
#
# Forbid one thing: no word reads a later one. By hand, for every word a small attention of its own, over the words up
# to itself:

# %%
rows = []
for i in range(8):
    seen = words[: i + 1]  # the prefix that ends with word i
    weights = torch.softmax(seen @ words[i] / math.sqrt(4), dim=0)  # (i + 1,)
    rows.append(weights @ seen)
    if i < 4:
        print(f"{WORDS[i]:8} reads", ", ".join(f"{w} {a:.2f}" for w, a in zip(WORDS, weights.tolist(), strict=False)))
by_prefixes = torch.stack(rows)  # (8, 4)

# %% [markdown]
# Eight attentions, one for each beginning of the sentence. The first word has nobody but itself. In matrix form it is
# one attention in which the later words of every row are hidden: scores above the diagonal are −∞.

# %%
scores = words @ words.T / math.sqrt(4)  # (8, 8)
triangle = torch.softmax(scores.masked_fill(~mine.causal_mask(8), -math.inf), dim=-1)
print("one masked pass gives what eight prefixes gave:", torch.allclose(triangle @ words, by_prefixes))
for n in (4, 8):
    part = torch.softmax(scores[:n, :n].masked_fill(~mine.causal_mask(n), -math.inf), dim=-1)
    print(f"heat of pan among {n} words: {(part @ words[:n])[3, 3]:.3f}")

# %%
import matplotlib.pyplot as plt

from autograder.material import plots

tables = {"no mask": torch.softmax(scores, dim=-1), "causal mask": triangle}

# %%
figure, axes = plt.subplots(1, 2, figsize=(10.5, 3.9), layout="constrained")
for ax, (title, table) in zip(axes, tables.items(), strict=True):
    plots.heatmap(table.tolist(), WORDS, WORDS, ax, title=title)
    ax.set_xlabel("key: the word that is read", color=plots.COLOURS["key"])
    ax.tick_params(axis="x", labelrotation=30)
axes[0].set_ylabel("query: the word that reads", color=plots.COLOURS["query"])
alt = "Weights of eight words. Without a mask every cell holds weight. With the causal mask only the lower triangle does, and the "
plots.show(figure, alt + "first row is 1 on its own word.")

# %% [markdown]
# Right, nothing stands above the diagonal and every row still sums to 1: what later words had on the left is shared
# out among the earlier ones.
#
# One misunderstanding is common: that the mask cuts the *last* words off. It takes nothing from the last row. It is
# the first rows that lose nearly everything.

# %% [markdown]
# ### Exercise · causal_self_attention (12 min, ●●○)
#
# Write it with heads and matrices: `x (B, T, C)`; `w_q`, `w_k`, `w_v` `(C, h·D)`; `w_o (h·D, C)`. In each of the `h`
# heads token `i` reads tokens 0 to `i` by softmax(q kᵀ / √D); the heads' averages stand side by side, times `w_o`.
# Return `(B, T, C)`, no weights. By hand: the first token's output is `x[:, 0] @ w_v @ w_o`.


# %%
def causal_self_attention(x, w_q, w_k, w_v, w_o, h):
    """Let every token read itself and the tokens before it.

    x:             (B, T, C) float, T tokens in each of B texts.
    w_q, w_k, w_v: (C, h·D), head n in its n-th run of D columns.
    w_o:           (h·D, C).
    h:             how many heads.
    Returns (B, T, C) in the dtype of x.
    Source: Vaswani et al. 2017, sections 3.2.2 and 3.2.3.
    """
    ### BEGIN SOLUTION
    out, _ = mine.multi_head_attention(x, x, w_q, w_k, w_v, w_o, h, mine.causal_mask(x.shape[1]))
    return out
    ### END SOLUTION


# %%
check("causal_self_attention", causal_self_attention)

# %% [markdown]
# ## A test for leaks
#
# A loss cannot tell that a layer looks ahead; it only looks wonderful. A test can, and needs no code of the layer:
# *draw later tokens anew, and no earlier output may move*. With three tokens, by hand: change token 2, then outputs 0
# and 1 must stay; change tokens 1 and 2, then output 0 must stay.


# %%
def look_ahead(x):
    """A layer with a bug: the first place reads the last one as well. x: (1, n, d)."""
    out = x.clone()
    out[:, 0] += x[:, -1]
    return out


# %%
x = torch.zeros(1, 3, 1)
for t in (2, 1):
    other = x.clone()
    other[:, t:] = 5.0
    moved = (look_ahead(other) != look_ahead(x))[0, :, 0].tolist()
    print(f"tokens from {t} on changed; which outputs moved: {moved}")

# %% [markdown]
# Outputs from the first changed place on may move, or may not: a layer that reads *only earlier* tokens is causal
# too. Only what stands before counts. Three traps:
#
# - A leak may stand in one place, as here, so every place has to be tried.
# - float32 rounds. A right layer may add up all tokens and then take the later ones off, and its result moves in the
#   last digits. Near 0, `torch.allclose` allows 1e-8 unless told otherwise.
# - 0 · NaN is NaN: to put NaN into later tokens accuses layers that do nothing wrong.

# %% [markdown]
# ### Exercise · is_causal (15 min, ●●●)
#
# Write the test. `f` takes `(1, n, d)` float32, of this `n` and `d` alone, and returns the same shape; `n ≥ 2`.
# Return True if no change of later tokens moves an earlier output; that an output depends on its own token is not
# asked. All random numbers come from `rng`, a `numpy.random.Generator`. For standard normal inputs rounding stays
# below 1e-5 and a leak moves something by 0.001 or more. A right `f` must never be refused. By hand: `look_ahead`
# above is not causal; the identity is.


# %%
def is_causal(f, n, d, rng):
    """Whether no later token changes an earlier output.

    f:    (1, n, d) float32 → (1, n, d) float32; it leaves its input as it is.
    n, d: how many tokens and features; rng: numpy.random.Generator.
    Returns a bool.
    """
    ### BEGIN SOLUTION
    x = torch.from_numpy(rng.normal(size=(1, n, d))).float()
    y = f(x)
    for t in range(1, n):
        other = x.clone()
        other[:, t:] = torch.from_numpy(rng.normal(size=(1, n - t, d))).float()
        if not torch.allclose(f(other)[:, :t], y[:, :t], atol=1e-4):
            return False
    return True
    ### END SOLUTION


# %%
check("is_causal", is_causal)

# %% [markdown]
# Six layers as they are found in programs. Before the next cell is run: which of them look ahead?

# %%
import numpy as np
from torch.nn import functional

generator = torch.Generator().manual_seed(0)
matrices = [torch.randn(8, 8, generator=generator) / math.sqrt(8) for _ in range(4)]
kernel = torch.randn(8, 8, 3, generator=generator) / 5

# %%
LAYERS_TO_TEST = {
    "causal_self_attention": lambda x: mine.causal_self_attention(x, *matrices, 2),
    "attention without a mask": lambda x: mine.multi_head_attention(x, x, *matrices, 2)[0],
    "norm over the features": lambda x: functional.layer_norm(x, (8,)),
    "norm over the tokens": lambda x: functional.layer_norm(x.mT, (x.shape[1],)).mT,
    "convolution, padded on both sides": lambda x: functional.conv1d(x.mT, kernel, padding=1).mT,
    "convolution, padded on the left": lambda x: functional.conv1d(functional.pad(x.mT, (2, 0)), kernel).mT,
}

# %%
for name, layer in LAYERS_TO_TEST.items():
    print(f"{name:34} causal: {mine.is_causal(layer, 9, 8, np.random.default_rng(0))}")

# %% [markdown]
# A norm over the tokens mixes nothing that one would call attention, and still tells the first token about the last.
# One causal mask does not make a model causal: *every* layer has to be. What is causal can be stacked, since a chain
# of layers that do not look ahead does not look ahead.

# %% [markdown]
# ## A text is its own answer key
#
# Since no output knows what comes next, each can be asked: *which token comes next?* The answers stand in the text
# itself, one place further on. For the four letters "tea.":
#
# | place | reads | is to say |
# |---|---|---|
# | 0 | t | e |
# | 1 | t e | a |
# | 2 | t e a | . |
#
# One pass gives three examples, one for each prefix. Without the mask the answer would lie open one place to the
# right.

# %% [markdown]
# ### Exercise · next_token_pairs (5 min, ●○○)
#
# Given pieces of text `ids (B, T)`, return `x` and `y`, each `(B, T − 1)`: `y[b, i]` is the token right after `x[b,
# i]`. By hand: `[[7, 3, 9]]` gives `[[7, 3]]` and `[[3, 9]]`.


# %%
def next_token_pairs(ids):
    """What a model reads, and what it is to say.

    ids: (B, T) int64.
    Returns x, y, each (B, T − 1): every token but the last, and the token after each of them.
    """
    ### BEGIN SOLUTION
    return ids[:, :-1], ids[:, 1:]
    ### END SOLUTION


# %%
check("next_token_pairs", next_token_pairs)

# %% [markdown]
# ## A source whose entropy is known
#
# How low can a loss go? Of real text nobody knows. So let a grammar write it, with 48 words, by chance. Where it has
# a choice among `m` equally likely phrases nobody can do better than ln `m` nats; elsewhere the next letter is
# certain.

# %%
from autograder.material import grammar_text

print(*grammar_text.sentences(5, np.random.default_rng(1)), sep="\n")
print(len(grammar_text.words()), "words,", len(grammar_text.CHARACTERS), "characters:", repr(grammar_text.CHARACTERS))
RATE = grammar_text.entropy_rate()
print(
    f"entropy: {RATE:.4f} nats per character; all characters alike would be {math.log(len(grammar_text.CHARACTERS)):.3f}"
)

# %% [markdown]
# The entropy is computed exactly: over all states of the grammar, how often a sentence passes, times the entropy of
# the choice there, divided by a sentence's expected length. No text has two derivations, so the sum is right.
#
# Some letters are certain only to those who look far back. In *the queen drops two pans as she is late* the pronoun
# stands for the queen: *they* are not the pans.

# %% [markdown]
# A model is shown windows of 49 characters, cut out anywhere. At a window's start even the best reader does not know
# whether this is the middle of a word. So the loss is scored on the **second half** of each window, where that has
# worn off: there the best loss is the entropy.

# %% tags=["experiment"]
T, HALF = 48, 24
held_out = torch.from_numpy(grammar_text.windows(1000, T + 1, np.random.default_rng(99)))
best = grammar_text.surprise(held_out.numpy())[:, 1:]  # (1000, T) nats, by the grammar itself
print("best possible, first half of the window:", round(float(best[:, :HALF].mean()), 2))
print("second half, as a share of the entropy:", round(float(best[:, HALF:].mean() / RATE), 2))
assert abs(best[:, HALF:].mean() / RATE - 1) < 0.05

# %% [markdown]
# ## A model that writes
#
# Two layers, width 32, four heads. Each layer adds to a letter's vector first what attention reads, then what a small
# network makes of it. (The next notebook looks into that network and the norm.) `attend` says how a layer reads, so
# that the same model can later run with a cache.

# %%
V, C, HEADS, LAYERS = len(grammar_text.CHARACTERS), 32, 4, 2
SIZES = {"letter": (V, C), "place": (48, C), "out": (C, V), "up": (LAYERS, C, 2 * C), "down": (LAYERS, 2 * C, C)}
SIZES |= {name: (LAYERS, C, C) for name in "qkvo"}


# %%
def parameters(seed):
    """Random start; rows of a matrix are divided by the root of their number."""
    torch.manual_seed(seed)
    scale = {name: 1 / math.sqrt(size[-2]) for name, size in SIZES.items()} | {"letter": 0.5, "place": 0.2}
    return {name: (scale[name] * torch.randn(size)).requires_grad_() for name, size in SIZES.items()}


# %%
def reads_all(p):
    """How the layers of a model read where the whole text is there."""
    return lambda layer, x: mine.causal_self_attention(x, *(p[name][layer] for name in "qkvo"), HEADS)


# %%
def logits(p, ids, start=0, attend=None):
    """Scores of the next letter, (B, n, V), for ids (B, n) that stand at the places start, start + 1, …"""
    attend = attend or reads_all(p)
    x = p["letter"][ids] + p["place"][start : start + ids.shape[1]]
    for layer in range(LAYERS):
        x = x + attend(layer, functional.layer_norm(x, (C,)))
        x = x + torch.relu(functional.layer_norm(x, (C,)) @ p["up"][layer]) @ p["down"][layer]
    return functional.layer_norm(x, (C,)) @ p["out"]


# %% [markdown]
# Before any training: is this model causal? The probe takes vectors, so it is put where letters have become vectors.


# %%
def whole_model(x):
    """Both layers of a model with random weights, from vectors to vectors."""
    p = {name: tensor.detach() for name, tensor in parameters(0).items()}
    for layer in range(LAYERS):
        x = x + reads_all(p)(layer, functional.layer_norm(x, (C,)))
        x = x + torch.relu(functional.layer_norm(x, (C,)) @ p["up"][layer]) @ p["down"][layer]
    return x


# %%
print("the whole model is causal:", mine.is_causal(whole_model, 12, C, np.random.default_rng(0)))

# %% [markdown]
# Now train it from three starts. And a fourth model with a bug, the mask one place too wide, so that every letter
# sees the next one. Prediction: where will its loss go?

# %% tags=["experiment"]
STEPS = 1200


def loss_of(p, ids, attend=None):
    """Nats for every character, (B, T), of windows of T + 1 characters."""
    x, y = mine.next_token_pairs(ids)
    return functional.cross_entropy(logits(p, x, attend=attend).mT, y, reduction="none")


# %% tags=["experiment"]
def rate(step):
    """Adam's rate: up for 30 steps, level, and down over the second half."""
    return 1e-2 * min(1, step / 30, 2 * (1 - step / (STEPS + 1)))


# %% tags=["experiment"]
from autograder.material.training import train


def batch(rng):
    """One batch of 16 windows, drawn anew for every step."""
    return [torch.from_numpy(grammar_text.windows(16, T + 1, rng))]


def trained(p, seed=0, steps=STEPS, attend=None):
    """Train a model in place; its losses, one a step."""
    found = train(p, lambda p, ids: loss_of(p, ids, attend).mean(), batch, steps=steps, lr=rate, seed=seed)
    return [record.loss for record in found]


# %% tags=["experiment"]
models = [parameters(seed) for seed in range(3)]
curves = [trained(p, seed) for seed, p in enumerate(models)]

# %% tags=["experiment"]
WIDE = mine.causal_mask(T) | torch.eye(T, dtype=torch.bool).roll(1, dims=1)  # the next place as well
leaky = parameters(3)


def reads_one_ahead(layer, x):
    """The bug: the mask is one place too wide."""
    return mine.multi_head_attention(x, x, *(leaky[name][layer] for name in "qkvo"), HEADS, WIDE)[0]


leaky_curve = trained(leaky, steps=300, attend=reads_one_ahead)

# %% tags=["experiment", "nbval-ignore-output"]
with torch.no_grad():
    tested = [loss_of(p, held_out) for p in models]  # (1000, T) each
    cheated = loss_of(leaky, held_out, reads_one_ahead)[:, HALF:].mean().item()
scores_of = [losses[:, HALF:].mean().item() / RATE for losses in tested]
print("second half, as a share of the entropy:", *(f"{score:.3f}" for score in scores_of))
print(f"with the bug: {cheated / RATE:.3f}")
assert all(0.95 < score <= 1.05 for score in scores_of)  # within 5 % of the floor
assert cheated < 0.8 * RATE  # far below what is possible


# %% tags=["experiment"]
def smooth(curve, width=10):
    """Means over `width` steps."""
    return np.convolve(curve, np.ones(width) / width, mode="valid")


# %% tags=["experiment"]
def by_step(ax):
    """Losses against the step, and the entropy."""
    for curve in curves:
        label = "" if ax.lines else "causal, three starts"
        ax.plot(smooth(curve), color=plots.COLOURS["truth"], linewidth=0.8, label=label)
    ax.plot(smooth(leaky_curve), color=plots.COLOURS["other"], label="mask one place too wide")
    ax.axhline(RATE, color=plots.COLOURS["query"], linestyle=":", linewidth=2, label="entropy of the source")
    ax.set(xlabel="step", ylabel="loss (nats per character)", yscale="log", ylim=(0.05, 3.5))
    ax.set_yticks([0.1, 0.31, 1, 3], ["0.1", "0.31", "1", "3"])
    ax.minorticks_off()
    ax.legend(loc="upper right")


# %% tags=["experiment"]
def by_place(ax):
    """Losses against the place in the window, and the best possible there."""
    for losses in tested:
        ax.plot(range(1, T + 1), losses.mean(dim=0), color=plots.COLOURS["truth"], linewidth=0.8)
    ax.plot(range(1, T + 1), best.mean(axis=0), color=plots.COLOURS["value"], label="best reader of this window")
    ax.axhline(RATE, color=plots.COLOURS["query"], linestyle=":", linewidth=2)
    ax.axvspan(HALF, T, color=plots.COLOURS["data"], alpha=0.15, label="scored half")
    ax.set(xlabel="place in the window", ylabel="loss (nats per character)", ylim=(0, 2.6))
    ax.legend(loc="upper right")


# %% tags=["experiment"]
figure, (left, right) = plt.subplots(1, 2, figsize=(10.5, 3.7), width_ratios=(1.4, 1), layout="constrained")
by_step(left)
by_place(right)
alt = "Left: loss against the step; three causal models settle near the entropy, the leaky one falls far below. Right: loss by "
plots.show(figure, alt + "place in the window, falling from above 1 to the entropy, models on top of the best reader.")

# %% [markdown]
# Left, three models come down to the dotted entropy and stay there; scored on the second half each ends within 5 % of
# it. The loss drawn here is over whole windows, so it stays a little above. The model with the bug falls through the
# floor: **a loss below the entropy is a leak**, never a success.
#
# Right, the loss by place. Most of what is lost at the start of a window is not the model's fault: the green line,
# the grammar's own best reader, loses it too.

# %% [markdown]
# ### Where it looks
#
# After *as* a pronoun follows, and which one is decided by the subject, twenty letters back. What do the heads of the
# second layer read up to there?

# %% tags=["experiment"]
PROMPT = "the queen drops two pans as "
ids = torch.tensor([grammar_text.encode(PROMPT)])
triangles = []  # (1, HEADS, n, n) of each layer


def watched(layer, x):
    """As the first model reads, but the weights are kept."""
    given = (models[0][name][layer] for name in "qkvo")
    out, weights = mine.multi_head_attention(x, x, *given, HEADS, mine.causal_mask(x.shape[1]))
    triangles.append(weights.detach())
    return out


# %% tags=["experiment"]
logits(models[0], ids, attend=watched)

# %% tags=["experiment"]
shown = [letter if letter != " " else "␣" for letter in PROMPT]
figure, axes = plt.subplots(1, HEADS, figsize=(12, 3.5), layout="constrained", sharey=True)
for head, ax in enumerate(axes):
    plots.heatmap(triangles[1][0, head].tolist(), shown, shown, ax, title=f"layer 2, head {head}", numbers=False)
    ax.tick_params(labelsize=6)
    ax.set_aspect("equal")
    ax.set_xlabel("key", color=plots.COLOURS["key"])
axes[0].set_ylabel("query", color=plots.COLOURS["query"])
alt = "Four triangles of weights over the letters of a sentence; nothing stands above the diagonal. The heads differ: some read "
plots.show(figure, alt + "near the diagonal, some in vertical stripes at letters of earlier words.")

# %% [markdown]
# Each row is a letter that reads, and no weight stands above the diagonal. A vertical stripe is a letter that many
# later ones read; a band along the diagonal reads what is near. The map alone does not say what is read *for*. The
# prediction does:


# %% tags=["experiment", "nbval-ignore-output"]
def chances(p, prompt):
    """The chances that a model gives to h, s and t (he, she and they) after a prompt."""
    with torch.no_grad():
        found = torch.softmax(logits(p, torch.tensor([grammar_text.encode(prompt)]))[0, -1], dim=0)
    return found[grammar_text.encode("hst")].tolist()


# %% tags=["experiment", "nbval-ignore-output"]
for prompt in ("two kings hold the mug as ", PROMPT, "the boy gets two hats as "):
    for seed, p in enumerate(models):
        he, she, they = chances(p, prompt)
        print(f"{prompt + '…':31} model {seed}: he {he:.2f}, she {she:.2f}, they {they:.2f}")
        assert (they > 0.7) == prompt.startswith("two")  # the subject's number, not that of the nearest noun

# %% [markdown]
# The nearest noun is of the other number each time, and every model follows the subject. Between *he* and *she* it is
# another matter: the table says which starts have learnt it, and each of them is within 5 % of the entropy either
# way. What does it cost to toss a coin there?

# %% tags=["experiment"]
often, length = grammar_text.visits(), 0
for state, choices in grammar_text.grammar().items():
    length += often[state] * sum(choice.chance * len(choice.text) for choice in choices)  # characters per sentence
coin = (often["he as …"] + often["she as …"]) * math.log(2) / length
print(f"a coin for he or she costs {100 * coin / RATE:.1f} % of the entropy")
assert 0.01 < coin / RATE < 0.05

# %% [markdown]
# ln 2, in one sentence of four: less than the 5 %. A loss near the floor does not say that *every* rule has been
# learnt; a rule that is seldom needed costs little.

# %% [markdown]
# ## From scores to a letter
#
# A model gives one score per letter; to write, one has to be chosen: always the largest, which is called *greedy*, or
# one drawn by the softmax of the scores, after two changes:
#
# - **temperature** τ divides the scores: below 1 large ones gain, above 1 all become more alike, 0 is greedy;
# - **top-k** leaves the `k` largest in play and shares the whole 1 among *them*.
#
# By hand, for ln 8, ln 4 and ln 1: at τ = 1 the chances are 8, 4 and 1 thirteenths; at τ = 2 they go as the roots,
# 2.83 to 2 to 1; with k = 2 they are 8 and 4 twelfths, not thirteenths.

# %% [markdown]
# ### Exercise · sample_next (15 min, ●●○)
#
# Given `logits (V,)` float32, a `temperature` ≥ 0, `top_k` (None or `V` and more: all) and `rng`, a NumPy generator,
# return the id drawn, an int. Exactly `top_k` ids stay in play; of equal logits the lowest index comes first, there
# and at temperature 0. Logits may be ±10000. A trap: `rng.choice(…, p=…)` wants chances that sum to 1 to eight
# digits, so go to float64 *before* the softmax.


# %%
def sample_next(logits, temperature, top_k, rng):
    """Draw the next token.

    logits:      (V,) float32, a score for each token.
    temperature: number ≥ 0; 0 takes the largest logit.
    top_k:       how many of the largest logits stay in play; None or ≥ V is all of them.
    rng:         numpy.random.Generator.
    Returns an id, an int.
    """
    ### BEGIN SOLUTION
    order = torch.argsort(logits, descending=True, stable=True)[:top_k]
    if temperature == 0:
        return int(order[0])
    chances = torch.softmax(logits[order].double() / temperature, dim=0)
    return int(rng.choice(order.numpy(), p=chances.numpy()))
    ### END SOLUTION


# %%
check("sample_next", sample_next)

# %% [markdown]
# At a fork the grammar has five verbs, each with a chance of 0.2. What the model's scores become, for four settings,
# over 400 draws each:

# %% tags=["experiment"]
FORK = "the queen "
with torch.no_grad():
    fork = logits(models[0], torch.tensor([grammar_text.encode(FORK)]))[0, -1]  # (V,)
SETTINGS = {"τ = 1": (1, None), "τ = 0.3": (0.3, None), "τ = 3": (3, None), "τ = 1, top-k = 3": (1, 3)}
rng = np.random.default_rng(0)
drawn = {name: [mine.sample_next(fork, *how, rng) for _ in range(400)] for name, how in SETTINGS.items()}

# %% tags=["experiment"]
figure, axes = plt.subplots(1, 4, figsize=(11, 2.8), layout="constrained", sharey=True)
letters = [letter if letter != " " else "␣" for letter in grammar_text.CHARACTERS]
for ax, (name, draws) in zip(axes, drawn.items(), strict=True):
    ax.bar(range(V), np.bincount(draws, minlength=V) / len(draws), color=plots.COLOURS["output"])
    ax.axhline(0.2, color=plots.COLOURS["query"], linestyle=":", linewidth=1)
    ax.set_xticks(range(V), letters, fontsize=7)
    ax.set(title=name, xlabel="letter")
axes[0].set_ylabel("share of draws")
alt = "Shares of the next letter for four settings. At temperature 1 five letters share nearly evenly; at 0.3 one gains; at 3 "
plots.show(figure, alt + "others than the five appear; with top-k 3 exactly three appear.")

# %% [markdown]
# The dotted line is the truth for d, g, h, s and w. A low temperature exaggerates differences that are not in the
# source. A high one lets letters in that no text has there. top-k = 3 removes two verbs altogether, although they are
# as right as the others: k is a guess at how many ways there are to go on.

# %% [markdown]
# ## What has been computed before
#
# To write a letter, the model above reads the whole text again. Think of one layer, a text of `t` tokens, and one
# token more. All earlier outputs stay as they are, since none of them may read it. What is still needed of the
# earlier tokens to compute the *new* row?

# %% [markdown]
# ### Exercise · worth_keeping (2 min, ●○○)
#
# Answer with a set of words from `"queries"`, `"keys"`, `"values"`, `"scores"`: those of the earlier tokens without
# which the output of one more token cannot be computed. Commit to it before you read on.

# %%
### BEGIN SOLUTION
#: worth_keeping = ...  # your prediction: a set of words, such as {"queries", "scores"}
worth_keeping = {"keys", "values"}
### END SOLUTION

# %%
check("worth_keeping", worth_keeping)

# %% [markdown]
# The new row is softmax(q kᵀ / √D) v with *one* query: its own. Queries of earlier tokens have asked their question,
# and the answer has been used. By hand, for the running sentence: the eighth word alone asks, against keys and values
# that were there before it.

# %%
keys, values = words[:7], words[:7]  # what is there after seven words; here vectors are their own keys and values
newest = words[7]
keys, values = torch.cat([keys, newest[None]]), torch.cat([values, newest[None]])  # first keep, then ask
row = torch.softmax(keys @ newest / math.sqrt(4), dim=0) @ values
print("one query gives the last of eight rows:", torch.allclose(row, by_prefixes[7]))

# %% [markdown]
# ## A cache
#
# So a layer keeps two tables, keys and values, and lets them grow: a **KV cache**. The order matters: *first* add the
# new token's key and value, *then* let it ask, or it does not see itself.
#
# A prompt comes as a whole: `n` new tokens at once, a **chunk**. They must not see one another's future, so they need
# a mask. Which one? Here 3 tokens are kept and a chunk of 2 arrives:

# %%
print(mine.causal_mask(2, 5).int())
print("top-left, as is_causal=True of PyTorch:", torch.ones(2, 5).tril().int().tolist())

# %% [markdown]
# Two queries, five keys, bottom-right: the first of the new ones stands at key 3. The other alignment hides
# everything but the oldest keys, and raises no error.

# %% [markdown]
# ### Exercise · KVCache (25 min, ●●●)
#
# Write a class. `KVCache(w_q, w_k, w_v, w_o, h)` takes what `causal_self_attention` takes. `.step(x_t)` gets the next
# `n` tokens, `(B, n, C)`, any `n` at each call, and returns their rows `(B, n, C)`, as the full pass over the whole
# text so far would. Keys and values are kept, not computed again. `.reset()` forgets the text; the next may have
# another `B`. By hand: fed one token, a new cache returns `x_t @ w_v @ w_o`.


# %%
class KVCache:
    """Causal self-attention that is fed a text piece by piece, and keeps its keys and values.

    w_q, w_k, w_v: (C, h·D), w_o: (h·D, C), h: how many heads.
    """

    def __init__(self, w_q, w_k, w_v, w_o, h):
        ### BEGIN SOLUTION
        self.w_q, self.w_k, self.w_v, self.w_o, self.h = w_q, w_k, w_v, w_o, h
        self.k = self.v = None  # (B, h, T, D) each
        ### END SOLUTION

    def step(self, x_t):
        """Read the next tokens, (B, n, C), and return their rows, (B, n, C)."""
        ### BEGIN SOLUTION
        q, k, v = (mine.split_heads(x_t @ w, self.h) for w in (self.w_q, self.w_k, self.w_v))  # (B, h, n, D)
        self.k = k if self.k is None else torch.cat([self.k, k], dim=2)
        self.v = v if self.v is None else torch.cat([self.v, v], dim=2)
        out, _ = mine.batched_attention(q, self.k, self.v, mine.causal_mask(q.shape[2], self.k.shape[2]))
        return mine.merge_heads(out) @ self.w_o
        ### END SOLUTION

    def reset(self):
        """Forget the text."""
        ### BEGIN SOLUTION
        self.k = self.v = None
        ### END SOLUTION


# %%
check("KVCache", KVCache)

# %% [markdown]
# Any way to cut a text gives the rows of the full pass:

# %%
text = torch.randn(1, 12, 8, generator=generator)
full = mine.causal_self_attention(text, *matrices, 2)
cache = mine.KVCache(*matrices, 2)
for sizes in ((1,) * 12, (12,), (5, 1, 1, 5), (2, 7, 3)):
    cache.reset()
    pieces = torch.cat([cache.step(chunk) for chunk in text.split(list(sizes), dim=1)], dim=1)
    print(f"{' + '.join(map(str, sizes)):45} as the full pass: {torch.allclose(pieces, full, atol=1e-5)}")

# %% [markdown]
# ## What it saves
#
# Without a cache, token `t` costs a pass over `t` tokens: 4 t C² multiply-adds for the projections and about 2 t² C
# for scores and averages. With it, 4 C² and 2 t C: one row. The ratio is `t`. Counted by PyTorch, for one layer of
# width 128, and timed:

# %% tags=["experiment", "nbval-ignore-output"]
import time

from torch.utils.flop_counter import FlopCounterMode


def measured(work, times=5):
    """Multiply-adds of one call, and the shortest of a few times in seconds."""
    with FlopCounterMode(display=False) as counter:
        work()
    begins = [(time.perf_counter(), work(), time.perf_counter()) for _ in range(times)]
    return counter.get_total_flops() // 2, min(end - begin for begin, _, end in begins)


# %% tags=["experiment", "nbval-ignore-output"]
LENGTHS, WIDTH = (32, 64, 128, 256, 512, 1024), 128
torch.set_num_threads(1)
wide = [torch.randn(WIDTH, WIDTH, generator=generator) / math.sqrt(WIDTH) for _ in range(4)]
long = torch.randn(1, max(LENGTHS), WIDTH, generator=generator)


def next_token(t):
    """What token t costs without a cache, and with one that has read the tokens before it."""
    cache = mine.KVCache(*wide, 4)
    cache.step(long[:, : t - 1])
    whole = measured(lambda: mine.causal_self_attention(long[:, :t], *wide, 4))
    return whole, measured(lambda: cache.step(long[:, t - 1 : t]))


# %% tags=["experiment", "nbval-ignore-output"]
costs = dict(zip(("without a cache", "with a cache"), zip(*map(next_token, LENGTHS), strict=True), strict=True))
counts = {name: np.array([count for count, _ in found]) for name, found in costs.items()}
for name, found in counts.items():
    print(f"{name:15} multiply-adds for token t:", *(f"{t}: {n:,}" for t, n in zip(LENGTHS, found, strict=True)))
assert (counts["without a cache"] > np.array(LENGTHS) / 8 * counts["with a cache"]).all()

# %% tags=["experiment"]
def against_length(ax, number, label):
    """One number of every cost against the length."""
    for (name, found), colour, marker in zip(costs.items(), ("key", "value"), "os", strict=True):
        ax.plot(LENGTHS, [number(*cost) for cost in found], marker=marker, color=plots.COLOURS[colour], label=name)
    ax.set(xscale="log", yscale="log", xlabel="tokens so far", ylabel=label)
    ax.set_xticks(LENGTHS, LENGTHS)
    ax.minorticks_off()
    ax.legend()


# %% tags=["experiment"]
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.4), layout="constrained")
against_length(left, lambda count, seconds: count, "multiply-adds for the next token")
against_length(right, lambda count, seconds: 1 / seconds, "tokens per second")
alt = "Left: multiply-adds for one more token against the length; without a cache they grow faster than the length, with it hardly. "
plots.show(figure, alt + "Right: tokens per second, falling steeply without a cache and slowly with it.")

# %% [markdown]
# Left, the counts, which do not depend on the machine; right, the speed of the one that drew this. A short product
# takes mostly the time of the call, whatever its size, so in speed a cache shows when texts are long.
#
# What is saved in work is paid in memory: two numbers per layer, token and feature. The cache is the largest thing
# that a service with long texts holds, and notebook 20 counts it.

# %% [markdown]
# ## Writing with it
#
# The model's table of places ends at 48. When a text has grown to the end of it, the window moves on: the cache is
# reset, and the newest 24 letters are read in one chunk.


# %% tags=["experiment"]
class Cached:
    """A model that reads only what it has not read: one cache per layer."""
    def __init__(self, p):
        self.p, self.begin, self.end = p, 0, 0
        self.caches = [mine.KVCache(*(p[name][layer] for name in "qkvo"), HEADS) for layer in range(LAYERS)]

    def __call__(self, ids, begin):
        if begin != self.begin:  # the window has moved on
            [cache.reset() for cache in self.caches]
            self.begin = self.end = begin
        new, start, self.end = torch.tensor([ids[self.end :]]), self.end - begin, len(ids)
        return logits(self.p, new, start, lambda layer, x: self.caches[layer].step(x))[0, -1]


# %% tags=["experiment"]
@torch.no_grad()
def write(read, count, temperature=1.0, top_k=None, seed=0, prompt="the "):
    """Write `count` letters after a prompt; read(ids, begin) → scores of the letter after ids[begin:]."""
    ids, begin, rng = grammar_text.encode(prompt), 0, np.random.default_rng(seed)
    for _ in range(count):
        begin = len(ids) - HALF if len(ids) - begin > T else begin
        ids.append(mine.sample_next(read(ids, begin), temperature, top_k, rng))
    return grammar_text.decode(ids)


# %% tags=["experiment"]
def whole(ids, begin):
    """Read everything again."""
    return logits(models[0], torch.tensor([ids[begin:]]))[0, -1]


# %% tags=["experiment", "nbval-ignore-output"]
with_cache, without = write(Cached(models[0]), 240), write(whole, 240)
print(with_cache)
print("the same text without a cache:", with_cache == without)
assert with_cache == without

# %% [markdown]
# Letter for letter the same. And is it what the grammar writes? Every sentence can be checked, since a derivation
# either exists or not. Three models write 600 letters in each of six settings:

# %% tags=["experiment"]
HOW = {"τ = 0": (0, None), "τ = 0.5": (0.5, None), "τ = 1": (1, None), "τ = 1, k = 5": (1, 5)}
HOW |= {"τ = 1.5": (1.5, None), "τ = 2": (2, None)}


def judged(text):
    """The share of whole sentences that the grammar can derive, and the share of different ones."""
    found = [part.strip() + "." for part in text.split(".")[:-1]] or ["."]
    return np.mean([grammar_text.derivation(one) is not None for one in found]), len(set(found)) / len(found)


# %% tags=["experiment", "nbval-ignore-output"]
quality = {name: np.array([judged(write(Cached(p), 600, *how)) for p in models]) for name, how in HOW.items()}
for name, found in quality.items():
    derivable, different = (" ".join(f"{share:.2f}" for share in column) for column in found.T)
    print(f"{name:13} derivable {derivable}   different {different}")
means = {name: found.mean(axis=0) for name, found in quality.items()}
assert means["τ = 0"][1] < means["τ = 1"][1] and means["τ = 2"][0] < means["τ = 1"][0] - 0.2

# %% tags=["experiment", "nbval-ignore-output"]
def with_another_pronoun(sentence):
    """Whether one pronoun put in the place of another makes a sentence that the grammar derives."""
    start, _, end = sentence.partition(" as ")
    options = [f"{start} as {who} {end.rpartition(' ')[2]}" for who in ("he is", "she is", "they are")]
    return any(grammar_text.derivation(option) is not None for option in options)


texts = [write(Cached(p), 1000, seed=1) for p in models]
wrong = [part.strip() + "." for text in texts for part in text.split(".")[:-1]]
wrong = [sentence for sentence in wrong if grammar_text.derivation(sentence) is None]
print(f"τ = 1: {len(wrong)} sentences without a derivation, {sum(map(with_another_pronoun, wrong))} by the pronoun alone")

# %% [markdown]
# At τ = 0 sentences come back. At τ = 1 they vary more, and some cannot be derived; the last count says how many of
# these have nothing but a wrong pronoun, the rule that costs so little to break. At τ = 2 the text falls apart: one
# wrong letter leads to places where the model has never been.
#
# So no setting is "right". τ = 1 is the source as the model knows it, mistakes included; below 1 is duller than the
# source, above 1 is wilder.

# %% [markdown]
# ## A real one (optional)
#
# SmolLM2-135M is a language model of 30 such layers. Its attention is yours but for two things: queries and keys are
# turned by their place (notebook 12's `apply_rope`), and nine query heads share three heads of keys and values, a
# cache a third as large. The model is 94 MB, needs 1 GB of memory, and is not installed with the course; without it
# these cells print one line.

# %% tags=["experiment", "nbval-ignore-output"]
from autograder.material import causal_lm
from autograder.material.optional import ModelMissing

try:
    real = causal_lm.load()
    print("SmolLM2-135M-Instruct, weights of four bits:", real.layers, "layers")
except ModelMissing as missing:
    real = None
    print("skipped, the real model is not here:", missing)

# %% tags=["experiment"]
maps = []  # (heads, T, T) of every layer of the last run


# %% tags=["experiment"]
def reads_like_llama(layer, x):
    """All attention of one layer, x (1, T, C)."""
    w, places = real.attention(layer), torch.arange(x.shape[1])
    sizes = {"w_q": real.heads, "w_k": real.kv_heads, "w_v": real.kv_heads}
    q, k, v = (mine.split_heads(x @ w[name], h) for name, h in sizes.items())  # (1, h, T, D)
    q, k = mine.apply_rope(q, places, real.base), mine.apply_rope(k, places, real.base)
    k, v = (part.repeat_interleave(real.heads // real.kv_heads, dim=1) for part in (k, v))  # groups share
    out, weights = mine.batched_attention(q, k, v, mine.causal_mask(x.shape[1]))
    maps.append(weights[0])
    return mine.merge_heads(out) @ w["w_o"]


# %% tags=["experiment", "nbval-ignore-output"]
if real:
    ids = real.encode("The capital of France is")
    likely = torch.softmax(causal_lm.run(real, ids, reads_like_llama)[-1], dim=0).topk(3)
    for share, i in zip(likely.values.tolist(), likely.indices.tolist(), strict=True):
        print(f"{real.decode([i])!r} {share:.2f}")
    assert real.decode([likely.indices[0].item()]) == " Paris"

# %% [markdown]
# Two habits of its heads. **Sinks**: many heads give most of their weight to the first token, whatever it is: the one
# token that every other may read, and a place to look when there is nothing to find. **Induction** (notebook 17): in
# random tokens that are repeated, some heads read the token *after* the earlier copy.

# %% tags=["experiment", "nbval-ignore-output"]
if real:
    tokens = np.random.default_rng(0).integers(1000, 40000, size=25).tolist()
    maps.clear()
    found = causal_lm.run(real, [0, *tokens, *tokens], reads_like_llama).log_softmax(dim=-1)
    told = -found[range(50), [*tokens, *tokens]]  # nats for each token, given those before it
    at = torch.arange(27, 51)  # the second copy but for its first token
    sinks = torch.stack(maps)[:, :, at, 0].mean(dim=-1)  # (layers, heads)
    induction = torch.stack(maps)[:, :, at, at - 24].mean(dim=-1)
    print(f"heads with more than half of their weight on the first token: {(sinks > 0.5).sum()} of {sinks.numel()}")
    print(f"largest induction score {induction.max():.2f}, in layer {induction.amax(dim=1).argmax()} counted from 0")
    print(f"loss per token, first copy {told[1:25].mean():.1f}, second copy {told[26:].mean():.1f} nats")
    assert told[26:].mean() < 0.4 * told[1:25].mean() and induction.max() > 0.5 and (sinks > 0.5).sum() > 50

# %% tags=["experiment"]
if real:
    figure, axes = plt.subplots(1, 2, figsize=(10.5, 3.2), layout="constrained", sharey=True)
    for ax, share, title in zip(
        axes, (sinks, induction), ("weight on the first token", "induction score"), strict=True
    ):
        plots.heatmap(share.T.tolist(), range(9), range(real.layers), ax, title=f"SmolLM2: {title}", numbers=False)
        ax.set_xlabel("layer")
        ax.tick_params(axis="x", labelsize=6)
    axes[0].set_ylabel("head")
    alt = "Two tables of layers and heads of SmolLM2. Sinks: dark in many layers. Induction: few dark cells in the middle."
    plots.show(figure, alt)

# %% [markdown]
# With the model installed, the figure shows sinks in a large part of the heads and induction in a few of them. The
# test asks for both.

# %% [markdown]
# ## What the measurement says, and what it does not
#
# Three small models reach the entropy of a source that was made to be learnt: 48 words, one sentence after another,
# no meaning. That the *loss* is within 5 % of the floor does not make every sentence right: at τ = 1 some cannot be
# derived, since a wrong letter costs little on average and a sentence each time.
#
# The counts of multiply-adds hold anywhere. Tokens per second are those of one thread of this machine, one layer, one
# text; a service runs many texts at once and is limited by reading the cache from memory. That was not measured here.

# %% [markdown]
# ## Where you will meet this
#
# | where | the line |
# |---|---|
# | PyTorch | `scaled_dot_product_attention(q, k, v, is_causal=True)`: top-left; right for whole texts, wrong with a cache |
# | Hugging Face | `past_key_values`, `use_cache=True`, `model.generate(do_sample=True, temperature=…, top_k=…)` |
# | Llama | grouped-query attention: fewer heads of keys and values, so that the cache is smaller |
# | vLLM | PagedAttention: the cache in pages, as an operating system keeps memory |

# %% [markdown]
# ## What can be kept: answered
#
# What had to be forbidden: that a word reads a later one. Then *pan* has one vector, however the sentence goes on.
# What has to be kept: its key and its value in every layer. Not its query, which has asked.

# %%
cache = mine.KVCache(*[torch.eye(4)] * 4, 1)
for i, word in enumerate(WORDS):
    row = cache.step(words[None, i : i + 1])[0, 0]
    if i == 3:
        print(f"{word}: heat {row[3]:.3f}, computed once, when only", " ".join(WORDS[: i + 1]), "was there")
print("the last row is that of the full pass:", torch.allclose(row, by_prefixes[7], atol=1e-6))

# %% [markdown]
# ## To say to a colleague
#
# - Causal attention is attention in which token `i` reads tokens 0 to `i`: a triangle of weights, one softmax per
#   row.
# - So one pass trains on every prefix at once, and the text is its own answer key.
# - Test it by changing later tokens, at every place: nothing before them may move. A loss below the entropy is a
#   leak.
# - What is past never changes, so keys and values are kept, and a new token costs one row. Its chunk needs a
#   bottom-right mask.
# - Temperature divides the logits; top-k cuts before the softmax shares out the whole.

# %% [markdown]
# ## In your own words
#
# ### Exercise · reflection_18 (8 min, ●●○)
#
# A colleague adds a cache to a model whose attention has no mask, "since it makes writing faster". Explain why the
# outputs are then wrong: what the causal mask forbids, what therefore never changes, what is kept and what is
# computed for one more token, how the same fact lets one pass train on all prefixes, and what the cache costs. Four
# to six sentences.

# %%
### BEGIN SOLUTION
#: reflection_18 = """
#: """
reflection_18 = """
With the causal mask token i reads tokens 0 to i and nothing else. A token that is added at the end is therefore read by no
earlier one, and their outputs, in this layer and so in every layer above, stay what they were. Keys and values of earlier
tokens are made from these outputs, so they can be kept; one more token brings one key, one value and one query, and costs
one row instead of a whole table.

Without the mask each new token changes the outputs of all earlier ones, and in the next layer their keys and values: what
the cache holds is that of a shorter text, and the rows computed from it are those of no text at all.

The same fact makes training cheap: since output i knows nothing of token i + 1, it can be asked for it, and one pass over a
text trains on all its prefixes. The price of the cache is memory, two vectors per layer and token, that grows with the text.
"""
### END SOLUTION

# %%
reflect("reflection_18", reflection_18)

# %% [markdown]
# ## Papers
#
# - Vaswani, Shazeer, Parmar, Uszkoreit, Jones, Gomez, Kaiser, Polosukhin 2017, *Attention Is All You Need*, section
#   3.2.3, arXiv:1706.03762. The mask that keeps a decoder from looking ahead.
# - Shannon 1948, *A Mathematical Theory of Communication*, section 7. The entropy of a source with states.
# - Shazeer 2019, *Fast Transformer Decoding: One Write-Head is All You Need*, arXiv:1911.02150. What keeping keys and
#   values costs, and how to keep fewer.
# - Fan, Lewis, Dauphin 2018, *Hierarchical Neural Story Generation*, section 5, arXiv:1805.04833. Top-k sampling.
# - Kwon and others 2023, *Efficient Memory Management for Large Language Model Serving with PagedAttention*,
#   arXiv:2309.06180.
# - Xiao, Tian, Chen, Han, Lewis 2023, *Efficient Streaming Language Models with Attention Sinks*, arXiv:2309.17453.
