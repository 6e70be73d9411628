"""Every layer keeps Keras's contract."""

import pytest
from contracts import check_layer
from layer_cases import CASES

from kbp import layers


@pytest.mark.long
@pytest.mark.parametrize("case", CASES)
def test_layer_keeps_the_contract(case, tmp_path):
    make, shapes, state = CASES[case]
    check_layer(make, *shapes, tmp_path=tmp_path, state=state)


def test_fusion_keeps_the_contract(tmp_path):
    check_layer(
        lambda: layers.FeatureFusion(4, activation="tanh"),
        (8, 8, 2),
        (4, 4, 3),
        (2, 2, 5),
        tmp_path=tmp_path,
        listed=True,
    )
