"""Errors of a person's input name what is wrong and what is near."""

import pytest

from kbp.errors import UserError, check_known, nearest


def test_a_near_name_is_suggested():
    assert nearest("trian", ["train", "export"]) == "; did you mean 'train'?"
    assert nearest("xyz", {"train", "export"}) == "; known: export, train"


def test_unknown_names_are_refused():
    check_known("layer", ["a"], {"a": 1})
    with pytest.raises(UserError, match=r"^unknown layer 'c'; known: a, b$"):
        check_known("layer", ["a", "c", "d"], ["a", "b"])
