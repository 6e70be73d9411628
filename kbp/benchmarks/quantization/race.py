"""The race of quantization methods, whose files are timed."""

from pathlib import Path

from kbp.benchmarks.core.headlines import Headline
from kbp.benchmarks.core.latencies import Files
from kbp.benchmarks.core.race import Race
from kbp.benchmarks.core.registry import register
from kbp.benchmarks.quantization import plan, report
from kbp.benchmarks.quantization.methods import edge_quantizer
from kbp.benchmarks.quantization.networks import NETWORKS
from kbp.benchmarks.quantization.trial import Protocol, Trainer


def create(protocol: Protocol, data_dir: str | None, folder: Path) -> Trainer:
    """Return a trainer, if AI Edge Quantizer is there for its method.

    Raises:
        UserError: AI Edge Quantizer or CIFAR-10 is missing.
    """
    edge_quantizer()
    return Trainer(protocol, data_dir, folder)


RACE = register(
    Race(
        name="quantization",
        kind="network",
        competitors=NETWORKS,
        protocol=Protocol,
        plan=plan.plan,
        create=create,
        describe=plan.describe,
        markdown_table=report.markdown_table,
        plot=report.plot,
        files=Files(
            lambda result: [result["file"]] if "file" in result else []
        ),
        headline=Headline(
            measured="CIFAR-10: accuracy in eight bits; latency",
            columns=["accuracy", "latency"],
            ours="kbp QAT",
            peer="converter PTQ",
        ),
    )
)
