"""Every public function says which types it takes and gives."""

import ast

import fresh
import pytest

# All but the command line and the benchmarks, which nobody imports.
ROOMS = (
    "_utils",
    "data",
    "errors",
    "export",
    "graph",
    "inference",
    "layers",
    "losses",
    "metrics",
    "models",
    "optimizers",
    "quantization",
    "recipes",
    "reports",
    "sparsity",
    "tasks",
    "training",
    "zoo",
)


def files(room):
    """Return the modules of a room, which is a folder or one module."""
    folder = fresh.PACKAGE / room
    if folder.is_dir():
        return sorted(folder.rglob("*.py"))
    return [folder.with_suffix(".py")]


def functions(tree):
    """Yield functions and methods, and whether one is bound when called."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            yield node, False
        elif isinstance(node, ast.ClassDef):
            for method in node.body:
                if isinstance(method, ast.FunctionDef):
                    names = [ast.unparse(d) for d in method.decorator_list]
                    yield method, "staticmethod" not in names


def is_public(name):
    return not name.startswith("_") or name.endswith("__")


def untyped(function, is_bound):
    """Return the parameters without a type, and "return" without a result's.

    The result of `__init__` is always `None`.
    """
    given = function.args
    positional = [*given.posonlyargs, *given.args][int(is_bound) :]
    stars = [star for star in (given.vararg, given.kwarg) if star]
    parameters = [*positional, *given.kwonlyargs, *stars]
    missing = [p.arg for p in parameters if p.annotation is None]
    if function.returns is None and function.name != "__init__":
        missing.append("return")
    return missing


@pytest.mark.parametrize("room", ROOMS)
def test_public_signatures_are_typed(room):
    found = [
        f"{path.relative_to(fresh.PACKAGE)}:{function.lineno} "
        f"{function.name}: {', '.join(missing)}"
        for path in files(room)
        for function, is_bound in functions(ast.parse(path.read_text()))
        if is_public(function.name) and (missing := untyped(function, is_bound))
    ]
    assert not found, "\n".join(found)


def test_missing_types_are_found():
    tree = ast.parse("def f(a: int, *b, c=1, **d: int): ...")
    ((function, is_bound),) = functions(tree)
    assert untyped(function, is_bound) == ["c", "b", "return"]
    tree = ast.parse("class A:\n  def __init__(self, a, b: int): ...")
    ((function, is_bound),) = functions(tree)
    assert untyped(function, is_bound) == ["a"]
    assert is_public("__call__")
    assert not is_public("_private")
