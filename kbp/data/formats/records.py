"""Examples in shards: what `kbp pack` has packed, or TFRecord files."""

from dataclasses import dataclass
from pathlib import Path

from kbp._utils.config import check_unused, number
from kbp.data import records
from kbp.data.images.search import holds_images
from kbp.data.records import tfrecord
from kbp.data.records.index import INDEX
from kbp.data.registry import register_dataset
from kbp.data.splits import Splits
from kbp.errors import UserError


@dataclass(frozen=True)
class RecordsConfig:
    """Keys of `[data]` for `name = "records"`: examples in shards.

    `folder` is that of `kbp pack`, or its address where TensorFlow finds it,
    such as `gs://bucket/folder`; or a folder of TFRecord files, of whose
    records `image` and `label` name the features, and whose images are read at
    `image_size`.
    """

    folder: str = ""
    image: str = "image"
    label: str = "label"
    image_size: int = number(64, 8, 2048)
    color: bool = True


@register_dataset(
    "records", config=RecordsConfig, task="classification", in_data_dir=False
)
def load_config(config: RecordsConfig, data_dir: str | Path | None) -> Splits:
    """Load what a recipe asks for, see `kbp.data.records.load`.

    Raises:
        UserError: the shards are missing, damaged or unfinished, or a key
            changes nothing.
    """
    if not config.folder:
        raise UserError("data.folder must name a folder")
    folder = Path(config.folder)
    if tfrecord.is_folder(folder):
        features = tfrecord.Features(
            config.image,
            config.label,
            config.image_size,
            3 if config.color else 1,
        )
        return tfrecord.load(folder, features)
    if holds_images(folder) and not (folder / INDEX).exists():
        raise UserError(
            f"{folder}: holds image files, and nothing that kbp pack has "
            'packed: name = "image_folder" reads these, and kbp pack packs them'
        )
    reason = f"{config.folder} is what kbp pack has packed"
    check_unused(
        "data", config, reason, "image", "label", "image_size", "color"
    )
    return records.load(config.folder)
