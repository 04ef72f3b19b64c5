# %% [markdown]
# # 09 · How does self-attention compare with a recurrent network?
#
# About 95 minutes. You need notebook 03 (attention and its scale), notebook 06 (`batched_attention`), and PyTorch's
# tensors and gradients. Recurrent networks are explained here.
#
# You will be able to
#
# - write a recurrent layer, and say what its last state still knows of its first input;
# - measure how far back a gradient reaches, for any layer, and read what training will find hard;
# - state operations, sequential steps and path length of four kinds of layer, and where two of them cost the same;
# - say which part of "attention is better at long range" was measured here, and which was not.

# %% [markdown]
# ## A puzzle: 128 words later
#
# *She dropped the pan.* A story goes on for 128 words, and then: *it was hot.*
#
# A recurrent network reads word by word and keeps a note of fixed length. At each word it rewrites the note. Suppose
# that each rewriting keeps nine tenths of what was there. How much of *pan* is left? Self-attention lets *hot* look at
# *pan* directly, but compares every word with every other.
#
# Two questions, then. What does the distance do to each of them? And which of them does less work on 64 words, and
# which on 4096?

# %%
import math

import numpy as np
import torch

from autograder import check, hint, mine, progress, reflect
from autograder.material.sentence import WORDS, embeddings

torch.set_num_threads(1)
print(f"0.9 to the power 4: {0.9**4:.2f}, to the power 128: {0.9**128:.7f}")

# %% [markdown]
# ## A note passed from word to word
#
# The note is called the **state**, a vector of `h` numbers, zeros at the start. A step makes the new state from the
# word and the old state:
#
# $$s_t = \tanh(x_t W_x + s_{t-1} W_h + b)$$
#
# The same $W_x$ (C, h), $W_h$ (h, h) and $b$ (h,) at every step. tanh keeps each number between −1 and 1 (Elman 1990).
# By hand, with one number each: C = h = 1, $W_x = 1$, $W_h = 0.9$, $b = 0$, and inputs 1, 0, 0. Only the first word
# says anything.

# %%
state = 0.0
for t, word in enumerate((1.0, 0.0, 0.0)):
    before, state = state, math.tanh(1.0 * word + 0.9 * state + 0.0)
    print(f"step {t}: tanh({word:g} + 0.9 · {before:.3f}) = {state:.3f}")

# %% [markdown]
# One step for vectors, first with loops, then as two matrix products. The two numbers of the new state each sum over
# the four numbers of the word and the two of the old state.

# %%
rng = np.random.default_rng(1)
sizes = ((0.3, (4, 2)), (0.8, (2, 2)), (0.3, (2,)))
w_x, w_h, b = (torch.from_numpy(size * rng.standard_normal(shape)) for size, shape in sizes)
word, old = torch.from_numpy(embeddings(["pan"])[0]), torch.tensor([0.5, -0.2], dtype=torch.float64)
by_loops = []
for j in range(2):
    total = b[j] + sum(word[c] * w_x[c, j] for c in range(4)) + sum(old[i] * w_h[i, j] for i in range(2))
    by_loops.append(math.tanh(total))
by_products = torch.tanh(word @ w_x + old @ w_h + b)  # (h,)
print("they agree:", np.allclose(by_loops, by_products))

# %% [markdown]
# Over a whole batch, the step is `x[:, t] @ w_x + state @ w_h + b`, (B, h). The steps themselves stay a loop: step 5
# needs the state of step 4, which does not exist until step 4 is done. No matrix product does them all at once.
# Remember that for later.
#
# Two traps. `torch.zeros` is float32 unless told otherwise. And the states must stay one chain of operations: `detach`,
# `.data` and NumPy cut it, and nothing can be learned through the cut.

# %% [markdown]
# ### Exercise · rnn_forward (12 min, ●○○)
#
# `x` is `(B, T, C)`: B sequences of T vectors. Return all T states of every sequence, `(B, T, h)`, starting from a
# state of zeros. They keep the dtype of the inputs, and gradients flow through them to all four arguments. By hand: `x
# = [[[1], [0]]]` with `w_x = [[1]]`, `w_h = [[0.9]]` and `b = [0]` gives tanh(1) = 0.762 and then tanh(0.9 · 0.762) =
# 0.595.


# %%
def rnn_forward(x, w_x, w_h, b):
    """Run a tanh recurrence over every sequence of a batch.

    x:   (B, T, C) float tensor.
    w_x: (C, h), w_h: (h, h), b: (h,) float tensors, the same at every step.
    Returns (B, T, h), the states in order, in the dtype of the inputs; the state before the first step is 0.
    Source: Elman 1990, with tanh as its function.
    """
    ### BEGIN SOLUTION
    state = x.new_zeros(x.shape[0], w_h.shape[0])  # (B, h)
    states = []
    for t in range(x.shape[1]):
        state = torch.tanh(x[:, t] @ w_x + state @ w_h + b)
        states.append(state)
    return torch.stack(states, dim=1)  # (B, T, h)
    ### END SOLUTION


# %%
check("rnn_forward", rnn_forward)

