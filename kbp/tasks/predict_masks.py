"""Masks of a person's image files, by a model that labels pixels."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from kbp._utils.command_line import check_new, positive, say_written
from kbp._utils.files import write_atomically
from kbp._utils.run_files import IMAGES
from kbp.data.images.files import read_image
from kbp.data.images.kinds import WHITE_LEVEL, ImageFacts, ImageKinds
from kbp.data.images.search import (
    IMAGE_FILES,
    FileKind,
    find_files,
    said_of_kinds,
)
from kbp.data.images.wrong import refuse
from kbp.errors import UserError
from kbp.inference import pixels
from kbp.tasks.prediction import OpenModel, Prediction

if TYPE_CHECKING:
    from kbp.recipes.recipe import Recipe


class MaskPrediction(Prediction):
    """A mask and an overlay for each image, by a model that labels pixels.

    Of an ensemble also an image of where its members disagree.
    """

    kind = "masks"
    needs = (
        "must label pixels: take images of 1 or 3 channels and give logits of "
        "2 to 256 classes for each pixel"
    )

    @classmethod
    def fits(cls, inputs: tuple[int, ...], outputs: tuple[int, ...]) -> bool:
        return (
            len(inputs) == len(outputs) == 3
            and inputs[:2] == outputs[:2]
            and inputs[2] in (1, 3)
            and 2 <= outputs[2] <= 256
        )

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "images", metavar="IMAGE", nargs="+", help="image files, or folders"
        )
        parser.add_argument(
            "--overlap",
            type=positive,
            metavar="PIXELS",
            help="of neighbouring tiles, where an image is larger than the "
            "model's input (default: a quarter of that)",
        )

    @classmethod
    def write(
        cls,
        model: OpenModel,
        recipe: "Recipe | None",
        options: argparse.Namespace,
        console: Console,
    ) -> None:
        height, width, channels = model.inputs
        overlap = options.overlap or min(height, width) // 4
        if overlap >= min(height, width):
            raise UserError(
                f"--overlap must be less than {min(height, width)}, the size "
                f"of the model's input; received {overlap}"
            )
        sources, kinds = files_of(options.images, console)
        known = images_of(model, recipe)
        members = model.members(recipe)
        ends = ["", "_overlay", *(["_disagreement"] if members else [])]
        targets = _targets(sources, Path(options.out), ends)
        white, facts = known.white_level, list[ImageFacts]()
        wrong: dict[Path, UserError] = {}
        for path in sources:  # all, before the first is written
            try:
                facts.append(read_image(path, channels, white)[1])
            except UserError as error:
                wrong[path] = error
        refuse(kinds, wrong)
        say_unlike(known, sources, facts, console)
        size = height, width
        for source, files in zip(sources, targets, strict=True):
            image, _ = read_image(source, channels, white)
            labels = pixels.label(model.predict, image, size, overlap=overlap)
            made = [
                pixels.mask_as_png(labels, model.outputs[2]),
                pixels.overlay_as_png(image, labels),
            ]
            if members:
                shares = pixels.disagreement(
                    members, image, size, overlap=overlap
                )
                made.append(pixels.share_as_png(shares))
            for file, content in zip(files, made, strict=True):
                write_atomically(file, content)
            say_written(console, files[0])


def files_of(
    names: Sequence[str], console: Console, kind: FileKind = IMAGE_FILES
) -> tuple[list[Path], list[str]]:
    """Return files, and those of folders, in order.

    What folders hold besides is said.

    Args:
        names: of files and folders.
        console: where to say it.
        kind: of the files that folders are searched for.

    Returns:
        The files, and sentences about strange ones in the folders.
    """
    found: list[Path] = []
    kinds: list[str] = []
    for name in map(Path, names):
        if name.is_dir():
            strange: list[Path] = []
            held = find_files(name, strange=strange, kind=kind)
            found += held.files
            if strange:
                kinds.append(said_of_kinds(name, strange, kind))
            if remark := held.remark(name):
                console.print(remark, markup=False, soft_wrap=True)
        elif not name.is_file():
            raise UserError(f"{name}: no such file or folder.")
        else:
            found.append(name)
    return found, kinds


def images_of(model: OpenModel, recipe: "Recipe | None") -> ImageKinds:
    """Return what the images of a model were like, as far as it is known.

    Raises:
        UserError: the text that says so is damaged.
    """
    text = model.text(IMAGES)
    if text is not None:
        return text.parsed(ImageKinds.from_json)
    config = recipe and recipe.data.config
    return ImageKinds(
        getattr(config, "white_level", WHITE_LEVEL),
        {},
        getattr(config, "resize", ""),
    )


def say_unlike(
    known: ImageKinds,
    files: Sequence[Path],
    facts: Sequence[ImageFacts],
    console: Console,
) -> None:
    """Warn of images that are unlike those that a model learned from.

    Raises:
        UserError: their values cannot mean what the model has learned.
    """
    for sentence in known.check(files, facts):
        console.print(f"Warning: {sentence}", markup=False, soft_wrap=True)


def _targets(
    sources: Sequence[Path], folder: Path, ends: Sequence[str]
) -> list[list[Path]]:
    """Return for each image its files, the mask's first.

    Args:
        sources: the images.
        folder: of the files.
        ends: of the files' names.
    """
    targets = [
        [folder / f"{path.stem}{end}.png" for end in ends] for path in sources
    ]
    seen: dict[Path, Path] = {}
    for source, files in zip(sources, targets, strict=True):
        for target in files:
            if target in seen:
                raise UserError(
                    f"{target}: two images would be written there, "
                    f"{seen[target]} and {source}."
                )
            check_new(target)
            seen[target] = source
    return targets
