"""The only module that uses private names of other packages."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

from kbp.errors import UserError

DEEPEST = 100_000  # calls within each other; Python's own take no C stack


def compile_hlo(device: Any, hlo: bytes) -> Any:
    """Compile a serialized HLO module for a device of JAX.

    JAX has no public way to compile what another framework has made.

    Args:
        device: a device of `jax.experimental.topologies`.
        hlo: a serialized module.

    Returns:
        JAX's executable, with `cost_analysis` and `get_compiled_memory_stats`.

    Raises:
        UserError: the compiler refuses the module, e.g. for lack of memory.
    """
    from jax._src.interpreters import mlir

    # JAX does not export them, which is why they are used here alone.
    from jax._src.lib import (  # type: ignore[attr-defined, unused-ignore]
        _jax,
        xla_client,
    )
    from jax._src.lib.mlir import (  # type: ignore[attr-defined, unused-ignore]
        ir,
    )

    with mlir.make_ir_context():
        text = str(ir.Module.parse(_jax.mlir.hlo_to_stablehlo(hlo)))
        # A copy keeps two results apart, which a barrier does as well, and
        # StableHLO has none.
        text = text.replace("mhlo.copy ", "stablehlo.optimization_barrier ")
        module = ir.Module.parse(text)
        try:
            return device.client.compile(
                module, _jax.DeviceList((device,)), xla_client.CompileOptions()
            )
        except _jax.JaxRuntimeError as error:
            raise UserError(
                f"it does not compile: {str(error).splitlines()[0]}"
            ) from error


def compiled_with(model: Any) -> dict[str, Any]:
    """Return what a Keras model was compiled with, besides its optimizer.

    Keras has no public way to ask for the objects: `get_compile_config` gives
    descriptions, which a person's own functions do not come back from.

    Args:
        model: a compiled model.

    Returns:
        Arguments of `compile`.
    """
    metrics, losses = model._compile_metrics, model._compile_loss
    return {
        "loss": model.loss,
        "loss_weights": getattr(losses, "_user_loss_weights", None),
        "metrics": getattr(metrics, "_user_metrics", None),
        "weighted_metrics": getattr(metrics, "_user_weighted_metrics", None),
    }


def symbolic_outputs(operation: Any) -> list[Any]:
    """Return the symbolic tensors that calls of an operation gave.

    Keras tells them in public of operations that were called once alone.

    Args:
        operation: a layer or operation of a Keras model.
    """
    return [
        output for node in operation._inbound_nodes for output in node.outputs
    ]


@contextlib.contextmanager
def computed_by(**functions: Callable[..., Any]) -> Iterator[None]:
    """Let operations of `keras.ops` be computed by other functions meanwhile.

    Also those that a layer calls within itself, which nothing else reaches.

    Args:
        functions: of the backend's tensors, by the name of the operation.
    """
    import keras

    # The module of the backend, by which `keras.ops` computes on arrays.
    backend = sys.modules[keras.ops.argmax.__module__].backend.numpy
    before = {name: getattr(backend, name) for name in functions}
    try:
        for name, function in functions.items():
            setattr(backend, name, function)
        yield
    finally:
        for name, function in before.items():
            setattr(backend, name, function)


def mask_of(tensor: Any) -> Any:
    """Return the mask of time steps that a Keras tensor carries, if any.

    Args:
        tensor: a symbolic tensor.
    """
    return getattr(tensor, "_keras_mask", None)


@contextlib.contextmanager
def deep_graphs() -> Iterator[None]:
    """Let Keras make models of more than some 990 layers in a row.

    It walks the graph of a new model by a function that calls itself for each
    layer, up to Python's limit, which has no public way around it.
    """
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, DEEPEST))
    try:
        yield
    finally:
        sys.setrecursionlimit(before)


def drawn_dropout(layer: Any, inputs: Any, states: Any) -> list[Any]:
    """Draw what the cells of a recurrent layer drop in a sequence.

    A cell keeps it for the steps of one call, and has no public way to get it
    again when the steps are computed again.

    Args:
        layer: of Keras's, with a `cell`.
        inputs: of a step.
        states: of the cell.

    Returns:
        Cells with their masks of inputs and of states.
    """
    layer._maybe_config_dropout_masks(layer.cell, inputs, states)
    found = [
        (
            cell,
            getattr(cell, "_dropout_mask", None),
            getattr(cell, "_recurrent_dropout_mask", None),
        )
        for cell in layer._flatten_layers()
        if hasattr(cell, "get_dropout_mask")
    ]
    layer._maybe_reset_dropout_masks(layer.cell)
    return found


@contextlib.contextmanager
def with_dropout(drawn: list[Any], copies: int = 1) -> Iterator[None]:
    """Let cells drop what was drawn before.

    Args:
        drawn: see `drawn_dropout`.
        copies: of the batch, one after the other.
    """
    import keras

    def repeated(mask: Any) -> Any:
        return keras.ops.tile(mask, (copies, 1)) if copies > 1 else mask

    try:
        for cell, *masks in drawn:
            cell._dropout_mask, cell._recurrent_dropout_mask = (
                keras.tree.map_structure(
                    lambda x: None if x is None else repeated(x), mask
                )
                for mask in masks
            )
        yield
    finally:
        for cell, _, _ in drawn:
            cell.reset_dropout_mask()
            cell.reset_recurrent_dropout_mask()


def return_memory_of_images() -> None:
    """Let Pillow ask for blocks that the system gets back when they are freed.

    Those of 16 MiB, its usual size, stay with the thread that had them, so that
    several threads hold several large images when they have none.
    """
    from PIL import Image

    Image.core.set_block_size(2**26)  # type: ignore[attr-defined]


def map_in_place(data: Any, function: Callable[..., Any]) -> Any:
    """Return `data.map(function)`, which is called without another thread.

    To hand a small function to a pool of threads takes a third of a
    millisecond on a busy machine; no public argument avoids it.

    Args:
        data: a data set of tf.data.
        function: of an element, fast.
    """
    from tensorflow.python.data.ops import map_op

    return map_op._MapDataset(data, function, use_inter_op_parallelism=False)


@contextlib.contextmanager
def float64_in_keras() -> Iterator[None]:
    """Let Keras's operations keep float64 on JAX, where they make it float32.

    Keras follows what JAX does by default, and has no switch like JAX's own.
    """
    import keras

    module = sys.modules[keras.backend.result_type.__module__]
    types = module.BIT64_TO_BIT32_DTYPE
    before = types["float64"]
    types["float64"] = "float64"
    try:
        yield
    finally:
        types["float64"] = before
