# %% [markdown]
# # 05 · What is self-attention?
#
# About 75 minutes. You need notebook 02 (queries, keys, values), notebook 03 (scaled dot-product attention, masks) and,
# for the test at the end, what a permutation is: the same things in another order.
#
# You will be able to
#
# - say what makes attention *self*-attention, and compute it for a batch of sentences;
# - read from the map of weights what a token reads;
# - show how one word gets two vectors, and measure which part of that needs no training;
# - say exactly what self-attention knows about the order of its tokens, and which word names it;
# - write a test that finds out any function that depends on the order of its tokens.

# %% [markdown]
# ## A puzzle: one word, two vectors
#
# *Anna swam from the bank of the river. Anna owed the bank all of the money.* A model looks words up in a table, so
# *bank* enters both sentences as the same numbers, and both sentences meet the same matrices. Where can two meanings
# come from?
#
# And then: *Anna owed the bank money. The bank owed Anna money.* The same five words, the opposite debt. Does *bank*
# get two vectors here as well?
#
# Two guesses; the notebook measures both. First, the table.

# %%
import math

import numpy as np

from autograder import check, hint, mine, progress, reflect

NAMES = ("water", "money", "place", "person")
TABLE = {"anna": (0, 0, 0, 2), "swam": (2, 0, 0, 0), "owed": (0, 2, 0, 0), "from": (0, 0, 1, 0), "of": (0, 0, 0, 0)}
TABLE |= {"all": (0, 0.5, 0, 0), "the": (0, 0, 0.5, 0), "bank": (1, 1, 2, 0), "river": (3, 0, 0, 0)}
TABLE |= {"money": (0, 3, 0, 0)}
for word in ("bank", "river", "money"):
    print(f"{word:5}", ", ".join(f"{name} {number:g}" for name, number in zip(NAMES, TABLE[word], strict=True)))

# %% [markdown]
# Made by hand: a bank is a place, with a little of water and as much of money. How alike two vectors are is their
# **cosine**: their product divided by both lengths, 1 for the same direction, 0 for a right angle. By hand: *bank* has
# length √6 and *river* 3, their product is 1·3, so the cosine is 3 / (3·√6) = 1/√6.


# %%
def cosine(a, b):
    return a @ b / (np.linalg.norm(a) * np.linalg.norm(b))


bank, river, money = (np.array(TABLE[word], dtype=float) for word in ("bank", "river", "money"))
print(
    f"bank and river {cosine(bank, river):.2f}, bank and money {cosine(bank, money):.2f}, 1/√6 = {1 / math.sqrt(6):.2f}"
)

# %% [markdown]
# ## A sentence asks itself
#
# For the attention of notebook 03, `q`, `k` and `v` are three arguments, from anywhere. **Self-attention** is the case
# where one sequence plays all three parts. Every token asks, every token is found, every token hands over, with the
# same x: `q = x @ w_q`, `k = x @ w_k`, `v = x @ w_v`.
#
# By hand: two tokens of one number each, x = (0, 1), with w_q = ln 3, w_k = 1 and w_v = 4. Then q is (0, ln 3), k is
# (0, 1) and v is (0, 4); D is 1, so there is nothing to divide. What does each token read? Two rows, do them first.

# %%
q, k, v = [0, math.log(3)], [0, 1], [0, 4]
for i in range(2):
    exps = [math.exp(q[i] * k[j]) for j in range(2)]
    weights = [e / sum(exps) for e in exps]
    read = sum(weight * value for weight, value in zip(weights, v, strict=True))
    print(f"token {i}: weights {weights[0]:.2f} {weights[1]:.2f}, reads {read:.2f}")

# %% [markdown]
# Token 0 asks for nothing in particular (its query is 0) and gets the plain mean. Token 1 prefers token 1, itself:
# no rule forbids that, and none demands it. **A common belief** is that *self* means "each token attends to itself".
# It means that the sequence attends to itself; where a token looks is up to its query.