# %% [markdown]
# Read the sentence twice, the second time with *pan* erased. How much do the states differ, word by word?

# %%
sentence = torch.from_numpy(embeddings())[None]  # (B, T, C) = (1, 8, 4)
erased = sentence.clone()
erased[:, WORDS.index("pan")] = 0
difference = mine.rnn_forward(sentence, w_x, w_h, b) - mine.rnn_forward(erased, w_x, w_h, b)
for word, change in zip(WORDS, difference[0].norm(dim=-1), strict=True):
    print(f"{word:8} {change:.3f}")
assert difference[0, -1].norm() < 0.1 * difference[0, WORDS.index("pan")].norm()

# %% [markdown]
# Before *pan*, nothing: a state knows only what came earlier. After it, the trace of *pan* has to survive every step,
# and at *hot* less than a tenth of it is left.

# %% [markdown]
# ## How far does a gradient reach?
#
# What a network can learn about a distant word depends on one number: how much the output moves when that word moves.
# In the recurrence it is a product, one factor per step. With single numbers, each step multiplies by $w_h (1 -
# s_t^2)$, since the derivative of tanh is $1 - \tanh^2$. Leave tanh out, and k steps multiply by $w_h^k$. Three values
# of $w_h$, close together:

# %%
import matplotlib.pyplot as plt

from autograder.material import plots

# %%
figure, ax = plt.subplots(figsize=(6.5, 3), layout="constrained")
steps = np.arange(129)
for factor, name in ((0.9, "other"), (1.0, "truth"), (1.1, "output")):
    ax.semilogy(steps, factor**steps, color=plots.COLOURS[name], label=f"factor {factor} per step")
ax.set(xlabel="steps between input and output", ylabel="derivative")
ax.legend(loc="upper left")
alt = "Derivative against steps on a log scale: factor 0.9 falls in a straight line, 1.1 rises in one, 1 stays level."
plots.show(figure, alt)

# %% [markdown]
# Straight lines on a logarithmic axis: exponential, in one direction or the other. A factor has to be 1 almost exactly,
# over many steps. This is the **vanishing** and the **exploding gradient** (Bengio et al. 1994; Pascanu et al. 2013).
# tanh can only shrink: its derivative is at most 1.

# %% [markdown]
# ### One number for a matrix
#
# With vectors, the derivative of an output of d numbers by an input of d numbers is a d × d matrix, entry [j, c] for
# output j and input c. Its size is the **Frobenius norm**, the root of the sum of all squared entries. Take two
# positions, d = 2, and the last output $x_1 + x_0 M$ with M = [[1, −1], [2, −2]]. By $x_1$ the derivative is the
# identity, norm √2. By $x_0$ it is the transpose of M, norm √(1 + 1 + 4 + 4) = √10.

# %%
M = torch.tensor([[1.0, -1.0], [2.0, -2.0]])
x = torch.tensor([[[0.3, -0.7], [1.2, 0.4]]], requires_grad=True)  # (1, n, d) = (1, 2, 2)
out = x[0, 1] + x[0, 0] @ M  # (d,)
for j in range(2):
    (gradient,) = torch.autograd.grad(out[j], x, retain_graph=True)  # (1, n, d)
    print(f"output {j}: by x_0 {gradient[0, 0].tolist()}, by x_1 {gradient[0, 1].tolist()}")
(summed,) = torch.autograd.grad(out.sum(), x)
print(f"their sum: by x_0 {summed[0, 0].tolist()}, by x_1 {summed[0, 1].tolist()}")

# %% [markdown]
# Each call gives one row of every matrix. The last line is the trap: **a gradient is of one number.** Ask for that of a
# sum, or call `backward` d times without clearing `x.grad`, and rows are added with their signs. Here they cancel, and
# $x_0$ seems to have no influence at all. Rows first, squares next, sums last.

# %% [markdown]
# ### Exercise · gradient_reach (20 min, ●●●)
#
# `f` maps a `(1, n, d)` tensor to another. Draw one `x` from `rng`: `(1, n, d)` standard normal numbers, float32.
# Return `(n,)` numbers: entry `i` is the Frobenius norm of the derivative of `f(x)[0, n-1]`, the last output, by `x[0,
# i]`. Very small norms count as well, so add no epsilon. By hand: for the function above the answer is `[3.162,
# 1.414]`, that is √10 and √2, whatever `x` is.


# %%
def gradient_reach(f, n, d, rng):
    """Measure how much each position of a random input moves the last output.

    f:   function of a (1, n, d) float32 tensor → (1, n, d); it may be called more than once.
    n:   number of positions; d: numbers per position.
    rng: numpy.random.Generator that x is drawn from.
    Returns (n,): the Frobenius norm of ∂ f(x)[0, n-1] / ∂ x[0, i], a d × d matrix, for every i, all at the same x.
    """
    ### BEGIN SOLUTION
    x = torch.from_numpy(rng.standard_normal((1, n, d)).astype(np.float32)).requires_grad_()
    out = f(x)[0, n - 1]  # (d,)
    rows = [torch.autograd.grad(out[j], x, retain_graph=True)[0][0] for j in range(d)]  # d times (n, d)
    return torch.stack(rows).square().sum(dim=(0, 2)).sqrt()  # (n,)
    ### END SOLUTION


