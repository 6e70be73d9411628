"""`pack`: the examples of a recipe in shards, for training from a disk."""

from pathlib import Path

from kbp.commands.shared.common import (
    add_recipe,
    check_changed,
    positive,
    read_changed,
)

HELP = (
    "write the images of a recipe into shards, which are read by number and "
    "need not fit into memory"
)
EXAMPLES = (
    "my.toml --out packed --shards 16",
    "my.toml --out packed --set data.image_size=128",
)


def add_arguments(parser):
    """Add the command's arguments to its parser."""
    add_recipe(parser, ", whose [data] is packed")
    parser.add_argument(
        "--out",
        required=True,
        metavar="DIR",
        help="folder of the shards; a packing that was stopped goes on there",
    )
    parser.add_argument(
        "--shards",
        type=positive,
        metavar="N",
        help="of the training examples (default: 8, or fewer for very few)",
    )


check = check_changed


def run(options, console):
    """Run the command."""
    from kbp._utils.config import to_toml
    from kbp.data import records
    from kbp.data.registry import DATASETS

    recipe, _ = read_changed(options)
    splits = DATASETS[recipe.data.name].load(
        recipe.data.config, options.data_dir
    )
    section, _, _ = recipe.to_toml().partition("[data]")[2].partition("\n[")

    def say(sentence):
        console.print(sentence, markup=False, highlight=False, soft_wrap=True)

    index = records.pack(
        splits,
        options.out,
        shards=options.shards,
        source=f"[data]{section}".strip() + "\n",
        said=say,
    )
    size = sum(shard.size for shard in index.shards)
    say(
        f"{sum(index.counts.values()):,} examples, {index.schema.said()}, "
        f"{size / 1e6:,.1f} MB. Train on them by these lines of a recipe:"
    )
    folder = to_toml(str(Path(options.out).absolute()))
    say(f'[data]\nname = "records"\nfolder = {folder}')
    if recipe.task.name != "classification":
        say(f'[task]\nname = "{recipe.task.name}"')
