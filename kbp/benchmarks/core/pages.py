"""The pages with generated tables, and where the tables stand in them."""

from pathlib import Path

from kbp import zoo
from kbp.errors import UserError

BEGIN, END = "<!-- table: {} -->", "<!-- end of table -->"


def pages() -> list[Path]:
    """Return the pages that hold tables."""
    root = zoo.root().parent
    return [
        root / "README.md",
        zoo.root() / "README.md",
        root / "docs" / "devices.md",
        root / "docs" / "exactness.md",
        root / "docs" / "federated.md",
        root / "docs" / "forecast_errors.md",
        root / "docs" / "images.md",
        root / "docs" / "latency.md",
        root / "docs" / "ranges.md",
        root / "docs" / "records.md",
        root / "docs" / "recipes.md",
        root / "docs" / "recurrent.md",
        root / "docs" / "runtimes.md",
        root / "docs" / "spiking.md",
        root / "docs" / "training.md",
        root / "docs" / "results" / "forecasting.md",
        root / "docs" / "results" / "optimizers.md",
        root / "docs" / "results" / "pruning.md",
        root / "docs" / "results" / "quantization.md",
        root / "docs" / "results" / "segmentation.md",
    ]


def check_checkout() -> None:
    """Check that kbp runs from a checkout, where the pages can be written.

    Raises:
        UserError: a page is missing.
    """
    for page in pages():
        if not page.is_file():
            raise UserError(f"{page}: missing. Publish from a checkout.")


def has_table(page: str, name: str) -> bool:
    """Say whether a page has the marks of a table."""
    return BEGIN.format(name) in page


def insert(page: str, name: str, table: str) -> str:
    """Replace what stands between a page's marks for a table.

    Raises:
        ValueError: the page has no such marks.
    """
    begin = BEGIN.format(name)
    before, found, rest = page.partition(begin)
    _, closed, after = rest.partition(END)
    if not (found and closed):
        raise ValueError(f"The page has no place for the table {name!r}.")
    return f"{before}{begin}\n{table}\n{END}{after}"
