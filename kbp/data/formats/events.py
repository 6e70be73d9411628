"""Recordings of events in a folder for each class."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kbp._utils.config import check_unused, choice, number
from kbp._utils.machine import memory
from kbp.data.images.class_folders import ClassFolders, named_folder
from kbp.data.images.wrong import refuse
from kbp.data.recordings import (
    ORIGINS,
    POLARITIES,
    RECORDINGS,
    VALUES,
    Binning,
    Recording,
    remarks_of,
)
from kbp.data.registry import register_dataset
from kbp.data.splits import Splits
from kbp.errors import UserError


@dataclass(frozen=True)
class EventsConfig:
    """Keys of `[data]` for `name = "events"`: recordings of events.

    `folder` holds a folder for each class, or `train`, `test` and perhaps
    `validation`, which hold these; splits are made as of `image_folder`. Each
    CSV or NPZ file is a recording, with the columns or arrays `time`, in any
    unit, `channel` (or `x` and `y`) and `polarity` (1, and 0 or -1).

    Events are counted in `timesteps` of equal lengths, for each of `channels`;
    or for each pixel of `height` by `width`, or `block` of them. `"both"`
    polarities are channels of their own; of `values = "spikes"`, several events
    are one. The time is the `duration` from the `origin` on, or by 0 what each
    recording lasts.
    """

    folder: str = ""
    timesteps: int = number(32, 1, 100_000)
    channels: int = number(0, 0, 1_000_000)
    height: int = number(0, 0, 16_384)
    width: int = number(0, 0, 16_384)
    block: int = number(1, 1, 16_384)
    polarity: str = choice("both", POLARITIES)
    duration: float = number(0.0, 0, 1e12)
    origin: str = choice("first_event", ORIGINS)
    values: str = choice("counts", VALUES)
    validation_fraction: float = number(0.1, 0, below=0.5)
    test_fraction: float = number(0.2, above=0, below=0.5)
    group_pattern: str = ""


@register_dataset(
    "events",
    config=EventsConfig,
    task="sequence_classification",
    in_data_dir=False,
)
def load_config(config: EventsConfig, data_dir: str | Path | None) -> Splits:
    """Load what a recipe asks for, see `load`.

    Raises:
        UserError: a file or folder is wrong, or a key is missing or changes
            nothing.
    """
    return load(
        named_folder(config),
        binning_of(config),
        validation_fraction=config.validation_fraction,
        test_fraction=config.test_fraction,
        group_pattern=config.group_pattern,
    )


def binning_of(config: EventsConfig) -> Binning:
    """Return how recordings are read.

    Raises:
        UserError: keys do not fit each other.
    """
    pixels = config.height and config.width
    if bool(config.channels) == bool(config.height or config.width) or (
        not config.channels and not pixels
    ):
        raise UserError(
            "data.channels must say how many channels a recording has, or "
            "data.height and data.width how many pixels; received "
            f"{config.channels}, {config.height} and {config.width}"
        )
    if config.channels:
        reason = "recordings have channels, no pixels"
        check_unused("data", config, reason, "block")
    return Binning(
        config.timesteps,
        channels=config.channels,
        height=config.height,
        width=config.width,
        block=config.block,
        polarity=config.polarity,
        duration=config.duration,
        origin=config.origin,
        values=config.values,
    )


def load(
    folder: str | Path,
    binning: Binning,
    *,
    validation_fraction: float = 0.1,
    test_fraction: float = 0.2,
    group_pattern: str = "",
) -> Splits:
    """Load the recordings of a folder for each class.

    Args:
        folder: holds the folders of the classes, or those of splits.
        binning: how their events are counted.
        validation_fraction: of each class, without folders of splits.
        test_fraction: likewise.
        group_pattern: regular expression that is searched in each file's name;
            what its first group matches names what it belongs to, such as a
            person, of which all recordings are in one split.

    Returns:
        Floats `(examples, time, channels)`, with the classes in alphabetical
        order.

    Raises:
        UserError: the folders are wrong, see `ClassFolders`; a recording is,
            see `Binning.read`; or all would fill half of the memory.
    """
    folders = ClassFolders(Path(folder), RECORDINGS)
    time, channels = binning.shape
    size = 4 * len(folders.paths) * time * channels
    if size > memory() // 2:
        raise UserError(
            f"{folder}: {len(folders.paths):,} recordings of {time:,} "
            f"time steps and {channels:,} channels have {size:,} bytes; at "
            f"most {memory() // 2:,} are read. Choose fewer data.timesteps, or "
            "a larger data.block."
        )
    places = folders.places(validation_fraction, test_fraction, group_pattern)
    # Each split by itself, so that nothing is held twice.
    values = {
        split: np.empty((len(chosen), time, channels), "float32")
        for split, chosen in places.items()
    }
    rows = {
        index: values[split][row]
        for split, chosen in places.items()
        for row, index in enumerate(chosen)
    }
    found: dict[str, Recording] = {}
    wrong: dict[Path, UserError] = {}
    for index, (path, name) in enumerate(
        zip(folders.paths, folders.names, strict=True)
    ):
        try:
            recording = binning.read(path)
        except UserError as error:
            wrong[path] = error
            continue
        rows[index][:] = recording.values
        found[name] = Recording(
            np.empty(0), recording.outside, recording.goes_back
        )
    refuse([folders.strange] if folders.strange else [], wrong)
    parts = folders.parts(places, values)
    return Splits(
        parts["train"],
        parts["validation"],
        parts["test"],
        class_names=folders.class_names,
        remarks=(*folders.remarks, *remarks_of(found)),
    )
