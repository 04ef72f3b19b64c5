"""Notebook 06, the visible half: multi-head attention."""

from autograder.exercise import DIFFERENTIABLE, INPUTS_UNCHANGED, KEEPS_DTYPE, Check, Exercise, call_answer, take_answer

NOTEBOOK = "06_multi_head_attention"


def torch_mha(in_proj, out_proj, h, watched=False):
    """Build an nn.MultiheadAttention with given weights; the global random state stays as it is.

    in_proj:  (3·C, C) tensor, its in_proj_weight.
    out_proj: (C, C) tensor, its out_proj.weight.
    watched:  whether `call_and_watch` shall also say what became of the module.
    """
    import torch

    made = torch.nn.utils.skip_init(
        torch.nn.MultiheadAttention, in_proj.shape[1], h, bias=False, batch_first=True, dtype=in_proj.dtype
    )
    with torch.no_grad():
        made.in_proj_weight.copy_(in_proj)
        made.out_proj.weight.copy_(out_proj)
    made.watched = watched
    return made


def call_and_watch(answer, inputs, keywords):
    """Drive `from_torch_mha`; for a watched module also say whether its weights are as they were before the call."""
    (mha,) = inputs
    if not mha.watched:
        return call_answer(answer, inputs, keywords)
    before = {name: tensor.detach().clone() for name, tensor in mha.state_dict().items()}
    result = call_answer(answer, inputs, keywords)
    after = mha.state_dict()
    same = list(after) == list(before) and all(after[name].equal(before[name]) for name in before)
    return {"weights": result, "mha": "as it was" if same else "changed by the call"}


