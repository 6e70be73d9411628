"""One row of a race's table beside a peer's."""

import dataclasses
import re

import pytest

from kbp.benchmarks.core import registry
from kbp.benchmarks.core.headlines import Headline

TABLE = """
| method | level |
| --- | ---: |
| **ours** | 1 |

| network and method | accuracy | latency |
| --- | ---: | ---: |
| small: peer | 70% | 2 ms |
| **ours** | 80% | 1 ms |
| **ours** | 90% | 3 ms |
"""


def headline(ours="ours", columns=("latency", "accuracy")):
    return Headline(
        measured="both", columns=columns, ours=ours, peer="small: peer"
    )


def test_cells_are_those_of_the_first_row_below_the_titles():
    found = headline().cells(TABLE)
    assert found == ("both", "1 ms, 80%", "peer: 2 ms, 70%")


def test_cells_of_what_was_not_measured_are_refused():
    # Not those of the next row of this label.
    table = TABLE.replace("| 1 ms |", "| - |")
    with pytest.raises(ValueError, match="must have the row of its headline"):
        headline().cells(table)


@pytest.mark.parametrize(
    "wrong", [{"ours": "other"}, {"columns": ["level", "latency"]}]
)
def test_missing_rows_and_columns_are_refused(wrong):
    with pytest.raises(ValueError, match="must have the row of its headline"):
        headline(**wrong).cells(TABLE)


def others_ahead(headline, table):
    """Return the rows of others' that are better than a headline's peer.

    They are of the same data set or network, as its table has them one after
    another, and better by the first of the headline's columns.
    """
    lower = re.search("error|steps", headline.measured)
    blocks, titles, block = {}, [], ""
    for line in table.splitlines():
        label, *cells = line.strip("| ").split(" | ")
        if not line.startswith("|"):
            titles = []
        elif not titles:
            titles, block = cells, ""
        elif headline.columns[0] in titles and label != "---":
            block = ": ".join(label.replace("**", "").split(": ")[:-1]) or block
            figure = cells[titles.index(headline.columns[0])]
            rows = blocks.setdefault(block, {})
            if "**" not in label and "float32" not in label and figure != "-":
                number = float(re.match(r"inf|[\d.]+", figure)[0])
                rows.setdefault(label, number if lower else -number)
    for rows in blocks.values():
        if headline.peer in rows:
            best = rows[headline.peer]
            return {label for label, number in rows.items() if number < best}
    raise AssertionError(f"no row of others' is {headline.peer}")


HEADLINES = [x for x in registry.benchmarks() if x.headline_row()]


@pytest.mark.parametrize("race", HEADLINES, ids=lambda race: race.name)
def test_no_other_method_is_better_than_a_headline_s_peer(race):
    assert others_ahead(race.headline, race.table()) == set()


def test_others_ahead_of_a_peer_are_found():
    table = """
| method | accuracy | steps |
| --- | ---: | ---: |
| a: float32 | 90% | 1 |
| good | 80% ± 1% | 20 (9 - 30) |
| better | 85% ± 1% | 30 (9 - 40) |
| **ours** | 88% | 2 |
| b: best | 89% | inf (3 - inf) |
| none | - | - |
"""
    told = Headline(
        measured="accuracy", columns=["accuracy"], ours="ours", peer="good"
    )
    assert others_ahead(told, table) == {"better"}
    for peer, ahead in {"better": {"good"}, "good": set()}.items():
        told = dataclasses.replace(
            told, measured="steps", columns=["steps"], peer=peer
        )
        assert others_ahead(told, table) == ahead
    for peer in ("ours", "none"):
        with pytest.raises(AssertionError, match="no row of others"):
            others_ahead(dataclasses.replace(told, peer=peer), table)
