"""Series from a CSV file, split in time."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kbp._utils.config import check_unused, choice, number
from kbp.data import cache
from kbp.data.formats.series_format import SeriesFormat
from kbp.data.formats.series_table import Table, read
from kbp.data.registry import register_dataset
from kbp.data.series import Covariates, SeriesSplits
from kbp.data.series_files.ends import Split, by_dates, by_fractions, by_rows
from kbp.data.series_files.kept import load as load_kept
from kbp.data.series_files.part import Part, part_of, windows_of
from kbp.data.splitting import SPLITS
from kbp.data.tables.rows import where
from kbp.errors import UserError

# Keys of the config that count for each way to split.
_KEYS_OF_SPLIT = {
    "fractions": ("validation_fraction", "test_fraction"),
    "rows": ("rows",),
    "dates": ("dates",),
}
_KEYS = tuple(key for keys in _KEYS_OF_SPLIT.values() for key in keys)


@dataclass(frozen=True)
class CsvSeriesConfig(SeriesFormat):
    """Keys of `[data]` for `name = "csv_series"`, a file of a person's own.

    The rows are split in time: by `validation_fraction` and `test_fraction`, or
    at `rows` or `dates`, before which training, validation and test end. Each
    series is split for itself. `cache` says where standardized rows are, see
    `kbp.data.cache`: in "memory" or on the "disk".
    """

    file: str = ""
    lookback: int = number(336, 1, 1_000_000)
    horizon: int = number(96, 1, 1_000_000)
    split: str = choice("fractions", tuple(_KEYS_OF_SPLIT))
    validation_fraction: float = number(0.1, 0, below=0.5)
    test_fraction: float = number(0.2, above=0, below=0.5)
    rows: tuple[int, ...] = ()
    dates: tuple[str, ...] = ()
    cache: str = choice("auto", cache.MODES)


@register_dataset(
    "csv_series", config=CsvSeriesConfig, task="forecasting", in_data_dir=False
)
def load_config(
    config: CsvSeriesConfig, data_dir: str | Path | None
) -> SeriesSplits:
    """Load what a recipe asks for, see `load`.

    Raises:
        UserError: the file is wrong, or a key belongs to another split.
    """
    if not config.file:
        raise UserError("data.file must name a CSV file")
    own = _KEYS_OF_SPLIT[config.split]
    others = [key for key in _KEYS if key not in own]
    reason = f"data.split is {config.split!r}"
    check_unused("data", config, reason, *others)
    config.format.check()
    splits = {
        "fractions": by_fractions(
            config.validation_fraction, config.test_fraction
        ),
        "rows": by_rows(config.rows),
        "dates": by_dates(config.dates),
    }
    path, split = Path(config.file), splits[config.split]
    if config.cache == "none":
        raise UserError(
            f'{path}: data.cache must be "memory" or "disk" for series: a row '
            "is filled in, resampled and standardized with others before it "
            "is used, so none is read from the file by itself."
        )
    windows = {"lookback": config.lookback, "horizon": config.horizon}
    if where(path, config.cache) == "memory":
        return load(path, config.format, split=split, **windows)
    settings = dataclasses.asdict(config)
    del settings["file"], settings["cache"]
    return load_kept(
        path, config.format, split=split, settings=settings, **windows
    )


def load(
    path: str | Path,
    form: SeriesFormat,
    *,
    lookback: int,
    horizon: int,
    split: Split,
) -> SeriesSplits:
    """Load the windows of a file, split in time and standardized.

    Args:
        path: of the file; its first line names the columns.
        form: how it holds series.
        lookback: rows that a model sees.
        horizon: rows after them, which it forecasts.
        split: `split(times) -> ends`, the row numbers at which training,
            validation and test end; see `by_rows`.

    Returns:
        Windows; what is to be forecast is standardized with mean and deviation
        of the training rows of its own series, covariates keep their units.

    Raises:
        UserError: the file is wrong, see `series_table.read`; too short for the
            windows of a split; or a column is constant in the training rows, or
            elsewhere too far from them for float32.
    """
    table = read(path, form)
    parts = [
        part_of(path, table, series, lookback, horizon, split)
        for series in table.series
    ]
    rows = np.concatenate([part.rows for part in parts])
    before = np.cumsum([0, *(len(part.rows) for part in parts[:-1])])
    train, validation, test = (
        windows_of(
            rows,
            before + [min(part.starts[name], default=0) for part in parts],
            np.array([len(part.starts[name]) for part in parts]),
            lookback=lookback,
            horizon=horizon,
            targets=len(table.names),
            past_covariates=len(form.past_covariates),
        )
        for name in SPLITS
    )
    return SeriesSplits(
        train,
        validation,
        test,
        names=table.names,
        mean=np.stack([part.mean for part in parts]),
        scale=np.stack([part.scale for part in parts]),
        counts=table.counts,
        step=table.step,
        zone=table.zone,
        warnings=table.warnings,
        series=tuple(series.name for series in table.series),
        covariates=_covariates(table, parts) if table.covariates else None,
        tested_from=str(max(part.tested_from for part in parts)),
    )


def _covariates(table: Table, parts: list[Part]) -> Covariates:
    """Measure the covariates of all series in their training rows."""
    known = np.concatenate(
        [part.rows[: part.end, len(table.names) :] for part in parts]
    ).astype("float64")
    varies = np.ptp(known, axis=0) > 0
    return Covariates(
        table.covariates,
        len(table.format.past_covariates),
        known.mean(axis=0),
        np.where(varies, known.std(axis=0), 1.0),
        table.categories,
    )
