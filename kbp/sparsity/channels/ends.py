"""Which layers have kernels, and which of them stand first and last."""

import keras

from kbp import graph


def is_prunable(operation: keras.Operation) -> bool:
    """Say whether masks of single weights are known for a layer."""
    return "element" in graph.traits_of(operation).prunable


def has_kernel(operation: keras.Operation) -> bool:
    """Say whether a layer, or what it is derived from, has such a kernel."""
    return any(
        "element" in graph.traits_of_class(base).prunable
        for base in type(operation).__mro__
        if issubclass(base, keras.layers.Layer)
    )


def ends_of(nodes: list[graph.Node]) -> set[str]:
    """Name the kernels that read the input or give the output."""
    names = set()
    made = {id(x) for node in nodes for x in node.outputs}
    readers = [
        node for node in nodes if any(id(x) not in made for x in node.inputs)
    ]
    givers = [node for node in nodes if node.is_output]
    for todo, step in ((readers, "consumers"), (givers, "producers")):
        seen = set()
        while todo:
            node = todo.pop()
            if node in seen:
                continue
            seen.add(node)
            if has_kernel(node.operation):
                names.add(node.operation.name)
            else:
                todo.extend(getattr(node, step))
    return names