# %%
check("gradient_reach", gradient_reach)

# %%
reach = mine.gradient_reach(lambda x: torch.stack([x[:, 0], x[:, 1] + x[:, 0] @ M], 1), 2, 2, np.random.default_rng(0))
print("as by hand:", np.allclose([float(r) for r in reach], [math.sqrt(10), math.sqrt(2)]))

# %% [markdown]
# ## Three layers to compare
#
# The third is the **GRU** (Cho et al. 2014), a recurrence with *gates*: numbers between 0 and 1, computed from word and
# state. The one that matters here says, for each number of the state, how much of the old value to keep:
#
# $$s_t = z_t \odot s_{t-1} + (1 - z_t) \odot \text{new}_t$$
#
# Where z is near 1, a value passes almost unchanged, and so does its gradient: a factor near 1, made on purpose.

# %% [markdown]
# All layers below carry a leading axis S of independent copies, one per seed, so that several seeds train at once. Your
# `rnn_forward` has no such axis. It gets S recurrences as one wide recurrence whose matrices are block-diagonal: blocks
# never meet.

# %%
H = 32  # numbers in a state


def start(shapes, seeds):
    """Parameters drawn as PyTorch draws those of an RNN, uniform within ±1/√H: (S, …) for each shape."""
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    draw = lambda shape: torch.stack([torch.rand(shape, generator=g) * 2 - 1 for g in generators])
    return [draw(shape) / math.sqrt(H) for shape in shapes]


# %%
def side_by_side(x):
    return x.permute(1, 2, 0, 3).flatten(2)  # (S, B, T, C) → (B, T, S·C)


def apart(states, copies):
    return states.unflatten(2, (copies, -1)).permute(2, 0, 1, 3)  # (B, T, S·h) → (S, B, T, h)


def rnn(p, x):
    w_x, w_h, b = p  # (S, C, h), (S, h, h), (S, h)
    blocks = torch.block_diag(*w_x), torch.block_diag(*w_h)
    return apart(mine.rnn_forward(side_by_side(x), *blocks, b.flatten()), len(x))


# %% [markdown]
# PyTorch's GRU keeps the matrices of its three gates one below the other, as (out, in). `keep` is added to the bias of
# z; at 0 it is the GRU as usually started.

# %%
# One layer of H numbers, and three side by side. Only their form is used; their own weights never are.
CELLS = {size: torch.nn.GRU(size, states, batch_first=True) for size, states in ((H, H), (3 * 9, 3 * H))}


def gru(p, x, keep=0.0):
    w_x, w_h = (torch.cat([torch.block_diag(*w.mT) for w in part.chunk(3, dim=-1)]) for part in p[:2])
    b_r, b_z, b_new = (part.flatten() for part in p[2].chunk(3, dim=-1))
    bias = torch.cat([b_r, b_z + keep, b_new])
    names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    weights = dict(zip(names, (w_x, w_h, bias, torch.zeros_like(bias)), strict=True))
    return apart(torch.func.functional_call(CELLS[w_x.shape[1]], weights, (side_by_side(x),))[0], len(x))


# %%
def attention(p, x):
    q, k, v = (x @ w[:, None] for w in p)  # (S, B, T, h) each
    return mine.batched_attention(q, k, v)[0]


MODELS = {  # name: layer, shapes of its parameters for inputs of C numbers, style of its line
    "RNN": (rnn, lambda C: [(C, H), (H, H), (H,)], {"color": plots.COLOURS["other"], "marker": "o"}),
    "GRU": (gru, lambda C: [(C, 3 * H), (H, 3 * H), (3 * H,)], {"color": plots.COLOURS["data"], "marker": "s"}),
    "attention": (attention, lambda C: [(C, H)] * 3, {"color": plots.COLOURS["truth"], "marker": "D"}),
}

# %% [markdown]
# ## Measure the reach
#
# 129 positions, so distances 0 to 128; freshly started layers; five seeds. Which of the three curves do you expect to
# be level, and which of them is highest at distance 1? Decide, then run.

# %% tags=["experiment"]
SEEDS, N = range(5), 129


def reach_of(name, seed):
    """Reach at distances 0 … 128 of a freshly started layer."""
    layer, shapes, _ = MODELS[name]
    p = start(shapes(H), [seed])
    norms = mine.gradient_reach(lambda x: layer(p, x[None])[0], N, H, np.random.default_rng(seed))
    return [float(norm) for norm in norms][::-1]


reach = {name: np.array([reach_of(name, seed) for seed in SEEDS]) for name in MODELS}

