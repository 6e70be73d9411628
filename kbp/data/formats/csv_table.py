"""A table in a CSV file: rows of numbers and categories, and a target."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.model_selection import train_test_split

from kbp._utils.config import check_unused, choice, number
from kbp.data import cache
from kbp.data.checks import suspicions
from kbp.data.formats import frames
from kbp.data.formats.table_rows import (
    check_near,
    encode,
    holds_words,
    learn_categories,
    learn_numbers,
)
from kbp.data.registry import register_dataset
from kbp.data.splits import Examples
from kbp.data.splitting import SPLITS, Indices, by_hash, some
from kbp.data.table import MISSING, Column, TableColumns, TableSplits
from kbp.data.tables.csv_records import SEPARATORS
from kbp.data.tables.rows import KeptRows, kept_rows, opened, where
from kbp.data.tables.source import Columns, Frame
from kbp.errors import UserError

# Different numbers of a target that may name classes as well.
MOST_NUMBERS = 50


@dataclass(frozen=True)
class CsvTableConfig:
    """Keys of `[data]` for `name = "csv_table"`, a file of a person's own.

    Features are the `columns`, by default all named ones but the target and
    those to `ignore`; categories are the `categorical` ones, by default those
    that hold words. Missing numbers are refused, or become the mean of the
    training rows; a missing category is an unknown one. Rows with one value in
    `group_column` stay in one split. `cache` says where encoded rows are, see
    `kbp.data.cache`.
    """

    file: str = ""
    target: str = ""
    columns: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    categorical: tuple[str, ...] = ()
    group_column: str = ""
    missing: str = choice("refuse", MISSING)
    missing_values: tuple[str, ...] = ()
    separator: str = choice("", ("", *SEPARATORS))
    decimal: str = choice(".", frames.DECIMALS)
    encoding: str = "utf-8"
    cache: str = choice("auto", cache.MODES)
    validation_fraction: float = number(0.15, 0, below=0.5)
    test_fraction: float = number(0.2, above=0, below=0.5)
    split_seed: int = number(0, 0, 2**31 - 1)


@register_dataset(
    "csv_table",
    config=CsvTableConfig,
    task="tabular_classification",
    in_data_dir=False,
)
def load(config: CsvTableConfig, data_dir: str | Path | None) -> TableSplits:
    """Load a table.

    Labels are classes where the target holds words, or at most `MOST_NUMBERS`
    different numbers.

    Raises:
        UserError: the file is wrong, a column is missing, constant or of the
            wrong kind, or the rows cannot be split.
    """
    if not config.file:
        raise UserError("data.file must name a CSV file")
    if config.group_column:
        reason = "data.group_column splits by the groups' names"
        check_unused("data", config, reason, "split_seed")
    path = Path(config.file)
    mode = where(path, config.cache)
    form = {"separator": config.separator, "encoding": config.encoding}
    frame: Frame
    if mode == "memory":
        frame = frames.read_frame(path, **form)
    else:
        frame = Columns(path, opened(path, *form.values()))
    names = _features(path, frame, config)
    for name in (*names, config.target):
        if isinstance(frame, Columns):
            frame.missing[name] = config.missing_values
        else:
            frame[name] = frames.without(frame[name], config.missing_values)
    labels, classes = _target(path, frame, config)
    rows = _split(path, frame, config, labels if classes else None)
    known = np.array(rows["train"])
    if classes:
        target = Column(config.target, classes)
    else:
        target = learn_numbers(path, config.target, labels[known, 0], "")
        check_near(path, frame[config.target], labels[:, 0], target)
        labels = labels.astype("float32")
    columns = TableColumns(
        tuple(_learn(path, frame[name], config, known) for name in names),
        target,
        config.missing,
        config.missing_values,
    )
    if isinstance(frame, Columns):
        held = kept_rows(path, frame, columns, config.decimal, mode, form)
    else:
        held = KeptRows.of(encode(path, frame, columns, decimal=config.decimal))
    every = Examples(held.inputs, labels)
    train, validation, test = (
        every.take(np.array(rows[split], int)) for split in SPLITS
    )
    return TableSplits(
        train,
        validation,
        test,
        classes,
        columns=columns,
        filled=held.filled,
        remarks=held.remarks,
        kept=held.said,
        left_out=_left_out(frame, {*names, config.target}),
        warnings=tuple(_suspicious(path, frame, columns, config.decimal)),
        rows=rows,
        read_column=functools.partial(_whole_column, path, form),
    )


def _left_out(frame: Frame, used: set[str]) -> tuple[str, ...]:
    names = map(str, frame.columns)
    return tuple(x or "one without a name" for x in names if x not in used)


def _whole_column(path: Path, form: dict[str, str], name: str) -> Sequence[str]:
    """Return the text of a column in all rows, read from the file again."""
    frame = Columns(path, opened(path, *form.values()))
    text = frames.words(frames.find_column(path, frame, name))
    if text.isna().any():
        raise UserError(
            f"{path}, line {text.index[text.isna()][0]}: has no value in "
            f"column {name!r}"
        )
    return text.tolist()


def _suspicious(
    path: Path, frame: Frame, columns: TableColumns, decimal: str
) -> list[str]:
    """Return sentences about columns that are probably something else."""
    target, found = columns.target, []
    for column in (*columns.features, target):
        held, is_target = frame[column.name], column is target
        if column.is_number:
            values = frames.numbers(path, held, decimal=decimal)
            found += suspicions.sentinels(path, held, values)
            if not is_target:
                found += suspicions.identifier(path, column.name, values)
        if not is_target:
            found += suspicions.dates(
                path, frames.words(held), numeric=column.is_number
            )
    return found


def _features(path: Path, frame: Frame, config: CsvTableConfig) -> list[str]:
    """Return the names of the columns that a model takes."""
    if config.target not in frame.columns or not config.target:
        raise UserError(
            f"{path}: data.target must name the column to predict, one of "
            f"{', '.join(map(str, frame.columns[:100]))}; received "
            f"{config.target!r}"
        )
    for key in ("columns", "ignore", "categorical"):
        for name in getattr(config, key):
            frames.find_column(path, frame, name)
        if len({*getattr(config, key)}) < len(getattr(config, key)):
            raise UserError(f"data.{key} names a column twice")
    if config.target in config.ignore:
        raise UserError("data.ignore must not name the target")
    apart = {"", config.target, config.group_column, *config.ignore}
    names = [n for n in config.columns or frame.columns if n not in apart]
    left = {*config.columns, *config.categorical} - {*names}
    if left:
        raise UserError(
            f"data.columns and data.categorical: {some(map(repr, left))} is "
            "no feature, but the target, the group, ignored or not among "
            "data.columns"
        )
    if not names:
        raise UserError(f"{path}: has no column but {', '.join(apart - {''})}.")
    return names


def _target(
    path: Path, frame: Frame, config: CsvTableConfig
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return classes with their names, or numbers `(rows, 1)` without."""
    column = frame[config.target]
    frames.check_formulas(path, column)
    text = frames.words(column)
    if text.isna().any():
        line = text.index[text.isna()][0]
        word = str(column.loc[line]).strip()
        advice = "leave such lines out"
        if word and word.lower() != "nan":
            advice = f"{word!r} counts as none: rename it if it is a class"
        raise UserError(
            f"{path}, line {line}: has no value in the target "
            f"{config.target!r}, as {text.isna().sum()} of {len(text)} lines; "
            f"{advice}."
        )
    if holds_words(column, config.decimal):
        names = sorted(text.unique())
    else:
        values = frames.numbers(
            path,
            column,
            decimal=config.decimal,
            advice="the other values of the target are numbers: correct such "
            "lines, or leave them out",
            may_miss=False,
        )
        different = np.unique(values)
        if len(different) > MOST_NUMBERS:
            return values[:, None], ()
        names = [repr(value).removesuffix(".0") for value in different.tolist()]
        text = pd.Series(names)[np.searchsorted(different, values)]
    if len(names) == 1:
        raise UserError(
            f"{path}: the target {config.target!r} is {names[0]!r} in all "
            "rows, so there is nothing to learn."
        )
    numbers = {name: place for place, name in enumerate(names)}
    return text.map(numbers).to_numpy("int64"), tuple(names)


