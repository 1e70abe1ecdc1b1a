"""What torch's profiler recorded, as records of the suite's own: of any maker's device."""

from dataclasses import dataclass
from types import SimpleNamespace

import pytest

from bench.worker.profiler.events import of_kineto


@dataclass(frozen=True)
class Recorded:
    """An event as kineto has it: 5 ns of work on device 1, which call 7 launched for operator 3."""

    of: str
    kind: str
    where: str = "PrivateUse1"

    def name(self) -> str:
        return self.of

    def activity_type(self) -> str:
        return self.kind

    def device_type(self) -> SimpleNamespace:
        return SimpleNamespace(name=self.where)

    def device_index(self) -> int:
        return 1

    def start_ns(self) -> int:
        return 10

    def duration_ns(self) -> int:
        return 5

    def start_thread_id(self) -> int:
        return 2

    def correlation_id(self) -> int:
        return 7

    def linked_correlation_id(self) -> int:
        return 3

    def sequence_nr(self) -> int:
        return -1

    def is_user_annotation(self) -> bool:
        return False

    def fwd_thread_id(self) -> int:
        return 0


def read(*events: Recorded, device_index: int | None = 1) -> list[tuple[str, str]]:
    found = of_kineto(SimpleNamespace(events=lambda: events), device_index)
    return [(one.kind, one.name) for one in found]


@pytest.mark.parametrize("kind", ["kernel", "gpu_memset", "hpu_op", "mtia_ccp_events"])
def test_work_of_any_makers_device_is_work_of_the_device(kind: str) -> None:
    assert read(Recorded("sim_mm", kind)) == [("device", "sim_mm")]


def test_a_copy_is_known_by_the_begin_of_its_name_whoever_made_the_device() -> None:
    assert read(Recorded("sim_to_host", "gpu_memcpy")) == [("device", "Memcpy sim_to_host")]
    cuda = "Memcpy HtoD (Pageable -> Device)"
    assert read(Recorded(cuda, "gpu_memcpy", "CUDA")) == [("device", cuda)]


def test_a_call_into_any_makers_driver_is_a_runtime_call() -> None:
    for kind in ("cuda_runtime", "cuda_driver", "xpu_runtime", "privateuse1_runtime"):
        assert read(Recorded("launch", kind, "CPU")) == [("runtime", "launch")]


@pytest.mark.parametrize("kind", ["gpu_user_annotation", "cuda_sync", "overhead", "mtia_counters"])
def test_what_a_device_does_not_work_at_does_not_count(kind: str) -> None:
    assert read(Recorded("note", kind)) == []


@pytest.mark.parametrize("device_index", [0, None])
def test_the_work_of_another_device_does_not_count(device_index: int | None) -> None:
    assert read(Recorded("sim_mm", "kernel"), device_index=device_index) == []


def test_an_event_has_its_times_and_the_numbers_of_its_call_and_operator() -> None:
    events = [Recorded("sim_mm", "kernel")]
    (found,) = of_kineto(SimpleNamespace(events=lambda: events), 1)
    assert (found.start_ns, found.end_ns) == (10, 15)
    assert (found.id, found.linked) == (7, 3)
