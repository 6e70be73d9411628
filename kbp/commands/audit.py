"""`audit`: the operations of a .tflite file."""

from rich.table import Table

from kbp.commands.common import summary, users_errors

HELP = "list the operations of a .tflite file with their types"
EXAMPLES = ("model_int8.tflite", "model_int8.tflite --allow-float SOFTMAX")


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


def run(options, console):
    """Run the command."""
    from kbp import export

    with users_errors():
        audit = export.audit(options.path, allow_float=options.allow_float)
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
    console.print(summary(audit))
