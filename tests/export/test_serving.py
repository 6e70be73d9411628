"""SavedModels answer as TensorFlow Serving's REST interface asks them.

Served are rows (`{"instances": [...]}` -> `{"predictions": [...]}`) and columns
(`{"inputs": ...}` -> `{"outputs": ...}`), where one tensor needs no name, in a
process in which neither kbp nor Keras can be imported.
"""

import json

import fresh
import keras
import numpy as np
import pytest

from kbp import export, models

ALONE = """
import json, sys
for name in ("kbp", "keras"):
    sys.modules[name] = None
import numpy as np
import tensorflow as tf

folder, *requests = sys.argv[1:]
loaded = tf.saved_model.load(folder)
signature = loaded.signatures["serving_default"]
specs = signature.structured_input_signature[1]

def tensors(named):
    assert sorted(named) == sorted(specs), (sorted(named), sorted(specs))
    return {
        name: tf.constant(value, specs[name].dtype)
        for name, value in named.items()
    }

def name_it(value):
    if isinstance(value, dict) and value.keys() == specs.keys():
        return value
    (name,) = specs
    return {name: value}

def answer(request):
    if "instances" in request:
        rows = [name_it(row) for row in request["instances"]]
        columns = {name: [row[name] for row in rows] for name in rows[0]}
        found = signature(**tensors(columns))
        found = {name: value.numpy().tolist() for name, value in found.items()}
        rows = [dict(zip(found, row)) for row in zip(*found.values())]
        if len(found) == 1:
            rows = [value for row in rows for value in row.values()]
        return {"predictions": rows}
    found = signature(**tensors(name_it(request["inputs"])))
    found = {name: value.numpy().tolist() for name, value in found.items()}
    if len(found) == 1:
        (found,) = found.values()
    return {"outputs": found}

for request in requests:
    print(json.dumps(answer(json.loads(request))))
"""


ANSWERS = {"instances": "predictions", "inputs": "outputs"}


def one_input():
    return models.PyramidBPNet((8, 8, 1), 4, width=8)


def two_inputs():
    left = keras.Input((4,), name="left")
    right = keras.Input((3,), dtype="int32", name="right")
    x = keras.layers.Embedding(7, 2, name="table")(right)
    x = keras.layers.Concatenate()([left, keras.layers.Flatten()(x)])
    score = keras.layers.Dense(2, name="score")(x)
    age = keras.layers.Dense(1, name="age")(x)
    return keras.Model([left, right], [score, age])


@pytest.mark.long
@pytest.mark.parametrize(
    ("make", "names"), [(one_input, ["logits"]), (two_inputs, ["score", "age"])]
)
def test_rows_and_columns_are_answered_by_name(make, names, tmp_path):
    model = make()
    folder = export.to_saved_model(model, tmp_path / "saved")
    rng = np.random.default_rng(0)
    columns = {
        x.name: rng.integers(0, 7, (3, *x.shape[1:])).astype(x.dtype)
        for x in model.inputs
    }
    right = keras.tree.flatten(
        model(columns if len(columns) > 1 else columns["image"])
    )
    right = [np.asarray(x) for x in right]
    named = {name: x.tolist() for name, x in columns.items()}
    rows = [
        dict(zip(named, row, strict=True))
        for row in zip(*named.values(), strict=True)
    ]
    requests = [{"instances": rows}, {"inputs": named}]
    if len(named) == 1:
        ((name, values),) = named.items()
        requests += [{"instances": values}, {"inputs": values}]
    said = fresh.python(ALONE, folder, *map(json.dumps, requests))
    answers = [json.loads(line) for line in said.splitlines()]
    assert len(answers) == len(requests)
    for request, answer in zip(requests, answers, strict=True):
        (key,) = answer
        assert key == ANSWERS[next(iter(request))]
        found = answer[key]
        if len(names) == 1:
            np.testing.assert_allclose(found, right[0], rtol=1e-5, atol=1e-6)
            continue
        for name, value in zip(names, right, strict=True):
            got = found[name] if key == "outputs" else [x[name] for x in found]
            np.testing.assert_allclose(got, value, rtol=1e-5, atol=1e-6)


@pytest.mark.long
def test_a_batch_of_any_size_is_answered(tmp_path):
    folder = export.to_saved_model(one_input(), tmp_path / "saved")
    requests = [
        {"instances": np.zeros((count, 8, 8, 1)).tolist()} for count in (1, 7)
    ]
    said = fresh.python(ALONE, folder, *map(json.dumps, requests))
    counts = [len(json.loads(x)["predictions"]) for x in said.splitlines()]
    assert counts == [1, 7]
