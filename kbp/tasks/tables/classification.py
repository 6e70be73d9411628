"""A class for each row of a table."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import keras
import numpy as np

from kbp.data.table import TableSplits
from kbp.errors import UserError
from kbp.reports import figures
from kbp.reports.result_table import ResultTable
from kbp.tasks.class_loss import ClassLossConfig, recipe_loss
from kbp.tasks.registry import register_task
from kbp.tasks.scoring import mean_recall
from kbp.tasks.tables import baselines
from kbp.tasks.tables.tabular import Tabular

if TYPE_CHECKING:
    from kbp.recipes.recipe import Recipe


@register_task("tabular_classification")
class TabularClassification(Tabular):
    """A class for each row; the score is the share of right ones."""

    metric = "accuracy"
    metric_format = "{:.2%}"
    sections: ClassVar[dict[str, type]] = {"loss": ClassLossConfig}
    gives = "logits"
    votes = True
    captions: ClassVar[Mapping[str, str]] = {
        figures.CONFUSION: figures.HOW_TO_READ_CONFUSION
    }

    def __init__(self, recipe: "Recipe", splits: TableSplits):
        super().__init__(recipe, splits)
        target, names = splits.columns.target.name, splits.class_names
        if not names:
            raise UserError(
                f"data.target: {target!r} holds many different numbers, which "
                'are no classes; [task] name = "tabular_regression" learns '
                "numbers."
            )
        counts = np.bincount(splits.train.labels, minlength=len(names))
        if not counts.all():
            raise UserError(
                f"data.target: class {names[int(np.argmin(counts))]!r} of "
                f"{target!r} is in no training row; each class needs 3 rows or "
                "more, in several groups if there are groups"
            )

    def make_loss(self) -> keras.losses.Loss:
        return recipe_loss(self)

    def build(self) -> keras.Model:
        return self.encoded(len(self.splits.class_names))

    def metrics(self) -> list[Any]:
        return ["accuracy"]

    def score(self, outputs: np.ndarray, split: str = "test") -> float:
        labels = self.rows(split).labels
        return float(np.mean(np.argmax(outputs, axis=-1) == labels))

    def details(self, outputs: np.ndarray) -> dict[str, str]:
        labels, predicted = self.splits.test.labels, np.argmax(outputs, axis=-1)
        share = mean_recall(predicted, labels)
        return {"mean recall of the classes": f"{share:.2%}"}

    def tables(self, outputs: np.ndarray) -> dict[str, ResultTable]:
        labels = self.splits.test.labels
        right = {k: v == labels for k, v in self.baselines.predictions.items()}
        own = np.argmax(outputs, axis=-1) == labels
        gains = {k: v.astype(float) - own for k, v in right.items()}
        rows = {**right, "this network": own}
        return self.compared(
            ("accuracy",),
            [(name, f"{hits.mean():.2%}") for name, hits in rows.items()],
            baselines.remark(
                gains,
                {
                    k: f"{100 * abs(v.mean()):.1f} points"
                    for k, v in gains.items()
                },
                {
                    k: abs(v.mean()) / max(own.mean(), 1 / len(own))
                    for k, v in gains.items()
                },
                f"{len(labels)} test rows",
            ),
        )

    def figures(self, outputs: np.ndarray) -> dict[str, str]:
        return {
            figures.CONFUSION: figures.confusion_matrix(
                np.argmax(outputs, axis=-1),
                self.splits.test.labels,
                self.splits.class_names,
            )
        }
