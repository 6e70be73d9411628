"""The command line: `python -m kbp`, also installed as `kbp`."""

import argparse
import contextlib
import importlib
import io
import os
import re
import sys
from collections.abc import Sequence

from rich.console import Console

import kbp
from kbp._utils.process import stderr
from kbp._utils.process.disk_errors import cannot_write
from kbp._utils.process.stopping import Stopping
from kbp.commands.shared.common import import_tensorflow
from kbp.errors import TERMINATED, BoundError, Terminated, UserError

WORKER_LOST = os.EX_TEMPFAIL  # 75: worth another try
UNREAD = 141  # 128 + SIGPIPE
# The module of each, in kbp.commands; `dev` is for those who maintain kbp.
COMMANDS = {
    "train": "train",
    "federate": "federate",
    "list": "list",
    "keys": "keys",
    "evaluate": "evaluate",
    "predict": "predict",
    "forecast": "forecast",
    "export": "export",
    "audit": "audit",
    "sensitivity": "sensitivity",
    "spike": "spike",
    "verify": "verify",
    "deploy": "deploy",
    "check-tpu": "checks.check_tpu",
    "check-gradients": "checks.check_gradients",
    "pack": "data.pack",
    "inspect": "data.inspect",
    "benchmark": "benchmark",
    "dev publish": "dev.publish",
}


class _Console(Console):
    """A console whose reader may go."""

    def on_broken_pipe(self):
        raise BrokenPipeError


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message):
        self.exit(2, f"{self.prog}: error: {message} (see --help)\n")


def main(
    arguments: Sequence[str] | None = None, *, program: str = "kbp"
) -> int:
    """Run one command and return the exit status.

    The status is 2 if the input is wrong or the disk is full, with one line on
    standard error, 1 if a training diverged, a check failed or a file is over
    its budget, 75 if another worker was lost, 130 if it was interrupted, 143 if
    it was terminated, and 141 if nobody reads standard output any more.

    Args:
        arguments: the command's name and its arguments; by default the
            process's own.
        program: what messages call the program; `train.py` is the command
            `train` alone.
    """
    if arguments is None:
        arguments = sys.argv[1:]
    try:
        with Stopping():
            return _run(arguments, program)
    except BrokenPipeError:
        _forget_output()
        return UNREAD
    except (FloatingPointError, BoundError) as error:
        return _say(program, error, 1)
    except ConnectionError as error:
        return _say(program, error, WORKER_LOST)
    except (UserError, OSError) as error:
        return _say(program, error, 2)
    except KeyboardInterrupt as error:
        return _say(program, f"interrupted. {error}", 130)
    except Terminated as error:
        return _say(program, f"terminated. {error}", TERMINATED)


def _run(arguments, program):
    if sys.stdout is None:  # closed
        sys.stdout = io.StringIO()
    # Names of files may hold what is no text in the console's encoding.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    options = _parse(arguments, program)
    options.check(options)
    if getattr(options, "verbose", False):
        stderr.show()
    if options.needs_tensorflow(options):
        import_tensorflow()
    try:
        return options.run(options, _Console()) or 0
    finally:
        _flush()


def _flush():
    """Write what is left of standard output, as long as errors can be told."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        _forget_output()
        raise cannot_write("standard output", error) from error


def _forget_output():
    """Write what is left of standard output nowhere, as Python ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _parse(arguments, program):
    parser = _Parser(
        prog=program,
        description="Train, prune, quantize and ship Keras models.",
    )
    parser.add_argument(
        "--version", action="version", version=f"kbp {kbp.__version__}"
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    groups = {"": commands}
    given = [a for a in arguments if not a.startswith("-")]
    for name, module in COMMANDS.items():
        command = importlib.import_module(f"kbp.commands.{module}")
        words = program if program == "train.py" else f"{program} {name}"
        group, _, own = name.rpartition(" ")
        if group not in groups:
            several = commands.add_parser(
                group, help="what only those who maintain kbp need"
            )
            groups[group] = several.add_subparsers(
                required=True, metavar="COMMAND"
            )
        subparser = _add(groups[group], own, command, words)
        # Others' arguments may need more imports.
        if name.split() == given[: len(name.split())]:
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
    with contextlib.suppress(OSError, AttributeError):  # full or closed, too
        print(f"{program}: error: {message}", file=sys.stderr, flush=True)
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