# %% tags=["experiment"]
assert reach["RNN"][:, 1].min() > reach["attention"][:, 1].max()  # near: every seed against every seed
assert reach["RNN"][:, 32].max() < 1e-6 * reach["attention"][:, 32].min()
assert reach["GRU"][:, 64].max() < 1e-6 * reach["attention"][:, 64].min()
near, far = (np.median(reach["attention"][:, part]) for part in (slice(1, 33), slice(97, 129)))
assert 0.5 < far / near < 2  # level
crossing = int(np.argmax(np.median(reach["RNN"], axis=0) < np.median(reach["attention"], axis=0)))
print("at distance 1 the RNN's reach is larger than attention's, in every seed")
print("further on it falls below, first within 10 steps:", crossing <= 10)

# %% tags=["experiment"]
def draw_reach(ax, name):
    """Median over seeds, and their range as a band."""
    values, colour = np.maximum(reach[name][:, 1:], 1e-30), MODELS[name][2]["color"]
    ax.semilogy(np.arange(1, N), np.median(values, axis=0), color=colour, label=name)
    ax.fill_between(np.arange(1, N), values.min(axis=0), values.max(axis=0), color=colour, alpha=0.25, linewidth=0)


# %% tags=["experiment"]
figure, ax = plt.subplots(figsize=(7, 3.4), layout="constrained")
for name in reach:
    draw_reach(ax, name)
ax.set(xlabel="distance to the last position (steps)", ylabel="gradient reach", ylim=(1e-16, 10), xlim=(0, 128))
ax.legend(loc="center right")
alt = "Gradient reach on a log scale against distance, for freshly started layers. Attention is level. RNN and GRU start higher "
plots.show(figure, alt + "and fall in nearly straight lines, the RNN more steeply, far below attention at 64 steps.")

# %% [markdown]
# The black line is level: to attention, a word 128 positions away is as near as the next one. The two recurrences start
# above it and fall in nearly straight lines, so exponentially. The bands, from the lowest to the highest of five seeds,
# are narrow against that.
#
# Read the left edge too. Attention shares its weights among 129 positions, so each has little; a recurrence favours
# what has just been said.

# %% [markdown]
# ## The price list
#
# Vaswani et al. 2017, table 1: leading terms, no constants. **Operations**: how much is multiplied. **Sequential**: how
# many steps must wait for each other. **Path**: through how many steps, or stacked layers, the first position reaches
# the last.
#
# | kind | operations | sequential | path |
# |---|---|---|---|
# | `"self"`: all pairs | n² d | 1 | 1 |
# | `"rnn"` | n d² | n | n |
# | `"conv"`: kernel of width k, dilated | k n d² | 1 | smallest p with kᵖ ≥ n |
# | `"restricted"`: attention to r positions | r n d | 1 | n / r, rounded up |
#
# n² d because each of n² scores sums d products; n d² because n times a vector meets a d × d matrix.

# %% [markdown]
# The third path, by hand with k = 3: a causal convolution reads its own position and two before it. In the second layer
# it skips, and reads every third position, which together have seen 9; in the third every ninth, 27. So n = 27 needs 3
# layers and n = 28 needs 4. Without the skips (*dilation*) each layer would add only k − 1 positions; and with k = 1
# none ever sees further.
#
# `math.log(125, 5)` is a little more than 3, and `ceil` makes 4 of it. Count in integers.

# %%
print("ceil(log(125, 5)) =", math.ceil(math.log(125, 5)), "  and 5**3 =", 5**3)

# %% [markdown]
# ### Exercise · cheaper_layer (2 min, ●○○)
#
# Vectors of d = 512 numbers. Which layer needs fewer operations by the table, `"self"` or `"rnn"`: for a sequence of n
# = 64, and for one of n = 4096? Commit to a pair such as `("rnn", "rnn")` before the cells below compute it.

# %%
### BEGIN SOLUTION
#: cheaper_layer = ...  # your prediction: a pair, first for n = 64, then for n = 4096
cheaper_layer = ("self", "rnn")
### END SOLUTION

# %%
check("cheaper_layer", cheaper_layer)

# %% [markdown]
# ### Exercise · layer_costs (15 min, ●●○)
#
# Return the three costs of a layer as a dict with the keys `"operations"`, `"sequential"` and `"path"`, all integers,
# as in the table. `kind` is one of its four names, `k` and `r` are used where the table has them. Raise ValueError for
# `"restricted"` without `r`, and for `"conv"` with `k < 2`. By hand: `layer_costs("conv", 28, 2, k=3)` is
# `{"operations": 336, "sequential": 1, "path": 4}`.


