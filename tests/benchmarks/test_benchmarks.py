"""Races are resumable, and tables say what was measured."""

import dataclasses
import io
import json
import math
import shutil
from concurrent.futures import ThreadPoolExecutor

import fresh
import numpy as np
import pytest
import quick
from rich.console import Console

from kbp import zoo
from kbp._utils.machine import versions
from kbp.benchmarks.core import markdown, pages, pool, publish
from kbp.benchmarks.core.log import Log, read_race
from kbp.benchmarks.recipe import race, report
from kbp.benchmarks.recipe.race import RACE, RECIPE_FILE
from kbp.errors import UserError
from kbp.recipes import Recipe
from kbp.reports.stage import Stage
from kbp.training.workdir import WorkDir


def make_run(accuracy, seconds, resumed=False):
    stage = Stage("trained", accuracy, 100, 40, None)
    return {
        "recipe": {"training": {"seed": 0}, "export": {"num_threads": 1}},
        "metric": "accuracy",
        "stages": [dataclasses.asdict(stage)],
        "kernel_sparsity": 0.5,
        "channels": [90, 90],
        "seconds": seconds,
        "resumed": resumed,
        "peak_memory_bytes": 1e9,
        "verification": {"within_one": accuracy, "unit": "LSB"},
        "float_operations": [],
        "machine": {"cores": 2, "processor": "x"},
        "versions": versions(),
        "commit": "abc",
    }


def test_summary_gives_mean_spread_and_times_of_whole_runs():
    runs = [make_run(0.8, 10), make_run(0.9, 20), make_run(1.0, 1, True)]
    results = report.summarize(runs)
    (stage,) = results["stages"]
    assert stage["score"]["mean"] == pytest.approx(0.9)
    assert stage["score"]["deviation"] == pytest.approx(0.1)
    assert stage["parameters"]["median"] == 100
    assert "file_size" not in stage
    assert results["seconds"] == 15  # a resumed run's time is not the whole
    assert results["outputs_within_one"] == 0.8
    assert results["recipe"]["training"] == {}
    table = report.markdown_table(results)
    assert "| trained | 90.00% ± 10.00% | 100 | 40 | - | - | - |" in table
    assert "3 runs with different seeds" in table
    assert "50.0% of the kernel weights are zero" in table


def test_a_single_run_has_no_deviation():
    table = report.markdown_table(report.summarize([make_run(0.8, 10)]))
    assert "| trained | 80.00% | " in table


def test_runs_elsewhere_are_named():
    runs = [make_run(0.5, 1) for _ in range(3)]
    runs[1] |= {"machine": {"cores": 64, "processor": "y"}}
    runs[2] |= {"versions": {**versions(), "keras": "8.2"}}
    results = json.loads(json.dumps(report.summarize(runs)))
    table = report.markdown_table(results)
    assert "2 cores (x; instruction sets unknown) and 64 cores (y; " in table
    assert f"Keras {versions()['keras']} and 8.2, " in table


@pytest.mark.parametrize(
    ("channels", "zeros", "said", "share"),
    [
        ([90, 30], 0.0, "30 of 90 channels are left", "67% of channels"),
        ([90, 90], 0.5, "50.0% of the kernel weights are zero", "50% of wei"),
        ([90, 90], 0.001, "0.1% of the kernel weights are zero", "-"),
        (None, 0.5, "50.0% of the kernel weights are zero", "50% of weights"),
    ],
)
def test_what_pruning_left_is_said(channels, zeros, said, share):
    results = {"channels": channels, "kernel_sparsity": zeros}
    assert report._pruned(results) == said
    assert report._pruned_share(results).startswith(share)


