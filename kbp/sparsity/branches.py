"""Leave whole residual branches out of a trained network."""

import math
import sys
from collections.abc import Callable, Mapping
from functools import cached_property, partial
from typing import Any

import keras
import numpy as np

from kbp import graph
from kbp._compat import compiled_with
from kbp._utils.arguments import check_one_of
from kbp._utils.types import Shape, Tensor
from kbp.errors import UserError
from kbp.sparsity.channels.cost import (
    COSTS,
    Table,
    check_table,
    multiply_adds,
)

_MOST = sys.float_info.max
# Of uses that add two tensors, by their numbers, which one is left out.
_Gone = Mapping[int, int]


def drop_branches(
    model: keras.Model,
    x: Any = None,
    y: Any = None,
    *,
    share: float,
    measure: str = "multiply_adds",
    table: Table | None = None,
    train: Callable[[keras.Model], Any] | None = None,
    **arguments: Any,
) -> keras.Model:
    """Leave residual branches out of a trained network, whose skips stay.

    Where two tensors are added, the one that more is computed for is a branch;
    without it the sum is the other one. Branches go one by one: the next is
    the one without which the loss on the examples rises the least for what
    that saves. Few layers with many channels are often better than many with
    few, and faster: so leave branches out first, then prune channels, then
    train on.

    Args:
        model: a compiled, trained model; left as it is.
        x: examples, in any form that `evaluate` can take again and again; some
            thousands are enough.
        y: targets, of arrays.
        share: of the whole network's cost that goes at least, in [0, 1).
        measure: what it costs: `"parameters"`, `"multiply_adds"` or
            `"latency"`.
        table: with the measure `"latency"`, what
            `kbp.export.latency_table(model)` gave. It serves for the new model
            as well.
        train: `train(model)` compiles and trains what is left, after each
            branch that goes; a few hundred steps let the network recover, and
            tell better what it can spare next.
        **arguments: others of `evaluate`, such as `steps`.

    Returns:
        A new model, not compiled, whose other layers have the same names and
        weights.

    Raises:
        ValueError: an argument is out of range.
        UserError: the model is not compiled, or its branches are a smaller
            share.

    Example:
    >>> import keras, numpy as np, kbp
    >>> inputs = keras.Input((4,))
    >>> x = inputs
    >>> for number in range(3):
    ...     branch = keras.layers.Dense(4, name=f"branch_{number}")
    ...     x = keras.layers.Add()([x, branch(x)])
    >>> model = keras.Model(inputs, keras.layers.Dense(1)(x))
    >>> model.get_layer("branch_1").set_weights([np.zeros((4, 4)), np.zeros(4)])
    >>> model.compile("sgd", "mse")
    >>> x = np.random.default_rng(0).normal(size=(8, 4))
    >>> y = model.predict(x, verbose=0)
    >>> small = kbp.sparsity.drop_branches(model, x, y, share=0.2)
    >>> [layer.name for layer in small.layers if "branch" in layer.name]
    ['branch_0', 'branch_2']

    Reference:
        Residual networks act like ensembles of shallower ones: Veit, Wilber
        and Belongie, Residual Networks Behave Like Ensembles of Relatively
        Shallow Networks, 2016.
    """
    if not 0 <= share < 1:
        raise ValueError(
            f"Argument `share` must be in [0, 1). Received: share={share}"
        )
    check_one_of(COSTS, measure=measure)
    check_table(measure, table)
    _check_compiled(model)
    network = _Network(model, measure, table)
    goal = network.goal(share)
    while network.cost({}) > goal:
        switched = _Switched(network, compiled_with(model))
        loss = partial(switched.loss, x=x, y=y, arguments=arguments)
        most = len(network.branches) if train is None else 1
        model = network.without(_spared(network, goal, loss, most))
        if train is None:
            return model
        train(model)
        _check_compiled(model)
        network = _Network(model, measure, table)
    return network.without({})


def _check_compiled(model: keras.Model) -> None:
    if not model.compiled:
        raise UserError(
            f"Model {model.name} must be compiled with a loss before branches "
            "are left out: call `model.compile`."
        )


def _spared(
    network: "_Network", goal: float, loss: Callable[[_Gone], float], most: int
) -> _Gone:
    """Return the branches whose going costs least, one chosen after another.

    Args:
        network: that has them.
        goal: cost of the network at which it is enough.
        loss: `loss(gone)`, without some branches.
        most: number of branches that may go.
    """
    gone: dict[int, int] = {}
    cost, now = network.cost(gone), loss(gone)
    while cost > goal and len(gone) < most:
        losses, rises = {}, {}
        for number, index in network.branches.items():
            saved = cost - network.cost({**gone, number: index})
            if number not in gone and saved > 0:
                losses[number] = loss({**gone, number: index})
                rises[number] = (losses[number] - now) / saved
        best = min(rises, key=lambda number: rises[number])
        gone[best], now = network.branches[best], losses[best]
        cost = network.cost(gone)
    return gone


def check_branches(
    model: keras.Model, share: float, measure: str, table: Table | None
) -> None:
    """Raise a UserError if a network's branches are a smaller share.

    Args:
        model: the network, trained or not.
        share: see `drop_branches`.
        measure: see `drop_branches`.
        table: see `drop_branches`.
    """
    _Network(model, measure, table).goal(share)


