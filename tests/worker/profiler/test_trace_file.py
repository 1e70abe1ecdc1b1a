"""The file of a trace: torch's events are kept, tracks are added, and it can always be opened."""

import errno
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.worker.profiler import trace_file
from bench.worker.profiler.events import Event
from bench.worker.profiler.ranges import Ranges
from bench.worker.profiler.trace_file import Profiled, TraceFileError, write
from tests.support.trace_format import read

BASE_NS = 1_790_857_026_000_000_000
AT_NS = BASE_NS + 4_939_424_230_330_878  # as kineto has it today: more digits than a float


def step(begin: int, *inside: Event) -> list[Event]:
    def at(name: str, start: int, end: int, kind: str = "user_annotation", id_: int = 0) -> Event:
        return Event(name=name, start_ns=begin + start, end_ns=begin + end, kind=kind, id=id_)

    return [at("bench step", 0, 100), at("bench forward", 10, 90), *inside]


def kernel(begin: int, correlation: int) -> list[Event]:
    """A launch, and its kernel after the step."""
    return [
        Event(
            name="cudaLaunchKernel",
            start_ns=begin,
            end_ns=begin + 1,
            kind="runtime",
            id=correlation,
        ),
        Event(name="k", start_ns=begin + 500, end_ns=begin + 600, kind="device", id=correlation),
    ]


def torchs(events: list[Event], origin_ns: int = BASE_NS) -> str:
    """The text that kineto writes: each value on a line, names as they are."""
    blocks = []
    for one in events:
        us, rest = divmod(one.start_ns - origin_ns, 1000)
        long, part = divmod(one.duration_ns, 1000)
        pid = 0 if one.kind == "device" else 77
        blocks.append(
            "  {\n"
            f'    "ph": "X",\n    "cat": "{one.kind}",\n    "name": "{one.name}",\n'
            f'    "pid": {pid},\n    "tid": 7,\n'
            f'    "ts": {us}.{rest:03d},\n    "dur": {long}.{part:03d}\n    ,\n'
            f'    "args": {{\n      "correlation": {one.id}\n    }}\n  }}'
        )
    return (
        f'{{\n  "schemaVersion": 1,\n  "baseTimeNanoseconds": {BASE_NS},\n  "traceEvents": [\n'
        + ",\n".join(blocks)
        + '\n  ],\n  "traceName": "/tmp/x.json"\n}'
    )


def exported(text: str) -> Callable[[str], None]:
    def export(path: str) -> None:
        Path(path).write_text(text, encoding="utf-8")

    return export


def profiled(events: list[Event]) -> Profiled:
    counted = [one for one in events if one.name == "bench step"][-1:]
    return Profiled(events=events, ranges=Ranges(None), counted=counted, device="cuda:0")


@pytest.mark.parametrize("name", ["trace.json", "trace.json.gz"])
def test_the_tracks_have_the_times_of_torchs_own_events(tmp_path: Path, name: str) -> None:
    events = step(AT_NS)
    path = tmp_path / name
    assert write(exported(torchs(events)), path, profiled(events)) == []
    found = read(path)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    (own, *_) = found.slices[77, 7]
    (mark, *_) = found.track("bench: phases", "phases")
    assert own.start_ns == mark.start_ns == AT_NS
    assert own.end_ns == mark.end_ns == AT_NS + 100


def test_a_trace_with_another_clock_gets_no_tracks_and_says_so(tmp_path: Path) -> None:
    events = step(AT_NS)
    path = tmp_path / "trace.json"
    notes = write(exported(torchs(events, BASE_NS + 5_000)), path, profiled(events))
    assert notes == ["the trace has no tracks of layers and memory: its clock is not the events'"]
    assert set(read(path).slices) == {(77, 7)}


def of_torch_2_11(text: str) -> str:
    """Write several values on a line, and a message after the events, as kineto once did."""
    text = re.sub(r',\n    "(cat|name|pid|tid)"', r', "\1"', text)
    return text.replace('"traceName"', '"ERROR": ["a [message]"],\n  "traceName"')


