"""Placing quantizers where LiteRT rounds."""

import math
from typing import Any

import keras

from kbp import graph
from kbp.quantization.bias import GridNormalization, QuantizedLayer
from kbp.quantization.fake_quantize import FakeQuantize
from kbp.quantization.float_gate import FloatGate, One
from kbp.quantization.placement import rules, scales
from kbp.quantization.policy import QuantizationPolicy

Tensor = Any  # symbolic
# By `LayerTraits.rounding`, where it is not plain.
ARITHMETICS = {
    "averaged": "away",
    "interpolated": "up",
    "mean": "even",
    "multiplied": "twice",
    "rectified": "fraction",
}


class Placement:
    """Calls each layer of the new model and rounds its result, by the rules.

    Attributes:
        rounders: from a tensor's id to the quantizer that rounded it.
        unrounded: from a tensor's id to what it was before.
        floats: ids of tensors that the converter can know no range of.
        bias_scales: from a tensor's id to the scale of a bias that is added
            to it.
    """

    def __init__(
        self,
        nodes: list[graph.Node],
        policy: QuantizationPolicy,
        round_biases: bool,
    ) -> None:
        self.nodes = iter(nodes)  # in the order in which layers are called
        self.scales = scales.shared(nodes, policy)
        self.policy = policy
        self.round_biases = round_biases
        self.bias_scales: dict[int, keras.KerasTensor] = {}
        inputs = {x.name for node in nodes for x in node.inputs}
        names = (node.operation.name for node in nodes)
        self.unique = graph.UniqueNames([*names, *inputs])
        self.rounded_inputs: dict[int, keras.KerasTensor] = {}
        self.one: keras.KerasTensor | None = None
        self.rounders: dict[int, FakeQuantize] = {}
        self.unrounded: dict[int, keras.KerasTensor] = {}
        self.floats: set[int] = set()

    def __call__(
        self, layer: keras.Operation, *args: Any, **kwargs: Any
    ) -> Any:
        node = next(self.nodes)
        operation = node.operation
        if not rules.takes_units(operation):
            args, kwargs = keras.tree.map_structure(
                self.round_input, (args, kwargs)
            )
        wide = self.policy.has_16_bits(node)
        if wide:
            args, kwargs = keras.tree.map_structure(
                lambda x: self.unrounded.get(id(x), x), (args, kwargs)
            )
        if rules.finds_places(operation):
            args, kwargs = keras.tree.map_structure(
                self.round_again, (args, kwargs)
            )
        if self.policy.skips(operation) or rules.drops_values(node):
            args, kwargs = self.in_float(operation, args, kwargs)
        if isinstance(layer, QuantizedLayer) and self.round_biases:
            outputs = self.call_on_grid(
                layer, node, *graph.tensors_of((args, kwargs))
            )
        elif isinstance(layer, GridNormalization):
            (inputs,) = graph.tensors_of((args, kwargs))
            outputs = layer(inputs, self.bias_scales.get(id(inputs)))
        else:
            outputs = layer(*args, **kwargs)
        if operation in self.policy:
            outputs = self.out_of_float(operation, outputs)
            return self.round_as_chosen(node, outputs)
        if not any(map(rules.is_float, graph.tensors_of(outputs))):
            return outputs
        fixed = graph.traits_of(operation).fixed_range
        joined = id(node.outputs[0]) in self.scales
        if fixed and (rules.demanded_range(operation) or not joined):
            return self.round_fixed(node, outputs, *fixed)
        if wide:
            return self.round_to_16_bits(outputs)
        inputs = graph.tensors_of((args, kwargs))
        arithmetic = self.arithmetic(operation, inputs)
        again = (
            rules.averages(operation)
            or rules.parts_for_average(node)
            or rules.clips_beside_others(node)
        )
        if again and id(inputs[0]) in self.rounders:
            return self.round_as_input(inputs[0], outputs, arithmetic)
        if rules.copies(operation):
            return self.keep_rounder(inputs[0], outputs)
        if self.is_left_open(node):
            return outputs
        return self.round(node, outputs, arithmetic)

    def arithmetic(
        self, operation: keras.Operation, inputs: list[Tensor]
    ) -> dict[str, Any]:
        """Return how LiteRT rounds an operation's result, if not plainly."""
        name = ARITHMETICS.get(graph.traits_of(operation).rounding or "")
        if name is None or not all(id(x) in self.rounders for x in inputs):
            return {}
        if name in ("away", "up"):
            return {"arithmetic": name}
        scales = [self.rounders[id(x)](x, return_scale=True) for x in inputs]
        unit = math.prod(scales)
        if name == "fraction":
            unit = keras.ops.where(
                inputs[0] >= 0, unit, unit * operation.negative_slope
            )
        return {"arithmetic": name, "unit": unit}

    def call_on_grid(
        self, layer: QuantizedLayer, node: graph.Node, inputs: Tensor
    ) -> Tensor:
        """Call a layer with a kernel so that its bias is rounded.

        A normalization that is folded into it gives it its bias.
        """
        rounder = self.rounders.get(id(inputs))
        if rounder is None:
            return layer(inputs)
        scale = rounder(inputs, return_scale=True)
        following = node.successor and node.successor.operation
        if not isinstance(following, keras.layers.BatchNormalization):
            return layer(inputs, scale)
        outputs = layer(inputs)
        if not node.operation.use_bias:
            self.bias_scales[id(outputs)] = layer(
                inputs, scale, return_scale=True
            )
        return outputs

    def is_left_open(self, node: graph.Node) -> bool:
        """Say whether what follows takes a result before it is rounded."""
        traits = graph.traits_of(node.operation)
        plainly = traits.rounding not in ARITHMETICS
        if plainly and rules.is_rounded_as_joined(node, self.policy):
            # What comes out of a loop is float, and gets no range by itself.
            return not traits.rounds_inputs
        following = node.successor
        if following and graph.traits_of(following.operation).rounds_inputs:
            return True
        return (
            node.successor is not None
            and rules.fuses_forward(node)
            and not self.policy.skips(node.successor.operation)
        )

    def round_input(self, x: Any) -> Any:
        """Round a tensor if it is an input of the model, once for all uses."""
        if not rules.is_float(x) or not rules.is_model_input(x):
            return x
        if id(x) not in self.rounded_inputs:
            layer = FakeQuantize("input", name=self.unique(f"{x.name}_quant"))
            self.rounded_inputs[id(x)] = self.apply(layer, x)
        return self.rounded_inputs[id(x)]

    def round_to_16_bits(self, x: Any) -> Any:
        """Round a tensor to 16 bits."""
        if not rules.is_float(x):
            return x
        name = self.unique(f"{x._keras_history.operation.name}_int16")
        return self.apply(FakeQuantize("int16", name=name), x)

    def round_again(self, x: Any) -> Any:
        """Round what is rounded once more, which changes nothing.

        Else LiteRT's converter loses what else is an output of the model.
        """
        if id(x) not in self.rounders:
            return x
        return self.round_as_input(x, x, {})

    def in_float(
        self,
        operation: keras.Operation,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Mark what goes into a layer that stays in float.

        What the converter may know a range of passes the gate.
        """
        every = graph.tensors_of((args, kwargs))
        tensors = [*filter(rules.is_float, every)]
        ranged = [
            x
            for x in tensors
            if id(x) not in self.floats and not rules.is_model_input(x)
        ]
        if graph.traits_of(operation).float_by_one_input:
            ranged = ranged[:1] if len(ranged) == len(tensors) else []
        if ranged and self.one is None:
            self.one = One(name=self.unique("float_one"))(ranged[0])
        name = self.unique(f"{operation.name}_float")
        gate = FloatGate(operation.name, name=name)
        gated = {id(x): gate(x, self.one) for x in ranged}
        if not ranged:  # the gate marks the layer alone
            gated = {id(x): gate(x) for x in (tensors or every)[:1]}
        return keras.tree.map_structure(
            lambda x: gated.get(id(x), x), (args, kwargs)
        )

    def out_of_float(self, operation: keras.Operation, outputs: Any) -> Any:
        """Mark what comes out of a layer of many operations in float.

        The converter knows the ranges of a sigmoid and a hyperbolic tangent: it
        would compute their product in integers, as in the last step of an LSTM.
        """
        several = graph.traits_of(operation).rounding is None
        if not (several and self.one is not None):
            return outputs
        if not self.policy.skips(operation):
            return outputs
        name = self.unique(f"{operation.name}_float")
        gate = FloatGate(operation.name, name=name)
        return keras.tree.map_structure(
            lambda x: gate(x, self.one) if rules.is_float(x) else x, outputs
        )

    def round(
        self, node: graph.Node, outputs: Tensor, arithmetic: dict[str, Any]
    ) -> Tensor:
        name = self.unique(f"{node.operation.name}_quant")
        scale = self.scales.get(id(node.outputs[0]))
        if scale is None:
            layer = FakeQuantize(rules.kind(node), name=name)
            return self.apply(layer, outputs, **arithmetic)
        last = scale.last is node
        return self.round_as_joined(scale, name, outputs, last, **arithmetic)

    def round_as_joined(
        self,
        scale: scales.Scale,
        name: str,
        x: Tensor,
        last: bool,
        **arithmetic: Any,
    ) -> Tensor:
        """Round one of the tensors that share a scale.

        The last one moves the range, by the values of all of them.
        """
        if scale.rounder is None:
            scale.rounder = FakeQuantize(scale.kind, name=name)
        if last:
            return self.apply(
                scale.rounder, x, beside=scale.unrounded, **arithmetic
            )
        scale.unrounded.append(x)
        return self.apply(scale.rounder, x, update_range=False, **arithmetic)

    def round_fixed(
        self, node: graph.Node, outputs: Tensor, low: float, high: float
    ) -> Tensor:
        name = self.unique(f"{node.operation.name}_quant")
        layer = FakeQuantize("fixed", minimum=low, maximum=high, name=name)
        return self.apply(layer, outputs)

    def round_as_chosen(self, node: graph.Node, outputs: Any) -> Any:
        if any(map(self.policy.has_16_bits, node.consumers)):
            # First, and to eight bits for others then: LiteRT's converter would
            # have eight bits rounded to 16.
            outputs = keras.tree.map_structure(self.round_to_16_bits, outputs)
        tensors = keras.tree.flatten(outputs)
        config = self.policy.config(node.operation)
        if config is not None:
            quantizers = config.get_output_quantizers(node.operation)
        elif self.stays_float(node):
            quantizers = []
        else:
            quantizers = [FakeQuantize(rules.kind(node)) for _ in tensors]
        if not quantizers:
            if graph.traits_of(node.operation).open_range:
                self.floats.add(id(outputs))
            return outputs
        for quantizer in quantizers:
            quantizer.name = self.unique(f"{node.operation.name}_quant")
        rounded = [
            self.apply(quantizer, x) if rules.is_float(x) else x
            for quantizer, x in zip(quantizers, tensors, strict=True)
        ]
        return keras.tree.pack_sequence_as(outputs, rounded)

    def stays_float(self, node: graph.Node) -> bool:
        """Say whether a result goes into layers that stay in float alone."""
        if node.is_output:
            return rules.takes_units(node.operation)
        return all(
            self.policy.skips(following.operation)
            or (
                rules.copies(following.operation)
                and self.stays_float(following)
            )
            for following in node.consumers
        )

    def keep_rounder(self, inputs: Tensor, outputs: Any) -> Any:
        """Remember of moved values what rounded them, if anything did yet."""
        for x in filter(rules.is_float, keras.tree.flatten(outputs)):
            if id(inputs) in self.floats:
                self.floats.add(id(x))
            if id(inputs) in self.rounders:
                self.rounders[id(x)] = self.rounders[id(inputs)]
        return outputs

    def round_as_input(
        self, inputs: Tensor, outputs: Any, arithmetic: dict[str, Any]
    ) -> Any:
        """Round to the range of the input, and leave that as it is."""
        rounder = self.rounders[id(inputs)]
        return keras.tree.map_structure(
            lambda x: (
                self.apply(rounder, x, update_range=False, **arithmetic)
                if rules.is_float(x)
                else x
            ),
            outputs,
        )

    def apply(self, rounder: FakeQuantize, x: Tensor, **options: Any) -> Tensor:
        outputs = rounder(x, **options)
        self.rounders[id(outputs)] = rounder
        self.unrounded[id(outputs)] = x
        return outputs
