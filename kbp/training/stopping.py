"""Being asked to stop."""

import signal
import threading


class Stopping:
    """Ends the process with status 0 on SIGTERM, after what must be saved.

    As a context manager it listens, in a main thread alone.

    Attributes:
        unsaved: something is lost if the process ends at once; it is asked to
            save and then to call `leave`.
        requested: the process has been asked to end.
    """

    def __init__(self):
        self.unsaved = self.requested = False

    def __enter__(self):
        self.listens = threading.current_thread() is threading.main_thread()
        if self.listens:
            self.before = signal.signal(signal.SIGTERM, self._ask)
        return self

    def __exit__(self, *error):
        if self.listens:
            signal.signal(signal.SIGTERM, self.before)

    def _ask(self, number, frame):
        self.requested = True
        if not self.unsaved:
            self.leave()

    def leave(self):
        """End the process."""
        raise SystemExit(0)
