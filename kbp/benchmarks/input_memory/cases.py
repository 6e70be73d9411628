"""Peak memory of a training on many images or series, by where they are."""

import os
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from kbp._utils.files import make_folder, temporary_folder
from kbp.benchmarks.core import markdown
from kbp.benchmarks.core.cases import Cases
from kbp.benchmarks.core.log import provenance
from kbp.benchmarks.core.registry import register
from kbp.benchmarks.input_memory import series
from kbp.benchmarks.input_memory.runs import run_twice

SIZE, COUNT = 64, 200_000  # pixels each way, and images
_CLASSES, _DRAWN = 10, 100
_NETWORK = {
    "model": {"width": 8, "num_scales": 2, "num_blocks": 0, "patch_size": 4},
    "training": {"epochs": 1, "batch_size": 128},
}


def measure(mode: str, *, count: int = COUNT) -> dict:
    """Train a small network for an epoch, in a process of its own.

    Args:
        mode: `data.cache` of the recipe.
        count: number of images.

    Returns:
        What `train` returns.
    """
    with temporary_folder() as folder:
        write(folder / "images", count)
        return train(folder / "images", mode, folder)


def write(folder: Path, count: int, *, seed: int = 0) -> None:
    """Write PNG files of waves and noise into a folder for each class.

    Args:
        folder: gets them.
        count: number of images.
        seed: of the images.
    """
    rng = np.random.default_rng(seed)
    drawn = [_draw(rng, index % _CLASSES) for index in range(_DRAWN)]
    for kind in range(_CLASSES):
        make_folder(folder / f"{kind}")
    for index in range(count):
        # Another place of the same picture is another image.
        turn, which = divmod(index, _DRAWN)
        image = np.roll(drawn[which], divmod(turn, SIZE), axis=(0, 1))
        file = folder / f"{which % _CLASSES}" / f"{index}.png"
        Image.fromarray(image).save(file, compress_level=1)


def _draw(rng: np.random.Generator, kind: int) -> np.ndarray:
    x = np.arange(SIZE)[None, :, None] / SIZE * 2 * np.pi
    wave = np.sin((1 + kind % 5) * x + rng.uniform(0, 6, 3))
    wave = wave * np.cos((1 + kind // 5) * x.swapaxes(0, 1))
    pixels = 128 + 90 * wave + rng.integers(-8, 9, (SIZE, SIZE, 3))
    return pixels.astype("uint8")


def train(images: Path, mode: str, folder: Path) -> dict:
    """Train on a folder of images, see `measure`.

    Args:
        images: holds a folder for each class.
        mode: `data.cache` of the recipe.
        folder: for the run and the cache.

    Returns:
        `examples`, in words, and what `run_twice` returns.

    Raises:
        UserError: the training failed.
    """
    section: dict[str, Any] = {
        "name": "image_folder",
        "folder": str(images),
        "cache": mode,
        "image_size": SIZE,
        "validation_fraction": 0.0,
        "test_fraction": 0.01,
    }
    files = sum(len(files) for _, _, files in os.walk(images))
    return {
        "examples": f"{files:,} PNG files of {SIZE}x{SIZE} pixels in color",
        **run_twice({"data": section, **_NETWORK}, folder),
    }


def markdown_table(lines: list[dict]) -> str:
    """Return measured cases as Markdown: a table, and how it was measured."""
    titles = ["kept", "examples", "peak memory"]
    return "\n".join(
        [
            *markdown.table(titles, map(_cells, lines), texts=2),
            "",
            "The larger peak of two runs, of which the first reads every file "
            "once before it trains; a run: an epoch of a small network, export "
            "and verification. " + provenance(lines[0], lines),
        ]
    )


def _cells(line):
    return [
        line["case"],
        line["examples"],
        f"{line['memory'] / 1e9:.2f} GB",
    ]


CASES = {
    "images decoded on a disk": partial(measure, "disk"),
    "images in their files": partial(measure, "none"),
    "series of a CSV file on a disk": partial(series.measure, "csv", "disk"),
    "series of a Parquet file on a disk": partial(
        series.measure, "parquet", "disk"
    ),
    "series of a CSV file in memory": partial(series.measure, "csv", "memory"),
}
INPUT_MEMORY = register(
    Cases(
        name="input-memory",
        cases=CASES,
        measure=lambda name, rounds: CASES[name](),
        show=lambda line: markdown.row(_cells(line)),
        markdown_table=markdown_table,
    )
)
