"""The race of pruning methods from a trained network."""

from kbp.benchmarks.core.latencies import Files, stored_network
from kbp.benchmarks.core.race import Race
from kbp.benchmarks.core.registry import register
from kbp.benchmarks.pruning_trained import plan, report
from kbp.benchmarks.pruning_trained.methods import METHODS
from kbp.benchmarks.pruning_trained.training import Protocol
from kbp.benchmarks.pruning_trained.trial import Trainer

RACE = register(
    Race(
        name="pruning-trained",
        kind="method",
        files=Files(network=stored_network),
        competitors=METHODS,
        protocol=Protocol,
        plan=plan.plan,
        create=Trainer,
        describe=plan.describe,
        markdown_table=report.markdown_table,
        plot=report.plot,
    )
)