EXERCISES = (
    Exercise(
        id="batched_attention",
        kind="I",
        notebook=NOTEBOOK,
        minutes=12,
        difficulty=2,
        contract=(
            "batched_attention(q, k, v, mask=None) → (out, weights)\n"
            "q: (..., Tq, D) float tensor, k: (..., Tk, D), v: (..., Tk, Dv); ... is any number of leading axes\n"
            "mask: bool tensor, broadcastable to (..., Tq, Tk), True where query i may attend to key j; None is "
            "everywhere\n"
            "out: (..., Tq, Dv), weights: (..., Tq, Tk), in the dtype of the inputs, differentiable in q, k and v\n"
            "a query that may attend to nothing gets weights of 0, an output of 0 and gradients that are finite"
        ),
        section="Attention in torch",
        hints=(
            "Which axis is gone after q·k, and what does torch.softmax give for a row in which every score is −∞?",
            "scores = q times k with its last two axes swapped, divided by √D: (..., Tq, Tk). Where the mask is False, "
            "−∞. Softmax over the keys; then 0 wherever the mask is False, which also mends the rows of NaN. "
            "out = weights times v: (..., Tq, Dv).",
            "scores = scores.masked_fill(____, -math.inf)",
        ),
        checks=(
            Check("weights_and_output", 3, "softmax(q kᵀ / √D) over the keys, and these weights times v"),
            Check("leading_axes", 2, "the same for every batch item and head, however many leading axes there are"),
            Check("mask", 2, "weight 0 on masked keys, and every row summing to 1 over the keys that are left"),
            Check("mask_broadcasts", 1, "a mask with fewer or shorter axes applied along the missing ones"),
            Check("empty_rows", 1, "weights and output 0, not NaN, for a query that may attend to nothing"),
            Check("large_scores", 1, "finite and exact weights for scores as large as ±10000"),
            Check(DIFFERENTIABLE, 1, "results through which finite gradients flow to q, k and v"),
            Check(KEEPS_DTYPE, 1, "out and weights in the dtype of q, k and v"),
            Check(INPUTS_UNCHANGED, 1, "q, k, v and mask as they were before the call"),
        ),
        axes={
            "q": "... Tq D",
            "k": "... Tk D",
            "v": "... Tk Dv",
            "mask": "... Tq Tk",
            "out": "... Tq Dv",
            "weights": "... Tq Tk",
        },
        returns=("out", "weights"),
        library="torch",
    ),
    Exercise(
        id="split_heads",
        kind="I",
        notebook=NOTEBOOK,
        minutes=8,
        difficulty=2,
        contract=(
            "split_heads(x, h) → heads\n"
            "x: (B, T, C) float tensor, one vector of width C for every token\n"
            "h: how many heads\n"
            "heads: (B, h, T, C // h) in the dtype of x, differentiable in x; head n holds the n-th run of C // h "
            "neighbouring numbers of every token\n"
            "ValueError naming h and C if h does not divide C"
        ),
        section="Cutting vectors into heads",
        hints=(
            "Which of the four axes of the result must lie next to each other when the last axis of x is cut in two?",
            "Check that h divides C. Cut the last axis into (h, C // h): (B, T, h, D). Then swap the axes of tokens "
            "and heads: (B, h, T, D).",
            "return x.reshape(b, t, ____).transpose(1, 2)",
        ),
        checks=(
            Check("heads", 3, "in head n, the n-th run of C // h neighbouring numbers of every token"),
            Check("edge_sizes", 1, "the same for one head, for heads of width 1, one token, one sentence"),
            Check("refuses_uneven", 1, "a ValueError that names both numbers where h does not divide C"),
            Check(DIFFERENTIABLE, 1, "a result through which gradients flow to x"),
            Check(KEEPS_DTYPE, 1, "the dtype of x"),
            Check(INPUTS_UNCHANGED, 1, "x as it was before the call"),
        ),
        axes={"x": "B T C", "result": "B h T D"},
        library="torch",
    ),
    Exercise(
        id="merge_heads",
        kind="I",
        notebook=NOTEBOOK,
        minutes=5,
        difficulty=1,
        contract=(
            "merge_heads(x) → merged\n"
            "x: (B, h, T, D) float tensor, one vector of width D for every head and token\n"
            "merged: (B, T, h·D) in the dtype of x, differentiable in x; every token's pieces side by side, head 0 "
            "first"
        ),
        section="Cutting vectors into heads",
        hints=(
            "Which two axes of x must lie next to each other before they can become one?",
            "Undo split_heads backwards: swap heads and tokens, (B, T, h, D), and join the last two axes, (B, T, h·D).",
            "return x.transpose(____).reshape(b, t, h * d)",
        ),
        checks=(
            Check("merged", 3, "every token's pieces side by side, head 0 first"),
            Check("edge_sizes", 1, "the same for one head, for heads of width 1, one token, one sentence"),
            Check(DIFFERENTIABLE, 1, "a result through which gradients flow to x"),
            Check(KEEPS_DTYPE, 1, "the dtype of x"),
            Check(INPUTS_UNCHANGED, 1, "x as it was before the call"),
        ),
        axes={"x": "B h T D", "result": "B T h·D"},
        library="torch",
    ),
    Exercise(
        id="multi_head_attention",
        kind="I",
        notebook=NOTEBOOK,
        minutes=20,
        difficulty=3,
        contract=(
            "multi_head_attention(x_q, x_kv, w_q, w_k, w_v, w_o, h, mask=None) → (out, weights)\n"
            "x_q: (B, Tq, C) float tensor, the tokens that ask; x_kv: (B, Tk, C), the tokens that are read\n"
            "w_q, w_k, w_v: (C, h·D), head n in its n-th run of D columns; w_o: (h·D, C); h: how many heads\n"
            "mask: bool tensor, True where query i may attend to key j: (Tq, Tk) for all sentences and heads, "
            "(B, Tq, Tk) for all heads of a sentence, or 4-D, broadcastable to (B, h, Tq, Tk); None is everywhere\n"
            "out: (B, Tq, C), weights: (B, h, Tq, Tk), in the dtype of the inputs, differentiable in x_q, x_kv and "
            "the matrices\n"
            "scores may be as large as ±10000; a query that may attend to nothing gets weights of 0 and an output of 0"
        ),
        section="All heads at once",
        hints=(
            "How many numbers does the product of one query and one key of one head sum over?",
            "Project: three products. split_heads each: (B, h, T, D). A 3-D mask gets an axis of size 1 for heads. "
            "batched_attention does all heads at once: (B, h, Tq, D). merge_heads: (B, Tq, h·D). Times w_o.",
            "mask = mask.unsqueeze(____)  # where mask.ndim == 3",
        ),
        checks=(
            Check("weights_and_output", 3, "each head's softmax(q kᵀ / √D), and its averages joined, times w_o"),
            Check("free_width", 1, "the same where h·D is not C: D = w_q.shape[1] // h"),
            Check("mask_for_all", 1, "a mask (Tq, Tk) used for every sentence and every head"),
            Check("mask_per_sentence", 1, "a mask (B, Tq, Tk) used for all heads of its sentence"),
            Check("mask_per_head", 1, "a mask with four axes broadcast to (B, h, Tq, Tk)"),
            Check("empty_rows", 1, "weights and output 0, not NaN, for a query that may attend to nothing"),
            Check("large_scores", 1, "finite and exact weights for scores as large as ±10000"),
            Check(DIFFERENTIABLE, 1, "results through which gradients flow to x_q, x_kv and the four matrices"),
            Check(KEEPS_DTYPE, 1, "out and weights in the dtype of the inputs"),
            Check(INPUTS_UNCHANGED, 1, "all inputs as they were before the call"),
        ),
        axes={
            "x_q": "B Tq C",
            "x_kv": "B Tk C",
            "w_q": "C h·D",
            "w_k": "C h·D",
            "w_v": "C h·D",
            "w_o": "h·D C",
            "out": "B Tq C",
            "weights": "B h Tq Tk",
        },
        returns=("out", "weights"),
        library="torch",
    ),
    Exercise(
        id="from_torch_mha",
        kind="I",
        notebook=NOTEBOOK,
        minutes=8,
        difficulty=2,
        contract=(
            "from_torch_mha(mha) → weights\n"
            "mha: a torch.nn.MultiheadAttention(C, h, bias=False, batch_first=True), its keys and values of width C as "
            "well (kdim and vdim not given)\n"
            "weights: a dict with w_q, w_k, w_v and w_o, each (C, C) in the dtype of the module, for "
            "multi_head_attention"
        ),
        section="The same thing in PyTorch",
        hints=(
            "Which axis of mha.in_proj_weight has 3·C entries, and in which order do the three matrices follow there?",
            "in_proj_weight is (3·C, C): queries, keys, values, each (out, in). Take each third, transpose it to "
            "(in, out), and do the same with out_proj.weight.",
            'return {"w_q": mha.in_proj_weight[:c].T, "w_k": mha.in_proj_weight[____].T, …}',
        ),
        checks=(
            Check("weights", 3, "four matrices (in, out) with which multi_head_attention gives what mha gives"),
            Check("one_head", 1, "the same for a module with one head, and for widths of 1"),
            Check("module_unchanged", 1, "the module with the weights it had before the call"),
            Check(KEEPS_DTYPE, 1, "the dtype of the module"),
        ),
        axes={"w_q": "C C", "w_k": "C C", "w_v": "C C", "w_o": "C C"},
        library="torch",
        builders={"mha": torch_mha},
        call=call_and_watch,
    ),
    Exercise(
        id="parameters_vs_heads",
        kind="P",
        notebook=NOTEBOOK,
        minutes=1,
        difficulty=1,
        contract=(
            "parameters_vs_heads = parameters with h = 8 divided by parameters with h = 1, both of width C, D = C / h"
        ),
        section="What a head costs",
        hints=(
            "What is the shape of w_q for h heads of width C / h?",
            "Count the entries of the four matrices for h = 1, then for h = 8, and divide.",
            "parameters_vs_heads = ____",
        ),
        checks=(Check("prediction", 1, "the factor by which the number of parameters changes"),),
        call=take_answer,
    ),
    Exercise(
        id="reflection_06",
        kind="R",
        notebook=NOTEBOOK,
        minutes=8,
        difficulty=2,
        contract="reflection_06 = your answer, a few sentences",
        section="In your own words",
        hints=(
            "What does one head hand back when two tokens matter to it?",
            "Go from one average to what it loses, then to two heads, then to their widths and to too many of them.",
            "one head gives one ____, so …",
        ),
        checks=(
            Check("one_average", 1, "one head hands back one weighted average, in which which token was which is lost"),
            Check("several", 1, "each head has weights of its own; w_o keeps apart what each of them brings"),
            Check("cost", 1, "at fixed C more heads are narrower heads: no more parameters"),
            Check("limit", 1, "too many heads are too narrow to point, and more heads are not always better"),
        ),
        call=take_answer,
    ),
)
