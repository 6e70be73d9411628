"""Columns that are probably something else are found, and others are not."""

import numpy as np
import pandas as pd
import pytest

from kbp.data.checks import suspicions

RNG = np.random.default_rng(0)
WARM = RNG.normal(10, 8, 200).round(1)


def sentinels(values):
    values = np.array(values, "float64")
    column = pd.Series(values, name="x", index=np.arange(len(values)) + 2)
    return suspicions.sentinels("a.csv", column, values)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([*WARM, *[-999] * 5], ["-999 at 5 lines, the first is 202,"]),
        ([*[9999] * 2, *WARM], ["9999 at 2 lines, the first is 2,"]),
        (
            [*WARM, *[-9999] * 3, *[1e6] * 3, np.nan],
            ["-9999 at 3 lines", "1000000 at 3 lines"],
        ),
        ([0, 1, 1, 0, 99, 99], ["99 at 2 lines"]),
        ([*np.linspace(450, 600, 50), 0, 0, 0], ["0 at 3 lines"]),
        ([*WARM, *[-999.9] * 500], ["-999.9 at 500 lines"]),
    ],
)
def test_repeated_numbers_far_outside_are_named(values, words):
    found = sentinels(values)
    assert len(found) == len(words)
    for sentence, part in zip(found, words, strict=True):
        assert part in sentence
        value = part.split(" at ")[0]
        assert f'missing_values = ["{value}"]' in sentence


@pytest.mark.parametrize(
    "values",
    [
        [*WARM, -999],  # once: it may be true
        RNG.integers(0, 2, 100),
        RNG.lognormal(0, 2, 2000).round(1),
        RNG.choice([1, 2, 5, 10], 300),
        [*np.zeros(100), *[50] * 5],
        [*WARM, *WARM + 300],
        [np.nan] * 5,
        [],
    ],
)
def test_usual_numbers_are_not(values):
    assert sentinels(values) == []


@pytest.mark.parametrize(
    ("values", "found"),
    [
        (np.arange(50), True),
        (1e7 - 3 * np.arange(50), True),
        (RNG.permutation(50) + 7, True),
        ([*np.arange(50), np.nan], True),
        (np.arange(50) / 2, False),
        (RNG.integers(10**6, 10**7, 50), False),
        (np.arange(50) // 2, False),
        (np.arange(5), False),
    ],
)
def test_row_numbers_are_told_from_numbers(values, found):
    said = suspicions.identifier("a.csv", "nr", np.array(values, float))
    assert bool(said) == found
    assert all('data.ignore = ["nr"] leaves it out' in text for text in said)


@pytest.mark.parametrize(
    ("form", "numeric"),
    [
        ("%Y-%m-%d", False),
        ("%d.%m.%Y", False),
        ("%m/%d/%y", False),
        ("%Y-%m-%dT%H:%M:%S+02:00", False),
        ("%d.%m.%Y %H:%M", False),
        ("%H:%M", False),
        ("%d %b %Y", False),
        ("%B %d, %Y", False),
        ("%b-%y", False),
        ("%m/%Y", False),
        ("%m.%Y", True),
        ("%Y%m%d", True),
        ("%Y%m", True),
    ],
)
def test_dates_are_found_however_they_are_written(form, numeric):
    days = pd.date_range("2019-03-01 01:10", "2024-01-01", periods=40)
    text = pd.Series(days.strftime(form), name="day")
    (said,) = suspicions.dates("a.csv", text, numeric=numeric)
    assert f"as {text[0]!r}, which count as" in said
    assert 'data.ignore = ["day"]' in said


@pytest.mark.parametrize(
    ("words", "numeric"),
    [
        (["Bonn", "Kiel", "May"], False),
        (["1.2.3", "1.10.0"], False),
        (["A-1", "B-2"], False),
        (["2019", "2020"], False),
        (["1.5", "12.25", "3.2001"], True),
        (["2019", "2020"], True),
        (["200000", "213099", "190001"], True),
    ],
)
def test_other_words_and_numbers_are_no_dates(words, numeric):
    text = pd.Series(words, name="x")
    assert suspicions.dates("a.csv", text, numeric=numeric) == []
