"""How far the outputs of other runtimes are from those of LiteRT."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kbp.errors import UserError
from kbp.export.float_steps import FloatSteps
from kbp.export.gaps import Gap, summary_of
from kbp.export.interpreter import Runner, dequantize, read_tflite
from kbp.export.runtimes.calls import outputs_of
from kbp.export.runtimes.registry import RUNTIMES, Arrays, Runtime
from kbp.export.runtimes.walk import Difference, differences


@dataclass(frozen=True)
class Agreement:
    """How far a runtime's outputs are from those of XNNPACK at one thread.

    Attributes:
        runtime: its name.
        version: what ran, in words.
        reason: why it did not run, `None` if it did.
        outputs: number of values that were compared.
        unit: `"LSB"` or `"float"`, see `kbp.export.Verification`.
        maximum: largest difference, in units.
        mean: mean difference, in units.
        within_one: share within one unit.
        exact: share that are the same; of floats, to a thousandth of a step.
        operations: those that it computes differently, in order; `()` if it
            cannot run them apart.
        is_near: whether these are shares that the runtime must reach.

    Example:
    >>> Agreement("micro", reason="It is not installed.").is_near
    True
    """

    runtime: str
    version: str = ""
    reason: str | None = None
    outputs: int = 0
    unit: str = "LSB"
    maximum: float = 0.0
    mean: float = 0.0
    within_one: float = 1.0
    exact: float = 1.0
    operations: tuple[Difference, ...] = ()
    is_near: bool = True

    @property
    def first(self) -> Difference | None:
        """The operation from which the runtime differs, if it does."""
        return self.operations[0] if self.operations else None

    @property
    def worst(self) -> Difference | None:
        """The operation that differs most, given the same inputs."""
        return max(
            self.operations, key=lambda x: (x.maximum, x.share), default=None
        )


def verify_runtimes(
    path: str | Path, inputs: Any, runtimes: Sequence[str] | None = None
) -> tuple[Agreement, ...]:
    """Run a .tflite file on other runtimes, and compare with XNNPACK.

    Args:
        path: path of the file.
        inputs: float examples in any form that `kbp.export.Runner.predict`
            takes.
        runtimes: names of `kbp.export.runtimes.RUNTIMES`, such as `"litert"`
            (LiteRT on several threads), `"reference"` (LiteRT's reference
            kernels), `"micro"` (TFLite Micro) and `"web"` (LiteRT.js in a
            headless Chromium). By default all, where those that are absent, or
            lack an operation, say so by `reason`.

    Returns:
        For each runtime its agreement with XNNPACK at one thread.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: there are no examples, or a runtime that was named is
            unknown, absent, or does not run the file.

    Example:
    >>> import kbp, numpy as np
    >>> x = np.zeros((1, 32, 32, 1), "float32")
    >>> path = kbp.zoo.file(kbp.zoo.DEFAULT)
    >>> (found,) = kbp.export.verify_runtimes(path, x, ["litert"])
    >>> found.outputs, found.exact
    (10, 1.0)
    """
    if isinstance(runtimes, str):
        raise ValueError(
            "Argument `runtimes` must be a list of names. Received: "
            f"runtimes={runtimes!r}"
        )
    content, runner = read_tflite(path), Runner(path)
    chosen = {name: RUNTIMES[name] for name in runtimes or RUNTIMES}
    for runtime in chosen.values() if runtimes else ():
        if reason := runtime.missing():
            raise UserError(reason)
    calls = [*runner.calls(inputs)]
    if not calls:
        raise ValueError("Argument `inputs` must hold examples. Received: none")
    compare = _Comparison(runner, content, calls)
    found = []
    for name, runtime in chosen.items():
        try:
            if reason := runtime.missing():
                raise UserError(reason)
            found.append(compare(name, runtime))
        except ValueError as error:
            if runtimes:
                raise UserError(f"{path}: {name}: {error}") from error
            found.append(Agreement(name, reason=str(error)))
    return tuple(found)


class _Comparison:
    """Compares runtimes with XNNPACK on one file and its inputs."""

    def __init__(
        self, runner: Runner, content: bytes, calls: Sequence[Arrays]
    ) -> None:
        self.runner, self.content, self.calls = runner, content, calls
        self.right = outputs_of(runner.interpreter, calls)
        float_steps = FloatSteps(content)
        self.steps = [
            float_steps.of(
                [
                    dequantize(x, details)
                    for x, details in zip(call, runner.inputs, strict=True)
                ],
                outputs,
            )
            for call, outputs in zip(calls, self.right, strict=True)
        ]

    def __call__(self, name: str, runtime: Runtime) -> Agreement:
        """Run a runtime, and say how near it is."""
        gaps = [Gap(details) for details in self.runner.outputs]
        found = runtime.run(self.content, self.calls)
        for right, outputs, steps in zip(
            self.right, found, self.steps, strict=True
        ):
            for i, (x, y) in enumerate(zip(right, outputs, strict=True)):
                gaps[i].add(x, y, None, steps.get(i))
        shares = summary_of(gaps)
        return Agreement(
            name,
            runtime.version,
            **shares,
            operations=self._differences(runtime)
            if shares["exact"] < 1
            else (),
            is_near=shares["exact"] >= runtime.least_exact
            and shares["within_one"] >= runtime.least_within_one,
        )

    def _differences(self, runtime: Runtime) -> tuple[Difference, ...]:
        try:
            return differences(runtime, self.content, self.calls)
        except ValueError:  # it runs the file, but not such a one
            return ()
