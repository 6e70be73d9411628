"""Processor time of fresh processes."""

import pytest

from kbp._utils.machine import machine, versions
from kbp.benchmarks.startup import cases
from kbp.errors import UserError

WORK = "sum(range(10**7))"


def test_processor_time_is_that_of_the_process(monkeypatch):
    idle = cases.processor_seconds(("-c", "import time; time.sleep(0.5)"))
    busy = cases.processor_seconds(("-c", f"{WORK}; {WORK}"))
    assert 0 < idle < busy
    monkeypatch.setitem(cases.CASES, "help", ("-c", WORK))
    figures = cases.measure("help", 2)
    low, high = figures["quartiles"]
    assert 0 < low <= figures["seconds"] <= high
    common = {"machine": machine(), "versions": versions(), "commit": "c"}
    table = cases.markdown_table([{"case": "help", **common, **figures}])
    assert f"| `python -c '{WORK}'` | {figures['seconds']:.2f} s (" in table


def test_a_command_that_fails_is_named(monkeypatch):
    words = ("-c", "import sys; print('said', file=sys.stderr); sys.exit(3)")
    with pytest.raises(UserError, match=r"`python -c .*status 3: said"):
        cases.processor_seconds(words)
