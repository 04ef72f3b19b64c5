"""Every exercise of the table: right answers pass, wrong ones lose points and are named, a stub is not attempted.

The tests are generated from the records, so an exercise that is added is tested.
"""

import ast

import numpy as np
import pytest

from autograder import plain
from autograder.attempt import case_from_plain, case_to_plain
from autograder.calling import Outcome, call_cases
from autograder.exercise import INPUTS_UNCHANGED, KEEPS_DTYPE, KINDS, exercises, reference_of
from autograder.report import lines, to_html, to_json, to_text
from autograder.verdict import UNTOUCHED, cases_of, judge, run, wanted_outcomes


def _has_hidden_half(exercise):
    """Whether there is a record in references/; without this, one missing would stop all other tests."""
    try:
        return bool(reference_of(exercise))
    except (LookupError, ModuleNotFoundError):
        return False


ALL = list(exercises().values())
WITHOUT = [exercise.id for exercise in ALL if exercise.kind != "R" and not _has_hidden_half(exercise)]
JUDGED = [exercise for exercise in ALL if exercise.kind != "R" and exercise.id not in WITHOUT]
CALLED = [exercise for exercise in JUDGED if not exercise.takes_value]
SEEDS = (0, 1)


def _of(group):
    return pytest.mark.parametrize("exercise", group, ids=lambda exercise: exercise.id)


ACCEPTED = [
    pytest.param(exercise, answer, id=f"{exercise.id}-{getattr(answer, '__name__', number)}")
    for exercise in JUDGED
    for number, answer in enumerate((reference_of(exercise).reference, *reference_of(exercise).accepted))
]
# The last variant of every other mistake is judged on the inputs of another seed.
WRONG = [
    pytest.param(exercise, misconception, number % 2, id=f"{exercise.id}-{misconception.name}")
    for exercise in JUDGED
    for number, misconception in enumerate(reference_of(exercise).misconceptions)
]
FIRST_WRONG = [
    pytest.param(exercise, reference_of(exercise).misconceptions[0], id=exercise.id)
    for exercise in JUDGED
    if reference_of(exercise).misconceptions
]


def test_every_exercise_but_a_reflection_has_a_hidden_half():
    assert not WITHOUT


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("exercise", "answer"), ACCEPTED)
def test_a_right_answer_gets_full_marks(exercise, answer, seed):
    verdict = run(exercise.id, answer, seed)
    assert verdict.status == "passed", to_text(verdict)
    assert verdict.points == exercise.points


@pytest.mark.parametrize(("exercise", "misconception", "seed"), WRONG)
def test_a_known_wrong_answer_loses_points_and_is_named_also_through_a_file(exercise, misconception, seed):
    *others, last = misconception.variants
    for wrong, inputs in [*((wrong, 0) for wrong in others), (last, seed)]:
        verdict = _through_bytes(exercise, wrong, inputs)
        if misconception.name == UNTOUCHED:
            assert verdict.status == "not_attempted"
            continue
        assert verdict.points < exercise.points
        assert misconception.name in [found.name for found in verdict.diagnoses], to_text(verdict)
        # Whoever reads the report sees the sentence beside the check it explains.
        assert any(("because", misconception.sentence) in lines(verdict, result) for result in verdict.checks)
        assert misconception.sentence in to_text(verdict)


@pytest.mark.parametrize(("exercise", "misconception"), FIRST_WRONG)
def test_a_verdict_is_the_same_with_and_without_a_file_between_the_halves(exercise, misconception):
    wrong = misconception.variants[-1]
    assert _outline(run(exercise.id, wrong, 0)) == _outline(_through_bytes(exercise, wrong, 0))


def _outline(verdict):
    """A verdict without the numbers in its sentences: a wrong answer may draw from a generator of its own."""
    data = to_json(verdict)
    return data | {"checks": [check | {"message": bool(check["message"])} for check in data["checks"]]}


@_of(CALLED)
def test_the_untouched_stub_is_not_attempted_and_shows_no_traceback(exercise):
    def stub(*args, **kwargs):
        raise NotImplementedError(f"{exercise.id} is yours to write")

    verdict = run(exercise.id, stub)
    assert (verdict.status, verdict.points) == ("not_attempted", 0)
    for report in (to_text(verdict), to_html(verdict)):
        assert "NotImplementedError" not in report
        assert "line " not in report


@_of([exercise for exercise in JUDGED if exercise.takes_value])
@pytest.mark.parametrize("placeholder", [..., None, "", "  \n"])
def test_the_untouched_prediction_is_not_attempted(exercise, placeholder):
    verdict = run(exercise.id, placeholder)
    assert (verdict.status, verdict.points) == ("not_attempted", 0)


ODD = {
    "none": lambda *args, **kwargs: None,
    "a string": lambda *args, **kwargs: "42",
    "an object": lambda *args, **kwargs: object(),
    "a generator": lambda *args, **kwargs: (x for x in args),
    "the first input": lambda *args, **kwargs: args[0] if args else None,
    "an empty tuple": lambda *args, **kwargs: (),
    "NaN": lambda *args, **kwargs: float("nan"),
    "an error": lambda *args, **kwargs: 1 / 0,
    "a wrong signature": lambda: 1,
    "an exit": lambda *args, **kwargs: exit(3),
    "a list of objects": lambda *args, **kwargs: [object(), {1: object()}],
    "a huge nest": lambda *args, **kwargs: [[[[[[[[[[[[[[1]]]]]]]]]]]]]],
}


