"""The command compares a recipe's gradients, and says what is wrong."""

import keras
import pytest

from kbp.__main__ import main
from kbp.tasks.classification import Classification

WORDS = ["check-gradients", "pyramid_bpnet_tiny.digits", "--samples", "3"]


@pytest.mark.long
def test_a_recipe_has_right_gradients(capsys):
    assert main([*WORDS, "--variables", "logits", "fusion"]) == 0
    said = capsys.readouterr().out
    assert "logits/kernel" in said
    assert "3 of 160" in said
    assert "right" in said
    assert "wrong" not in said
    assert "scale0" not in said


@pytest.mark.long
def test_a_wrong_gradient_is_status_1(monkeypatch, capsys):
    @keras.ops.custom_gradient
    def wrong(x):
        def gradient(*args, upstream=None):
            return (args[0] if upstream is None else upstream) * 1.1

        return x + 0.0, gradient

    class Wrong(keras.losses.Loss):
        def call(self, y_true, y_pred):
            return keras.ops.sum(wrong(y_pred) ** 2, axis=-1)

    monkeypatch.setattr(Classification, "make_loss", lambda task: Wrong())
    assert main([*WORDS, "--variables", "logits"]) == 1
    assert "wrong" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--variables", "head"], "`variables` must name trained variables"),
        (["--examples", "0"], "must be a whole number, 1 or more"),
        (["--set", "model.size=huge"], "`size` must be one of"),
    ],
)
def test_what_is_wrong_is_one_line(more, words, capsys):
    try:
        status = main([*WORDS, *more])
    except SystemExit as end:
        status = end.code
    assert status == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1