# %% [markdown]
# ## One token after the other, then all at once
#
# *She dropped the pan because it was hot*, with the matrices of notebook 02: persons ask for deeds, heat asks for
# things. First a loop in which one token at a time asks all the others.

# %%
from autograder.material.sentence import WORDS, embeddings

x = embeddings()  # (T, C) = (8, 4)
w_q = np.array([[0, 0, 1], [0, 0, 0], [1, 0, 0], [0, 1, 0]], dtype=float)  # (C, D): who, what, did
w_k = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0]], dtype=float)  # (C, D)
w_v = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 0], [0, 0, 1]], dtype=float)  # (C, Dv): person, thing, heat
by_loop = []
for i in range(8):
    scores = np.array([(x[i] @ w_q) @ (x[j] @ w_k) / math.sqrt(3) for j in range(8)])
    weights = mine.softmax(scores)  # (8,)
    by_loop.append(sum(weights[j] * (x[j] @ w_v) for j in range(8)))

# %% [markdown]
# No turn of the loop uses the result of another. So no token has to wait: all scores are one table, and a few matrix
# products do the whole sentence.

# %%
scores = (x @ w_q) @ (x @ w_k).T / math.sqrt(3)  # (T, T): row i asks, column j is found
at_once = mine.softmax(scores) @ (x @ w_v)  # (T, Dv)
print("they agree:", np.allclose(by_loop, at_once))
hot = WORDS.index("hot")
print("hot alone asks, the others rest:", np.allclose(mine.softmax(scores[hot]) @ (x @ w_v), at_once[hot]))

# %% [markdown]
# That is the difference to reading word by word: the first token and the last are one step apart, as any two are.
# Notebook 09 measures what this is worth, notebook 10 what the T × T table costs.

# %% [markdown]
# ## Many sentences: a batch
#
# Models take B sentences of T tokens at once: x is (B, T, C), scores are (B, T, T), one table for each sentence. Tokens
# of different sentences never meet.
#
# Sentences of unequal length are filled up, and a mask hides the filling. Such a **padding mask** often comes as (B,
# T): which tokens are real. But a mask belongs to *scores*, and needs an axis for the queries.

# %%
real = np.array([[1, 1, 1], [1, 1, 0]], dtype=bool)  # (B, T): sentence 1 has 2 real tokens
scores = np.zeros((2, 3, 3))  # (B, T, T)
hidden_keys = np.where(real[:, None, :], scores, -np.inf)  # (B, 1, T) fits: the same keys for every query
print(mine.softmax(hidden_keys)[1].round(2))
try:
    np.where(real, scores, -np.inf)
except ValueError:
    print("a mask (2, 3) does not fit scores (2, 3, 3)")

# %% [markdown]
# NumPy refuses the (B, T) mask, which is luck. With three sentences of three tokens it would fit, as a table of queries
# and keys, and hide the wrong things without a word. So the convention of this course: a 2-D mask always means (T, T),
# query by key. Whoever has (B, T) writes `mask[:, None, :]`.

# %% [markdown]
# ### Exercise · self_attention (15 min, ●●○)
#
# Self-attention for a batch: `x (B, T, C)`, `w_q` and `w_k` `(C, D)`, `w_v` `(C, Dv)`, and a boolean `mask` that
# broadcasts to `(B, T, T)`, or None. Return `(out (B, T, Dv), weights (B, T, T))` under the rules of notebook 03:
# divided by √D, float32 stays float32, a token that may attend to nothing gets 0. A mask of shape `(B, T)` that does
# not broadcast is refused with a ValueError, as NumPy does by itself.
#
# Your functions of notebooks 02 and 03 are there as `mine.project_qkv` and `mine.scaled_dot_product_attention`. By
# hand: the two tokens above, `x = [[[0], [1]]]`, give out `[[[2], [3]]]`.


