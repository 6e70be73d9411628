"""Checkpoints: the complete state of a training in one `.keras` file."""

import hashlib
import io
import json
import re
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kbp._utils.files import remove, temporary_folder, write_atomically
from kbp.graph import plain
from kbp.inference import safe
from kbp.optimizers.summing import steps_of

# The state of callbacks and metrics, which JSON can hold.
State = dict[str, Any]

_SEEDS, _STATE = "kbp_seeds.npz", "kbp_state.json"
_METADATA, _CONFIG = "metadata.json", "config.json"
_FLOAT32 = (
    *("Standardization", "WindowNormalization", "WindowSlice"),
    "WindowStatistics",
)
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the first date of a zip archive


def save(
    model: keras.Model, path: str | Path, state: State | None = None
) -> Path:
    """Save a model, its optimizer and the states of its seed generators.

    The file is an ordinary `.keras` file with more members, because Keras
    leaves the states of seed generators (Dropout's, for one) out. It holds no
    dates or addresses, so equal models give equal bytes.

    Args:
        model: a built model.
        path: file to write, ending in `.keras`; an existing one is replaced.
        state: further state that JSON can hold.

    Returns:
        The path.
    """
    return write_atomically(path, to_bytes(model, state))


def load(path: str | Path) -> keras.Model:
    """Load a model that `save` saved; training continues bit-exactly."""
    model, _ = _load(path)
    return model


def to_bytes(model: keras.Model, state: State | None = None) -> bytes:
    """Return the bytes that `save` writes."""
    with temporary_folder() as folder:
        path = folder / "model.keras"
        model.save(path)
        members = _members(path)
    metadata = json.loads(members[_METADATA])
    del metadata["date_saved"]
    members[_METADATA] = json.dumps(metadata).encode()
    members[_CONFIG] = _without_addresses(members[_CONFIG].decode()).encode()
    seeds = io.BytesIO()
    np.savez(seeds, *(v.numpy() for v in seed_states(model)))
    members[_SEEDS] = seeds.getvalue()
    if state is not None:
        members[_STATE] = json.dumps(state).encode()
    return _archive(members)


def from_bytes(
    content: bytes, precision: str | None = None
) -> tuple[keras.Model, State]:
    """Return the model and the state that `to_bytes` was given.

    Args:
        content: content of a `.keras` file.
        precision: name of the dtype policy that the layers take, except those
            that see values in the data's own units.

    Returns:
        The model and the state.
    """
    if precision:
        members = _members(io.BytesIO(content))
        config = json.loads(members[_CONFIG])
        _set_precision(config, precision)
        members[_CONFIG] = json.dumps(config).encode()
        content = _archive(members)
    with temporary_folder() as folder:
        return _load(write_atomically(folder / "model.keras", content))


class Checkpoints:
    """The last checkpoints of one stage of a training.

    A file's name holds its step and the SHA-256 of its bytes. Files are written
    atomically, so none is ever incomplete; a file that was damaged later is
    passed over for the one before.

    Args:
        folder: folder of the checkpoints; other files there are not touched.
        stage: name of the stage.
        keep: number of checkpoints to keep.
    """

    def __init__(self, folder: Path, stage: str, keep: int):
        self.folder, self.stage, self.keep = Path(folder), stage, keep

    def save(self, model: keras.Model, state: State) -> Path:
        """Save a training, then remove older checkpoints.

        Args:
            model: a compiled and built model.
            state: the state of callbacks and metrics, which JSON can hold.

        Returns:
            The path of the checkpoint.
        """
        step = steps_of(model.optimizer)
        # A person's own loss, metrics and train_step are in no file; the
        # trainer gives them to the model again.
        bare = plain(model)
        bare.compile(model.optimizer)
        content = to_bytes(bare, state)
        name = f"{self.stage}-{step:08d}-"
        path = write_atomically(
            self.folder / f"{name}{_digest(content)}.keras", content
        )
        others = [x for x in self._files() if x != path]
        # An epoch that was stopped in its validation ends at the same step.
        same = [x for x in others if x.name.startswith(name)]
        older = [x for x in others if x not in same]
        for old in same + older[self.keep - 1 :]:
            remove(old)
        return path

    def load(self) -> tuple[keras.Model, State] | None:
        """Return the newest undamaged model with its state, if there is one."""
        for path in self._files():
            if _digest(path.read_bytes()) == path.stem.rpartition("-")[2]:
                return _load(path)
        return None

    def _files(self) -> list[Path]:
        """Return the stage's checkpoints, the newest first."""
        name = re.compile(
            rf"{re.escape(self.stage)}-(\d{{8,}})-[0-9a-f]{{64}}\.keras"
        )
        found = [
            (int(match[1]), path)
            for path in (self.folder.iterdir() if self.folder.is_dir() else ())
            if (match := name.fullmatch(path.name))
        ]
        return [path for _, path in sorted(found, reverse=True)]


def _members(file: Path | io.BytesIO) -> dict[str, bytes]:
    with zipfile.ZipFile(file) as archive:
        return {i.filename: archive.read(i) for i in archive.infolist()}


def _archive(members: dict[str, bytes]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, member in members.items():
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), member)
    return content.getvalue()


def _set_precision(config: Any, name: str) -> None:
    if isinstance(config, list):
        for value in config:
            _set_precision(value, name)
    elif isinstance(config, dict):
        if config.get("class_name") == "DTypePolicy":
            config["config"]["name"] = name
        elif config.get("class_name") not in _FLOAT32:
            for value in config.values():
                _set_precision(value, name)


def _without_addresses(config: str) -> str:
    """Write 0, 1, ... for shared objects, where Keras writes addresses.

    Dtype policies lose their numbers: a loaded model does not share them, and
    equal models must give equal bytes.
    """
    numbers: dict[str, int] = {}

    def number(match: re.Match[str]) -> str:
        return f"{match[1]}{numbers.setdefault(match[2], len(numbers))}"

    config = re.sub(
        r'("class_name": "DTypePolicy", "config": {"name": "\w+"}, '
        r'"registered_name": null), "shared_object_id": \d+',
        r"\1",
        config,
    )
    return re.sub(r'("shared_object_id": )(\d+)', number, config)


def _load(path: str | Path) -> tuple[keras.Model, State]:
    model = safe.load(Path(path))
    with zipfile.ZipFile(path) as archive:
        states = np.load(io.BytesIO(archive.read(_SEEDS)))
        known = _STATE in archive.namelist()
        state = json.loads(archive.read(_STATE)) if known else {}
    for variable, name in zip(seed_states(model), states, strict=True):
        variable.assign(states[name])
    return model, state


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def seed_states(model: keras.Model) -> list[keras.Variable]:
    """Return the states of a model's random numbers, such as of Dropout."""
    return [
        v for v in model.variables if v.path.endswith("seed_generator_state")
    ]
