"""`spike`: a spiking network of a trained one, with its cost and latency."""

import argparse
import math
from pathlib import Path

from kbp import zoo
from kbp._utils.files import write_atomically
from kbp._utils.run_files import MODEL
from kbp.commands.shared.common import (
    add_data_dir,
    add_imports,
    check_new,
    check_recipe,
    find_recipe,
    is_entry,
    positive,
    read_recipe,
    say_written,
    users_errors,
)
from kbp.errors import UserError

HELP = "make a spiking network of a trained one, and say what it takes"
EXAMPLES = (
    "runs/my_net.digits --out spiking",
    "runs/my_net.digits --out spiking --timesteps 8 --fine-tune 4",
    "model.keras --recipe my.toml --out spiking --encoder poisson",
)
_TIMESTEPS, _PERCENTILE, _RATE = 32, 99.9, 1e-3
_MOST_TIMESTEPS = 10_000  # as of `kbp.models.SpikingMLP`
# Test examples that spikes are counted of, and that files are compared on.
_COUNTED, _VERIFIED = 64, 512
_PAGE = "spiking.html"
_KERAS = "spiking.keras"
_FILES = {
    "spiking_float32.tflite": "float32",
    "spiking_int8_weights.tflite": "int8_weights",
}


def add_arguments(parser):
    """Add the command's arguments to its parser."""
    parser.add_argument(
        "path",
        metavar="ENTRY_OR_FILE",
        help="a zoo entry, a run's folder, whose model.keras counts, or a "
        ".keras file of linear layers and ReLU; a spiking one stays as it is",
    )
    parser.add_argument(
        "--out", metavar="DIR", required=True, help="folder for the results"
    )
    parser.add_argument(
        "--timesteps",
        type=_timesteps,
        metavar="T",
        help=f"how long it runs (default: {_TIMESTEPS})",
    )
    parser.add_argument(
        "--percentile",
        type=_percentile,
        metavar="P",
        help="of the values of each ReLU, which its threshold is (default: "
        f"{_PERCENTILE})",
    )
    parser.add_argument(
        "--settle",
        type=_settle,
        metavar="SHARE",
        help="of the time at the beginning that the answer leaves out; 0.5 "
        "suits networks of ten layers and more (default: 0)",
    )
    parser.add_argument(
        "--fine-tune",
        type=positive,
        metavar="EPOCHS",
        help="train the network on with activations that round as T spikes "
        "(clip-floor-shift; default: not at all)",
    )
    parser.add_argument(
        "--learning-rate",
        type=_rate,
        metavar="RATE",
        help=f"its peak while it is fine-tuned (default: {_RATE})",
    )
    parser.add_argument(
        "--encoder",
        choices=("current", "poisson"),
        help="inputs as currents, or as spikes with values of 0 to 1 as their "
        "probabilities (default: current)",
    )
    parser.add_argument(
        "--recipe",
        metavar="RECIPE",
        help="whose data to take (default: the entry's or the run's own)",
    )
    add_data_dir(parser)
    add_imports(parser)


def check(options):
    """Refuse what is wrong before TensorFlow is imported."""
    if options.recipe:
        check_recipe(options.recipe)
    if options.learning_rate and not options.fine_tune:
        raise UserError("--learning-rate has no effect without --fine-tune")
    for name in (_PAGE, _KERAS, *_FILES):
        check_new(Path(options.out) / name)


def run(options, console):
    """Run the command."""
    from kbp import spiking
    from kbp.inference import loading
    from kbp.reports.report import as_rich
    from kbp.reports.spiking.page import Spiking
    from kbp.tasks import make_task
    from kbp.training import checkpoint
    from kbp.training.measuring import predicted
    from kbp.training.spiking import (
        check_task,
        draws_spikes,
        is_spiking,
        scores_over_time,
        spread,
    )

    source = Path(options.path)
    if is_entry(options.path):
        source = zoo.file(options.path, MODEL)
    elif source.is_dir():
        source /= MODEL
    model = loading.load_keras(source)
    task = make_task(_recipe(options), options.data_dir)
    check_task(task)
    if model.input_shape[1:] != task.shape:
        raise UserError(
            f"{source}: takes examples of shape {model.input_shape[1:]}, but "
            f"the data have {task.shape}. Give the recipe of this model."
        )
    classes = len(task.splits.class_names)
    if model.output_shape[-1] != classes:
        raise UserError(
            f"{source}: gives {model.output_shape[-1]} scores, but the data "
            f"have {classes} classes. Give the recipe of this model."
        )
    given = is_spiking(model)
    with users_errors():
        made, how = _made(model, task, options, console, given)
        out = Path(options.out)
        checkpoint.save(made, out / _KERAS)  # it may have been trained for long
        say_written(console, out / _KERAS)
        with console.status("Counting spikes ..."):
            scores = scores_over_time(made, task)
            counted, _ = spread(task, _COUNTED)
            cost = spiking.cost(made, counted)
            spikes = spiking.raster(made, counted)
            whole = None if given else task.score(predicted(model, task))
        files, compared = _files(made, task, out, console)
    if draws_spikes(made):
        how += " Inputs are drawn as spikes, anew for each answer."
    found = Spiking(
        f"Spiking {model.name} on {task.recipe.data.name}",
        task.metric,
        scores,
        whole,
        cost,
        files,
        compared,
        how,
    )
    write_atomically(out / _PAGE, found.html(spikes))
    say_written(console, out / _PAGE)
    console.print(as_rich("What an answer costs", found.table()))
    console.print(found.said(), markup=False, highlight=False)


