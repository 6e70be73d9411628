"""Labels the pixels of an image."""

import numpy as np
from pictures import read, scaled
from PIL import Image
from runner import arguments, load, predict, softmax


def starts(size: int, tile: int) -> list[int]:
    """Return where tiles begin that overlap by a quarter."""
    count = 1 + -(-(size - tile) // (tile - tile // 4))
    return np.linspace(0, size - tile, count).round().astype(int).tolist()


if __name__ == "__main__":
    source, target = arguments("IMAGE MASK.png", 2)[:2]
    facts, interpreter = load()
    height, width, channels = facts["image"]
    image = read(source, facts)
    pixels = np.asarray(image.convert("L" if channels == 1 else "RGB"))
    rows, columns = pixels.shape[:2]
    pixels = scaled(pixels.reshape(rows, columns, channels), facts)
    edges = [(0, max(0, height - rows)), (0, max(0, width - columns)), (0, 0)]
    pixels = np.pad(pixels, edges, mode="symmetric")
    # Where tiles overlap, each counts the less the nearer its border is.
    ramps = [
        np.minimum(np.r_[1 : n + 1], np.r_[n:0:-1]) for n in facts["image"]
    ]
    weight = np.outer(ramps[0], ramps[1])[..., None].astype("float64")
    votes = np.zeros((*pixels.shape[:2], len(facts["labels"])))
    for y in starts(pixels.shape[0], height):
        for x in starts(pixels.shape[1], width):
            tile = np.s_[y : y + height, x : x + width]
            votes[tile] += (
                weight * softmax(predict(interpreter, pixels[tile][None]))[0]
            )
    mask = votes[:rows, :columns].argmax(axis=-1)
    values = mask * 255 if len(facts["labels"]) == 2 else mask
    Image.fromarray(values.astype("uint8")).save(target)
    for label, name in enumerate(facts["labels"]):
        print(f"{name},{(mask == label).mean():.4f}")
