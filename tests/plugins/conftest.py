"""Files of strangers, in a folder outside the tree."""

import sys

import pytest

from kbp._utils import plugins

FILES = {
    "vector_net.py": """
import keras

from kbp.models import register_model


@register_model("vector_net")
def VectorNet(input_shape, num_outputs, *, width: int = 16):
    inputs = keras.Input(input_shape)
    x = keras.layers.Dense(width, activation="relu")(inputs)
    x = keras.layers.Dense(width, activation="relu")(x)
    return keras.Model(inputs, keras.layers.Dense(num_outputs)(x))
""",
    "image_net.py": """
import keras

from kbp.models import register_model


@register_model("image_net")
def ImageNet(input_shape, num_outputs, *, filters: int = 8):
    inputs = keras.Input(input_shape)
    x = keras.layers.Conv2D(filters, 3, activation="relu")(inputs)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(num_outputs)(x))
""",
    "stripes.py": """
import dataclasses

import numpy as np

from kbp.data import Examples, Splits, number, register_dataset


@dataclasses.dataclass(frozen=True)
class StripesConfig:
    count: int = number(128, 32)
    noise: float = number(0.1, 0, below=1)


@register_dataset(
    "stripes",
    config=StripesConfig,
    task="classification",
    in_data_dir=False,
    note=lambda config: f"{config.count} images",
)
def load(config, data_dir):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, config.count)
    rows = np.broadcast_to(np.arange(8)[:, None] % 2, (8, 8))
    images = np.stack([rows.T if label else rows for label in labels])
    images = images + config.noise * rng.random(images.shape)
    all_of_them = Examples((images[..., None] / 2).astype("float32"), labels)
    parts = np.split(np.arange(config.count), [config.count // 2, -16])
    return Splits(*map(all_of_them.take, parts), ("rows", "columns"))
""",
    "planes.py": """
import dataclasses

import numpy as np

from kbp.data import Examples, Splits, number, register_dataset


@dataclasses.dataclass(frozen=True)
class PlanesConfig:
    noise: float = number(0.05, 0, below=1)


@register_dataset(
    "planes", config=PlanesConfig, task="regression", in_data_dir=False
)
def load(config, data_dir):
    rng = np.random.default_rng(0)
    inputs = rng.uniform(-1, 1, (640, 6)).astype("float32")
    labels = inputs @ [[1.0], [-2.0], [0.5], [0.0], [1.5], [-1.0]]
    labels += config.noise * rng.normal(size=labels.shape)
    all_of_them = Examples(inputs, labels.astype("float32"))
    parts = np.split(np.arange(640), [512, 576])
    return Splits(*map(all_of_them.take, parts))
""",
    "regression.py": '''
import dataclasses

import keras
import numpy as np

from kbp.data import number
from kbp.tasks import Task, register_task


@dataclasses.dataclass(frozen=True)
class RegressionLossConfig:
    delta: float = number(1.0, above=0)


@register_task("regression")
class Regression(Task):
    """A number for each vector; the score is the mean absolute error."""

    metric = "MAE"
    metric_format = "{:.3f}"
    sections = {"loss": RegressionLossConfig}
    takes = "vectors"
    gives = "a number"

    def make_loss(self):
        return keras.losses.Huber(self.section(RegressionLossConfig).delta)

    def build(self):
        return self.recipe.model.build(self.shape, 1)

    def metrics(self):
        return ["mae"]

    def score(self, outputs, split="test"):
        labels = getattr(self.splits, split).labels
        return float(np.abs(outputs - labels).mean())

    def details(self, outputs):
        gaps = np.abs(outputs - self.splits.test.labels)
        return {"largest error": f"{gaps.max():.3f}"}

    def figures(self, outputs):
        height = round(100 * self.score(outputs))
        bar = f'<svg><rect width="9" height="{height}"/></svg>'
        return {"Errors of the int8 file": bar}
''',
    "planes.toml": """
[model]
architecture = "vector_net"
width = 32

[data]
name = "planes"
noise = 0.02

[loss]
delta = 0.5

[optimizer]
learning_rate = 0.02

[sparsity]
target = 0.3

[training]
epochs = 12

[quantization]
epochs = 2
learning_rate = 0.001

[export]
benchmark_rounds = 1
""",
    "leaving.py": "raise SystemExit(0)\n",
    "broken.py": "import kbp\n\nraise RuntimeError('two\\nlines')\n",
}


@pytest.fixture
def folder(tmp_path, monkeypatch, own_registries):
    """A folder of plugins; what they register is forgotten after the test."""
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    plugins.load_installed.cache_clear()
    yield tmp_path
    plugins.load_installed.cache_clear()
    for name in FILES:
        sys.modules.pop(name.removesuffix(".py"), None)
