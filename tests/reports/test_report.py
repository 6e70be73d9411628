"""What a terminal shows of a run."""

import dataclasses
import io
import re

import pytest
from rich.console import Console

from kbp.export import Footprint
from kbp.reports import report
from kbp.reports.fitted_table import FittedTable
from kbp.reports.result_table import ResultTable
from kbp.reports.stage import POST_TRAINING, Stage, result_in_words

DENSE = Stage("float32 .tflite, all channels", 0.9, 9, 9, 100_000, 0.2, 1.0)
STAGES = [
    Stage("as given", 0.9, 250_000, 250_000, 1_012_000),
    Stage("trained", 0.9, 250_000, 250_000, None),
    Stage("pruned", 0.9, 12_000, 12_000, 50_000),
    Stage("quantization-aware", 0.9, 12_000, 12_000, 50_000),
    Stage("float32 .tflite", 0.9, 12_000, 12_000, 48_000, 0.02, 1.0),
    Stage("int8 .tflite", 0.9, 12_000, 12_000, 14_000, 0.04, 0.5),
]


def run(**changes):
    rows = [vars(stage) for stage in changes.pop("stages", STAGES)]
    section = {"target": 0.5, "granularity": "channel"}
    return {
        "recipe": {
            "model": {"architecture": "mine"},
            "data": {"name": "arrays"},
            "sparsity": section | changes.pop("sparsity", {}),
            "quantization": {"enabled": True},
            "export": {"num_threads": 1},
        },
        "metric": "accuracy",
        "stages": rows,
        "kernel_sparsity": 0.0,
        "channels": [64, 32],
        "left_out": "These layers keep all their channels: stem (first).",
        "verification": {"within_one": 1.0, "unit": "LSB", "maximum": 1.0},
        "float_operations": [],
        "operations": 4,
        "warnings": [],
        "versions": dict.fromkeys(
            ("tensorflow", "keras", "ai-edge-litert", "kbp"), "1"
        ),
        "machine": {"cores": 2, "processor": "one"},
        "resumed": False,
        "commit": None,
        "seconds": 9.0,
        "peak_memory_bytes": 1,
        **changes,
    }


def shown(table, width=80):
    console = Console(file=io.StringIO(), width=width)
    console.print(table)
    return console.file.getvalue()


@pytest.mark.parametrize(
    "metric",
    ["accuracy", "sparse_top_k_categorical_accuracy", "right[%]", "a", "_"],
)
def test_80_columns_cut_neither_heading_nor_value(metric):
    text = shown(report.result_table(STAGES, {**run(), "metric": metric}))
    assert "…" not in text
    assert all(len(line) <= 80 for line in text.splitlines())
    lines = [" ".join(line.split()) for line in text.splitlines()]
    for stage in STAGES:
        cells = " ".join(stage.cells(metric)[1:])
        assert any(line.endswith(cells) for line in lines)
    _, *head = text.split("─")[0].splitlines()
    letters = "".join(Stage.headings(metric)).replace(" ", "")
    assert sorted("".join("".join(head).split())) == sorted(letters)


def test_names_in_square_brackets_stay_in_tables():
    table = ResultTable(
        ("[/group] of", "power [kW]", "[red]x"),
        (("[bold]night[/bold]", "[1]", "[/]"),),
        "Counted [by hand].",
    )
    text = shown(report.as_rich("Errors [kW]", table), 120)
    for word in (
        *("[/group]", "[kW]", "[red]x", "[bold]night[/bold]", "[1]", "[/]"),
        *("Counted [by hand].", "Errors [kW]"),
    ):
        assert word in text


def lines(said):
    """Return the lines, of which the first is the result in words."""
    first, *others = said.splitlines()
    assert first.startswith("The int8 file keeps")
    return [first, *others]


def test_what_channels_were_removed_is_said():
    said = report.facts(run())
    assert "of the kernel weights" not in said
    assert lines(said)[1].startswith(
        "Pruning removed 32 of 64 channels: 250,000 parameters -> 12,000. "
        "These layers keep all their channels: stem (first). int8 file"
    )
    given, _, *others = STAGES  # masks that no epoch trained
    said = report.facts(run(stages=[given, *others]))
    assert "250,000 parameters -> 12,000" in said
    said = report.facts(run(kernel_sparsity=0.1))
    assert "Of the kernel weights left, 10.0% are zero." in said


def test_zeros_are_said_where_weights_are_pruned_or_zero():
    element = {"granularity": "element"}
    said = report.facts(run(sparsity=element, kernel_sparsity=0.8))
    assert lines(said)[1].startswith(
        "80.0% of the kernel weights are zero. These layers keep"
    )
    none = {"target": 0.0, "granularity": "element"}
    assert lines(report.facts(run(sparsity=none, left_out="")))[1].startswith(
        "int8 file: "
    )
    said = report.facts(run(sparsity=none, kernel_sparsity=0.01))
    assert lines(said)[1].startswith("1.0% of the kernel weights are zero.")


