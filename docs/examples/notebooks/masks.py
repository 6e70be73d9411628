# %% [markdown]
# # Labels of pixels, from a folder of images and one of masks
#
# Bright discs on a dark, noisy ground stand for cells.

# %%
from pathlib import Path

import numpy as np
from PIL import Image

from kbp.__main__ import main as kbp_command

rng = np.random.default_rng(0)
rows, columns = np.mgrid[:64, :64]


def cells():
    """Return an image of discs, and where they are."""
    mask = np.zeros((64, 64), bool)
    for _ in range(rng.integers(2, 6)):
        (y, x), radius = rng.uniform(8, 56, 2), rng.uniform(4, 9)
        mask |= (rows - y) ** 2 + (columns - x) ** 2 < radius**2
    image = 80 + 70 * mask + rng.normal(0, 25, mask.shape)
    return image.clip(0, 255).astype("uint8"), mask


for folder in ("slices", "outlines", "new"):
    Path(folder).mkdir(exist_ok=True)
for number in range(120):
    image, mask = cells()
    Image.fromarray(image).save(f"slices/{number:03}.png")
    Image.fromarray((255 * mask).astype("uint8")).save(
        f"outlines/{number:03}.png"
    )

# %% [markdown]
# ## 1. A recipe
#
# Images and masks are paired by their names.

# %%
recipe = """
[model]
architecture = "pyramid_bpnet"
width = 8

[data]
name = "image_masks"
images = "slices"
masks = "outlines"
class_names = ["ground", "cell"]
split = "hash"

[augmentation]
flip = true

[optimizer]
learning_rate = 0.01

[training]
epochs = 12
batch_size = 16

[quantization]
epochs = 1
"""
Path("cells.toml").write_text(recipe)
kbp_command(["train", "cells.toml", "--workdir", "runs/cells"])

# %% [markdown]
# ## 2. New images
#
# `predict` writes a mask for each, whatever its size.

# %%
truths = {}
for number in range(10):
    image, truths[f"{number}.png"] = cells()
    Image.fromarray(image).save(f"new/{number}.png")
kbp_command(["predict", "runs/cells", "new", "--out", "labelled"])

# %% [markdown]
# Dice is twice the pixels that both call a cell, over the sum of what each
# does:

# %%
scores = []
for name, truth in truths.items():
    found = np.asarray(Image.open(next(Path("labelled").glob(name)))) > 0
    scores.append(2 * (found & truth).sum() / (found.sum() + truth.sum()))
dice = float(np.mean(scores))
print(f"Dice {dice:.1%} on {len(scores)} new images")
