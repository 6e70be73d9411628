"""The race of full-batch methods on a small network."""

import itertools
import json
import math

import numpy as np
import pytest

from kbp.benchmarks.full_batch import cases, problem


@pytest.fixture(scope="module")
def line():
    patch = pytest.MonkeyPatch()
    patch.setattr(cases, "GOAL", 0.05)
    patch.setattr(cases, "RATES", (0.01, 1e-5))
    patch.setattr(cases, "STEPS", (500,))
    yield {
        "case": "seed 1",
        **cases.measure(1),
        "machine": "m",
        "commit": "c",
    }
    patch.undo()


def test_the_problem_can_be_solved_by_the_network():
    x, y = problem.examples(3)
    model = problem.network(3, "float64")
    assert model.count_params() == 507
    assert x.shape == (1000, 20)
    # Of the teacher's hidden units some are the network's, the others are off.
    rng = np.random.default_rng(3)
    rng.normal(size=x.shape)
    kernel = rng.normal(0, 20**-0.5, (20, 5))
    bias, last = rng.normal(0, 0.5, 5), rng.normal(0, 5**-0.5, (5, 1))
    model.set_weights(
        [
            np.pad(kernel, ((0, 0), (0, 18))),
            np.pad(bias, (0, 18)),
            np.pad(last, ((0, 18), (0, 0))),
            np.zeros(1),
        ]
    )
    np.testing.assert_allclose(model(x), y, atol=1e-12)


def test_methods_begin_at_the_same_weights():
    first, again = problem.network(1), problem.network(1)
    other = problem.network(2)
    for own, same, different in zip(
        first.weights[::2], again.weights[::2], other.weights[::2], strict=True
    ):
        np.testing.assert_array_equal(own, same)
        assert (np.array(own) != np.array(different)).all()


def test_all_methods_stop_at_the_goal(line):
    assert json.loads(json.dumps(line)) == line
    assert set(line["methods"]) == {*cases.OURS, cases.ADAM}
    for found in line["methods"].values():
        assert found["reached"]
        assert found["loss"] <= 0.05
        assert found["seconds"] > 0
    assert line["methods"][cases.ADAM]["learning_rate"] == 0.01


def test_a_try_that_diverged_is_not_the_best(monkeypatch):
    losses = (math.nan, math.inf, math.nan, 0.2, 0.1)
    monkeypatch.setattr(cases, "RATES", losses)
    monkeypatch.setattr(cases, "STEPS", (500,))
    monkeypatch.setattr(cases, "_full_batch", lambda name, seed: {})
    for order in itertools.permutations(losses):
        tries = iter([cases._result(1, 1.0, loss) for loss in order])
        monkeypatch.setattr(cases, "_adam", lambda *_, of=tries: next(of))
        found = cases.measure(1)["methods"][cases.ADAM]
        assert (found["loss"], found["reached"]) == (0.1, False)


def test_the_table_has_a_row_for_each_method(line, monkeypatch):
    monkeypatch.setattr(cases, "provenance", lambda head, lines: "Here.")
    text = cases.markdown_table([line])
    for name in (*cases.OURS, cases.ADAM):
        assert f"| {name} | 1 of 1 |" in text
