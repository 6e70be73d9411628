"""Wrong arguments are named with the value that was received."""

import numpy as np
import pytest

from kbp._utils import arguments


def test_right_arguments_pass():
    arguments.check_one_of(("a", "b"), first="a", second="b")
    arguments.check_integer(2, count=2, other=np.int64(3))
    arguments.check_penalty(penalty=0.0)
    arguments.check_rate(dropout=0.5)
    arguments.check_limit(seconds=np.inf, other=np.float32(0))


@pytest.mark.parametrize(
    ("check", "message"),
    [
        (
            lambda: arguments.check_one_of(("a", "b"), first="a", second="c"),
            r"`second` must be one of \('a', 'b'\)\. Received: second='c'",
        ),
        (
            lambda: arguments.check_integer(2, count=1),
            "`count` must be a whole number, 2 or more. Received: count=1",
        ),
        (
            lambda: arguments.check_integer(size=1.0),
            r"`size` must be a whole number, 1 or more\. Received: size=1\.0",
        ),
        (
            lambda: arguments.check_penalty(penalty=-1.0),
            "Received: penalty=-1.0",
        ),
        (
            lambda: arguments.check_penalty(penalty=np.inf),
            "Received: penalty=inf",
        ),
        (
            lambda: arguments.check_penalty(penalty=np.nan),
            "Received: penalty=nan",
        ),
        (lambda: arguments.check_rate(dropout=1.0), "Received: dropout=1.0"),
    ],
)
def test_wrong_arguments_are_named(check, message):
    with pytest.raises(ValueError, match=message):
        check()


@pytest.mark.parametrize("value", ["a", None, [1.0], {}, True, 1j, np.nan])
def test_arguments_of_any_other_type_are_named(value):
    for check in (
        arguments.check_integer,
        arguments.check_limit,
        arguments.check_penalty,
        arguments.check_rate,
    ):
        with pytest.raises(ValueError, match="Received: given="):
            check(given=value)
