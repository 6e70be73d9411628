"""An example of what a model is given, as a person's file."""

import io

import numpy as np
from PIL import Image

from kbp._utils.csv_text import as_csv
from kbp.deploy.deployable import Deployable


def example_file(model: Deployable) -> tuple[str, bytes]:
    """Return the name and the content of a file that the model reads.

    Args:
        model: that is to read it.
    """
    (values,) = model.example()
    facts = model.meaning
    if "image" in facts:
        height, width, channels = facts["image"]
        pixels = values.reshape(height, width, channels)
        pixels = pixels * facts["std"] + facts["mean"]
        bytes_ = np.clip(pixels, 0, 255).round().astype("uint8")
        shape = (height, width, 3) if channels == 3 else (height, width)
        content = io.BytesIO()
        Image.fromarray(bytes_.reshape(shape)).save(content, "PNG")
        return "example.png", content.getvalue()
    if model.kind == "series":
        count = values.shape[-1]
        names = facts["columns"] or [f"y{n + 1}" for n in range(count)]
        rows = [[f"{x:.6g}" for x in row] for row in values.tolist()]
        return "example.csv", as_csv([names, *rows]).encode()
    columns = facts["columns"]
    cells = [
        _cell(column, value)
        for column, value in zip(columns, values.tolist(), strict=True)
    ]
    return "example.csv", as_csv([[c["name"] for c in columns], cells]).encode()


def _cell(column: dict[str, object], value: float) -> str:
    """Return a value of the model as a field of the table."""
    categories = column.get("categories")
    if not isinstance(categories, dict):
        return f"{value:.7g}"
    names = {number: name for name, number in categories.items()}
    return str(names.get(round(value), ""))
