"""Notebook 20, the second part of the visible half: shared keys and values, adapters, cache sizes, masks by rule."""

from autograder.exercise import DIFFERENTIABLE, INPUTS_UNCHANGED, KEEPS_DTYPE, Check, Exercise, call_answer, take_answer

NOTEBOOK = "20_attention_for_engineers"


def call_frozen(answer, inputs, keywords):
    """Drive an adapter: w comes without a gradient, as frozen weights do. inputs: (x, w, a, b, alpha)."""
    x, w, *others = inputs
    return call_answer(answer, (x, w.detach(), *others), keywords)


EXERCISES = (
    Exercise(
        id="bytes_of_a_token",
        kind="P",
        notebook=NOTEBOOK,
        minutes=3,
        difficulty=1,
        contract=(
            "bytes_of_a_token = how many bytes a cache grows by one more token of one text: 24 layers, 8 query heads "
            "that share one head of keys and values, width of a head 64, float32"
        ),
        section="What a cache holds",
        hints=(
            "Which vectors of a token are read again later, and how many of them does one layer make?",
            "One key and one value in each layer, 64 numbers each, since the 8 query heads share them; 4 bytes each.",
            "bytes_of_a_token = 24 * 2 * ____",
        ),
        checks=(Check("prediction", 1, "the bytes of all keys and values that one token adds"),),
        call=take_answer,
    ),
    Exercise(
        id="kv_cache_bytes",
        kind="I",
        notebook=NOTEBOOK,
        minutes=4,
        difficulty=1,
        contract=(
            "kv_cache_bytes(layers, h_kv, d, n, batch, bytes_per) → bytes\n"
            "layers: how many layers keep a cache; h_kv: heads of keys and values in each; d: width of one head\n"
            "n: tokens of one text, batch: texts; bytes_per: bytes of one number, 2 for float16\n"
            "bytes: int, exact, what the keys and the values of all of them take"
        ),
        section="What a cache holds",
        hints=(
            "How many numbers does one layer keep of one token?",
            "A key and a value of d numbers in each head of keys and values; then every layer, token and text, and "
            "the bytes of one number.",
            "return ____ * layers * h_kv * d * n * batch * bytes_per",
        ),
        checks=(
            Check("keys_and_values", 2, "the bytes of one layer's keys and values together"),
            Check("everything_held", 1, "every layer, head, token and text counted"),
            Check("exact", 1, "every digit right, also of counts that a float64 would round"),
        ),
    ),
    Exercise(
        id="grouped_query_attention",
        kind="I",
        notebook=NOTEBOOK,
        minutes=12,
        difficulty=2,
        contract=(
            "grouped_query_attention(q, k, v) → out\n"
            "q: (B, Hq, Tq, D) float tensor, k: (B, Hkv, Tk, D), v: (B, Hkv, Tk, Dv)\n"
            "out: (B, Hq, Tq, Dv) in the dtype of q: softmax(q kᵀ / √D) v, no mask; with groups of g = Hq / Hkv, the "
            "query heads 0 … g − 1 read head 0 of k and v, the next g head 1, and so on\n"
            "ValueError if Hkv does not divide Hq; scores may be as large as ±10000"
        ),
        section="Query heads that share",
        hints=(
            "Which head of keys do query heads 0, 1 and 2 read if nine query heads share three?",
            "Repeat every head of k and v g times in a row, so that there are Hq of them, (B, Hq, Tk, D); then "
            "ordinary attention. Before that, see whether Hkv divides Hq.",
            "k, v = (part.____(q.shape[1] // k.shape[1], dim=1) for part in (k, v))",
        ),
        checks=(
            Check("groups", 4, "neighbouring query heads share a head of keys and values"),
            Check("ends_of_the_scale", 2, "plain attention for Hkv = Hq; one head read by all for Hkv = 1"),
            Check("other_lengths", 1, "the same for a single query, a single key, and values of another width"),
            Check("refuses", 1, "a ValueError where Hkv does not divide Hq"),
            Check("large_scores", 1, "finite and exact for scores as large as ±10000"),
            Check(KEEPS_DTYPE, 1, "out in the dtype of the inputs"),
            Check(INPUTS_UNCHANGED, 1, "q, k and v as they were before the call"),
        ),
        axes={"q": "B Hq Tq D", "k": "B Hkv Tk D", "v": "B Hkv Tk Dv", "result": "B Hq Tq Dv"},
        library="torch",
    ),
    Exercise(
        id="first_to_move",
        kind="P",
        notebook=NOTEBOOK,
        minutes=3,
        difficulty=2,
        contract=(
            'first_to_move = a set drawn from {"a", "b"}: which of the two have a gradient other than 0 in the very '
            "first step, where b is still all 0 and a is random"
        ),
        section="A change of low rank",
        hints=(
            "By what is the gradient of a matrix multiplied on its way back through x A B?",
            "The result is x A B. The gradient of B takes x A; that of A takes B. One of the two is 0.",
            'first_to_move = {"____"}',
        ),
        checks=(Check("prediction", 1, "those with a gradient other than 0 at the start"),),
        call=take_answer,
    ),
    Exercise(
        id="lora_forward",
        kind="I",
        notebook=NOTEBOOK,
        minutes=8,
        difficulty=1,
        contract=(
            "lora_forward(x, w, a, b, alpha) → out\n"
            "x: (..., in) float tensor; w: (in, out), frozen; a: (in, r), b: (r, out), the adapter; alpha: a number\n"
            "out: (..., out) in the dtype of x: x w + (alpha / r) x a b, differentiable in x, a and b"
        ),
        section="A change of low rank",
        hints=(
            "Which of the four sizes in, out and r is r, and of which matrix can it be read?",
            "x w is (..., out). x a is (..., r), times b is (..., out) again; multiply that part alone by alpha / r, "
            "and add the two.",
            "return x @ w + (alpha / ____) * (x @ a @ b)",
        ),
        checks=(
            Check("adapted", 3, "x w plus alpha / r times x a b"),
            Check("ranks", 2, "the factor alpha / r for any rank, 1 included, and any alpha"),
            Check("untrained", 1, "x w alone where b is 0"),
            Check("any_axes", 1, "the same for one vector, (in,), and for more leading axes"),
            Check(DIFFERENTIABLE, 1, "a result through which gradients flow to x, a and b"),
            Check(KEEPS_DTYPE, 1, "out in the dtype of the inputs"),
            Check(INPUTS_UNCHANGED, 1, "x, w, a and b as they were before the call"),
        ),
        axes={"x": "... in", "w": "in out", "a": "in r", "b": "r out", "result": "... out"},
        library="torch",
        call=call_frozen,
    ),
    Exercise(
        id="design_mask",
        kind="I",
        notebook=NOTEBOOK,
        minutes=15,
        difficulty=3,
        contract=(
            "design_mask(rules, n) → mask\n"
            "rules: a dict with any of these; one that is missing restricts nothing\n"
            "    causal (bool), prefix (int), window (int ≥ 0 or None), sinks (int), documents (n ids, ints in a list "
            "or tensor, in any order, not all different)\n"
            "n: how many tokens\n"
            "mask: bool (n, n), True where query i may read key j, which is where all three hold:\n"
            "    documents[i] == documents[j]; if causal, j ≤ i or j < prefix; "
            "if there is a window, |i − j| ≤ window or j < sinks"
        ),
        section="Masks from written rules",
        hints=(
            "Is a sink that stands in another document read, and a sink that comes later than its query?",
            "Rows i = torch.arange(n)[:, None], columns j = torch.arange(n). Start from all True, and for each of the "
            "three rules that is given: mask = mask & (…). An exception belongs inside the rule it softens.",
            'mask = mask & (((i - j).abs() <= rules["window"]) | ____)',
        ),
        checks=(
            Check("order", 2, "causal, and the prefix that all may read"),
            Check("nearness", 2, "the window on both sides, and the sinks beyond it"),
            Check("documents", 2, "tokens of the same id alone, wherever they stand"),
            Check("together", 3, "all rules that are given at once: a key has to satisfy each"),
            Check("absent", 1, "nothing hidden by a rule that is missing, False or None; a window of 0 is a window"),
            Check(INPUTS_UNCHANGED, 1, "rules as they were before the call"),
        ),
        axes={"result": "n n"},
        library="torch",
    ),
    Exercise(
        id="reflection_20",
        kind="R",
        notebook=NOTEBOOK,
        minutes=10,
        difficulty=2,
        contract="reflection_20 = your answer, a few sentences",
        section="In your own words",
        hints=(
            "A low loss can have two causes. Which one would you rule out first?",
            "Go through what must not change: later tokens, padding, other documents, the cache against the full pass; "
            "then what each of the three savings costs.",
            "before I believe the loss I test that ____ does not change ____",
        ),
        checks=(
            Check("invariants", 1, "what must not move is tested, at every place: later tokens, padding, documents"),
            Check("agreement", 1, "the fast path is held against the full one: cache and mask, merged and unmerged"),
            Check("costs", 1, "what is saved and what it may cost: shared heads, low rank, a window"),
            Check("measure", 1, "the loss is held against a floor or a baseline, on more than one seed"),
        ),
        call=take_answer,
    ),
)
