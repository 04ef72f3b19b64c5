"""The judge and the diagnosis, on a toy course: every kind, every fault, and no sentence that is not true."""

import signal
import sys
import threading
import warnings

import numpy as np
import pytest
import torch
from toys import TOYS

from autograder.calling import call_case
from autograder.diagnose import VALUE, Comparison, see
from autograder.report import to_html, to_json, to_text
from autograder.verdict import run


@pytest.fixture(autouse=True)
def _toy_course(toys):
    return toys


RIGHT = [(name, answer) for name, (_, hidden) in TOYS.items() for answer in (hidden.reference, *hidden.accepted)]
WRONG = [(name, wrong) for name, (_, hidden) in TOYS.items() for wrong in hidden.misconceptions]


@pytest.mark.parametrize(("name", "answer"), RIGHT)
def test_a_right_answer_of_every_kind_passes(name, answer):
    assert run(name, answer).status == "passed"


@pytest.mark.parametrize(("name", "wrong"), WRONG, ids=lambda value: getattr(value, "name", value))
def test_a_known_mistake_of_every_kind_is_named_alone(name, wrong):
    verdict = run(name, wrong.wrong)
    assert verdict.points < verdict.max_points
    assert [found.name for found in verdict.diagnoses] == [wrong.name]


def _scaled(x):
    return x / x.sum(axis=-1, keepdims=True)


def _by_check(verdict):
    return {result.check.name: result for result in verdict.checks}


def test_a_lost_dtype_costs_only_its_own_check():
    verdict = run("toy_scale", lambda x: _scaled(x).astype(np.float64))
    assert verdict.status == "partial" and verdict.points == 4
    assert not _by_check(verdict)["keeps_dtype"].passed


def test_a_changed_input_costs_only_its_own_check_and_names_the_argument():
    def in_place(x):
        out = _scaled(x)
        x[:] = 0
        return out

    verdict = run("toy_scale", in_place)
    assert verdict.points == 4
    assert _by_check(verdict)["inputs_unchanged"].fault.got == "x changed"
    assert "in_place" in [found.name for found in verdict.diagnoses]


def test_nonsense_earns_nothing_for_keeping_its_inputs():
    verdict = run("toy_scale", lambda x: 2 * x)
    assert verdict.points == 0
    assert _by_check(verdict)["inputs_unchanged"].waits
    assert "judged once values holds" in to_text(verdict)


def test_a_mistake_in_what_still_waits_is_not_named_yet():
    def columns_and_doubles(x):
        return (x / x.sum(axis=0, keepdims=True)).astype(np.float64)

    assert [found.name for found in run("toy_scale", columns_and_doubles).diagnoses] == ["columns"]


def test_a_mistake_explained_only_on_one_check_is_named_there():
    def columns_and_an_error(x):
        if (x == 1).all():
            raise KeyError("ones")
        return x / x.sum(axis=0, keepdims=True)

    verdict = run("toy_scale", columns_and_an_error)
    assert [(found.name, found.check) for found in verdict.diagnoses] == [("columns", "values")]


def test_a_lost_dtype_does_not_hide_or_excuse_another_mistake():
    def squares_and_doubles(x):
        return _scaled(x).astype(np.float64) ** 2

    assert run("toy_scale", squares_and_doubles).diagnoses == ()

    def doubles_and_an_error(x):
        if (x == 1).all():
            return 1 / 0
        return _scaled(x).astype(np.float64)

    found = run("toy_scale", doubles_and_an_error).diagnoses
    assert [(one.name, one.check) for one in found] == [("doubles", "keeps_dtype"), ("refuses_ones", "ones")]


def test_a_combination_is_not_named_where_one_half_explains_the_numbers():
    def columns_and_wrong_ones(x):
        return 0 * x if (x == 1).all() else x / x.sum(axis=0, keepdims=True)

    assert [found.name for found in run("toy_scale", columns_and_wrong_ones).diagnoses] == ["columns"]


