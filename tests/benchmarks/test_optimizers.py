"""The optimizers' race: fair, resumable, and what its table says."""

import json
import math
from dataclasses import asdict, replace

import numpy as np
import pytest

from kbp.benchmarks.core import publish
from kbp.benchmarks.core.log import Log
from kbp.benchmarks.optimizers import report as optimizer_report
from kbp.benchmarks.optimizers.contestants import CONTESTANTS
from kbp.benchmarks.optimizers.plan import best_of, search
from kbp.benchmarks.optimizers.race import RACE
from kbp.benchmarks.optimizers.trial import Protocol, Trainer, Trial, network
from kbp.benchmarks.step_time import cases as step_time
from kbp.errors import UserError

pytestmark = pytest.mark.usefixtures("images")

TINY = Protocol(
    width=2,
    batch_size=8,
    steps=4,
    evaluate_every=2,
    curve_images=16,
    target=0.0,
    trials=2,
    seeds=2,
)


@pytest.mark.long
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(
            name,
            marks=[] if name == "SGD-Nesterov, averaged" else pytest.mark.slow,
        )
        for name in CONTESTANTS
    ],
)
def test_every_optimizer_runs_a_trial(name):
    trainer, trial = Trainer(TINY, None), Trial(name, 0.01, 0.01, 1, "test")
    result = trainer.run(trial)
    assert len(result["curve"]) == 2
    assert 0 <= result["accuracy"] <= 1
    assert result["steps_to_target"] == 2
    assert result["seconds"] > 0
    # Threads add up in any order, which may turn an image or two of 16.
    again = trainer.run(trial)["curve"]
    np.testing.assert_allclose(again, result["curve"], atol=2 / 16)


@pytest.mark.long
def test_search_ends_where_it_reaches_the_target():
    trainer = Trainer(TINY, None)
    result = trainer.run(Trial("Adam", 0.01, 0.0, 0, "validation"))
    assert len(result["curve"]) == 1


def test_searches_are_alike():
    protocol = Protocol()
    for name, contestant in CONTESTANTS.items():
        trials = search(name, protocol)
        low, high = contestant.learning_rates
        assert len(trials) == 12
        assert high / low == pytest.approx(100)
        shares = [math.log(t.learning_rate / low) for t in trials]
        steps = np.diff(shares)
        np.testing.assert_allclose(steps, math.log(100) / 12, rtol=1e-2)
        if contestant.decays:
            products = sorted(t.learning_rate * t.weight_decay for t in trials)
            assert products[0] == pytest.approx(protocol.decays[0], rel=1e-2)
            assert products[-1] < protocol.decays[1]
            gaps = np.diff(np.log(products)) / math.log(300)
            assert gaps.max() < 0.13
        else:
            assert {t.weight_decay for t in trials} == {0.0}


def test_best_has_the_fewest_steps_then_the_best_accuracy():
    def result(steps, accuracy):
        return {"steps_to_target": steps, "accuracy": accuracy}

    results = [result(None, 0.9), result(20, 0.6), result(20, 0.7)]
    assert best_of(results) is results[2]
    assert best_of(results[:1]) is results[0]


def test_race_goes_on_where_it_was_stopped(tmp_path, monkeypatch):
    file = tmp_path / "runs" / "race.jsonl"
    ran = []

    def run(self, trial):
        ran.append(trial)
        if len(ran) == 3:
            raise KeyboardInterrupt
        return {**asdict(trial), "steps_to_target": None, "accuracy": 0.1}

    monkeypatch.setattr(Trainer, "run", run)
    options = {"protocol": TINY, "names": ["Adam", "HybridOptimizer"]}
    with pytest.raises(KeyboardInterrupt):
        RACE.run(file, **options)
    lines = file.read_text().splitlines()
    assert len(lines) == 3  # the head and two trials
    file.write_text("\n".join([*lines, '{"optimizer": "Ad']))  # cut off
    results = RACE.run(file, **options)
    assert len(results) == 8
    # What had finished ran once; what was stopped ran again.
    assert [ran.count(trial) for trial in search("Adam", TINY)] == [1, 1]
    count = len(ran)
    for result in results:
        assert json.loads(json.dumps(result)) in RACE.read(file)[1]
    RACE.run(file, **options)
    assert len(ran) == count
    with pytest.raises(UserError, match="another protocol"):
        RACE.run(file, protocol=Protocol(), names=["Adam"])


def test_wrong_name_and_file_are_named(tmp_path):
    with pytest.raises(UserError, match=r"'Adan'.*Adam"):
        RACE.run(tmp_path / "race.jsonl", protocol=TINY, names=["Adan"])
    assert not list(tmp_path.iterdir())
    mine = tmp_path / "mine.jsonl"
    mine.write_text("mine\n")
    for wrong in (
        lambda: RACE.run(mine, protocol=TINY, names=["Adam"]),
        lambda: publish.publish("optimizers", mine),
        lambda: publish.publish("step-time", mine),
        lambda: publish.publish("optimizers", tmp_path / "none.jsonl"),
    ):
        with pytest.raises(UserError, match=r"jsonl: (is no|holds no|missing)"):
            wrong()
    assert mine.read_text() == "mine\n"
    mine.write_text("line 1\nmy precious line")
    with pytest.raises(UserError, match="is no race"):
        RACE.run(mine, protocol=TINY, names=["Adam"])
    assert mine.read_text() == "line 1\nmy precious line"


