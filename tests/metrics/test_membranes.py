"""Rand and information scores of cells."""

import itertools

import numpy as np
import pytest

from kbp.metrics import information_f_score, rand_f_score


def grid(*columns):
    """Membranes along some columns of a 6x12 image."""
    mask = np.zeros((6, 12), bool)
    mask[:, columns] = True
    return mask


def by_pairs(true, found):
    """The Rand F-score, counted pair by pair (a pixel with itself, too)."""
    pairs = [*itertools.product(range(len(true)), repeat=2)]
    same_true = np.array([true[a] == true[b] for a, b in pairs])
    same_found = np.array([found[a] == found[b] for a, b in pairs])
    both = np.sum(same_true & same_found)
    return 2 * both / (same_true.sum() + same_found.sum())


def test_same_cells_score_one():
    for score in (rand_f_score, information_f_score):
        assert score(grid(4, 8), grid(4, 8)) == pytest.approx(1)
        # What is predicted where the true membrane is does not count.
        assert score(grid(3, 4, 8), grid(3, 8)) == pytest.approx(1)


def test_a_gap_that_joins_two_cells_costs_much():
    gap = grid(4, 8)
    gap[3, 4] = False
    for score in (rand_f_score, information_f_score):
        assert score(grid(4, 8), gap) < 0.85
        assert score(grid(4, 8), grid(4, 8)) > score(grid(4, 8), grid(8))


def test_rand_score_counts_pairs():
    found = grid(2, 8)
    cells = np.repeat([[1, 1, 1, 1, 0, 2, 2, 2, 2, 2, 2, 2]], 6, axis=0)
    pieces = np.repeat([[1, 1, 0, 3, 3, 3, 3, 3, 0, 4, 4, 4]], 6, axis=0)
    counted = cells > 0
    assert rand_f_score(grid(4), found) == pytest.approx(
        by_pairs(cells[counted], pieces[counted])
    )


@pytest.mark.parametrize("score", [rand_f_score, information_f_score])
def test_masks_without_cells_or_of_other_shapes_are_refused(score):
    for true in (np.ones_like(grid(4)), grid(4)[:2]):
        with pytest.raises(ValueError, match="masks of one shape"):
            score(true, grid(4))


def test_information_score_is_the_definition():
    def entropy(*labels):
        _, counts = np.unique(np.stack(labels), axis=1, return_counts=True)
        shares = counts / counts.sum()
        return -(shares * np.log(shares)).sum()

    true = np.repeat([[1] * 4 + [2] * 7], 6, axis=0).ravel()
    found = np.repeat([[1] * 7 + [0] + [2] * 3], 6, axis=0).ravel()
    mutual = entropy(true) + entropy(found) - entropy(true, found)
    assert information_f_score(grid(4), grid(8)) == pytest.approx(
        2 * mutual / (entropy(true) + entropy(found))
    )
