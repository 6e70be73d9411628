"""The race of forecasting methods."""

from kbp.benchmarks.core.headlines import Headline
from kbp.benchmarks.core.race import Race
from kbp.benchmarks.core.registry import register
from kbp.benchmarks.forecasting import plan, report
from kbp.benchmarks.forecasting.methods import METHODS
from kbp.benchmarks.forecasting.trial import Protocol, Trainer

RACE = register(
    Race(
        name="forecasting",
        kind="method",
        competitors=METHODS,
        protocol=Protocol,
        plan=plan.plan,
        create=Trainer,
        describe=plan.describe,
        markdown_table=report.markdown_table,
        plot=report.plot,
        headline=Headline(
            measured="ETTh1: squared error, mean of four horizons",
            columns=["mean"],
            ours="etth1: BP-Transformer, look-back chosen",
            peer="etth1: ridge",
        ),
    )
)
