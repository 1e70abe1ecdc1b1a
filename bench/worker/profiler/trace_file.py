"""Writes the trace of a profile: torch's own events, and the tracks of `trace_tracks`.

Kineto writes names into its JSON as they are, so a quotation mark in the name of a range breaks the
file (libkineto, output_json.cpp).  Here each event is read by itself, and such a name is mended.
"""

import contextlib
import gzip
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from bench.core import units
from bench.core.text import number_of
from bench.worker.profiler import trace_tracks
from bench.worker.profiler.device import launched_within, work
from bench.worker.profiler.events import Event
from bench.worker.profiler.memory_trace import MemoryStep
from bench.worker.profiler.owners import STEP, middle, steps, timeline
from bench.worker.profiler.ranges import Ranges
from bench.worker.profiler.trace_tracks import Clock, TraceEvent, Tracks

# Viewers in a browser need about ten times the size of the JSON as memory, and have at most 2 to
# 4 GB (ui.perfetto.dev/docs/visualization/large-traces).
LARGE_BYTES = 200_000_000
SAME_CLOCK_US = 1.0
_EVENTS = re.compile(r'"traceEvents"\s*:\s*\[')
_BETWEEN = re.compile(r"[\s,]*")
_NAME = re.compile(r'("name": )"(.*)"(,\s*"pid": )')  # the last `pid` ends it: none is in a name
_END_OF_EVENT = "\n  }"
_NO_END = "torch wrote a trace without events or without an end; is the disk full?"
_Frame = tuple[int, Mapping[str, Any]]  # begin of the events, the values before them


