"""The task of a recipe, with its data."""

from functools import partial
from pathlib import Path

from kbp.data import splitting
from kbp.data.datasets import cifar10, digits, dsb2018, ett, isbi2012
from kbp.data.formats import csv_series, image_masks
from kbp.errors import UserError
from kbp.recipes.recipe import Recipe
from kbp.recipes.sections import CsvSeriesRecipe, ImageMasksRecipe
from kbp.tasks.classification import Classification
from kbp.tasks.forecasting import Forecasting
from kbp.tasks.segmentation import Segmentation
from kbp.tasks.task import Task, check_unused


def make_task(recipe: Recipe, data_dir: str | Path | None = None) -> Task:
    """Load the data of a recipe and return its task.

    Args:
        recipe: see `Task`.
        data_dir: folder of the data sets that are read from files.

    Raises:
        UserError: a file is missing or wrong, or the recipe does not fit it.
    """
    if isinstance(recipe.data, CsvSeriesRecipe):
        return Forecasting(recipe, _load_series(recipe.data, data_dir))
    linear_skip = recipe.linear_skip
    check_unused(
        "linear_skip", linear_skip, "it is for forecasts", *vars(linear_skip)
    )
    if isinstance(recipe.data, ImageMasksRecipe):
        return Segmentation(recipe, _load_masks(recipe.data, data_dir))
    return Classification(recipe, _load_images(recipe.data, data_dir))


def _load_images(section, data_dir):
    if section.name == "cifar10":
        _check_unused(section, "image_size", "test_fraction", "split_seed")
        return cifar10.load(
            data_dir, validation_fraction=section.validation_fraction
        )
    try:
        return digits.load(
            image_size=section.image_size,
            validation_fraction=section.validation_fraction,
            test_fraction=section.test_fraction,
            split_seed=section.split_seed,
        )
    except ValueError as error:  # scikit-learn's: a split without a class
        raise UserError(f"[data] {error}") from error


def _load_masks(section, data_dir):
    own = ("images", "masks", "color", "class_names", "mask_values", "split")
    fractions = {"validation_fraction": section.validation_fraction}
    if section.name == "dsb2018":
        _check_unused(section, *own, "fold", "folds", "lists", "tile_size")
        fractions["test_fraction"] = section.test_fraction
        return dsb2018.load(data_dir, **fractions)
    if section.name == "isbi2012":
        _check_unused(
            section, *own, "folds", "lists", "tile_size", "test_fraction"
        )
        return isbi2012.load(data_dir, fold=section.fold, **fractions)
    for key in ("images", "masks"):
        if not getattr(section, key):
            raise UserError(f"data.{key} must name a folder")
    own = {
        "hash": ("test_fraction", "validation_fraction"),
        "fold": ("fold", "folds", "validation_fraction"),
        "folders": (),
        "lists": ("lists",),
    }
    _check_split(section, own)
    splits = {
        "hash": partial(
            splitting.by_hash, test_fraction=section.test_fraction, **fractions
        ),
        "fold": partial(
            splitting.by_fold,
            fold=section.fold,
            folds=section.folds,
            **fractions,
        ),
        "folders": splitting.by_folder,
        "lists": partial(splitting.by_lists, folder=section.lists),
    }
    return image_masks.load(
        section.images,
        section.masks,
        split=splits[section.split],
        channels=3 if section.color else 1,
        class_names=section.class_names,
        mask_values=section.mask_values or None,
        tile_size=section.tile_size or None,
    )


def _load_series(section, data_dir):
    windows = {"lookback": section.lookback, "horizon": section.horizon}
    if section.name != "file":
        own = ("file", "time_column", "columns", "missing", "split")
        limits = ("validation_fraction", "test_fraction", "rows", "dates")
        _check_unused(section, *own, *limits)
        return ett.load(section.name, data_dir, **windows)
    if not section.file:
        raise UserError("data.file must name a CSV file")
    own = {
        "fractions": ("validation_fraction", "test_fraction"),
        "rows": ("rows",),
        "dates": ("dates",),
    }
    _check_split(section, own)
    splits = {
        "fractions": csv_series.by_fractions(
            section.validation_fraction, section.test_fraction
        ),
        "rows": csv_series.by_rows(section.rows),
        "dates": csv_series.by_dates(section.dates),
    }
    return csv_series.load(
        section.file,
        split=splits[section.split],
        time_column=section.time_column,
        columns=section.columns,
        missing=section.missing,
        **windows,
    )


def _check_split(section, keys):
    """Refuse the keys of other splits than the section's, which say nothing."""
    others = {key for some in keys.values() for key in some}
    check_unused(
        "data",
        section,
        f"data.split is {section.split!r}",
        *sorted(others.difference(keys[section.split])),
    )


def _check_unused(section, *keys):
    check_unused("data", section, f"{section.name} has its own", *keys)
