"""Layers that add what they compute to a skip, or in training drop it."""

from typing import Any

import keras

from kbp._utils.arguments import check_rate
from kbp._utils.types import Shape, Tensor
from kbp.layers.composite import Composite


class Branch(Composite):
    """Base of layers `y = branch(x) + skip` whose branch can be dropped.

    In training single values of the branch are zero with the probability
    `dropout`, and all of an example's with the probability `stochastic_depth`;
    what is left is divided by the probability to stay, so that the expected
    branch is the branch. At inference nothing is dropped. Both are Keras's
    Dropout, in the second case of one draw for each example: pruning,
    quantization and export know it, and files are without it.

    Args:
        dropout: rate in [0, 1).
        stochastic_depth: rate in [0, 1).
        **kwargs: of `Composite`.

    Reference:
        Srivastava et al., Dropout, 2014; Huang et al., Deep Networks with
        Stochastic Depth, 2016.
    """

    def __init__(
        self,
        *,
        dropout: float = 0.0,
        stochastic_depth: float = 0.0,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        check_rate(dropout=dropout, stochastic_depth=stochastic_depth)
        self.dropout, self.stochastic_depth = dropout, stochastic_depth
        self.drops: list[keras.layers.Layer] = []

    def build_drops(self, shape: Shape) -> None:
        """Make the layers that drop, once the branch's shape is known."""
        by_example = (None, *[1] * (len(shape) - 1))
        for name, rate, noise_shape in (
            ("dropout", self.dropout, None),
            ("stochastic_depth", self.stochastic_depth, by_example),
        ):
            if rate:
                drop = keras.layers.Dropout(
                    rate,
                    noise_shape,
                    name=self.part(name),
                    dtype=self.dtype_policy,
                )
                drop.build(shape)
                self.drops.append(drop)

    def dropped(self, branch: Tensor) -> Tensor:
        """Return what is left of the branch."""
        for drop in self.drops:
            branch = drop(branch)
        return branch

    def get_config(self) -> dict[str, Any]:
        rates = {
            "dropout": self.dropout,
            "stochastic_depth": self.stochastic_depth,
        }
        return super().get_config() | {k: v for k, v in rates.items() if v}
