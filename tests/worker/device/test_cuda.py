"""The arithmetic that runs, whatever the flags say, on a device that is made up."""

import warnings
from collections.abc import Callable

import pytest
import torch

from bench.worker.device import cuda


def to_tf32(tensor: torch.Tensor) -> torch.Tensor:
    """Its nearest smaller numbers with a mantissa of 10 bits, as tensor cores read them."""
    return (tensor.view(torch.int32) & ~0x1FFF).view(torch.float32)


@pytest.fixture
def overruled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Products of float32 run in TF32, as under NVIDIA_TF32_OVERRIDE=1."""
    real = torch.mm

    def product(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        if one.dtype == torch.float32:
            return real(to_tf32(one), to_tf32(other))
        return real(one, other)

    monkeypatch.setattr(torch, "mm", product)


def test_products_of_float32_are_told_by_their_error() -> None:
    assert cuda.tf32_in_products("cpu") == "off"


@pytest.mark.usefixtures("overruled")
def test_products_of_tf32_are_told_by_their_error() -> None:
    assert cuda.tf32_in_products("cpu") == "on"


def test_the_look_at_a_product_leaves_the_random_numbers_of_the_case_alone() -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    cuda.tf32_in_products("cpu")
    assert torch.equal(torch.rand(3), expected)


def test_a_device_without_room_for_a_product_tells_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_room(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 MiB")

    monkeypatch.setattr(torch, "mm", no_room)
    assert cuda.tf32_in_products("cpu") is None


def test_the_variable_that_overrules_the_flags_is_named_as_it_is_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(cuda.OVERRIDE, raising=False)
    assert cuda.tf32_override() is None
    monkeypatch.setenv(cuda.OVERRIDE, "0")
    assert cuda.tf32_override() == "NVIDIA_TF32_OVERRIDE=0"


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