def test_an_unknown_mistake_is_not_explained():
    verdict = run("toy_scale", lambda x: _scaled(x) ** 2)
    assert verdict.diagnoses == ()
    assert "because" not in to_text(verdict)
    assert "along axis 1 it sums to" in to_text(verdict)


@pytest.mark.parametrize("result", [np.ones((2, 3)), torch.ones(2, 3), None, "text"])
def test_a_mistake_whose_result_cannot_be_read_is_compared_with_any_result(result):
    visible, hidden = TOYS["toy_scale"]
    (case, *_) = cases = tuple(hidden.cases(np.random.default_rng(0)))
    same = Comparison(visible, hidden, cases).same
    unreadable, other = (
        see(hidden, case, call_case(visible, lambda x, out=out: out, case)) for out in (object(), result)
    )
    assert same(0, VALUE, unreadable, unreadable)
    assert not same(0, VALUE, unreadable, other) and not same(0, VALUE, other, unreadable)


def test_an_error_that_only_happens_to_have_the_same_type_explains_nothing():
    def divides_by_zero_elsewhere(x):
        return _scaled(x) if x.shape != (2, 2) else len(x) / len([])

    verdict = run("toy_scale", divides_by_zero_elsewhere)
    assert verdict.status == "partial"
    assert "because" not in to_text(verdict) or verdict.diagnoses[0].name == "refuses_ones"


def test_what_the_function_prints_and_warns_is_shown_in_the_report_and_nowhere_else(capsys):
    def noisy(x):
        print("halfway")
        print("to stderr", file=sys.stderr)
        warnings.warn("careful", stacklevel=1)
        return 2 * x

    text = to_text(run("toy_scale", noisy))
    assert "printed  halfway" in text and "to stderr" in text and "warned   UserWarning: careful" in text
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""


def _mix_cut(cut):
    return lambda x, w: (torch.tanh(cut(x) @ cut(w)), cut(x).sum(-1))


@pytest.mark.parametrize(
    "cut",
    [
        torch.Tensor.detach,
        lambda x: torch.tensor(x.tolist(), dtype=x.dtype),
        lambda x: torch.from_numpy(np.array(x.data)),
    ],
    ids=["detach", "tolist", "numpy"],
)
def test_right_numbers_without_gradients_cost_one_check_and_the_report_names_what_is_cut_off(cut):
    verdict = run("toy_mix", _mix_cut(cut))
    assert (verdict.status, verdict.points) == ("partial", 2)
    assert [found.name for found in verdict.diagnoses] == ["detached"]
    assert "wanted   results through which gradients flow to x and w" in to_text(verdict)
    assert "a result cut off from x and w" in to_text(verdict)


def test_a_gradient_that_does_not_reach_one_input_is_shown_by_its_entries():
    verdict = run("toy_mix", lambda x, w: (torch.tanh(x.detach() @ w), x.sum(-1)))
    assert verdict.points == 2 and "gradient of x[" in to_text(verdict)


def test_gradients_of_lower_precision_are_gradients():
    reference = TOYS["toy_mix"][1].reference
    assert run("toy_mix", lambda x, w: tuple(part.float().double() for part in reference(x, w)))


def test_gradients_are_judged_under_no_grad_too_and_only_once_the_numbers_are_right():
    with torch.no_grad():
        assert run("toy_mix", TOYS["toy_mix"][1].reference)
    verdict = run("toy_mix", lambda x, w: (torch.tanh(x.detach() @ w), 2 * x.sum(-1)))
    assert verdict.points == 0 and _by_check(verdict)["differentiable"].waits


def test_a_warning_does_not_cost_a_right_answer_its_points():
    def warns(x):
        warnings.warn("careful", stacklevel=1)
        return _scaled(x)

    assert run("toy_scale", warns).status == "passed"


def test_an_error_is_shown_with_the_learners_own_frames_only():
    def deep(x):
        return np.linalg.inv(x.sum())

    text = to_text(run("toy_scale", deep))
    assert "LinAlgError" in text
    assert "in deep: return np.linalg.inv(x.sum())" in text
    assert "calling.py" not in text and "_linalg.py" not in text


