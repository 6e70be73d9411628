"""A static page that runs the file by LiteRT.js, in the browser alone."""

import dataclasses

from kbp.deploy.deployable import Deployable
from kbp.deploy.examples import example_file
from kbp.deploy.reading import readme, refuse_covariates
from kbp.deploy.registry import TEMPLATES, Contents, register_target
from kbp.deploy.tensor import Tensor
from kbp.errors import UserError
from kbp.export import Runner
from kbp.export.runtimes import litertjs, with_interface

_TYPES = ("float32", "int32", "uint8")  # that LiteRT.js has


@register_target("web")
def web(model: Deployable) -> Contents:
    """Return a folder with `index.html`.

    Raises:
        UserError: LiteRT.js is not there, or cannot hold the file's types.
    """
    refuse_covariates(model, "web")
    runtime = litertjs.packages(model.node_modules)
    model = _with_uint8(model)
    for tensor in (model.input, model.output):
        if tensor.dtype not in _TYPES or tensor.shape[0] != 1:
            raise UserError(
                f"{model.path}: LiteRT.js takes one example of "
                f"{', '.join(_TYPES)}; the file has {tensor}."
            )
    name, example = example_file(model)
    images = ""
    if model.kind in ("classes", "masks"):
        images = " The camera needs HTTPS or localhost."
    if model.kind == "classes":
        resize = model.meaning["resize"]
        images = f" Images are resized by {resize!r}.{images}"
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
            f"nothing is loaded from elsewhere.{images}",
        ),
    }


def _with_uint8(model: Deployable) -> Deployable:
    """Return the model with a file that LiteRT.js can fill."""
    if "int8" not in (model.input.dtype, model.output.dtype):
        return model
    content = with_interface(model.content, "uint8")
    runner = Runner(content)
    return dataclasses.replace(
        model,
        content=content,
        input=Tensor.of(runner.inputs[0]),
        output=Tensor.of(runner.outputs[0]),
    )
