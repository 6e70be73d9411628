"""Classes of a person's recordings of events."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console

from kbp._utils.command_line import check_new, say_written
from kbp._utils.files import write_atomically
from kbp.data.formats.events import EventsConfig, binning_of
from kbp.data.images.wrong import refuse
from kbp.data.recordings import RECORDINGS, Recording, remarks_of
from kbp.errors import UserError
from kbp.tasks.predict_classes import (
    add_top,
    best_of,
    class_names_of,
    probabilities,
    spread_of,
    table_of,
    top_of,
)
from kbp.tasks.predict_masks import files_of
from kbp.tasks.prediction import OpenModel, Prediction

if TYPE_CHECKING:
    from kbp.recipes.recipe import Recipe


class RecordingPrediction(Prediction):
    """A table of classes, by a model that labels recordings of events."""

    needs = (
        "must label recordings: take (time, channels), give logits of 2 or "
        "more classes, and be of a run whose recipe says how events are counted"
    )

    @classmethod
    def fits(cls, inputs: tuple[int, ...], outputs: tuple[int, ...]) -> bool:
        return len(inputs) == 2 and len(outputs) == 1 and outputs[0] > 1

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "recordings",
            metavar="RECORDING",
            nargs="+",
            help="CSV or NPZ files, or folders",
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
        config = recipe and recipe.data.config
        if not isinstance(config, EventsConfig):
            raise UserError(
                f'{model.path}: was not trained on data.name = "events", whose '
                "keys say how recordings are counted; kbp.export.Runner(path)"
                ".predict takes arrays"
            )
        names = class_names_of(model)
        top = top_of(options, model, names)
        sources, kinds = files_of(options.recordings, console, RECORDINGS)
        table = Path(options.out) / "predictions.csv"
        check_new(table)
        binning, members = binning_of(config), model.members(recipe)
        read: dict[str, Recording] = {}
        wrong: dict[Path, UserError] = {}
        found = []
        for path in sources:
            try:
                recording = binning.read(path)
            except UserError as error:
                wrong[path] = error
                continue
            read[path.as_posix()] = recording
            inputs = recording.values[np.newaxis]
            shares = probabilities(model.predict(inputs), recipe)
            spread = spread_of(members, inputs, shares.argmax(axis=-1))
            found += best_of([path], [None], shares, names, top, spread)
        refuse(kinds, wrong)
        for remark in remarks_of(read):
            console.print(remark, markup=False, soft_wrap=True)
        write_atomically(table, table_of(found, top))
        say_written(console, table)
