"""The benchmark of runtimes."""

import dataclasses
import json

import pytest

from kbp import zoo
from kbp._utils import machine
from kbp.benchmarks.runtimes import cases
from kbp.export import Agreement, Difference

ADD = Difference("ADD", "sum", "model/sum", 0.25, 1.0)
CIRCUMSTANCES = {
    "machine": {"cores": 2, "processor": "x"},
    "versions": {},
    "commit": "abc",
}


@pytest.fixture
def line():
    found = Agreement("micro", "TFLite Micro 1", outputs=1200, exact=0.5)
    found = dataclasses.replace(
        found, within_one=0.99999, maximum=3.0, operations=(ADD,)
    )
    text = json.dumps(
        {
            "case": "a.b",
            "runtimes": [dataclasses.asdict(found)],
            **CIRCUMSTANCES,
        }
    )
    return json.loads(text)


def test_agreements_are_read_as_they_were_measured(line):
    (found,) = cases.agreements(line)
    assert (found.first, found.worst) == (ADD, ADD)
    assert found.maximum == 3.0


def test_rows_hold_shares_and_the_largest_difference(line):
    assert cases._row(line) == ["a.b", "1,200", "99.99% (3)"]


def test_cards_have_a_row_for_each_runtime(line, monkeypatch, tmp_path):
    monkeypatch.setattr(type(cases.RUNTIMES), "read", lambda *_: [line])
    assert cases.card_table("a.c") == ""
    *_, row = cases.card_table("a.b").splitlines()
    assert row == (
        "| TFLite Micro 1 | 50.00% | 99.99% | 3 | ADD at sum | ADD at sum |"
    )


def test_all_versions_of_a_runtime_are_named(line):
    other = {**line["runtimes"][0], "version": "TFLite Micro 2"}
    versions = {**machine.versions()}
    lines = [
        {**line, "versions": versions},
        {**line, "versions": versions, "runtimes": [other]},
    ]
    text = cases.markdown_table(lines)
    assert " steps. TFLite Micro 1, TFLite Micro 2; 2 cores" in text


def test_every_entry_is_published_with_every_runtime():
    lines = cases.RUNTIMES.read(cases.RUNTIMES.published)
    assert {line["case"] for line in lines} == {
        entry.name for entry in zoo.entries()
    }
    for line in lines:
        found = {x.runtime: x for x in cases.agreements(line)}
        assert tuple(found) == cases.NAMES
        assert found["litert"].exact == 1
        assert found["web"].is_near
        # What docs/runtimes.md says of operations.
        steps = [op.maximum for x in found.values() for op in x.operations]
        assert max(steps, default=0) <= 1
