"""Bounded waits."""

import queue
import time

SECONDS = 20


def eventually(condition, what, seconds=SECONDS):
    """Waits until `condition()` is true and gives its value."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.02)


class Inbox:
    """A handler that keeps what it is called with."""

    def __init__(self, what="something"):
        self.what = what
        self._queue = queue.Queue()

    def __call__(self, item):
        self._queue.put(item)

    def next(self, seconds=SECONDS):
        try:
            return self._queue.get(timeout=seconds)
        except queue.Empty:
            raise AssertionError(f"no {self.what} within {seconds} s") from None

    def take(self, count, seconds=SECONDS):
        return [self.next(seconds) for _ in range(count)]

    def stays_empty(self, seconds=1):
        """For what must not come: the only way to see it is to wait a while."""
        try:
            item = self._queue.get(timeout=seconds)
        except queue.Empty:
            return
        raise AssertionError(f"unexpected {self.what}: {item!r}")