# %%
def self_attention(x, w_q, w_k, w_v, mask=None):
    """Let every token read all tokens of its own sentence.

    x:        (B, T, C) float, T tokens in each of B sentences.
    w_q, w_k: (C, D) float.
    w_v:      (C, Dv) float.
    mask:     bool, broadcastable to (B, T, T), True where token i may attend to token j; None is everywhere.
    Returns (out (B, T, Dv), weights (B, T, T)) in the dtype of the inputs. A token that may attend to nothing gets
    weights of 0 and an output of 0.
    Raises ValueError for a mask of shape (B, T), where B is neither 1 nor T.
    Source: Vaswani et al. 2017, section 3.2.3, without the split into heads.
    """
    ### BEGIN SOLUTION
    q, k, v = mine.project_qkv(x, w_q, w_k, w_v)  # all three from x: that is the whole idea
    return mine.scaled_dot_product_attention(q, k, v, mask)
    ### END SOLUTION


# %%
check("self_attention", self_attention)

# %%
pair = np.array([[[0.0], [1.0]]])
out, _ = mine.self_attention(pair, *(np.array([[number]]) for number in (math.log(3), 1.0, 4.0)))
print("as by hand:", np.allclose(out, [[[2], [3]]]))
out, weights = mine.self_attention(np.stack([x, x[::-1]]), w_q, w_k, w_v)  # (2, 8, 3), (2, 8, 8)
print("as at once:", np.allclose(out[0], at_once))
alone, _ = mine.self_attention(x[None], w_q, w_k, w_v)
print("the other sentence of the batch changes nothing:", np.allclose(alone[0], out[0]))

# %% [markdown]
# ## Reading a map
#
# Row i of the weights says what token i reads. Column j says who reads token j; that is another question, and only rows
# sum to 1. A list is easier to read than a row of numbers: who is read, and how much, the most first.

# %% [markdown]
# ### Exercise · trace_token (8 min, ●○○)
#
# Given `weights (T, T)`, a list of `T` tokens and a position `i`, return the list of all `T` pairs `(token, weight)`
# that token `i` reads, largest weight first. A word that stands at two positions has two pairs. By hand:
# `trace_token(np.array([[0.2, 0.8], [0.6, 0.4]]), ["a", "b"], 0)` gives `[("b", 0.8), ("a", 0.2)]`.


# %%
def trace_token(weights, tokens, i):
    """List what one token reads, the most first.

    weights: (T, T) float, weights[i, j] is how much token i reads from token j.
    tokens:  list of T str; a word may occur more than once.
    i:       int, 0 ≤ i < T, the token that reads.
    Returns a list of T pairs (token, weight), one for every position.
    """
    ### BEGIN SOLUTION
    order = sorted(range(len(tokens)), key=lambda j: -weights[i, j])
    return [(tokens[j], weights[i, j]) for j in order]
    ### END SOLUTION


# %%
check("trace_token", trace_token)

# %%
for word in ("hot", "she", "it"):
    pairs = mine.trace_token(weights[0], list(WORDS), WORDS.index(word))
    print(f"{word:3} reads", ", ".join(f"{other} {weight:.2f}" for other, weight in pairs[:4]))

# %% [markdown]
# *Hot* asks for a thing and reads most from *pan*; *she* asks for a deed. *It* has a query of zeros and reads
# everything evenly: in this hand-made model a pronoun does not know yet what to ask for.

# %% [markdown]
# ## One word in two sentences
#
# Now the bank. Three small matrices for the table above: a place asks *which topic?*, a person asks *which person?*;
# water and money are found as a topic. Every word hands over all it has. The same matrices serve both sentences.

# %%
SWAM = "anna swam from the bank of the river".split()
OWED = "anna owed the bank all of the money".split()
ASK = np.array([[0, 0], [0, 0], [1, 0], [0, 1]], dtype=float)  # (C, D): topic, person
FOUND = np.array([[1, 0], [1, 0], [0, 0], [0, 1]], dtype=float)  # (C, D)
GIVE = np.eye(4)  # (C, Dv)


