"""The quantization race: alike for all methods, resumable, what it says."""

import functools
import json
import sys
from dataclasses import asdict

import keras
import pytest

from kbp import export, sparsity
from kbp.__main__ import main
from kbp.benchmarks.applications import cases as applications
from kbp.benchmarks.core.latencies import latencies
from kbp.benchmarks.core.log import Log
from kbp.benchmarks.core.race import folder_of
from kbp.benchmarks.optimizers import trial
from kbp.benchmarks.quantization import race as quantization_race
from kbp.benchmarks.quantization import report as report
from kbp.benchmarks.quantization.methods import METHODS
from kbp.benchmarks.quantization.networks import NETWORKS, Network
from kbp.benchmarks.quantization.plan import trials
from kbp.benchmarks.quantization.race import RACE
from kbp.benchmarks.quantization.trial import Protocol, Trainer, Trial
from kbp.errors import UserError
from kbp.quantization import tfmot

pytestmark = pytest.mark.usefixtures("images")

TINY = Protocol(
    batch_size=8,
    steps=8,
    evaluate_every=4,
    fine_steps=2,
    calibration_batches=1,
    multiple_of=2,
    verified=8,
    seeds=2,
)


@pytest.fixture
def small(monkeypatch):
    """A small network in the first one's place."""
    build = functools.partial(trial.network, 4)
    network = Network(lambda keras=keras: build(keras), 0.03, 0.0)
    monkeypatch.setitem(NETWORKS, "residual", network)


@pytest.mark.long
@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    "method",
    [
        pytest.param(name, marks=pytest.mark.slow)
        if name != "kbp QAT"
        else name
        for name, method in METHODS.items()
        if "residual" in (method.networks or NETWORKS)
    ],
)
@pytest.mark.filterwarnings("ignore:Statistics for quantized inputs")
@pytest.mark.filterwarnings("ignore:Warning. Enabling `experimental")
def test_every_method_makes_a_file(method, tmp_path):
    if method == "AI Edge PTQ":
        pytest.importorskip("ai_edge_quantizer")
    trainer = Trainer(TINY, None, tmp_path)
    result = trainer.run(Trial("residual", method, 1))
    assert json.loads(json.dumps(result)) == result
    path = tmp_path / result["file"]
    assert path.stat().st_size == result["bytes"]
    assert 0 <= result["accuracy"] <= 1
    assert result["operations"] >= 14
    if method != "float32":
        assert result["float_operations"] == 0
    ours = METHODS[method].ours
    assert (result.get("within_one", 0) >= 0.999) == (
        ours or method == "float32"
    )
    trains = "PTQ" not in method
    assert (result.get("step_seconds", 0) > 0) == trains
    if method.startswith("DTM"):
        whole = trial.network(4).count_params()
        assert result["parameters"] < (1 - TINY.level) * whole * 1.2
    # What one trial has trained, the next one finds.
    assert trainer.trained("residual", 1)[1] == []


@pytest.mark.slow
def test_attention_leaves_its_products_in_float(tmp_path, monkeypatch):
    inputs = keras.Input((32, 32, 3))
    x = keras.layers.Conv2D(8, 8, 8)(inputs)
    x = keras.layers.Reshape((16, 8))(x)
    x = keras.layers.MultiHeadAttention(2, 4)(x, x)
    x = keras.layers.GlobalAveragePooling1D()(x)
    model = keras.Model(inputs, keras.layers.Dense(10)(x))
    build = functools.partial(keras.models.clone_model, model)
    monkeypatch.setitem(
        NETWORKS, "attention", Network(lambda: build(), 0.01, 0.0)
    )
    trainer = Trainer(TINY, None, tmp_path)
    result = trainer.run(Trial("attention", "kbp QAT, float products", 1))
    floats = export.audit(tmp_path / result["file"]).float_operations
    names = [operation.name for operation in floats]
    assert names.count("BATCH_MATMUL") == 2
    assert names.count("SOFTMAX") == 1
    assert "FULLY_CONNECTED" not in names


@pytest.mark.long
@pytest.mark.parametrize("name", NETWORKS)
def test_networks_have_the_layers_that_their_methods_need(name):
    network = NETWORKS[name]
    model = network.build()
    assert model.input_shape == (None, 32, 32, 3)
    assert model.output_shape == (None, 10)
    methods = {t.method for t in trials(name, TINY)}
    if "TFMOT QAT" in methods:
        _, tf_keras = tfmot.modules()
        twin = network.build(tf_keras)
        shapes = [w.shape for w in twin.get_weights()]
        assert shapes == [w.shape for w in model.get_weights()]
    if "DTM, shrink, kbp QAT" in methods:
        masked = sparsity.apply_dtm(
            model, granularity="channel", protect_ends=False
        )
        assert list(sparsity.masked_layers(masked))


