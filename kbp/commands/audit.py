"""`audit`: the operations of a .tflite file, and what it takes."""

from rich.table import Table

from kbp.commands.shared.common import add_budget, summary, users_errors

HELP = "list the operations of a .tflite file, and what its layers take"
EXAMPLES = (
    "model_int8.tflite",
    "model_int8.tflite --allow-float SOFTMAX",
    "model_int8.tflite --budget 256kB:flash,64kB:ram",
)


def add_arguments(parser):
    """Add the command's arguments to its parser."""
    parser.add_argument("path", metavar="FILE.tflite")
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

    with users_errors():
        limits = export.Budget()
        if options.budget is not None:
            limits = export.Budget.parse(options.budget)
        audit = export.audit(options.path, allow_float=options.allow_float)
        taken = export.footprint(options.path)
    table = Table(title=str(options.path))
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
    limits.check(taken, options.path)
    if limits.ram is not None:
        console.print(said_of_ram(taken, limits.ram))
