"""Membranes between cells: segmentation that is judged on the cells, too."""

import numpy as np

from kbp.metrics import information_f_score, rand_f_score
from kbp.tasks.registry import register_task
from kbp.tasks.segmentation import Segmentation


@register_task("membrane_segmentation")
class MembraneSegmentation(Segmentation):
    """Membranes in images; details are how well they part the cells.

    The second class is that of membranes. Both F-scores are those of the
    challenge ISBI 2012.
    """

    def details(self, outputs: np.ndarray) -> dict[str, str]:
        found, masks = super().details(outputs), self.compact(outputs)
        pairs = [*zip(self.splits.test.labels, masks, strict=True)]
        for title, score in (
            ("Rand", rand_f_score),
            ("information", information_f_score),
        ):
            values = [score(true, mask) for true, mask in pairs]
            found[f"{title} F-score of cells"] = f"{np.mean(values):.4f}"
        return found
