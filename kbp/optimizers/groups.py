"""Grouping of variables that are updated together, and choice of their rule."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

from kbp._utils.types import Tensor

# A variable of so many elements is updated by itself: XLA takes about 10 us for
# each variable, in which as many elements can be copied to a group's tensor.
_LARGE = 2**15
# Kernels whose columns are no outputs of a matrix product.
_NOT_MATRICES = ("embedding", "depthwise")


@dataclass(frozen=True)
class Group:
    """Variables whose moments form one tensor.

    Attributes:
        indices: positions of the variables among the trainable ones.
        shapes: shapes of the variables.
        matrix: whether they take orthogonalized (Muon-style) updates; then
            all have as many rows and columns.
    """

    indices: tuple[int, ...]
    shapes: tuple[tuple[int, ...], ...]
    matrix: bool = False

    @property
    def sizes(self) -> list[int]:
        """The number of elements of each variable."""
        return [math.prod(shape) for shape in self.shapes]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the moments: a single variable's own, or flat."""
        return self.shapes[0] if self.is_single else (sum(self.sizes),)

    @property
    def matrices(self) -> tuple[int, int, int]:
        """The shape of all kernels as matrices, one after another."""
        return (len(self.indices), *_sides(self.shapes[0]))

    @property
    def is_single(self) -> bool:
        """Whether the group has one variable alone."""
        return len(self.indices) == 1

    def is_whole(self, present: Collection[int]) -> bool:
        """Whether all its variables are among some indices."""
        return all(i in present for i in self.indices)

    def is_missing(self, present: Collection[int]) -> bool:
        """Whether none of its variables is among some indices."""
        return not any(i in present for i in self.indices)

    def join(self, tensors: Sequence[Tensor]) -> Tensor:
        """Return the group's tensor, made of one tensor for each variable."""
        if self.is_single:
            return tensors[0]
        flat = [
            x if len(x.shape) == 1 else ops.reshape(x, (-1,)) for x in tensors
        ]
        return ops.concatenate(flat)

    def join_some(self, tensors: Mapping[int, Tensor]) -> Tensor:
        """Return the group's tensor, with zeros for variables without one."""
        dtype = next(
            (tensors[i].dtype for i in self.indices if i in tensors), None
        )
        return self.join(
            [
                tensors[i] if i in tensors else ops.zeros(shape, dtype)
                for i, shape in zip(self.indices, self.shapes, strict=True)
            ]
        )

    def split(self, tensor: Tensor) -> list[Tensor]:
        """Return the parts of a group's tensor, in the variables' shapes."""
        if self.is_single:
            return [tensor]
        parts, start = [], 0
        for shape, size in zip(self.shapes, self.sizes, strict=True):
            parts.append(ops.reshape(tensor[start : start + size], shape))
            start += size
        return parts


@dataclass(frozen=True)
class Route:
    """The rule that updates a variable.

    Attributes:
        matrix: whether the variable takes orthogonalized (Muon-style) updates.
        why: the reason, for `HybridOptimizer.describe`.
    """

    matrix: bool
    why: str


def choose_routes(
    variables: Sequence[keras.Variable], choice: bool | Sequence[bool]
) -> list[Route]:
    """Choose the rule of each variable by its shape and name.

    Paths would not do: they differ before and after a model is saved.

    Args:
        variables: the trainable variables.
        choice: `True` for the orthogonalized update of every kernel that is a
            matrix, `False` for none, or one bool for each variable.

    Raises:
        ValueError: there are more or fewer bools than variables, or `True` for
            a variable of less than two dimensions.
    """
    if choice is False:
        return [Route(False, "no matrix steps")] * len(variables)
    if choice is True:
        kernels = [i for i, v in enumerate(variables) if len(v.shape) >= 2]
        return [
            # The last layer's columns are classes, whose frequencies matter.
            Route(False, "the last kernel") if i in kernels[-1:] else _route(v)
            for i, v in enumerate(variables)
        ]
    if len(choice) != len(variables):
        raise ValueError(
            "Argument `matrix_steps` must be a bool, or one for each trainable "
            f"variable. Received: {len(choice)} for {len(variables)} variables."
        )
    for variable, matrix in zip(variables, choice, strict=True):
        if matrix and len(variable.shape) < 2:
            raise ValueError(
                "Argument `matrix_steps` must be False for variables of less "
                f"than two dimensions. Received: True for {variable.name} of "
                f"shape {tuple(variable.shape)}."
            )
    return [Route(matrix, "chosen") for matrix in choice]


def _route(variable: keras.Variable) -> Route:
    shape = tuple(variable.shape)
    if len(shape) < 2:
        return Route(False, "no matrix")
    for word in _NOT_MATRICES:
        if word in variable.name:
            return Route(False, f"named {variable.name}")
    rows, columns = _sides(shape)
    if min(rows, columns) == 1:
        return Route(False, "a single row or column")
    return Route(True, f"a matrix of {rows} x {columns}")


def make_groups(
    variables: Sequence[keras.Variable], routes: Sequence[Route], *, fuse: bool
) -> list[Group]:
    """Gather small variables in groups, one for each dtype.

    Kernels that take orthogonalized updates are gathered by their rows and
    columns: their products are then one batch, which takes a third of the time
    and a tenth of the time to compile.

    Args:
        variables: the trainable variables; those that are overwritten by their
            gradients have no group.
        routes: rules of the variables.
        fuse: whether others are gathered; otherwise each is a group of its own.
    """
    groups: list[Group] = []
    gathered: dict[tuple[Any, ...], list[int]] = {}
    for i, variable in enumerate(variables):
        if getattr(variable, "overwrite_with_gradient", False):
            continue
        shape, matrix = tuple(variable.shape), routes[i].matrix
        if not matrix and (not fuse or math.prod(shape) >= _LARGE):
            groups.append(_group(variables, [i]))
            continue
        sides = _sides(shape) if matrix else ()
        gathered.setdefault((str(variable.dtype), *sides), []).append(i)
    return groups + [
        _group(variables, members, matrix=len(key) > 1)
        for key, members in gathered.items()
    ]


def _sides(shape: tuple[int, ...]) -> tuple[int, int]:
    """Return the rows and columns of a kernel as a matrix."""
    return math.prod(shape[:-1]), shape[-1]


def _group(
    variables: Sequence[keras.Variable],
    indices: Sequence[int],
    matrix: bool = False,
) -> Group:
    shapes = tuple(tuple(variables[i].shape) for i in indices)
    return Group(tuple(indices), shapes, matrix)


def decay_kernels_alone(optimizer: Any, model: Any) -> None:
    """Exclude all variables of less than two dimensions from weight decay.

    The next layer can undo the scale of a kernel, but not that of a bias, of a
    normalization's scale or of a mask's threshold.

    Args:
        optimizer: an optimizer of Keras or tf_keras, not built yet.
        model: the model that it trains.
    """
    optimizer.exclude_from_weight_decay(
        [v for v in model.trainable_variables if len(v.shape) < 2]
    )
