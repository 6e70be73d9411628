"""What every folder's README.md says of its model."""

from collections.abc import Sequence

from kbp.deploy.deployable import Deployable
from kbp.deploy.registry import filled
from kbp.errors import UserError
from kbp.export import TensorInfo

_TAKES = {
    "classes": "an image, rows first, then columns, then channels",
    "masks": "an image, rows first, then columns, then channels",
    "series": "the last rows of each column, less their mean and by their "
    "standard deviation",
    "table": "the columns of a row in the order of model.json: numbers in "
    "their own units, categories by their numbers (0: unknown)",
}
_GIVES = {
    "classes": "logits of the classes (softmax makes them probabilities)",
    "masks": "logits of the classes for each pixel",
    "series": "the rows that follow, relative as the input is",
    "table": "logits of the classes, or one number",
}

_ASSUMED = " (assumed: the file does not say it)"


def layout(model: Deployable) -> str:
    """Return lines that say what goes in and what comes out."""
    facts = model.meaning
    inputs, outputs = model.metadata.inputs, model.metadata.outputs
    takes = _said(inputs) or _TAKES[model.kind] + _ASSUMED
    gives = _said(outputs) or _GIVES[model.kind] + _ASSUMED
    if "image" in facts:
        mean, std = (_numbers(facts[key]) for key in ("mean", "std"))
        takes += f", of pixels (0 to 255) less {mean}, by {std}"
        takes += "" if any(x.mean for x in inputs) else _ASSUMED
    if model.labels:
        gives += f": {', '.join(model.labels[:20])}"
    for tensor in outputs:
        if tensor.unit not in ("", "logit"):
            gives += f", in {tensor.unit}"
    return f"Input: {takes}; {model.input}.\nOutput: {gives}; {model.output}.\n"


def _said(tensors: Sequence[TensorInfo]) -> str:
    """Return what the file says of its one input or output, as a clause."""
    return "".join(x.description for x in tensors).rstrip(".")


def _numbers(values: Sequence[float]) -> str:
    return ", ".join(f"{x:.6g}" for x in values)


def readme(model: Deployable, *commands: str, notes: str = "") -> str:
    """Return the text of a folder's README.md.

    Args:
        model: of the folder.
        *commands: that run it there.
        notes: a paragraph more.
    """
    return filled(
        "README.md",
        name=model.name,
        task=model.task.replace("_", " "),
        commands="\n".join(f"    {command}" for command in commands),
        layout=layout(model),
        notes=f"\n{notes}\n" if notes else "",
    )


def refuse_covariates(model: Deployable, target: str) -> None:
    """Raise a UserError for a forecaster that sees more than its targets."""
    if model.kind == "series" and model.input.shape[2] > model.output.shape[2]:
        raise UserError(
            f"{model.path}: takes covariates, which the target {target!r} does "
            "not read; `kbp predict` does."
        )
