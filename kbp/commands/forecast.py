"""`forecast`: what follows the rows of a CSV file."""

from kbp.commands.predict import add_model, add_out, open_model
from kbp.commands.shared.common import add_imports, import_tensorflow

HELP = "forecast what follows a CSV file's rows, in its own units"
EXAMPLES = (
    "runs/mine load.csv --out forecasts",
    "model_int8.tflite load.csv --time-column date --out forecasts",
)


def add_arguments(parser):
    """Add the command's arguments to its parser."""
    import_tensorflow()
    from kbp.tasks.predict_series import SeriesPrediction

    add_model(parser)
    SeriesPrediction.add_arguments(parser)
    add_out(parser)
    add_imports(parser)


def run(options, console):
    """Run the command."""
    from kbp.tasks.predict_series import SeriesPrediction

    model, recipe = open_model(options.model, console)
    SeriesPrediction.run(model, recipe, options, console)
