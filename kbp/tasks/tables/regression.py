"""A number for each row of a table."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import keras
import numpy as np

from kbp._utils.config import choice
from kbp.data.table import TableSplits
from kbp.errors import UserError
from kbp.export import TensorInfo
from kbp.layers import InverseStandardization
from kbp.losses import ScaledError
from kbp.losses.scaled_error import ERRORS
from kbp.reports.result_table import ResultTable
from kbp.reports.table_figures import predicted_against_true
from kbp.tasks.registry import register_task
from kbp.tasks.tables import baselines
from kbp.tasks.tables.tabular import Tabular

if TYPE_CHECKING:
    from kbp.recipes.recipe import Recipe

_PREDICTED = "Predictions of the int8 file against the true numbers"


@dataclass(frozen=True)
class NumberLossConfig:
    """Section `[loss]` of numbers, see `kbp.losses.ScaledError`."""

    name: str = choice("mse", ERRORS, formerly="error")


@register_task("tabular_regression")
class TabularRegression(Tabular):
    """A number for each row; the score is the root of the mean squared error.

    Models answer in the target's own units, and so do the files made of them;
    the loss is that of standardized numbers.
    """

    metric = "RMSE"
    metric_format = "{:.6g}"
    sections: ClassVar[dict[str, type]] = {"loss": NumberLossConfig}
    gives = "numbers in the target's own units"
    captions: ClassVar[Mapping[str, str]] = {
        _PREDICTED: "A point on the line is right; above it the file says too "
        "much, below it too little."
    }

    def __init__(self, recipe: "Recipe", splits: TableSplits):
        if isinstance(splits, self.splits_kind):
            try:
                splits = splits.with_numbers()
            except UserError as error:
                raise UserError(f"data.target: {error}") from error
            except ValueError as error:
                raise UserError(
                    f"data.target: {splits.columns.target.name!r} holds words, "
                    f"such as {splits.class_names[-1]!r}, and no numbers; "
                    '[task] name = "tabular_classification" learns classes.'
                ) from error
        super().__init__(recipe, splits)

    def make_loss(self) -> keras.losses.Loss:
        target = self.splits.columns.target
        error = self.section(NumberLossConfig).name
        return ScaledError(target.deviation, error)

    def build(self) -> keras.Model:
        model, target = self.encoded(1), self.splits.columns.target
        units = InverseStandardization(name="target_units")
        outputs = units(model.output)
        units.set_statistics(mean=[target.mean], deviation=[target.deviation])
        return keras.Model(model.input, outputs, name=model.name)

    def answer(self) -> TensorInfo:
        name = self.splits.columns.target.name
        return TensorInfo(
            "number",
            description=f"{name}, in its own units.",
            axes=("number",),
        )

    def metrics(self) -> list[Any]:
        return [keras.metrics.RootMeanSquaredError(name="rmse")]

    def score(self, outputs: np.ndarray, split: str = "test") -> float:
        return _rmse(outputs[:, 0], self.true(split))

    def true(self, split: str = "test") -> np.ndarray:
        """Return the true numbers of a split, `(rows,)`."""
        labels: np.ndarray = self.rows(split).labels[:, 0]
        return labels.astype("float64")

    def details(self, outputs: np.ndarray) -> dict[str, str]:
        _, r2, mae = self.scores(outputs[:, 0])
        return {"R2": r2, "MAE": mae}

    def scores(self, predicted: np.ndarray) -> tuple[str, str, str]:
        """Return RMSE, R2 and MAE for the test rows, as text."""
        true, error = self.true(), _rmse(predicted, self.true())
        mae = float(np.abs(predicted - true).mean())
        return (
            self.metric_format.format(error),
            f"{1 - error**2 / true.var():.3f}" if np.ptp(true) else "-",
            self.metric_format.format(mae),
        )

    def tables(self, outputs: np.ndarray) -> dict[str, ResultTable]:
        true, own = self.true(), outputs[:, 0]
        error = _rmse(own, true)
        others = self.baselines.predictions
        gains = {
            k: np.square(own - true) - np.square(v - true)
            for k, v in others.items()
        }
        less = {k: abs(1 - _rmse(v, true) / error) for k, v in others.items()}
        rows = {**others, "this network": own}
        return self.compared(
            ("RMSE", "R2", "MAE"),
            [(name, *self.scores(values)) for name, values in rows.items()],
            baselines.remark(
                gains,
                {k: f"{v:.1%} of its RMSE" for k, v in less.items()},
                less,
                f"{len(true)} test rows",
            ),
        )

    def figures(self, outputs: np.ndarray) -> dict[str, str]:
        return {
            _PREDICTED: predicted_against_true(
                outputs[:, 0], self.true(), self.splits.columns.target.name
            )
        }


def _rmse(predicted: np.ndarray, true: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(predicted - true))))
