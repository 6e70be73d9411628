"""The most valuable choice within a budget."""

import itertools

import numpy as np
import pytest

from kbp.sparsity.knapsack import knapsack


def best_by_trying(values, costs, budget):
    """Try all choices."""
    found = -np.inf
    for choice in itertools.product(*(range(len(v)) for v in values)):
        if sum(c[i] for c, i in zip(costs, choice, strict=True)) <= budget:
            worth = sum(v[i] for v, i in zip(values, choice, strict=True))
            found = max(found, worth)
    return found


@pytest.mark.parametrize("seed", range(20))
def test_choice_is_the_best_of_all(seed):
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 5, size=rng.integers(1, 6))
    values = [rng.normal(size=n) for n in sizes]
    costs = [rng.integers(0, 30, size=n).astype(float) for n in sizes]
    budget = float(rng.integers(10, 60))
    choice = knapsack(values, costs, budget, steps=int(budget))
    expected = best_by_trying(values, costs, budget)
    if choice is None:
        assert expected == -np.inf
        return
    assert sum(c[i] for c, i in zip(costs, choice, strict=True)) <= budget
    worth = sum(v[i] for v, i in zip(values, choice, strict=True))
    assert worth == pytest.approx(expected)


def test_costs_between_the_parts_are_rounded_up():
    values, costs = [np.array([0.0, 1.0])] * 2, [np.array([0.0, 0.55])] * 2
    assert sum(knapsack(values, costs, 1.0, steps=10)) == 1
    assert sum(knapsack(values, costs, 1.1, steps=2)) == 2


def test_a_budget_that_nothing_meets_has_no_choice():
    assert knapsack([np.ones(1)], [np.full(1, 2.0)], 1.9) is None