@pytest.mark.slow
def test_race_sums_up_and_runs_no_seed_twice(tmp_path):
    recipe = zoo.find(zoo.DEFAULT).recipe.with_settings(quick.SETTINGS)
    console = Console(file=io.StringIO())
    first = RACE.run(recipe, tmp_path, seeds=1, console=console)
    # A second run with another accuracy; neither is to be run again.
    shutil.copytree(tmp_path / "seed0", tmp_path / "seed1")
    file = tmp_path / "seed1" / "run.json"
    run = json.loads(file.read_text())
    run["stages"][-1]["score"] += 0.5
    file.write_text(json.dumps(run))
    results = RACE.run(recipe, tmp_path, seeds=2, console=console)
    assert json.loads(file.read_text()) == run
    assert results == json.loads((tmp_path / "results.json").read_text())
    assert (first["runs"], results["runs"]) == (1, 2)
    accuracy = results["stages"][-1]["score"]
    low, high = accuracy["values"]
    assert high - low == pytest.approx(0.5)
    assert accuracy["mean"] == pytest.approx(low + 0.25)
    assert accuracy["deviation"] == pytest.approx(0.5 / 2**0.5)
    assert first["stages"][0]["score"]["deviation"] == 0
    table = report.markdown_table(results)
    assert "2 runs with different seeds" in table
    assert f"{accuracy['mean']:.2%} ± {accuracy['deviation']:.2%}" in table


