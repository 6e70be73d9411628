"""`audit`: the operations of a .tflite file, and what it takes."""

from rich.table import Table

from kbp.commands.shared.common import (
    add_budget,
    find_tflite,
    summary,
    users_errors,
)

HELP = "list the operations of a .tflite file, and what its layers take"
EXAMPLES = (
    "pyramid_bpnet_small.digits",
    "model_int8.tflite",
    "model_int8.tflite --allow-float SOFTMAX",
    "model_int8.tflite --budget 256kB:flash,64kB:ram",
)


def add_arguments(parser):
    """Add the command's arguments to its parser."""
    parser.add_argument(
        "path",
        metavar="ENTRY_OR_FILE",
        help="a zoo entry or a run's folder, of which the int8 file is taken "
        "if there is one, or a .tflite file",
    )
    parser.add_argument(
        "--allow-float",
        nargs="*",
        metavar="NAME",
        help="operations or layers that may be float; fail if another "
        "operation is (without names: if any is)",
    )
    add_budget(parser)


def run(options, console):
    """Run the command."""
    from kbp import export
    from kbp.export.memory.budget import said_of_ram
    from kbp.reports import footprint

    path = find_tflite(options.path)
    with users_errors():
        limits = export.Budget()
        if options.budget is not None:
            limits = export.Budget.parse(options.budget)
        audit = export.audit(path, allow_float=options.allow_float)
        taken = export.footprint(path)
    table = Table(title=str(path))
    for column in ("operation", "inputs", "outputs", "layer"):
        table.add_column(column, overflow="fold")
    for operation in audit.operations:
        table.add_row(
            operation.name,
            " ".join(operation.inputs),
            " ".join(operation.outputs),
            operation.layer,
            style="yellow" if operation.is_float else None,
        )
    console.print(table)
    console.print()
    console.print(footprint.as_rich(taken))
    console.print(summary(audit))
    limits.check(taken, str(path))
    if limits.ram is not None:
        console.print(said_of_ram(taken, limits.ram))