def _recipe(options):
    """Return the recipe whose data are taken."""
    if options.recipe:
        return read_recipe(options.recipe)[0]
    if recipe := find_recipe(options.path):
        return recipe
    raise UserError(
        f"{options.path}: belongs to no run of kbp. Say with --recipe whose "
        "data to take."
    )


def _made(model, task, options, console, given):
    """Return a spiking network, and how it was made, in a sentence."""
    from kbp import spiking
    from kbp.training.spiking import fine_tuned

    changes = ("timesteps", "percentile", "settle", "fine_tune", "encoder")
    if given:
        for name in changes:
            if getattr(options, name) is not None:
                raise UserError(
                    f"--{name.replace('_', '-')} has no effect: "
                    f"{options.path} is a spiking network"
                )
        return model, "Trained as a spiking network."
    steps = options.timesteps or _TIMESTEPS
    percentile = options.percentile or _PERCENTILE
    encoder = None
    if options.encoder == "poisson":
        seed = task.recipe.training.seed
        encoder = spiking.PoissonRate(steps, seed=seed, name="spikes")
    how = f"Thresholds: percentile {percentile:g} of each ReLU's values."
    if epochs := options.fine_tune:
        with console.status("Training activations that round ..."):
            model = fine_tuned(
                model,
                task,
                levels=steps,
                epochs=epochs,
                learning_rate=options.learning_rate or _RATE,
                percentile=percentile,
            )
        how = (
            f"Trained {epochs} epoch{'s' * (epochs > 1)} with activations that "
            "round (clip-floor-shift)."
        )
    made = spiking.to_spiking(
        model,
        task.calibration_batches(),
        timesteps=steps,
        percentile=percentile,
        encoder=encoder,
        settle=options.settle or 0.0,
    )
    return made, how


def _files(model, task, folder, console):
    """Write .tflite files, and compare them with the model.

    Returns:
        The files, and the number of examples that they were compared on.
    """
    from kbp import export
    from kbp.training.spiking import draws_spikes, spread

    if draws_spikes(model):
        console.print(
            "No .tflite file: LiteRT has no operation that draws spikes.",
            markup=False,
        )
        return (_file(folder / _KERAS),), 0
    inputs, labels = spread(task, _VERIFIED)
    expected = model.predict(inputs, verbose=0)
    files = [_file(folder / _KERAS, labels, expected)]
    for name, dtype in _FILES.items():
        path = folder / name
        export.to_tflite(model, path, dtype=dtype, metadata=task.metadata())
        found = export.Runner(path).predict(inputs)
        files.append(_file(path, labels, found, expected))
        say_written(console, path)
    return tuple(files), len(inputs)


def _file(path, labels=None, found=None, expected=None):
    """Return what a file's outputs are worth, and how far they are."""
    import numpy as np

    from kbp.reports.spiking.page import SpikingFile

    accuracy = same = largest = None
    if found is not None:
        classes = np.argmax(found, axis=-1)
        accuracy = float(np.mean(classes == labels))
    if expected is not None:
        same = float(np.mean(classes == np.argmax(expected, axis=-1)))
        largest = float(np.abs(found - expected).max())
    return SpikingFile(path.name, path.stat().st_size, accuracy, same, largest)


def _timesteps(text):
    """Read a number of time steps."""
    steps = positive(text)
    if steps > _MOST_TIMESTEPS:
        raise argparse.ArgumentTypeError(
            f"must be at most {_MOST_TIMESTEPS}: {text}"
        )
    return steps


def _percentile(text):
    """Read a number of more than 0 to 100."""
    return _number(text, lambda x: 0 < x <= 100, "of more than 0, at most 100")


def _settle(text):
    """Read a number of 0 to less than 1."""
    return _number(text, lambda x: 0 <= x < 1, "of 0 to less than 1")


def _rate(text):
    """Read a positive number."""
    return _number(text, lambda x: 0 < x <= 1e12, "above 0")


def _number(text, fits, words):
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not fits(value):
        raise argparse.ArgumentTypeError(f"must be a number {words}: {text}")
    return value
