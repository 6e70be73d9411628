"""Which variables are updated together, and by which rule."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import keras
from keras import ops

from kbp._utils.types import Tensor

# Elements of a variable that needs no company. XLA takes about 10 us for each
# that it is given, in which as many elements can be copied.
_ALONE = 2**15
# Kernels whose columns are no outputs of a matrix product.
_NOT_MATRICES = ("embedding", "depthwise")


@dataclass(frozen=True)
class Group:
    """Variables whose moments lie in one tensor.

    Attributes:
        indices: of the variables, as the optimizer was built with them.
        shapes: theirs.
        matrix: whether the rule of matrix steps updates them.
    """

    indices: tuple[int, ...]
    shapes: tuple[tuple[int, ...], ...]
    matrix: bool = False

    @property
    def sizes(self) -> list[int]:
        """Elements of each variable."""
        return [math.prod(shape) for shape in self.shapes]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the moments: a single variable's own, or flat."""
        return self.shapes[0] if self.is_single else (sum(self.sizes),)

    @property
    def is_single(self) -> bool:
        """Whether there is but one variable."""
        return len(self.indices) == 1

    def is_whole(self, present: Collection[int]) -> bool:
        """Whether all its variables are among some indices."""
        return all(i in present for i in self.indices)

    def is_missing(self, present: Collection[int]) -> bool:
        """Whether none of its variables is among some indices."""
        return not any(i in present for i in self.indices)

    def join(self, tensors: Sequence[Tensor]) -> Tensor:
        """Return one tensor of the variables' tensors, one for each."""
        if self.is_single:
            return tensors[0]
        flat = [
            x if len(x.shape) == 1 else ops.reshape(x, (-1,)) for x in tensors
        ]
        return ops.concatenate(flat)

    def join_some(self, tensors: Mapping[int, Tensor]) -> Tensor:
        """Return one tensor of tensors by index; zeros for those missing."""
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
        """Return each variable's part of a tensor, in its shape."""
        if self.is_single:
            return [tensor]
        parts, start = [], 0
        for shape, size in zip(self.shapes, self.sizes, strict=True):
            parts.append(ops.reshape(tensor[start : start + size], shape))
            start += size
        return parts


@dataclass(frozen=True)
class Route:
    """Which rule updates a variable, and why.

    Attributes:
        matrix: whether it takes matrix steps.
        why: for people.
    """

    matrix: bool
    why: str


def choose_routes(
    variables: Sequence[keras.Variable], choice: bool | Sequence[bool]
) -> list[Route]:
    """Choose the rule of each variable, by shape and name, never by path.

    Paths differ before and after a model is saved; a weight's own name and
    shape do not.

    Args:
        variables: the trainable variables.
        choice: `False`, `True` for every kernel that is a matrix, or one
            answer for each variable.

    Raises:
        ValueError: there are more or fewer answers than variables, or a
            variable of less than two dimensions is chosen.
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
    rows, columns = math.prod(shape[:-1]), shape[-1]
    if min(rows, columns) == 1:
        return Route(False, "a single row or column")
    return Route(True, f"a matrix of {rows} x {columns}")


def make_groups(
    variables: Sequence[keras.Variable], routes: Sequence[Route], *, fuse: bool
) -> list[Group]:
    """Gather small variables of the elementwise rule, a group for each dtype.

    Args:
        variables: the trainable variables; those that are overwritten by their
            gradients have no group.
        routes: theirs; each that takes matrix steps is a group of its own.
        fuse: whether to gather; else every group is a single variable.
    """
    groups: list[Group] = []
    gathered: dict[str, list[int]] = {}
    for i, variable in enumerate(variables):
        if getattr(variable, "overwrite_with_gradient", False):
            continue
        size = math.prod(variable.shape)
        if routes[i].matrix or not fuse or size >= _ALONE:
            groups.append(_group(variables, [i], routes[i].matrix))
            continue
        gathered.setdefault(str(variable.dtype), []).append(i)
    groups += [_group(variables, members) for members in gathered.values()]
    return groups


def _group(
    variables: Sequence[keras.Variable],
    indices: Sequence[int],
    matrix: bool = False,
) -> Group:
    shapes = tuple(tuple(variables[i].shape) for i in indices)
    return Group(tuple(indices), shapes, matrix)
