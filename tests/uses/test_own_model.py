"""The page about a model of one's own: what it says, runs."""

import re
import time

import fresh

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


def test_arrays_and_a_sequential_model_become_an_int8_file(tmp_path):
    assert len(BLOCKS) == 3
    assert len([x for x in BLOCKS[0].splitlines() if x.strip()]) < 25
    begin = time.perf_counter()
    fresh.python("\n".join([*BLOCKS, CHECKS]), cwd=tmp_path)
    assert time.perf_counter() - begin < 300
    assert (tmp_path / "runs" / "mine" / "report.html").is_file()
