"""Reading of a folder of photographs, by kbp and by Keras in turns."""

import io
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from PIL import Image

from kbp._utils.files import temporary_folder, write_atomically
from kbp.benchmarks.core import markdown
from kbp.benchmarks.core.cases import Cases
from kbp.benchmarks.core.log import provenance, rounds
from kbp.benchmarks.core.registry import register
from kbp.data.formats import image_folder

SIZE = 64  # height and width that images are read at, in pixels
_CLASSES = ("a", "b")
_DRAWN = 12  # of which the files are sections, because drawing takes long


@dataclass(frozen=True)
class Case:
    """A folder of files.

    Attributes:
        suffixes: of the files, in turns.
        height: in pixels.
        width: in pixels.
        count: number of files.
    """

    suffixes: tuple[str, ...]
    height: int
    width: int
    count: int


CASES = {
    "JPEG, 12 megapixels": Case((".jpg",), 3000, 4000, 24),
    "JPEG, 1 megapixel": Case((".jpg",), 900, 1200, 160),
    "JPEG, 320x240": Case((".jpg",), 240, 320, 640),
    "PNG, 320x240": Case((".png",), 240, 320, 480),
    "JPEG and PNG, 640x480": Case((".jpg", ".png"), 480, 640, 240),
}


def measure(case: Case, rounds: int, *, seed: int = 0) -> dict:
    """Read a folder by kbp and by Keras, in turns.

    Each begins with the path of the folder and ends when every image has been
    in memory at the size: kbp's in the splits of `image_folder`, Keras's batch
    by batch. A round before those that count fills the caches of files.

    Args:
        case: what the folder holds.
        rounds: in which each takes its turn; the order changes every time.
        seed: of the images.

    Returns:
        `images`; `kbp` and `keras`, medians of images per second, with their
        `quartiles`; `ratio`, the median of the rounds' ratios; and `rounds`.
    """
    taken: dict[str, list[float]] = {name: [] for name in READERS}
    with temporary_folder() as folder:
        write(folder, case, seed)
        for i in range(rounds + 1):
            for name in (*READERS,) if i % 2 else reversed(READERS):
                start = time.perf_counter()
                READERS[name](str(folder))
                taken[name].append(time.perf_counter() - start)
    speeds = {
        name: case.count / np.array(seconds[1:])
        for name, seconds in taken.items()
    }
    ratios = speeds["kbp"] / speeds["keras"]
    return {
        "images": case.count,
        **{name: statistics.median(x) for name, x in speeds.items()},
        "quartiles": {
            name: np.percentile(x, (25, 75)).tolist()
            for name, x in {**speeds, "ratio": ratios}.items()
        },
        "ratio": statistics.median(ratios),
        "rounds": rounds,
    }


def write(folder: Path, case: Case, seed: int) -> None:
    """Write images of a case with structure of all sizes, and noise.

    Args:
        folder: gets a folder for each class.
        case: kind, size and number of the files.
        seed: of the images.
    """
    rng = np.random.default_rng(seed)
    drawn = [_draw(rng, case) for _ in range(min(_DRAWN, case.count))]
    for index in range(case.count):
        image = np.roll(drawn[index % len(drawn)], 16 * index, axis=1)
        suffix = case.suffixes[index // 2 % len(case.suffixes)]
        path = folder / _CLASSES[index % 2] / f"{index}{suffix}"
        content = io.BytesIO()
        kind = Image.registered_extensions()[suffix]
        Image.fromarray(image).save(content, kind, quality=90)
        write_atomically(path, content.getvalue())


def _draw(rng: np.random.Generator, case: Case) -> np.ndarray:
    """Return an image whose details are the weaker the finer they are."""
    image = np.full((case.height, case.width, 3), 128.0)
    coarse = 4
    while coarse < case.height:
        cells = rng.normal(128, 240 / coarse**0.5, (coarse, coarse, 3))
        layer = Image.fromarray(cells.clip(0, 255).astype("uint8"))
        size = (case.width, case.height)
        image += np.asarray(layer.resize(size, Image.Resampling.BICUBIC))
        image -= 128.0
        coarse *= 2
    image += rng.normal(0, 3, image.shape)
    return image.clip(0, 255).astype("uint8")


def _by_kbp(folder: str) -> None:
    image_folder.load(folder, image_size=SIZE)


def _by_keras(folder: str) -> None:
    batches = keras.utils.image_dataset_from_directory(
        folder,
        image_size=(SIZE, SIZE),
        crop_to_aspect_ratio=True,
        shuffle=False,
        verbose=False,
    )
    for _ in batches:
        pass


READERS: dict[str, Callable[[str], None]] = {
    "kbp": _by_kbp,
    "keras": _by_keras,
}


def markdown_table(lines: list[dict]) -> str:
    """Return measured cases as Markdown: a table, and how it was measured."""
    titles = ["files", "images", "kbp", "Keras", "ratio"]
    return "\n".join(
        [
            *markdown.table(titles, map(_cells, lines)),
            "",
            f"Images per second, in color, read at {SIZE}x{SIZE} pixels from a "
            'folder of drawn photographs: `data.name = "image_folder"`, which '
            "averages pixels, against Keras's `image_dataset_from_directory("
            "crop_to_aspect_ratio=True)`, which samples them. Medians "
            f"(quartiles) of {rounds(lines)} rounds in turns, files in "
            "the system's cache; ratio: that of the same round. "
            + provenance(lines[0], lines),
        ]
    )


def _cells(line):
    def speed(name, form):
        low, high = (f"{x:{form}}" for x in line["quartiles"][name])
        return f"{line[name]:{form}} ({low} - {high})"

    return [
        line["case"],
        f"{line['images']}",
        speed("kbp", ",.0f"),
        speed("keras", ",.0f"),
        speed("ratio", ".2f"),
    ]


IMAGE_READING = register(
    Cases(
        name="image-reading",
        cases=CASES,
        measure=lambda name, rounds: measure(CASES[name], rounds),
        show=lambda line: markdown.row(_cells(line)),
        markdown_table=markdown_table,
    )
)
