"""TFLite Micro's reference kernels, on this machine."""

import importlib.metadata
from collections.abc import Sequence

from kbp.export.runtimes import micro
from kbp.export.runtimes.registry import Arrays, Runtime, register_runtime


@register_runtime("micro")
class Micro(Runtime):
    """In a process of its own."""

    @property
    def version(self) -> str:
        return f"TFLite Micro {importlib.metadata.version('tflite-micro')}"

    def missing(self) -> str | None:
        return micro.missing()

    def run(self, content: bytes, calls: Sequence[Arrays]) -> list[Arrays]:
        return micro.run(content, calls).outputs
