"""Models as graphs of layers: rewriting them, and the traits of layers."""

from kbp.graph import keras_traits, operation_traits, recurrent_traits
from kbp.graph.blocks import Block, blocks, in_blocks
from kbp.graph.flattening import flatten, split_separable
from kbp.graph.inputs import (
    check_indices,
    check_inputs,
    indices_of,
)
from kbp.graph.layers import (
    check_finite,
    clone_layer,
    copy_layer,
    copy_variable,
    copy_weights,
    in_float32,
    replace_layers,
    transforms,
    transforms_by_kernel,
    unwrapped,
    values_of,
    wrappers,
)
from kbp.graph.nodes import Node, nodes, output_names, retraced
from kbp.graph.precision import check_float32
from kbp.graph.regularizers import (
    adds_loss,
    multiply,
    unscale,
)
from kbp.graph.rewriting import (
    UniqueNames,
    as_functional,
    in_class_of,
    is_functional,
    name_operations,
    own_methods,
    plain,
    rewrite,
    settings,
    tensors_of,
    with_input_shapes,
)
from kbp.graph.scaling import (
    folded,
    kernel_of,
    scale_and_offset,
    scale_outputs,
)
from kbp.graph.ties import check_untied
from kbp.graph.traits import (
    UNKNOWN,
    LayerTraits,
    register_layer_traits,
    traits_of,
    traits_of_class,
    unregistered,
)
from kbp.layers.scaled_regularizer import ScaledRegularizer

__all__ = [
    "Block",
    "blocks",
    "LayerTraits",
    "Node",
    "ScaledRegularizer",
    "UNKNOWN",
    "UniqueNames",
    "adds_loss",
    "as_functional",
    "check_finite",
    "check_float32",
    "check_indices",
    "check_inputs",
    "check_untied",
    "clone_layer",
    "copy_layer",
    "copy_variable",
    "copy_weights",
    "flatten",
    "folded",
    "in_blocks",
    "in_class_of",
    "in_float32",
    "indices_of",
    "is_functional",
    "kernel_of",
    "multiply",
    "name_operations",
    "nodes",
    "own_methods",
    "output_names",
    "plain",
    "register_layer_traits",
    "replace_layers",
    "retraced",
    "rewrite",
    "scale_and_offset",
    "scale_outputs",
    "settings",
    "split_separable",
    "tensors_of",
    "traits_of",
    "traits_of_class",
    "transforms",
    "transforms_by_kernel",
    "unregistered",
    "unscale",
    "unwrapped",
    "values_of",
    "with_input_shapes",
    "wrappers",
]

for _rows in (keras_traits.ROWS, recurrent_traits.ROWS, operation_traits.ROWS):
    for _kind, _traits in _rows.items():
        register_layer_traits(_traits)(_kind)
