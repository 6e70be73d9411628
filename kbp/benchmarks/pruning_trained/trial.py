"""One trial of the race from a trained network: a training that prunes."""

import io
import json
from dataclasses import asdict
from pathlib import Path

import keras
import numpy as np

from kbp import export, graph
from kbp._utils.files import write_atomically
from kbp._utils.machine import machine
from kbp.benchmarks.core.images import Images, accuracy
from kbp.benchmarks.optimizers.trial import network
from kbp.benchmarks.pruning.methods import zeros
from kbp.benchmarks.pruning.trial import Trial, export_files
from kbp.benchmarks.pruning_trained.methods import DENSE, METHODS
from kbp.benchmarks.pruning_trained.training import Protocol, Training
from kbp.errors import UserError
from kbp.sparsity import multiply_adds

TABLE = "latency_table.json"
ORIGIN = "race.json"  # of what protocol and machine the files beside it are


class Trainer:
    """Runs trials on CIFAR-10.

    Args:
        protocol: the settings that they share.
        data_dir: the folder that holds CIFAR-10.
        folder: for .tflite files, the dense networks and the latencies.

    Raises:
        UserError: the folder holds networks of another protocol.
    """

    def __init__(self, protocol: Protocol, data_dir: str | None, folder: Path):
        self.protocol = protocol
        self.images = Images(data_dir)
        self.folder = Path(folder)
        self.table = self._table()

    def _table(self) -> export.LatencyTable:
        """Return the dense network's latencies, which all processes share.

        Another machine measures its own.
        """
        path = self.folder / TABLE
        now = {"protocol": asdict(self.protocol), "machine": machine()}
        now = json.loads(json.dumps(now))
        then = self._origin()
        networks = any(self.folder.glob("*.keras"))
        if networks and then.get("protocol") != now["protocol"]:
            raise UserError(
                f"{self.folder} holds networks of another race. Race into "
                "another file, or remove the folder."
            )
        if then != now:
            keras.backend.clear_session()
            table = export.latency_table(self._network())
            if self._origin() != now:  # no other process was faster
                table.save(path)
                content = json.dumps(now, indent=1)
                write_atomically(self.folder / ORIGIN, content)
        return export.LatencyTable.load(path)

    def _origin(self) -> dict:
        path = self.folder / ORIGIN
        return json.loads(path.read_text()) if path.exists() else {}

    def _network(self) -> keras.Model:
        return network(self.protocol.width, blocks=self.protocol.blocks)

    def run(self, trial: Trial) -> dict:
        """Train and prune a network once, and evaluate it.

        Returns:
            The trial; `accuracy` of the final network; `parameters`;
            `multiply_adds`; `zeros`, the share of them in the kernels that may
            get some; and, of networks with fewer channels or all, `files`: of
            each .tflite file its `name`, its `bytes` and, of int8, its
            `accuracy`; and `network`, from which the files can be exported
            again.

        Raises:
            UserError: the dense network of the seed is missing.
        """
        keras.backend.clear_session()
        keras.utils.set_random_seed(trial.seed)
        training = Training(
            self.protocol, self.images, trial, folder=self.folder
        )
        path = self.folder / f"{DENSE}-{trial.seed}.keras"
        if trial.method == DENSE:
            model = training.fit_new(self._network(), taught=False)
            graph.plain(model).save(path)  # without the optimizer
            training.outputs = _outputs(training, model, path)
        else:
            if not path.is_file():
                raise UserError(f"{path}: missing. Race into a new file.")
            training.teacher = keras.saving.load_model(path, compile=False)
            training.outputs = _outputs(training, training.teacher, path)
            training.table = self.table
            model = METHODS[trial.method].prune(training)
        result = {
            **asdict(trial),
            "accuracy": accuracy(model, self.images.splits[trial.split]),
            "parameters": model.count_params(),
            "multiply_adds": sum(map(multiply_adds, graph.nodes(model))),
            "zeros": zeros(model),
        }
        if trial.method == DENSE or METHODS[trial.method].structured:
            result["files"] = export_files(
                self.folder,
                trial,
                model,
                training.batches(),
                self.protocol.calibration_batches * self.protocol.batch_size,
                self.images.splits[trial.split],
            )
            result["network"] = model.to_json()
        return result


def _outputs(training: Training, model: keras.Model, path: Path) -> np.ndarray:
    """Return what a dense network gives, from the file beside its own.

    The file is made where it is missing: it is large, and follows from the
    network.
    """
    beside = path.with_suffix(".npy")
    if not beside.is_file():
        content = io.BytesIO()
        np.save(content, training.record(model))
        write_atomically(beside, content.getvalue())
    return np.load(beside)
