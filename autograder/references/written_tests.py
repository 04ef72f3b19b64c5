"""Judging the tests that learners write: what came of many calls of one, on one function whose nature is known.

found: what the driver in the visible half gives: "answers", what the calls returned; "repeats", whether generators in
       the same state show the function the same inputs; "varies", whether calls after one another show it others.
"""

import numpy as np

SHARE = 8 / 24  # of the calls that must find out a function that is not as it should be


def verdicts(found):
    """How many calls said True, and how many calls there were; or what is wrong with a result."""
    said = [item.item() if isinstance(item, np.ndarray) and item.ndim == 0 else item for item in found["answers"]]
    for item in said:
        if isinstance(item, np.ndarray):
            return f"the result is an array of shape {item.shape}; one True or False is wanted"
        if item is None:
            return "the result is None; True or False is wanted"
        if not isinstance(item, bool):
            return f"the result is of type {type(item).__name__}; True or False is wanted"
    return sum(said), len(said)


def is_right(truth, said, calls):
    """Whether so many True will do: a right function is never refused, a wrong one is found out often enough."""
    return said == calls if truth else calls - said >= SHARE * calls


def randomness(found):
    """What the inputs of the function follow, in words."""
    if not found["repeats"]:
        return "two generators in the same state show f different inputs"
    return "every call shows f the same inputs" if not found["varies"] else "the inputs of f follow rng"


def same_findings(wanted, got, *, truth, random, how, told):
    """Whether two tests come to the same finding on one function: None, or what the second one found.

    truth:  whether True is right for this function.
    random: whether the case is about where the inputs come from, and not about the verdict.
    how:    found → how it was tried; two tests that are wrong must also be wrong in the same way.
    told:   found → what is said of a finding, after how many calls said True.
    """
    a, b = verdicts(wanted), verdicts(got)
    if isinstance(b, str) or isinstance(a, str):
        return None if a == b else b if isinstance(b, str) else "True or False"
    if random:
        same = (wanted["repeats"], wanted["varies"]) == (got["repeats"], got["varies"])
        return None if same else randomness(got)
    right = [is_right(truth, *each) for each in (a, b)]
    if right[0] == right[1] and (right[0] or how(wanted) == how(got)):
        return None
    return f"True in {b[0]} of {b[1]} calls for an f that {told(got)}"