def vectors(words):
    return np.array([TABLE[word] for word in words], dtype=float)


# %%
both = np.stack([vectors(SWAM), vectors(OWED)])  # (B, T, C) = (2, 8, 4)
read, maps = mine.self_attention(both, ASK, FOUND, GIVE)
places = [SWAM.index("bank"), OWED.index("bank")]
for words, table, place in zip((SWAM, OWED), maps, places, strict=True):
    pairs = mine.trace_token(table, words, place)
    print("bank reads", ", ".join(f"{word} {weight:.2f}" for word, weight in pairs[:4]))

# %%
import matplotlib.pyplot as plt

from autograder.material import plots


def draw_map(ax, words, table, place):
    """The weights of one sentence, with one row outlined."""
    plots.heatmap(table, words, words, ax, title=f"{' '.join(words[:3])} …")
    ax.add_patch(plt.Rectangle((-0.46, place - 0.46), 7.92, 0.92, fill=False, linewidth=2))
    ax.tick_params(axis="x", rotation=40)
    ax.set_xlabel("is read", color=plots.COLOURS["key"])
    ax.set_ylabel("reads", color=plots.COLOURS["query"])


# %%
figure, axes = plt.subplots(1, 2, figsize=(11.5, 3.9), layout="constrained")
for ax, words, table, place in zip(axes, (SWAM, OWED), maps, places, strict=True):
    draw_map(ax, words, table, place)
plots.show(
    figure,
    "Two 8 by 8 maps of weights, one per sentence. The outlined row of bank has its largest weight on river in the "
    "first and on money in the second; words that ask nothing have even rows.",
)

# %% [markdown]
# The outlined rows belong to the same word, with the same query. What differs is who is there to be found: *river* on
# the left, *money* on the right. Even rows belong to words that ask nothing.

# %%
after = {"swam": read[0, places[0]], "owed": read[1, places[1]]}
print("before:           ", f"river {cosine(bank, river):.2f}, money {cosine(bank, money):.2f}")
for name, vector in after.items():
    print(f"after “… {name} …”:", f"river {cosine(vector, river):.2f}, money {cosine(vector, money):.2f}")
assert np.isclose(cosine(bank, river), cosine(bank, money))
assert cosine(after["swam"], river) > 0.9 > 0.2 > cosine(after["swam"], money)
assert cosine(after["owed"], money) > 0.9 > 0.2 > cosine(after["owed"], river)

# %% [markdown]
# One vector went in, two came out. Before, *bank* was as near to *river* as to *money*; after one step it nearly points
# at one of them. Such a vector is called **contextual**. The table has not changed, and no rule about banks exists: an
# average over a sentence depends on the sentence.

# %% [markdown]
# ## One token, and the order of the others
#
# So much for *who* is there. Does it matter *where* they stand? Take one token, say *bank*, and let the other tokens
# trade places, in any way, with no mask.

# %% [markdown]
# ### Exercise · order_matters (1 min, ●○○)
#
# Does the output of one token depend on the order of the *other* tokens? Commit to True or False before the cell below
# shuffles.

# %%
### BEGIN SOLUTION
#: order_matters = ...  # your prediction: True or False
order_matters = False
### END SOLUTION

# %%
check("order_matters", order_matters)

# %%
rng = np.random.default_rng(5)
largest = 0.0
for _ in range(100):
    shuffled = list(rng.permutation(OWED))
    out, _ = mine.self_attention(vectors(shuffled)[None], ASK, FOUND, GIVE)
    largest = max(largest, np.abs(out[0, shuffled.index("bank")] - after["owed"]).max())
print("the last of them:", *shuffled)
print("in 100 orders the vector of bank changes by less than 1e-12:", largest < 1e-12)

