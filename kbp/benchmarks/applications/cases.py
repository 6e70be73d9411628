"""Networks of Keras Applications, quantized, exported and timed."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
from keras import layers

import kbp
from kbp import export
from kbp._utils.files import temporary_folder
from kbp.benchmarks.core import markdown
from kbp.benchmarks.core.cases import Cases
from kbp.benchmarks.core.log import provenance, rounds
from kbp.benchmarks.core.registry import register
from kbp.quantization import ATTENTION_OPS, quantize_aware

_SIZE, _CLASSES, _EXAMPLES = 96, 10, 32
_STEPS, _TOKENS = 32, 100


def encoder() -> keras.Model:
    """Return a transformer encoder as Keras's users build it.

    Two layers of pre-normalized MultiHeadAttention and feed-forward layers
    with GELU over token and position embeddings.
    """
    inputs = keras.Input((_STEPS,), dtype="int32", name="tokens")
    x = layers.Embedding(_TOKENS, 128)(inputs)
    x = kbp.layers.PositionEmbedding()(x)
    for _ in range(2):
        y = layers.LayerNormalization()(x)
        x = layers.Add()([x, layers.MultiHeadAttention(4, 32)(y, y)])
        y = layers.LayerNormalization()(x)
        y = layers.Dense(512, activation="gelu")(y)
        x = layers.Add()([x, layers.Dense(128)(y)])
    x = layers.GlobalAveragePooling1D()(x)
    return keras.Model(inputs, layers.Dense(_CLASSES)(x), name="encoder")


def _application(name):
    def build():
        application = getattr(keras.applications, name)
        return application(
            weights=None,
            input_shape=(_SIZE, _SIZE, 3),
            classes=_CLASSES,
            classifier_activation=None,
        )

    return build


@dataclasses.dataclass(frozen=True)
class Case:
    """A network.

    Attributes:
        build: returns it, with random weights.
        skip: what stays in float.
    """

    build: Callable
    skip: tuple = ()


CASES = {
    **{
        name: Case(_application(name))
        for name in (
            "MobileNetV2",
            "MobileNetV3Small",
            "ResNet50",
            "EfficientNetB0",
            "DenseNet121",
        )
    },
    "encoder": Case(encoder, (layers.LayerNormalization,)),
    "encoder, float products": Case(
        encoder, (layers.LayerNormalization, *ATTENTION_OPS)
    ),
}


def measure(case: Case, folder: Path, *, rounds: int = 30) -> dict:
    """Take a network through quantization, two steps, a file and its checks.

    Args:
        case: of `CASES`.
        folder: for the files.
        rounds: of the measurement of latencies.

    Returns:
        `integer` and `float`, numbers of operations of the int8 file; `unit`,
        `maximum`, `mean` and `within_one` of its `export.verify`; `bytes` and
        `milliseconds` of the float32 and the int8 file.
    """
    keras.backend.clear_session()
    keras.utils.set_random_seed(0)
    model = case.build()
    inputs = _examples(model)
    _adapt(model, inputs)
    half = len(inputs) // 2
    quantized = quantize_aware(
        model, [inputs[:half], inputs[half:]], skip=case.skip
    )
    quantized.compile(
        keras.optimizers.SGD(1e-4),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    labels = np.arange(len(inputs)) % _CLASSES
    quantized.fit(inputs, labels, batch_size=half, verbose=0)  # two steps
    paths = [folder / "float32.tflite", folder / "int8.tflite"]
    export.to_tflite(model, paths[0])
    audit = export.to_tflite(quantized, paths[1])
    check = export.verify(quantized, paths[1], [inputs])
    figures = export.benchmark(paths, rounds=rounds)
    count = len(audit.float_operations)
    return {
        "parameters": model.count_params(),
        "integer": len(audit.operations) - count,
        "float": count,
        "unit": check.unit,
        "maximum": check.maximum,
        "mean": check.mean,
        "within_one": check.within_one,
        "bytes": [figure.size for figure in figures],
        "milliseconds": [figure.median for figure in figures],
        "rounds": rounds,
    }


def markdown_table(lines: list[dict]) -> str:
    """Return measured networks as Markdown: a table, and how it was made."""
    titles = [
        *("network", "parameters", "operations in int8 / float"),
        *("one step or less apart", "mean, largest", "float32", "int8"),
        "int8 file",
    ]
    return "\n".join(
        [
            *markdown.table(titles, map(_cells, lines)),
            "",
            f"Random weights, images of {_SIZE}x{_SIZE} pixels; encoder: two "
            "layers of width 128, 32 tokens, LayerNormalization in float. "
            "quantize_aware, two training steps, int8 file, audit; steps: "
            f"between LiteRT and the fake-quantized Keras model on {_EXAMPLES} "
            "examples. Random deep networks amplify what one rounding changes; "
            "see the trained networks above. Latency of one example at one "
            f"thread, medians of {rounds(lines)} rounds in turns. "
            + provenance(lines[0], lines),
        ]
    )


def _cells(line):
    (whole, small), (slow, fast) = line["bytes"], line["milliseconds"]
    return [
        line["case"],
        f"{line['parameters'] / 1e6:.2f} M",
        f"{line['integer']} / {line['float']}",
        f"{line['within_one']:.1%}",
        f"{line['mean']:.2f}, {line['maximum']:.0f}",
        f"{slow:.2f} ms",
        f"{fast:.2f} ms ({slow / fast:.2f}x)",
        f"{small / 1e6:.2f} MB ({small / whole:.2f})",
    ]


def _examples(model):
    rng = np.random.default_rng(0)
    if model.name == "encoder":
        return rng.integers(0, _TOKENS, (_EXAMPLES, _STEPS))
    # Smooth, as images are, in the range that the applications expect.
    coarse = rng.random((_EXAMPLES, 12, 12, 3), "float32")
    return 255 * np.kron(coarse, np.ones((1, _SIZE // 12, _SIZE // 12, 1)))


def _adapt(model, inputs):
    """Set the statistics of a network with random weights from examples."""
    norms = [
        layer
        for layer in model.layers
        if isinstance(layer, layers.BatchNormalization)
    ]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    if norms:
        model(inputs, training=True)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


def _measured(name, rounds):
    with temporary_folder() as folder:
        return measure(CASES[name], folder, rounds=rounds)


APPLICATIONS = register(
    Cases(
        name="applications",
        kind="network",
        cases=CASES,
        measure=_measured,
        show=lambda line: markdown.row(_cells(line)),
        markdown_table=markdown_table,
    )
)
