"""The commands of `python -m kbp`, a module each.

A command's module holds `HELP` (one line), `EXAMPLES` (arguments),
`add_arguments(parser)` and `run(options, console)`.
"""
