"""`export`: a .keras model as .tflite or SavedModel."""

import os
from pathlib import Path

from kbp import zoo
from kbp._utils.run_files import MODEL, QUANTIZED_MODEL
from kbp.commands.common import (
    add_data_dir,
    add_imports,
    is_entry,
    positive,
    read_recipe,
    say_written,
    summary,
    users_errors,
)
from kbp.errors import UserError

HELP = "write a .keras model as .tflite or SavedModel"
EXAMPLES = (
    "runs/pyramid_bpnet_small.digits out.tflite --dtype int8",
    "model.keras out.tflite --calibrate examples.npy",
    "model.keras out_saved_model",
)


def add_arguments(parser):
    """Add the command's arguments to its parser."""
    parser.add_argument(
        "path",
        metavar="ENTRY_OR_FILE",
        help="a zoo entry, a run's folder, or a .keras file",
    )
    parser.add_argument(
        "out", metavar="OUT", help="NAME.tflite, or a folder for a SavedModel"
    )
    parser.add_argument(
        "--dtype",
        choices=("float32", "float16", "int8"),
        help="of a .tflite file (default: int8 for a quantization-aware model, "
        "else float32); of a run's folder, int8 takes model_quantized.keras, "
        "the others model.keras",
    )
    parser.add_argument(
        "--input-dtype",
        choices=("float32", "int8", "uint8"),
        help="of the inputs and outputs of an int8 file (default: int8)",
    )
    parser.add_argument(
        "--batch-size",
        type=positive,
        default=1,
        metavar="N",
        help="examples in one call of a .tflite file (default: 1)",
    )
    parser.add_argument(
        "--input-shape",
        nargs="+",
        type=_shape,
        metavar="[NAME=]N,N,...",
        help="sizes of an example, such as 224,224,3, of an input that leaves "
        "some open; of several inputs with their names",
    )
    parser.add_argument(
        "--allow-float",
        nargs="*",
        default=(),
        metavar="NAME",
        help="operations or layers that may stay float in an int8 file",
    )
    parser.add_argument(
        "--calibrate",
        metavar="DATA",
        help="round a float model to int8 without training, with ranges from "
        "examples: an .npy file, an .npz file with an array for each input "
        "(of one input, named x), a folder of images, or a recipe, run or "
        "entry, of whose training data some are taken",
    )
    add_data_dir(parser)
    add_imports(parser)


def run(options, console):
    """Run the command."""
    from kbp import export
    from kbp.inference import loading

    source, out = Path(options.path), Path(options.out)
    if is_entry(options.path):
        source = zoo.file(options.path, MODEL)
    elif source.is_dir():
        quantized = options.dtype == "int8"
        source /= QUANTIZED_MODEL if quantized else MODEL
    if os.path.lexists(out):
        raise UserError(f"{out}: exists. Choose another name.")
    if options.calibrate and (
        out.suffix != ".tflite" or options.dtype not in (None, "int8")
    ):
        raise UserError(
            "--calibrate is for an int8 .tflite file; name one as OUT"
        )
    model = loading.load_keras(source)
    if options.input_shape and out.suffix != ".tflite":
        raise UserError("--input-shape is for a .tflite file; name one as OUT")
    with users_errors():
        if options.calibrate:
            model = _quantize(model, options)
        if out.suffix == ".tflite":
            audit = export.to_tflite(
                model,
                out,
                dtype=options.dtype,
                input_dtype=options.input_dtype,
                batch_size=options.batch_size,
                input_shape=_input_shape(options),
                allow_float=options.allow_float,
            )
            console.print(summary(audit))
        else:
            export.to_saved_model(model, out)
    say_written(console, out)


def _quantize(model, options):
    """Return a float model rounded to eight bits."""
    from kbp import quantization
    from kbp.tasks import make_task

    data = Path(options.calibrate)
    if data.suffix in (".npy", ".npz"):
        return quantization.quantize(model, _arrays(data, model))
    if data.is_dir() and not (data / "recipe.toml").exists():
        images = _images(data, model, _input_shape(options))
        return quantization.quantize(model, images)
    recipe, _ = read_recipe(options.calibrate)
    task = make_task(recipe, options.data_dir)
    return quantization.quantize(model, task.calibration_batches())


def _shape(text):
    """Return the name of an input, if there is one, and its sizes."""
    name, _, sizes = text.rpartition("=")
    return name, tuple(map(int, sizes.split(",")))


def _input_shape(options):
    """Return the sizes of one input, or of inputs by their names."""
    shapes = dict(options.input_shape or ())
    return shapes.get("") or shapes or None


def _images(folder, model, input_shape):
    """Return a folder's images, in the size that a model takes."""
    from kbp.data.images.photographs import read_photographs
    from kbp.data.images.search import find_images
    from kbp.data.splits import as_floats
    from kbp.export.sizes import fixed_shapes

    shapes = [*fixed_shapes(model, input_shape).values()]
    *size, channels = shapes[0]
    if len(shapes) != 1 or len(size) != 2 or channels not in (1, 3):
        raise UserError(
            f"--calibrate {folder}: the model takes {shapes}, which are no "
            "images of 1 or 3 channels. Give an .npy or .npz file."
        )
    paths = find_images(folder).images
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
                f"--calibrate {path}: holds {', '.join(arrays)}; the array of "
                f"inputs must be named {names[0]!r}, as the model's input, or "
                "'x', or be the only one."
            )
        return arrays[found[0]]
    return arrays if len(arrays) > 1 else next(iter(arrays.values()), arrays)
