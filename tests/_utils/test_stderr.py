"""Messages of C++ are held back, unless something fails."""

import os

import pytest

from kbp._utils.stderr import suppress_stderr


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
