"""The history of an allocator, with one that behaves as `torch.cuda.memory`."""

import pickle
from pathlib import Path
from typing import Any

import pytest

from bench.worker.profiler import memory_history


class Allocator:
    """`torch.cuda.memory`, as far as a history needs it."""

    def __init__(self) -> None:
        self.most: int | None = None
        self.traces: list[dict[str, Any]] = []

    def allocate(self, size: int) -> None:
        if self.most is not None:
            self.traces = [*self.traces, {"action": "alloc", "size": size}][-self.most :]

    def _record_memory_history(
        self, enabled: str | None, stacks: str = "all", max_entries: int = 0
    ) -> None:
        assert enabled in (None, "all")
        assert stacks in ("python", "all")
        self.most = max_entries if enabled else None

    def _snapshot(self) -> dict[str, Any]:
        return {"segments": [], "device_traces": [list(self.traces)]}


def test_the_file_has_what_was_allocated_in_the_call_and_nothing_else(tmp_path: Path) -> None:
    memory, file = Allocator(), tmp_path / "memory_snapshot.pickle"
    memory.allocate(1)
    assert memory_history.write(memory, lambda: memory.allocate(512), file)
    memory.allocate(2)
    found = pickle.loads(file.read_bytes())
    assert found["device_traces"] == [[{"action": "alloc", "size": 512}]]


def test_a_call_that_fails_leaves_the_recording_off_and_no_file(tmp_path: Path) -> None:
    memory, file = Allocator(), tmp_path / "memory_snapshot.pickle"

    def fails() -> None:
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        memory_history.write(memory, fails, file)
    assert memory.most is None
    assert not file.exists()


@pytest.mark.parametrize("memory", [None, object()])
def test_an_allocator_without_a_history_leaves_no_file(tmp_path: Path, memory: Any) -> None:
    called: list[int] = []
    file = tmp_path / "memory_snapshot.pickle"
    assert not memory_history.write(memory, lambda: called.append(1), file)
    assert not file.exists()
    assert not called
