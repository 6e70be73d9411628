"""Trials of the race of techniques: whole runs of `kbp train`."""

import statistics
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from kbp._utils.files import temporary_folder, write_atomically
from kbp.benchmarks.techniques.registry import TECHNIQUES
from kbp.data.splits import folder_of
from kbp.errors import UserError
from kbp.recipes import Recipe
from kbp.reports.metrics_file import read_metrics
from kbp.training.workdir import read_run

DIGITS, FORECAST = "digits", "etth1"
_WITHOUT_FILES = {
    "quantization": {"enabled": False},
    "export": {"benchmark_rounds": 1},
}


@dataclass(frozen=True)
class Protocol:
    """What all trials have in common.

    Attributes:
        seeds: of each technique.
        digits_epochs: on the digits, by Pyramid-BPNet.
        forecast_epochs: on ETTh1, by BP-Transformer.
    """

    seeds: int = 5
    digits_epochs: int = 16
    forecast_epochs: int = 3

    def recipe(self, data: str) -> Recipe:
        """Return the recipe that techniques change."""
        return Recipe.parse(
            self._digits() if data == DIGITS else self._forecast()
        )

    def _digits(self) -> dict:
        return {
            "model": {"architecture": "pyramid_bpnet", "size": "small"},
            "data": {"name": DIGITS, "image_size": 8},
            "augmentation": {"rotation": 8.0, "shift": 0.06, "zoom": 0.08},
            "optimizer": {"learning_rate": 3e-3},
            "training": {"epochs": self.digits_epochs},
            **_WITHOUT_FILES,
        }

    def _forecast(self) -> dict:
        return {
            "model": {
                "architecture": "bp_transformer",
                "width": 32,
                "patch_size": 24,
            },
            "data": {"name": FORECAST, "lookback": 336, "horizon": 96},
            "training": {"epochs": self.forecast_epochs, "batch_size": 64},
            **_WITHOUT_FILES,
        }


@dataclass(frozen=True)
class Trial:
    """One training.

    Attributes:
        technique: name of the technique.
        data: name of the data set.
        seed: of the recipe.
        split: what it is judged on.
    """

    technique: str
    data: str
    seed: int
    split: str = "test"


class Trainer:
    """Runs trials, each in a process of its own.

    Args:
        protocol: the settings that they share.
        data_dir: the folder that holds the forecast's data.
    """

    def __init__(self, protocol: Protocol, data_dir: str | Path | None):
        folder_of("ETTh1", "ETT-small", data_dir, "the CSV files of ETT")
        self.protocol, self.data_dir = protocol, data_dir

    def run(self, trial: Trial) -> dict:
        """Train once.

        Returns:
            The trial; `score`, accuracy or mean squared error on the test
            split; `seconds` of all its epochs; `bytes`, the largest memory of
            the process; of an ensemble the scores of its `members`, and what
            it comes to itself.
        """
        with temporary_folder() as folder:
            recipe, workdir = folder / "recipe.toml", folder / "run"
            made = self.protocol.recipe(trial.data)
            write_atomically(recipe, made.to_toml())
            words = ["train", recipe, "--workdir", workdir]
            technique = TECHNIQUES[trial.technique]
            for setting in (
                *technique.settings,
                f"training.seed={technique.seeds * trial.seed}",
            ):
                words += ["--set", setting]
            if self.data_dir is not None:
                words += ["--data-dir", self.data_dir]
            done = subprocess.run(
                [sys.executable, "-m", "kbp", *map(str, words)],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
            )
            if done.returncode:
                raise UserError(f"{trial}: {done.stderr.strip()[-500:]}")
            return asdict(trial) | _figures(workdir)


def _figures(workdir: Path) -> dict:
    run = read_run(workdir)
    if run is None:
        raise UserError(f"{workdir}: the run has left no record.")
    scores = {stage["name"]: stage["score"] for stage in run["stages"]}
    rows = read_metrics(workdir / "metrics.csv")
    figures = {
        "score": scores["trained"],
        "seconds": sum(float(row["seconds"]) for row in rows),
        "bytes": run["peak_memory_bytes"],
    }
    if several := run.get("ensemble"):
        own = [x for name, x in several.items() if name.startswith("member")]
        figures["members"] = own
        figures["median_member"] = statistics.median(own)
        figures["ensemble"] = several["ensemble"]
    return figures
