"""Rows of a table, split, and what its columns are."""

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from kbp.data.splits import Examples, Splits
from kbp.errors import UserError

MISSING = ("refuse", "mean")  # what may be done about missing numbers
_LEAST_DEVIATION = 1e-30
_PRECISION = 1e-2  # of a standardized number, which 8 bits hold to 3e-2


@dataclass(frozen=True)
class Column:
    """One column of a table, as the training rows show it.

    Attributes:
        name: of the column.
        categories: in the order of their numbers, which count from 1; none if
            the column holds numbers.
        mean: of its numbers.
        deviation: standard deviation of its numbers.
    """

    name: str
    categories: tuple[str, ...] = ()
    mean: float = 0.0
    deviation: float = 1.0

    @classmethod
    def of_numbers(
        cls, name: str, values: np.ndarray, advice: str = ""
    ) -> "Column":
        """Return a column of numbers.

        Args:
            name: of the column.
            values: float64, of the training rows; NaN where one is missing.
            advice: what to do about a constant column, for errors.

        Raises:
            UserError: the values do not differ, or by too little for float32.
        """
        known = values[~np.isnan(values)]
        if not len(known) or not np.ptp(known):
            raise UserError(
                f"column {name!r} has no two different values in the training "
                f"rows{advice}."
            )
        mean, deviation = float(known.mean()), float(known.std())
        with np.errstate(all="ignore"):  # the next lines look at what came out
            narrow = known.astype("float32") - np.float32(mean)
            narrow = narrow / np.float32(deviation)
            gap = np.abs(narrow - (known - mean) / deviation).max()
        # Processors count the smallest numbers of float32 as zero.
        if not gap < _PRECISION or deviation < _LEAST_DEVIATION:
            raise UserError(
                f"column {name!r} varies by {deviation:g} around {mean:g}, "
                "which float32 cannot hold; give it another unit, or subtract "
                "a constant."
            )
        return cls(name, mean=mean, deviation=deviation)

    @property
    def is_number(self) -> bool:
        """Whether the column holds numbers."""
        return not self.categories


@dataclass(frozen=True)
class TableColumns:
    """What a model of a table takes and gives.

    Attributes:
        features: columns that the model takes, in this order.
        target: column that it gives; its categories are the classes, which
            count from 0 as the model's outputs do.
        missing: what is done about missing numbers, see `csv_table`.
        missing_values: what stands for a missing value, as text.
    """

    features: tuple[Column, ...]
    target: Column
    missing: str = "refuse"
    missing_values: tuple[str, ...] = ()

    @property
    def numbers(self) -> tuple[Column, ...]:
        """The features that are numbers."""
        return tuple(column for column in self.features if column.is_number)

    @property
    def categorical(self) -> np.ndarray:
        """Which features are categories, `(features,)`."""
        return np.array([not column.is_number for column in self.features])

    def words(self) -> list[tuple[str, tuple[str, ...]]]:
        """Return the names of the columns, and their categories, in order."""
        columns = (*self.features, self.target)
        return [(column.name, column.categories) for column in columns]

    def to_json(self) -> str:
        """Return text that `from_json` and people read, for the model's users.

        A model takes the columns in this order, and categories by these
        numbers; 0 stands for any other.
        """
        target = _as_dict(self.target)
        if "categories" in target:
            target["classes"] = list(target.pop("categories"))
        content = {
            "columns": [_as_dict(column) for column in self.features],
            "target": target,
            "missing": self.missing,
            "missing_values": list(self.missing_values),
        }
        return json.dumps(content, indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "TableColumns":
        """Return what `to_json` wrote.

        Raises:
            UserError: the text is something else.
        """
        try:
            content = json.loads(text)
            target = dict(content["target"])
            classes = target.pop("classes", ())
            features = tuple(map(_from_dict, content["columns"]))
            names = [column.name for column in features]
            if len({*names}) < len(names) or len({*classes}) < len(classes):
                raise ValueError("a column or class has the name of another")
            if content["missing"] not in MISSING:
                raise ValueError(f"missing is {content['missing']!r}")
            return cls(
                features,
                dataclasses.replace(_from_dict(target), categories=(*classes,)),
                str(content["missing"]),
                tuple(map(str, content.get("missing_values", ()))),
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise UserError(
                f"does not say what columns a model takes: {error!r}"
            ) from error


def _as_dict(column: Column) -> dict[str, Any]:
    if column.is_number:
        return {
            "name": column.name,
            "mean": column.mean,
            "deviation": column.deviation,
        }
    numbers = range(1, len(column.categories) + 1)
    numbered = dict(zip(column.categories, numbers, strict=True))
    return {"name": column.name, "categories": numbered}


def _from_dict(content: Mapping[str, Any]) -> Column:
    categories = content.get("categories", {})
    in_order = sorted(categories, key=categories.__getitem__)
    if sorted(categories.values()) != [*range(1, len(categories) + 1)]:
        raise ValueError(f"categories have the numbers {categories}")
    return Column(
        str(content["name"]),
        tuple(in_order),
        float(content.get("mean", 0)),
        float(content.get("deviation", 1)),
    )


@dataclass(frozen=True, kw_only=True)
class TableSplits(Splits):
    """A table, split into rows for training, validation and test.

    Inputs are float32 `(rows, columns)`: numbers in their own units, and
    categories by their numbers. Labels are classes, if there are
    `class_names`, else numbers `(rows, 1)`.

    Attributes:
        columns: what the columns are.
        filled: how many missing numbers were filled in.
        left_out: the columns of the file that are not used.
        warnings: sentences about columns that are probably something else.
        rows: places of each split's rows in the file.
        read_column: `read_column(name) -> text of all rows`, also of columns
            that are no features.
    """

    columns: TableColumns = field(
        default_factory=lambda: TableColumns((), Column(""))
    )
    filled: int = 0
    left_out: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    rows: Mapping[str, Sequence[int]] = field(default_factory=dict)
    read_column: Callable[[str], Sequence[str]] | None = None

    def values_of(self, column: str, split: str) -> list[str]:
        """Return what a column of the file holds in the rows of a split.

        Raises:
            UserError: the file has no such column, or it has a gap.
        """
        if self.read_column is None:
            raise UserError("these rows are of no file whose columns are known")
        values = self.read_column(column)
        return [values[row] for row in self.rows[split]]

    def with_numbers(self) -> "TableSplits":
        """Return the same rows, their classes as the numbers they name.

        Raises:
            ValueError: the name of a class is no number.
            UserError: the numbers of the training rows do not differ.
        """
        if not self.class_names:
            return self
        names = pd.Series(self.class_names, dtype=str)
        values = pd.to_numeric(names).to_numpy("float64")  # not Python's 1_000
        if not np.isfinite(values).all():
            raise ValueError(f"a class is none of {self.class_names}")

        def labelled(rows: Examples) -> Examples:
            labels = values[rows.labels].astype("float32")[:, None]
            return Examples(rows.inputs, labels)

        known = values[self.train.labels]
        target = Column.of_numbers(self.columns.target.name, known)
        return dataclasses.replace(
            self,
            train=labelled(self.train),
            validation=labelled(self.validation),
            test=labelled(self.test),
            class_names=(),
            columns=dataclasses.replace(self.columns, target=target),
        )
