"""Every class of layers has the traits of the golden table, and no others."""

import dataclasses
import json
from pathlib import Path

import keras
import pytest
from keras import layers, ops

import kbp
from kbp.graph import (
    UNKNOWN,
    LayerTraits,
    register_layer_traits,
    traits_of,
    traits_of_class,
)
from kbp.sparsity.channels.registry import (
    register_channel_rule,
    rule_names,
)

GOLDEN = json.loads(
    (Path(__file__).parents[1] / "golden/layer_traits.json").read_text()
)
IMAGES = keras.KerasTensor((1, 4, 4, 2))


def public_classes(*modules):
    """Return the classes of layers that modules make public."""
    return {
        value
        for module in modules
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, keras.Operation)
    }


def operation_classes():
    """Return all classes of Keras's operations that are no layers."""
    found, todo = set(), [keras.Operation]
    while todo:
        kind = todo.pop()
        if not issubclass(kind, layers.Layer):
            found.add(kind)
            todo += kind.__subclasses__()
    return {k for k in found if k.__module__.startswith("keras.")}


def told(row, names=None):
    """Return what a row says, as plain data."""
    said = {}
    for field in dataclasses.fields(row):
        value = getattr(row, field.name)
        if value != field.default and (names is None or field.name in names):
            said[field.name] = value
    for name in ("problem", "by_configuration"):
        said.pop(name, None)
    if "activation" in said:
        said["activation"] = said["activation"].__name__
    return json.loads(json.dumps(said))


def test_each_layer_has_its_row_and_no_other_has_one():
    classes = public_classes(layers, kbp.layers)
    found = {
        kind.__name__: told(traits_of_class(kind))
        for kind in classes
        if traits_of_class(kind) is not UNKNOWN
    }
    assert found == GOLDEN["layers"]
    assert len(classes) > len(found) + 30  # many have none


def test_each_operation_has_its_row_and_no_other_has_one():
    found = {
        kind.__name__: told(traits_of_class(kind))
        for kind in operation_classes()
        if traits_of_class(kind) is not UNKNOWN
    }
    golden = GOLDEN["operations"]
    assert found == {name: golden[name] for name in found}
    # What these activations compute has no class of its own in Keras.
    assert set(golden) - set(found) <= {"Exponential", "Identity", "Linear"}


def make(key):
    """Return the operation that a key of the golden file configures."""
    kind, _, rest = key.partition(" ")
    if kind == "Resize":
        resized = ops.image.resize(IMAGES, (8, 8), interpolation=rest)
        return resized._keras_history.operation
    if kind == "ReLU":
        return layers.ReLU(**json.loads(rest))
    if kind == "UpSampling2D":
        return layers.UpSampling2D(interpolation=rest)
    if kind == "NearestUpSampling2D":
        return kbp.layers.NearestUpSampling2D()
    return getattr(layers, kind)(*([rest] if rest else []))


@pytest.mark.parametrize("key", GOLDEN["configured"])
def test_some_traits_depend_on_how_a_layer_is_configured(key):
    names = ("rounding", "fixed_range", "homogeneous")
    assert told(traits_of(make(key)), names) == GOLDEN["configured"][key]


def test_subclass_has_no_traits_but_its_own():
    kind = type("Mine", (layers.Dense,), {})
    assert traits_of(kind(3)) is UNKNOWN
    register_layer_traits(LayerTraits(rounding="computed"))(kind)
    assert traits_of(kind(3)).rounding == "computed"
    assert traits_of(kind(3)).kernel is None
    with pytest.raises(ValueError, match=r"Mine.*has layer traits already"):
        register_layer_traits(LayerTraits())(kind)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"rounding": "moved"}, r"`rounding` must be one of.*'moved'"),
        ({"batch_norm": "tflite"}, r"`batch_norm` must be one of.*'tflite'"),
        ({"prunable": ("filter",)}, r"`prunable` must be one of.*'filter'"),
        ({"prunable": ("element",)}, r"`kernel` must name.*prunable="),
        ({"size_argument": "units"}, r"`kernel` must name.*='units'"),
        (
            {"kernel": "w", "kernel_quantizer": "tensor"},
            r"`kernel_quantizer` must be one of.*'tensor'",
        ),
    ],
)
def test_wrong_trait_is_named(wrong, message):
    with pytest.raises(ValueError, match=message):
        LayerTraits(**wrong)


def test_each_name_of_a_channel_rule_has_its_rule():
    rows = {**GOLDEN["layers"], **GOLDEN["operations"]}.values()
    named = {row["channels"] for row in rows if "channels" in row}
    # The shapes of some layers depend on how they are configured.
    assert named | {"grouped"} == set(rule_names())


def test_unknown_channel_rule_is_named():
    kind = type("Misspelt", (layers.Identity,), {})
    register_layer_traits(LayerTraits(channels="elementwize"))(kind)
    model = keras.Sequential([keras.Input((4,)), kind(name="odd")])
    with pytest.raises(ValueError, match=r"odd \(Misspelt\).*'elementwise'\?"):
        kbp.sparsity.shrink(model)
    with pytest.raises(ValueError, match="channel rule 'keep' already"):
        register_channel_rule("keep")(lambda trace, node, inputs: None)


def test_what_has_no_traits_is_named():
    with pytest.raises(ValueError, match="must be a LayerTraits"):
        register_layer_traits({"rounding": "copied"})
    with pytest.raises(ValueError, match=r"class of layers.*Received: 3"):
        register_layer_traits(LayerTraits())(3)