@_of(CALLED)
@pytest.mark.parametrize("answer", ODD.values(), ids=ODD)
def test_an_odd_answer_is_reported_and_never_passes_or_crashes(exercise, answer):
    verdict = run(exercise.id, answer)
    assert verdict.status in ("wrong", "error", "partial")
    assert verdict.points < exercise.points
    assert to_text(verdict) and to_html(verdict) and to_json(verdict)


@_of(JUDGED)
@pytest.mark.parametrize(
    "thing", [3, "softmax", np.ones(3), [1], {"a": 1}, object()], ids=lambda thing: type(thing).__name__
)
def test_a_thing_that_is_no_answer_at_all_is_reported(exercise, thing):
    verdict = run(exercise.id, thing)
    assert verdict.status in ("wrong", "error")


def _through_bytes(exercise, answer, seed):
    """Call and judge with nothing but bytes between the halves, both ways."""
    sent = [plain.dumps(case_to_plain(case)) for case in cases_of(exercise.id, seed)]
    outcomes = call_cases(exercise, answer, [case_from_plain(plain.loads(data)) for data in sent])
    returned = [plain.dumps(outcome.to_plain()) for outcome in outcomes]
    return judge(exercise, [Outcome.from_plain(plain.loads(data)) for data in returned], seed)


@pytest.mark.parametrize(("exercise", "answer"), ACCEPTED)
def test_a_right_answer_passes_through_a_file_between_the_halves(exercise, answer):
    assert to_json(_through_bytes(exercise, answer, 0)) == to_json(run(exercise.id, answer, 0))


@_of(JUDGED)
def test_the_cases_are_the_same_for_the_same_seed_and_others_for_another(exercise):
    first, again, other = (
        [plain.dumps(case_to_plain(case)) for case in reference_of(exercise).cases(np.random.default_rng(seed))]
        for seed in (0, 0, 1)
    )
    assert first == again
    # Some exercises have inputs that leave nothing to chance: sizes, edge cases, none at all.
    drawn = any(b'"array"' in case or b'"seed"' in case for case in first)
    assert (first != other) or not drawn


@_of(JUDGED)
def test_the_reference_answers_every_case_without_a_surprise(exercise):
    for case, outcome in zip(cases_of(exercise.id, 0), wanted_outcomes(exercise.id, 0), strict=True):
        assert outcome.error is None or outcome.error.type == "ValueError", (case, outcome.error)
        assert not outcome.warnings
        assert not outcome.printed
        assert not outcome.mutated


@_of(JUDGED)
def test_every_check_has_cases_and_every_case_a_check(exercise):
    checks = {check.name for check in exercise.checks}
    used = {case.check for case in cases_of(exercise.id, 0)}
    assert used <= checks
    assert checks - used <= {INPUTS_UNCHANGED}
    assert exercise.checks[0].name not in (KEEPS_DTYPE, INPUTS_UNCHANGED)


@_of(ALL)
def test_a_record_is_complete(exercise):
    assert exercise.id.isidentifier()
    assert exercise.kind in KINDS
    assert exercise.points > 0 and exercise.minutes > 0 and exercise.difficulty in (1, 2, 3)
    assert exercise.contract.startswith(exercise.id)
    assert len({check.name for check in exercise.checks}) == len(exercise.checks)
    if exercise.kind == "R":
        return
    assert len(exercise.hints) == 3 and len(set(exercise.hints)) == 3
    assert exercise.hints[0].rstrip().endswith("?"), "the first hint is a question"
    assert "____" in exercise.hints[2], "the third hint is a line with one hole"
    reference = reference_of(exercise)
    assert len(reference.accepted) >= 2
    assert reference.misconceptions
    names = [misconception.name for misconception in reference.misconceptions]
    assert len(set(names)) == len(names)
    for misconception in reference.misconceptions:
        assert misconception.sentence and not misconception.sentence.endswith((".", "!"))
        assert "you " not in misconception.sentence.lower(), "say what the numbers show, not what was done"


@_of(JUDGED)
def test_two_misconceptions_that_give_the_same_numbers_do_not_exist_twice(exercise):
    sentences = [misconception.sentence for misconception in reference_of(exercise).misconceptions]
    assert len(set(sentences)) == len(sentences)


def test_every_reference_has_its_visible_half():
    from autograder.exercise import Reference, _records

    hidden = _records("autograder.references", Reference)
    assert set(hidden) == {exercise.id for exercise in JUDGED}


def test_the_visible_half_never_imports_the_hidden_one():
    from pathlib import Path

    import autograder

    root = Path(autograder.__file__).parent
    for path in [
        *root.glob("exercises/*.py"),
        *root.glob("standins/*.py"),
        *root.glob("material/*.py"),
        root / "calling.py",
    ]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert not any("references" in name or "grading" in name for name in names), path