@pytest.mark.parametrize(
    ("latencies", "sets", "words"),
    [
        ((0.02, 0.04), ["AVX-VNNI"], "in so small a network"),
        ((2.0, 4.0), ["AVX2"], "the processor may lack 8-bit dot products"),
        ((2.0, 4.0), None, "the processor may lack 8-bit dot products"),
        ((2.0, 4.0), ["AMX"], "this network gains nothing from eight"),
        ((2.0, 1.0), ["AVX2"], None),
        ((0.02, 0.0201), [], None),
    ],
)
def test_file_for_the_processor_is_named(latencies, sets, words):
    whole, small = latencies
    rows = [
        *STAGES[:-2],
        Stage("float32 .tflite", 0.9, 12_000, 12_000, 48_000, whole, 1.0),
        Stage("int8 .tflite", 0.9, 12_000, 12_000, 4, small, whole / small),
    ]
    machine = {"processor": "a", "cores": 2, "instruction_sets": sets}
    said = report.facts(run(stages=rows, machine=machine))
    slower = "The int8 file is slower than the float32 file on this machine: "
    if words:
        assert f"{slower}{words}" in said
        ship = "ship the float32 file, or the int8 file for its size."
    else:
        assert "slower" not in said
        how = "2.0 times as fast as" if whole == 2 else "as fast as"
        ship = f"ship the int8 file: {how} the float32 file."
    assert ship in said
    shown = (
        ", ".join(sets or ())
        or "(no wide instructions|instruction sets unknown)"
    )
    assert re.search(rf"For this processor \({shown}\) ship", said)


def test_headings_break_only_where_there_is_no_room():
    table = FittedTable("", ["", "mean absolute error"], [["a", "0.1"]])
    for width, lines in ((25, 1), (18, 3)):
        console = Console(file=io.StringIO(), width=width)
        console.print(table)
        head, _ = console.file.getvalue().split("\n\u2500")
        assert len(head.splitlines()) == lines
        assert head.split() == ["mean", "absolute", "error"]


def test_headings_are_as_wide_as_their_cells():
    cell = "a cell of 22 characters"
    table = FittedTable("", ["", "mean absolute error"] * 2, [["", cell] * 2])
    console = Console(file=io.StringIO(), width=50)
    console.print(table)
    assert console.file.getvalue().count("mean absolute error") == 2


@pytest.mark.parametrize("epochs", [1, 3])
def test_what_training_in_eight_bits_is_worth_is_said(epochs):
    before = Stage(POST_TRAINING, 0.84, 12_000, 12_000, 14_000)
    rows = [*STAGES[:3], before, *STAGES[3:]]
    section = {"enabled": True, "epochs": epochs}
    made = run(stages=rows)
    made["recipe"]["quantization"] = section
    word = "epoch" if epochs == 1 else "epochs"
    assert (
        "The int8 file has accuracy 84.00% if nothing is trained after "
        f"rounding, 90.00% with {epochs} {word} in fake eight bits."
    ) in report.facts(made)
    assert "fake eight bits" not in report.facts(run())


def test_memory_of_the_file_is_said():
    taken = Footprint(9, (), {"ADD": 1}, 32, "ADD", "sum", 48, 4_096)
    said = report.facts(run(footprint=dataclasses.asdict(taken)))
    assert "Memory: 4,096 bytes in TFLite Micro, 48 bytes for act" in said
    assert "Memory: " not in report.facts(run())  # of an older version


def test_medians_of_an_even_number_of_runs_are_whole_numbers():
    cells = Stage("a", 0.9, 12_000.0, 11_999.5, 50_000).cells("accuracy")
    assert cells[2:4] == ("12,000", "12,000")


@pytest.mark.parametrize(
    ("metric", "stages", "words"),
    [
        (
            "accuracy",
            STAGES,
            "The int8 file keeps all of the accuracy (90.00% before, 90.00% "
            "now), is 0.5 times as fast as the float32 file on this processor "
            "(instruction sets unknown), and 0.29 of its size.",
        ),
        (
            "accuracy",
            [
                *STAGES[:3],
                DENSE,
                dataclasses.replace(STAGES[-1], score=0.72, speed_up=5.0),
            ],
            "The int8 file keeps 80.0% of the accuracy (90.00% before, 72.00% "
            "now), is 5.0 times as fast as the float32 file with all channels "
            "on this processor (instruction sets unknown), and 0.14 of its "
            "size.",
        ),
        (
            "MSE",
            [STAGES[1], dataclasses.replace(STAGES[4], score=0.95)],
            "The float32 file has MSE 0.9500, where the model had 0.9000 and "
            "takes 0.02 ms.",
        ),
    ],
)
def test_the_result_in_words(metric, stages, words):
    assert result_in_words(stages, run(metric=metric)) == words
