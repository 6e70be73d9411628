"""`verify`: the same examples through other runtimes."""

from pathlib import Path

from kbp.commands.shared.common import add_imports, find_tflite, users_errors

HELP = "compare what runtimes make of a .tflite file with LiteRT's XNNPACK"
EXAMPLES = (
    "pyramid_bpnet_small.digits",
    "runs/plants --runtimes litert,reference,micro,web",
    "model_int8.tflite --data examples.npy",
)


def add_arguments(parser):
    """Add the command's arguments to its parser."""
    parser.add_argument(
        "model",
        metavar="MODEL",
        help="a zoo entry, a run's folder, of which the int8 file is taken if "
        "there is one, or a .tflite file",
    )
    parser.add_argument(
        "--runtimes",
        type=lambda text: text.split(","),
        metavar="NAME,NAME",
        help="litert (several threads), reference (LiteRT's reference "
        "kernels), micro (TFLite Micro), web (LiteRT.js in Chromium), or one "
        "of your own; by default all that are there",
    )
    parser.add_argument(
        "--data",
        metavar="DATA",
        help="examples: an .npy file, or an .npz file with an array for each "
        "input, of one named x or inputs (default: the golden ones beside the "
        "file, else noise)",
    )
    add_imports(parser)


def run(options, console):
    """Run the command; the status is 1 if a runtime is too far away."""
    from kbp import export
    from kbp.inference import golden
    from kbp.reports.agreements import cells
    from kbp.reports.fitted_table import FittedTable

    path = find_tflite(options.model)
    with users_errors():
        inputs = (
            _arrays(options.data) if options.data else golden.inputs_for(path)
        )
        found = export.verify_runtimes(path, inputs, options.runtimes)
    headings = ["", "same", "within 1 step", "largest", "first", "most"]
    ran = [x for x in found if x.reason is None]
    console.print(
        FittedTable(
            f"{options.model}: {max(x.outputs for x in found):,} outputs "
            "against XNNPACK at one thread",
            headings,
            [[x.runtime, *cells(x)] for x in ran],
        )
    )
    for x in found:
        if x.reason is not None:
            console.print(f"{x.runtime}: not run. {x.reason}", markup=False)
        elif not x.is_near:
            console.print(f"{x.runtime}: too far away.", style="yellow")
    return 0 if all(x.is_near for x in found) else 1


def _arrays(name):
    """Return the array of a file, or its arrays by the inputs' names."""
    from kbp.data.array_files import read_arrays

    arrays = read_arrays(Path(name))
    only = [arrays[key] for key in ("", "x", "inputs") if key in arrays]
    return only[0] if only else arrays
