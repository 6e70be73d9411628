"""`deploy`: a model as a folder that runs without kbp."""

from kbp.commands.shared.common import add_imports, say_written, users_errors

HELP = (
    "write a folder that runs a model in Python, a browser, on a "
    "microcontroller or a phone"
)
EXAMPLES = (
    "pyramid_bpnet_small.digits --target web --out app",
    "runs/plants --target python --out plants",
    "model_int8.tflite --target micro --out firmware",
    "runs/plants --target entry --out my_zoo/plants",
)


def add_arguments(parser):
    """Add the command's arguments to its parser."""
    add_imports(parser)
    parser.add_argument(
        "model",
        metavar="MODEL",
        help="a zoo entry, a run's folder, of which the int8 file is taken if "
        "there is one, or a .tflite file",
    )
    parser.add_argument(
        "--target",
        required=True,
        metavar="TARGET",
        help="python, web, micro, android, ios; entry, one of a zoo of your "
        "own; or a target that you have registered",
    )
    parser.add_argument(
        "--out", required=True, metavar="DIR", help="the new folder"
    )
    parser.add_argument(
        "--node-modules",
        metavar="DIR",
        help="npm's packages for the target web (default: $KBP_NODE_MODULES, "
        "or node_modules)",
    )


def run(options, console):
    """Run the command."""
    from kbp.deploy import deploy

    with users_errors():
        folder = deploy(
            options.model,
            options.target,
            options.out,
            node_modules=options.node_modules,
        )
    say_written(console, folder / "README.md")
