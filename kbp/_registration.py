"""Making Keras find kbp's classes in saved models, without importing them.

Keras looks up what a `.keras` file names among registered objects, and a class
registers itself when its module is imported. That takes seconds and TensorFlow,
so a stand-in is registered for each class instead, as soon as there is a Keras
to register it with.
"""

import importlib
import importlib.abc
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

ROOMS = (
    *("diagnostics", "layers", "losses", "metrics", "optimizers"),
    *("quantization", "spiking"),
)
_DECORATED = re.compile(
    r'^@keras\.saving\.register_keras_serializable\(package="kbp"\)\n'
    r"class (\w+)",
    re.MULTILINE,
)


class Deferred:
    """Stands for a class until Keras makes an object of it.

    Args:
        module: name of the module that defines the class.
        name: of the class.
    """

    def __init__(self, module: str, name: str):
        self.module, self.name = module, name

    def from_config(self, config: Mapping[str, Any]) -> Any:
        """Import the class and make an object of it."""
        module = importlib.import_module(self.module)
        return getattr(module, self.name).from_config(config)


def registered_classes() -> Iterator[tuple[str, str]]:
    """Yield module and name of each class that kbp registers.

    They are read from the source, so that no table has to list them.
    """
    package = Path(__file__).parent
    for room in ROOMS:
        for path in sorted((package / room).rglob("*.py")):
            inside = path.relative_to(package.parent).with_suffix("")
            for name in _DECORATED.findall(path.read_text(encoding="utf-8")):
                yield ".".join(inside.parts), name


def register_with_keras() -> None:
    """Register a stand-in for each class, now or once Keras is imported."""
    if "keras" in sys.modules:
        _register(sys.modules["keras"])
    else:
        sys.meta_path.insert(0, _AfterKeras())


def _register(keras: ModuleType) -> None:
    known = keras.saving.get_custom_objects()
    for module, name in registered_classes():
        known.setdefault(f"kbp>{name}", Deferred(module, name))


class _AfterKeras(importlib.abc.MetaPathFinder):
    """Finds Keras as the other finders do, and registers once it is imported.

    It stays until then: others may look whether there is a Keras before they
    import it.
    """

    def find_spec(
        self,
        name: str,
        path: Sequence[str] | None = None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        if name != "keras":
            return None
        spec = self._found_by_others(name, path, target)
        if spec is None or spec.loader is None:
            return spec
        execute = spec.loader.exec_module

        def execute_and_register(module: ModuleType) -> None:
            execute(module)
            if self in sys.meta_path:
                sys.meta_path.remove(self)
            _register(module)

        spec.loader.exec_module = execute_and_register  # type: ignore[method-assign]
        return spec

    def _found_by_others(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None
    ) -> ModuleSpec | None:
        for finder in sys.meta_path:
            if finder is not self:
                spec = finder.find_spec(name, path, target)
                if spec is not None:
                    return spec
        return None