# %% [markdown]
# Not at all. Follow one term of the sum: *money* hands over its value with a weight made of the query of *bank*, the
# key of *money*, and the total over all keys. None of the three knows a position. And a sum does not depend on the
# order of its terms.
#
# So the second puzzle is answered too, and the answer is bad news.

# %%
DEBTS = "anna owed the bank money".split(), "the bank owed anna money".split()
outs = [mine.self_attention(vectors(words)[None], ASK, FOUND, GIVE)[0][0] for words in DEBTS]
for word in ("anna", "bank"):
    first, second = (out[words.index(word)] for out, words in zip(outs, DEBTS, strict=True))
    print(f"{word}: the same vector in both sentences: {np.allclose(first, second)}")

# %% [markdown]
# Who owes whom is in the order of the words alone, and self-attention does not see it. No choice of matrices helps: the
# argument above holds for all of them.

# %% [markdown]
# ## The right word for it
#
# Let p be an order of the T tokens, and x[p] the tokens in that order. Two properties are easily confused:
#
# | name | says | example |
# |---|---|---|
# | **invariant** | f(x[p]) = f(x): the result does not change | the mean of all tokens |
# | **equivariant** | f(x[p]) = f(x)[p]: the result is reordered in the same way | self-attention |
#
# **A common sentence** is that self-attention is "permutation-invariant". Each token's own vector is, with respect to
# the order of the *others*. The function is *equivariant*: shuffle the tokens and the rows come out shuffled.

# %%
p = np.array([4, 0, 3, 1, 2])  # an order of five tokens
x5 = vectors(DEBTS[0])[None]  # (1, 5, 4)
straight, moved = (mine.self_attention(part, ASK, FOUND, GIVE)[0] for part in (x5, x5[:, p]))
print("invariant,   f(x[p]) = f(x):   ", np.allclose(moved, straight))
print("equivariant, f(x[p]) = f(x)[p]:", np.allclose(moved, straight[:, p]))

# %% [markdown]
# ## Writing it as a test
#
# Such a property is worth more than an example: it can be tested without knowing a single right number. By hand, for an
# f that adds 0 to the first place and 10 to the second: x = (1, 5) gives (1, 15). Swapped, x[p] = (5, 1) gives (5, 11),
# while f(x)[p] is (15, 1). They differ, so this f is not equivariant.
#
# One trap first. Is a sum in another order the *same* number?

# %%
terms = np.random.default_rng(0).normal(size=(1000, 7))
backwards = terms[:, ::-1]
forward, reverse = (sum(part[:, n] for n in range(7)) for part in (terms, backwards))
print("equal to the last bit, in all of 1000 sums:", (forward == reverse).all())
print("equal up to rounding:", np.allclose(forward, reverse))

# %% [markdown]
# Rounding depends on the order of additions. A test that asks for equal bits refuses right functions.

# %% [markdown]
# ### Exercise · check_permutation_equivariant (15 min, ●●●)
#
# Given a function `f` from `(B, T, C)` to `(B, T, width)` and a generator `rng`, return True if `f` is equivariant in
# axis 1, the tokens, and False if not. Choose B, T and C yourself, draw x standard normal and the orders from `rng`,
# and judge by what f returns.
#
# Your test is tried on functions that are equivariant, which it may never refuse, and on some that are not: they add
# positions, read only what came before, read no further than two places, or err in a single number or by 0.1 %. By
# hand: the f above gives False.


# %%
def check_permutation_equivariant(f, rng):
    """Say whether f gives reordered tokens the same results, reordered.

    f:   function of x (B, T, C) float64, any sizes, that returns (B, T, width) float64; width need not be C.
    rng: numpy.random.Generator; every random number comes from it.
    Returns True if f(x[:, p]) equals f(x)[:, p] up to rounding for every x and every order p of the tokens, the same
    order in every sentence; else False. A difference of 0.001 counts, rounding does not; what depends on order may show
    only in sentences of 4 tokens or more. An f that is not equivariant may slip through a call by chance, but not as a
    rule. An f that is may mix the sentences of a batch.
    Source: Zaheer et al. 2017, section 2, who say which layers have the property.
    """
    ### BEGIN SOLUTION
    for _ in range(5):  # one order may happen to leave a place alone
        x = rng.standard_normal((2, 8, 5))
        p = rng.permutation(8)
        if not np.allclose(f(x[:, p]), f(x)[:, p]):
            return False
    return True
    ### END SOLUTION


