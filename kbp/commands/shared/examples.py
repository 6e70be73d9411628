"""Reading the examples that an option names, in any form it may have."""

from pathlib import Path

from kbp.commands.shared.common import read_recipe
from kbp.errors import UserError

SOURCES = (
    "an .npy file, an .npz file with an array for each input (of one input, "
    "named x), a folder of images, or a recipe, run or entry, of whose "
    "training data some are taken"
)


def read_examples(model, name, data_dir=None, input_shape=None):
    """Return examples for a model.

    Args:
        model: what they are for.
        name: one of `SOURCES`.
        data_dir: folder of the data sets in files.
        input_shape: sizes of the inputs that the model leaves open.

    Raises:
        UserError: there are none, or they are not for the model.
    """
    from kbp.tasks import make_task

    path = Path(name)
    if path.suffix in (".npy", ".npz"):
        return _arrays(path, model)
    if path.is_dir() and not (path / "recipe.toml").exists():
        return _images(path, model, input_shape)
    recipe, _ = read_recipe(name)
    return make_task(recipe, data_dir).calibration_batches()


def _images(folder, model, input_shape):
    """Return a folder's images, in the size that a model takes."""
    from kbp.data.images.photographs import read_photographs
    from kbp.data.images.search import find_files
    from kbp.data.splits import as_floats
    from kbp.export.sizes import fixed_shapes

    shapes = [*fixed_shapes(model, input_shape).values()]
    *size, channels = shapes[0]
    if len(shapes) != 1 or len(size) != 2 or channels not in (1, 3):
        raise UserError(
            f"{folder}: the model takes {shapes}, which are no "
            "images of 1 or 3 channels. Give an .npy or .npz file."
        )
    paths = find_files(folder).files
    some = paths[:: -(-len(paths) // 256)]  # of all classes' folders
    return as_floats(
        read_photographs(some, (size[0], size[1]), channels=channels)
    )


def _arrays(path, model):
    """Return the array of a file, or its arrays by their names."""
    from kbp._utils.examples import shapes_of
    from kbp.data.array_files import read_arrays

    arrays, names = read_arrays(path), [*shapes_of(model)]
    if len(names) == 1 and len(arrays) > 1:
        # Beside the inputs, what was learned from them is of no use here.
        found = [name for name in (*names, "x") if name in arrays]
        if not found:
            raise UserError(
                f"{path}: holds {', '.join(arrays)}; the array of "
                f"inputs must be named {names[0]!r}, as the model's input, or "
                "'x', or be the only one."
            )
        return arrays[found[0]]
    return arrays if len(arrays) > 1 else next(iter(arrays.values()), arrays)
