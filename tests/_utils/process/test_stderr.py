"""Messages of C++ are held back, unless something fails."""

import logging
import os

import fresh
import pytest

from kbp._utils.process.stderr import suppress_records, suppress_stderr


def test_messages_are_held_back(capfd):
    os.write(2, b"before\n")
    with suppress_stderr():
        os.write(2, b"within\n")
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "before\nafter\n"


def test_messages_are_shown_after_an_exception(capfd):
    @suppress_stderr()
    def fail():
        os.write(2, b"within\n")
        raise KeyError("wrong key")

    with pytest.raises(KeyError, match="wrong key"):
        fail()
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "within\nafter\n"


def test_only_lines_of_a_pattern_are_held_back(capfd):
    with suppress_stderr("INFO: "):
        os.write(2, b"INFO: a delegate\nERROR: it broke\nso: INFO: \n")
    assert capfd.readouterr().err == "ERROR: it broke\nso: INFO: \n"

    @suppress_stderr("INFO: ")
    def fail():
        os.write(2, b"INFO: a delegate\n")
        raise KeyError("wrong key")

    with pytest.raises(KeyError, match="wrong key"):
        fail()
    assert capfd.readouterr().err == "INFO: a delegate\n"


def test_only_records_with_some_words_are_held_back(caplog):
    logger = logging.getLogger("absl")
    with suppress_records("absl", "of no use"):
        logger.warning("this is %s", "of no use")
        logger.warning("this is of use")
    logger.warning("again of no use")
    assert caplog.messages == ["this is of use", "again of no use"]


def test_what_is_asked_for_is_not_held_back():
    code = """
import os, sys
from kbp._utils.process.stderr import show, suppress_stderr
with suppress_stderr():
    print("first", file=sys.stderr)
show()
with suppress_stderr():
    print("second", file=sys.stderr)
print(os.environ["TF_CPP_MIN_LOG_LEVEL"])
"""
    done = fresh.command("-c", code, cwd=".")
    assert (done.stdout, done.stderr) == ("0\n", "second\n")
