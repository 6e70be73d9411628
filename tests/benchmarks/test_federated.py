"""The race of federated training, on results that are made up, and one run."""

import numpy as np
import pytest

from kbp.benchmarks.core.log import Log
from kbp.benchmarks.federated import report
from kbp.benchmarks.federated.cases import CASES, CENTRAL
from kbp.benchmarks.federated.race import describe, plan
from kbp.benchmarks.federated.trial import Protocol, Trainer, Trial

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
