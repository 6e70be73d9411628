"""What scikit-learn makes of a table, to compare networks with."""

import time
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from kbp.data.lazy import by_parts
from kbp.data.table import TableSplits
from kbp.reports.result_table import COMPARABLE

TREES = "gradient-boosted trees"
# What bounds the time that the baselines take: on one core some 10 s.
MOST_VALUES, MOST_TREES, MOST_STEPS = 4_000_000, 1000, 300
_LEAST_ROWS, _LEAST_ROUNDS = 1000, 10


@dataclass(frozen=True)
class Baselines:
    """What the baselines predict, and what it took.

    Attributes:
        predictions: by the name of each method, classes or numbers of the test
            rows, `(rows,)`.
        rows: of the training rows, how many they were fitted on.
        seconds: that they took.
    """

    predictions: dict[str, np.ndarray]
    rows: int
    seconds: float

    def said(self, train: int) -> str:
        """Say what it took.

        Args:
            train: how many training rows there are.
        """
        part = f" on {self.rows} of {train} rows" if self.rows < train else ""
        return f"The baselines took {self.seconds:.1f} s{part}."


def fit(splits: TableSplits) -> Baselines:
    """Fit the baselines on the training rows and ask them about the test rows.

    Of very many rows the first ones are taken, which are in random order.

    Args:
        splits: a table.
    """
    from sklearn.exceptions import ConvergenceWarning

    start, train, found = time.perf_counter(), splits.train, {}
    columns = train.inputs.shape[1]
    rows = min(len(train), max(_LEAST_ROWS, MOST_VALUES // columns))
    inputs, labels = train.inputs[:rows], train.labels[:rows].ravel()
    # Threads that wait for each other on a busy machine take 30 times as long.
    with threadpool_limits(1), warnings.catch_warnings():
        # It is good enough to compare with where it stops.
        warnings.simplefilter("ignore", ConvergenceWarning)
        for name, method in _methods(splits).items():
            method.fit(inputs, labels)
            found[name] = by_parts(method.predict, splits.test.inputs)
    return Baselines(found, rows, time.perf_counter() - start)


def _methods(splits: TableSplits) -> dict[str, Any]:
    """Return the methods by name, from the simplest on."""
    # Imported here: they take a second, and most runs have no table.
    from sklearn.compose import make_column_transformer
    from sklearn.dummy import DummyClassifier, DummyRegressor
    from sklearn.ensemble import (
        HistGradientBoostingClassifier,
        HistGradientBoostingRegressor,
    )
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    categorical = splits.columns.categorical
    encoding = make_column_transformer(
        (StandardScaler(), ~categorical),
        (OneHotEncoder(handle_unknown="ignore"), categorical),
    )
    rounds = MOST_TREES // max(1, len(splits.class_names))
    trees: dict[str, Any] = {
        "categorical_features": categorical,
        "random_state": 0,
        "max_iter": min(100, max(_LEAST_ROUNDS, rounds)),  # 100 are usual
    }
    if splits.class_names:
        return {
            "most frequent class": DummyClassifier(strategy="most_frequent"),
            "logistic regression": make_pipeline(
                encoding, LogisticRegression(max_iter=MOST_STEPS)
            ),
            TREES: HistGradientBoostingClassifier(**trees),
        }
    return {
        "mean": DummyRegressor(strategy="mean"),
        "ridge regression": make_pipeline(encoding, Ridge()),
        TREES: HistGradientBoostingRegressor(**trees),
    }


def remark(
    gains: dict[str, np.ndarray],
    as_text: dict[str, str],
    shares: dict[str, float],
    names: str,
) -> str:
    """Say in words how a network compares with the best of the baselines.

    A difference counts if it is more than two of its standard errors, by the
    test rows that both were asked about.

    Args:
        gains: by the name of each baseline, how much better than the network it
            is at each test row; the first is the simplest.
        as_text: the same on average, in words such as "1.2 points".
        shares: how far its score is from the network's, as a share of that;
            what is undecided is called as good only within `COMPARABLE`.
        names: of the rows, such as "300 test rows".
    """
    simplest = next(iter(gains))
    best = max(gains, key=lambda name: gains[name].mean())
    sign = _sign(gains[best])
    if sign > 0:
        said = (
            f"{best.capitalize()} are ahead of the network by {as_text[best]}"
        )
        if best != TREES:
            said = said.replace(" are ", " is ", 1)
    elif sign < 0:
        said = (
            f"The network is ahead of the best baseline, {best}, by "
            f"{as_text[best]}"
        )
    elif shares[best] > COMPARABLE:
        said = (
            f"The network and the best baseline, {best}, are {as_text[best]} "
            f"apart, but cannot be told apart by {names}"
        )
    else:
        said = (
            f"The network is as good as the best baseline, {best}, as far as "
            f"{names} can tell"
        )
    if gains[simplest].mean() >= 0:
        said += f"; it is no better than the {simplest}"
    return f"{said}."


def _sign(gains: np.ndarray) -> int:
    """Return 1 or -1 if the mean is so far from zero, 0 if it may be chance."""
    error = gains.std() / max(1, len(gains)) ** 0.5
    return int(np.sign(gains.mean())) if abs(gains.mean()) > 2 * error else 0
