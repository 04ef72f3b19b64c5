"""Notebook 16, the visible half: BERT's embeddings, self-attention and layer, how it corrupts a text, and its loss."""

import copy

import numpy as np

from autograder.exercise import DIFFERENTIABLE, INPUTS_UNCHANGED, KEEPS_DTYPE, Check, Exercise, call_answer, take_answer

NOTEBOOK = "16_bert_self_attention"
FEW, FEWER = 500, 12  # a text of no more ids is corrupted three times, or many
MANY = 300


def corrupt_often(answer, inputs, keywords):
    """Corrupt a text, and a short one more than once.

    A short text is corrupted again with a generator in the same state, and with one that has moved on; a very short one
    many times with the same generator, to count how many positions get a label.
    """
    before = copy.deepcopy(inputs)
    results = {"first": call_answer(answer, inputs, keywords)}
    if inputs[0].numel() <= FEWER:
        others = (call_answer(answer, (before[0].clone(), *before[1:]), keywords) for _ in range(MANY))
        results["labelled"] = [_labelled(result) for result in others]
    elif inputs[0].numel() <= FEW:
        moved = copy.deepcopy(before)
        results["again"] = call_answer(answer, before, keywords)
        moved[4].random(1000)
        results["later"] = call_answer(answer, moved, keywords)
    return results


def _labelled(result):
    """How many labels are not −100, or None if there are no labels to count."""
    try:
        return int((np.asarray(result[1]) != -100).sum())
    except (TypeError, ValueError, IndexError, KeyError):
        return None


