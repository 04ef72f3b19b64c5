"""Notebook 13, the visible half: cross-attention, its keys and values computed once, and the layer around it."""

from autograder.exercise import DIFFERENTIABLE, INPUTS_UNCHANGED, KEEPS_DTYPE, Check, Exercise, take_answer

NOTEBOOK = "13_cross_attention"

EXERCISES = (
    Exercise(
        id="who_is_query",
        kind="P",
        notebook=NOTEBOOK,
        minutes=3,
        difficulty=1,
        contract=(
            "who_is_query = three pairs (where the queries come from, where keys and values come from), each "
            '"source" or "target": for the self-attention of the encoder, the self-attention of the decoder, and '
            "cross-attention, in this order"
        ),
        section="Two sequences, one function",
        hints=(
            "In each of the three, whose output vectors are being computed, and what are they averages of?",
            "Whoever needs to know asks: there is one output for each query. What is read supplies keys and values. "
            "Go through the three: who is computing, and what does it read?",
            'who_is_query = (("source", "source"), ("____", "____"), ("____", "____"))',
        ),
        checks=(Check("prediction", 1, "who asks and who is read, in each of the three"),),
        call=take_answer,
    ),
    Exercise(
        id="cross_attention",
        kind="I",
        notebook=NOTEBOOK,
        minutes=15,
        difficulty=2,
        contract=(
            "cross_attention(dec, enc, w_q, w_k, w_v, w_o, h, src_mask=None) → (out, weights)\n"
            "dec: (B, Tt, C) float tensor, the target's vectors; enc: (B, Ts, C), the source's\n"
            "w_q, w_k, w_v: (C, h·D), head n in its n-th run of D columns; w_o: (h·D, C); h: how many heads\n"
            "src_mask: (B, Ts) bool tensor, True at words of the source, False at padding; None is no padding\n"
            "out: (B, Tt, C), weights: (B, h, Tt, Ts), in the dtype of the inputs, differentiable in dec, enc and the "
            "matrices\n"
            "scores may be as large as ±10000; where a sentence has no source word at all, weights and output are 0"
        ),
        section="Two sequences, one function",
        hints=(
            "There is one row of out for each target word. Which of the three projections must come from the target?",
            "Queries from dec, keys and values from enc. What notebook 06 wrote does the rest: split into heads, "
            "attend, merge, w_o. The mask (B, Ts) is about keys and is the same for every head and query, so it needs "
            "axes of length 1 there: (B, 1, 1, Ts).",
            "return mine.multi_head_attention(dec, enc, w_q, w_k, w_v, w_o, h, mask)  # mask = src_mask[____]",
        ),
        checks=(
            Check(
                "weights_and_output",
                3,
                "each head's softmax(q kᵀ / √D) of target words over source words, and its averages joined, times w_o",
            ),
            Check("padding", 2, "weight 0 at padding of the source, every row summing to 1 over its words"),
            Check("free_width", 1, "the same where h·D is not C: D = w_q.shape[1] // h"),
            Check("no_source", 1, "weights and output 0, not NaN, for a sentence whose source is all padding"),
            Check("large_scores", 1, "finite and exact weights for scores as large as ±10000"),
            Check(DIFFERENTIABLE, 1, "results through which gradients flow to dec, enc and the four matrices"),
            Check(KEEPS_DTYPE, 1, "out and weights in the dtype of the inputs"),
            Check(INPUTS_UNCHANGED, 1, "all inputs as they were before the call"),
        ),
        axes={
            "dec": "B Tt C",
            "enc": "B Ts C",
            "w_q": "C h·D",
            "w_k": "C h·D",
            "w_v": "C h·D",
            "w_o": "h·D C",
            "src_mask": "B Ts",
            "out": "B Tt C",
            "weights": "B h Tt Ts",
        },
        returns=("out", "weights"),
        library="torch",
    ),
    Exercise(
        id="precompute_kv",
        kind="I",
        notebook=NOTEBOOK,
        minutes=5,
        difficulty=1,
        contract=(
            "precompute_kv(enc, w_k, w_v, h) → (k, v)\n"
            "enc: (B, Ts, C) float tensor, the source's vectors\n"
            "w_k, w_v: (C, h·D), head n in its n-th run of D columns; h: how many heads\n"
            "k, v: each (B, h, Ts, D) in the dtype of enc, differentiable in enc and the matrices"
        ),
        section="The source stands still",
        hints=(
            "Which two of the three projections have nothing to do with the target?",
            "Project enc with each of the two matrices, (B, Ts, h·D), and split each into heads, (B, h, Ts, D).",
            "return mine.split_heads(enc @ w_k, h), mine.split_heads(____, h)",
        ),
        checks=(
            Check("keys_and_values", 3, "enc @ w_k and enc @ w_v, each split into heads"),
            Check("free_width", 1, "the same where h·D is not C: D = w_k.shape[1] // h"),
            Check("edge_sizes", 1, "the same for one head, for heads of width 1, one source word, one sentence"),
            Check(DIFFERENTIABLE, 1, "results through which gradients flow to enc, w_k and w_v"),
            Check(KEEPS_DTYPE, 1, "k and v in the dtype of enc"),
            Check(INPUTS_UNCHANGED, 1, "all inputs as they were before the call"),
        ),
        axes={"enc": "B Ts C", "w_k": "C h·D", "w_v": "C h·D", "k": "B h Ts D", "v": "B h Ts D"},
        returns=("k", "v"),
        library="torch",
    ),
    Exercise(
        id="cross_attention_step",
        kind="I",
        notebook=NOTEBOOK,
        minutes=12,
        difficulty=2,
        contract=(
            "cross_attention_step(x_t, kv, w_q, w_o, h, src_mask=None) → out\n"
            "x_t: (B, 1, C) float tensor, the vector of the one target word that asks now\n"
            "kv: (k, v), a pair of tensors (B, h, Ts, D), as precompute_kv gives them\n"
            "w_q: (C, h·D), w_o: (h·D, C); h: how many heads\n"
            "src_mask: (B, Ts) bool tensor, True at words of the source, False at padding; None is no padding\n"
            "out: (B, 1, C), the row that cross_attention gives for this word; differentiable in x_t, k, v and the "
            "matrices\n"
            "scores may be as large as ±10000; where a sentence has no source word at all, the output is 0"
        ),
        section="The source stands still",
        hints=(
            "Of the three projections, two were made before. Which one is left to be made for each new word?",
            "q = split_heads of x_t @ w_q: (B, h, 1, D). Attend from q to k and v under the mask (B, 1, 1, Ts): (B, h, "
            "1, D). merge_heads: (B, 1, h·D). Times w_o. Only out is returned.",
            "out, _ = mine.batched_attention(mine.split_heads(____, h), *kv, mask)",
        ),
        checks=(
            Check("row_of_the_full_pass", 3, "the row that cross_attention gives for this word"),
            Check("padding", 2, "no share of padding in the source, sentence by sentence"),
            Check("free_width", 1, "the same where h·D is not C"),
            Check("no_source", 1, "output 0, not NaN, for a sentence whose source is all padding"),
            Check("large_scores", 1, "finite and exact results for scores as large as ±10000"),
            Check(DIFFERENTIABLE, 1, "a result through which gradients flow to x_t, k, v, w_q and w_o"),
            Check(KEEPS_DTYPE, 1, "out in the dtype of the inputs"),
            Check(INPUTS_UNCHANGED, 1, "all inputs as they were before the call, k and v above all"),
        ),
        axes={"x_t": "B 1 C", "w_q": "C h·D", "w_o": "h·D C", "src_mask": "B Ts", "result": "B 1 C"},
        library="torch",
    ),
    Exercise(
        id="t5_attention",
        kind="I",
        notebook=NOTEBOOK,
        minutes=8,
        difficulty=1,
        contract=(
            "t5_attention(q, k, v, bias) → out\n"
            "q: (B, H, Tq, D) float tensor; k, v: (B, H, Tk, D)\n"
            "bias: (H, Tq, Tk) float, added to the scores of every sentence; −∞ hides a pair, but never a whole row\n"
            "out: (B, H, Tq, D) in the dtype of the inputs, differentiable in q, k, v and bias\n"
            "no 1/√D: the scores are q kᵀ + bias; they may be as large as ±10000"
        ),
        section="T5: no scale, and a bias",
        hints=(
            "Write down one score, for one query and one key, as T5 has it: what is added, and what is not divided?",
            "scores = q times k with its last two axes swapped, (B, H, Tq, Tk), plus bias, (H, Tq, Tk), which "
            "broadcasts over the sentences. Softmax over the keys. Times v.",
            "return torch.softmax(q @ k.mT + ____, dim=-1) @ v",
        ),
        checks=(
            Check("bias_zero", 2, "with a bias of 0, as in T5's cross-attention: softmax(q kᵀ) v, without 1/√D"),
            Check("with_bias", 3, "softmax(q kᵀ + bias) v, with the head's own bias for every sentence"),
            Check("hidden_pairs", 1, "weight 0 where the bias is −∞, and every row summing to 1"),
            Check("large_scores", 1, "finite and exact results for scores as large as ±10000"),
            Check(DIFFERENTIABLE, 1, "a result through which gradients flow to q, k, v and bias"),
            Check(KEEPS_DTYPE, 1, "out in the dtype of the inputs"),
            Check(INPUTS_UNCHANGED, 1, "all four inputs as they were before the call"),
        ),
        axes={"q": "B H Tq D", "k": "B H Tk D", "v": "B H Tk D", "bias": "H Tq Tk", "result": "B H Tq D"},
        library="torch",
    ),
    Exercise(
        id="decoder_layer",
        kind="I",
        notebook=NOTEBOOK,
        minutes=25,
        difficulty=3,
        contract=(
            "decoder_layer(x, enc, p, h, norm, tgt_mask, src_mask) → out\n"
            "x: (B, Tt, C) float tensor, the target's vectors; enc: (B, Ts, C), the source's; h: how many heads\n"
            "p: a dict of tensors in the dtype of x: self_w_q, self_w_k, self_w_v, self_w_o, cross_w_q, cross_w_k, "
            "cross_w_v, cross_w_o, each (C, C), no biases; w1 (C, F), b1 (F,), w2 (F, C), b2 (C,); norm1_gamma, "
            "norm1_beta, norm2_gamma, norm2_beta, norm3_gamma, norm3_beta, each (C,)\n"
            'norm: "post" (BART) or "pre" (T5)\n'
            "tgt_mask: bool tensor, (Tt, Tt) or four axes that broadcast to (B, h, Tt, Tt), True = may attend\n"
            "src_mask: (B, Ts) bool tensor, True at words of the source\n"
            "out: (B, Tt, C), differentiable in x, enc and all of p\n"
            "self-attention with norm1, then cross-attention with norm2, then relu(y w1 + b1) w2 + b2 with norm3, each "
            "added to what went in; layer norm over C with the population variance and eps = 1e-5"
        ),
        section="The layer around it",
        hints=(
            "Three times the same pattern: x plus something made of x. What is normalised in it: the sum, or what goes "
            "into the something?",
            'One sublayer n: for "post" it is norm_n(x + f(x)), for "pre" it is x + f(norm_n(x)). Then three lines: '
            "f is self-attention under tgt_mask (the same y asks and is read), cross-attention to enc, "
            "and the feed-forward. enc is never normalised here.",
            'y = x if norm == "post" else layer_norm(x, 1)  # then x = x + ____, and for "post" the norm of this sum',
        ),
        checks=(
            Check("post_norm", 3, 'with "post": norm(x + f(x)) around each of the three'),
            Check(
                "pre_norm", 3, 'with "pre": x + f(norm(x)) around each of the three, enc as it is, no norm at the end'
            ),
            Check("target_masks", 2, "tgt_mask applied in self-attention alone, with two axes or with four"),
            Check("source_masks", 1, "src_mask applied in cross-attention alone, sentence by sentence"),
            Check("empty_rows", 1, "an attention that may read nothing adds 0, not NaN"),
            Check(DIFFERENTIABLE, 1, "a result through which gradients flow to x, enc and every tensor of p"),
            Check(KEEPS_DTYPE, 1, "out in the dtype of the inputs"),
            Check(INPUTS_UNCHANGED, 1, "x, enc, the masks and p as they were before the call"),
        ),
        axes={"x": "B Tt C", "enc": "B Ts C", "src_mask": "B Ts", "result": "B Tt C"},
        library="torch",
    ),
    Exercise(
        id="reflection_13",
        kind="R",
        notebook=NOTEBOOK,
        minutes=8,
        difficulty=2,
        contract="reflection_13 = your answer, a few sentences",
        section="In your own words",
        hints=(
            "Which of q, k and v change while a sentence is written, and which do not?",
            "Say who asks and who is read; then what can be kept from step to step, and why; then which mask belongs "
            "there and which does not.",
            "the queries come from ____, so at every step …; keys and values come from ____, so …",
        ),
        checks=(
            Check("roles", 1, "queries come from the target, keys and values from the source"),
            Check("once", 1, "the source does not change while the target is written, so k and v are computed once"),
            Check("masks", 1, "the source is known as a whole: its padding is hidden, its order is not"),
            Check("links", 1, "a head that points at the right word may have been trained to, and another may not"),
        ),
        call=take_answer,
    ),
)
