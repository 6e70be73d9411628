"""`predict`: masks of images."""

from pathlib import Path

from kbp._utils.files import write_atomically
from kbp.commands.common import check_new, find_models, positive, say_written
from kbp.data.formats import image_masks
from kbp.errors import UserError
from kbp.inference import loading, pixels

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
        help="a zoo entry or a run's folder, of which the int8 file is taken, "
        "or a .keras or .tflite file",
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
        help="of neighbouring tiles, where an image is larger than the "
        "model's input (default: a quarter of that)",
    )


def run(options, console):
    """Run the command."""
    # The last is an int8 file where there is one.
    file = find_models(options.model)[-1]
    predict, shape, outputs = loading.open_model(file)
    if not (
        len(shape) == len(outputs) == 3
        and shape[:2] == outputs[:2]
        and shape[2] in (1, 3)
        and 2 <= outputs[2] <= 256
    ):
        raise UserError(
            f"{file}: must label pixels: take images of 1 or 3 channels and "
            "give logits of 2 to 256 classes for each pixel; takes "
            f"{shape} and gives {outputs}"
        )
    *size, channels = shape
    overlap = options.overlap or min(size) // 4
    if overlap >= min(size):
        raise UserError(
            f"--overlap must be less than {min(size)}, the size of the model's "
            f"input; received {overlap}"
        )
    sources = _files(options.images)
    targets = _targets(sources, Path(options.out))
    for source in sources:  # all, before the first is written
        image_masks.read_image(source, channels)
    for source, (mask, overlay) in zip(sources, targets, strict=True):
        image = image_masks.read_image(source, channels)
        labels = pixels.label(predict, image, size, overlap=overlap)
        write_atomically(mask, pixels.mask_as_png(labels, outputs[2]))
        write_atomically(overlay, pixels.overlay_as_png(image, labels))
        say_written(console, mask)


def _files(names):
    """Return image files, and those of folders, in order."""
    found = []
    for name in map(Path, names):
        if name.is_dir():
            found += image_masks.image_files(name)
        elif not name.is_file():
            raise UserError(f"{name}: no such file or folder.")
        else:
            found.append(name)
    return found


def _targets(sources, folder):
    """Return for each image its mask's file and its overlay's."""
    targets = [
        (folder / f"{path.stem}.png", folder / f"{path.stem}_overlay.png")
        for path in sources
    ]
    seen: dict[Path, Path] = {}
    for source, pair in zip(sources, targets, strict=True):
        for target in pair:
            if target in seen:
                raise UserError(
                    f"{target}: two images would be written there, "
                    f"{seen[target]} and {source}."
                )
            check_new(target)
            seen[target] = source
    return targets
