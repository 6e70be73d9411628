"""LiteRT with XNNPACK on several threads."""

import importlib.metadata
import os
from collections.abc import Sequence

from kbp.export.interpreter import allocate
from kbp.export.runtimes.calls import outputs_of
from kbp.export.runtimes.registry import Arrays, Runtime, register_runtime


@register_runtime("litert")
class LiteRT(Runtime):
    """As many threads as there are cores, at least two."""

    least_exact = 1.0
    least_within_one = 1.0

    @property
    def version(self) -> str:
        found = importlib.metadata.version("ai-edge-litert")
        return f"LiteRT {found}, {_threads()} threads"

    def run(self, content: bytes, calls: Sequence[Arrays]) -> list[Arrays]:
        return outputs_of(allocate(content, num_threads=_threads()), calls)


def _threads() -> int:
    return max(2, os.cpu_count() or 1)
