"""The race of optimizers to a target accuracy."""

from kbp.benchmarks.core.headlines import Headline
from kbp.benchmarks.core.race import Race
from kbp.benchmarks.core.registry import register
from kbp.benchmarks.optimizers import plan, report
from kbp.benchmarks.optimizers.contestants import CONTESTANTS
from kbp.benchmarks.optimizers.trial import Protocol, Trainer

RACE = register(
    Race(
        name="optimizers",
        kind="optimizer",
        competitors=CONTESTANTS,
        protocol=Protocol,
        plan=plan.plan,
        create=Trainer,
        describe=plan.describe,
        markdown_table=report.markdown_table,
        plot=report.plot,
        headline=Headline(
            measured="CIFAR-10: steps to 64 %; final accuracy",
            columns=["steps to target", "final accuracy"],
            ours="HybridOptimizer, matrix, averaged",
            peer="SGD-Nesterov, averaged",
        ),
    )
)
