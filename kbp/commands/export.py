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
    say_written,
    summary,
    users_errors,
)
from kbp.commands.sources.examples import SOURCES, read_examples
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
        f"examples: {SOURCES}",
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

    examples = read_examples(
        model, options.calibrate, options.data_dir, _input_shape(options)
    )
    return quantization.quantize(model, examples)


def _shape(text):
    """Return the name of an input, if there is one, and its sizes."""
    name, _, sizes = text.rpartition("=")
    return name, tuple(map(int, sizes.split(",")))


def _input_shape(options):
    """Return the sizes of one input, or of inputs by their names."""
    shapes = dict(options.input_shape or ())
    return shapes.get("") or shapes or None
