"""Every benchmark is found by its folder, and by a registration."""

import dataclasses
import importlib
import json
import os
import sys
import types

import pytest

from kbp.benchmarks.core import registry
from kbp.benchmarks.core.cases import Cases
from kbp.benchmarks.core.log import Log
from kbp.benchmarks.core.race import Race
from kbp.commands import benchmark
from kbp.errors import UserError


def make_cases(name="mine", measure=lambda case, rounds: {"n": rounds}):
    return Cases(
        name=name,
        cases={"a": 1, "b": 2},
        measure=measure,
        show=lambda line: line["case"],
        markdown_table=lambda lines: f"{len(lines)} lines",
    )


def as_race(file, *results):
    @dataclasses.dataclass(frozen=True)
    class Protocol:
        epochs: int = 3

    log = Log(file, Protocol())
    for result in results:
        log.add(result)
    return log


@pytest.fixture
def empty(monkeypatch):
    """Benchmarks that a test registers are forgotten after it."""
    monkeypatch.setattr(registry, "_registered", {})


def test_help_lists_every_folder_in_a_line():
    summaries = benchmark.summaries()
    assert sorted(summaries) == sorted(registry.names())
    assert all(10 < len(text) < 64 for text in summaries.values())


def test_every_folder_registers_a_benchmark_of_its_name():
    found = registry.benchmarks()
    assert [each.name for each in found] == registry.names()
    assert {"pruning", "recipe", "startup", "step-time"} <= {
        each.name for each in found
    }
    races = [each for each in found if isinstance(each, Race)]
    assert len(races) == 10
    for race in races:
        if not race.published.exists():
            continue  # takes days, and has not ended yet
        head, results = race.read(race.published)
        assert head["protocol"] == json.loads(
            json.dumps(vars(race.protocol(**head["protocol"])))
        )
        assert results


@pytest.mark.usefixtures("empty")
def test_a_registration_makes_a_benchmark_known():
    mine = registry.register(make_cases())
    assert registry.find("mine") is mine
    assert "mine" in registry.names()
    with pytest.raises(ValueError, match=r"must have a new name.*'mine'"):
        registry.register(make_cases())
    with pytest.raises(UserError, match=r"unknown benchmark 'min'.*'mine'"):
        registry.find("min")


@pytest.mark.usefixtures("empty")
def test_a_folder_that_registers_nothing_is_named(monkeypatch):
    package = types.ModuleType("kbp.benchmarks.nothing")
    package.__path__ = []
    monkeypatch.setitem(sys.modules, "kbp.benchmarks.nothing", package)
    monkeypatch.setattr(registry, "_folders", lambda: {"nothing": "nothing"})
    with pytest.raises(ValueError, match="nothing must register a benchmark"):
        registry.find("nothing")


def test_a_case_that_fails_does_not_keep_the_others_from_it(tmp_path):
    def measure(case, rounds):
        if case == "a":
            raise UserError("a: failed")
        return {"n": rounds}

    cases = make_cases(measure=measure)
    file = tmp_path / "mine.jsonl"
    with pytest.raises(UserError, match="a: failed"):
        cases.run(file, rounds=3)
    (line,) = cases.read(file)
    assert (line["case"], line["n"]) == ("b", 3)
    assert {"machine", "versions", "commit"} <= {*line}


def test_the_newest_line_of_a_case_counts(tmp_path):
    file = tmp_path / "mine.jsonl"
    cases = make_cases()
    cases.run(file, rounds=1)
    cases.run(file, names=["a"], rounds=2)
    assert [(x["case"], x["n"]) for x in cases.read(file)] == [
        ("a", 2),
        ("b", 1),
    ]
    assert cases.table() == "No figures have been published yet."


@pytest.mark.parametrize("begin", [lambda x: make_cases().run(x), as_race])
@pytest.mark.parametrize(
    "content",
    [
        b"my only notes, a line without an end",
        b"a line\nand half a li",
        b'{"case": "a"}\nmy note',
        b'{"mine": 1}\n{"mine": 2}',
        b"[1, 2]\n",
        b'"case"\n',
        b"\xff\xfe\x00 no text",
    ],
)
def test_file_of_something_else_is_not_touched(begin, content, tmp_path):
    file = tmp_path / "notes.txt"
    file.write_bytes(content)
    with pytest.raises(
        UserError, match=r"notes\.txt: (holds no mea|is no rac)"
    ):
        begin(file)
    assert file.read_bytes() == content


@pytest.mark.parametrize(
    "begin",
    [
        lambda file: make_cases().run(file),
        lambda file: as_race(file, {"n": 1}, {"n": 2}).results,
    ],
)
def test_lines_have_the_commit_that_was_imported(begin, tmp_path, monkeypatch):
    commits = iter(["imported", "committed meanwhile", "and again"])
    for module in ("log", "cases"):
        name = f"kbp.benchmarks.core.{module}.commit"
        monkeypatch.setattr(name, lambda: next(commits), raising=False)
    lines = begin(tmp_path / "mine.jsonl")
    assert [line["commit"] for line in lines] == ["imported"] * 2


@pytest.mark.parametrize("kind", ["machine", "versions"])
def test_trials_say_where_they_ran_on_if_it_is_new(kind, tmp_path, monkeypatch):
    file = tmp_path / "race.jsonl"
    as_race(file, {"n": 1})
    other = {"processor": "Other", "tensorflow": "9.1"}
    monkeypatch.setattr(f"kbp.benchmarks.core.log.{kind}", lambda: other)
    old, new = as_race(file, {"n": 2}).results
    assert not {"machine", "versions"} & {*old}
    assert {"machine", "versions"} & {*new} == {kind}
    assert new[kind] == other


THREADS = """
import dataclasses
import tensorflow  # brings NumPy and its BLAS
import threadpoolctl

@dataclasses.dataclass(frozen=True)
class Protocol:
    seeds: int = 1

@dataclasses.dataclass(frozen=True)
class Trial:
    seed: int

class Trainer:
    def __init__(self, protocol, data_dir):
        pass

    def run(self, trial):
        pools = threadpoolctl.threadpool_info()
        counts = {x["user_api"]: x["num_threads"] for x in pools}
        return dataclasses.asdict(trial) | {"threads": counts}
"""


@pytest.mark.long
def test_trials_run_on_one_thread_each(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "own_threads.py").write_text(THREADS)
    own = importlib.import_module("own_threads")
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    race = Race(
        name="own",
        kind="case",
        competitors={"a": 1},
        protocol=own.Protocol,
        plan=lambda names, protocol, results: [[own.Trial(0)]],
        create=own.Trainer,
        describe=str,
        markdown_table=str,
        plot=str,
    )
    (found,) = race.run(tmp_path / "own.jsonl")
    assert found["threads"]["blas"] == 1
    assert {*found["threads"].values()} == {1}
    # What the person has set is there again.
    assert os.environ["OMP_NUM_THREADS"] == "2"
    assert "OPENBLAS_NUM_THREADS" not in os.environ


def test_unfinished_last_line_is_measured_again(tmp_path):
    whole = json.dumps({"case": "a", "n": 30}) + "\n"
    for end in range(len(whole)):
        file = tmp_path / f"{end}.jsonl"
        file.write_text(whole + whole[:end])
        make_cases().run(file, names=["b"])
        assert [x["case"] for x in make_cases().read(file)] == ["a", "b"]
