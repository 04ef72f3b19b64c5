"""Notebook 07, the visible half: attention in an encoder–decoder, and how its alignments are judged."""

from autograder.exercise import (
    DIFFERENTIABLE,
    INPUTS_UNCHANGED,
    KEEPS_DTYPE,
    Check,
    Exercise,
    take_answer,
)

NOTEBOOK = "07_encoder_decoder_attention"
EXTRA_CALLS = 8  # a decoder that calls this often after its limit will not stop by itself


def scripted_step(tables, shift, limit):
    """A decoder for tests: its logits depend on the token, on the state, and on nothing else.

    tables: (S, V, V) float; with the state in phase p, the logits after token t are tables[p, t].
    shift:  how far each call moves the phase on.
    limit:  calls after which it refuses to go on.
    The state is (phase, last token) as a tensor of two numbers; it starts as (0, −1).
    """
    calls = 0

    def step(token, state):
        nonlocal calls
        calls += 1
        if calls > limit:
            raise RuntimeError(f"step was called {calls} times: the decoder does not stop")
        phase = int(state[0])
        token = int(token)
        # A new object each time, so that a decoder that keeps the first state goes round in one place.
        return tables[phase % len(tables), token].clone(), state.new_tensor([phase + shift, token])

    return step


EXERCISES = (
    Exercise(
        id="attention_step",
        kind="I",
        notebook=NOTEBOOK,
        minutes=20,
        difficulty=2,
        contract=(
            "attention_step(s_prev, enc, src_mask, w_s, w_h, w) → (context, weights)\n"
            "s_prev: (B, Ds) float, the decoder's state before this step\n"
            "enc: (B, T, De) float, one encoder vector per source word\n"
            "src_mask: (B, T) bool, True at words, False at padding\n"
            "w_s: (Ds, h), w_h: (De, h), w: (h,) float; the score of word j is w · tanh(s_prev w_s + enc_j w_h)\n"
            "context: (B, De), weights: (B, T), in the dtype of the inputs; weights sum to 1 over the words\n"
            "a sentence without words gets weights of 0 and a context of 0"
        ),
        section="One step of the decoder",
        hints=(
            "There is one state per sentence and T encoder vectors: along which axis must the state be repeated so "
            "that every word is compared with it?",
            "s_prev @ w_s is (B, h), enc @ w_h is (B, T, h). Give the first an axis of size 1 for T and add. tanh, "
            "then times w sums h away: scores (B, T). −∞ where src_mask is False, softmax over T, zeros for a row "
            "that is all −∞. The context is the sum over T of weights times enc: (B, De).",
            "scores = torch.tanh((s_prev @ w_s)[:, ____] + enc @ w_h) @ w",
        ),
        checks=(
            Check("weights", 2, "the softmax over the source words of w · tanh(s_prev w_s + enc w_h)"),
            Check("context", 2, "the encoder vectors, averaged with these weights"),
            Check("mask", 2, "weight 0 on padding, and every row summing to 1 over the words"),
            Check("sizes_of_one", 1, "the same for one sentence, one word, or states of one number"),
            Check("large_scores", 1, "finite and exact weights for scores as large as ±10000"),
            Check("no_words", 1, "weights and context 0, not NaN, for a sentence that is all padding"),
            Check(KEEPS_DTYPE, 1, "context and weights in the dtype of the inputs"),
            Check(DIFFERENTIABLE, 1, "results through which gradients flow to s_prev, enc, w_s, w_h and w"),
            Check(INPUTS_UNCHANGED, 1, "all inputs as they were before the call"),
        ),
        axes={
            "s_prev": "B Ds",
            "enc": "B T De",
            "src_mask": "B T",
            "w_s": "Ds h",
            "w_h": "De h",
            "w": "h",
            "context": "B De",
            "weights": "B T",
        },
        returns=("context", "weights"),
        library="torch",
    ),
    Exercise(
        id="shift_right",
        kind="I",
        notebook=NOTEBOOK,
        minutes=5,
        difficulty=1,
        contract=(
            "shift_right(target, bos) → inputs\n"
            "target: (B, T) int64, the words that the decoder has to give, T ≥ 1\n"
            "bos: int, the token that opens a sentence\n"
            "inputs: (B, T) int64, what the decoder is given at each position: bos, then every target but the last"
        ),
        section="Teacher forcing",
        hints=(
            "When the decoder has to give target t, which target is the last one it may know?",
            "One column of bos, (B, 1), then all columns of target but the last, (B, T − 1), along the axis of T.",
            "return torch.cat([torch.full_like(target[:, :1], bos), target[:, ____]], dim=1)",
        ),
        checks=(
            Check("shifted", 2, "bos first, then every target but the last, in order"),
            Check("one_position", 1, "bos alone where there is a single position"),
            Check("any_token", 1, "the same whatever number bos has, also where it occurs in target"),
            Check(KEEPS_DTYPE, 1, "int64, as an embedding reads it"),
            Check(INPUTS_UNCHANGED, 1, "target as it was before the call"),
        ),
        axes={"target": "B T", "result": "B T"},
        library="torch",
    ),
    Exercise(
        id="greedy_translate",
        kind="I",
        notebook=NOTEBOOK,
        minutes=15,
        difficulty=2,
        contract=(
            "greedy_translate(step, state, bos, eos, max_len) → ids\n"
            "step: step(token, state) → (logits, state): from one token, an int, and the state before it to the logits "
            "(V,) of the next token and the state after it\n"
            "state: the state before the first token; only step knows what it holds\n"
            "bos, eos: ints, the tokens that open and end a sentence; step is first called with bos\n"
            "max_len: int, the most ids wanted; 0 or more\n"
            "ids: list of ints, the most probable token at each step; bos and eos are not in it"
        ),
        section="Writing without a teacher",
        hints=(
            "At step t the true word is not known. What stands in its place as the next token that step is given?",
            "Start with token = bos and an empty list. At most max_len times: call step with the token and the state, "
            "and keep the state it returns; the next token is the argmax of the logits; if it is eos, stop; otherwise "
            "append it.",
            "logits, ____ = step(token, state)",
        ),
        checks=(
            Check("follows_its_own_words", 3, "at each step the most probable token after the token and state before"),
            Check("stops_at_eos", 2, "an end at the first eos, which is not part of the result"),
            Check("stops_at_max_len", 2, "at most max_len ids where no eos comes"),
            Check("nothing_to_say", 1, "an empty list where eos comes first or max_len is 0"),
            Check("any_ids", 1, "the same whatever numbers bos and eos have"),
        ),
        axes={},
        library="torch",
        builders={"scripted_step": scripted_step},
    ),
    Exercise(
        id="longer_sentences",
        kind="P",
        notebook=NOTEBOOK,
        minutes=2,
        difficulty=1,
        contract='longer_sentences = "a", "b" or "c", the sentence that you expect to hold',
        section="Two decoders, one difference",
        hints=(
            "Which parts of the model have never met position 12, with attention and without it?",
            "Attention gives the decoder a way to every word. Does it also give it practice with long sentences?",
            'longer_sentences = "____"',
        ),
        checks=(Check("prediction", 1, "what happens to both models on sentences longer than those of training"),),
        call=take_answer,
    ),
    Exercise(
        id="hard_alignment",
        kind="I",
        notebook=NOTEBOOK,
        minutes=4,
        difficulty=1,
        contract=(
            "hard_alignment(weights) → aligned\n"
            "weights: (Tt, Ts) float, row t is what target word t took from each source word\n"
            "aligned: (Tt,) int64, for each target word the source word with the largest weight"
        ),
        section="From weights to links",
        hints=(
            "Which of the two axes should be gone from the result?",
            "The place of the largest weight along the axis of the source words, one for each row: (Tt,).",
            "return weights.argmax(dim=____)",
        ),
        checks=(
            Check("largest", 2, "the place of each row's largest weight"),
            Check("square", 1, "the same where there are as many target as source words"),
            Check("one_word", 1, "one place per target word, also for a single word on either side"),
            Check(KEEPS_DTYPE, 1, "places as int64, for weights in float32 and float64"),
            Check(INPUTS_UNCHANGED, 1, "weights as they were before the call"),
        ),
        axes={"weights": "Tt Ts", "result": "Tt"},
        library="torch",
    ),
    Exercise(
        id="alignment_error_rate",
        kind="I",
        notebook=NOTEBOOK,
        minutes=12,
        difficulty=2,
        contract=(
            "alignment_error_rate(predicted, sure, possible) → rate\n"
            "predicted: set of pairs (t, s), target word and source word\n"
            "sure: set of pairs that must be found\n"
            "possible: set of pairs that may be found; it holds every sure one\n"
            "rate: 1 − (|predicted ∩ sure| + |predicted ∩ possible|) / (|predicted| + |sure|), a number from 0 to 1\n"
            "nothing predicted and nothing sure gives 0.0"
        ),
        section="How wrong is an alignment?",
        hints=(
            "Which of the two sets of true links can a prediction be blamed for missing, and which can it only be "
            "blamed for leaving?",
            "Two counts on top: predicted pairs that are sure, and predicted pairs that are possible. Two below: all "
            "predicted pairs, and all sure ones. One minus the quotient, and 0.0 where the lower sum is 0.",
            "return 1 - (len(predicted & sure) + len(predicted & ____)) / (len(predicted) + len(sure))",
        ),
        checks=(
            Check("rate", 3, "1 − (|A ∩ S| + |A ∩ P|) / (|A| + |S|), for predicted A, sure S, possible P"),
            Check("perfect", 1, "0 for all sure links and any of the possible ones"),
            Check("nothing_found", 1, "1 where nothing is predicted but something is sure"),
            Check(
                "nothing_sure", 1, "the share of predictions that are not possible, where nothing is sure; 0 of 0 is 0"
            ),
            Check("nothing_at_all", 1, "0.0 where nothing is predicted and nothing is sure"),
            Check(INPUTS_UNCHANGED, 1, "the three sets as they were before the call"),
        ),
        library="torch",
    ),
    Exercise(
        id="reflection_07",
        kind="R",
        notebook=NOTEBOOK,
        minutes=10,
        difficulty=2,
        contract="reflection_07 = your answer, a few sentences",
        section="In your own words",
        hints=(
            "What does each decoder have in its hands when it writes the last word of a long sentence?",
            "One vector against one vector per word; what the measurement showed; then what a weight says of a word.",
            "the fixed vector has to hold ____, while attention …",
        ),
        checks=(
            Check("bottleneck", 1, "without attention one vector of fixed size has to carry the whole sentence"),
            Check("way_back", 1, "with attention each step reads its own average of one vector per source word"),
            Check("measured", 1, "the gap grows with length, and attention too falls beyond the trained lengths"),
            Check(
                "not_alignment",
                1,
                "a weight says where the decoder read, not that the word is a translation: the article and its noun",
            ),
        ),
        call=take_answer,
    ),
)
