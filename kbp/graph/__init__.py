"""Models as graphs of primitive layers, and rewriting them."""

from kbp.graph.layers import (
    clone_layer,
    copy_variable,
    copy_weights,
    in_float32,
    replace_layers,
    transforms,
    unwrapped,
    values_of,
)
from kbp.graph.nodes import Node, nodes
from kbp.graph.rewriting import (
    UniqueNames,
    as_functional,
    flatten,
    is_functional,
    name_operations,
    plain,
    rewrite,
    tensors_of,
)

__all__ = [
    "Node",
    "UniqueNames",
    "as_functional",
    "clone_layer",
    "copy_variable",
    "copy_weights",
    "flatten",
    "in_float32",
    "is_functional",
    "name_operations",
    "nodes",
    "plain",
    "replace_layers",
    "rewrite",
    "tensors_of",
    "transforms",
    "unwrapped",
    "values_of",
]
