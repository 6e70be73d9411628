"""What a check of gradients has found."""

from dataclasses import dataclass

RIGHT, DOUBTFUL = 1e-7, 1e-5  # relative errors up to which a gradient is so


@dataclass(frozen=True)
class VariableCheck:
    """The gradient of one variable beside its central differences.

    Attributes:
        name: path of the variable, or that of an input.
        size: number of its elements.
        checked: number of those that were compared.
        kinks: number of those that were left out, since the loss has a kink
            there, as that of ReLU at 0: its slopes on both sides differ by as
            much as the gradient differs from the differences.
        error: `||a - n|| / (||a|| + ||n||)` of the gradient `a` and the
            differences `n`; 0 where they are apart by no more than the rounding
            of the loss makes them.

    Example:
    >>> VariableCheck("dense/kernel", 12, 12, 0, 2e-10).verdict
    'right'
    """

    name: str
    size: int
    checked: int
    kinks: int
    error: float

    @property
    def verdict(self) -> str:
        """`"right"` to 1e-7, `"doubtful"` to 1e-5, else `"wrong"`.

        `"unknown"` if no element was compared.
        """
        if not self.checked:
            return "unknown"
        if self.error <= RIGHT:
            return "right"
        return "doubtful" if self.error <= DOUBTFUL else "wrong"


@dataclass(frozen=True)
class GradientCheck:
    """Gradients of a model, a layer or a function beside central differences.

    Attributes:
        variables: what was found of each.
        custom: layers that do not leave all derivatives to the backend: they
            stop gradients, or have gradients of their own. If a verdict is
            `"wrong"` by intention, it is on account of one of them.
        silenced: layers whose random changes were off during the check.

    Example:
    >>> found = GradientCheck((VariableCheck("kernel", 4, 4, 0, 0.3),))
    >>> found.passed
    False
    """

    variables: tuple[VariableCheck, ...]
    custom: tuple[str, ...] = ()
    silenced: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether no verdict is `"wrong"`, and something was compared."""
        verdicts = {x.verdict for x in self.variables}
        return "wrong" not in verdicts and not verdicts <= {"unknown"}

    @property
    def error(self) -> float:
        """The largest error of a variable."""
        return max((x.error for x in self.variables), default=0.0)

    def notes(self) -> list[str]:
        """Return sentences on what was left out or may mislead."""
        notes = []
        kinks = sum(x.kinks for x in self.variables)
        if kinks:
            notes.append(
                f"{kinks} elements were left out: the loss has kinks there."
            )
        if self.silenced:
            notes.append(
                f"Random changes were off in {', '.join(self.silenced)}."
            )
        if self.custom:
            notes.append(
                "Gradients are stopped or replaced in "
                f"{', '.join(self.custom)}."
            )
        return notes

    def __str__(self) -> str:
        wide = max((len(x.name) for x in self.variables), default=0)
        lines = [
            f"{x.name:<{wide}}  {x.checked:>6} of {x.size:>9,}  "
            f"{x.error:.1e}  {x.verdict}"
            for x in self.variables
        ]
        return "\n".join([*lines, *self.notes()])
