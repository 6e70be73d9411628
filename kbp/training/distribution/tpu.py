"""Compilation of a training step for a TPU, on a machine without one.

TensorFlow's own CPU package cannot compile for a TPU, but it can give the
step's HLO, which libtpu's compiler takes when it is called by way of JAX. These
calls are private to JAX and lie in `kbp._compat`.
"""

import importlib.util
import os
import time
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from kbp._compat import compile_hlo
from kbp._utils.process.stderr import suppress_stderr
from kbp.errors import UserError

PATIENCE = 30.0  # seconds, for another process to let go of libtpu
# Bytes of memory, floating point operations and bytes a second of a chip, as
# Google Cloud's documentation of TPU versions states them.
CHIPS = {
    "TPU v4": (32 * 2**30, 275e12, 1228e9),
    "TPU v5": (95 * 2**30, 459e12, 2765e9),
    "TPU v5 lite": (16 * 2**30, 197e12, 819e9),
    "TPU v6 lite": (32 * 2**30, 918e12, 1640e9),
}


@dataclass(frozen=True)
class Compiled:
    """The compiler's figures for one replica's step.

    Attributes:
        flops: number of floating point operations.
        bytes_accessed: number of bytes read and written in the chip's memory.
        memory: largest number of bytes in use.
        chip: kind of TPU.
    """

    flops: float
    bytes_accessed: float
    memory: int
    chip: str

    @property
    def memory_share(self) -> float | None:
        """The share of the chip's memory, if the chip is known."""
        known = CHIPS.get(self.chip)
        return self.memory / known[0] if known else None

    @property
    def seconds(self) -> float | None:
        """The least time of a step by arithmetic and memory, if it is known."""
        known = CHIPS.get(self.chip)
        if not known:
            return None
        _, speed, bandwidth = known
        return max(self.flops / speed, self.bytes_accessed / bandwidth)


def devices(topology: str) -> list[Any]:
    """Return the devices of a TPU topology, e.g. `"v5e:2x2"`.

    Raises:
        UserError: jax or libtpu is missing, or knows no such topology.
    """
    if not all(map(importlib.util.find_spec, ("jax", "libtpu"))):
        raise UserError(
            "check-tpu needs jax and libtpu: pip install 'kbp[tpu-check]'"
        )
    # Else libtpu would ask a server on the network what machine this is.
    os.environ["TPU_SKIP_MDS_QUERY"] = "1"
    os.environ.setdefault("TPU_WORKER_HOSTNAMES", "localhost")
    from jax.experimental import topologies

    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            with suppress_stderr():
                found = topologies.get_topology_desc(
                    platform="tpu", topology_name=topology
                )
            return list(found.devices)
        except Exception as error:  # of several kinds, none of them public
            # One process at a time has libtpu.
            if "lockfile" not in str(error) or time.monotonic() > deadline:
                raise UserError(
                    f"topology {topology!r}: {str(error).splitlines()[0]}"
                ) from error
        time.sleep(1)


def lowered(model: keras.Model, batch: tuple[Any, Any]) -> bytes:
    """Return the HLO of a compiled model's training step.

    Args:
        model: a compiled model, which is trained for a step.
        batch: inputs and labels, of one replica.

    Returns:
        The serialized HLO module.

    Raises:
        UserError: XLA cannot compile the step.
    """
    model.train_on_batch(*batch)  # makes what variables there are
    step = tf.function(lambda *batch: model.train_step(batch), jit_compile=True)
    try:
        return step.experimental_get_compiler_ir(*batch)(stage="hlo_serialized")
    except (ValueError, tf.errors.OpError) as error:
        raise UserError(
            f"XLA cannot compile it: {str(error).splitlines()[0]}"
        ) from error


def compile_for(device: Any, hlo: bytes) -> Compiled:
    """Compile HLO for a TPU.

    Args:
        device: one of `devices`.
        hlo: a serialized module.

    Raises:
        UserError: the compiler refuses the module, e.g. for lack of memory.
    """
    made = compile_hlo(device, hlo)
    costs, memory = made.cost_analysis(), made.get_compiled_memory_stats()
    used = (
        memory.argument_size_in_bytes
        + memory.output_size_in_bytes
        + memory.temp_size_in_bytes
        + memory.generated_code_size_in_bytes
        - memory.alias_size_in_bytes
    )
    return Compiled(
        costs["flops"], costs["bytes accessed"], used, device.device_kind
    )
