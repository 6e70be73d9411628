"""What the targets of phones share: a file, a class that runs it, a page."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from kbp.deploy.deployable import Deployable
from kbp.deploy.reading import readme
from kbp.deploy.registry import Contents, filled
from kbp.errors import UserError


@dataclass(frozen=True)
class Phone:
    """The words of a phone's language.

    Attributes:
        template: of the class, in `kbp/deploy/templates`.
        write: lines that give `values` to the runtime, by their type; `@scale@`
            and so on are the input's.
        read: lines that return its answer, by their type.
    """

    template: str
    write: Mapping[str, str]
    read: Mapping[str, str]


def contents(model: Deployable, phone: Phone, *lines: str) -> Contents:
    """Return the folder of a phone.

    Args:
        model: to run there.
        phone: its words.
        *lines: that its project needs.

    Raises:
        UserError: the file's types are none of the language's.
    """
    parts = []
    for tensor, code in (
        (model.input, phone.write),
        (model.output, phone.read),
    ):
        if tensor.dtype not in code:
            raise UserError(
                f"{model.path}: the class of the target takes and gives "
                f"{', '.join(code)}; the file has {tensor}."
            )
        text = code[tensor.dtype]
        for word, value in (
            ("scale", f"{tensor.scale:.9g}"),
            ("zero", tensor.zero_point),
        ):
            text = text.replace(f"@{word}@", str(value))
        parts.append(text)
    name = phone.template.split("/")[-1]
    labels = "".join(f"{label}\n" for label in model.labels)
    facts = ""
    if model.input.scale or model.output.scale:
        facts = ", and rounds them to the file's integers"
    if labels:
        facts += "; labels.txt names the classes in order"
    return {
        "model.tflite": model.content,
        "model.json": model.to_json(),
        **({"labels.txt": labels} if labels else {}),
        name: filled(
            phone.template,
            name=model.name,
            input_layout=f"{list(model.input.shape)}",
            output_layout=f"{list(model.output.shape)}",
            input_count=math.prod(model.input.shape),
            write=parts[0],
            read=parts[1],
        ),
        "README.md": readme(
            model,
            *lines,
            notes=f"`Model().predict(values)` in {name} takes and gives "
            f"floats{facts}. It was generated from the file, and was not "
            "compiled here.",
        ).replace("To run it, in this folder:", "Its project needs:"),
    }
