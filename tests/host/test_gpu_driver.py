"""The driver of NVIDIA GPUs is kept loaded by a handle of NVML, where a command measures on one."""

from typing import Any

import pytest

from bench.host.gpu_driver import kept_loaded


class FakeNvml:
    """NVML of two GPUs, each of which is started by its first handle.

    refuses: the functions that raise.
    """

    class NVMLError(Exception):
        pass

    def __init__(self, *refuses: str) -> None:
        self.refuses = refuses
        self.clients = 0
        self.started: list[int] = []

    def nvmlInit(self) -> None:  # noqa: N802
        self._answer("nvmlInit")
        self.clients += 1

    def nvmlShutdown(self) -> None:  # noqa: N802
        self.clients -= 1
        self._answer("nvmlShutdown")

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        self._answer("nvmlDeviceGetCount")
        return 2

    def nvmlDeviceGetHandleByIndex(self, index: int) -> Any:  # noqa: N802
        assert self.clients == 1
        self._answer(f"handle {index}")
        self.started.append(index)

    def _answer(self, name: str) -> None:
        if name in self.refuses:
            raise self.NVMLError(name)


def test_gpus_are_held_as_long_as_the_block_lasts_and_let_go_of_whatever_ends_it() -> None:
    nvml = FakeNvml()
    with kept_loaded(["cpu", "cuda:1"], nvml):
        assert (nvml.clients, nvml.started) == (1, [0, 1])
    assert nvml.clients == 0
    with pytest.raises(KeyboardInterrupt), kept_loaded(["cuda:0"], nvml):
        raise KeyboardInterrupt
    assert nvml.clients == 0


@pytest.mark.parametrize("devices", [[], ["cpu"], ["cpu", "xpu:0", "mps"]])
def test_without_a_planned_cuda_device_nothing_is_asked(devices: list[str]) -> None:
    nvml = FakeNvml("nvmlInit")
    with kept_loaded(devices, nvml):
        assert nvml.clients == 0
    assert nvml.clients == 0


@pytest.mark.parametrize(
    ("refuses", "started"),
    [
        ("nvmlInit", []),
        ("nvmlDeviceGetCount", []),
        ("handle 0", [1]),
        ("nvmlShutdown", [0, 1]),
    ],
)
def test_a_driver_that_refuses_costs_time_and_not_the_run(refuses: str, started: list[int]) -> None:
    nvml, measured = FakeNvml(refuses), False
    with kept_loaded(["cuda:0"], nvml):
        measured = nvml.started == started
    assert measured
    assert nvml.clients == 0


def test_a_machine_without_the_library_measures_all_the_same() -> None:
    measured = False
    with kept_loaded(["cuda:0"]):
        measured = True
    assert measured
