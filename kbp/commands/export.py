"""`export`: a model as .tflite or SavedModel."""

import os
from pathlib import Path

from kbp import zoo
from kbp._utils.files import write_atomically
from kbp._utils.run_files import FLOAT32, INT8, MODEL, QUANTIZED_MODEL
from kbp.commands.shared.common import (
    add_budget,
    add_data_dir,
    add_imports,
    is_entry,
    positive,
    say_written,
    summary,
    users_errors,
)
from kbp.commands.shared.examples import SOURCES, read_examples
from kbp.errors import UserError

HELP = "write a model as .tflite or SavedModel"
EXAMPLES = (
    "runs/pyramid_bpnet_small.digits out.tflite --dtype int8",
    "model.keras out.tflite --calibrate examples.npy",
    "model.keras out.tflite --budget 256kB:flash,64kB:ram",
    "model.keras out_saved_model",
    "pyramid_bpnet_small.digits out.tflite --input-dtype uint8",
)


def add_arguments(parser):
    """Add the command's arguments to its parser."""
    parser.add_argument(
        "path",
        metavar="ENTRY_OR_FILE",
        help="a zoo entry, a run's folder, or a .keras file; an int8 .tflite "
        "file to change the type of its inputs and outputs",
    )
    parser.add_argument(
        "out", metavar="OUT", help="NAME.tflite, or a folder for a SavedModel"
    )
    parser.add_argument(
        "--dtype",
        choices=("float32", "float16", "int8_weights", "int8"),
        help="of a .tflite file (default: int8 for a quantization-aware model, "
        "else float32); of a run's folder, int8 takes model_quantized.keras, "
        "the others model.keras",
    )
    parser.add_argument(
        "--input-dtype",
        choices=("float32", "int8", "uint8"),
        help="of the inputs and outputs of an int8 file (default: int8); asks "
        "for one without --dtype, too",
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
    add_budget(parser)
    add_data_dir(parser)
    add_imports(parser)


def run(options, console):
    """Run the command."""
    from kbp import export
    from kbp.export.memory.budget import said_of_ram
    from kbp.inference import loading

    source, out = Path(options.path), Path(options.out)
    if is_entry(options.path):
        source = zoo.file(options.path, INT8 if _rounded(options) else MODEL)
    elif source.is_dir():
        source /= QUANTIZED_MODEL if _rounded(options) else MODEL
    if os.path.lexists(out):
        raise UserError(f"{out}: exists. Choose another name.")
    if options.calibrate and (
        out.suffix != ".tflite" or options.dtype not in (None, "int8")
    ):
        raise UserError(
            "--calibrate is for an int8 .tflite file; name one as OUT"
        )
    if source.suffix == ".tflite":
        _change_interface(source, out, options, console)
        return
    model = loading.load_keras(source)
    if options.input_shape and out.suffix != ".tflite":
        raise UserError("--input-shape is for a .tflite file; name one as OUT")
    if options.budget is not None and out.suffix != ".tflite":
        raise UserError("--budget is for a .tflite file; name one as OUT")
    with users_errors():
        budget = _budget(options)
        if options.calibrate:
            model = _quantize(model, options)
        if out.suffix == ".tflite":
            audit = export.to_tflite(
                model,
                out,
                dtype=_dtype(options),
                input_dtype=options.input_dtype,
                batch_size=options.batch_size,
                input_shape=_input_shape(options),
                allow_float=options.allow_float,
                metadata=_metadata(source, model),
                budget=budget,
            )
            console.print(summary(audit))
            if budget and budget.ram is not None:
                taken = export.footprint(out)
                console.print(said_of_ram(taken, budget.ram))
        else:
            export.to_saved_model(model, out)
    say_written(console, out)


def _rounded(options):
    """Say whether what is in eight bits of an entry or a run is asked for."""
    return _dtype(options) == "int8" and not options.calibrate


def _dtype(options):
    """Return what a file is to be, `None` where the model says it."""
    return options.dtype or (options.input_dtype and "int8")


def _change_interface(source, out, options, console):
    """Write a .tflite file with inputs and outputs of another type."""
    from kbp import export
    from kbp.export.interpreter import read_tflite
    from kbp.export.memory.budget import said_of_ram
    from kbp.export.runtimes import with_interface

    if out.suffix != ".tflite":
        raise UserError(f"{out}: must end in .tflite, as {source} does")
    others = (options.calibrate, options.input_shape, options.allow_float)
    if (
        any(others)
        or options.batch_size > 1
        or options.dtype not in (None, "int8")
        or not (options.dtype or options.input_dtype)
    ):
        raise UserError(
            f"{source}: of a .tflite file --input-dtype alone can be changed"
        )
    with users_errors():
        content = read_tflite(source)
        if options.input_dtype:
            content = with_interface(content, options.input_dtype)
        budget = _budget(options)
        if budget:
            taken = export.footprint(content, measure=bool(budget.ram))
            budget.check(taken, str(out))
        console.print(summary(export.audit(content)))
    write_atomically(out, content)
    if budget and budget.ram is not None:
        console.print(said_of_ram(taken, budget.ram))
    say_written(console, out)


def _budget(options):
    """Return the budget that is given, if one is."""
    from kbp import export

    if options.budget is None:
        return None
    return export.Budget.parse(options.budget)


def _metadata(source, model):
    """Return what the .tflite files of a Keras file's run say of it."""
    from kbp._utils.machine import versions
    from kbp._utils.manifest import digest
    from kbp.export import Metadata

    known, models = Metadata(model.name), [source]
    for file in (source.parent / INT8, source.parent / FLOAT32):
        found = Metadata.read(file) if file.is_file() else None
        if found and digest(source) in str(found.origin):
            known = found
            if source.name == QUANTIZED_MODEL:  # which was made of the other
                models = [source.with_name(MODEL), source]
            break
    models = [path for path in models if path.is_file()]
    return known.made_of(*models, versions=versions())


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
