"""The clients of a federation, for the report and the terminal."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from kbp.reports.result_table import ResultTable

CLIENTS_FILE = "clients.csv"


def clients_table(
    rows: Sequence[Mapping[str, Any]],
    sent: Mapping[str, Mapping[str, Sequence[int]]],
    partition: str,
) -> dict[str, Any]:
    """Return what clients have come to, as a table of the report.

    Args:
        rows: of `clients.csv`: one for each client and round.
        sent: bytes to and from the clients, by stage and round.
        partition: how the data were shared out, in words.
    """
    known = dict.fromkeys(key for row in rows for key in row)
    measured = [
        key for key in known if key.startswith("val_") and key != "val_seconds"
    ]
    names = [*dict.fromkeys(str(row["client"]) for row in rows)]
    cells = []
    for name in sorted(names, key=lambda x: (len(x), x)):
        own = [row for row in rows if row["client"] == name]
        trained = [row for row in own if not row["left_out"]]
        last = trained[-1] if trained else {}
        reasons = {str(row["left_out"]) for row in own if row["left_out"]}
        seconds = sum(float(row["seconds"]) for row in trained)
        cells.append(
            (
                name,
                str(last.get("examples", "-")),
                f"{len(trained)} of {len(own)}",
                *(_number(last.get(key)) for key in ("loss", *measured)),
                f"{seconds:.1f}",
                "; ".join(sorted(reasons)),
            )
        )
    down, up = (
        sum(pair[n] for stage in sent.values() for pair in stage.values())
        for n in (0, 1)
    )
    table = ResultTable(
        (
            *("client", "examples", "rounds", "loss"),
            *(key.replace("val_", "validation ") for key in measured),
            *("seconds", "left out"),
        ),
        tuple(cells),
        f"{partition} Losses and what is validated are those of each client's "
        "last round, on its own examples; rounds are those of all stages. "
        "Seconds are those of its training; the first client's hold those in "
        f"which the model is compiled. {down / 1e6:,.1f} MB went to the "
        "clients, for training and validation, and "
        f"{up / 1e6:,.1f} MB came from them. {CLIENTS_FILE} has all rounds.",
    )
    return asdict(table)


def _number(value: Any) -> str:
    return f"{float(value):.4f}" if value not in (None, "") else "-"
