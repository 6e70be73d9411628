"""Every example in a docstring runs."""

import doctest
import importlib
import pkgutil

import pytest

import kbp

MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(kbp.__path__, "kbp.")
    if "_zoo" not in module.name and module.name != "kbp.__main__"
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_print_what_they_say(name, own_registries):
    module = importlib.import_module(name)
    flags = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    assert doctest.testmod(module, optionflags=flags).failed == 0


@pytest.mark.parametrize(
    "room",
    [
        *("data", "deploy", "diagnostics", "export", "federated", "graph"),
        *("layers", "losses", "metrics", "models", "optimizers"),
        *("quantization", "recipes", "sparsity", "spiking", "tasks"),
        *("training", "zoo"),
    ],
)
def test_every_public_class_and_function_has_an_example(room):
    package = importlib.import_module(f"kbp.{room}")
    for name in package.__all__:
        public = getattr(package, name)
        bases = ("Composite", "KernelTransform", "Task")
        if callable(public) and name not in bases:
            assert ">>>" in public.__doc__, name
