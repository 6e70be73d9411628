"""One row of a race's table beside a peer's."""

import pytest

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
