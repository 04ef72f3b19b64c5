"""Notebook 17, the visible half: scores for what a head does, heads switched off, heads cut out."""

from autograder.exercise import INPUTS_UNCHANGED, KEEPS_DTYPE, Check, Exercise, take_answer

NOTEBOOK = "17_head_specialisation"

EXERCISES = (
    Exercise(
        id="offset_score",
        kind="I",
        notebook=NOTEBOOK,
        minutes=8,
        difficulty=1,
        contract=(
            "offset_score(weights, offset) → score\n"
            "weights: (h, n, n) float, weights[m, i, j] is how much token i takes from token j in head m\n"
            "offset: int, |offset| < n; −1 is the token before, 1 the one after, 0 the token itself\n"
            "score: (h,) in the dtype of weights, the mean weight from token i on token i + offset; a row i without "
            "such a token is left out of the mean"
        ),
        section="A role is a number",
        hints=(
            "For offset −1 and four tokens: which entries of the map are wanted, and how many are there?",
            "They lie on one diagonal of each head's map, n − |offset| of them, in row i and column i + offset. Take "
            "that diagonal of all heads, (h, n − |offset|), and its mean over the last axis, (h,).",
            "return weights.diagonal(____, dim1=1, dim2=2).mean(dim=-1)",
        ),
        checks=(
            Check(
                "later", 2, "for a positive offset, the mean of weights[m, i, i + offset] over the rows that have it"
            ),
            Check("earlier", 2, "the same for a negative offset, which names an earlier token"),
            Check("edges", 1, "the same for offset 0, for ±(n − 1), where one row is left, and for one head or token"),
            Check(KEEPS_DTYPE, 1, "the dtype of weights"),
            Check(INPUTS_UNCHANGED, 1, "weights as they were before the call"),
        ),
        axes={"weights": "h n n", "result": "h"},
        library="torch",
    ),
    Exercise(
        id="link_accuracy",
        kind="I",
        notebook=NOTEBOOK,
        minutes=15,
        difficulty=3,
        contract=(
            "link_accuracy(weights, links) → accuracy\n"
            "weights: (h, n, n) float, weights[m, i, j] is how much word i takes from word j in head m; n ≥ 2\n"
            "links: dict {dependent: head word} of int, places in the sentence; at least one, none to itself\n"
            "accuracy: (h,) float, any float dtype; for each head the larger of two shares of the dependents d:\n"
            "    along the row: of all words but d, its head word has the largest weights[m, d, j]\n"
            "    along the column: of all words but d, its head word has the largest weights[m, j, d]"
        ),
        section="Does it know grammar?",
        hints=(
            "A head that puts most weight of every word on the word itself: what does the argmax of a row say then?",
            "Hide the diagonal with −∞ in a copy. The argmax over keys gives a guess for every row, (h, n); the argmax "
            "over queries one for every column, (h, n). Compare both with the head words at the dependents, take the "
            "mean over the dependents, (h,) twice, and then the larger.",
            "return torch.maximum((rows[:, dependents] == heads).float().mean(dim=1), ____)",
        ),
        checks=(
            Check("better_of_two", 3, "for each head the larger share, along the dependents' rows or their columns"),
            Check("rows", 1, "the share along the rows, for heads in which the dependent looks at its head word"),
            Check("columns", 1, "the share along the columns, for heads in which the head word looks at its dependent"),
            Check("others_only", 2, "the same where words put most weight on themselves: the dependent does not count"),
            Check("small", 1, "the same for one link, one head, and two words"),
            Check(INPUTS_UNCHANGED, 1, "weights and links as they were before the call"),
        ),
        axes={"weights": "h n n", "result": "h"},
        library="torch",
    ),
    Exercise(
        id="same_map_same_head",
        kind="P",
        notebook=NOTEBOOK,
        minutes=1,
        difficulty=1,
        contract=(
            "same_map_same_head = True or False: if two heads have the same attention map on every sentence, can one "
            "take the place of the other without a change of the output?"
        ),
        section="Same map, same head?",
        hints=(
            "Which of a head's matrices does the map depend on?",
            "Write down what a head adds to the output: map, times values, times its rows of w_o. Which of these are "
            "the same for both heads?",
            "same_map_same_head = ____",
        ),
        checks=(Check("prediction", 1, "whether equal maps make two heads interchangeable"),),
        call=take_answer,
    ),
    Exercise(
        id="ablate_heads",
        kind="I",
        notebook=NOTEBOOK,
        minutes=12,
        difficulty=2,
        contract=(
            "ablate_heads(x, w_q, w_k, w_v, w_o, h, heads) → out\n"
            "x: (B, T, C) float; every token attends to every token of its sentence\n"
            "w_q, w_k, w_v: (C, h·D), head m in its m-th run of D columns; w_o: (h·D, C); D = w_q.shape[1] // h\n"
            "heads: list of int, the heads to switch off, each once, in any order; it may be empty\n"
            "out: (B, T, C) in the dtype of x, multi-head attention in which the outputs of these heads are 0 before "
            "w_o"
        ),
        section="Switch it off",
        hints=(
            "After the heads are joined, which of the h·D numbers of a token come from head m?",
            "Project, split, attend: the outputs of all heads are (B, h, T, D). Write 0 into the named heads, merge, "
            "(B, T, h·D), and multiply by w_o.",
            "out[:, ____] = 0.0  # out (B, h, T, D), before mine.merge_heads(out) @ w_o",
        ),
        checks=(
            Check("switched_off", 3, "the sum, over the heads that are left, of their outputs times their rows of w_o"),
            Check("several", 1, "the same for several heads, in any order"),
            Check("none_and_all", 1, "the whole attention for an empty list; 0 where every head is named"),
            Check("free_width", 1, "the same where h·D is not C: D = w_q.shape[1] // h"),
            Check(KEEPS_DTYPE, 1, "the dtype of x"),
            Check(INPUTS_UNCHANGED, 1, "x, the four matrices and the list as they were before the call"),
        ),
        axes={
            "x": "B T C",
            "w_q": "C h·D",
            "w_k": "C h·D",
            "w_v": "C h·D",
            "w_o": "h·D C",
            "result": "B T C",
        },
        library="torch",
    ),
    Exercise(
        id="prune_heads",
        kind="I",
        notebook=NOTEBOOK,
        minutes=12,
        difficulty=2,
        contract=(
            "prune_heads(w_q, w_k, w_v, w_o, h, keep) → (w_q, w_k, w_v, w_o)\n"
            "w_q, w_k, w_v: (C, h·D), head m in its m-th run of D columns; w_o: (h·D, C); D = w_q.shape[1] // h\n"
            "keep: list of int, the heads that stay, each once, in any order; at least one\n"
            "result: three matrices (C, k·D) and one (k·D, C) with k = len(keep), in the dtype given; with k heads, "
            "multi_head_attention gives with them what ablate_heads gives when all other heads are switched off\n"
            "the heads that stay may stand in any order, the same in all four matrices"
        ),
        section="Cut it out",
        hints=(
            "Head m owns D columns of w_q. Which part of w_o does it own, columns or rows?",
            "Make a list of the places m·D … m·D + D − 1 for every m in keep: k·D numbers. Take these columns of w_q, "
            "w_k and w_v, and these rows of w_o.",
            "return w_q[:, own], w_k[:, own], w_v[:, own], w_o[____]",
        ),
        checks=(
            Check("pruned", 3, "four smaller matrices that give with k heads what switching off the others gives"),
            Check("any_order", 1, "the same for heads named in any order"),
            Check("one_and_all", 1, "the same for a single head, and for all of them"),
            Check("free_width", 1, "the same where h·D is not C: D = w_q.shape[1] // h"),
            Check(KEEPS_DTYPE, 1, "four matrices in the dtype of those given"),
            Check(INPUTS_UNCHANGED, 1, "the four matrices and the list as they were before the call"),
        ),
        axes={
            "w_q": "C k·D",
            "w_k": "C k·D",
            "w_v": "C k·D",
            "w_o": "k·D C",
            "out": "B T C",
        },
        returns=("w_q", "w_k", "w_v", "w_o"),
        library="torch",
    ),
    Exercise(
        id="induction_score",
        kind="I",
        notebook=NOTEBOOK,
        minutes=10,
        difficulty=2,
        contract=(
            "induction_score(weights, period) → score\n"
            "weights: (h, n, n) float, n = 2 · period, for a text whose second half repeats its first; period ≥ 1\n"
            "score: (h,) in the dtype of weights, the mean, over every token i of the second copy, of the weight from "
            "token i to token i − period + 1, the one that came after it the first time"
        ),
        section="What came next, last time?",
        hints=(
            "The text is A B C A B C. Which places belong to the second copy, and where does each have to look?",
            "The tokens of the second copy are i = period … 2·period − 1, period of them, and token i looks at "
            "i − period + 1: 1 … period. Take these entries of every head, (h, period), and their mean, (h,).",
            "return weights[:, i, ____].mean(dim=-1)  # i = torch.arange(period, 2 * period)",
        ),
        checks=(
            Check("second_copy", 3, "the mean of weights[m, i, i − period + 1] over i = period … 2·period − 1"),
            Check("causal_maps", 1, "the same for maps in which no token looks ahead"),
            Check("short", 1, "the same for periods of 1 and 2, and for one head"),
            Check(KEEPS_DTYPE, 1, "the dtype of weights"),
            Check(INPUTS_UNCHANGED, 1, "weights as they were before the call"),
        ),
        axes={"weights": "h n n", "result": "h"},
        library="torch",
    ),
    Exercise(
        id="reflection_17",
        kind="R",
        notebook=NOTEBOOK,
        minutes=10,
        difficulty=2,
        contract="reflection_17 = your answer, a few sentences",
        section="In your own words",
        hints=(
            "What would a head that only counts words score on the same sentences?",
            "Go through the chain: a score, a baseline, other sentences than those it was picked on, and what changes "
            "when the head is switched off.",
            "the score alone does not show …, since ____ would reach it too",
        ),
        checks=(
            Check("baseline", 1, "the score needs a baseline: a fixed offset, and a model with random weights"),
            Check("held_out", 1, "the best of many heads has to be scored on sentences it was not picked on"),
            Check("ablation", 1, "a score says where the head looks; switching it off says whether something needs it"),
            Check("limits", 1, "what the ablation still does not show, such as other heads that do the same work"),
        ),
        call=take_answer,
    ),
)
