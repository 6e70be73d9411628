"""Membranes of neurons in electron microscopy, ISBI 2012.

The data directory must hold the 30 slices of 512x512 pixels in the challenge's
stack train-volume as `isbi2012/images/00.png` to `29.png`, and those of its
stack train-labels, inverted, as `isbi2012/masks/00.png` to `29.png`: 255 where
a membrane is, else 0. They are for research; cite the references of `load`.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from kbp._utils.config import number
from kbp.data import splitting
from kbp.data.formats import image_masks
from kbp.data.registry import register_dataset
from kbp.data.splits import Splits, folder_of

FOLDER = "isbi2012"
FILES = (
    "images/00.png to 29.png, the 30 slices of the challenge's train-volume, "
    "and masks/00.png to 29.png, those of train-labels inverted (255 = "
    "membrane)"
)
COUNT = 30
CLASS_NAMES = ("cell", "membrane")
FOLDS = 5


@dataclass(frozen=True)
class Isbi2012Config:
    """Keys of `[data]` for `name = "isbi2012"`, see `load`."""

    fold: int = number(0, 0, 1000)
    validation_fraction: float = number(0.1, 0, below=0.5)


@register_dataset(
    "isbi2012",
    config=Isbi2012Config,
    task="membrane_segmentation",
    note=lambda config: f"fold {config.fold} of {FOLDS}",
)
def load_config(config: Isbi2012Config, data_dir: str | Path | None) -> Splits:
    """Load what a recipe asks for, see `load`."""
    return load(data_dir, **vars(config))


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
        UserError: a file is missing, more than there should be, or wrong.

    Reference:
        Cardona et al., An integrated micro- and macroarchitectural analysis of
        the Drosophila brain by computer-assisted serial section electron
        microscopy, PLoS Biology, 2010.
        Arganda-Carreras et al., Crowdsourcing the creation of image
        segmentation algorithms for connectomics, Frontiers in Neuroanatomy,
        2015.
    """
    folder = folder_of("ISBI-2012", FOLDER, data_dir, FILES)
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
        count=COUNT,
    )
