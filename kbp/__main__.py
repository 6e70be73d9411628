"""The command line: `python -m kbp`, also installed as `kbp`."""

import argparse
import importlib
import os
import re
import sys
from collections.abc import Sequence

from rich.console import Console

import kbp
from kbp.commands.common import import_tensorflow
from kbp.errors import UserError

WORKER_LOST = os.EX_TEMPFAIL  # 75: worth another try
COMMANDS = (
    "train",
    "list",
    "evaluate",
    "predict",
    "forecast",
    "export",
    "audit",
    "check-tpu",
    "benchmark",
    "publish",
)


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message):
        self.exit(2, f"{self.prog}: error: {message} (see --help)\n")


def main(
    arguments: Sequence[str] | None = None, *, program: str = "kbp"
) -> int:
    """Run one command and return the exit status.

    The status is 2 if the input is wrong, with one line on standard error, 1
    if a training diverged, 75 if another worker was lost, and 130 if it was
    interrupted.

    Args:
        arguments: the command's name and its arguments; by default the
            process's own.
        program: what messages call the program; `train.py` is the command
            `train` alone.
    """
    if arguments is None:
        arguments = sys.argv[1:]
    try:
        options = _parse(arguments, program)
        options.check(options)
        if options.needs_tensorflow(options):
            import_tensorflow()
        options.run(options, Console())
    except FloatingPointError as error:
        return _say(program, error, 1)
    except ConnectionError as error:
        return _say(program, error, WORKER_LOST)
    except (UserError, OSError) as error:
        return _say(program, error, 2)
    except KeyboardInterrupt as error:
        return _say(program, f"interrupted. {error}", 130)
    return 0


def _parse(arguments, program):
    parser = _Parser(
        prog=program,
        description="Train, prune, quantize and ship Keras models.",
    )
    parser.add_argument(
        "--version", action="version", version=f"kbp {kbp.__version__}"
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    chosen = next((a for a in arguments if not a.startswith("-")), None)
    for name in COMMANDS:
        command = importlib.import_module(
            f"kbp.commands.{name.replace('-', '_')}"
        )
        words = program if program == "train.py" else f"{program} {name}"
        subparser = _add(commands, name, command, words)
        if name == chosen:  # others' arguments may need more imports
            command.add_arguments(subparser)
    return parser.parse_args(arguments)


def _add(commands, name, command, words):
    examples = "\n".join(f"  {words} {x}".rstrip() for x in command.EXAMPLES)
    parser = commands.add_parser(
        name,
        prog=words,
        help=command.HELP,
        description=f"{command.HELP[0].upper()}{command.HELP[1:]}.",
        epilog=f"examples:\n{examples}\n",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(
        run=command.run,
        check=getattr(command, "check", _nothing),
        needs_tensorflow=getattr(command, "needs_tensorflow", _always),
    )
    return parser


def _always(options):
    return True


def _nothing(options):
    """Find nothing wrong with the options."""


def _say(program, error, status):
    message = " ".join(_as_options(str(error)).split())
    print(f"{program}: error: {message}", file=sys.stderr)
    return status


def _as_options(message):
    """Name the options of commands where the library names its arguments."""
    return re.sub(
        r"`(\w+)=(?:True)?`",
        lambda found: f"--{found[1].replace('_', '-')}",
        message,
    )


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    sys.exit(main())
