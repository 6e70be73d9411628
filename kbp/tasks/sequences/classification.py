"""One label for each sequence."""

from typing import ClassVar

from kbp.data.splits import Augment
from kbp.export import TensorInfo
from kbp.reports import figures
from kbp.tasks.class_loss import ClassLossConfig
from kbp.tasks.classification import Classification
from kbp.tasks.registry import register_task
from kbp.tasks.sequences.prediction import RecordingPrediction


@register_task("sequence_classification")
class SequenceClassification(Classification):
    """One label for each sequence; the score is the share of right ones."""

    sections: ClassVar[dict[str, type]] = {"loss": ClassLossConfig}
    takes = "sequences (time, channels)"
    prediction = RecordingPrediction
    draw = staticmethod(figures.draw_sequence)

    def check_shape(self) -> None:
        if len(self.shape) != 2:
            raise self.unfit(self.recipe, "no sequences (time, channels)")

    def augment(self) -> Augment | None:
        return None

    def input_info(self) -> TensorInfo:
        return TensorInfo(
            "sequence",
            description="A value of each channel at each time step, such as "
            "how many events there were.",
            axes=("time", "channels"),
        )
