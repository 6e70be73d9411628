"""`inspect`: what a folder of shards holds, and whether it is whole."""

from pathlib import Path

from rich.table import Table

from kbp.commands.shared.common import check_new, say_written
from kbp.errors import UserError

HELP = "counts, shapes, classes and damage of what `kbp pack` has packed"
EXAMPLES = ("packed", "packed --sheet packed.svg")
_SHOWN = 64  # images of a sheet


def add_arguments(parser):
    """Add the command's arguments to its parser."""
    parser.add_argument("folder", metavar="DIR", help="of the shards")
    parser.add_argument(
        "--sheet",
        metavar="FILE.svg",
        help="write some training images with their classes into this file",
    )


def check(options):
    """Refuse what is wrong before TensorFlow is imported."""
    if options.sheet:
        path = Path(options.sheet)
        if path.suffix.lower() != ".svg":
            raise UserError(f"--sheet {path}: is SVG; name it FILE.svg.")
        check_new(path)


def run(options, console):
    """Run the command."""
    from kbp.data.records import load
    from kbp.data.records.damage import damage
    from kbp.data.records.places import local_copy
    from kbp.data.records.reading import labels_and_names, read_index

    folder = local_copy(options.folder)
    index = read_index(folder)
    index.check_finished(folder)
    said = [text for _, text in damage(folder, index) if text]
    _print(index, labels_and_names(folder, index), console)
    if said:
        raise UserError(" ".join(said))
    splits = load(folder)
    console.print("Every shard is as it was packed.")
    if options.sheet:
        _write_sheet(folder, splits, Path(options.sheet), console)


def _print(index, known, console):
    table = Table("", "examples", "shards", "MB")
    for split, count in index.counts.items():
        size = sum(shard.size for shard in index.of(split))
        shards = len(index.of(split))
        table.add_row(split, f"{count:,}", f"{shards}", f"{size / 1e6:,.1f}")
    console.print(table)
    lines = [index.schema.said(), *index.remarks]
    for number, name in enumerate(index.class_names):
        counts = [
            f"{int((known[key] == number).sum()):,} {split}"
            for split in index.counts
            if (key := f"{split}.labels") in known
        ]
        lines.append(f"class {name}: {', '.join(counts) or 'of pixels'}")
    for name, values in index.statistics().items():
        numbers = ", ".join(f"{value:.4g}" for value in values)
        lines.append(f"{name} of the channels as stored: {numbers}")
    for line in [*lines, "", index.source.strip()]:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _write_sheet(folder, splits, path, console):
    import numpy as np

    from kbp._utils.files import write_atomically
    from kbp.reports.contact_sheet import contact_sheet

    train = splits.train
    count = min(len(train), _SHOWN)
    chosen = np.linspace(0, len(train) - 1, count).astype(int)
    images, labels = train.inputs[chosen], train.labels[chosen]
    if images.ndim != 4 or images.shape[-1] not in (1, 3):
        raise UserError(f"{folder}: holds no images to be shown.")
    if images.dtype != np.uint8:
        images = (images.clip(0, 1) * 255).round().astype("uint8")
    if labels.ndim == 1 and splits.class_names:
        captions = [[splits.class_names[label]] for label in labels]
    else:
        captions = [[]] * count
    write_atomically(path, contact_sheet(images, captions))
    say_written(console, path)
