"""A clean end on SIGTERM: training saves its state before it stops."""

import os
import signal
import socket
import threading
from types import FrameType
from typing import Self

from kbp.errors import TERMINATED, Terminated

PATIENCE = 2.0  # seconds


class Stopping:
    """Raises `Terminated` on SIGTERM, once the process's state is saved.

    As a context manager it handles the signal, in the main thread alone. Python
    handles no signal during a long call of C++, such as a compilation; where
    that takes longer than `PATIENCE`, and nothing would be lost, a thread ends
    the process with the same status.

    Attributes:
        unsaved: whether progress would be lost if the process ended at once.
            If so, whoever trains sees `requested`, saves, and calls `saved`.
        requested: whether the process was asked to end.
    """

    def __init__(self) -> None:
        self.unsaved = self.requested = False
        self.ended = threading.Event()

    def __enter__(self) -> Self:
        self.listens = threading.current_thread() is threading.main_thread()
        if self.listens:
            self.told, self.teller = socket.socketpair()
            self.teller.setblocking(False)
            self.before = signal.signal(signal.SIGTERM, self._ask)
            self.fd_before = signal.set_wakeup_fd(self.teller.fileno())
            threading.Thread(target=self._wait, daemon=True).start()
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if self.listens:
            signal.set_wakeup_fd(self.fd_before)
            signal.signal(signal.SIGTERM, self.before)
            self.ended.set()
            self.teller.close()  # which ends the thread
        # What `Terminated` becomes in C code that expects no exception.
        if self.requested and isinstance(error, SystemError):
            raise Terminated from error

    def saved(self) -> None:
        """Record that all is saved; end the process if that was requested."""
        self.unsaved = False
        if self.requested:
            raise Terminated

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.requested = True
        if not self.unsaved:
            raise Terminated

    def _wait(self) -> None:
        with self.told:
            while signals := self.told.recv(1):
                if signals[0] == signal.SIGTERM:
                    break
        if signals and not self.ended.wait(PATIENCE):
            self.requested = True
            if not self.unsaved:
                os.write(2, b"kbp: error: terminated.\n")
                os._exit(TERMINATED)
