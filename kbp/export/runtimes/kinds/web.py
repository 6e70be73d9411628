"""LiteRT.js on WebAssembly, in a headless Chromium."""

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from kbp.errors import UserError
from kbp.export.packing import pack
from kbp.export.parsing import items_of, parse
from kbp.export.runtimes import browser, litertjs
from kbp.export.runtimes.interface import with_interface
from kbp.export.runtimes.registry import Arrays, Runtime, register_runtime

_PAGE = Path(__file__).parent.parent / "page.html"
_SHIFT = 128  # of uint8 from int8
_DTYPES: dict[int, np.dtype[Any]] = {
    schema.TensorType.FLOAT32: np.dtype("float32"),
    schema.TensorType.INT32: np.dtype("int32"),
    schema.TensorType.UINT8: np.dtype("uint8"),
}


@register_runtime("web")
class Web(Runtime):
    """Integers of eight bits go in and out as uint8, which it knows."""

    least_within_one = 0.999
    types = frozenset({*_DTYPES, schema.TensorType.INT8})

    @property
    def version(self) -> str:
        chromium = subprocess.run(
            [str(browser.find_chromium()), "--version"],
            capture_output=True,
            check=False,
            text=True,
        )
        name = " ".join(chromium.stdout.split()[:2])
        return f"LiteRT.js {litertjs.version()} on WebAssembly, {name}"

    def missing(self) -> str | None:
        if browser.find_chromium() is None:
            return (
                "Chromium is not installed: apt-get install chromium, or "
                "playwright install chromium"
            )
        try:
            litertjs.packages()
        except UserError as error:
            return str(error)
        return None

    def run(self, content: bytes, calls: Sequence[Arrays]) -> list[Arrays]:
        chromium = browser.find_chromium()
        if chromium is None or (reason := self.missing()):
            raise UserError(str(reason))
        graph = parse(content).subgraphs[0]
        signed = [
            graph.tensors[i].type == schema.TensorType.INT8
            for i in graph.outputs
        ]
        files = {
            f"litert/{key}": path.read_bytes()
            for key, path in litertjs.packages().items()
        }
        # Files of other integers keep their ends.
        if schema.TensorType.INT8 in {
            graph.tensors[i].type for i in (*graph.inputs, *graph.outputs)
        }:
            content = with_interface(content, "uint8")
        changed = parse(content)
        changed.signatureDefs = []  # outputs stay in the file's order
        outputs = [
            changed.subgraphs[0].tensors[i]
            for i in changed.subgraphs[0].outputs
        ]
        said = browser.answer(
            chromium,
            {
                **files,
                **_inputs(calls),
                "index.html": _PAGE.read_bytes(),
                "model.tflite": pack(changed),
            },
        )
        return _outputs(said, outputs, signed, len(calls))


def _inputs(calls: Sequence[Arrays]) -> dict[str, bytes]:
    """Return the files of the calls' inputs, and `calls.json`."""
    files: dict[str, bytes] = {}
    described: list[list[dict[str, Any]]] = []
    for number, call in enumerate(calls):
        described.append([])
        for i, x in enumerate(call):
            if x.dtype == np.int8:
                x = (x.astype(np.int16) + _SHIFT).astype(np.uint8)
            if x.dtype not in _DTYPES.values():
                raise UserError(
                    "LiteRT.js takes float32, int32 and uint8. Received an "
                    f"input of {x.dtype}"
                )
            name = f"{number}.{i}.bin"
            files[name] = np.ascontiguousarray(x).tobytes()
            described[-1].append(
                {"file": name, "dtype": x.dtype.name, "shape": x.shape}
            )
    return {**files, "calls.json": json.dumps(described).encode()}


def _outputs(
    said: bytes,
    tensors: Sequence[schema.TensorT],
    signed: Sequence[bool],
    calls: int,
) -> list[Arrays]:
    """Return each call's outputs of the bytes that the page answers."""
    found: list[Arrays] = []
    place = 0
    for _ in range(calls):
        outputs: list[np.ndarray] = []
        for tensor, shifted in zip(tensors, signed, strict=True):
            shape = [int(size) for size in items_of(tensor.shape)]
            dtype = _DTYPES[tensor.type]
            count = int(np.prod(shape))
            x = np.frombuffer(said, dtype, count, place).reshape(shape)
            place += x.nbytes
            if shifted:
                x = (x.astype(np.int16) - _SHIFT).astype(np.int8)
            outputs.append(x)
        found.append(outputs)
    if place != len(said):
        raise UserError(
            f"LiteRT.js gives {len(said)} bytes of outputs; the file's shapes "
            f"have {place}."
        )
    return found
