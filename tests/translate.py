"""Train a transformer that is made of my_attention alone, and let it translate; the course itself is not importable.

    PYTHONPATH=WORKSPACE python translate.py CORPUS.json UPDATES

CORPUS.json: {"train": [[source words, target words], …], "test": the same}. Attention, layers, masks, positions, loss,
schedule and search are the learner's; Adam, batches and the vocabulary are here. Post-LN, one layer on each side, as in
Vaswani et al. 2017. Prints translations and, last, the share of test sentences that are right to the last word.
"""

import importlib
import json
import math
import re
import sys
from pathlib import Path

import numpy as np
import torch

sys.modules["autograder"] = None  # whatever is imported from now on, it is not the course
my = importlib.import_module("my_attention")

PAD, BOS, EOS = 0, 1, 2
C, HIDDEN, HEADS, SIZE, WARMUP, EPS = 64, 128, 4, 32, 300, 0.1

torch.set_num_threads(1)
corpus = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
words = ["<pad>", "<bos>", "<eos>", *sorted({word for pair in corpus["train"] for side in pair for word in side})]
ids = {word: number for number, word in enumerate(words)}
train = [([ids[w] for w in source], [ids[w] for w in target] + [EOS]) for source, target in corpus["train"]]


def padded(rows):
    """(B, T) int64, rows filled up with PAD."""
    longest = max(map(len, rows))
    return torch.tensor([row + [PAD] * (longest - len(row)) for row in rows])


def parameters(rng):
    """The embedding and one layer on each side, in the form that my_attention.transformer documents."""

    def matrix(rows, columns):
        return (torch.randn(rows, columns, generator=rng) / math.sqrt(rows)).requires_grad_()

    def layer(*kinds):
        found = {f"{kind}_{name}": matrix(C, C) for kind in kinds for name in ("w_q", "w_k", "w_v", "w_o")}
        found |= {"w1": matrix(C, HIDDEN), "w2": matrix(HIDDEN, C)}
        found |= {name: torch.zeros(n, requires_grad=True) for name, n in (("b1", HIDDEN), ("b2", C))}
        for norm in range(1, len(kinds) + 2):
            found[f"norm{norm}_gamma"] = torch.ones(C, requires_grad=True)
            found[f"norm{norm}_beta"] = torch.zeros(C, requires_grad=True)
        return found

    embedding = (torch.randn(len(words), C, generator=rng) / math.sqrt(C)).requires_grad_()
    return {"embedding": embedding, "encoder": [layer("self")], "decoder": [layer("self", "cross")]}


def drawn(rng):
    """Batches of sentences of similar length without end."""
    while True:
        order = rng.permutation(len(train))
        pools = [order[first : first + 16 * SIZE] for first in range(0, len(order), 16 * SIZE)]
        ranked = [sorted(pool, key=lambda i: (len(train[i][1]), len(train[i][0]))) for pool in pools]
        groups = [pool[first : first + SIZE] for pool in ranked for first in range(0, len(pool), SIZE)]
        for number in rng.permutation(len(groups)):
            chosen = [train[i] for i in groups[number]]
            yield padded([source for source, _ in chosen]), padded([target for _, target in chosen])


def logits_of(p, source, given):
    return my.transformer(source, given, p, HEADS, source != PAD, my.causal_mask(given.shape[1]))


def written(p, source):
    """The words that beam search finds for one source sentence."""
    src = torch.tensor([[ids[word] for word in source]])

    def step(token, state):
        state = (*state, token)
        with torch.no_grad():
            return torch.log_softmax(logits_of(p, src, torch.tensor([state]))[0, -1], dim=-1), state

    return [words[i] for i in my.beam_search(step, (), BOS, EOS, 4, 24)]


def made_of(*names):
    """The modules of my_attention that some of its functions use, directly or through others."""
    found, new = set(), set(names)
    while new:
        found |= new
        sources = [Path(my.__file__).with_name(f"{name}.py").read_text(encoding="utf-8") for name in new]
        new = {used for source in sources for used in re.findall(r"\bmine\.(\w+)", source)} - found
    return found


p = parameters(torch.Generator().manual_seed(0))
layers = [
    p["embedding"],
    *(tensor for side in ("encoder", "decoder") for layer in p[side] for tensor in layer.values()),
]
adam = torch.optim.Adam(layers, lr=0.0)
batches = drawn(np.random.default_rng(0))
for update in range(1, int(sys.argv[2]) + 1):
    source, target = next(batches)
    given = torch.as_tensor(my.shift_right(target, BOS))
    loss = my.label_smoothed_loss(logits_of(p, source, given), target, EPS, PAD)
    adam.param_groups[0]["lr"] = 0.6 * float(my.noam_rate(update, C, WARMUP))
    adam.zero_grad()
    loss.backward()
    adam.step()

right = 0
for number, (source, wanted) in enumerate(corpus["test"]):
    found = written(p, source)
    right += found == wanted
    if number < 3:
        print(" ".join(source), "→", " ".join(found), "" if found == wanted else f"(wanted: {' '.join(wanted)})")
print(
    "made of",
    ", ".join(sorted(made_of("transformer", "label_smoothed_loss", "noam_rate", "beam_search", "shift_right"))),
)
print(f"exactly right: {right / len(corpus['test']):.3f} of {len(corpus['test'])} sentences it has not seen")