def _split(
    path: Path,
    frame: Frame,
    config: CsvTableConfig,
    classes: np.ndarray | None,
) -> Indices:
    """Return the rows of each split, in random order."""
    if config.group_column:
        indices = _split_groups(path, frame, config)
        rng = np.random.default_rng(0)
        return {k: rng.permutation(v).tolist() for k, v in indices.items()}
    parts = [
        max(1, round(fraction * len(frame))) if fraction else 0
        for fraction in (config.test_fraction, config.validation_fraction)
    ]
    if classes is not None and np.bincount(classes).min() < 3:
        classes = None  # the task of classes says which
    rest = np.arange(len(frame))
    found: list[list[int]] = []
    for size in parts:
        if not size:
            found.append([])
            continue
        try:
            rest, part = train_test_split(
                rest,
                test_size=size,
                random_state=config.split_seed,
                stratify=None if classes is None else classes[rest],
            )
        except ValueError as error:
            raise UserError(
                f"{path}: {len(frame)} rows cannot be split: {error}"
            ) from error
        found.append(part.tolist())
    return dict(zip(SPLITS, (rest.tolist(), *found[::-1]), strict=True))


def _split_groups(path: Path, frame: Frame, config: CsvTableConfig) -> Indices:
    """Return the rows of each split, those of a group in one."""
    column = frames.find_column(path, frame, config.group_column)
    names = frames.words(column)
    where = f"{path}: data.group_column = {config.group_column!r}"
    if names.isna().any():
        raise UserError(
            f"{path}, line {names.index[names.isna()][0]}: has no group in "
            f"{config.group_column!r}, as {names.isna().sum()} of {len(names)} "
            "lines; name the groups, or leave such lines out."
        )
    count = names.nunique()
    if count in (1, len(names)):
        each = "all rows one group" if count == 1 else "each row its own group"
        raise UserError(
            f"{where} makes {each}; it must name a column that some rows share "
            "and others do not, such as patients. Without it rows are split "
            "at random."
        )
    advice = (
        f"{where}: {count} groups are split by their names, and none of them "
        "is in the {split} split. Name more groups, take a larger {key}, or "
        "leave data.group_column out to split rows at random."
    )
    try:
        indices = by_hash(
            names.tolist(),
            validation_fraction=config.validation_fraction,
            test_fraction=config.test_fraction,
        )
    except UserError as error:
        key = "data.validation_fraction (0 does without)"
        raise UserError(advice.format(split="validation", key=key)) from error
    for split in ("train", "test"):
        if not indices[split]:
            key = "data.test_fraction" if split == "test" else "training share"
            raise UserError(advice.format(split=split, key=key))
    return indices


def _learn(
    path: Path,
    column: "pd.Series[Any]",
    config: CsvTableConfig,
    train: np.ndarray,
) -> Column:
    """Return what the training rows tell of a feature."""
    name = str(column.name)
    chosen = config.categorical
    words = holds_words(column, config.decimal)
    text = frames.words(column).dropna()
    grouped = text.str.fullmatch(frames.THOUSANDS).mean() > 0.5
    if words and not chosen and (grouped or not holds_words(column, ",")):
        raise UserError(
            f"{path}: column {name!r} holds numbers with commas, as "
            f"{text[text.str.contains(',', regex=False)].iloc[0]!r}; "
            f"{frames.about_commas(text)}. If they are categories, list all "
            "such columns in data.categorical."
        )
    if name in chosen or (words and not chosen):
        return learn_categories(path, column, train)
    advice = "correct it, or list the column in data.categorical or data.ignore"
    values = frames.numbers(path, column, decimal=config.decimal, advice=advice)
    return learn_numbers(path, name, values[train])
