"""Busy processes beside a measurement."""

import contextlib
import multiprocessing
from collections.abc import Iterator


def _spin() -> None:
    while True:
        pass


@contextlib.contextmanager
def neighbours(count: int) -> Iterator[None]:
    """Run `count` busy processes inside the block."""
    running = [multiprocessing.Process(target=_spin, daemon=True) for _ in range(count)]
    for one in running:
        one.start()
    try:
        yield
    finally:
        for one in running:
            one.kill()
            one.join()
