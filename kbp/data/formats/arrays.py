"""Arrays and data sets that a program gave to `kbp.compress`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kbp.data.feeds import ArrayFeed, Feed
from kbp.data.registry import register_dataset
from kbp.errors import UserError


@dataclass(frozen=True)
class ArraysConfig:
    """Keys of `[data]` for `name = "arrays"`: what tells the data from others.

    They are in no file, so a recipe cannot ask for them.
    """

    digest: str = ""


@dataclass(frozen=True)
class FeedSplits:
    """Examples as `fit` takes them, split.

    Attributes:
        train: what a model learns from.
        validation: what its training is watched on; it may be empty.
        test: what it is judged on, in memory.
        input_shape: of one example; of several inputs, of the first.
    """

    train: Feed
    validation: Feed | tuple[()]
    test: ArrayFeed
    input_shape: tuple[int | None, ...]


@register_dataset(
    "arrays", config=ArraysConfig, task="own_model", in_data_dir=False
)
def load_config(config: ArraysConfig, data_dir: str | Path | None) -> Any:
    """Say that arrays are in no file.

    Raises:
        UserError: always.
    """
    raise UserError(
        'data.name: "arrays" are in no file; call kbp.compress with them'
    )
