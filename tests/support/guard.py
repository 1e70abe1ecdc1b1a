"""Keeps quick tests quick: a test that is not marked `slow` starts no process and does not sleep.

Tests marked `gpu` may do both: a machine without an accelerator skips them.

With `--stop-after`, slow tests end in time: those that would begin later are skipped.

Hooks of pytest and not a fixture: fixtures of a wider scope are set up before any of a function.
"""

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from typing import Any

import pytest

# owner → its functions that start a process or sleep
TAKE_LONG: tuple[tuple[Any, tuple[str, ...]], ...] = (
    (subprocess.Popen, ("__init__",)),
    (BaseProcess, ("start",)),
    (os, ("fork", "forkpty", "posix_spawn", "posix_spawnp", "system")),
    (time, ("sleep",)),
)
ENDED = pytest.StashKey[bool]()  # the test is torn down
REFUSED = pytest.StashKey[list[str]]()
BEGAN_S = pytest.StashKey[float]()
FREE = ("slow", "gpu")  # marks of tests that may take long


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds `--stop-after`."""
    parser.addoption(
        "--stop-after",
        type=float,
        metavar="SECONDS",
        help="skip slow tests that would begin later than this",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Start to count the seconds of `--stop-after`."""
    config.stash[BEGAN_S] = time.monotonic()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skips a slow test for which no time is left."""
    limit_s = item.config.getoption("--stop-after")
    if limit_s is None or not item.get_closest_marker("slow"):
        return
    if time.monotonic() - item.config.stash[BEGAN_S] >= limit_s:
        pytest.skip(f"no time left: --stop-after {limit_s:g}")


def pytest_itemcollected(item: pytest.Item) -> None:
    """Refuses marks that leave a test where it must not run: beside others, or without a GPU."""
    if item.get_closest_marker("alone") and not item.get_closest_marker("slow"):
        raise pytest.UsageError(f"{item.nodeid} is marked `alone`; mark it `slow` as well")
    if item.get_closest_marker("gpu") and not item.get_closest_marker("skipif"):
        raise pytest.UsageError(
            f"{item.nodeid} is marked `gpu`; add the `skipif` that leaves it out without a GPU"
        )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Guards setup and call; what ends in a teardown may belong to slow tests before it."""
    if any(item.get_closest_marker(name) for name in FREE):
        return (yield)
    with quick(lambda: item.stash.get(ENDED, False)) as refused:
        item.stash[REFUSED] = refused
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Fails as well where the code under test caught the refusal, or a thread met it."""
    yield
    if refused := item.stash.get(REFUSED, []):
        pytest.fail(refused[0])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    """Lifts the guard."""
    item.stash[ENDED] = True
    return (yield)


@contextmanager
def quick(ended: Callable[[], bool] = lambda: False) -> Iterator[list[str]]:
    """Let a process or a sleep fail the test inside the block.  Yields the messages.

    ended: asked each time; then the process or the sleep is allowed.

    A default argument that was bound to `time.sleep` at import is not seen.
    """
    refused: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        for owner, names in TAKE_LONG:
            for name in names:
                does = getattr(owner, name)
                refusal = _refusal(f"{owner.__name__}.{name}", refused, does, ended)
                patch.setattr(owner, name, refusal)
        yield refused


def _refusal(
    name: str, refused: list[str], allowed: Callable[..., Any], ended: Callable[[], bool]
) -> Callable[..., Any]:
    def refuse(*arguments: Any, **named: Any) -> Any:
        if ended():
            return allowed(*arguments, **named)
        does = "sleeps" if name == "time.sleep" else "starts a process"
        refused.append(
            f"This test {does} ({name}) and is not marked `slow`. Mark it with"
            " `@pytest.mark.slow`, or give the code under test a fake."
        )
        pytest.fail(refused[-1])

    return refuse
