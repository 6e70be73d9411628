"""`check-tpu`: compile a recipe's training step for a TPU, without one."""

from functools import partial

from rich.table import Table

from kbp.commands.shared.common import (
    add_recipe,
    check_changed,
    read_changed,
)
from kbp.errors import UserError

HELP = (
    "compile the training steps of a recipe with the compiler of a TPU, on "
    "this machine, and say what memory and time they take there"
)
EXAMPLES = (
    "pyramid_bpnet_small.digits",
    "my.toml --topology v5e:4x4 --set training.batch_size=1024",
)


def add_arguments(parser):
    """Add the command's arguments to its parser."""
    add_recipe(parser)
    parser.add_argument(
        "--topology",
        metavar="NAME",
        default="v5e:2x2",
        help="version and shape of the TPU, e.g. v5e:2x2 (default: "
        "%(default)s); each chip is a replica",
    )


check = check_changed


def run(options, console):
    """Run the command."""
    from kbp.tasks import make_task
    from kbp.training.distribution import tpu
    from kbp.training.pipeline import Pipeline

    recipe, name = read_changed(options)
    recipe = recipe.with_settings(["training.strategy=one_device"])
    devices = tpu.devices(options.topology)
    batch_size = recipe.training.batch_size
    if batch_size % len(devices):
        raise UserError(
            f"training.batch_size must be divisible by the {len(devices)} "
            f"chips of {options.topology}; received {batch_size}"
        )
    recipe = recipe.with_settings(
        [
            f"training.batch_size={batch_size // len(devices)}",
            "training.steps_per_execution=1",
        ]
    )
    make = partial(make_task, recipe, options.data_dir)
    pipeline = Pipeline(recipe, None, make, console)
    table = Table(
        *("stage", "compiles", "GFLOP a step", "memory", "of the chip's"),
        "step at least",
        title=f"{name} on {options.topology}, {devices[0].device_kind}: one of "
        f"{len(devices)} replicas",
    )
    for stage, model in pipeline.compiled():
        batch = next(iter(pipeline.task.training_batches(seed=0)))
        with console.status(f"Compiling {stage} ..."):
            found = tpu.compile_for(devices[0], tpu.lowered(model, batch))
        share, seconds = found.memory_share, found.seconds
        table.add_row(
            stage,
            "yes",
            f"{found.flops / 1e9:,.2f}",
            f"{found.memory / 2**20:,.0f} MiB",
            "-" if share is None else f"{share:.2%}",
            "-" if seconds is None else f"{1e3 * seconds:.3f} ms",
        )
    if not table.row_count:
        raise UserError(f"{name} trains nothing: both its epochs are 0")
    console.print(table)
    console.print(
        "The time is that of the arithmetic in bfloat16 or of the memory "
        "traffic, whichever is longer; what replicas send each other is not in "
        "it."
    )
