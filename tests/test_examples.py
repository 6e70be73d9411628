"""The examples of the documentation reach what they promise."""

import importlib.util
import runpy
import time

import fresh
import pytest

from kbp.export.runtimes import RUNTIMES

EXAMPLES = fresh.ROOT / "docs" / "examples"
FILES = sorted(path.stem for path in EXAMPLES.glob("*.py"))
# The least of each figure that a notebook ends with.
NOTEBOOKS = {
    "own_classifier": {
        **{"trained": 0.95, "pruned": 0.95, "int8": 0.95},
        "gone": 0.55,
    },
    "transfer": {"accuracy": 0.65, "gained": 0.15, "kept": -0.03},
    "deployment": {"accuracy": 0.98},
    "browser": {"within_one": 0.99},
    "series": {"coverage": 0.8},
    "masks": {"dice": 0.9},
    "table": {"accuracy": 0.85},
    "gradients": {"caught": 1, "warned": 1, "relu": 0.7},
    "federated": {"gained": 0.4},
    "spiking": {"accuracy": 0.9, "kept": -0.05},
    "gan": {"fell": 0.8, "variety": 0.118, "ink": 0.092},
    "q_learning": {"float32": 300, "int8": 300},
}


def run(name, *arguments):
    """Return what an example's `main` returns."""
    path = EXAMPLES / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main([*map(str, arguments)])


def test_the_page_lists_all_examples():
    page = (EXAMPLES / "README.md").read_text()
    assert all(f"[{name}.py]({name}.py)" in page for name in FILES)
    found = {path.stem for path in (EXAMPLES / "notebooks").glob("*.py")}
    assert found == {*NOTEBOOKS}
    assert all(f"[{x}.py](notebooks/{x}.py)" in page for x in NOTEBOOKS)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebooks_have_text_and_code(name):
    jupytext = pytest.importorskip("jupytext", reason="needs the extra docs")
    cells = jupytext.read(EXAMPLES / "notebooks" / f"{name}.py").cells
    kinds = [cell.cell_type for cell in cells]
    assert kinds[0] == "markdown"
    assert kinds.count("code") >= 3
    assert cells[0].source.startswith("# ")


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_executed_notebooks_are_those_of_the_files(name):
    jupytext = pytest.importorskip("jupytext", reason="needs the extra docs")
    path = EXAMPLES / "notebooks" / f"{name}.py"
    executed = jupytext.read(path.with_suffix(".ipynb")).cells
    cells = jupytext.read(path).cells
    assert [x.source for x in executed] == [x.source for x in cells]
    code = [x for x in executed if x.cell_type == "code"]
    assert all(x.execution_count for x in code)
    assert any(x.outputs for x in code)
    assert all(x.get("name") != "stderr" for y in code for x in y.outputs)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Gradients vanish")  # as it is told
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebooks_reach_what_they_tell_in_two_minutes(
    name, tmp_path, monkeypatch
):
    if name == "browser" and (missing := RUNTIMES["web"].missing()):
        pytest.skip(missing)
    if name == "q_learning":
        pytest.importorskip("gymnasium", reason="needs the extra examples")
    monkeypatch.chdir(tmp_path)
    begin = time.process_time()  # of two cores
    found = runpy.run_path(EXAMPLES / "notebooks" / f"{name}.py")
    assert time.process_time() - begin < 2 * 120
    for figure, least in NOTEBOOKS[name].items():
        assert found[figure] >= least, figure
    assert found.get("error", 0) < 20


@pytest.mark.parametrize("name", FILES)
def test_arguments_of_examples_are_explained(name, capsys):
    with pytest.raises(SystemExit) as ended:
        run(name, "--help")
    assert ended.value.code == 0
    assert "--seed" in capsys.readouterr().out


@pytest.mark.slow
def test_digits_are_known_after_pruning_and_in_eight_bits(tmp_path):
    found = run("image_classification", "--out", tmp_path / "digits.tflite")
    assert found.pop("gone") > 0.5
    assert min(found.values()) >= 0.98


@pytest.mark.slow
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_recurrent_forecasts_are_the_best_and_stop_in_time(cell, tmp_path):
    out = tmp_path / "load.tflite"
    found = run("recurrent_forecasting", "--cell", cell, "--out", out)
    assert found.pop("epochs") < 100
    assert found.pop("int8 file") < 1.05 * found[cell]
    assert found[cell] == min(found.values())
