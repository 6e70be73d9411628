"""Training speed on several devices and workers, and a long run."""

import json

from kbp._utils.files import temporary_folder
from kbp.benchmarks.core import markdown
from kbp.benchmarks.core.cases import Cases
from kbp.benchmarks.core.log import provenance, rounds
from kbp.benchmarks.core.registry import register
from kbp.benchmarks.distribution import speed
from kbp.benchmarks.distribution.soak import SOAK, growth, soak
from kbp.benchmarks.distribution.speed import BATCH_SIZE, DEVICES, KERAS
from kbp.benchmarks.distribution.workers import finish, start_workers


def measure(case: str, rounds: int) -> dict:
    """Measure a case in processes of its own.

    Args:
        case: one of `DEVICES`, or `SOAK`.
        rounds: of the measurement.

    Returns:
        `rounds`, and what `speeds` or `soak` returns.

    Raises:
        UserError: a process failed.
    """
    if case == SOAK:
        return {"rounds": rounds, **soak()}
    _, count = DEVICES[case]
    with temporary_folder() as folder:
        words = ("-m", speed.__name__, case, rounds, folder / "{}")
        finish(case, folder, start_workers(folder, words, count))
        first = json.loads((folder / "0").read_text())
    return {"rounds": rounds, **first}


def markdown_table(lines: list[dict]) -> str:
    """Return measured cases as Markdown: a table, and how it was measured."""
    rows, measured = [], [x for x in lines if "figures" in x]
    for line in measured:
        for name, figure in line["figures"].items():
            low, high = figure["quartiles"]
            speed = f"{figure['median']:.1f} ({low:.1f} - {high:.1f})"
            rows.append([line["case"], name, speed, f"{figure['ratio']:.2f}"])
    titles = ["on", "variant", "steps/s", "a step's time"]
    text = [
        *markdown.table(titles, rows, texts=2),
        "",
        f"Steps of {BATCH_SIZE} images of 16x16 in all, with two convolutions; "
        f"medians and quartiles of {rounds(measured)} rounds in which the "
        "variants take turns; a step's time relative to that of "
        f"{KERAS} in the same round. Devices and workers share the processor's "
        "cores, so this is what distribution costs. For workers Keras runs "
        "with kbp's mend of the strategy, without which it fails; on one "
        "device nothing is mended. " + provenance(lines[0], lines),
    ]
    for line in lines:
        if line["case"] == SOAK:
            files, threads = set(line["files"]), set(line["threads"])
            text += [
                "",
                f"A run of {line['steps']:,} steps, watched once a second: "
                f"memory grows by {growth(line['memory']):.1%} from its second "
                f"fifth to its last, open files by {growth(line['files']):.0%} "
                f"({min(files)} to {max(files)}), threads by "
                f"{growth(line['threads']):.0%} ({min(threads)} to "
                f"{max(threads)}).",
            ]
    return "\n".join(text)


DISTRIBUTION = register(
    Cases(
        name="distribution",
        cases={**DEVICES, SOAK: None},
        measure=measure,
        show=lambda line: markdown_table([line]),
        markdown_table=markdown_table,
    )
)
