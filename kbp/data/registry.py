"""Data sets by name."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from kbp._utils.registry import Registry

Loader = TypeVar("Loader", bound=Callable[..., Any])


@dataclass(frozen=True)
class DataSet:
    """A data set that recipes know by its name.

    Attributes:
        config: dataclass of the keys that a recipe may give in `[data]`.
        load: `load(config, data_dir) -> splits`, a `Splits` or `SeriesSplits`.
        task: name of the task that it is for by default.
        in_data_dir: whether it lies in the folder `--data-dir`.
        note: `note(config) -> text`, which part of the data set it is, for
            model cards; `""` if it is all of it.

    Example:
    >>> from kbp.data.registry import DATASETS
    >>> digits = DATASETS["digits"]
    >>> digits.task, digits.in_data_dir
    ('classification', False)
    """

    config: type
    load: Callable[[Any, str | Path | None], Any]
    task: str
    in_data_dir: bool = True
    note: Callable[[Any], str] = lambda config: ""

    @property
    def module(self) -> str:
        """Name of the module that declares its keys and loads it."""
        return self.config.__module__


DATASETS: Registry[DataSet] = Registry(
    "data.name", "kbp.data.datasets", "kbp.data.formats"
)


def register_dataset(
    name: str,
    *,
    config: type,
    task: str,
    in_data_dir: bool = True,
    note: Callable[[Any], str] = lambda config: "",
) -> Callable[[Loader], Loader]:
    """Register what loads a data set under the name of the data set.

    A recipe chooses it by `name = "<name>"` in `[data]`; the other keys there
    are the fields of `config`, which must all have defaults or be given.

    Args:
        name: of the data set.
        config: a frozen dataclass, whose fields may declare ranges by
            `kbp.data.number` and `kbp.data.choice`.
        task: name of the task that it is for, where a recipe names none.
        in_data_dir: whether it lies in the folder `--data-dir`.
        note: see `DataSet`.

    Returns:
        A decorator for `load(config, data_dir) -> splits`, which returns
        `Splits` or `SeriesSplits`. What is wrong with the files is a
        `kbp.errors.UserError`.

    Raises:
        TypeError: `config` is no dataclass.
        UserError: another data set has that name.

    Example:
    >>> import dataclasses, numpy as np
    >>> from kbp.data import Examples, Splits, register_dataset
    >>> @dataclasses.dataclass(frozen=True)
    ... class BarsConfig:
    ...     size: int = 8
    >>> @register_dataset(
    ...     "bars", config=BarsConfig, task="classification"
    ... )
    ... def load(config, data_dir):
    ...     rows = np.arange(config.size)[:, None] % 2
    ...     image = np.broadcast_to(rows, (config.size,) * 2).astype("float32")
    ...     images = np.stack([image, image.T] * 20)[..., None]
    ...     few = Examples(images, np.arange(40) % 2)
    ...     return Splits(few, few, few, ("horizontal", "vertical"))
    >>> from kbp.recipes import Recipe
    >>> Recipe.parse({"data": {"name": "bars", "size": 6}}).data.config
    BarsConfig(size=6)
    """
    if not dataclasses.is_dataclass(config):
        raise TypeError(
            f"Argument `config` must be a dataclass. Received: config={config}"
        )

    def register(load: Loader) -> Loader:
        entry = DataSet(config, load, task, in_data_dir, note)
        DATASETS.add(name, entry, origin=load)
        return load

    return register