@pytest.mark.long
def test_race_goes_on_where_it_was_stopped(tmp_path, monkeypatch):
    file = tmp_path / "runs" / "race.jsonl"
    folder = folder_of(file)
    monkeypatch.setattr(quantization_race, "edge_quantizer", lambda: None)
    ran, interrupted = [], [True]
    inputs = keras.Input((2,))
    model = keras.Model(inputs, keras.layers.Dense(2)(inputs))

    def run(self, trial):
        if interrupted and len(ran) == 3:
            raise KeyboardInterrupt
        ran.append(trial)
        name = f"{len(ran)}.tflite"
        export.to_tflite(model, folder / name)
        return {**asdict(trial), "accuracy": 0.1, "bytes": 9, "file": name}

    monkeypatch.setattr(Trainer, "run", run)
    options = {"protocol": TINY, "names": ["attention"], "rounds": 1}
    with pytest.raises(KeyboardInterrupt):
        RACE.run(file, **options)
    assert len(file.read_text().splitlines()) == 4  # the head and trials
    interrupted.clear()
    results = RACE.run(file, **options)
    assert ran == trials("attention", TINY)
    low, median, high = latencies(results)["2.tflite"]
    assert 0 < low <= median <= high
    assert len(RACE.run(file, **options)) == len(results) == len(ran) + 1
    assert len(RACE.run(file, again=True, **options)) == len(results) + 1
    (folder / "1.tflite").unlink()
    with pytest.raises(UserError, match=r"1\.tflite: missing"):
        RACE.run(file, again=True, **options)


def test_wrong_name_and_missing_peer_are_named(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert main(["benchmark", "quantization", "residul"]) == 2
    error = capsys.readouterr().err
    assert "unknown network 'residul'; did you mean 'residual'?" in error
    monkeypatch.setitem(sys.modules, "ai_edge_quantizer", None)
    assert main(["benchmark", "quantization", "residual"]) == 2
    assert "pip install 'kbp[ptq]'" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def result_of(method, seed, accuracy, size, **more):
    common = {"file": f"{method}{seed}", "bytes": size, "commit": "c"}
    common |= {"accuracy": accuracy, "float_operations": 0}
    return {**asdict(Trial("residual", method, seed)), **common, **more}


def test_table_says_what_the_race_says(tmp_path):
    log = Log(tmp_path / "race.jsonl", TINY)
    results = []
    for seed in (1, 2):
        checks = {"within_one": 0.9995, "within_one_reference": 0.998}
        results += [
            result_of("float32", seed, 0.79 + seed / 100, 4000, step_seconds=1),
            result_of(
                *("kbp QAT", seed, 0.80, 1000), step_seconds=1.5, **checks
            ),
            result_of("converter PTQ", seed, 0.4, 1000),
        ]
    results.append(result_of("TFMOT QAT", 1, 0.7, 1000))  # has not finished
    times = {"float32": 2.0, "kbp QAT": 0.5, "converter PTQ": 0.5}
    measured = {f"{k}{n}": [1, v, 3] for k, v in times.items() for n in (1, 2)}
    results.append({"latency": measured, "commit": "d"})
    lines = report.markdown_table(log.head, results).splitlines()
    assert lines[2] == (
        "| residual: float32 | 80.50% ± 0.71% | 100.00% | 4 kB (1.00) | "
        "2.000 ms (1.00x) | - | 1.00x |"
    )
    assert lines[3] == (
        "| converter PTQ | 40.00% ± 0.00% | 49.69% | 1 kB (0.25) | "
        "0.500 ms (4.00x) | - | - |"
    )
    assert lines[4] == (
        "| **kbp QAT** | 80.00% ± 0.00% | 99.38% | 1 kB (0.25) | "
        "0.500 ms (4.00x) | 99.95% / 99.80% | 1.50x |"
    )
    assert "kbp at c, d." in lines[6]
    assert len(lines) == 7
    assert "kbp QAT" in report.plot(log.head, results)
    assert report.markdown_table(log.head, []).startswith("No method")
    assert "<svg" in report.plot(log.head, [])


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow) for name in applications.CASES],
)
def test_networks_of_others_reach_eight_bits(name, tmp_path):
    case = applications.CASES[name]
    figures = applications.measure(case, tmp_path, rounds=1)
    assert figures["integer"] > 20
    assert bool(figures["float"]) == bool(case.skip)
    assert figures["unit"] == "LSB"
    # Random deep networks amplify what one rounding changes.
    assert figures["mean"] < 12
    small, whole = sorted(figures["bytes"])
    assert small < 0.35 * whole
    line = {"case": name, **figures, "commit": "c"}
    line |= Log(tmp_path / "x", TINY).head
    assert f"| {name} |" in applications.markdown_table([line])