SMALL = Protocol(trials=2, seeds=3)


def results_with(name, steps, accuracies, best=0):
    """A search whose best point is a certain one, and trainings there."""
    common = {"seconds": 0.5, "curve": [0.1, 0.7], "commit": "c"}
    searched = search(name, SMALL)
    found = [
        {"steps_to_target": 20 if i == best else 40, "accuracy": 0.5}
        for i in range(len(searched))
    ]
    for seed, (number, accuracy) in enumerate(
        zip(steps, accuracies, strict=True), start=1
    ):
        searched.append(replace(searched[best], seed=seed, split="test"))
        found.append({"steps_to_target": number, "accuracy": accuracy})
    return [
        {**asdict(trial), **common, **figures}
        for trial, figures in zip(searched, found, strict=True)
    ]


def test_trainings_at_other_points_do_not_count(tmp_path):
    log = Log(tmp_path / "race.jsonl", SMALL)
    results = [
        # From when another point was the best.
        *results_with("Adam", [12, 12, 12], [0.9, 0.9, 0.9], best=1)[2:],
        *results_with("Adam", [240, 240, 252], [0.6, 0.61, 0.62]),
        *results_with("Lion", [240, 240, 252], [0.6, 0.6, 0.6])[1:],  # goes on
        *results_with("Nadam", [240, 240], [0.6, 0.6]),
        {**asdict(Trial("Adam", 0.5, 0.0, 1, "test")), "accuracy": 1.0},
    ]
    (row,) = optimizer_report.summarize(log.head, results)
    assert row["steps"] == [240, 240, 252]
    assert row["accuracies"] == [0.6, 0.61, 0.62]
    assert row["learning_rate"] == search("Adam", SMALL)[0].learning_rate


def test_table_says_what_the_race_says(tmp_path):
    log = Log(tmp_path / "race.jsonl", SMALL)
    results = [
        *results_with("Adam", [240, None, 252], [0.6, 0.61, 0.62]),
        *results_with("HybridOptimizer", [96, 108, 120], [0.7, 0.71, 0.72]),
        *results_with("Lion", [108, 96, 120], [0.7, 0.7, 0.7]),
        *results_with("Muon", [None, None, 252], [0.6, 0.6, 0.6]),
        *results_with("AdamW", [240], [0.6]),  # has not finished
    ]
    table = optimizer_report.markdown_table(log.head, results)
    rows = [line for line in table.splitlines() if line.startswith("| ")][1:]
    assert "**HybridOptimizer** | 108 (96 - 120) | 54 s | - | 71.00%" in rows[1]
    assert "| Lion | 108 (96 - 120) | 54 s | 0%, 0.0 s.e. (not" in rows[2]
    # (254.67 - 108) / (sqrt((144 + 2 * 321.3...) / ...)) by hand: 13.6
    late = [240, 276, 252]
    spread = math.sqrt((np.var(late, ddof=1) + 144) / 2)
    errors = (np.mean(late) - 108) / (spread * math.sqrt(2 / 3))
    assert (
        f"| Adam | 252 (240 - inf) | 126 s | 57%, {errors:.1f} s.e. |"
        in (rows[3])
    )
    assert "| Muon | inf (252 - inf) | - | at least 61%" in rows[4]
    assert len(rows) == 5
    assert "| AdamW |" not in table
    svg = optimizer_report.plot(log.head, results)
    assert svg.count("<svg") == 1
    assert "Adam" in svg


def test_steps_are_measured(monkeypatch, tmp_path):
    for name in [*step_time.CASES]:
        monkeypatch.delitem(step_time.CASES, name)
    small = [(3, 3, 2, 4), (4,)] * 3
    monkeypatch.setitem(step_time.CASES, step_time.SMALL, small)
    file = tmp_path / "steps.jsonl"
    step_time.STEP_TIME.run(file, rounds=2)
    (line,) = step_time.STEP_TIME.read(file)
    assert line["parameters"] == 3 * 76
    names = [figure["name"] for figure in line["figures"]]
    assert names == list(step_time.optimizers_by_name())
    for figure in line["figures"]:
        low, high = figure["quartiles"]
        assert 0 < low <= figure["milliseconds"] <= high
    assert line["figures"][0]["ratio"] == 1.0
    assert "| HybridOptimizer |" in step_time.markdown_table([line])
    with pytest.raises(UserError, match="unknown case"):
        step_time.measure("3 M")


def test_network_has_eight_layers_along_its_longest_path():
    model = network(4)
    assert model.output_shape == (None, 10)
    kernels = [v for v in model.trainable_variables if len(v.shape) > 1]
    assert len(kernels) == 8 + 2  # two projections of a skip
