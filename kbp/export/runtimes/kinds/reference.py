"""LiteRT's reference kernels, those of processors without XNNPACK."""

import importlib.metadata
from collections.abc import Sequence

from kbp.export.audit import operation_name
from kbp.export.interpreter import allocate
from kbp.export.packing import pack
from kbp.export.parsing import items_of, parse, size_of
from kbp.export.runtimes.calls import outputs_of
from kbp.export.runtimes.registry import Arrays, Runtime, register_runtime
from kbp.export.trial import try_out

# Version 2 means int8. Its kernel is there, but was registered for version 1.
_REGISTERED = {"DEPTH_TO_SPACE": 1}


@register_runtime("reference")
class Reference(Runtime):
    """One thread; slow."""

    @property
    def version(self) -> str:
        found = importlib.metadata.version("ai-edge-litert")
        return f"LiteRT {found}, reference kernels"

    def run(self, content: bytes, calls: Sequence[Arrays]) -> list[Arrays]:
        tree = parse(content)
        for code in items_of(tree.operatorCodes):
            code.version = min(
                code.version,
                _REGISTERED.get(operation_name(code), code.version),
            )
        content = pack(tree)
        try_out(content, "The file", size=size_of(tree), reference=True)
        return outputs_of(allocate(content, reference=True), calls)
