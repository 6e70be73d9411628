"""Coverage of prediction intervals of the zoo's forecasts."""

import dataclasses
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np

from kbp import export, zoo
from kbp.benchmarks.core import markdown
from kbp.benchmarks.core.cases import Cases
from kbp.benchmarks.core.log import provenance
from kbp.benchmarks.core.registry import Options, register
from kbp.data.series import Windows
from kbp.tasks import make_task
from kbp.tasks.forecasting import Forecasting
from kbp.tasks.forecasts.intervals import RATE, Intervals, quantiles
from kbp.tasks.forecasts.walk import walk

# The zoo's entry of each case.
CASES = {
    f"{data}_{horizon}": f"bp_transformer_small.{data}_{horizon}"
    for horizon in (96, 720)
    for data in ("etth1", "etth2", "ettm1")
}
PLAIN, SCALED, ADAPTED = "plain", "scaled", "adapted"
# Other rates than kbp's, which show how much hangs on it.
_RATES = (RATE / 2, 2 * RATE)


def measure(entry: str, rounds: int, data_dir: str | Path | None) -> dict:
    """Calibrate intervals on validation windows, and use them on the test's.

    Args:
        entry: of the zoo, whose int8 file forecasts.
        rounds: has no effect; nothing is timed.
        data_dir: folder of the data sets.

    Returns:
        `entry`; `data` and `horizon`; `levels` in percent; `rows`, whose
        deviation scales the widths; numbers of windows; and for each way
        `coverage`, its `least` and `most` of a column, and the mean `width` of
        standardized values, a list over the levels each.
    """
    recipe = zoo.find(entry).recipe
    task = cast(Forecasting, make_task(recipe, data_dir))
    predict = export.Runner(zoo.file(entry)).predict
    task.calibrate(predict)
    splits, intervals = task.splits, cast(Intervals, task.intervals)
    outputs = {
        split: predict(task.inputs(split)) for split in ("validation", "test")
    }
    test = splits.test
    ways = {
        PLAIN: plain(splits.validation, test, outputs, intervals),
        **{
            name: _figures(found.coverage, found.width)
            for name, rate in {
                SCALED: 0.0,
                ADAPTED: RATE,
                **{f"{ADAPTED}, {rate:g}": rate for rate in _RATES},
            }.items()
            for found in [
                walk(
                    intervals,
                    test.past,
                    outputs["test"],
                    test.labels,
                    scale=np.ones(1),
                    rate=rate,
                )
            ]
        },
    }
    return {
        "entry": entry,
        "data": recipe.data.name,
        "horizon": test.horizon,
        "levels": list(intervals.levels),
        "rows": intervals.rows,
        "windows": [len(splits.validation), len(test)],
        "ways": ways,
    }


def plain(
    validation: Windows,
    test: Windows,
    outputs: dict[str, np.ndarray],
    intervals: Intervals,
) -> dict:
    """Return figures of intervals whose widths are those of no window's own.

    Args:
        validation: windows to calibrate on.
        test: windows to cover.
        outputs: forecasts of both.
        intervals: whose levels count.
    """
    known, came = validation.labels, test.labels
    shape = len(intervals.levels), known.shape[-1]
    coverage, width = np.zeros((2, *shape))
    for step in range(test.horizon):  # bounds the memory
        half = quantiles(
            np.abs(outputs["validation"][:, step] - known[:, step]),
            intervals.levels,
        )
        gaps = np.abs(outputs["test"][:, step] - came[:, step])
        coverage += (gaps <= half[:, None]).mean(axis=1) / test.horizon
        width += 2 * half / test.horizon
    return _figures(coverage, width)


def _figures(coverage: np.ndarray, width: np.ndarray) -> dict:
    return {
        "coverage": coverage.mean(axis=1).tolist(),
        "least": coverage.min(axis=1).tolist(),
        "most": coverage.max(axis=1).tolist(),
        "width": width.mean(axis=1).tolist(),
    }


def markdown_table(lines: list[dict]) -> str:
    """Return measured cases as Markdown: a table, and how it was measured."""
    titles = ["series, horizon", "nominal", PLAIN, SCALED, ADAPTED]
    rates = [
        abs(line["ways"][f"{ADAPTED}, {rate:g}"]["coverage"][i] - level / 100)
        for rate in _RATES
        for line in lines
        for i, level in enumerate(line["levels"])
    ]
    return "\n".join(
        [
            *markdown.table(titles, [r for x in lines for r in _rows(x)]),
            "",
            "Share of the test values inside, over all windows, steps and "
            "columns (least and most of a column); mean width in standard "
            "deviations of the training rows. Forecasts of the zoo's int8 "
            "files; calibrated on the validation windows. Plain: split "
            "conformal with absolute errors. Scaled: with errors over the "
            "deviation of the window's end, whose length validation chose. "
            "Adapted: scaled, and widened or narrowed row by row as outcomes "
            f"become known, at a rate of {RATE:g}; at {_RATES[0]:g} and "
            f"{_RATES[1]:g} the largest distance from the nominal coverage is "
            f"{100 * max(rates):.1f} points. " + provenance(lines[0], lines),
        ]
    )


def _rows(line: dict) -> list[list[str]]:
    return [
        [
            f"{line['data'].replace('ett', 'ETT')}, {line['horizon']}",
            f"{level:g} %",
            *(_cell(line["ways"][x], i) for x in (PLAIN, SCALED, ADAPTED)),
        ]
        for i, level in enumerate(line["levels"])
    ]


def _cell(figures: dict, place: int) -> str:
    coverage, least, most, width = (
        figures[key][place] for key in ("coverage", "least", "most", "width")
    )
    return (
        f"{100 * coverage:.1f} % ({100 * least:.0f} - {100 * most:.0f}); "
        f"{width:.2f}"
    )


class IntervalCases(Cases):
    """Cases that need data sets."""

    def start(self, names: Sequence[str], options: Options) -> None:
        measured = partial(_measured, data_dir=options.data_dir)
        # The copy's own `start` would make another copy.
        Cases.start(dataclasses.replace(self, measure=measured), names, options)


def _measured(name: str, rounds: int, data_dir: str | None = None) -> dict:
    return measure(CASES[name], rounds, data_dir)


INTERVALS = register(
    IntervalCases(
        name="intervals",
        cases=CASES,
        measure=_measured,
        show=lambda line: "\n".join(map(markdown.row, _rows(line))),
        markdown_table=markdown_table,
    )
)
