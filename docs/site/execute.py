"""Run the notebooks of the examples, and write them with what they print.

python docs/site/execute.py [NAME ...]
"""

import os
import re
import sys
import tempfile
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient

PROGRESS = re.compile(
    r"INFO:tensorflow|UserWarning: install|Epoch |/step|^epoch \d+ of", re.M
)
FOLDER = Path(__file__).parents[1] / "examples" / "notebooks"


def execute(source: Path) -> None:
    """Write a notebook beside a file in the percent format."""
    notebook = jupytext.read(source)
    with tempfile.TemporaryDirectory() as folder:
        client = NotebookClient(
            notebook,
            timeout=600,
            kernel_name="python3",
            coalesce_streams=True,
            resources={"metadata": {"path": folder}},
        )
        client.execute()
    for number, cell in enumerate(notebook.cells):
        cell.id = str(number)  # by chance otherwise
        cell.metadata = {}
        if cell.cell_type == "code":
            outputs = map(without_progress, cell.outputs)
            cell.outputs = [x for x in outputs if is_result(x)]
    notebook.metadata = {
        "kernelspec": {
            "name": "python3",
            "language": "python",
            "display_name": "Python 3",
        }
    }
    nbformat.write(notebook, source.with_suffix(".ipynb"))


def without_progress(output):
    """Return an output without lines of progress, as far as it is text."""
    if output.output_type == "stream":
        lines = output.text.splitlines(keepends=True)
        output.text = "".join(x for x in lines if not PROGRESS.search(x))
    return output


def is_result(output) -> bool:
    """Say whether an output is none of what libraries log, or progress."""
    data = output.get("data", {})
    text = data.get("text/plain", output.get("text", ""))
    is_log = output.get("name") == "stderr" or PROGRESS.search(text)
    return not is_log and bool(text.strip())


if __name__ == "__main__":
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    for path in sorted(FOLDER.glob("*.py")):
        if path.stem in sys.argv[1:] or not sys.argv[1:]:
            execute(path)