# %%
check("check_permutation_equivariant", check_permutation_equivariant)


# %% [markdown]
# Now the test tests. Four functions around self-attention, with random matrices of any size:


# %%
def attend(x, mask=None):
    """Self-attention with three random matrices, drawn anew from one seed for each width."""
    w = np.random.default_rng(1).normal(size=(3, x.shape[2], x.shape[2])) / math.sqrt(x.shape[2])
    return mine.self_attention(x, *w, mask)[0]


def place_vectors(n, width):
    return np.random.default_rng(2).normal(size=(1000, 64))[:n, :width]


# %%
CANDIDATES = {
    "self-attention": attend,
    "its mean over the tokens, given to all": lambda x: 0 * x + attend(x).mean(axis=1, keepdims=True),
    "with a causal mask": lambda x: attend(x, np.tri(x.shape[1], dtype=bool)),
    "with a vector added to each place": lambda x: attend(x + place_vectors(*x.shape[1:])),
}
rng = np.random.default_rng(0)
for name, f in CANDIDATES.items():
    print(f"{name}: equivariant {mine.check_permutation_equivariant(f, rng)}")

# %% [markdown]
# A causal mask breaks the symmetry: "those before me" is a statement about places. So a model with a causal mask is not
# blind to order even without position vectors (notebook 18). Without such a mask, order has to be put in: notebook 12.

# %% [markdown]
# ## Break it: the two debts
#
# Once more *Anna owed the bank money* and *the bank owed Anna money*. For each word: how far its vector moves from one
# sentence to the other, without positions, and with a random vector added to each place before attention.


# %%
def moves(add_places):
    """How far the vector of each word lies between the two sentences, (5,)."""
    found = []
    for words in DEBTS:
        x = vectors(words) + add_places * 0.5 * place_vectors(5, 4)
        out, _ = mine.self_attention(x[None], ASK, FOUND, GIVE)
        found.append(np.array([out[0, words.index(word)] for word in DEBTS[0]]))
    return np.linalg.norm(found[0] - found[1], axis=1)


# %%
figure, ax = plt.subplots(figsize=(7, 2.6), layout="constrained")
bars = (("no positions", moves(False), "other"), ("a vector added to each place", moves(True), "output"))
for shift, (label, distance, colour) in zip((-0.2, 0.2), bars, strict=True):
    ax.bar(np.arange(5) + shift, distance, width=0.36, color=plots.COLOURS[colour], label=label)
ax.plot(np.arange(5) - 0.2, bars[0][1], "o", color=plots.COLOURS["other"])
ax.set(xticks=range(5), xticklabels=DEBTS[0], ylabel="distance moved", ylim=(-0.05, None))
ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
alt = (
    "How far the vector of each word moves between the two sentences: 0 without positions, marked by dots on the axis; "
)
plots.show(figure, alt + "above 0 for every word when a vector is added to each place.")
assert bars[0][1].max() < 1e-12 and bars[1][1].min() > 0.01

# %% [markdown]
# The dots on the axis are bars of height 0: without positions no word notices that debtor and creditor changed places.
# With positions every word does, also *money*, which stands at the same place in both sentences: those it reads have
# moved.

# %% [markdown]
# ## Measure the claim
#
# The bank was made by hand, to work. Which part of it comes from attention, and which from clever matrices? The claim
# to be refuted: *a word is pulled towards the words of its sentence, on average over random vectors and matrices*.
#
# So draw everything at random: a vector of 16 numbers for each word, and three matrices. Compare the vector of *bank*
# in both sentences. Is it nearer to what *river* hands over in the sentence with the river? A word of neither sentence,
# *pan*, is the control: if it shows the same, the measure is wrong.