# %%
def layer_costs(kind, n, d, k=3, r=None):
    """Costs of one layer: leading terms, constants dropped.

    kind: "self", "rnn", "conv" (causal, dilated) or "restricted" (attention to r positions).
    n, d: positions and width, integers from 1.
    k:    width of the kernel of "conv", at least 2, otherwise ValueError.
    r:    positions that "restricted" sees; ValueError if it is missing there.
    Returns {"operations": int, "sequential": int, "path": int}.
    Source: Vaswani et al. 2017, section 4, table 1.
    """
    ### BEGIN SOLUTION
    if kind == "restricted" and r is None:
        raise ValueError("restricted attention needs r, the number of positions it sees")
    if kind == "conv" and k < 2:
        raise ValueError(f"a kernel of width {k} never sees further, however many layers; k must be at least 2")
    if kind == "self":
        operations, sequential, path = n * n * d, 1, 1
    elif kind == "rnn":
        operations, sequential, path = n * d * d, n, n
    elif kind == "conv":
        operations, sequential, path, reach = k * n * d * d, 1, 0, 1
        while reach < n:
            reach, path = reach * k, path + 1
    else:
        operations, sequential, path = r * n * d, 1, -(-n // r)
    return {"operations": operations, "sequential": sequential, "path": path}
    ### END SOLUTION


# %%
check("layer_costs", layer_costs)

# %%
for n in (64, 512, 4096):
    pair, recurrence = (mine.layer_costs(kind, n, 512)["operations"] for kind in ("self", "rnn"))
    sign = "<" if pair < recurrence else ">" if pair > recurrence else "="
    print(f"n = {n:4}, d = 512: self {pair / 1e9:6.3f} {sign} rnn {recurrence / 1e9:6.3f} billion operations")

# %% [markdown]
# The ratio of n² d to n d² is n / d. **A common belief** is that attention, being quadratic, costs more than a
# recurrence. Only where the sequence is longer than the vectors are wide; sentences are often shorter than that.

# %%
STYLES = {"self": ("truth", "-"), "rnn": ("other", "-"), "conv": ("output", "--"), "restricted": ("data", "--")}


def draw_costs(ax, what, label):
    """One of the costs against n, for all four kinds."""
    ns = 2 ** np.arange(4, 15)
    for kind, (colour, line) in STYLES.items():
        costs = [mine.layer_costs(kind, int(n), 512, k=3, r=64)[what] for n in ns]
        ax.loglog(ns, costs, line, color=plots.COLOURS[colour], label=kind)
    ax.set(xlabel="n, positions", ylabel=label)


# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.3), layout="constrained")
draw_costs(left, "operations", "operations at d = 512")
draw_costs(right, "path", "path, first to last")
left.axvline(512, color=plots.COLOURS["data"], linewidth=0.8)
left.text(560, 1.3e6, "n = d", color="#555555")
left.legend(loc="upper left")
alt = "Left, operations against n on log scales at d = 512: self-attention is steeper than the other three and meets the RNN at "
alt += "n = 512. Right, path: self-attention stays at 1, the convolution rises slowly, restricted attention from 64 on, the RNN "
plots.show(figure, alt + "is n.")

# %% [markdown]
# Left, black is steeper and meets orange at n = d. Right, the price of the cheap ones: the more a layer saves, the more
# steps lie between first and last. Convolutions with k = 3 cost three times a recurrence and reach far in few layers;
# restricted attention with r = 64 costs less than either and needs many.

# %% [markdown]
# ### What the table leaves out
#
# Constants. Attention also projects to queries, keys, values and an output, four products of n d² each; a recurrence
# has two, $W_x$ and $W_h$. Attention makes two products of n² d each, scores and output. Count all of that:

# %%
d = 512
for n in (64, 4096):
    pairs = mine.layer_costs("self", n, d)["operations"]
    matrix = mine.layer_costs("rnn", n, d)["operations"]
    print(f"n = {n:4}: attention needs {(2 * pairs + 4 * matrix) / (2 * matrix):.1f} times the products of a recurrence")
    assert 2 * pairs + 4 * matrix > 2 * matrix

# %% [markdown]
# With its projections, attention never needs fewer. The table compares what is *between* positions. That is fair as a
# law of growth, and wrong as a bill. What attention buys with the extra products stands in the other two columns.

# %% [markdown]
# ## Steps that wait
#
# "Sequential" can be measured: PyTorch remembers which operation used the result of which. The longest chain from an
# output back to the input is what no amount of hardware shortens.


# %%
def chain(node, known):
    """Length of the longest chain of operations that end in this one."""
    if node not in known:
        before = [chain(other, known) for other, _ in node.next_functions if other is not None]
        known[node] = 1 + max(before, default=0)
    return known[node]


# %% tags=["experiment", "nbval-ignore-output"]
chains = {}
for name in ("RNN", "attention"):
    layer, shapes, _ = MODELS[name]
    p = start(shapes(H), [0])
    for n in (8, 16, 32):
        x = torch.zeros(1, 1, n, H, requires_grad=True)
        chains[name, n] = chain(layer(p, x)[0, 0, -1].sum().grad_fn, {})
    print(f"{name:9}", ", ".join(f"{n} positions: {chains[name, n]} operations" for n in (8, 16, 32)))
assert chains["attention", 8] == chains["attention", 32]
assert chains["RNN", 32] - chains["RNN", 16] == 2 * (chains["RNN", 16] - chains["RNN", 8]) > 0

# %% [markdown]
# The chain of the RNN grows by the same amount for each further position; that of attention does not grow.

# %% [markdown]
# ## Does reach decide what is learned?
#
# The claim is that recurrences fail at long range *because* gradients do not arrive, and that attention does not. A
# task that could refute it: the first of k + 1 symbols carries a flag; after k further symbols, name the flagged one.
# There are 8 symbols, so guessing scores 1/8. Every model sees the same number of symbols in the same number of
# updates, with three seeds.
#
# One more model joins: the same GRU, started with its gate at "keep". That changes its reach and nothing else. If reach
# decides, it must learn further than the plain GRU.

# %%
from functools import partial

KEPT = "GRU, started to keep"
MODELS[KEPT] = (partial(gru, keep=4.0), MODELS["GRU"][1], {"color": plots.COLOURS["output"], "marker": "^"})
DISTANCES, SYMBOLS, COPIES, STEPS = (4, 8, 16, 32, 64, 128), 8, 3, 300


# %%
def recall(rng, k, batch):
    """x (S, B, k+1, 9): a symbol as one of 8 ones, and the flag; y (S, B): the symbol under the flag, the first."""
    symbols = torch.from_numpy(rng.integers(SYMBOLS, size=(COPIES, batch, k + 1)))
    x = torch.nn.functional.one_hot(symbols, SYMBOLS + 1).float()
    x[:, :, 0, SYMBOLS] = 1
    return x, symbols[:, :, 0]


# %%
def answers(layer, p, x):
    return layer(p[:-1], x)[:, :, -1] @ p[-1]  # the last output alone, (S, B, h), to logits (S, B, 8)


# %%
def recall_loss(layer, p, batch):
    x, y = batch
    losses = torch.nn.functional.cross_entropy(answers(layer, p, x).flatten(0, 1), y.flatten(), reduction="none")
    return losses.unflatten(0, y.shape).mean(dim=1)  # (S,): one loss per seed


def accuracy(layer, p, k):
    x, y = recall(np.random.default_rng([9, k]), k, 400)
    return (answers(layer, p, x).argmax(dim=-1) == y).float().mean(dim=1).tolist()


# %% tags=["experiment"]
import time

from autograder.material.training import train


# %% tags=["experiment"]
def train_recall(name, k):
    """Accuracy of each seed, and milliseconds per update; 1024 symbols a seed in each."""
    layer, shapes, _ = MODELS[name]
    p = [part.requires_grad_() for part in start([*shapes(SYMBOLS + 1), (H, SYMBOLS)], range(COPIES))]
    batches = lambda rng: (recall(rng, k, 1024 // (k + 1)) for _ in range(STEPS))
    began = time.perf_counter()
    train(p, partial(recall_loss, layer), batches, steps=STEPS, lr=0.01, seed=k, label=f"{name}, {k} steps back")
    return accuracy(layer, p, k), 1000 * (time.perf_counter() - began) / STEPS


# %% tags=["experiment", "nbval-ignore-output"]
found = {}
for name in MODELS:
    for k in (16, 64, 128) if name == KEPT else DISTANCES:
        found[name, k] = train_recall(name, k)
    row = {k: np.round(found[name, k][0], 2).tolist() for k in DISTANCES if (name, k) in found}
    print(f"{name}: accuracy of three seeds by distance", row)

# %% tags=["experiment"]
scores = {key: np.array(accuracies) for key, (accuracies, _) in found.items()}
assert min(scores["attention", k].mean() for k in DISTANCES) > 0.9
assert scores["RNN", 4].min() > 0.9 and scores["GRU", 4].min() > 0.9
assert max(scores[name, k].mean() for name in ("RNN", "GRU") for k in (64, 128)) < 0.6
assert scores[KEPT, 64].mean() > scores["GRU", 64].mean() + 0.3
assert scores[KEPT, 128].mean() < scores["attention", 128].mean()
print("attention: above 0.9 on average at every distance")
print("RNN and GRU: above 0.9 at 4 steps, below 0.6 on average at 64 and 128")
print("GRU started to keep: far above the plain GRU at 64, behind attention at 128")

# %% tags=["experiment"]
reach[KEPT] = np.array([reach_of(KEPT, seed) for seed in SEEDS])
assert reach[KEPT][:, 64].min() > 1e6 * reach["GRU"][:, 64].max()


def draw_recall(left, right, name):
    """Reach before training, and accuracy after it: a line for the mean, a dot for each seed."""
    style, ks = MODELS[name][2], [k for k in DISTANCES if (name, k) in scores]
    left.loglog(DISTANCES, np.maximum(np.median(reach[name], axis=0)[list(DISTANCES)], 1e-30), label=name, **style)
    right.semilogx(ks, [scores[name, k].mean() for k in ks], **style)
    right.plot(ks, [scores[name, k] for k in ks], ".", color=style["color"], markersize=5)


# %% tags=["experiment"]
def label_recall(left, right):
    left.set(ylabel="gradient reach before training", ylim=(1e-16, 10))
    right.set(ylabel="recall accuracy after training", ylim=(0, 1.05))
    for ax in (left, right):
        ax.set_xlabel("distance (steps)")
        ax.set_xticks(DISTANCES, DISTANCES)
        ax.minorticks_off()
    right.axhline(1 / SYMBOLS, color=plots.COLOURS["data"], linewidth=0.8)
    right.text(4, 0.04, "guessing: 1/8", color="#555555", fontsize=9)
    left.legend(loc="lower left", fontsize=9)


# %% tags=["experiment"]
figure, panels = plt.subplots(1, 2, figsize=(10.5, 3.5), layout="constrained")
for name in MODELS:
    draw_recall(*panels, name)
label_recall(*panels)
alt = "Left, reach before training: attention and the GRU started to keep stay high at 128 steps, RNN and GRU fall steeply. "
plots.show(figure, alt + "Right, recall: attention near 1 everywhere, RNN and GRU only at few steps, the opened GRU further.")

# %% [markdown]
# Left, before training: how much of the flagged symbol reaches the end. Right, after it: who found the symbol (line:
# mean of three seeds, dots: each seed). Attention, level on the left, learns every distance. RNN and GRU learn the
# short ones; where their line falls, luck decides, and soon not even that. Opening one gate lifts the GRU from grey to
# pink in both panels.
#
# The pink point at 128 says the rest: the reach is there, and 300 updates did not make enough of it. Reach is needed;
# it is not all.

# %% [markdown]
# ## The time it takes
#
# Same symbols, same number of updates. The time per update, and then the layers alone on longer and longer sequences,
# with your two functions and with PyTorch's compiled RNN. One thread of a CPU.

# %% tags=["experiment", "nbval-ignore-output"]
for name in ("RNN", "GRU", "attention"):
    print(f"{name:9} ms per update:", ", ".join(f"{k} steps {found[name, k][1]:.0f}" for k in DISTANCES))


# %% tags=["experiment"]
def milliseconds(call):
    """The quickest of five runs."""
    began = []
    for _ in range(5):
        began.append(time.perf_counter())
        call()
        began[-1] = time.perf_counter() - began[-1]
    return 1000 * min(began)


# %% tags=["experiment"]
LENGTHS = 2 ** np.arange(5, 13)


# %% tags=["experiment"]
@torch.no_grad()
def times(d):
    """Milliseconds of rnn_forward, torch.nn.RNN and attention with its three projections, for every length: (8, 3)."""
    w = [torch.randn(d, d, generator=torch.Generator().manual_seed(i)) / math.sqrt(d) for i in range(5)]
    theirs, zeros = torch.nn.RNN(d, d, batch_first=True), torch.zeros(d)
    ours = lambda x: mine.rnn_forward(x, w[0], w[1], zeros)
    attend = lambda x: mine.batched_attention(*(x @ matrix for matrix in w[2:]))
    inputs = [torch.randn(1, n, d, generator=torch.Generator().manual_seed(0)) for n in LENGTHS.tolist()]
    return np.array([[milliseconds(partial(layer, x)) for layer in (ours, theirs, attend)] for x in inputs])


# %% tags=["experiment", "nbval-ignore-output"]
taken = {d: times(d) for d in (32, 64, 128)}
for d, table in taken.items():
    behind = np.log(table[:, 2] / table[:, 1])  # attention against torch.nn.RNN; 0 where they take the same time
    i = np.argmax(behind[1:] > 0)  # it falls behind between this length and the next
    measured = LENGTHS[i] * 2 ** (behind[i] / (behind[i] - behind[i + 1]))
    print(f"d = {d:3}: equal operations at n = {d}, equal time at about n = {measured:.0f}")

# %% tags=["experiment"]
LINES = (("rnn_forward", "other", "-"), ("torch.nn.RNN", "other", ":"), ("attention", "truth", "-"))


def draw_times(ax, d, table):
    for column, (name, colour, line) in enumerate(LINES):
        ax.loglog(LENGTHS, table[:, column], line, color=plots.COLOURS[colour], label=name)
    ax.axvline(d, color=plots.COLOURS["data"], linewidth=0.8)
    ax.text(d * 1.12, table.max() * 0.6, "n = d", color="#555555", fontsize=9)
    ax.set(title=f"d = {d}", xlabel="n, positions")


# %% tags=["experiment", "nbval-ignore-output"]
figure, axes = plt.subplots(1, 3, figsize=(11, 3.2), sharey=True, layout="constrained")
for ax, (d, table) in zip(axes, taken.items(), strict=True):
    draw_times(ax, d, table)
axes[0].set_ylabel("milliseconds")
axes[2].legend(loc="lower right", fontsize=9)
alt = "Time against n on log scales for d = 32, 64 and 128: both RNNs rise with slope 1, attention starts lower and rises "
plots.show(figure, alt + "more steeply; they meet at an n many times larger than d.")

# %% [markdown]
# Grey marks where the table has equal operations. The times meet further right: a recurrence of n small steps keeps
# even one core waiting, compiled or not, while attention hands it a few large products. Further right still, n² wins,
# and attention is the slower one.

# %% [markdown]
# ## What the measurement says, and what it does not
#
# It supports the claim: reach is lost exponentially in the plain recurrences, is level in attention, and moving it by
# one bias moves what is learned. It is not the whole story: at 16 steps the GRU's is the larger one of the two
# recurrences. Compare their accuracies there.

# %% tags=["experiment", "nbval-ignore-output"]
at_16 = {name: np.median(reach[name][:, 16]) for name in ("RNN", "GRU")}
for name, number in at_16.items():
    print(f"{name} at 16 steps: reach {number:.0e}, accuracy of the seeds {np.round(scores[name, 16], 2).tolist()}")
assert at_16["GRU"] > at_16["RNN"]

# %% [markdown]
# It says nothing about RNNs that train longer, start otherwise or clip their gradients, and the task suits attention:
# the flag can be found by content alone. Tang et al. 2018 measured translation models on agreement between distant
# subject and verb, and attention did *not* beat RNNs there; it was ahead at telling word senses apart. A short path
# makes a thing learnable, not learned.
#
# Often said: "attention is faster on GPUs, because it is parallel". No GPU was used here. What was measured is the
# reason, the chain of steps that wait.
#
# And it is parallel only while *reading*. A model that writes, writes word by word with attention too (notebook 18).

# %% [markdown]
# ## Where you will meet this
#
# | where | the line |
# |---|---|
# | PyTorch | `torch.nn.GRU(input_size, hidden_size, batch_first=True)`, `torch.nn.MultiheadAttention(…)` |
# | training an RNN | `torch.nn.utils.clip_grad_norm_(parameters, 1.0)`, against exploding gradients (Pascanu et al. 2013) |
# | BERT | one pass over all positions: path 1, in each of its layers |
# | Llama, vLLM | keys and values of all earlier words are kept in a cache that grows with n; the state of an RNN never grows |
#
# The two meet: without its softmax, causal attention can be computed as a recurrence with a state of d × d numbers
# (Katharopoulos et al. 2020; notebook 11).

# %% [markdown]
# ## 128 words later, answered
#
# Nine tenths, kept 128 times, is next to nothing: the first printed line said so, and the trained recurrences did. The
# gradient that would teach the network to keep *pan* shrinks by the same product, so it does not learn to keep it
# either, unless a gate makes the factor nearly 1. *Hot* looking at *pan* directly is one step at any distance.
#
# The work: n² d against n d². On 64 words at d = 512, comparing all pairs is less; on 4096, more.

# %% [markdown]
# ## To say to a colleague
#
# - In a recurrence a signal and its gradient pass through one factor per step; over k steps that is a power of k.
# - In self-attention every position is one step from every other, whatever the distance.
# - The price is n² d operations against n d²: equal at n = d, before constants.
# - A recurrence has n steps that wait for each other, attention has one; that decides the time long before the operations do.
# - A gate that starts at "keep" gives a recurrence much of its reach back.

# %% [markdown]
# ## In your own words
#
# ### Exercise · reflection_09 (8 min, ●●○)
#
# A colleague says: "Transformers replaced RNNs because attention remembers better and is cheaper." Explain what is
# right and wrong in that sentence. Say what path length does to a gradient, what each layer costs and when, and name
# one thing that the comparison in this notebook does not settle. Five to seven sentences.

# %%
### BEGIN SOLUTION
#: reflection_09 = """
#: """
reflection_09 = """
A plain recurrence carries what it knows through every step, and the gradient goes back the same way: one factor per
step, so over k steps it shrinks or grows exponentially, and what happened long ago is hardly ever learned. In
self-attention the path between any two positions is one step, so the gradient of a distant word is as large as that
of a near one. In that sense attention does remember better; but it is reach that counts, and a GRU whose gate starts
at "keep" learned far longer distances than the same GRU without.

Cheaper depends on the length. Attention needs n² d operations and a recurrence n d², so attention does less work only
where n is below d, and that is before its extra projections. What it saves is waiting: its steps do not depend on each
other, while a recurrence has n of them in a row, and so it took less time also where the operations were equal. The
recall task could be solved by finding a flag, and no GPU, no longer training and no language was tested; on agreement
over long distances Tang et al. found no advantage of attention over RNNs.
"""
### END SOLUTION

# %%
reflect("reflection_09", reflection_09)

# %% [markdown]
# ## Papers
#
# - Vaswani, Shazeer, Parmar, Uszkoreit, Jones, Gomez, Kaiser, Polosukhin 2017, *Attention Is All You Need*, section 4 and
#   table 1,
#   arXiv:1706.03762. The price list.
# - Elman 1990, *Finding Structure in Time*, Cognitive Science 14. The simple recurrent network.
# - Bengio, Simard, Frasconi 1994, *Learning Long-Term Dependencies with Gradient Descent is Difficult*, IEEE Transactions
#   on Neural
#   Networks 5. Hochreiter, Bengio, Frasconi, Schmidhuber 2001, *Gradient Flow in Recurrent Nets*.
# - Pascanu, Mikolov, Bengio 2013, *On the difficulty of training recurrent neural networks*, arXiv:1211.5063. Exploding,
#   and clipping.
# - Cho et al. 2014, *Learning Phrase Representations using RNN Encoder–Decoder*, arXiv:1406.1078. The GRU.
# - Tang, Müller, Rios, Sennrich 2018, *Why Self-Attention? A Targeted Evaluation of Neural Machine Translation
#   Architectures*,
#   arXiv:1808.08946.
# - Katharopoulos, Vyas, Pappas, Fleuret 2020, *Transformers are RNNs*, arXiv:2006.16236.
