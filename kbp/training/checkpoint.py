"""The whole state of a training in one file, written whole."""

import io
import zipfile
from pathlib import Path

import keras
import numpy as np

from kbp.export.files import replace_durably

_SEEDS = "kbp_seeds.npz"


def save(model: keras.Model, path: str | Path) -> Path:
    """Save a model, its optimizer and the states of its seed generators.

    The file is an ordinary `.keras` file with one more member, because Keras
    leaves the states of seed generators (Dropout's, for one) out. It is written
    beside its place and renamed there.

    Args:
        model: a built model.
        path: file to write, ending in `.keras`; replaced whole if it exists.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.tmp.keras")
    model.save(temporary)
    states = io.BytesIO()
    np.savez(states, *(v.numpy() for v in _seed_states(model)))
    with zipfile.ZipFile(temporary, "a") as archive:
        archive.writestr(_SEEDS, states.getvalue())
    replace_durably(temporary, path)
    return path


def load(path: str | Path) -> keras.Model:
    """Load what `save` saved; training goes on bit by bit."""
    model = keras.saving.load_model(path)
    with zipfile.ZipFile(path) as archive:
        states = np.load(io.BytesIO(archive.read(_SEEDS)))
    for variable, name in zip(_seed_states(model), states, strict=True):
        variable.assign(states[name])
    return model


def _seed_states(model):
    return [
        v for v in model.variables if v.path.endswith("seed_generator_state")
    ]
