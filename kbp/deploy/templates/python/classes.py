"""Names the class of images."""

from typing import Any

import numpy as np
from pictures import read, scaled
from PIL import Image
from runner import arguments, load, predict, softmax


def resized(path: str, facts: dict[str, Any]) -> np.ndarray:
    """Return an image in the model's size, as it takes pixels."""
    height, width, channels = facts["image"]
    image = read(path, facts)
    image = image.convert("L" if channels == 1 else "RGB")
    box, size = None, (width, height)
    if facts["resize"] == "crop":
        scale = min(image.width / width, image.height / height)
        left = max(0.0, (image.width - scale * width) / 2)
        top = max(0.0, (image.height - scale * height) / 2)
        box = (left, top, image.width - left, image.height - top)
    elif facts["resize"] == "pad":
        scale = max(image.width / width, image.height / height)
        size = tuple(max(1, round(x / scale)) for x in image.size)
    image = image.resize(size, Image.Resampling.BILINEAR, box, 2.0)
    whole = Image.new(image.mode, (width, height))
    whole.paste(image, ((width - size[0]) // 2, (height - size[1]) // 2))
    return scaled(whole, facts)


if __name__ == "__main__":
    paths = arguments("IMAGE ...", 1)
    facts, interpreter = load()
    shape = facts["input"]["shape"][1:]
    for path in paths:
        image = resized(path, facts).reshape(1, *shape)
        (shares,) = softmax(predict(interpreter, image))
        best = shares.argmax()
        print(f"{path},{facts['labels'][best]},{shares[best]:.4f}")