# %% tags=["experiment"]
VOCABULARY = [*sorted({*SWAM, *OWED}), "pan"]
WHERE = [[VOCABULARY.index(word) for word in words] for words in (SWAM, OWED)]


def differences(rng, width=16):
    """Cosine of bank to river, money and pan, in the sentence with the river minus in the one with the money: (3,)."""
    table = rng.normal(size=(len(VOCABULARY), width))
    w = rng.normal(size=(3, width, width)) / math.sqrt(width)
    out, _ = mine.self_attention(table[WHERE], *w)  # (2, 8, width)
    targets = table[[VOCABULARY.index(word) for word in ("river", "money", "pan")]] @ w[2]
    swam, owed = out[0, SWAM.index("bank")], out[1, OWED.index("bank")]
    return [cosine(swam, target) - cosine(owed, target) for target in targets]


# %% tags=["experiment"]
found = np.array(
    [[differences(rng) for _ in range(200)] for rng in map(np.random.default_rng, range(5))]
)  # (5, 200, 3)
means = found.mean(axis=1)  # (5 seeds, 3)
for name, one in zip(("river", "money", "pan"), means.T, strict=True):
    error = one.std(ddof=1) / math.sqrt(5)
    print(f"{name:5}: {one.mean():+.2f}, standard error {error:.2f} over 5 seeds")
share = (found[..., 0] > 0).mean()
print(f"bank is nearer to river where there is one, in {share:.0%} of the random models")
errors = means.std(axis=0, ddof=1) / math.sqrt(5)
assert means[:, 0].min() > 0.1 and means[:, 1].max() < -0.1  # every seed
assert abs(means[:, 2].mean()) < 3 * errors[2] + 0.01 and 0.7 < share < 0.95

# %% tags=["experiment"]
figure, ax = plt.subplots(figsize=(7.5, 2.5), layout="constrained")
names = ("river", "money", "pan (control)")
for place, colour in enumerate(("other", "truth", "data")):
    values = found[..., place].ravel()
    ax.hist(values, bins=np.linspace(-1.2, 1.2, 49), histtype="step", linewidth=1.8, color=plots.COLOURS[colour])
    ax.plot([], [], color=plots.COLOURS[colour], linewidth=1.8, label=names[place])
ax.axvline(0, color=plots.COLOURS["truth"], linestyle=":", linewidth=1)
ax.set(xlabel="cosine in the river sentence minus cosine in the money sentence", ylabel="random models")
ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
alt = "Three histograms over 1000 random models. River lies mostly to the right of 0, money mostly to the left, the "
plots.show(figure, alt + "control pan around 0. All three are wide and overlap.")

# %% [markdown]
# ## What the measurement says, and what it does not
#
# *River* lies to the right and *money* to the left, on average in every one of the five seeds, and *pan* around 0. The
# claim stands: the pull is there before anything is learned, since the output is an average in which the neighbours
# have a share.
#
# But the histograms are wide. In a good part of the random models the pull is weak or goes the other way: a random
# query has no reason to prefer *river* to *the*. What training adds is the choice whom to read. That trained vectors
# follow meaning was not shown here; notebook 16 looks at an ambiguous word in a real model.

# %% [markdown]
# ## Where you will meet this
#
# | where | the line |
# |---|---|
# | PyTorch | `self.self_attn(x, x, x, …)` in `nn.TransformerEncoderLayer`: one x, three parts |
# | BERT | `self.query(hidden_states)`, `self.key(hidden_states)`, `self.value(hidden_states)` |
# | Llama | `q_proj`, `k_proj`, `v_proj` of the same `hidden_states`, with a causal mask |
# | vLLM | `self.qkv_proj(hidden_states)`, all three in one product |
#
# Where queries come from another sequence than keys and values, it is *cross-attention* (notebook 13). PyTorch's layer
# gives our numbers, with one head and no last projection:

