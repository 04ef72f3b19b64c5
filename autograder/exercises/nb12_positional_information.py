"""Notebook 12, the visible half: position as an addition, as a rotation (RoPE), as a bias (ALiBi, T5)."""

from autograder.exercise import DIFFERENTIABLE, INPUTS_UNCHANGED, KEEPS_DTYPE, Check, Exercise, take_answer

NOTEBOOK = "12_positional_information"

EXERCISES = (
    Exercise(
        id="sinusoidal_encoding",
        kind="I",
        notebook=NOTEBOOK,
        minutes=12,
        difficulty=2,
        contract=(
            "sinusoidal_encoding(n, d, base=10000.0) → encoding\n"
            "n: how many positions, counted from 0, a number\n"
            "d: how many columns, a number; an odd d raises ValueError\n"
            "base: how slowly the slowest hands turn, a number\n"
            "encoding: float (n, d); for pair m = 0 … d/2 − 1 the columns 2m and 2m + 1 hold sin and cos of "
            "position · base^(−2m/d)"
        ),
        section="A clock with several hands",
        hints=(
            "How many hands has a clock of d columns, and how fast does hand m turn?",
            "The rates of the d/2 hands are base ** (−2m/d), (d/2,); the angles are positions as a column times rates "
            "as a row, (n, d/2). Take sin and cos of them and let the two alternate: stack along a new last axis, "
            "(n, d/2, 2), then flatten the last two axes.",
            "rates = base ** -(torch.arange(0, d, 2) / ____)  # (d/2,); then angles = positions × rates",
        ),
        checks=(
            Check(
                "encoding", 3, "sin in even and cos in odd columns, each pair with its own rate, the first row for 0"
            ),
            Check("other_base", 1, "the rates that belong to the base given"),
            Check("small", 1, "the same for one position, and for a single pair of columns"),
            Check("odd_width", 1, "a ValueError for an odd d, where a sin would be without its cos"),
        ),
        axes={"result": "n d"},
        library="torch",
    ),
    Exercise(
        id="add_positions",
        kind="I",
        notebook=NOTEBOOK,
        minutes=6,
        difficulty=1,
        contract=(
            "add_positions(x, table) → out\n"
            "x: (B, T, C) float, the tokens of B sentences\n"
            "table: (N, C) float, one row per position; if T > N, a ValueError whose message names T and N\n"
            "out: (B, T, C) in the dtype of x: row t of the table is added to token t of every sentence; gradients "
            "flow to x and to table"
        ),
        section="Adding a row of a table",
        hints=(
            "Which rows of the table belong to a sentence of T tokens, and do they depend on which sentence it is?",
            "Compare T = x.shape[1] with N = len(table) first, and say both in the error. Then take the first T rows, "
            "(T, C): they broadcast over the batch. Adding with + makes a new tensor, += would change x.",
            "return x + table[____]  # (T, C) broadcasts to (B, T, C)",
        ),
        checks=(
            Check("rows", 2, "row t of the table added to token t, the same in every sentence"),
            Check("longer_table", 1, "the first T rows of a table that has more"),
            Check("too_long", 2, "a ValueError for more tokens than rows"),
            Check(KEEPS_DTYPE, 1, "the dtype of x"),
            Check(DIFFERENTIABLE, 1, "a result through which gradients flow to x and to table"),
            Check(INPUTS_UNCHANGED, 1, "x and table as they were before the call"),
        ),
        axes={"x": "B T C", "table": "N C", "result": "B T C"},
        library="torch",
    ),
    Exercise(
        id="apply_rope",
        kind="I",
        notebook=NOTEBOOK,
        minutes=18,
        difficulty=3,
        contract=(
            "apply_rope(x, positions, base=10000.0) → turned\n"
            "x: (..., T, D) float, queries or keys, D even\n"
            "positions: (T,) int64, where each of the T vectors stands: any whole numbers, in any order\n"
            "base: a number; pair m turns by the angle position · base^(−2m/D), computed in the dtype of x\n"
            "turned: (..., T, D) in the dtype of x; of x's columns 2m and 2m + 1, a and b, it holds "
            "a cos − b sin and a sin + b cos; gradients flow to x"
        ),
        section="Turning instead of adding",
        hints=(
            "Which two columns form pair m, and by which angle does it turn at position p?",
            "Angles: positions as a column times rates as a row, (T, D/2), in the dtype of x. Cut x into its even "
            "columns a and its odd columns b, each (..., T, D/2). Make the two new halves from the old ones, then let "
            "them alternate again: stack along a new last axis and flatten the last two.",
            "turned = torch.stack([a * cos - b * sin, ____], dim=-1).flatten(-2)",
        ),
        checks=(
            Check("rotation", 3, "each pair of neighbouring columns turned by its angle, at positions 0 … T − 1"),
            Check("any_positions", 2, "the same at the positions given: later, negative, repeated, in any order"),
            Check("other_base", 1, "the rates that belong to the base given"),
            Check("far_positions", 1, "for float64 the precision of float64, also at positions of ±1000"),
            Check(KEEPS_DTYPE, 1, "the dtype of x"),
            Check(DIFFERENTIABLE, 1, "a result through which gradients flow to x"),
            Check(INPUTS_UNCHANGED, 1, "x and positions as they were before the call"),
        ),
        axes={"x": "... T D", "positions": "T", "result": "... T D", "turned": "... T D"},
        library="torch",
    ),
    Exercise(
        id="alibi_bias",
        kind="I",
        notebook=NOTEBOOK,
        minutes=8,
        difficulty=2,
        contract=(
            "alibi_bias(h, n) → bias\n"
            "h: how many heads, a power of two; n: how many positions; numbers\n"
            "bias: float (h, n, n), queries by row; for head i = 0 … h − 1 it is −slope · (q − k) where the key k "
            "stands before the query q, 0 elsewhere; slope = 2^(−8 (i + 1) / h)"
        ),
        section="A bias: nothing but the distance",
        hints=(
            "How far back does key k stand from query q, and what is that number for a key that is not behind it?",
            "Distances: a column of query places minus a row of key places, (n, n), negative ones replaced by 0. "
            "Slopes: 2 ** (−8 · (1 … h) / h), (h,), with two axes of length 1 behind it. Multiply, with a minus.",
            "slopes = 2.0 ** (-8 * torch.arange(____) / h)  # (h,)",
        ),
        checks=(
            Check("bias", 3, "−slope · distance for every key before the query, one slope per head, steepest first"),
            Check("not_before", 1, "0 on the diagonal and for later keys"),
            Check("sizes", 1, "the same for one head, many heads, one position, and as many heads as positions"),
        ),
        axes={"result": "h n n"},
        library="torch",
    ),
    Exercise(
        id="t5_bucket",
        kind="I",
        notebook=NOTEBOOK,
        minutes=18,
        difficulty=3,
        contract=(
            "t5_bucket(relative, bidirectional=True, num_buckets=32, max_distance=128) → bucket\n"
            "relative: int64 of any shape, key position − query position\n"
            "bidirectional: True gives later keys (relative > 0) the upper half of the buckets and all others the "
            "lower half; False gives all buckets to earlier keys and puts later ones to distance 0\n"
            "num_buckets: how many there are, a multiple of 4; max_distance: where the last one begins at the latest\n"
            "bucket: int, the shape of relative; of n buckets for a direction the first n/2 =: e take the distances "
            "0 … e − 1, and r ≥ e goes to e + ⌊ln(r / e) / ln(max_distance / e) · (n − e)⌋, at most n − 1"
        ),
        section="Buckets of distances",
        hints=(
            "How many buckets are left for one direction, and how many of those take a single distance?",
            "Three steps. The offset: 0, or num_buckets/2 where the key is later, and then only num_buckets/2 are left "
            "for a direction. The distance: |relative|, or how far back the key stands, at least 0. The bucket: the "
            "distance itself if it is below e, else the formula, cut to an integer and to n − 1; torch.where chooses.",
            "large = e + (torch.log(distance / e) / math.log(____) * (n - e)).long()",
        ),
        checks=(
            Check("near", 2, "a bucket of its own for each small distance, in the half of its direction"),
            Check("far", 2, "wider and wider buckets for larger distances, and one for all that lies beyond"),
            Check("one_direction", 2, "with bidirectional=False all buckets for earlier keys, 0 for later ones"),
            Check("other_sizes", 1, "the same for other numbers of buckets and other largest distances"),
            Check(INPUTS_UNCHANGED, 1, "relative as it was before the call"),
        ),
        library="torch",
    ),
    Exercise(
        id="relative_only",
        kind="P",
        notebook=NOTEBOOK,
        minutes=3,
        difficulty=2,
        contract=(
            'relative_only = the set of those of "learned", "sinusoidal", "rope", "alibi", "t5" with which the score '
            "of two given tokens, after learned projections, stays the same when both move by the same distance"
        ),
        section="Which of them see only the distance?",
        hints=(
            "What does the score consist of once x + p went through w_q and w_k, and which parts know i or j alone?",
            "Write the score of each scheme for tokens a at i and b at j. Replace i by i + s and j by j + s, and look "
            "where s is left over. Do not stop at p · p: projections stand between.",
            'relative_only = {"____", …}',
        ),
        checks=(Check("prediction", 1, "the names of all with which the score does not change"),),
        call=take_answer,
    ),
    Exercise(
        id="reflection_12",
        kind="R",
        notebook=NOTEBOOK,
        minutes=8,
        difficulty=2,
        contract="reflection_12 = your answer, a few sentences",
        section="In your own words",
        hints=(
            "Where on the way from a token to a score can a position enter?",
            "Go from the missing position (what stays the same when words are shuffled) over addition, rotation and "
            "bias to a length that was never trained. Say for each what it knows there.",
            "a table has no ____ beyond its length; a rotation turns by an angle that …",
        ),
        checks=(
            Check("without", 1, "without positions a shuffled sentence gives the same outputs, shuffled"),
            Check("three_places", 1, "added to the token, turning queries and keys, or added to the score"),
            Check("relative", 1, "which of them make the score depend on the distance alone, and why a sum does not"),
            Check("longer", 1, "defined beyond the trained length is not the same as working there"),
        ),
        call=take_answer,
    ),
)
