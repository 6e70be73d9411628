"""`keys`: the sections and keys that recipes may have."""

from rich.table import Table

from kbp.commands.shared.common import add_imports
from kbp.errors import UserError, nearest

HELP = "list the keys of a recipe's sections, with their defaults and ranges"
EXAMPLES = ("", "training", "csv_series", "pyramid_bpnet")


def add_arguments(parser):
    """Add the command's arguments to its parser."""
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help="a section, a data set, an architecture or a task; without one, "
        "list the sections",
    )
    add_imports(parser)


def run(options, console):
    """Run the command."""
    from kbp.recipes.reference import sections

    found = [*sections()]
    known = {word for section in found for word in _names(section)}
    for name in options.names:
        if name not in known:
            raise UserError(f"unknown section {name!r}{nearest(name, known)}")
    for section in found:
        if not options.names:
            console.print(section.title, markup=False, highlight=False)
        elif not _names(section).isdisjoint(options.names):
            _show(console, section)


def _names(section):
    """Return what a section may be called by: the words of its title."""
    words = section.title.replace(" name = ", " ").split()
    return {word.strip("[]") for word in words} - {"architecture", "=", "of"}


def _show(console, section):
    console.print(section.title, style="bold", markup=False, highlight=False)
    console.print(section.words, markup=False, highlight=False)
    table = Table("key", "type", "default", "range")
    for key in section.keys:
        table.add_row(key.name, key.kind, key.default, key.limits)
    console.print(table if section.keys else "It has no keys.")
    console.print()
    for inner in section.tables:
        _show(console, inner)