class _Network:
    """A network's uses of layers, and what it costs without some branches.

    Args:
        model: of Keras's layers.
        measure: see `drop_branches`.
        table: see `drop_branches`.
    """

    def __init__(self, model: keras.Model, measure: str, table: Table | None):
        self.model, self.nodes = graph.retraced(graph.flatten(model))
        self.measure, self.table = measure, table
        self.producer = {
            id(x): number
            for number, node in enumerate(self.nodes)
            for x in node.outputs
        }

    def needed(self, gone: _Gone) -> tuple[set[int], set[int]]:
        """Return the uses that outputs need, and the model's inputs."""
        uses: set[int] = set()
        begins: set[int] = set()
        todo = [*self.model.outputs]
        while todo:
            tensor = todo.pop()
            number = self.producer.get(id(tensor))
            if number is None:
                begins.add(id(tensor))
            elif number not in uses:
                uses.add(number)
                todo += [
                    x
                    for index, x in enumerate(self.nodes[number].inputs)
                    if gone.get(number) != index
                ]
        return uses, begins

    def cost(self, gone: _Gone) -> float:
        """Return the cost of what is left."""
        nodes = [self.nodes[number] for number in self.needed(gone)[0]]
        if self.table is not None:
            left = {node.operation.name for node in nodes}
            together = sum(
                operation.milliseconds
                for operation in self.table.operations
                if operation.layer in left or not operation.layer
            )
            return float(self.table.whole(together))
        if self.measure == "multiply_adds":
            return float(sum(map(multiply_adds, nodes)))
        weights = {
            id(weight): math.prod(weight.shape)
            for node in nodes
            for weight in getattr(node.operation, "weights", ())
        }
        return float(sum(weights.values()))

    @cached_property
    def branches(self) -> dict[int, int]:
        """What may be left out, see `_Gone`."""
        whole, (_, begins) = self.cost({}), self.needed({})
        found = {}
        for number, node in enumerate(self.nodes):
            if type(node.operation).__name__ != "Add" or not _is_plain(node):
                continue
            saved = [whole - self.cost({number: i}) for i in range(2)]
            index = 0 if saved[0] > saved[1] else 1
            left = self.needed({number: index})[1]
            if saved[index] > 0 and left == begins:
                found[number] = index
        return found

    def goal(self, share: float) -> float:
        """Return the cost of what is left when a share of it is gone.

        Raises:
            UserError: all branches are a smaller share.
        """
        whole, least = self.cost({}), self.cost(self.branches)
        goal = (1 - share) * whole
        if least > goal:
            raise UserError(
                f"All branches of model {self.model.name} whose skips stay are "
                f"{1 - least / whole:.0%} of its {self.measure}. Received: "
                f"share={share}"
            )
        return goal

    def without(self, gone: _Gone) -> keras.Model:
        """Return a model of new layers without some branches."""
        call = self.joining(gone, lambda number, skip, branch: skip)
        return graph.replace_layers(self.model, graph.clone_layer, call=call)

    def joining(
        self, branches: _Gone, join: Callable[[int, Any, Any], Any]
    ) -> Callable[..., Any]:
        """Return the `call` of a rewriting that joins branches otherwise.

        Args:
            branches: to join by `join(number, skip, branch) -> tensor`.
            join: which is given the number of the use that adds them.
        """
        numbers = iter(range(len(self.nodes)))

        def call(layer: keras.Operation, *args: Any, **kwargs: Any) -> Any:
            number = next(numbers)
            if number not in branches:
                return layer(*args, **kwargs)
            inputs, index = graph.tensors_of((args, kwargs)), branches[number]
            return join(number, inputs[1 - index], inputs[index])

        return call


class _Switched:
    """The network with a switch at the end of each branch.

    Args:
        network: whose layers are used.
        compiled: what to compile it with.
    """

    def __init__(self, network: _Network, compiled: dict[str, Any]):
        self.switches = {number: _Switch() for number in network.branches}
        self.model = graph.rewrite(
            network.model,
            call=network.joining(
                network.branches,
                lambda number, skip, branch: (
                    skip + self.switches[number](branch)
                ),
            ),
        )
        self.model.compile(**compiled)

    def loss(
        self, gone: _Gone, x: Any, y: Any, arguments: Mapping[str, Any]
    ) -> float:
        """Return the loss on examples without some branches."""
        for number, switch in self.switches.items():
            switch.open.assign(0.0 if number in gone else 1.0)
        found = self.model.evaluate(
            x, y, **{"verbose": 0, **arguments}, return_dict=True
        )
        return min(np.nan_to_num(found["loss"], nan=_MOST), _MOST)


class _Switch(keras.layers.Layer):
    """Give the inputs, or zeros."""

    def build(self, input_shape: Shape) -> None:
        self.open = self.add_weight(
            shape=(), initializer="ones", trainable=False, name="open"
        )

    def call(self, inputs: Tensor) -> Tensor:
        return inputs * keras.ops.cast(self.open, inputs.dtype)


def _is_plain(node: graph.Node) -> bool:
    """Say whether a use adds two tensors of its result's shape."""
    shapes = {tuple(x.shape) for x in (*node.inputs, *node.outputs)}
    return len(node.inputs) == 2 and len(shapes) == 1
