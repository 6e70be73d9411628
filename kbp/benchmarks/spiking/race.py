"""The race of spiking networks."""

from kbp.benchmarks.core.latencies import Files
from kbp.benchmarks.core.race import Race
from kbp.benchmarks.core.registry import register
from kbp.benchmarks.spiking import plan, report
from kbp.benchmarks.spiking.trial import Protocol, Trainer

RACE = register(
    Race(
        name="spiking",
        kind="data set",
        files=Files(),  # source networks; none of them is timed
        competitors=report.TITLES,
        protocol=Protocol,
        plan=plan.plan,
        create=Trainer,
        describe=plan.describe,
        markdown_table=report.markdown_table,
        plot=report.plot,
    )
)
