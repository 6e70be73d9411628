"""Membranes of neurons in electron microscopy, ISBI 2012."""

from functools import partial
from pathlib import Path

from kbp.data import image_masks, splitting
from kbp.data.splits import Splits, folder_of

FOLDER = "isbi2012"
CLASS_NAMES = ("cell", "membrane")
FOLDS = 5


def load(
    data_dir: str | Path | None,
    *,
    fold: int = 0,
    validation_fraction: float = 0.1,
) -> Splits:
    """Load 30 slices and their masks, in five folds of consecutive slices.

    Args:
        data_dir: folder that holds `isbi2012`, with `images` and `masks`.
        fold: the one that is for test, 0 to 4.
        validation_fraction: share of the other slices, the last of them.

    Returns:
        Images `(examples, 512, 512, 1)` in [0, 1] with labels
        `(examples, 512, 512)`, 1 where a membrane is.

    Raises:
        UserError: a file is missing or wrong.

    Reference:
        Arganda-Carreras et al., Crowdsourcing the creation of image
        segmentation algorithms for connectomics, Frontiers in Neuroanatomy,
        2015.
    """
    folder = folder_of("ISBI-2012", FOLDER, data_dir)
    return image_masks.load(
        folder / "images",
        folder / "masks",
        split=partial(
            splitting.by_fold,
            fold=fold,
            folds=FOLDS,
            validation_fraction=validation_fraction,
        ),
        class_names=CLASS_NAMES,
    )