# %%
import torch

w = np.random.default_rng(7).normal(size=(3, 4, 4))
layer = torch.nn.MultiheadAttention(4, num_heads=1, bias=False, batch_first=True, dtype=torch.float64)
with torch.no_grad():
    layer.in_proj_weight.copy_(torch.from_numpy(np.concatenate([part.T for part in w])))  # stored as (out, in)
    layer.out_proj.weight.copy_(torch.eye(4))
    sentences = torch.from_numpy(both)
    theirs, _ = layer(sentences, sentences, sentences)
print("PyTorch agrees:", np.allclose(theirs.numpy(), mine.self_attention(both, *w)[0]))

# %% [markdown]
# ## The puzzle, answered
#
# *Bank* enters both sentences as the same vector and asks the same question. It gets two answers, since the sentence is
# what answers: the output is an average over the tokens present, and a river is present in one and money in the other.
#
# In *Anna owed the bank money* and *the bank owed Anna money* the same tokens are present. All vectors come out the
# same, only in another order; without positions, no self-attention can tell the two debts apart.

# %% [markdown]
# ## To say to a colleague
#
# - Self-attention is attention in which queries, keys and values are projections of the same tokens.
# - All tokens ask at once; each gets an average over its sentence, so a word's vector depends on its company.
# - It is equivariant, not invariant: shuffled tokens come out with the same vectors, shuffled.
# - Order is invisible until something depends on the place: a position vector, or a causal mask.
# - A property such as equivariance can be tested without knowing a right answer, up to rounding.

# %% [markdown]
# ## In your own words
#
# ### Exercise · reflection_05 (8 min, ●●○)
#
# A colleague says: "self-attention gives *bank* two vectors because it understands the sentence, and it is
# permutation-invariant". Say what is right in that and what is not: where the two vectors come from, what happens to
# all vectors when the sentence is shuffled, and what would have to be added for *Anna owed the bank* and *the bank owed
# Anna* to differ. Four to six sentences.

# %%
### BEGIN SOLUTION
#: reflection_05 = """
#: """
reflection_05 = """
Queries, keys and values are three projections of the same tokens. "Bank" enters both sentences with the same query; its
new vector is an average of the values of the sentence, weighted by how well their keys suit that query. Other
neighbours give another average: that alone makes two vectors, even with random matrices, and is no understanding.
Training decides whom the word reads.

If the sentence is shuffled, every token meets the same keys and adds up the same terms, so each word keeps its vector
and the rows come out in the shuffled order: that is equivariant. Invariant would mean that the whole result stays as it
was, as a mean over all tokens does. So the two debts, made of the same words, give the same vectors. They differ once
something depends on the place of a token: a position vector added to it, a bias on the distance, or a causal mask.
"""
### END SOLUTION

# %%
reflect("reflection_05", reflection_05)

# %% [markdown]
# ## Papers
#
# - Cheng, Dong, Lapata 2016, *Long Short-Term Memory-Networks for Machine Reading*, section 3, arXiv:1601.06733. Each
#   word attends to the words before it in its own sentence, there called intra-attention, in a recurrent network.
# - Lin, Feng, dos Santos, Yu, Xiang, Zhou, Bengio 2017, *A Structured Self-attentive Sentence Embedding*, section 2.1,
#   arXiv:1703.03130. A sentence is summarised by attention over itself, with learned queries.
# - Vaswani and others 2017, *Attention Is All You Need*, sections 3.2.3 and 3.5, arXiv:1706.03762. Self-attention in
#   place of recurrence, and why positions have to be added.
# - Zaheer, Kottur, Ravanbakhsh, Poczos, Salakhutdinov, Smola 2017, *Deep Sets*, section 2, arXiv:1703.06114. Which
#   layers are invariant or equivariant to the order of their inputs.
