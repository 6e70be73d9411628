"""Python processes of this machine that train together."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from kbp.errors import UserError


def start_workers(
    folder: Path, words: Iterable, count: int
) -> list[subprocess.Popen]:
    """Start Python processes on this machine that form a cluster.

    Args:
        folder: where each writes its output, to `INDEX.log`.
        words: of the command line, in which `{}` is the worker's index.
        count: of the workers; one alone has no TF_CONFIG.

    Returns:
        The processes.
    """
    sockets = [socket.create_server(("localhost", 0)) for _ in range(count)]
    hosts = [f"localhost:{each.getsockname()[1]}" for each in sockets]
    for each in sockets:
        each.close()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    environment.pop("TF_CONFIG", None)
    processes = []
    for index in range(count):
        if count > 1:
            config = {
                "cluster": {"worker": hosts},
                "task": {"type": "worker", "index": index},
            }
            environment["TF_CONFIG"] = json.dumps(config)
        with (folder / f"{index}.log").open("w") as log:
            process = subprocess.Popen(
                [sys.executable, *(str(word).format(index) for word in words)],
                env=environment,
                stdout=log,
                stderr=log,
            )
        processes.append(process)
    return processes


def finish(
    case: str, folder: Path, processes: Sequence[subprocess.Popen]
) -> None:
    """Wait for all workers.

    Args:
        case: what the error calls them.
        folder: where they wrote their output.
        processes: of `start_workers`.

    Raises:
        UserError: one failed; with the last line that it wrote.
    """
    statuses = [process.wait() for process in processes]
    for index, status in enumerate(statuses):
        if status:
            log = (folder / f"{index}.log").read_text().strip()
            raise UserError(f"{case}: failed: {log.rpartition(chr(10))[2]}")
