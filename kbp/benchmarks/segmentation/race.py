"""The race of segmentation networks, whose files are timed."""

import keras

from kbp.benchmarks.core.headlines import Headline
from kbp.benchmarks.core.latencies import Files
from kbp.benchmarks.core.race import Race
from kbp.benchmarks.core.registry import register
from kbp.benchmarks.segmentation import plan, report
from kbp.benchmarks.segmentation.trial import NETWORKS, Protocol, Trainer


def network(trainer: Trainer, result: dict) -> keras.Model:
    """Return the network of a result for whole images, untrained."""
    splits = trainer.splits(result["data"], result["seed"])
    build, classes = NETWORKS[result["network"]].build, len(splits.class_names)
    return build(splits.input_shape, classes)


RACE = register(
    Race(
        name="segmentation",
        kind="network",
        competitors=NETWORKS,
        protocol=Protocol,
        plan=plan.plan,
        create=Trainer,
        describe=plan.describe,
        markdown_table=report.markdown_table,
        plot=report.plot,
        files=Files(network=network),
        headline=Headline(
            measured="nuclei: Dice; latency in eight bits",
            columns=["Dice", "int8"],
            ours="dsb2018: Pyramid-BPNet",
            peer="U-Net 16",
        ),
    )
)
