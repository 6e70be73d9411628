"""Files with bytes changed at random are read, or refused in one line."""

import time
from pathlib import Path

import bombs
import keras
import numpy as np
import pytest
from PIL import Image

import kbp
from kbp.data.formats import csv_series, csv_table
from kbp.data.images.files import read_image
from kbp.data.images.photographs import read_photographs
from kbp.data.recordings import Binning
from kbp.errors import UserError
from kbp.export import audit
from kbp.inference.loading import load_keras, open_model
from kbp.recipes import Recipe

MOST_BYTES, MOST_SECONDS = 1e9, 10
SPECIAL = (0, 1, 10, 34, 44, 59, 91, 127, 128, 255)
VALUES = (
    *("nan", "inf", "-inf", "-1", "0", "1e308", "9" * 30, "true", "[]"),
    *('""', '"x"', "[[[]]]", "{a = 1}", "2020-01-01", '"\\u0000"', "-0.0"),
    *("9223372036854775807", "[-1]", '["a", 1]', '"' + "x" * 9999 + '"'),
)


def mutate(content, rng, start=0):
    """Return bytes with some changed, moved, doubled or cut off."""
    made = bytearray(content)
    kind = rng.integers(8)
    first, last = sorted(rng.integers(start, len(made), 2))
    if kind == 0:
        return bytes(made[:last])
    if kind == 1:
        return bytes(made[:first] + made[last:])
    if kind == 2:
        return bytes(made[:last] + made[first:])
    for _ in range(rng.integers(1, 9)):
        special = rng.random() < 0.5
        byte = rng.choice(SPECIAL) if special else rng.integers(256)
        made[rng.integers(start, len(made))] = byte
    return bytes(made)


def change_values(content, rng):
    """Return a recipe some of whose values are others."""
    lines = content.decode().splitlines()
    places = [i for i, line in enumerate(lines) if " = " in line]
    for i in rng.choice(places, rng.integers(1, 4)):
        key = lines[i].partition(" = ")[0]
        lines[i] = f"{key} = {rng.choice(VALUES)}"
    return "\n".join(lines).encode()


def model():
    return kbp.models.PyramidBPNet((8, 8, 1), 3, width=4)


def write_recipe(path):
    path.write_text(Recipe().to_toml())


def write_tflite(path):
    kbp.export.to_tflite(model(), path)


def write_keras(path):
    model().save(path)


def write_table(path):
    rng = np.random.default_rng(0)
    lines = [
        f"{rng.normal():.3f},{rng.choice(['red', 'blue'])},{i % 3}"
        for i in range(120)
    ]
    path.write_text("\n".join(["size,color,kind", *lines]))


def write_series(path):
    times = np.arange(200) + np.datetime64("2024-01-01T00", "h")
    rng = np.random.default_rng(0)
    lines = [f"{t},{rng.normal():.3f},{rng.normal():.3f}" for t in times]
    path.write_text("\n".join(["time,load,heat", *lines]))


def write_events(path):
    rng = np.random.default_rng(0)
    columns = {"time": np.arange(60), "channel": rng.integers(0, 8, 60)}
    if path.suffix == ".npz":
        np.savez(path, **columns)
    else:
        rows = zip(*columns.values(), strict=True)
        lines = [f"{time},{channel}" for time, channel in rows]
        path.write_text("\n".join(["time,channel", *lines]))


def write_image(path):
    values = np.random.default_rng(0).integers(0, 256, (24, 20, 3), "uint8")
    Image.fromarray(values).save(path)


def read_images(path):
    said = {
        refusal(read, path)
        for read in (
            lambda path: read_photographs([path], (16, 16)),
            lambda path: read_image(path, 3),
        )
    }
    if said != {""}:
        raise UserError("; ".join(said))


def read_tflite(path):
    audit(path)
    predict, _, _ = open_model(path)
    predict(np.zeros((1, 8, 8, 1), "float32"))


def read_keras(path):
    load_keras(path).predict(np.zeros((1, 8, 8, 1), "float32"), verbose=0)


def read_table(path):
    config = csv_table.CsvTableConfig(file=str(path), target="kind")
    csv_table.load(config, None)


def read_series(path):
    config = csv_series.CsvSeriesConfig(
        file=str(path), time_column="time", lookback=8, horizon=4
    )
    csv_series.load_config(config, None)


def read_events(path):
    Binning(8, channels=8, polarity="ignore").read(path)


KINDS = {
    "recipe.toml": (write_recipe, Recipe.read, 1000, mutate),
    "values.toml": (write_recipe, Recipe.read, 1000, change_values),
    "model.tflite": (write_tflite, read_tflite, 500, mutate),
    "model.keras": (write_keras, read_keras, 500, mutate),
    "table.csv": (write_table, read_table, 250, mutate),
    "series.csv": (write_series, read_series, 250, mutate),
    "events.csv": (write_events, read_events, 250, mutate),
    "events.npz": (write_events, read_events, 250, mutate),
    **{
        f"image.{kind}": (write_image, read_images, 100, mutate)
        for kind in ("png", "jpg", "tif", "bmp", "webp")
    },
}


def refusal(read, path):
    """Return the line that refuses a file, "" if it is read."""
    try:
        read(path)
    except (UserError, ValueError) as error:
        return str(error)
    return ""


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_changed_files_are_read_or_refused(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write, read, count, change = KINDS[name]
    path = Path(name)
    write(path)
    content = path.read_bytes()
    assert not refusal(read, path), "the file is right before it is changed"
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(count):
        path.write_bytes(change(content, rng))
        bombs.forget()
        before, start = bombs.peak(), time.monotonic()
        words = refusal(read, path)
        assert time.monotonic() - start < MOST_SECONDS
        assert bombs.peak() - before < MOST_BYTES
        assert "\n" not in words
        assert [*tmp_path.iterdir()] == [tmp_path / name]
        refused += bool(words)
        keras.backend.clear_session()
    assert refused > count / 10
