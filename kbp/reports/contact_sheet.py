"""A sheet of small images, each with what is said of it, as SVG text."""

import base64
import io
from collections.abc import Sequence
from html import escape

import numpy as np
from PIL import Image

from kbp._utils.style import INK

_SIDE, _GAP, _LINE, _COLUMNS = 112, 14, 16, 8  # pixels, and images in a row
_LETTERS = 16  # of a line, so that it is not wider than its image


def contact_sheet(
    images: Sequence[np.ndarray], captions: Sequence[Sequence[str]]
) -> str:
    """Return images in rows, with lines of text below each.

    Args:
        images: bytes `(height, width, channels)`, of 1 or 3 channels.
        captions: lines for each image.

    Example:
    >>> image = np.zeros((4, 4, 1), "uint8")
    >>> sheet = contact_sheet([image], [("cat & dog", "97 %")])
    >>> "cat &amp; dog" in sheet
    True
    """
    lines = max((len(caption) for caption in captions), default=0)
    step = _SIDE + _GAP
    down = _SIDE + lines * _LINE + _GAP
    rows = -(-len(images) // _COLUMNS)
    width, height = _COLUMNS * step + _GAP, rows * down + _GAP
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" '
        f'height="{height}" viewBox="0 0 {width} {height}" '
        f'font-family="sans-serif" font-size="12" fill="{INK}">',
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    for index, (image, caption) in enumerate(
        zip(images, captions, strict=True)
    ):
        row, column = divmod(index, _COLUMNS)
        left, top = _GAP + column * step, _GAP + row * down
        parts.append(
            f'<image x="{left}" y="{top}" width="{_SIDE}" height="{_SIDE}" '
            f'href="data:image/png;base64,{_png(image)}"/>'
        )
        for number, text in enumerate(caption, start=1):
            short = text if len(text) <= _LETTERS else f"{text[:15]}…"
            parts.append(
                f'<text x="{left}" y="{top + _SIDE + number * _LINE - 3}">'
                f"<title>{escape(text)}</title>{escape(short)}</text>"
            )
    return "\n".join([*parts, "</svg>", ""])


def _png(image: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(image.squeeze(-1) if image.shape[-1] == 1 else image).save(
        buffer, "PNG"
    )
    return base64.b64encode(buffer.getvalue()).decode()
