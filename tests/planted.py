"""Faults to plant in the engine, by name; a pytest plugin that plants the one named in PLANTED_FAULT."""

import os

import numpy as np


def accept_everything():
    import autograder.verdict as verdict

    verdict.judge_case = lambda *args: None


def diagnose_nothing():
    import autograder.verdict as verdict

    verdict.diagnose = lambda mistakes, got, failing: []


def diagnose_the_first():
    import autograder.verdict as verdict

    verdict.diagnose = lambda mistakes, got, failing: [(mistakes[0].misconception, failing[0])]


def tolerate_a_percent():
    import autograder.compare as compare

    compare.TOLERANCES.update({dtype: (1e-2, 1e-2) for dtype in compare.TOLERANCES})


def tolerate_nothing():
    import autograder.compare as compare

    compare.TOLERANCES.update({dtype: (0.0, 0.0) for dtype in compare.TOLERANCES})


def see_no_mutation():
    import autograder.calling as calling

    calling._unchanged = lambda before, after: True


def see_no_gradients():
    import autograder.verdict as verdict

    verdict._judge_gradients = lambda *args: None


def compare_shapes_only():
    import autograder.compare as compare

    compare._first_wrong = lambda *args: None


def ignore_dtypes():
    import autograder.compare as compare

    compare._kinds_fit = lambda wanted, got: True


def share_inputs_between_calls():
    import autograder.calling as calling

    calling.realise = lambda item, exercise: item


def call_only_once():
    import autograder.verdict as verdict

    honest = verdict.call_cases
    verdict.call_cases = lambda exercise, answer, cases: honest(exercise, answer, cases[:1]) * len(cases)


def lose_arrays_in_transport():
    import autograder.plain as plain

    honest = plain._encode
    plain._encode = lambda value: honest(value.astype(np.float32) if isinstance(value, np.ndarray) else value)


def give_points_for_stubs():
    import autograder.verdict as verdict

    verdict._is_stub = lambda exercise, outcome: False


FAULTS = {
    name: fault
    for name, fault in list(globals().items())
    if callable(fault) and getattr(fault, "__module__", "") == __name__ and not name.startswith("_")
}

if os.environ.get("PLANTED_FAULT"):
    FAULTS[os.environ["PLANTED_FAULT"]]()
