"""The race of techniques: a file each, whole runs, and what the table says."""

import json

import pytest

from kbp.benchmarks.core.log import Log
from kbp.benchmarks.techniques import report, trial
from kbp.benchmarks.techniques.plan import plan
from kbp.benchmarks.techniques.race import RACE
from kbp.benchmarks.techniques.registry import TECHNIQUES
from kbp.benchmarks.techniques.trial import (
    DIGITS,
    FORECAST,
    Protocol,
    Trainer,
    Trial,
)
from kbp.errors import UserError
from kbp.training.workdir import read_run

TWO = Protocol(seeds=2)


def result(technique, data, seed, score, **more):
    return {
        "technique": technique,
        "data": data,
        "seed": seed,
        "split": "test",
        "score": score,
        "seconds": 10.0 + seed,
        "bytes": 2_000_000_000,
        **more,
    }


@pytest.fixture
def log(tmp_path):
    found = Log(tmp_path / "techniques.jsonl", TWO)
    members = {"members": [0.94, 0.96], "median_member": 0.95, "ensemble": 0.97}
    for seed in range(2):
        for made in (
            result("plain", DIGITS, seed, 0.95 + seed / 100),
            result("dropout", DIGITS, seed, 0.96 + seed / 50),
            result("distilled", DIGITS, seed, 0.96, **members),
            result("plain", FORECAST, seed, 0.4),
            result("l2", FORECAST, seed, 0.39 + seed / 100),
        ):
            found.add(made)
    return found


@pytest.mark.parametrize("name", [*TECHNIQUES])
@pytest.mark.parametrize("data", [DIGITS, FORECAST])
def test_every_technique_fits_both_recipes(name, data):
    recipe = Protocol().recipe(data)
    changed = recipe.with_settings(TECHNIQUES[name].settings)
    assert (changed == recipe) == (name == "plain")
    shape, head = (
        ((8, 8, 1), {})
        if data == DIGITS
        else ((336, 7), {"head": "forecasting"})
    )
    assert changed.model.build(shape, 10, **head).count_params()


def test_techniques_of_models_are_arguments_of_both_families():
    models = [Protocol().recipe(x).model for x in (DIGITS, FORECAST)]
    for name in TECHNIQUES:
        for setting in TECHNIQUES[name].settings:
            section, _, rest = setting.partition(".")
            if section == "model":
                key = rest.partition("=")[0]
                assert all(model.known(key) for model in models), name


def test_trials_come_seed_by_seed():
    (trials,) = plan(["plain", "l2"], TWO, [])
    assert len(trials) == 8
    assert {t.seed for t in trials[:4]} == {0}
    assert trials[0] == Trial("plain", DIGITS, 0)


def test_the_table_compares_each_with_the_plain_recipe_by_seed(log):
    text = report.markdown_table(log.head, log.results)
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if line.startswith(("| digits", "| etth1"))
    ]
    found = {(row[0], row[1]): row[2:] for row in rows}
    assert rows[0][1] == "plain"
    plain = found[DIGITS, "plain"]
    assert plain[:2] == ["95.50% ± 0.71%", "-"]
    # Differences of 1 % and 2 %.
    assert found[DIGITS, "dropout 0.1"][1] == "1.50% ± 0.71%"
    distilled = found[DIGITS, "distilled from 5"]
    assert distilled[2] == "95.00% ± 0.00%"
    assert distilled[3] == "97.00% ± 0.00%"
    assert distilled[4] == "50%"  # 0.96 lies half-way from 0.95 to 0.97
    # Less of an error is better.
    assert found[FORECAST, "l2 0.0001"][1] == "0.0050 ± 0.0071"
    assert plain[-2:] == ["10", "2.0 GB"]
    assert "kbp at " in text
    assert "<svg" in report.plot(log.head, log.results)


def test_techniques_whose_seeds_have_not_all_run_are_left_out(tmp_path):
    log = Log(tmp_path / "techniques.jsonl", TWO)
    log.add(result("plain", DIGITS, 0, 0.9))
    said = report.markdown_table(log.head, log.results)
    assert said == "No technique has finished yet."


def test_missing_data_are_asked_for_before_the_first_trial(tmp_path):
    with pytest.raises(UserError, match="ETTh1 needs a data directory"):
        RACE.run(tmp_path / "techniques.jsonl", protocol=TWO)
    assert not (tmp_path / "techniques.jsonl").exists()


def test_figures_are_read_from_the_run(tmp_path, monkeypatch):
    scores = {"member 1": 0.9, "member 2": 0.8, "ensemble": 0.95}
    run = {
        "stages": [{"name": "trained", "score": 0.93}],
        "peak_memory_bytes": 5,
        "ensemble": scores,
    }
    monkeypatch.setattr(trial, "read_run", lambda path: run)
    (tmp_path / "metrics.csv").write_text(
        "stage,epoch,seconds\ntrain.1,1,2.5\ntrain.2,1,3.0\n"
    )
    found = trial._figures(tmp_path)
    assert json.loads(json.dumps(found)) == {
        "score": 0.93,
        "seconds": 5.5,
        "bytes": 5,
        "members": [0.9, 0.8],
        "median_member": pytest.approx(0.85),
        "ensemble": 0.95,
    }


@pytest.mark.slow
def test_a_trial_is_a_run(tmp_path):
    (tmp_path / "ETT-small").mkdir()
    trainer = Trainer(Protocol(seeds=1, digits_epochs=1), tmp_path)
    found = trainer.run(Trial("dropout", DIGITS, 0))
    assert 0 < found["score"] < 1
    assert found["seconds"] > 0
    assert found["bytes"] > 1e8
    assert read_run(tmp_path) is None  # nothing is left behind
