"""Benchmarks: a folder each, whose figures a command wrote, with n and spread.

`kbp.benchmarks.core.registry` finds the folders; the first line of a folder's
docstring is what `kbp benchmark --help` says of it.
"""
