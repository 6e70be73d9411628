"""`sensitivity`: which tensors lose what a model loses in eight bits."""

from pathlib import Path

from kbp import zoo
from kbp._utils.run_files import MODEL, QUANTIZED_MODEL, RECIPE
from kbp.commands.shared.common import (
    add_data_dir,
    add_imports,
    is_entry,
    positive,
    users_errors,
)
from kbp.commands.shared.examples import SOURCES, read_examples
from kbp.errors import UserError

HELP = "what the rounding of each tensor costs in eight bits"
EXAMPLES = (
    "runs/pyramid_bpnet_small.digits",
    "model.keras --data examples.npy",
    "model.keras --data examples.npy --skip dense_3",
)


def add_arguments(parser):
    """Add the command's arguments to its parser."""
    parser.add_argument(
        "path",
        metavar="ENTRY_OR_FILE",
        help="a zoo entry, a run's folder, whose model_quantized.keras counts, "
        "or a .keras file; a model in float is rounded by the examples first",
    )
    parser.add_argument(
        "--data",
        metavar="DATA",
        help=f"examples: {SOURCES} (default: the entry's or the run's own)",
    )
    parser.add_argument(
        "--examples",
        type=positive,
        default=256,
        metavar="N",
        help="how many of them to take (default: 256)",
    )
    parser.add_argument(
        "--skip",
        nargs="+",
        metavar="LAYER",
        help="layers of a model in float to leave there",
    )
    add_data_dir(parser)
    add_imports(parser)


def run(options, console):
    """Run the command."""
    from kbp.inference import loading
    from kbp.quantization import sensitivity
    from kbp.reports.fitted_table import FittedTable

    source, data = Path(options.path), options.data or options.path
    if is_entry(options.path):
        source = zoo.file(options.path, MODEL)
    else:
        if source.is_dir():
            source /= QUANTIZED_MODEL
        if not options.data:
            data = str(source.with_name(RECIPE))
    model = loading.load_keras(source)
    if not options.data and not source.with_name(RECIPE).is_file():
        raise UserError(
            f"{source}: no {RECIPE} beside it says what its data are; name "
            "examples by --data"
        )
    chosen = {"skip": options.skip} if options.skip else {}
    with users_errors():
        data = read_examples(model, data, options.data_dir)
        found = sensitivity(model, data, examples=options.examples, **chosen)
    rows = [(x.layer, x.tensor, f"{x.error:.5f}") for x in found.tensors]
    console.print(
        FittedTable(
            "Error of the outputs when one tensor alone is rounded",
            ["layer", "tensor", "error"],
            [*rows, ("all of them", "", f"{found.error:.5f}")],
        )
    )
    console.print(
        "Root mean squares, in standard deviations of the outputs' columns."
    )
