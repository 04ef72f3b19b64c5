"""The training loop: it learns, stops when told, repeats itself, and is silent where outputs are kept."""

import io
import sys

import numpy as np
import pytest
import torch

from autograder.material import training
from autograder.material.training import RECORDED, Record, shows_progress, train
from autograder.workspace import MARKER

X = torch.linspace(-1, 1, 16).reshape(-1, 1)
BATCHES = [(X[i::2], 3 * X[i::2] + 1) for i in range(2)]


def line():
    torch.manual_seed(7)
    return torch.nn.Linear(1, 1)


def squared(model, batch):
    x, y = batch
    return (model(x) - y).square().mean()


# Learning


def test_it_learns_a_line():
    model = line()
    records = train(model, squared, BATCHES, steps=300, lr=0.05)
    assert records[-1].loss < 1e-4 < records[0].loss
    assert model.weight.item() == pytest.approx(3, abs=0.02)
    assert model.bias.item() == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("kind", ["list", "dict"])
def test_parameters_may_come_without_a_module(kind):
    w, b = (torch.zeros(1, requires_grad=True) for _ in range(2))
    model = {"w": w, "b": b} if kind == "dict" else [w, b]
    train(model, lambda _, batch: (w * batch[0] + b - batch[1]).square().mean(), BATCHES, steps=300, lr=0.05)
    assert w.item() == pytest.approx(3, abs=0.02)
    assert b.item() == pytest.approx(1, abs=0.02)


def test_seeds_side_by_side_train_as_they_would_alone():
    starts = torch.tensor([[-1.0], [0.0], [2.0]])

    def losses(parameters, batch):
        x, y = batch
        return (parameters[0][:, None] * x - y).square().mean(dim=(1, 2))

    def run(start):
        w = start.clone().requires_grad_()
        return [record.loss for record in train([w], losses, BATCHES, steps=20, lr=0.1)], w

    together, w = run(starts)
    assert all(len(loss) == 3 for loss in together)
    for s in range(3):
        alone, own = run(starts[s : s + 1])
        assert [loss[s] for loss in together] == pytest.approx([loss[0] for loss in alone], rel=1e-5)
        assert w[s].item() == pytest.approx(own.item(), rel=1e-5)


def test_the_rate_may_depend_on_the_step():
    asked, model = [], line()
    before = model.weight.item()
    train(model, squared, BATCHES, steps=3, lr=lambda step: asked.append(step) or 0.0)
    assert asked == [1, 2, 3]
    assert model.weight.item() == before


def test_a_clipped_gradient_has_no_more_than_that_norm():
    w = torch.zeros(4, requires_grad=True)
    train([w], lambda _, batch: (100 * w).sum(), [None], steps=1, clip=0.5)
    assert w.grad.norm().item() == pytest.approx(0.5, rel=1e-3)


# Stopping


@pytest.mark.parametrize(
    ("steps", "epochs", "wanted"), [(5, None, 5), (None, 3, 6), (5, 3, 5), (9, 3, 6), (0, None, 0)]
)
def test_it_stops_after_the_steps_or_the_epochs_whichever_come_first(steps, epochs, wanted):
    records = train(line(), squared, BATCHES, steps=steps, epochs=epochs)
    assert [record.step for record in records] == list(range(1, wanted + 1))


def test_it_stops_when_the_metric_has_not_risen_for_a_while():
    scores = iter([0.1, 0.3, 0.2, 0.3, 0.9])
    records = train(line(), squared, BATCHES, steps=100, metric=lambda: next(scores), every=2, patience=2)
    assert len(records) == 8
    assert [record.metric for record in records] == [None, 0.1, None, 0.3, None, 0.2, None, 0.3]


def test_it_stops_when_the_metric_is_good_enough():
    scores = iter([0.1, 0.5, 0.95, 0.2])
    records = train(line(), squared, BATCHES, steps=100, metric=lambda: next(scores), every=1, enough=0.9)
    assert [record.metric for record in records] == [0.1, 0.5, 0.95]


def test_a_metric_that_keeps_rising_stops_nothing():
    scores = iter(range(1, 100))
    assert len(train(line(), squared, BATCHES, steps=10, metric=lambda: next(scores), every=1, patience=1)) == 10


