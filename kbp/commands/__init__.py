"""The commands of `python -m kbp`, a module each.

A command's module holds `HELP` (one line), `EXAMPLES` (arguments),
`add_arguments(parser)` and `run(options, console)`, and where it can do without
TensorFlow `needs_tensorflow(options)`. What takes long to import is imported in
its functions, so that `--help` answers at once.
"""
