"""The race of pruning methods, whose networks are timed."""

from kbp.benchmarks.core.headlines import Headline
from kbp.benchmarks.core.latencies import Files, stored_network
from kbp.benchmarks.core.race import Race
from kbp.benchmarks.core.registry import register
from kbp.benchmarks.pruning import plan, report
from kbp.benchmarks.pruning.methods import METHODS
from kbp.benchmarks.pruning.trial import Protocol, Trainer

RACE = register(
    Race(
        name="pruning",
        kind="method",
        competitors=METHODS,
        protocol=Protocol,
        plan=plan.plan,
        create=Trainer,
        describe=plan.describe,
        markdown_table=report.markdown_table,
        plot=report.plot,
        files=Files(network=stored_network),
        headline=Headline(
            measured="CIFAR-10: accuracy, 80 % of the weights zero",
            columns=["80%"],
            ours="DTM",
            peer="one-shot",
        ),
    )
)