def test_an_answer_that_calls_an_unfinished_stub_is_told_which():
    def helper(x):
        raise NotImplementedError("helper is yours to write")

    def calls_it(x):
        return helper(x)

    verdict = run("toy_scale", calls_it)
    assert verdict.status == "error"
    assert "NotImplementedError: helper is yours to write" in to_text(verdict)
    assert "in helper: raise NotImplementedError" in to_text(verdict)


def test_an_error_whose_message_cannot_be_read_is_still_reported():
    class Bad(Exception):
        def __str__(self):
            raise RuntimeError

    def raises(x):
        raise Bad

    assert "Bad: (its message cannot be read)" in to_text(run("toy_scale", raises))


def test_a_wanted_error_must_have_its_type_and_name_the_numbers():
    def wrong_type(x, h):
        if x.shape[-1] % h:
            raise TypeError("3 and 7")
        return x.reshape(len(x), h, -1)

    def vague(x, h):
        if x.shape[-1] % h:
            raise ValueError("heads do not fit")
        return x.reshape(len(x), h, -1)

    assert "wanted   the right values; here a ValueError whose message names 3 and 7" in to_text(
        run("toy_split", vague)
    )
    assert "TypeError" in to_text(run("toy_split", wrong_type))
    assert not run("toy_split", vague) and not run("toy_split", wrong_type)


def test_an_interrupt_ends_the_check_with_a_verdict():
    def endless(x):
        while True:
            pass

    timer = threading.Timer(0.3, signal.raise_signal, [signal.SIGINT])
    timer.start()
    verdict = run("toy_scale", endless)
    timer.join()
    assert (verdict.status, verdict.points) == ("timeout", 0)
    assert "interrupted before it returned" in to_text(verdict)


class Hostile:
    """Equal to everything, and an error to read."""

    def __eq__(self, other):
        return True

    def __array__(self, *args, **kwargs):
        raise RuntimeError("no")

    def __len__(self):
        raise RuntimeError("no")

    __hash__ = None


class AlwaysEqual(np.ndarray):
    def __eq__(self, other):
        return np.ones(self.shape, dtype=bool)

    def __array_ufunc__(self, *args, **kwargs):
        return True


@pytest.mark.parametrize("answer", [lambda x: Hostile(), lambda x: np.zeros_like(x).view(AlwaysEqual)])
def test_an_object_that_claims_to_equal_everything_does_not_pass(answer):
    verdict = run("toy_scale", answer)
    assert verdict.points == 0


def test_a_prediction_that_differs_is_noted_and_not_called_wrong():
    verdict = run("toy_guess", 2)
    assert verdict.status == "wrong" and verdict.score == verdict.max_points
    for report in (to_text(verdict), to_html(verdict)):
        assert "prediction noted" in report and "that is one too few" in report
        assert "not yet" not in report and "✗" not in report and "0 of" not in report
    assert run("toy_guess", ...).score == 0


def test_the_json_has_the_documented_keys():
    assert to_json(run("toy_scale", lambda x: x / x.max(-1, keepdims=True))) == {
        "exercise": "toy_scale",
        "status": "wrong",
        "points": 0,
        "max_points": 5,
        "checks": [
            {"name": name, "passed": False, "points": 0, "max_points": most, "message": message}
            for name, most, message in [
                (
                    "values",
                    2,
                    to_json(run("toy_scale", lambda x: x / x.max(-1, keepdims=True)))["checks"][0]["message"],
                ),
                ("ones", 1, to_json(run("toy_scale", lambda x: x / x.max(-1, keepdims=True)))["checks"][1]["message"]),
                ("keeps_dtype", 1, "judged once values holds"),
                ("inputs_unchanged", 1, "judged once values holds"),
            ]
        ],
        "diagnoses": [{"name": "max", "message": "the largest entry of each row is 1"}],
    }


def test_the_text_form_in_a_notebook_is_the_score_alone():
    bundle = run("toy_scale", _scaled)._repr_mimebundle_()
    assert bundle["text/plain"] == "5"
    assert "<script" not in bundle["text/html"] and "http" not in bundle["text/html"]