EXERCISES = (
    Exercise(
        id="bert_embed",
        kind="I",
        notebook=NOTEBOOK,
        minutes=8,
        difficulty=1,
        contract=(
            "bert_embed(ids, type_ids, word, position, type_table, gamma, beta, eps=1e-12) → x\n"
            "ids: (B, T) int64, the numbers of the pieces; type_ids: (B, T) int64, 0 or 1, which text a piece is of\n"
            "word: (V, C) float, position: (P, C) with P ≥ T, type_table: (2, C), one row a piece, place or type\n"
            "gamma, beta: (C,) float, factor and summand of the layer norm; eps: what is added to the variance\n"
            "x: (B, T, C) in the dtype of word, differentiable: layer norm, over C, of the sum of the three rows"
        ),
        section="Three rows and a norm",
        hints=(
            "Three tables, three rows for every token: which number picks the row in each of them?",
            "word[ids] is (B, T, C); position[:T] is (T, C), the same for every sentence; type_table[type_ids] is "
            "(B, T, C). Add them. Then subtract the mean over C, divide by the root of the population variance over C "
            "plus eps, multiply by gamma, add beta.",
            "x = word[ids] + position[____] + type_table[type_ids]",
        ),
        checks=(
            Check("three_rows", 3, "layer norm over C of the piece's, the place's and the type's row together"),
            Check("types", 1, "each token the row of its own type"),
            Check("edge_sizes", 1, "the same for one sentence, for one token, and where all sizes are equal"),
            Check("eps", 1, "eps added to the variance, under the root, 1e-12 if it is not given"),
            Check(DIFFERENTIABLE, 1, "a result through which gradients flow to the tables, gamma and beta"),
            Check(KEEPS_DTYPE, 1, "the dtype of word"),
            Check(INPUTS_UNCHANGED, 1, "ids and tables as they were before the call"),
        ),
        axes={
            "ids": "B T",
            "type_ids": "B T",
            "word": "V C",
            "position": "P C",
            "type_table": "types C",
            "gamma": "C",
            "beta": "C",
            "result": "B T C",
        },
        library="torch",
    ),
    Exercise(
        id="bert_self_attention",
        kind="I",
        notebook=NOTEBOOK,
        minutes=15,
        difficulty=2,
        contract=(
            "bert_self_attention(x, p, h, attention_mask) → (out, weights)\n"
            "x: (B, T, C) float tensor; h: how many heads, D = C // h\n"
            'p: dict of one layer\'s tensors by their checkpoint names; used: "attention.self.query.weight" (C, C) as '
            '(out, in), "attention.self.query.bias" (C,), and the same of key and value\n'
            "attention_mask: (B, T) bool or int64, True or 1 where the token is real, False or 0 where it is padding\n"
            "out: (B, T, C), the heads side by side, before attention.output.dense; weights: (B, h, T, T)\n"
            "both in the dtype of x and differentiable; a sentence without a real token gets weights and output 0"
        ),
        section="The block, in the layout of a checkpoint",
        hints=(
            "A checkpoint keeps W as (out, in). On which side of x does it stand, and transposed or not?",
            "q = x Wᵀ + b, (B, T, C), and so for k and v. Cut each into h heads, (B, h, T, D). Scores over √D; where "
            "the *key* is padding, −∞, by a mask of shape (B, 1, 1, T); softmax over the keys. Weights times v, then "
            "the heads side by side again: (B, T, C).",
            'q = x @ p["attention.self.query.weight"].____ + p["attention.self.query.bias"]',
        ),
        checks=(
            Check("attention", 3, "every token attending to every token, before and after it, in h heads"),
            Check("padding", 2, "weight 0 on padded keys, and the rest of every row summing to 1"),
            Check("numbers_as_mask", 1, "the same for an attention_mask of 1 and 0"),
            Check("edge_sizes", 1, "the same for one head, heads of width 1, one token, and where sizes are equal"),
            Check("no_real_token", 1, "weights and output 0, not NaN, for a sentence that is all padding"),
            Check(DIFFERENTIABLE, 1, "results through which gradients flow to x and to the six tensors"),
            Check(KEEPS_DTYPE, 1, "the dtype of x"),
            Check(INPUTS_UNCHANGED, 1, "x, p and attention_mask as they were before the call"),
        ),
        axes={"x": "B T C", "attention_mask": "B T", "out": "B T C", "weights": "B h T T"},
        returns=("out", "weights"),
        library="torch",
    ),
    Exercise(
        id="bert_layer",
        kind="I",
        notebook=NOTEBOOK,
        minutes=12,
        difficulty=2,
        contract=(
            "bert_layer(x, p, h, attention_mask) → out\n"
            "x, p, h, attention_mask: as for bert_self_attention; p has all sixteen tensors of a layer:\n"
            '    "attention.output.dense", "intermediate.dense" and "output.dense", each with ".weight" (out, in) and '
            '".bias"\n'
            '    "attention.output.LayerNorm" and "output.LayerNorm", with ".weight" (C,), ".bias" (C,); eps is 1e-12\n'
            "out: (B, T, C) in the dtype of x, differentiable: layer norm after each residual sum, exact GELU"
        ),
        section="Around the attention",
        hints=(
            "Two sums, two norms: is the norm of the first sum taken before or after x is added?",
            "a = norm(x + dense(self-attention of x)), with the names of attention.output. Then f = intermediate.dense "
            "of a, (B, T, F), GELU, output.dense: (B, T, C); the result is norm(a + f), with the names of output.",
            "a = norm(____ + dense(attended))",
        ),
        checks=(
            Check("layer", 4, "norm(a + feed-forward(a)) with a = norm(x + dense(attention)), eps 1e-12, exact GELU"),
            Check("padding", 1, "real tokens that do not depend on what stands in the padding"),
            Check("edge_sizes", 1, "the same for one head, one token, and where all sizes are equal"),
            Check(DIFFERENTIABLE, 1, "a result through which gradients flow to x and to all sixteen tensors"),
            Check(KEEPS_DTYPE, 1, "the dtype of x"),
            Check(INPUTS_UNCHANGED, 1, "x, p and attention_mask as they were before the call"),
        ),
        axes={"x": "B T C", "attention_mask": "B T", "result": "B T C"},
        library="torch",
    ),
    Exercise(
        id="mlm_corrupt",
        kind="I",
        notebook=NOTEBOOK,
        minutes=12,
        difficulty=2,
        contract=(
            "mlm_corrupt(ids, special, vocab_size, mask_id, rng, p=0.15) → (inputs, labels)\n"
            "ids: (B, T) int64 tensor; special: a collection of ids that are never chosen; vocab_size: V; mask_id: the "
            "number of [MASK]\n"
            "rng: the numpy.random.Generator that draws everything\n"
            "p: each position whose id is not special is chosen with this probability, independently\n"
            "inputs: (B, T) int64; a chosen position holds mask_id in 80 % of cases, in 10 % an id drawn uniformly "
            "from all V, in 10 % its own; every other position its own\n"
            "labels: (B, T) int64, the original id where a position was chosen, −100 elsewhere"
        ),
        section="What it is asked: fill in the blanks",
        hints=(
            "Three things are drawn for a position: whether it is chosen, what becomes of it, and which word. Which of "
            "them does the label depend on?",
            "chosen = a random number below p, and not special: (B, T) bool. A second random number decides: below 0.8 "
            "mask_id, from 0.8 to 0.9 a draw of rng.integers(V), else as it was. labels = ids where chosen, −100 "
            "elsewhere. Work on a copy of ids.",
            "labels = torch.where(____, ids, -100)",
        ),
        checks=(
            Check("labels", 2, "the original id as label, and no change of the input where the label is −100"),
            Check(
                "chosen", 2, "each position chosen with probability p, 0.15 if not given, independently of the others"
            ),
            Check("specials", 1, "special ids neither labelled nor changed"),
            Check("eighty_ten_ten", 3, "of the chosen, 80 % mask_id, 10 % a random id, 10 % as they were"),
            Check("uniform", 1, "random ids from all V of the vocabulary, equally often, one draw a position"),
            Check("none_and_all", 1, "nothing chosen for p = 0, everything but special ids for p = 1"),
            Check("follows_rng", 1, "every number drawn from rng: a generator in the same state gives the same result"),
            Check(INPUTS_UNCHANGED, 1, "ids and special as they were before the call"),
        ),
        axes={"ids": "B T", "inputs": "B T", "labels": "B T"},
        returns=("inputs", "labels"),
        library="torch",
        call=corrupt_often,
    ),
    Exercise(
        id="mlm_loss",
        kind="I",
        notebook=NOTEBOOK,
        minutes=8,
        difficulty=1,
        contract=(
            "mlm_loss(logits, labels) → loss\n"
            "logits: (B, T, V) float tensor, as large as ±10000\n"
            "labels: (B, T) int64, an id from 0 to V − 1 where something is asked, −100 elsewhere\n"
            "loss: a scalar, differentiable in logits: the mean, over the labelled positions of the batch, of "
            "−log probability of the label; 0.0 if there are none"
        ),
        section="What it is asked: fill in the blanks",
        hints=(
            "How many numbers is the mean taken over: B · T of them, or fewer?",
            "Take the labelled rows: logits[labels != −100] is (n, V). log_softmax over V, and of each row the entry "
            "of its label. Minus their mean; with n = 0 there is no mean, so return 0.0 for it.",
            "asked = labels ____ -100",
        ),
        checks=(
            Check("mean", 3, "the mean of −log probability over the labelled positions of the whole batch"),
            Check("unlabelled", 1, "a loss that does not depend on logits where the label is −100"),
            Check("label_zero", 1, "a label of 0 counted like any other"),
            Check("no_labels", 1, "0.0, not NaN, if nothing is labelled"),
            Check("large_logits", 1, "finite and exact for logits as large as ±10000"),
            Check(DIFFERENTIABLE, 1, "a loss through which gradients flow to logits"),
            Check(INPUTS_UNCHANGED, 1, "logits and labels as they were before the call"),
        ),
        axes={"logits": "B T V", "labels": "B T"},
        library="torch",
    ),
    Exercise(
        id="reflection_16",
        kind="R",
        notebook=NOTEBOOK,
        minutes=8,
        difficulty=2,
        contract="reflection_16 = your answer, a few sentences",
        section="In your own words",
        hints=(
            "If every word sees every other, what stops a model from copying the word it is to predict?",
            "Say what a vector of BERT depends on and how that is seen; why next-word prediction needs a causal mask "
            "and the masked objective none; what is lost; why some chosen words are not replaced by [MASK].",
            "the vector of a word depends on ____, because …",
        ),
        checks=(
            Check(
                "both_sides", 1, "a vector depends on words before and after it: a later word changes an earlier one"
            ),
            Check(
                "blank",
                1,
                "what is asked is taken out of the input, so that nothing can be copied, with no causal mask",
            ),
            Check(
                "price",
                1,
                "a loss on few positions, or a [MASK] that use never shows, or no text written left to right",
            ),
            Check(
                "ten_ten", 1, "random and unchanged words keep the vectors of real words from being trusted, or useless"
            ),
        ),
        call=take_answer,
    ),
)
