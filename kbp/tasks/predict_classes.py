"""Classes of a person's image files, by a model that labels images."""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console
from scipy import special

from kbp._utils.command_line import check_new, positive, say_written
from kbp._utils.csv_text import as_csv
from kbp._utils.files import write_atomically
from kbp._utils.run_files import LABELS
from kbp.data.images.kinds import ImageFacts
from kbp.data.images.photographs import read_photographs
from kbp.data.images.resizing import RESIZE
from kbp.data.images.wrong import refuse
from kbp.data.splits import as_floats
from kbp.errors import UserError
from kbp.inference.ensembles import mutual_information
from kbp.reports.contact_sheet import contact_sheet
from kbp.tasks.predict_masks import files_of, images_of, say_unlike
from kbp.tasks.prediction import OpenModel, Prediction

if TYPE_CHECKING:
    from kbp.recipes.recipe import Recipe

_AT_ONCE = 256  # images, which bounds the memory
_MOST_SHOWN = 400  # on the sheet
USUAL_TOP = 3
# Columns of how far an ensemble's members differ.
SPREAD = ("deviation", "mutual_information")


class ClassPrediction(Prediction):
    """A table of classes and a contact sheet, by a model that labels images."""

    kind = "classes"
    needs = (
        "must label images: take images of 1 or 3 channels, or their rows, and "
        "give logits of 2 or more classes"
    )

    @classmethod
    def fits(cls, inputs: tuple[int, ...], outputs: tuple[int, ...]) -> bool:
        is_image = len(inputs) == 3 and inputs[2] in (1, 3)
        is_rows = len(inputs) == 2
        return (is_image or is_rows) and len(outputs) == 1 and outputs[0] > 1

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "images", metavar="IMAGE", nargs="+", help="image files, or folders"
        )
        add_top(parser)

    @classmethod
    def write(
        cls,
        model: OpenModel,
        recipe: "Recipe | None",
        options: argparse.Namespace,
        console: Console,
    ) -> None:
        names = class_names_of(model)
        top = top_of(options, model, names)
        sources, kinds = files_of(options.images, console)
        known, facts = images_of(model, recipe), list[ImageFacts]()
        folder = Path(options.out)
        table, sheet = folder / "predictions.csv", folder / "contact_sheet.svg"
        for target in (table, sheet):
            check_new(target)
        wrong: dict[Path, UserError] = {}
        read = partial(
            read_photographs,
            resize=known.resize or RESIZE,
            white_level=known.white_level,
            facts=facts,
            wrong=wrong,
        )
        found = _predict(
            model,
            sources,
            names,
            top,
            read,
            lambda: bool(kinds or wrong),
            recipe,
        )
        refuse(kinds, wrong)
        say_unlike(known, sources, facts, console)
        write_atomically(table, table_of(found, top))
        shown = found[:_MOST_SHOWN]
        captions = [(p.classes[0], f"{p.shares[0]:.0%}") for p in shown]
        write_atomically(
            sheet,
            contact_sheet(
                [p.image for p in shown if p.image is not None], captions
            ),
        )
        say_written(console, table)
        say_written(console, sheet)
        if len(shown) < len(found):
            console.print(f"The sheet shows the first {len(shown)} images.")


def add_top(parser: argparse.ArgumentParser) -> None:
    """Add how many classes are named."""
    parser.add_argument(
        "--top",
        type=positive,
        metavar="K",
        help="classes to name for each file, the most probable first "
        f"(default: {USUAL_TOP}, or all of fewer)",
    )


def top_of(
    options: argparse.Namespace, model: OpenModel, names: Sequence[str]
) -> int:
    """Return how many classes are named.

    Raises:
        UserError: there are fewer.
    """
    top: int = options.top or min(USUAL_TOP, len(names))
    if top > len(names):
        raise UserError(
            f"--top must be at most the {len(names)} classes of "
            f"{model.path}; received {top}"
        )
    return top


@dataclass(frozen=True)
class Predicted:
    """What a model makes of a file: classes and their probabilities.

    Recordings have no image, nor have files that are not shown. Of an ensemble
    also how far its members differ: the deviation of the first class's
    probability, and the mutual information.
    """

    source: Path
    image: np.ndarray | None
    classes: tuple[str, ...]
    shares: tuple[float, ...]
    spread: tuple[float, ...] = ()


