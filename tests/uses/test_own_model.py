"""The page about a model of one's own: what it says, runs."""

import inspect
import re
import time

import fresh
import pytest

import kbp

PAGE = (fresh.ROOT / "docs" / "own_model.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
CHECKS = """
np.testing.assert_allclose(first[0], outputs[0], rtol=1e-5)
int8, whole = result.stages[-1], result.stages[-2]
assert abs(int8.score - whole.score) <= 0.005, result.stages
assert int8.score > 0.9, result.stages
assert int8.parameters < 0.7 * result.stages[0].parameters
assert check.within_one > 0.99
assert result.run["peak_memory_bytes"] < 2e9
outputs = kbp.export.Runner(result.paths["int8"]).predict(x[1400:])
assert abs((outputs.argmax(-1) == y[1400:]).mean() - int8.score) < 1e-6
"""


@pytest.mark.long
def test_arrays_and_a_sequential_model_become_an_int8_file(tmp_path):
    assert len(BLOCKS) == 3
    assert len([x for x in BLOCKS[0].splitlines() if x.strip()]) < 25
    begin = time.perf_counter()
    fresh.python("\n".join([*BLOCKS, CHECKS]), cwd=tmp_path)
    assert time.perf_counter() - begin < 300
    assert (tmp_path / "runs" / "mine" / "report.html").is_file()


def test_page_names_every_argument_and_its_usual_value():
    table = PAGE.partition("## Arguments")[2].partition("\n## ")[0]
    rows = {}
    for line in table.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        for name in re.findall(r"`(\w+)`", cells[0]):
            rows[name] = cells[1].strip("`") if cells[1] else None
    del rows["compress"]
    parameters = inspect.signature(kbp.compress).parameters
    assert {*rows} == {*parameters}
    for name, parameter in parameters.items():
        if parameter.default is inspect.Parameter.empty:
            assert rows[name] is None
        elif isinstance(parameter.default, float):
            assert float(rows[name]) == parameter.default
        else:
            assert rows[name] == repr(parameter.default)
