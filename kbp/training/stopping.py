"""Being asked to stop."""

import os
import signal
import socket
import threading
from types import FrameType
from typing import Self

PATIENCE = 2.0  # seconds


class Stopping:
    """Ends the process with status 0 on SIGTERM, after what must be saved.

    As a context manager it listens, in a main thread alone. Python handles no
    signal while a long call of C++ lasts, such as a compilation; where that
    takes too long, and nothing would be lost, a thread ends the process.

    Attributes:
        unsaved: something is lost if the process ends at once; it is asked to
            save and then to call `saved`.
        requested: the process has been asked to end.
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

    def __exit__(self, *error: object) -> None:
        if self.listens:
            signal.set_wakeup_fd(self.fd_before)
            signal.signal(signal.SIGTERM, self.before)
            self.ended.set()
            self.teller.close()  # which ends the thread

    def saved(self) -> None:
        """Note that nothing is unsaved, and end the process if it is asked."""
        self.unsaved = False
        if self.requested:
            raise SystemExit(0)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.requested = True
        if not self.unsaved:
            raise SystemExit(0)

    def _wait(self) -> None:
        with self.told:
            while signals := self.told.recv(1):
                if signals[0] == signal.SIGTERM:
                    break
        if signals and not self.ended.wait(PATIENCE):
            self.requested = True
            if not self.unsaved:
                os._exit(0)