def _predict(
    model: OpenModel,
    sources: Sequence[Path],
    names: Sequence[str],
    top: int,
    read: Callable[..., np.ndarray],
    is_refused: Callable[[], bool],
    recipe: "Recipe | None",
) -> list[Predicted]:
    members = model.members(recipe)
    height, width, channels = image_shape(model.inputs)
    found: list[Predicted] = []
    for start in range(0, len(sources), _AT_ONCE):
        part = sources[start : start + _AT_ONCE]
        images = read(part, (height, width), channels=channels)
        if is_refused():  # the others are read to name what is wrong in them
            continue
        inputs = as_floats(images).reshape(-1, *model.inputs)
        shares = probabilities(model.predict(inputs), recipe)
        spread = spread_of(members, inputs, shares.argmax(axis=-1))
        shown = [*images[: max(0, _MOST_SHOWN - start)]]
        shown += [None] * (len(part) - len(shown))
        found += best_of(part, shown, shares, names, top, spread)
    return found


def best_of(
    sources: Sequence[Path],
    images: Sequence[np.ndarray | None],
    shares: np.ndarray,
    names: Sequence[str],
    top: int,
    spread: Sequence[tuple[float, ...]],
) -> list[Predicted]:
    """Return the most probable classes of some files.

    Args:
        sources: the files.
        images: of them, or `None`.
        shares: probabilities `(files, classes)`.
        names: of the classes.
        top: how many of them.
        spread: of each file, see `spread_of`.
    """
    order = np.argsort(-shares, axis=-1, kind="stable")[:, :top]
    return [
        Predicted(
            source,
            image,
            tuple(names[i] for i in best),
            tuple(share[best].tolist()),
            row,
        )
        for source, image, best, share, row in zip(
            sources, images, order, shares, spread, strict=True
        )
    ]


def spread_of(
    members: Callable[[np.ndarray], np.ndarray] | None,
    inputs: np.ndarray,
    classes: np.ndarray,
) -> list[tuple[float, ...]]:
    """Return for each example how far the members of an ensemble differ.

    Args:
        members: of `OpenModel.members`; `None` without an ensemble.
        inputs: a batch.
        classes: the class of each example that was found.

    Returns:
        Values of `SPREAD`, or nothing of each.
    """
    if members is None:
        return [()] * len(inputs)
    likely = special.softmax(members(inputs), axis=-1)
    one = np.take_along_axis(likely, classes[None, :, None], axis=-1)
    deviation = one[..., 0].astype("float64").std(axis=0)
    information = mutual_information(likely)
    return [*zip(deviation.tolist(), information.tolist(), strict=True)]


def image_shape(inputs: tuple[int, ...]) -> tuple[int, int, int]:
    """Return height, width and channels of what a model is given.

    Args:
        inputs: shape of an example: of an image, or of its rows.
    """
    if len(inputs) == 3:
        return inputs[0], inputs[1], inputs[2]
    # Rows of square images hold the channels of each pixel.
    channels = 3 if inputs[1] == 3 * inputs[0] else 1
    return inputs[0], inputs[1] // channels, channels


def class_names_of(model: OpenModel) -> list[str]:
    """Return the names that go with a model, else the classes' numbers."""
    count = model.outputs[0]
    text = model.text(LABELS)
    if text is None:
        return [str(index) for index in range(count)]
    names = text.content.splitlines()
    if len({*names}) < len(names):
        raise UserError(f"{text.place}: names one class twice.")
    if len(names) != count:
        raise UserError(
            f"{text.place}: names {len(names)} classes, but {model.path} has "
            f"{count}."
        )
    return names


def probabilities(
    outputs: np.ndarray, recipe: "Recipe | None" = None
) -> np.ndarray:
    """Return probabilities of logits; of votes and others' models as they are.

    Args:
        outputs: `(examples, classes)`.
        recipe: of the model's run, which says that they are logits, or votes
            of an ensemble. Without it, shares that sum to 1 are probabilities.
    """
    section = recipe and recipe.ensemble
    if section and not (section.members and section.combine == "vote"):
        return special.softmax(outputs, axis=-1)
    total = outputs.sum(axis=-1)
    # Eight bits hold each of them to 1/256, a few of many not at all.
    slack = min(0.1, (outputs.shape[-1] + 1) / 256)
    if (outputs >= 0).all() and (np.abs(total - 1) < slack).all():
        return outputs / total[:, None]
    return special.softmax(outputs, axis=-1)


def table_of(found: Sequence[Predicted], top: int) -> str:
    """Return a CSV text, a line for each file.

    Args:
        found: of the files.
        top: classes of each.
    """
    columns = ["class", "probability"]
    more = [f"{c}_{k}" for k in range(2, top + 1) for c in columns]
    more += SPREAD if found and found[0].spread else ()
    rows = [["file", *columns, *more]]
    for each in found:
        pairs = zip(each.classes, each.shares, strict=True)
        cells = [x for name, share in pairs for x in (name, f"{share:.4f}")]
        cells += [f"{x:.4f}" for x in each.spread]
        rows.append([each.source.as_posix(), *cells])
    return as_csv(rows)
