import warnings
from collections.abc import Callable

import pytest
import torch

from bench.worker.device import cuda


@pytest.fixture
def modes(monkeypatch: pytest.MonkeyPatch) -> list[int | str]:
    """The sync debug modes that were set, the last one in force."""
    seen: list[int | str] = [0]
    monkeypatch.setattr(torch.cuda, "get_sync_debug_mode", lambda: seen[-1])
    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", seen.append)
    return seen


def reads_a_number(modes: list[int | str]) -> Callable[[], None]:
    """A call that waits, of which torch warns in this mode."""

    def call() -> None:
        if modes[-1] == "warn":
            warnings.warn("called a synchronizing CUDA operation", stacklevel=1)

    return call


def test_a_call_that_reads_a_number_of_the_device_waits_for_it(modes: list[int | str]) -> None:
    assert cuda.waits_for_device("cuda:0", reads_a_number(modes))
    assert modes == [0, "warn", 0]


@pytest.mark.usefixtures("modes")
def test_a_call_that_only_warns_of_something_else_does_not_wait() -> None:
    assert not cuda.waits_for_device("cuda:0", lambda: warnings.warn("deprecated", stacklevel=1))


def test_other_devices_are_not_asked(modes: list[int | str]) -> None:
    assert not cuda.waits_for_device("xpu:0", reads_a_number(modes))
    assert modes == [0]


def test_a_call_that_raises_leaves_the_mode_as_it_was(modes: list[int | str]) -> None:
    def call() -> None:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        cuda.waits_for_device("cuda:0", call)
    assert modes[-1] == 0
