"""The measures of the house: rooms, files and functions stay small."""

import ast
import collections
import statistics

import fresh
import pytest

MOST_MODULES, MOST_LINES, MOST_OF_A_FUNCTION = 15, 350, 60
MOST_MEDIAN, MOST_SHARED = 130, 10
PATHS = [
    path
    for path in sorted(fresh.PACKAGE.rglob("*.py"))
    if "_zoo" not in path.parts
]
MODULES = [path for path in PATHS if path.name != "__init__.py"]


def code_lines(path):
    """Return the numbers of lines with code, and these lines, stripped.

    Docstrings, comments and imports are left out.
    """
    text = path.read_text()
    left_out = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import | ast.ImportFrom) or is_words(node):
            left_out.update(range(node.lineno, node.end_lineno + 1))
    return [
        (number, line.strip())
        for number, line in enumerate(text.splitlines(), start=1)
        if number not in left_out and line.strip().split("#")[0]
    ]


def is_words(node):
    return isinstance(node, ast.Expr) and isinstance(
        getattr(node.value, "value", None), str
    )


def test_no_room_is_crowded():
    counts = collections.Counter(path.parent for path in MODULES)
    crowded = {str(k): n for k, n in counts.items() if n > MOST_MODULES}
    assert not crowded


def test_files_are_short():
    sizes = {p: len(p.read_text().splitlines()) for p in MODULES}
    assert not {str(p): n for p, n in sizes.items() if n > MOST_LINES}
    assert statistics.median(sizes.values()) <= MOST_MEDIAN


def test_functions_are_short():
    long = []
    for path in PATHS:
        numbers = {number for number, _ in code_lines(path)}
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                inside = numbers & {*range(node.lineno, node.end_lineno + 1)}
                if len(inside) > MOST_OF_A_FUNCTION:
                    long.append((str(path), node.name, len(inside)))
    assert not long


def shared_passages(texts, most=MOST_SHARED):
    """Return pairs of places that share more than so many lines.

    Args:
        texts: for each name, numbered lines.
    """
    seen, found = {}, []
    for name, lines in texts.items():
        for start in range(len(lines) - most):
            part = lines[start : start + most + 1]
            passage = tuple(line for _, line in part)
            place = (name, part[0][0])
            if place != (first := seen.setdefault(passage, place)):
                found.append((first, place))
    return found


def test_nothing_is_written_twice():
    assert not shared_passages({str(p): code_lines(p) for p in PATHS})


@pytest.mark.parametrize(("length", "found"), [(10, 0), (11, 1), (12, 2)])
def test_shared_passages_are_found(length, found):
    lines = [(n, f"x{n} = {n}") for n in range(20)]
    texts = {"a": lines, "b": [(0, "other"), *lines[:length]]}
    assert len(shared_passages(texts)) == found