class TraceFileError(RuntimeError):
    """The trace cannot be read or written; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profiled:
    """The records of a profile, of which its trace gets tracks.

    counted: the steps that the tables are the mean of.
    memory:  None if no step was recorded with its memory events.
    """

    events: Sequence[Event]
    ranges: Ranges
    counted: Sequence[Event]
    device: str
    memory: MemoryStep | None = None


@dataclass(frozen=True, slots=True)
class _Part:
    """The part of the steps that a trace holds.  Nanoseconds; correlation ids of its kernels."""

    start_ns: int
    end_ns: int
    launched: frozenset[int]

    def holds(self, event: TraceEvent, clock: Clock) -> bool:
        if event.get("ph") == "M":
            return True
        args = event.get("args") or {}
        if isinstance(args, dict) and args.get("correlation") in self.launched:
            return True
        if event.get("cat") == "ac2g" and event.get("id") in self.launched:
            return True
        time_us = event.get("ts")
        own = isinstance(event.get("pid"), int) and isinstance(time_us, int | float)
        return own and clock.us(self.start_ns) <= time_us < clock.us(self.end_ns)  # type: ignore[operator]


def write(
    export: Callable[[str], None], path: Path, profiled: Profiled, large_bytes: int = LARGE_BYTES
) -> list[str]:
    """Write a trace, and return notes on it.

    export: writes torch's own trace to a file.
    path:   ends in `.json`, or `.json.gz` for a compressed one.

    Raises TraceFileError, and OSError.
    """
    raw = path.with_name(f"{path.name}.torch.json")
    try:
        export(str(raw))
        text = raw.read_text(encoding="utf-8", errors="replace")
    finally:
        with contextlib.suppress(OSError):
            raw.unlink()
    notes = []
    all_ = steps(profiled.events)
    part = None
    if len(text) > large_bytes and len(all_) > 1:
        part = _part(profiled)
        size = units.bytes_(len(text))
        notes.append(f"the trace holds 1 of {len(all_)} steps: with all of them it has {size}")
    frame = _frame(text)
    try:
        with _open(path) as file:
            found = _write(file, text, frame, profiled, part)
    except (OSError, TraceFileError):  # a part of a trace cannot be opened
        path.unlink(missing_ok=True)
        raise
    if found.lost:
        many = number_of(found.lost, "event")
        notes.append(f"{many} of the trace could not be read and are left out")
    if not found.same_clock:
        notes.append("the trace has no tracks of layers and memory: its clock is not the events'")
    if found.size_bytes > large_bytes:
        notes.append(
            f"the trace has {units.bytes_(found.size_bytes)} of JSON, which a browser may not be "
            "able to open: open it with Perfetto's trace_processor_shell --httpd, or profile a "
            "smaller batch or a part of the network"
        )
    return notes


@dataclass(slots=True)
class _Written:
    size_bytes: int = 0
    lost: int = 0  # events that could not be read
    same_clock: bool = True


def _write(
    file: BinaryIO, text: str, frame: _Frame, profiled: Profiled, part: _Part | None
) -> _Written:
    begin, head = frame
    clock = Clock(int(head.get("baseTimeNanoseconds") or 0))
    done = _Written()
    first = next(iter(steps(profiled.events)), None)

    def put(piece: str) -> None:
        data = piece.encode("utf-8")
        done.size_bytes += len(data)
        file.write(data)

    put(json.dumps(head)[:-1] + (", " if head else "") + '"traceEvents": [\n')
    comma, rest = "", ""
    seen_step = False
    for event, own_text in _events(text, begin):
        if event is None:
            done.lost += 1
            continue
        if not event:
            rest = own_text
            break
        if not seen_step and first is not None and event.get("name") == STEP:
            seen_step = True
            done.same_clock = abs(event["ts"] - clock.us(first.start_ns)) <= SAME_CLOCK_US
        if part is None or part.holds(event, clock):
            put(comma + own_text)
            comma = ",\n"
    if not rest:
        raise TraceFileError(_NO_END)
    if seen_step and done.same_clock:
        for event in _tracks(profiled, clock, part):
            put(comma + json.dumps(event))
            comma = ",\n"
    else:
        done.same_clock = False
    after = json.dumps(_values_after(rest))
    put("\n]" + (", " if after != "{}" else "") + after[1:] + "\n")
    return done


def _tracks(profiled: Profiled, clock: Clock, part: _Part | None) -> list[TraceEvent]:
    events, done = profiled.events, work(profiled.events)
    owners = timeline(events, profiled.ranges.rows)
    if part is not None:
        events = [one for one in events if part.start_ns <= one.start_ns < part.end_ns]
        done = launched_within(done, part.start_ns, part.end_ns)
    tracks = Tracks(clock)
    trace_tracks.add_layers(
        tracks, events, owners, profiled.ranges, done=done, counted=profiled.counted
    )
    if profiled.memory is not None:
        trace_tracks.add_memory(tracks, profiled.memory, profiled.device)
    return tracks.events


def _part(profiled: Profiled) -> _Part:
    """Return the step of median length among those that the tables are made of."""
    (step,) = middle(profiled.counted or steps(profiled.events), 1)
    done = launched_within(work(profiled.events), step.start_ns, step.end_ns)
    launched = frozenset(one.event.id for one in done if one.event.id)
    return _Part(step.start_ns, step.end_ns, launched)


def _open(path: Path) -> BinaryIO:
    if path.suffix == ".gz":
        return cast("BinaryIO", gzip.open(path, "wb", compresslevel=6))
    return path.open("wb")


def _frame(text: str) -> _Frame:
    """Return where the list of events begins, and the values before it."""
    begins = _EVENTS.search(text)
    if not begins or not text.endswith("}", 0, len(text.rstrip())):
        raise TraceFileError(_NO_END)
    try:
        head = json.loads(text[: begins.end()] + "]}")
    except ValueError as error:
        raise TraceFileError(f"torch wrote a trace that is not valid JSON: {error}") from None
    del head["traceEvents"]
    return begins.end(), head


def _values_after(text: str) -> Mapping[str, Any]:
    """Return the values after the list of events: messages of kineto, or nothing."""
    try:
        found = json.loads("{" + text.lstrip().removeprefix("]").lstrip().removeprefix(","))
    except ValueError:  # a message that breaks the JSON
        return {}
    return {name: value for name, value in found.items() if name != "traceName"}  # a path


def _events(text: str, begin: int) -> Iterator[tuple[TraceEvent | None, str]]:
    """Yield each event with its text, None where it cannot be read; at last what follows them."""
    decode = json.JSONDecoder().raw_decode
    place = _after_comma(text, begin)
    while place < len(text) and text[place] != "]":
        try:
            event, after = decode(text, place)
            if "pid" not in event:  # a name that looks like the end of an event
                raise ValueError
            own_text = text[place:after]
        except ValueError:
            after = text.find(_END_OF_EVENT, place)
            after = len(text) if after < 0 else after + len(_END_OF_EVENT)
            event, own_text = _mended(text[place:after])
        yield event, own_text
        place = _after_comma(text, after)
    yield {}, text[place:]


def _after_comma(text: str, place: int) -> int:
    found = _BETWEEN.match(text, place)
    return found.end() if found else place


def _mended(text: str) -> tuple[TraceEvent | None, str]:
    """Return an event whose name breaks the JSON, as kineto writes it."""
    text = _NAME.sub(lambda its: its[1] + json.dumps(its[2]) + its[3], text)
    try:
        return json.loads(text), text
    except ValueError:
        return None, ""
