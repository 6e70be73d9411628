"""Publishing: the results of a benchmark, and every table made of them."""

from pathlib import Path

from kbp._utils.files import write_atomically
from kbp.benchmarks.core import headlines
from kbp.benchmarks.core.pages import has_table, insert, pages
from kbp.benchmarks.core.registry import benchmarks, find, names

ZOO = "recipe"  # the benchmark that publishes under the names of zoo entries


def publish(name: str, source: Path) -> list[Path]:
    """Copy the results of a benchmark into kbp, and renew every table.

    Args:
        name: a benchmark, or the zoo entry whose recipe was run.
        source: the file or the folder of the results.

    Returns:
        The files that were written.

    Raises:
        UserError: there is no such benchmark or entry, there are no results,
            or kbp does not run from a checkout.
    """
    benchmark = find(name if name in names() else ZOO)
    return [*benchmark.publish(name, Path(source)), *write_tables()]


def write_tables() -> list[Path]:
    """Write the cards, the plots, and the tables of the two READMEs.

    Returns:
        The files that were written.
    """
    written = [
        path for benchmark in benchmarks() for path in benchmark.write_figures()
    ]
    for page in pages():
        text = render_page(page.read_text())
        written.append(write_atomically(page, text))
    return written


def render_page(page: str) -> str:
    """Return a page with every table that it has marks for made anew."""
    for benchmark in benchmarks():
        for name, table in benchmark.tables().items():
            if has_table(page, name):
                page = insert(page, name, table())
    if has_table(page, headlines.NAME):
        rows = [benchmark.headline_row() for benchmark in benchmarks()]
        table_of_rows = headlines.table(filter(None, rows))
        page = insert(page, headlines.NAME, table_of_rows)
    return page
