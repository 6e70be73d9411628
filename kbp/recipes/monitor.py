"""The section `[monitor]`, as a frozen dataclass."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kbp._utils.config import check_unused, number
from kbp.errors import UserError

if TYPE_CHECKING:
    from kbp.recipes.recipe import Recipe


@dataclass(frozen=True)
class MonitorRecipe:
    """Section `[monitor]`: what is measured of layers in `every` so many steps.

    Of `gradients` it is how long they are, and of `activations` what layers
    give for the first training batch, see `kbp.diagnostics`. The report warns
    if the first gradient is shorter than the last by the factor `vanishing`,
    if all are longer than the weights by the factor `exploding`, and if more
    than the shares `dead` or `saturated` of a layer's units are so.
    """

    gradients: bool = False
    activations: bool = False
    every: int = number(50, 1, 1_000_000)
    vanishing: float = number(1e-3, above=0, below=1)
    exploding: float = number(100.0, above=0, high=1e12)
    dead: float = number(0.5, above=0, below=1)
    saturated: float = number(0.5, above=0, below=1)

    def bounds(self) -> dict[str, dict[str, Any]]:
        """Return what each monitor takes besides `every`."""
        return {
            "gradients": {
                "vanishing": self.vanishing,
                "exploding": self.exploding,
            },
            "activations": {"dead": self.dead, "saturated": self.saturated},
        }


def check_monitor(recipe: "Recipe") -> None:
    """Raise a UserError for keys of `[monitor]` that have no effect."""
    section = recipe.monitor
    asked = {"gradients": section.gradients, "activations": section.activations}
    if not any(asked.values()):
        reason = "monitor.gradients and monitor.activations are false"
        check_unused("monitor", section, reason, "every")
    for key, bounds in section.bounds().items():
        if not asked[key]:
            reason = f"monitor.{key} is false"
            check_unused("monitor", section, reason, *bounds)
            continue
        if not recipe.training.epochs and not (
            recipe.quantization.enabled and recipe.quantization.epochs
        ):
            raise UserError(
                f"monitor.{key} has no effect: no step is trained with "
                "training.epochs = 0 and without training in eight bits"
            )
