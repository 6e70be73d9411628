"""Why a runtime does not run a file, in a person's words."""

import re

from kbp.export.audit import audit

_LACKED = re.compile(r"Didn't find op for builtin opcode '(\w+)'")


def reason_of(content: bytes, said: str) -> str:
    """Return a runtime's words, or the operation that it lacks.

    Args:
        content: of the file.
        said: by the runtime.
    """
    found = _LACKED.search(said)
    if not found:
        return "; ".join(x.strip() for x in said.split("\n") if x.strip())
    layers = [
        operation.layer
        for operation in audit(content).operations
        if operation.name == found[1]
    ]
    at = f" (layer {layers[0]})" if layers else ""
    return f"it has no operation {found[1]}{at} of the version needed"
