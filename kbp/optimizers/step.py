"""One step of HybridOptimizer: its variables and the order of its parts."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import keras
import numpy as np
from keras import ops

from kbp._utils.types import Tensor
from kbp.optimizers import execution
from kbp.optimizers.execution import State
from kbp.optimizers.groups import Group, Route, make_groups
from kbp.optimizers.math import corrections
from kbp.optimizers.observing import Observation
from kbp.optimizers.update import Update, accumulate, average

_MOMENTS = ("momentum", "velocity", "maximum")


class Step:
    """Updates the weights by summed gradients, on each replica.

    Args:
        optimizer: the built `HybridOptimizer`; its settings are read here.
        weights: the trainable variables.
        routes: the rules that update them.
        undecayed: indices of the variables without weight decay.
        sums: variables of accumulated gradients, if they are accumulated.
        averages: variables of averaged weights, if they are averaged.

    Attributes:
        moments: for each group the variables of its moments.
        counts: variables that count the updates and the skipped steps, in
            all and in a row; and, of an optimizer with noise, the first update
            that may have some again, `calm_from`.
        observation: that measures gradients, if any does.
    """

    observation: Observation | None = None

    def __init__(
        self,
        optimizer: keras.optimizers.Optimizer,
        weights: Sequence[keras.Variable],
        routes: Sequence[Route],
        undecayed: Sequence[int],
        *,
        sums: Sequence[keras.Variable] | None,
        averages: Sequence[keras.Variable] | None,
    ):
        self.optimizer = optimizer
        self.weights = weights
        self.routes = routes
        self.undecayed = undecayed
        self.sums, self.averages = sums, averages
        self.execution = execution.create()
        self.groups = make_groups(weights, routes, fuse=self.execution.fuses)
        self.moments = [
            [
                self.execution.add_variable(
                    optimizer, weights[group.indices[0]], group.shape, name
                )
                for name in self.names_of_moments(group)
            ]
            for group in self.groups
        ]
        self.counts = {
            name: self.execution.add_variable(
                optimizer, optimizer._iterations, (), name
            )
            for name in ("updates", "skipped", "skipped_in_a_row")
        }
        if optimizer.perturbation:
            self.counts["calm_from"] = self.execution.add_variable(
                optimizer, optimizer._iterations, (), "calm_from"
            )
        self.parts = self.make_parts()

    def names_of_moments(self, group: Group) -> tuple[str, ...]:
        """Return the names of the moments that a group's rule needs."""
        if group.matrix or self.optimizer.preconditioner_power == 0:
            return _MOMENTS[:1]
        return _MOMENTS[:2] if self.optimizer.amsgrad_decay == 0 else _MOMENTS

    def make_parts(self) -> list[tuple[list[int], Callable[..., None]]]:
        """Return the updates: which groups each serves, and its function."""
        parts = []
        for single in (True, False):
            numbers = [
                number
                for number, group in enumerate(self.groups)
                if group.is_single == single
            ]
            if numbers:
                groups = [self.groups[number] for number in numbers]
                update = Update(groups, self.optimizer, self.undecayed)
                parts.append((numbers, self.execution.compile(update.apply)))
        return parts

    def run(
        self, gradients: Mapping[int, Tensor], learning_rate: Tensor
    ) -> None:
        """Take a step.

        Args:
            gradients: this replica's gradients, by the index of their
                variables.
            learning_rate: scalar tensor.
        """
        gradients = {
            i: ops.cast(self.execution.dense(g), self.weights[i].dtype)
            for i, g in gradients.items()
        }
        state: State = {
            "weights": self.weights,
            "moments": self.moments,
            "counts": self.counts,
            "iterations": self.optimizer._iterations,
            "sums": self.sums or [],
            "averages": self.averages or [],
            "figures": [self.observation.figures] if self.observation else [],
        }
        self.execution.run(self.take, gradients, learning_rate, state)

    def take(
        self,
        gradients: Mapping[int, Tensor],
        learning_rate: Tensor,
        state: State,
    ) -> None:
        """Take a step with summed gradients, on one replica's variables."""
        optimizer = self.optimizer
        micro_steps = optimizer.gradient_accumulation_steps or 1
        joined = [group.join_some(gradients) for group in self.groups]
        # So many of them, added, still have squares that are finite.
        norm = self.execution.squared_norm(joined)
        finite = accept = ops.isfinite(norm * float(micro_steps) ** 2)
        if self.observation:
            self.observation.look(gradients, state)
        if micro_steps > 1:
            accept = ops.equal((state["iterations"] + 1) % micro_steps, 0)
            # Where all micro-batches are left out, there is nothing to follow.
            some = state["counts"]["skipped_in_a_row"] + 1 < micro_steps
            accept = ops.logical_and(accept, ops.logical_or(finite, some))
            gradients = accumulate(
                gradients, state["sums"], finite, accept, micro_steps
            )
            joined = [group.join_some(gradients) for group in self.groups]
            if optimizer.perturbation:
                norm = self.execution.squared_norm(joined)
        clips = (
            optimizer.clipnorm
            or optimizer.global_clipnorm
            or optimizer.clipvalue
        )
        if clips:
            clipped = optimizer._clip_gradients(list(gradients.values()))
            gradients = dict(zip(gradients, clipped, strict=True))
            joined = [group.join_some(gradients) for group in self.groups]
        self.update(gradients, joined, learning_rate, accept, state)
        if self.optimizer.perturbation:
            self.perturb(norm, accept, [*gradients], state)
        if self.averages:
            self.average(accept, state)
        self.count(finite, accept, state["counts"])

    def update(
        self,
        gradients: Mapping[int, Tensor],
        joined: list[Tensor],
        learning_rate: Tensor,
        accept: Tensor,
        state: State,
    ) -> None:
        """Update the weights and moments of all groups."""
        optimizer, weights = self.optimizer, state["weights"]
        factors = corrections(
            ops.cast(state["counts"]["updates"] + 1, "float32"),
            optimizer.beta_1,
            optimizer.beta_2,
            optimizer.preconditioner_power,
        )
        for numbers, update in self.parts:
            groups = [self.groups[number] for number in numbers]
            update(
                tuple(sorted(gradients)),
                [joined[number] for number in numbers],
                [[weights[i] for i in group.indices] for group in groups],
                [state["moments"][number] for number in numbers],
                [learning_rate, *factors],
                accept,
            )

    def perturb(
        self, norm: Tensor, accept: Tensor, moved: list[int], state: State
    ) -> None:
        """Add noise to the weights where the gradient has stayed small.

        Args:
            norm: the gradient's square.
            accept: boolean tensor, whether this is an update.
            moved: indices of the weights that have a gradient.
            state: see `take`.
        """
        perturbation, counts = self.optimizer.perturbation, state["counts"]
        updates, calm_from = counts["updates"], counts["calm_from"]
        due = ops.logical_and(accept, norm <= perturbation.threshold**2)
        due = ops.logical_and(due, updates >= calm_from)
        weights = [state["weights"][i] for i in moved]
        noise = ops.cond(
            due,
            lambda: perturbation.noise(weights, updates),
            lambda: [ops.zeros_like(w) for w in weights],
        )
        for weight, part in zip(weights, noise, strict=True):
            weight.assign(weight + part)
        later = updates + perturbation.patience
        calm_from.assign(ops.where(due, later, calm_from))

    def average(self, accept: Tensor, state: State) -> None:
        """Update the averaged weights; overwrite the weights when due."""
        updates = ops.convert_to_tensor(state["counts"]["updates"])
        every = self.optimizer.ema_overwrite_frequency
        average(
            state["weights"],
            state["averages"],
            accept,
            ops.equal(updates, 0),
            self.momentum_of_average(updates),
            ops.equal((updates + 1) % every, 0) if every else None,
        )

    def momentum_of_average(self, updates: Tensor) -> Tensor | float:
        """Return the share of the average that stays after so many updates."""
        start = self.optimizer.average_from
        if start is None:
            momentum: float = self.optimizer.ema_momentum
            return momentum
        taken = ops.cast(ops.maximum(updates - start, 0), "float32")
        return taken / (taken + 1.0)

    def count(
        self, finite: Tensor, accept: Tensor, counts: dict[str, keras.Variable]
    ) -> None:
        """Count the step as taken or skipped."""
        updates, skipped, in_a_row = (
            counts[name] for name in ("updates", "skipped", "skipped_in_a_row")
        )
        bad = 1 - ops.cast(finite, skipped.dtype)
        updates.assign(updates + ops.cast(accept, updates.dtype))
        skipped.assign(skipped + bad)
        in_a_row.assign((in_a_row + 1) * bad)
        most = self.optimizer.max_skipped_steps + self.optimizer.expected_skips
        self.execution.check(in_a_row, min(most, 2**31 - 1))

    def describe(self) -> str:
        """Return a line for each variable; see the optimizer's method."""
        lines = {
            i: self.describe_variable(i, group)
            for group in self.groups
            for i in group.indices
        }
        return "\n".join(line for _, line in sorted(lines.items()))

    def describe_variable(self, i: int, group: Group) -> str:
        """Return the line of one variable."""
        variable, route = self.weights[i], self.routes[i]
        others = len(group.indices) - 1
        where = f"with {others} others" if others else "alone"
        path = "fast path" if self.execution.fuses else "reference path"
        decays = self.optimizer.weight_decay and i not in self.undecayed
        return (
            f"{getattr(variable, 'path', variable.name)} "
            f"{tuple(variable.shape)}: "
            f"{'matrix' if route.matrix else 'elementwise'} ({route.why}), "
            f"{path} ({self.execution.reason}, {where}), "
            f"{'decays' if decays else 'no decay'}"
        )

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the state by name, each moment in its variables' shapes.

        The grouping of variables depends on backend and machine; the saved
        state does not.
        """
        arrays = {
            name: ops.convert_to_numpy(variable)
            for name, variable in self.whole().items()
        }
        for group, name, moment in self.grouped():
            parts = group.split(ops.convert_to_numpy(moment))
            for i, part in zip(group.indices, parts, strict=True):
                arrays[f"{name}_{i}"] = np.asarray(part)
        return arrays

    def load(self, store: Mapping[str, np.ndarray]) -> None:
        """Take the state that `arrays` gave.

        Raises:
            ValueError: the state is that of other variables or settings.
        """
        expected = {name: a.shape for name, a in self.arrays().items()}
        # Keras's store has keys, but is not iterable itself.
        names = list(store.keys())
        given = {name: tuple(store[name].shape) for name in names}
        for name in sorted(expected.keys() | given.keys()):
            if expected.get(name) != given.get(name):
                raise ValueError(
                    "The saved state does not fit this optimizer: the shape of "
                    f"{name} is {given.get(name)} in the file and "
                    f"{expected.get(name)} here (None: there is no such "
                    "array). Build it with the same variables and arguments."
                )
        for name, variable in self.whole().items():
            variable.assign(np.asarray(store[name]))
        for group, name, moment in self.grouped():
            parts = [np.asarray(store[f"{name}_{i}"]) for i in group.indices]
            moment.assign(group.join(parts))

    def grouped(self) -> Iterator[tuple[Group, str, keras.Variable]]:
        """Yield each variable of moments with its group and its name."""
        for group, moments in zip(self.groups, self.moments, strict=True):
            names = self.names_of_moments(group)
            for name, moment in zip(names, moments, strict=True):
                yield group, name, moment

    def whole(self) -> dict[str, keras.Variable]:
        """Return the variables that are saved as they are, by name."""
        named = {"iterations": self.optimizer._iterations, **self.counts}
        learning_rate = self.optimizer._learning_rate
        if isinstance(learning_rate, keras.Variable):  # not a schedule
            named["learning_rate"] = learning_rate
        for name, variables in (("sum", self.sums), ("average", self.averages)):
            for i, variable in enumerate(variables or []):
                if variable is not None:
                    named[f"{name}_{i}"] = variable
        return named
