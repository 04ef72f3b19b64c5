"""Notebook 19, the visible half: the parts of the transformer, the transformer, how it learns, and how it writes."""

from autograder.exercise import (
    DIFFERENTIABLE,
    INPUTS_UNCHANGED,
    KEEPS_DTYPE,
    Check,
    Exercise,
    take_answer,
)

NOTEBOOK = "19_attention_is_all_you_need"
EXTRA_CALLS = 20  # a search that calls this often beyond k in every round will not stop by itself


def scripted_beams(tables, limit):
    """A decoder for tests: log-probabilities that depend on the round and on the last two tokens, and on nothing else.

    tables: (S, V, V, V) float; in round r, after the tokens a, b, they are tables[r % S, a, b].
    limit:  calls after which it refuses to go on.
    The state is (round, last token given) as a tensor of two numbers; it starts as (0, 0).
    """
    calls = 0

    def step(token, state):
        nonlocal calls
        calls += 1
        if calls > limit:
            raise RuntimeError(f"step was called {calls} times: the search does not stop")
        turn, before, token = int(state[0]), int(state[1]), int(token)
        # A new object each time, so that beams that share a state are seen.
        return tables[turn % len(tables), before, token].clone(), state.new_tensor([turn + 1, token])

    return step


EXERCISES = (
    Exercise(
        id="layer_norm",
        kind="I",
        notebook=NOTEBOOK,
        minutes=8,
        difficulty=1,
        contract=(
            "layer_norm(x, gamma, beta, eps=1e-5) → out\n"
            "x: (..., C) float tensor; gamma, beta: (C,) float tensors; eps: a number > 0\n"
            "out: (..., C) in the dtype of x: every vector of C numbers minus its mean, divided by √(variance + eps), "
            "times gamma, plus beta\n"
            "the variance is that of the C numbers themselves: the mean of the squared distances, over C and not C − 1"
        ),
        section="Add and normalise",
        hints=(
            "Of how many numbers is one mean taken, and how many means are there for x (B, T, C)?",
            "Mean over the last axis with keepdim, (..., 1). The variance is the mean of the squared differences. "
            "Divide the differences by √(variance + eps), times gamma, plus beta.",
            "variance = ((x - mean) ** 2).____(dim=-1, keepdim=True)",
        ),
        checks=(
            Check("normalised", 3, "each vector with mean 0 and variance 1, times gamma, plus beta"),
            Check("any_axes", 1, "the same for (C,), (T, C) and four axes: only the last axis is averaged over"),
            Check("eps", 1, "eps added to the variance, inside the root, whatever number it is"),
            Check("nothing_varies", 1, "beta for a vector whose numbers are all equal"),
            Check("far_from_zero", 1, "the same result for vectors with a large mean"),
            Check(DIFFERENTIABLE, 1, "a result through which gradients flow to x, gamma and beta"),
            Check(KEEPS_DTYPE, 1, "the dtype of x"),
            Check(INPUTS_UNCHANGED, 1, "x, gamma and beta as they were before the call"),
        ),
        axes={"x": "... C", "gamma": "C", "beta": "C", "result": "... C"},
        library="torch",
    ),
    Exercise(
        id="feed_forward",
        kind="I",
        notebook=NOTEBOOK,
        minutes=4,
        difficulty=1,
        contract=(
            "feed_forward(x, w1, b1, w2, b2) → out\n"
            "x: (..., C) float tensor; w1: (C, F), b1: (F,), w2: (F, C), b2: (C,)\n"
            "out: (..., C) in the dtype of x: relu(x w1 + b1) w2 + b2, the same for every token"
        ),
        section="A small network for every token",
        hints=(
            "Between the two products the vector has F numbers. What happens to the negative ones?",
            "x w1 + b1 is (..., F). Set what is negative to 0. Times w2 plus b2 is (..., C) again.",
            "return torch.____(x @ w1 + b1) @ w2 + b2",
        ),
        checks=(
            Check("network", 3, "relu(x w1 + b1) w2 + b2"),
            Check("sizes_of_one", 1, "the same for one token, one number, one hidden number, and any leading axes"),
            Check(DIFFERENTIABLE, 1, "a result through which gradients flow to x and the four parameters"),
            Check(KEEPS_DTYPE, 1, "the dtype of x"),
            Check(INPUTS_UNCHANGED, 1, "all inputs as they were before the call"),
        ),
        axes={"x": "... C", "w1": "C F", "b1": "F", "w2": "F C", "b2": "C", "result": "... C"},
        library="torch",
    ),
    Exercise(
        id="encoder_layer",
        kind="I",
        notebook=NOTEBOOK,
        minutes=12,
        difficulty=2,
        contract=(
            "encoder_layer(x, p, h, mask) → out\n"
            "x: (B, T, C) float tensor; h: how many heads\n"
            "p: a dict of tensors in the dtype of x: self_w_q, self_w_k, self_w_v, self_w_o, each (C, C), no biases; "
            "w1 (C, F), b1 (F,), w2 (F, C), b2 (C,); norm1_gamma, norm1_beta, norm2_gamma, norm2_beta, each (C,)\n"
            "mask: bool tensor, (T, T) or four axes that broadcast to (B, h, T, T), True = may attend\n"
            "out: (B, T, C), differentiable in x and all of p: y = norm1(x + attention(x)), out = norm2(y + "
            "feed_forward(y)), with eps = 1e-5 in both norms\n"
            "a token that may attend to nothing gets 0 from the attention, never NaN"
        ),
        section="One layer of the encoder",
        hints=(
            "How many times is something added to what went in, and where does the norm stand each time?",
            "Twice the same pattern, norm(x + f(x)): first f is self-attention with queries, keys and values from x, "
            "then the feed-forward network of what came out. Each norm has its own gamma and beta.",
            'y = layer_norm(x + ____, p["norm1_gamma"], p["norm1_beta"])',
        ),
        checks=(
            Check("layer", 4, "norm2(y + feed_forward(y)) of y = norm1(x + attention(x))"),
            Check("masks", 2, "mask applied to the keys of the attention, with two axes or with four"),
            Check("heads", 1, "the same for one head and for heads of width 1"),
            Check("empty_rows", 1, "an attention that may read nothing adds 0, not NaN"),
            Check(DIFFERENTIABLE, 1, "a result through which gradients flow to x and every tensor of p"),
            Check(KEEPS_DTYPE, 1, "out in the dtype of the inputs"),
            Check(INPUTS_UNCHANGED, 1, "x, p and mask as they were before the call"),
        ),
        axes={"x": "B T C", "result": "B T C"},
        library="torch",
    ),
    Exercise(
        id="transformer",
        kind="I",
        notebook=NOTEBOOK,
        minutes=25,
        difficulty=3,
        contract=(
            "transformer(src, tgt_in, p, h, src_mask, tgt_mask) → logits\n"
            "src: (B, Ts) int64, tgt_in: (B, Tt) int64, ids of one vocabulary; h: how many heads\n"
            "p: a dict: embedding (V, C) float32, for source, target and output; encoder and decoder, lists of dicts, "
            "one for each layer: those of encoder_layer, and those of decoder_layer (notebook 13)\n"
            "src_mask: (B, Ts) bool, True at words of the source; tgt_mask: bool, (Tt, Tt) or four axes that "
            "broadcast to (B, h, Tt, Tt), True = may attend\n"
            "logits: (B, Tt, V) float32, differentiable in all of p\n"
            "each side starts as embedding row · √C + sinusoidal encoding of the position, from 0, base 10000; "
            "post-norm layers in the order of the lists; every decoder layer reads the output of the last encoder "
            "layer; logits are products with the rows of embedding, as they are; nothing follows, no norm, no softmax"
        ),
        section="The whole",
        hints=(
            "Which of the two masks is about the source, and in which of the three kinds of attention is the source "
            "read?",
            "Embed both sides: rows of embedding times √C, plus sinusoidal_encoding(T, C). Run src through the encoder "
            "layers with the mask (B, 1, 1, Ts); run tgt_in through the decoder layers, each with the encoder's last "
            "output. The result (B, Tt, C) times embeddingᵀ.",
            'y = decoder_layer(y, ____, layer, h, "post", tgt_mask, src_mask)',
        ),
        checks=(
            Check("logits", 4, "the logits of one encoder and one decoder layer"),
            Check("layers", 2, "the same for several layers, also if one side has more of them"),
            Check("positions", 1, "each side's positions added, from 0, also to long sides and to words that repeat"),
            Check("source_mask", 2, "padding of the source read neither in the encoder nor in the decoder"),
            Check("target_mask", 2, "tgt_mask as it is given, in the decoder's self-attention alone"),
            Check(DIFFERENTIABLE, 1, "logits through which gradients flow to every tensor of p"),
            Check(KEEPS_DTYPE, 1, "float32, as p is"),
            Check(INPUTS_UNCHANGED, 1, "src, tgt_in, p and the masks as they were before the call"),
        ),
        axes={"src": "B Ts", "tgt_in": "B Tt", "src_mask": "B Ts", "result": "B Tt V"},
        library="torch",
    ),
    Exercise(
        id="noam_rate",
        kind="I",
        notebook=NOTEBOOK,
        minutes=6,
        difficulty=1,
        contract=(
            "noam_rate(step, d_model, warmup) → rate\n"
            "step: int from 1, which update this is; d_model: int, C; warmup: int from 1, steps for which the rate "
            "rises\n"
            "rate: a number, d_model^(−1/2) · min(step^(−1/2), step · warmup^(−3/2))"
        ),
        section="A rate that rises, then falls",
        hints=(
            "Of the two arguments of min, which one grows with step, and at which step are they equal?",
            "Two candidates: one over the root of step, and step times warmup to the power of −1.5. Take the smaller "
            "one and divide by the root of d_model.",
            "return d_model**-0.5 * min(step**-0.5, step * warmup**____)",
        ),
        checks=(
            Check("rises", 2, "a rate that grows in proportion to step until warmup"),
            Check("peak", 1, "the largest rate at step = warmup"),
            Check("falls", 2, "a rate that falls with the root of step after warmup"),
            Check("no_warmup", 1, "warmup = 1: the largest rate in the first step"),
        ),
        library="torch",
    ),
    Exercise(
        id="certain_model",
        kind="P",
        notebook=NOTEBOOK,
        minutes=2,
        difficulty=1,
        contract='certain_model = "zero", "small" or "infinite", the smoothed loss of a certain, right model',
        section="Not too sure",
        hints=(
            "Which logarithms does the smoothed loss take, beside that of the right word's probability?",
            "The target gives every word of the vocabulary a share. What is −log of a probability of 0?",
            'certain_model = "____"',
        ),
        checks=(Check("prediction", 1, "the loss where the right word has probability 1 and every other one 0"),),
        call=take_answer,
    ),
    Exercise(
        id="label_smoothed_loss",
        kind="I",
        notebook=NOTEBOOK,
        minutes=12,
        difficulty=2,
        contract=(
            "label_smoothed_loss(logits, y, eps, pad) → loss\n"
            "logits: (B, T, V) float tensor, before any softmax, as large as ±10000\n"
            "y: (B, T) int64, the right ids; pad: int, the id of positions that do not count\n"
            "eps: a number from 0 to below 1, the share of the target that is spread evenly over all V ids, the right "
            "one and pad included: the right id has 1 − eps + eps / V, every other one eps / V\n"
            "loss: a scalar in the dtype of logits, the mean over the positions with y ≠ pad of −Σ target · log "
            "softmax; 0.0 if there are none"
        ),
        section="Not too sure",
        hints=(
            "How many ids share eps, and which one gets 1 − eps on top of its share?",
            "log_softmax over V. The loss of a position is (1 − eps) · (−log p of y) + eps · (the mean of −log p over "
            "all V). Multiply by y ≠ pad, sum, and divide by how many those are, by 1 if there are none.",
            "each = -(1 - eps) * logs.gather(-1, y[..., None])[..., 0] - eps * logs.____(dim=-1)",
        ),
        checks=(
            Check(
                "smoothed", 3, "cross-entropy against 1 − eps + eps / V for the right id and eps / V for every other"
            ),
            Check("no_smoothing", 1, "plain cross-entropy for eps = 0"),
            Check("padding", 2, "a mean over the positions whose y is not pad, whatever number pad is"),
            Check("all_padding", 1, "0.0, not NaN, where every position is padding"),
            Check("large_logits", 1, "finite and exact for logits as large as ±10000"),
            Check(DIFFERENTIABLE, 1, "a loss through which the gradient flows to logits"),
            Check(KEEPS_DTYPE, 1, "the dtype of logits"),
            Check(INPUTS_UNCHANGED, 1, "logits and y as they were before the call"),
        ),
        axes={"logits": "B T V", "y": "B T"},
        library="torch",
    ),
    Exercise(
        id="beam_search",
        kind="I",
        notebook=NOTEBOOK,
        minutes=30,
        difficulty=3,
        contract=(
            "beam_search(step, state, bos, eos, k, max_len, alpha=0.6) → ids\n"
            "step: step(token, state) → (log-probabilities (V,), state): from one token, an int, and the state before "
            "it to the log-probabilities of the next token and the state after it\n"
            "state: the state before the first token; only step knows what it holds; one beam must not get another's\n"
            "bos, eos: ints; k: how many beams live on after a round, 1 or more, perhaps more than there are "
            "continuations\n"
            "max_len: int from 1, the most rounds; alpha: a number from 0, the power of the length rule\n"
            "each round: all continuations of the live beams are ranked by their total log-probability; those that "
            "end in eos are set aside as finished; the best k others live on\n"
            "ids: list of ints without bos and eos: the finished one with the largest total / ((5 + length) / "
            "6)^alpha, length counting its ids and eos; the live one with the largest total if none is finished"
        ),
        section="Looking further ahead",
        hints=(
            "What does a live beam have to carry, so that it can be continued without the others?",
            "A beam is (total, ids, state, last token). In each round every live beam gives V continuations; those "
            "with eos go to the finished ones with their final score, the rest are sorted by total, and k of them "
            "become live. After the last round: the best finished one, or the best live one if there is none.",
            "score = total / ((5 + ____) / 6) ** alpha  # of a beam that ends in eos",
        ),
        checks=(
            Check("looks_ahead", 4, "the sequence that is more probable in all; with k = 1 the best word at each step"),
            Check(
                "length_rule", 3, "among finished ones the best total / ((5 + length) / 6)^alpha, also for alpha = 0"
            ),
            Check("own_state", 2, "each beam continued from its own state and its own last token"),
            Check("max_len", 2, "at most max_len rounds; the best live sequence where none is finished by then"),
            Check("many_beams", 1, "the same with k larger than the number of continuations"),
            Check("any_ids", 1, "the same whatever numbers bos and eos have"),
        ),
        axes={},
        library="torch",
        builders={"scripted_beams": scripted_beams},
    ),
    Exercise(
        id="reflection_19",
        kind="R",
        notebook=NOTEBOOK,
        minutes=10,
        difficulty=2,
        contract="reflection_19 = your answer, a few sentences",
        section="In your own words",
        hints=(
            "Which numbers of this notebook would have looked the same if the model had been allowed to see the "
            "answer?",
            "Say what each part does by what was lost without it; what a low loss proves and what the probes add; and "
            "where the recurrent network was ahead.",
            "without ____ the model could not …; a low loss alone …",
        ),
        checks=(
            Check("parts", 1, "names what at least two parts do, by what the ablation lost without them"),
            Check("probe", 1, "a low loss proves little: a leak gives one too; the probe changes a later word"),
            Check("compared", 1, "the comparison with the recurrent model: what was equal, who was ahead, and on what"),
            Check("limits", 1, "longer sentences than in training: the positions were never met, and it shows"),
        ),
        call=take_answer,
    ),
)
