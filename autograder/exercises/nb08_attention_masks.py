"""Notebook 08, the visible half: masks for padding and for order, the softmax under a mask, other libraries' masks."""

from autograder.exercise import DIFFERENTIABLE, INPUTS_UNCHANGED, KEEPS_DTYPE, Check, Exercise, take_answer

NOTEBOOK = "08_attention_masks"

EXERCISES = (
    Exercise(
        id="padding_mask",
        kind="I",
        notebook=NOTEBOOK,
        minutes=8,
        difficulty=1,
        contract=(
            "padding_mask(lengths, n) → mask\n"
            "lengths: (B,) int64, how many real tokens each sentence has, 0 to n; they stand first\n"
            "n: the length to which every sentence is padded, a number\n"
            "mask: bool (B, 1, 1, n), True where the key is a real token; all False for length 0"
        ),
        section="A mask is about keys",
        hints=(
            "Position j of sentence b is real if j is smaller than what?",
            "The positions 0 … n − 1 are torch.arange(n), (n,). Compare them with lengths as a column, (B, 1): (B, n). "
            "Then put in two axes of length 1 for heads and queries: (B, 1, 1, n).",
            "real = torch.arange(n) < lengths[:, ____]  # (B, n); then the two axes of length 1",
        ),
        checks=(
            Check("real_tokens", 2, "True at the first lengths[b] keys of sentence b, False at the rest"),
            Check("full_and_empty", 1, "all True for a sentence of length n, all False for one of length 0"),
            Check("one_sentence", 1, "the same for a single sentence and for a single position"),
            Check(INPUTS_UNCHANGED, 1, "lengths as they were before the call"),
        ),
        axes={"lengths": "B", "result": "B 1 1 n"},
        library="torch",
    ),
    Exercise(
        id="causal_mask",
        kind="I",
        notebook=NOTEBOOK,
        minutes=10,
        difficulty=2,
        contract=(
            "causal_mask(n_q, n_k=None) → mask\n"
            "n_q, n_k: how many queries and keys there are, numbers; n_k=None means as many keys as queries\n"
            "mask: bool (n_q, n_k), True where the key is not later than the query\n"
            "aligned bottom-right: the last query sees every key, the one before it every key but the last, and so on; "
            "with n_q > n_k the first rows are empty"
        ),
        section="No looking ahead",
        hints=(
            "The last query stands at the place of the last key. At the place of which key does query i stand, then?",
            "Query i stands at key i + (n_k − n_q), and sees the keys j up to that one. Compare a column of query "
            "places, (n_q, 1), with a row of keys, (n_k,): (n_q, n_k).",
            "return torch.ones(n_q, n_k, dtype=torch.bool).tril(diagonal=____)",
        ),
        checks=(
            Check("square", 2, "with as many keys as queries, query i sees the keys 0 … i"),
            Check("more_keys", 2, "with more keys than queries, the last query sees every key"),
            Check("more_queries", 1, "with more queries than keys, the last query sees every key, the first ones none"),
            Check("small", 1, "the same for one or two queries or keys"),
        ),
        axes={"result": "n_q n_k"},
        library="torch",
    ),
    Exercise(
        id="empty_rows",
        kind="P",
        notebook=NOTEBOOK,
        minutes=2,
        difficulty=1,
        contract=(
            'empty_rows = two words, each "zero", "even" or "nan": what four weights are if all four scores were '
            "replaced, first by −1e9, then by −∞"
        ),
        section="A row with nothing in it",
        hints=(
            "The softmax subtracts the largest score of the row. What is left of four equal scores?",
            "Do both rows by hand: subtract the maximum, take exp, divide by the sum. What is −∞ − (−∞)?",
            'empty_rows = ("____", "____")',
        ),
        checks=(Check("prediction", 1, "what torch.softmax gives for four scores of −1e9, and for four of −∞"),),
        call=take_answer,
    ),
    Exercise(
        id="masked_softmax",
        kind="I",
        notebook=NOTEBOOK,
        minutes=15,
        difficulty=2,
        contract=(
            "masked_softmax(scores, mask) → weights\n"
            "scores: (..., Tq, Tk) float16, float32 or float64, as large as ±10000\n"
            "mask: bool, broadcastable to scores, True where the query may attend to the key\n"
            "weights: (..., Tq, Tk) in the dtype of scores, the softmax over the keys that are left\n"
            "a query that may attend to nothing gets weights of 0; gradients flow to scores, and are never NaN"
        ),
        section="A row with nothing in it",
        hints=(
            "Which number must stand in place of a hidden score, so that its exponential is 0 in every dtype?",
            "Replace hidden scores by −∞. A row is empty where mask.any(dim=-1, keepdim=True) is False: put 0 into "
            "such rows before the softmax over the last axis, so that no NaN is ever made, and 0 into their weights "
            "after it.",
            "scores = scores.masked_fill(~mask, ____)",
        ),
        checks=(
            Check("weights", 3, "softmax over the keys that are left: hidden ones 0, every row summing to 1"),
            Check("mask_broadcasts", 2, "a mask with fewer or shorter axes applied along the missing ones"),
            Check("empty_rows", 2, "weights of 0, not NaN, for a query that may attend to nothing"),
            Check("large_scores", 1, "finite and exact weights for scores as large as ±10000, hidden or not"),
            Check("half_precision", 1, "the same in float16, empty rows included"),
            Check(KEEPS_DTYPE, 1, "weights in the dtype of scores"),
            Check(DIFFERENTIABLE, 1, "weights through which gradients flow to scores, never NaN"),
            Check(INPUTS_UNCHANGED, 1, "scores and mask as they were before the call"),
        ),
        axes={"scores": "... Tq Tk", "mask": "... Tq Tk", "result": "... Tq Tk"},
        library="torch",
    ),
    Exercise(
        id="convert_mask",
        kind="I",
        notebook=NOTEBOOK,
        minutes=8,
        difficulty=1,
        contract=(
            "convert_mask(keep, to) → mask\n"
            "keep: bool of any shape, True = may attend\n"
            'to: "additive" gives float32, 0 where keep is True and −∞ where it is False, to be added to the scores\n'
            '    "torch_key_padding" gives bool, True = ignore, for a keep of shape (B, n)\n'
            '    "torch_sdpa" gives bool, True = attend\n'
            "    any other value raises ValueError\n"
            "mask: the same shape as keep"
        ),
        section="One mask, three dialects",
        hints=(
            "Of the three, which one is keep itself, and which its opposite?",
            "Three cases and one error. For the additive form choose between two numbers where keep is True and where "
            "it is False; do not multiply by −∞, since 0 · −∞ is NaN.",
            'if to == "additive": return torch.zeros(keep.shape).masked_fill(____, -math.inf)',
        ),
        checks=(
            Check("additive", 2, "0 where keep is True, −∞ where it is False"),
            Check("torch_key_padding", 1, "bool, True = ignore"),
            Check("torch_sdpa", 1, "bool, True = attend"),
            Check("other_names", 1, "a ValueError for any other name"),
            Check(KEEPS_DTYPE, 1, "float32 for the additive mask"),
            Check(INPUTS_UNCHANGED, 1, "keep as it was before the call"),
        ),
        library="torch",
    ),
    Exercise(
        id="repaired_batch",
        kind="B",
        notebook=NOTEBOOK,
        minutes=12,
        difficulty=2,
        contract=(
            "repaired_batch(hidden, lengths, w_q, w_k, w_v) → pooled\n"
            "hidden: (B, T, C) float, the tokens of B sentences; in the padding stand any numbers up to ±1000\n"
            "lengths: (B,) int64, how many real tokens each sentence has, 0 to T; they stand first\n"
            "w_q, w_k: (C, D) float, w_v: (C, Dv) float\n"
            "pooled: (B, Dv) in the dtype of hidden: scaled self-attention among the real tokens of a sentence, then "
            "the mean of their outputs; 0 for a sentence of length 0"
        ),
        section="Which batch am I in?",
        hints=(
            "Two steps mix tokens: the average over keys, and the mean over tokens. In which of them is padding still?",
            "Hide the keys that are padding before the softmax: real as (B, 1, T), not (B, T, 1). Then sum the outputs "
            "of real queries, (B, Dv), and divide by how many there are, 1 where there are none.",
            "weights = masked_softmax(scores, real[____])  # and look once more at the mean",
        ),
        checks=(
            Check(
                "real_tokens_only",
                3,
                "the mean, over the real tokens, of attention among them, however large the scores",
            ),
            Check("longer_padding", 2, "the same answer however far the batch is padded, and with what"),
            Check("no_tokens", 1, "0, not NaN, for a sentence of length 0"),
            Check("full_sentences", 1, "where nothing is padding, plain attention and a plain mean, as before"),
            Check(KEEPS_DTYPE, 1, "the dtype of hidden"),
            Check(INPUTS_UNCHANGED, 1, "all five inputs as they were before the call"),
        ),
        axes={
            "hidden": "B T C",
            "lengths": "B",
            "w_q": "C D",
            "w_k": "C D",
            "w_v": "C Dv",
            "result": "B Dv",
        },
        library="torch",
    ),
    Exercise(
        id="reflection_08",
        kind="R",
        notebook=NOTEBOOK,
        minutes=8,
        difficulty=2,
        contract="reflection_08 = your answer, a few sentences",
        section="In your own words",
        hints=(
            "A padded position is a key for others and a query itself: which of the two does harm?",
            "Go through the line of attention: scores, mask, softmax, weights, output. Say what is hidden, where, with "
            "which number, and what happens to the rest of the row and to a row that is left empty.",
            "a mask replaces ____ by −∞, before ____, so that …",
        ),
        checks=(
            Check("keys", 1, "the mask hides keys: a padded key leaks into real queries, a padded query harms nobody"),
            Check("before", 1, "hidden scores become −∞ before the softmax, so that the other weights sum to 1"),
            Check("not_zero", 1, "a score of 0, or a vector of zeros, still takes a share, since exp(0) = 1"),
            Check("empty", 1, "a row without keys is 0 / 0 and needs a decision, here weights of 0"),
        ),
        call=take_answer,
    ),
)
