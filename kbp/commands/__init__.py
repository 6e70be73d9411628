"""The commands of `python -m kbp`, a module each.

A command's module holds `HELP` (one line), `EXAMPLES` (arguments),
`add_arguments(parser)` and `run(options, console)`, where it can do without
TensorFlow `needs_tensorflow(options)`, and where errors show before that is
imported `check(options)`. What takes long to import is imported in
its functions, so that `--help` answers at once.
"""