@pytest.mark.parametrize("written", [str, of_torch_2_11])
@pytest.mark.parametrize("name", ['a "b" c', '"', '{"x": 1}', 'x"},  {"ph": "X"', "é\x01"])
def test_a_name_that_breaks_the_json_is_mended(
    tmp_path: Path, name: str, written: Callable[[str], str]
) -> None:
    odd = Event(name=name, start_ns=AT_NS + 20, end_ns=AT_NS + 30, kind="user_annotation")
    events = step(AT_NS, odd)
    path = tmp_path / "trace.json"
    assert write(exported(written(torchs(events))), path, profiled(events)) == []
    assert [one.name for one in read(path).slices[77, 7]] == ["bench step", "bench forward", name]


def test_an_event_that_cannot_be_read_is_left_out_and_counted(tmp_path: Path) -> None:
    odd = Event(name="odd", start_ns=AT_NS + 20, end_ns=AT_NS + 30)
    events = step(AT_NS, odd)
    text = torchs(events).replace('"name": "odd",', '"name": "odd", "of": nothing,')
    path = tmp_path / "trace.json"
    notes = write(exported(text), path, profiled(events))
    assert notes == ["1 event of the trace could not be read and are left out"]
    assert len(read(path).slices[77, 7]) == 2


def test_a_large_trace_holds_one_step_with_its_kernels(tmp_path: Path) -> None:
    first, second = AT_NS, AT_NS + 1000
    events = [
        *step(first, *kernel(first + 20, 5)),
        *step(second, *kernel(second + 20, 6)),
        *step(second + 1000),
    ]
    profile = profiled(events)
    profile = Profiled(events=events, ranges=Ranges(None), counted=[events[4]], device="cuda:0")
    path = tmp_path / "trace.json"
    notes = write(exported(torchs(events)), path, profile, large_bytes=2000)
    assert notes[0].startswith("the trace holds 1 of 3 steps: with all of them it has 2.")
    assert notes[1].startswith("the trace has ")  # still larger than 2000 bytes
    assert "trace_processor_shell" in notes[1]
    found = read(path)
    assert [one.name for one in found.slices[77, 7]] == [
        *("bench step", "bench forward", "cudaLaunchKernel")
    ]
    assert [one.start_ns for one in found.slices[0, 7]] == [second + 520]
    assert [one.name for one in found.track("bench: phases", "phases")] == [
        *("step 0 (in the tables)", "forward")
    ]


def test_a_trace_below_the_limit_is_whole(tmp_path: Path) -> None:
    events = [*step(AT_NS), *step(AT_NS + 1000)]
    path = tmp_path / "trace.json"
    assert write(exported(torchs(events)), path, profiled(events)) == []
    assert len(read(path).slices[77, 7]) == 4


WHOLE = torchs(step(AT_NS))


@pytest.mark.parametrize(
    "text", ["", '{"traceEvents": [', WHOLE[:200], WHOLE[: WHOLE.rindex("\n  }") + 4]]
)
def test_a_trace_that_torch_did_not_finish_is_an_error(tmp_path: Path, text: str) -> None:
    with pytest.raises(TraceFileError, match="disk full"):
        write(exported(text), tmp_path / "trace.json", profiled(step(AT_NS)))
    assert list(tmp_path.iterdir()) == []


def test_what_torch_says_of_the_machine_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "trace.json"
    write(exported(torchs(step(AT_NS))), path, profiled(step(AT_NS)))
    whole: dict[str, Any] = json.loads(path.read_text())
    assert whole.pop("traceEvents")
    assert whole == {"schemaVersion": 1, "baseTimeNanoseconds": BASE_NS}
    write(exported(of_torch_2_11(torchs(step(AT_NS)))), path, profiled(step(AT_NS)))
    assert json.loads(path.read_text())["ERROR"] == ["a [message]"]


def test_of_a_trace_for_which_the_disk_has_no_place_nothing_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full(io.BytesIO):
        def write(self, _: Any) -> int:
            (tmp_path / "trace.json").touch()
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(trace_file, "_open", lambda _: Full())
    with pytest.raises(OSError, match="No space left"):
        write(exported(WHOLE), tmp_path / "trace.json", profiled(step(AT_NS)))
    assert list(tmp_path.iterdir()) == []
