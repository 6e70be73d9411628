"""A static page that runs the file by LiteRT.js, in the browser alone."""

import dataclasses
import os
from pathlib import Path

from kbp._utils.files import temporary_folder, write_atomically
from kbp.deploy.deployable import Deployable
from kbp.deploy.examples import example_file
from kbp.deploy.reading import readme, refuse_covariates
from kbp.deploy.registry import TEMPLATES, Contents, register_target
from kbp.deploy.tensor import Tensor
from kbp.errors import UserError
from kbp.export import Runner
from kbp.export.runtimes import with_interface

_INSTALL = "npm install @litertjs/core@2.5 @litertjs/wasm-utils@2.5"
_TYPES = ("float32", "int32", "uint8")  # that LiteRT.js has
# By their places in the page's folder `litert`, those in npm's. Of WebAssembly
# there are files for browsers without relaxed SIMD and for WebGPU, too.
PACKAGES = {
    "core.js": "core/dist/index.js",
    "wasm-utils.js": "wasm-utils/dist/index.js",
    **{
        f"wasm/litert_wasm{kind}_internal{end}": (
            f"core/wasm/litert_wasm{kind}_internal{end}"
        )
        for kind in ("", "_compat", "_jspi")
        for end in (".js", ".wasm")
    },
}


@register_target("web")
def web(model: Deployable) -> Contents:
    """Return a folder with `index.html`.

    Raises:
        UserError: LiteRT.js is not there, or cannot hold the file's types.
    """
    refuse_covariates(model, "web")
    runtime = _runtime(model.node_modules)
    model = _with_uint8(model)
    for tensor in (model.input, model.output):
        if tensor.dtype not in _TYPES or tensor.shape[0] != 1:
            raise UserError(
                f"{model.path}: LiteRT.js takes one example of "
                f"{', '.join(_TYPES)}; the file has {tensor}."
            )
    name, example = example_file(model)
    pages = {
        path.name: path.read_bytes()
        for path in sorted((TEMPLATES / "web").iterdir())
    }
    return {
        **pages,
        "model.tflite": model.content,
        "model.json": model.to_json(),
        name: example,
        **{f"litert/{key}": path.read_bytes() for key, path in runtime.items()},
        "README.md": readme(
            model,
            "python -m http.server 8000",
            notes="Then open http://localhost:8000. Any static server does; "
            "nothing is loaded from elsewhere. Images are resized as "
            f"{model.resize!r} says. The camera needs HTTPS or localhost.",
        ),
    }


def _runtime(given: Path | None) -> dict[str, Path]:
    """Return LiteRT.js's files by their places in the page's folder.

    Raises:
        UserError: they are not there.
    """
    folder = given or Path(os.environ.get("KBP_NODE_MODULES", "node_modules"))
    found = {key: folder / "@litertjs" / path for key, path in PACKAGES.items()}
    for path in found.values():
        if not path.is_file():
            raise UserError(
                f"{path}: no such file. LiteRT.js comes by `{_INSTALL}`; name "
                "its folder node_modules by --node-modules or "
                "$KBP_NODE_MODULES."
            )
    return found


def _with_uint8(model: Deployable) -> Deployable:
    """Return the model with a file that LiteRT.js can fill."""
    if "int8" not in (model.input.dtype, model.output.dtype):
        return model
    content = with_interface(model.content, "uint8")
    with temporary_folder() as folder:
        runner = Runner(write_atomically(folder / "model.tflite", content))
    return dataclasses.replace(
        model,
        content=content,
        input=Tensor.of(runner.inputs[0]),
        output=Tensor.of(runner.outputs[0]),
    )
