"""`predict`: masks of images."""

from pathlib import Path

from kbp.commands.common import (
    check_new,
    find_models,
    positive,
    say_written,
)
from kbp.data import image_masks
from kbp.errors import UserError
from kbp.export.files import write_atomically
from kbp.training import evaluate, pixels

HELP = "label the pixels of images: masks and overlays"
EXAMPLES = (
    "runs/mine slices/*.png --out masks",
    "model_int8.tflite slices --out masks --overlap 64",
)


def add_arguments(parser):
    """Add the command's arguments to its parser."""
    parser.add_argument(
        "model",
        metavar="ENTRY_OR_FILE",
        help="a zoo entry, a run's folder, a .keras or a .tflite file",
    )
    parser.add_argument(
        "images", metavar="IMAGE", nargs="+", help="image files, or folders"
    )
    parser.add_argument(
        "--out", metavar="DIR", required=True, help="folder for the results"
    )
    parser.add_argument(
        "--overlap",
        type=positive,
        metavar="PIXELS",
        help="of the tiles of images that are larger than the model's input "
        "(default: a quarter of it)",
    )


def run(options, console):
    """Run the command."""
    # The last is an int8 file where there is one.
    predict, shape = evaluate.open_model(find_models(options.model)[-1])
    if len(shape) != 3 or shape[0] != shape[1]:
        raise UserError(f"{options.model}: takes {shape}, no square images.")
    size, _, channels = shape
    overlap = options.overlap or size // 4
    if overlap >= size:
        raise UserError(
            f"--overlap must be less than {size}, the size of the model's "
            f"input; received {overlap}"
        )
    sources = _files(options.images)
    targets = _targets(sources, Path(options.out))
    # All are read once before the first is written.
    images = [image_masks.read_image(path, channels) for path in sources]
    for image, (mask, overlay) in zip(images, targets, strict=True):
        labels, classes = pixels.label(predict, image, size, overlap=overlap)
        write_atomically(mask, pixels.mask_as_png(labels, classes))
        write_atomically(overlay, pixels.overlay_as_png(image, labels))
        say_written(console, mask)


def _files(names):
    """Return image files, and those of folders, in order."""
    found = []
    for name in map(Path, names):
        if name.is_dir():
            inside = [p for p in sorted(name.iterdir()) if _is_image(p)]
            if not inside:
                raise UserError(f"{name}: holds no image.")
            found += inside
        elif not name.is_file():
            raise UserError(f"{name}: no such file or folder.")
        else:
            found.append(name)
    return found


def _is_image(path):
    return path.suffix.lower() in image_masks.SUFFIXES


def _targets(sources, folder):
    """Return for each image its mask's file and its overlay's."""
    targets = [
        (folder / f"{path.stem}.png", folder / f"{path.stem}_overlay.png")
        for path in sources
    ]
    seen = set()
    for target in (file for pair in targets for file in pair):
        if target in seen:
            raise UserError(f"{target}: two images would be written there.")
        check_new(target)
        seen.add(target)
    return targets