@pytest.mark.parametrize(
    ("keywords", "words"),
    [
        ({}, "give steps or epochs"),
        ({"steps": 1, "patience": 1}, "none was given"),
        ({"steps": 1, "enough": 0.5}, "none was given"),
    ],
)
def test_a_call_that_cannot_stop_as_asked_is_refused(keywords, words):
    with pytest.raises(ValueError, match=f"naming: .*{words}"):
        train(line(), squared, BATCHES, label="naming", **keywords)


def test_an_iterator_that_has_run_out_is_refused():
    with pytest.raises(ValueError, match="no batches"):
        train(line(), squared, iter(BATCHES), steps=5)


def test_a_loss_that_is_not_finite_stops_with_its_step_and_leaves_the_parameters():
    w = torch.ones(1, requires_grad=True)
    with pytest.raises(ValueError, match="the loss at step 2 is nan"):
        train([w], lambda _, factor: w.sum() * factor, [0.0, float("nan")], epochs=1)
    assert w.item() == 1.0


# Repeating


def noisy(model, batch):
    return squared(model, batch) + 0.1 * torch.rand(()) * model.weight.square().sum()


def shuffled(rng):
    return [BATCHES[i] for i in rng.permutation(2)]


def test_the_same_seed_gives_the_same_records_and_another_one_others():
    first, again, other = (train(line(), noisy, shuffled, epochs=6, seed=seed) for seed in (3, 3, 4))
    assert first == again
    assert first != other


def test_each_epoch_has_an_order_of_its_own():
    seen = []

    def batches(rng):
        order = rng.permutation(8).tolist()
        seen.append(order)
        return order

    w = torch.ones(1, requires_grad=True)
    train([w], lambda _, batch: w.sum() * batch, batches, epochs=2)
    assert len(seen) == 2
    assert seen[0] != seen[1]
    assert seen[0] == np.random.default_rng(0).permutation(8).tolist()


def test_records_are_plain():
    (record,) = train(line(), squared, BATCHES, steps=1, metric=lambda: torch.tensor(0.5), every=1)
    assert isinstance(record, Record)
    assert [type(value) for value in (record.step, record.loss, record.metric)] == [int, float, float]


def test_torch_runs_on_one_thread():
    torch.set_num_threads(2)
    train(line(), squared, BATCHES, steps=1)
    assert torch.get_num_threads() == 1


# The bar


class Stream(io.StringIO):
    def __init__(self, terminal):
        super().__init__()
        self.terminal = terminal

    def isatty(self):
        return self.terminal


class KernelStream(Stream):
    """As the streams of a kernel: known by its module."""


KernelStream.__module__ = "ipykernel.iostream"


@pytest.fixture
def nobody(monkeypatch, tmp_path):
    """A folder that is no workspace, and a bar that does not wait."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(training, "SHOW_AFTER", 0.0)
    return monkeypatch


def streams(monkeypatch, out, err, recorded=None):
    """What training writes to stdout and stderr; recorded: the one variable set of those that say outputs are kept."""
    for name in RECORDED:  # here and not in a fixture, since pytest sets one of them again before each test
        monkeypatch.delenv(name, raising=False)
    if recorded:
        monkeypatch.setenv(recorded, "1")
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    train(line(), squared, BATCHES, steps=2, label="a bar")
    return out.getvalue(), err.getvalue()


def test_a_terminal_gets_a_bar_with_its_label(nobody):
    out, err = streams(nobody, Stream(True), Stream(True))
    assert out == ""
    assert "a bar" in err


def test_a_kernel_in_a_workspace_gets_it_on_stdout_alone(nobody, tmp_path):
    (tmp_path / MARKER).touch()
    out, err = streams(nobody, KernelStream(False), KernelStream(False))
    assert "a bar" in out
    assert err == ""


def test_neither_a_file_nor_a_kernel_elsewhere_gets_one(nobody):
    assert streams(nobody, Stream(False), Stream(False)) == ("", "")
    assert streams(nobody, KernelStream(False), KernelStream(True)) == ("", "")


@pytest.mark.parametrize("name", RECORDED)
def test_nothing_is_drawn_where_outputs_are_kept(nobody, tmp_path, name):
    (tmp_path / MARKER).touch()
    assert streams(nobody, Stream(True), Stream(True), recorded=name) == ("", "")
    assert streams(nobody, KernelStream(True), KernelStream(True), recorded=name) == ("", "")
    assert not shows_progress()


def test_a_short_run_gets_no_bar(nobody):
    nobody.setattr(training, "SHOW_AFTER", 60.0)
    assert streams(nobody, Stream(True), Stream(True)) == ("", "")
