"""Tables of classes, against scikit-learn."""

import numpy as np
import pytest
from sklearn import metrics

from kbp.reports.class_tables import class_tables

NAMES = ("ant", "bee", "cat", "dog")


def tables(predicted, labels, names=NAMES):
    made = class_tables(
        np.array(predicted), np.array(labels), names, "test examples"
    )
    return list(made.values())


def test_shares_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    labels, predicted = rng.integers(0, 4, (2, 200))
    predicted[::2] = labels[::2]
    beside, each = tables(predicted, labels)
    precision, recall, _, n = metrics.precision_recall_fscore_support(
        labels, predicted
    )
    for i, row in enumerate(each.rows):
        assert row[:4] == (
            *(NAMES[i], str(n[i])),
            *(f"{recall[i]:.1%}", f"{precision[i]:.1%}"),
        )
    confusion = metrics.confusion_matrix(labels, predicted)
    np.fill_diagonal(confusion, 0)
    for row, counts in zip(each.rows, confusion, strict=True):
        assert row[4] == f"{NAMES[counts.argmax()]} ({counts.max()})"
    guess = np.bincount(labels).max() / 200
    assert beside.rows[0][1] == f"{guess:.2%}"
    assert beside.rows[1][1] == f"{np.mean(labels == predicted):.2%}"


@pytest.mark.parametrize(
    ("right", "said"),
    [
        (50, "The network is no better than naming ant every time (100 test"),
        (30, "The network is no better than naming ant every time"),
        (53, "These are too few to say that it is better than naming ant"),
        (90, "The network is better than naming ant every time (100 test"),
    ],
)
def test_what_is_no_better_than_a_guess_is_said(right, said):
    """Fifty are ants; as many of those right are others."""
    labels = np.repeat([0, 1], 50)
    predicted = 1 - labels
    predicted[: right // 2] = 0
    predicted[50 : 50 + right - right // 2] = 1
    beside, _ = tables(predicted, labels, NAMES[:2])
    assert beside.remark.startswith(said)


def test_absent_classes_have_no_shares():
    _, each = tables([0, 0, 1], [0, 0, 0])
    assert each.rows[1] == ("bee", "0", "-", "0.0%", "-")
    assert each.rows[3] == ("dog", "0", "-", "-", "-")
    assert tables([], []) == []


@pytest.mark.parametrize(("count", "shown"), [(20, 2), (21, 1)])
def test_many_classes_have_no_rows(count, shown):
    names = tuple(map(str, range(count)))
    assert len(tables(range(count), range(count), names)) == shown
