"""What a submission is asked: inputs of its own, the same again in a regrade, nameless where names would tell."""

import stat
from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest
from slim import SECRET, slim, submission

from autograder import plain
from autograder.calling import call_case
from autograder.exercise import Built, Seed, exercises, reference_of
from autograder.grading import running, secret
from autograder.grading.bank import MAX_AXIS, Bank
from autograder.grading.rebuild import rebuild
from autograder.probe import Remote
from autograder.verdict import cases_of

TESTERS = [exercise for exercise in exercises().values() if exercise.kind == "T"]


def test_the_secret_is_made_once_and_only_its_owner_may_read_it(tmp_path):
    made = secret.course_secret(tmp_path / "course")
    assert made == secret.course_secret(tmp_path / "course") and len(made) == 32
    path = tmp_path / "course" / secret.NAME
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o640)
    with pytest.raises(PermissionError, match="chmod 600"):
        secret.course_secret(tmp_path / "course")
    path.chmod(0o600)
    path.write_text("not it")
    with pytest.raises(ValueError, match="does not hold a secret"):
        secret.course_secret(tmp_path / "course")


def test_the_seed_depends_on_the_secret_the_student_the_assignment_and_the_work():
    base = {"secret": SECRET, "student": "ana", "slug": "01", "answers": b"x"}
    first = secret.seed_of(**base)
    assert first == secret.seed_of(**base)
    others = [
        {"secret": b"y" * 32},
        {"student": "bo"},
        {"slug": "02"},
        {"answers": b"y"},
        {"student": "an", "slug": "a01"},
    ]
    assert len({first, *(secret.seed_of(**(base | other)) for other in others)}) == 1 + len(others)
    assert 0 <= first < 2**63


def test_an_added_cell_is_part_of_the_work_and_an_output_is_not():
    def digest(cells):
        return running.answers_of(rebuild(slim(), cells).notebook)

    cells = submission("def softmax(x, axis=-1): return x")
    same = digest(cells)
    cells[1].outputs = [{"output_type": "stream", "name": "stdout", "text": "x"}]
    assert digest(cells) == same
    cells[0].source += "\nimport os"
    assert digest(cells) != same


@pytest.mark.parametrize("exercise", TESTERS, ids=lambda exercise: exercise.id)
def test_what_is_sent_for_a_written_test_names_nothing_and_has_an_order_of_its_own(exercise):
    names = {name.encode() for name in exercise.builders if len(name) > 3}
    orders = set()
    for seed in range(4):
        posed = running._pose(exercise, seed)
        sent = posed.data
        assert not [name for name in names if name in sent]
        assert sorted(posed.order) == list(range(len(cases_of(exercise.id, seed))))
        orders.add(posed.order)
        cases = [replace(case, check="") for case in cases_of(exercise.id, seed)]
        assert len(posed.bank) == sum(isinstance(item, Built) for case in cases for item in case.inputs)
        handles = [item["params"] for item in _built(plain.loads(sent))]
        assert handles == [{"handle": number} for number in range(len(posed.bank))]
        # Nothing beside an implementation, such as sizes, says which kind it is: whatever goes with one that is as it
        # should be goes with another that is not.
        kinds = defaultdict(set)
        for case, sent_case in zip([cases[index] for index in posed.order], plain.loads(sent), strict=True):
            beside = [item for item in sent_case["inputs"] if not isinstance(item, (Built, Seed))]
            found = call_case(exercise, reference_of(exercise).reference, case).value
            # Several calls on one implementation, or one call on each of several.
            kinds[plain.dumps(beside)].update(found["found"] if "found" in found else {all(found["answers"])})
        assert all(kind == {True, False} for kind in kinds.values())
    assert len(orders) > 1


def _built(sent):
    return [{"params": dict(item.params)} for case in sent for item in case["inputs"] if isinstance(item, Built)]


@pytest.fixture
def bank(tmp_path, monkeypatch, toys):
    """A bank of two functions of the toy course, one that doubles and one that triples."""
    exercise = toys["toy_test"][0]
    monkeypatch.setenv("ATTENTION_BANK", str(tmp_path / "bank"))
    with Bank(tmp_path / "bank", exercise, [Built("times", {"factor": 2.0}), Built("times", {"factor": 3.0})]):
        yield [Remote(exercise, Built("bank", {"handle": number})) for number in range(2)]


def test_the_bank_answers_from_elsewhere(bank):
    double, triple = bank
    assert np.array_equal(double(np.arange(3.0)), [0.0, 2.0, 4.0])
    assert triple(2.0) == 6.0 and double(2.0) == 4.0
    assert not [name for name in vars(double) if "factor" in name or "times" in name]


def test_an_error_of_an_implementation_reaches_the_test(bank):
    with pytest.raises(TypeError):
        bank[0]()


def test_the_bank_takes_no_large_arrays_and_no_strange_handles(bank, toys):
    with pytest.raises(ValueError, match=f"at most {MAX_AXIS}"):
        bank[0](np.zeros(MAX_AXIS + 1))
    stranger = Remote(toys["toy_test"][0], Built("bank", {"handle": 7}))
    with pytest.raises(IndexError):
        stranger(1.0)
    assert bank[0](1.0) == 2.0, "it goes on"
