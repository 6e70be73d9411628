"""Examples that `kbp pack` has packed into shards."""

from dataclasses import dataclass
from pathlib import Path

from kbp.data.records import load
from kbp.data.registry import register_dataset
from kbp.data.splits import Splits
from kbp.errors import UserError


@dataclass(frozen=True)
class RecordsConfig:
    """Keys of `[data]` for `name = "records"`: what `kbp pack` has packed.

    `folder` is its folder, or its address where TensorFlow finds it, such as
    `gs://bucket/folder`.
    """

    folder: str = ""


@register_dataset(
    "records", config=RecordsConfig, task="classification", in_data_dir=False
)
def load_config(config: RecordsConfig, data_dir: str | Path | None) -> Splits:
    """Load what a recipe asks for, see `kbp.data.records.load`.

    Raises:
        UserError: the packing is missing, damaged or unfinished.
    """
    if not config.folder:
        raise UserError("data.folder must name a folder")
    return load(config.folder)
