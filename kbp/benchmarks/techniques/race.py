"""The race of techniques, seed by seed."""

from kbp.benchmarks.core.race import Race
from kbp.benchmarks.core.registry import register
from kbp.benchmarks.techniques import plan, report
from kbp.benchmarks.techniques.registry import TECHNIQUES
from kbp.benchmarks.techniques.trial import Protocol, Trainer

RACE = register(
    Race(
        name="techniques",
        kind="technique",
        competitors={name: TECHNIQUES[name] for name in TECHNIQUES},
        protocol=Protocol,
        plan=plan.plan,
        create=Trainer,
        describe=plan.describe,
        markdown_table=report.markdown_table,
        plot=report.plot,
    )
)
