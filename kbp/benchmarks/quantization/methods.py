"""The methods of the quantization race."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from kbp import export
from kbp._utils.files import temporary_folder, write_atomically
from kbp.benchmarks.pruning.methods import dtm_channels
from kbp.errors import UserError
from kbp.quantization import ATTENTION_OPS, quantize_aware, tfmot


@dataclass(frozen=True)
class Method:
    """A way to make a .tflite file of a trained network.

    Attributes:
        quantize: `quantize(job) -> model` writes the file and returns the
            Keras model that it is to equal, `None` if there is none.
        networks: names of the networks that it is for, by default all.
        ours: whether it is kbp's.
    """

    quantize: Callable
    networks: tuple[str, ...] | None = None
    ours: bool = False


@dataclass
class Job:
    """The inputs of a method.

    Attributes:
        model: the network, trained in float.
        build: `build(keras) -> model`, of Keras or tf_keras.
        path: the file to write.
        calibration: batches of training images.
        train: `train(model, *callbacks, keras=keras)` trains on in eight bits.
        pruning: a `Training` from the beginning, for what is pruned.
    """

    model: keras.Model
    build: Callable
    path: Path
    calibration: list[np.ndarray]
    train: Callable
    pruning: object = field(repr=False)


def in_float(job: Job) -> keras.Model:
    """Export the network as it is."""
    export.to_tflite(job.model, job.path)
    return job.model


def converter_ptq(job: Job) -> None:
    """Quantize with TensorFlow's converter after training."""
    converter = _converter(lambda x: job.model(x, training=False), job.model)
    converter.representative_dataset = lambda: (
        [image[None]] for batch in job.calibration for image in batch
    )
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    write_atomically(job.path, converter.convert())


def edge_ptq(job: Job) -> None:
    """Quantize with AI Edge Quantizer's static 8-bit recipe, after training."""
    quantizer, recipe = edge_quantizer()
    with temporary_folder() as folder:
        # It calibrates by a signature, which comes with a SavedModel.
        saved = export.to_saved_model(job.model, folder / "model")
        converter = tf.lite.TFLiteConverter.from_saved_model(str(saved))
        content = converter.convert()
    made = quantizer.Quantizer(content, recipe.static_wi8_ai8())
    ((name, signature),) = (
        Interpreter(model_content=content).get_signature_list().items()
    )
    (input_name,) = signature["inputs"]
    images = [
        {input_name: image[None]}
        for batch in job.calibration
        for image in batch
    ]
    content = made.quantize(made.calibrate({name: images})).quantized_model
    write_atomically(job.path, bytes(content))


def edge_quantizer():
    """Return AI Edge Quantizer's modules `quantizer` and `recipe`.

    Raises:
        UserError: it is not installed.
    """
    try:
        from ai_edge_quantizer import quantizer, recipe
    except ImportError as error:
        raise UserError(
            "AI Edge Quantizer is missing. Install it with: "
            "pip install 'kbp[ptq]'"
        ) from error
    return quantizer, recipe


def kbp_ptq(job: Job) -> keras.Model:
    """Quantize with kbp after training."""
    return kbp_qat(job, train=False)


def kbp_qat(
    job: Job, model=None, skip: Iterable = (), train: bool = True
) -> keras.Model:
    """Train quantization-aware with kbp."""
    quantized = quantize_aware(
        job.model if model is None else model,
        job.calibration,
        calibration_examples=sum(map(len, job.calibration)),
        skip=list(skip),
    )
    if train:
        job.train(quantized)
    export.to_tflite(quantized, job.path)
    return quantized


def kbp_float_products(job: Job) -> keras.Model:
    """Train quantization-aware with kbp, the attention products in float."""
    return kbp_qat(job, skip=ATTENTION_OPS)


def kbp_pruned(job: Job) -> keras.Model:
    """Prune channels with DTM, then train quantization-aware with kbp."""
    return kbp_qat(job, dtm_channels(job.pruning, job.build()))


def tfmot_qat(job: Job) -> None:
    """Train a tf_keras twin quantization-aware, as the TFMOT guide says."""
    package, tf_keras = tfmot.modules()
    quantization = package.quantization.keras
    tf_keras.backend.clear_session()
    twin = job.build(tf_keras)
    twin.set_weights(job.model.get_weights())
    quantized = quantization.quantize_apply(
        quantization.quantize_annotate_model(twin)
    )
    job.train(quantized, keras=tf_keras)
    converter = _converter(lambda x: quantized(x, training=False), quantized)
    write_atomically(job.path, converter.convert())


def _converter(function, model):
    """Return a converter to int8, inputs and outputs too."""
    spec = tf.TensorSpec((1, *model.inputs[0].shape[1:]), tf.float32)
    concrete = tf.function(function).get_concrete_function(spec)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete])
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.inference_input_type = tf.int8
    converter.inference_output_type = tf.int8
    return converter


FLOAT = "float32"
_TWINS = ("residual", "separable", "unbalanced")
METHODS = {
    FLOAT: Method(in_float),
    "converter PTQ": Method(converter_ptq),
    "AI Edge PTQ": Method(edge_ptq),
    "kbp PTQ": Method(kbp_ptq, ours=True),
    "TFMOT QAT": Method(tfmot_qat, networks=_TWINS),
    "kbp QAT": Method(kbp_qat, ours=True),
    "kbp QAT, float products": Method(
        kbp_float_products, networks=("attention",), ours=True
    ),
    # It trains from the first weights: what unbalances comes after training.
    "DTM, shrink, kbp QAT": Method(
        kbp_pruned, networks=("residual", "separable"), ours=True
    ),
}
