"""What makes a score look better than it is."""

import numpy as np
import pytest

from kbp.data import Examples, Splits
from kbp.data.checks.leaks import absent_classes, shared_examples
from kbp.errors import UserError
from kbp.recipes import Recipe
from kbp.tasks.classification import Classification

RNG = np.random.default_rng(0)
IMAGES = RNG.random((64, 8, 8, 1), "float32")
LABELS = np.arange(64) % 3


def part(indices):
    return Examples(IMAGES[indices], LABELS[indices])


def task(train, validation, test):
    splits = Splits(part(train), part(validation), part(test), tuple("abc"))
    return Classification(Recipe(), splits)


def test_splits_apart_are_fine():
    made = task(range(40), range(40, 50), range(50, 64))
    assert made.warnings() == []


def test_examples_of_two_splits_are_counted():
    made = task(range(40), range(35, 50), [*range(50, 64), 39, 36])
    both = made.warnings()
    assert [text.partition(":")[0] for text in both] == [
        "5 of 15 validation examples are in the train split too (the first is "
        "number 0)",
        "2 of 16 test examples are in the train split too (the first is number "
        "14)",
        "2 of 16 test examples are in the validation split too (the first is "
        "number 14)",
    ]


def test_a_copy_is_found_whatever_its_layout():
    rows = np.asfortranarray(IMAGES[:, :, 0, 0])
    assert len(shared_examples({"train": rows, "test": rows[5:6].copy()})) == 1
    assert shared_examples({"train": rows, "test": rows[5:6] + 1e-6}) == []


def test_absent_classes_are_named():
    made = task(range(40), range(40, 50), [51, 54, 57])
    assert made.warnings() == ["The test split has no example of 'b', 'c'."]
    with pytest.raises(UserError, match=r"train split .* 'a'\. Nothing could"):
        task([i for i in range(64) if i % 3], [0], [3]).warnings()
    assert absent_classes({"test": np.array([], int)}, ("a", "b")) == []