def test_race_leaves_other_folders_alone(tmp_path):
    recipe = zoo.find(zoo.DEFAULT).recipe
    (tmp_path / "results.json").write_text("mine")
    with pytest.raises(UserError, match="not empty and no race"):
        RACE.run(recipe, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["results.json"]
    (tmp_path / RECIPE_FILE).write_text(recipe.to_toml())
    with pytest.raises(UserError, match="race of another recipe"):
        RACE.run(recipe.with_settings(quick.SETTINGS), tmp_path)


def test_results_of_another_recipe_are_not_published(tmp_path):
    recipe = zoo.find(zoo.DEFAULT).recipe.with_settings(quick.SETTINGS)
    results = {
        "recipe": report.without_seed(recipe.to_dict()),
        "stages": [],
    }
    (tmp_path / "results.json").write_text(json.dumps(results))
    with pytest.raises(UserError, match="of another recipe than"):
        publish.publish(zoo.DEFAULT, tmp_path)


def test_results_that_are_none_are_not_published(tmp_path):
    for content in ("", "[1]", "{}", '{"recipe": 1'):
        (tmp_path / "results.json").write_text(content)
        with pytest.raises(UserError, match="holds no results of a race"):
            publish.publish(zoo.DEFAULT, tmp_path)


def test_a_run_that_goes_on_is_not_published(tmp_path):
    contents = {tmp_path / "model.keras": b"model"}
    with pytest.raises(UserError, match="the run has not finished"):
        race._check_finished(tmp_path, contents)
    with WorkDir(tmp_path / "run", Recipe.parse({}), resume=False) as run:
        (run.path / "model.keras").write_bytes(b"model")
        with pytest.raises(UserError, match="the run has not finished"):
            race._check_finished(run.path, contents)
        run.finished = True
    race._check_finished(run.path, contents)
    with pytest.raises(UserError, match="changed since the run finished"):
        race._check_finished(run.path, {tmp_path / "model.keras": b"other"})


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("others", [[], [1.0, 2.0], [math.inf], [-math.inf]])
def test_values_that_are_not_finite_have_no_spread(odd, others):
    for values in ([odd, *others], [*others, odd], np.array([odd, *others])):
        assert math.isnan(markdown.deviation(values))
        assert markdown.spread(values) == "nan"


def test_spread_is_that_of_the_sample():
    values = [1.0, 2.0, 4.5]
    assert markdown.deviation(values) == pytest.approx(np.std(values, ddof=1))
    assert markdown.deviation([3.0]) == 0.0
    assert markdown.spread([3.0], ".1f") == "3.0"


def test_table_goes_between_its_marks():
    page = "a\n<!-- table: x -->\nold\n<!-- end of table -->\nb\n"
    assert pages.insert(page, "x", "new") == page.replace("old", "new")
    with pytest.raises(ValueError, match="no place for the table 'y'"):
        pages.insert(page, "y", "new")


@dataclasses.dataclass(frozen=True)
class Seeds:
    seeds: int = 6


@dataclasses.dataclass(frozen=True)
class OneSeed:
    seed: int


class Failing:
    """Runs trials, some of which fail."""

    def __init__(self, errors):
        self.errors, self.ran = errors, []

    def run(self, trial):
        self.ran.append(trial.seed)
        if trial.seed in self.errors:
            raise self.errors[trial.seed]
        return dataclasses.asdict(trial)


@pytest.mark.parametrize(
    ("errors", "kind", "message"),
    [
        (
            {0: ValueError("odd")},
            RuntimeError,
            r"1 of 6 trials failed: OneSeed\(seed=0\): ValueError\('odd'\)$",
        ),
        (
            {1: UserError("no data"), 5: UserError("no data")},
            UserError,
            r"2 of 6 .*seed=1\), OneSeed\(seed=5\): no data$",
        ),
        (
            {2: UserError("no data"), 3: OSError("full")},
            RuntimeError,
            r"seed=2\): UserError\('no data'\); .*seed=3\): OSError",
        ),
    ],
)
def test_a_failed_trial_costs_no_other(
    errors, kind, message, tmp_path, monkeypatch
):
    trainer = Failing(errors)
    monkeypatch.setattr(pool, "_trainer", trainer)
    file = tmp_path / "race.jsonl"
    trials, told = [OneSeed(seed) for seed in range(6)], io.StringIO()
    with ThreadPoolExecutor(2) as threads, pytest.raises(kind, match=message):
        pool.run(threads, Log(file, Seeds()), trials, str, Console(file=told))
    left = {0, 1, 2, 3, 4, 5} - {*errors}
    assert {result["seed"] for result in Log(file, Seeds()).results} == left
    assert len(told.getvalue().splitlines()) == 6
    trainer.errors, trainer.ran = {}, []
    with ThreadPoolExecutor(2) as threads:
        pool.run(threads, Log(file, Seeds()), trials, str, None)
    assert {*trainer.ran} == {*errors}


def test_a_first_line_that_was_cut_is_written_again(tmp_path):
    whole = tmp_path / "whole.jsonl"
    Log(whole, Seeds()).add({"seed": 0})
    first = whole.read_bytes().partition(b"\n")[0]
    assert len(first) > 100
    for end in range(len(first) + 1):
        file = tmp_path / f"{end}.jsonl"
        file.write_bytes(first[:end])
        assert read_race(file, Seeds) == (None, [])
        Log(file, Seeds()).add({"seed": 1})
        head, results = read_race(file, Seeds)
        assert head["protocol"] == {"seeds": 6}
        assert [result["seed"] for result in results] == [1]


@pytest.mark.parametrize(
    "content", ["my notes", "[1]", "\n", '{"case": "a"', '{"protocol"\n']
)
def test_files_of_something_else_stay_as_they_are(content, tmp_path):
    file = tmp_path / "mine.jsonl"
    file.write_text(content)
    with pytest.raises(UserError, match=r"mine\.jsonl: is no race"):
        Log(file, Seeds())
    assert file.read_text() == content


TRIALS = """
import json, multiprocessing, pathlib, sys, time
from dataclasses import asdict, dataclass

from kbp.benchmarks.core import pool
from kbp.benchmarks.core.log import Log, read_race

@dataclass(frozen=True)
class Protocol:
    seeds: int = 6

@dataclass(frozen=True)
class Trial:
    seed: int

class Trainer:
    def run(self, trial):
        if trial.seed:
            pathlib.Path(f"{trial.seed}.begun").touch()
            time.sleep(200)
        return asdict(trial)

def interrupted(result):
    # The first trial has ended, and the next two run.
    while len([*pathlib.Path().glob("*.begun")]) < 2:
        time.sleep(0.1)
    raise KeyboardInterrupt

def race():
    log = Log(pathlib.Path("race.jsonl"), Protocol())
    begin = time.monotonic()
    try:
        with pool.worker_pool(2, Trainer) as workers:
            trials = [Trial(seed) for seed in range(6)]
            pool.run(workers, log, trials, interrupted, None)
    except KeyboardInterrupt:
        print(time.monotonic() - begin, multiprocessing.active_children())
"""


@pytest.mark.long
def test_an_interrupted_race_leaves_no_trial_running(tmp_path):
    (tmp_path / "trials.py").write_text(TRIALS)
    code = "import trials\ntrials.race()"
    seconds, children = fresh.python(code, cwd=tmp_path).split(maxsplit=1)
    assert float(seconds) < 100
    assert children == "[]\n"
    assert len([*tmp_path.glob("*.begun")]) == 2
    assert len((tmp_path / "race.jsonl").read_text().splitlines()) == 2
