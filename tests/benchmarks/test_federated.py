"""The race of federated training, on results that are made up, and one run."""

import numpy as np
import pytest

from kbp.benchmarks.core.log import Log
from kbp.benchmarks.federated import report
from kbp.benchmarks.federated.cases import CASES, CENTRAL
from kbp.benchmarks.federated.race import describe, plan
from kbp.benchmarks.federated.trial import Protocol, Trainer, Trial
from kbp.errors import UserError

TWO = Protocol(seeds=2)


def result(case, seed, score, **more):
    found = {"case": case, "seed": seed, "split": "test", "score": score}
    return found | {"seconds": 13.0} | more


def test_the_table_compares_with_one_by_seed(tmp_path):
    log = Log(tmp_path / "federated.jsonl", TWO)
    for seed in range(2):
        log.add(result(CENTRAL, seed, 0.98 + seed / 100))
        log.add(
            result(
                "iid",
                seed,
                0.97,
                clients_seconds=10.0,
                bytes_up=2_000_000 * (1 + seed),
                left_out=0,
            )
        )
    log.add(result("dirichlet", 0, 0.9))  # has not ended
    for seed in range(2):
        lost = result("poisoned_mean", seed, 0.1) | {"failed": "infinite"}
        del lost["score"]
        log.add(lost)
        assert describe(lost).endswith("infinite, 13 s")
    text = report.markdown_table(log.head, log.results)
    rows = {
        cells[0]: cells[1:]
        for line in text.splitlines()
        if line.startswith(("| one", "| 10", "| 3 "))
        for cells in [[x.strip() for x in line.strip("|").split("|")]]
    }
    assert rows["one, with all the data"] == [
        *("98.50% ± 0.71%", "-", "-", "13", "-")
    ]
    assert rows["10 clients, alike"] == [
        *("97.00% ± 0.00%", "1.50% ± 0.71%", "3.0", "13", "1.30x")
    ]
    assert rows["3 of 10 poisoned, plain mean"] == [
        *("no model in 2 of 2 runs", "-", "-", "13", "-")
    ]
    assert len(rows) == 3
    assert "kbp at " in text
    assert "<svg" in report.plot(log.head, log.results)


LOST = "train, round 1: no client's update counts. client 0: "


@pytest.mark.parametrize(
    ("case", "words", "kept"),
    [
        ("poisoned", f"{LOST}has sent a, which is not finite", True),
        ("iid", f"{LOST}has sent a, which is not finite", False),
        ("poisoned", f"{LOST}has failed: no space left on device", False),
        ("poisoned", "run.json: no space left on device", False),
    ],
)
def test_only_poison_leads_to_no_model(case, words, kept, monkeypatch):
    def fit(self):
        raise UserError(words)

    monkeypatch.setattr("kbp.training.pipeline.Pipeline.fit", fit)
    trainer, trial = Trainer(Protocol(rounds=1), None), Trial(case, 0)
    if kept:
        assert trainer.run(trial)["failed"] == words
    else:  # it may pass, and the trial runs again
        with pytest.raises(UserError, match=words):
            trainer.run(trial)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("key", ["bytes_up", "clients_seconds", "left_out"])
def test_what_one_run_lacks_is_in_no_mean(tmp_path, key, seed):
    log = Log(tmp_path / "federated.jsonl", TWO)
    found = {"clients_seconds": 10.0, "bytes_up": 2_000_000, "left_out": 0}
    for number in range(2):
        line = result("iid", number, 0.9, **found)
        if number == seed:
            del line[key]
        log.add(line)
    row = report.markdown_table(log.head, log.results).splitlines()[2]
    sent = "-" if key == "bytes_up" else "2.0"
    overhead = "-" if key == "clients_seconds" else "1.30x"
    assert row.endswith(f"| - | {sent} | 13 | {overhead} |")


def test_every_case_is_a_recipe():
    for case in CASES.values():
        recipe = Protocol().recipe().with_settings(case.settings)
        assert bool(recipe.federated.clients) == (case.title[0] != "o")
    (trials,) = plan(["iid"], TWO, [])
    assert trials == [Trial("iid", 0), Trial("iid", 1)]


@pytest.mark.long
@pytest.mark.parametrize(
    "case", [CENTRAL, pytest.param("poisoned", marks=pytest.mark.slow)]
)
def test_a_trial_trains(case):
    found = Trainer(Protocol(rounds=1), None).run(Trial(case, 0))
    assert 0 < found["score"] <= 1
    if case == CENTRAL:
        assert "bytes_up" not in found
    else:
        # Three of ten clients send -10 times their weights.
        assert found["left_out"] == 3
        assert found["seconds"] > found["clients_seconds"] > 0
        assert np.isfinite(found["bytes_up"])
