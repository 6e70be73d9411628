"""A script of Python that needs LiteRT and NumPy alone."""

import importlib.metadata

from kbp.deploy.deployable import Deployable
from kbp.deploy.examples import example_file
from kbp.deploy.reading import readme, refuse_covariates
from kbp.deploy.registry import Contents, register_target, template

_ARGUMENTS = {
    "classes": "example.png",
    "masks": "example.png mask.png",
    "series": "example.csv > forecast.csv",
    "table": "example.csv > predictions.csv",
}


@register_target("python")
def python(model: Deployable) -> Contents:
    """Return a folder with `predict.py`.

    Raises:
        UserError: the model takes covariates.
    """
    refuse_covariates(model, "python")
    needed, scripts = ["ai-edge-litert", "numpy"], ["runner.py"]
    if "image" in model.meaning:
        needed.append("pillow")
        scripts.append("pictures.py")
    else:
        scripts.append("rows.py")
    versions = [f"{x}~={importlib.metadata.version(x)}\n" for x in needed]
    name, example = example_file(model)
    return {
        name: example,
        "model.tflite": model.content,
        "model.json": model.to_json(),
        **{script: template(f"python/{script}") for script in scripts},
        "predict.py": template(f"python/{model.kind}.py"),
        "requirements.txt": "".join(versions),
        "README.md": readme(
            model,
            "pip install -r requirements.txt",
            f"python predict.py {_ARGUMENTS[model.kind]}",
        ),
    }
