"""Reads a trace as its viewers do, and refuses what they would show wrongly.

The rules are those of Google's document "Trace Event Format", as Perfetto's importer applies them
(src/trace_processor/plugins/json_importer, and slice_tracker.cc: slices of a track that overlap
without one inside the other are errors of the trace).  Perfetto's own trace processor is no Python
package: it is downloaded when it is first used.
"""

import gzip
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

PHASES = frozenset("BEXiICMsftbne")
NEEDS_TIME = PHASES - {"M"}
# Other names of metadata are ignored by a viewer, so that a mistake would not be seen.
METADATA = {
    "process_name": "name",
    "process_labels": "labels",
    "process_sort_index": "sort_index",
    "thread_name": "name",
    "thread_sort_index": "sort_index",
}


class TraceFormatError(AssertionError):
    """The trace breaks a rule; the message names the event."""


@dataclass(frozen=True, slots=True)
class Slice:
    """A slice, and the numbers of the slices around it.  Nanoseconds."""

    name: str
    start_ns: int
    end_ns: int
    args: Mapping[str, Any]
    around: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Trace:
    """The content of a trace: slices by (process, thread), counters by (process, name)."""

    processes: Mapping[Any, str]
    threads: Mapping[tuple[Any, Any], str]
    slices: Mapping[tuple[Any, Any], list[Slice]]
    counters: Mapping[tuple[Any, str], list[tuple[int, Mapping[str, float]]]]
    arrows: Mapping[tuple[str, str, Any], tuple[tuple[Any, Any, int], tuple[Any, Any, int]]]

    def track(self, process: str, thread: str) -> list[Slice]:
        """Return the slices of the only track whose names begin so."""
        ((pid, tid),) = [
            key
            for key, name in self.threads.items()
            if name.startswith(thread) and self.processes.get(key[0], "").startswith(process)
        ]
        return self.slices.get((pid, tid), [])

    def counter(self, name: str) -> list[tuple[int, Mapping[str, float]]]:
        """Return the values of the only counter whose name begins so."""
        (found,) = [its for (_, own), its in self.counters.items() if own.startswith(name)]
        return found


def read(path: Path) -> Trace:
    """Read a trace.  Raises TraceFormatError."""
    data = path.read_bytes()
    text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8")
    # Decimal: a time of today in microseconds has more digits than a float.
    whole = json.loads(text, parse_float=Decimal, parse_constant=_no_constant)
    return parse(whole["traceEvents"], int(whole.get("baseTimeNanoseconds", 0)))


def parse(events: Iterable[Mapping[str, Any]], base_ns: int = 0) -> Trace:
    """Read events.  Times are nanoseconds since the epoch.  Raises TraceFormatError."""
    processes: dict[Any, str] = {}
    threads: dict[tuple[Any, Any], str] = {}
    slices: dict[tuple[Any, Any], list[Mapping[str, Any]]] = defaultdict(list)
    counters: dict[tuple[Any, str], list[tuple[int, Mapping[str, float]]]] = defaultdict(list)
    ends: dict[str, dict[Any, tuple[Any, Any, int]]] = {"s": {}, "f": {}}
    for event in events:
        _check(event)
        match event["ph"]:
            case "M":
                value = event["args"][METADATA[event["name"]]]
                if event["name"] == "process_name":
                    processes[event["pid"]] = value
                if event["name"] == "thread_name":
                    threads[event["pid"], event["tid"]] = value
            case "X":
                slices[event["pid"], event["tid"]].append(event)
            case "C":
                values = {name: float(value) for name, value in event["args"].items()}
                at_ns = base_ns + ns(event["ts"])
                counters[event["pid"], event["name"]].append((at_ns, values))
            case "s" | "f" as end:
                key = event["cat"], event["name"], event["id"]
                if key in ends[end]:
                    raise TraceFormatError(f"two arrows have one id: {event}")
                ends[end][key] = event["pid"], event["tid"], base_ns + ns(event["ts"])
    if ends["s"].keys() != ends["f"].keys():
        raise TraceFormatError(f"arrows have one end: {ends['s'].keys() ^ ends['f'].keys()}")
    _check_counters(counters)
    return Trace(
        processes,
        threads,
        {key: _track(its, base_ns) for key, its in slices.items()},
        counters,
        {key: (start, ends["f"][key]) for key, start in ends["s"].items()},
    )


def _check_counters(counters: Mapping[tuple[Any, str], list[Any]]) -> None:
    for (_, name), values in counters.items():
        times = [time_ns for time_ns, _ in values]
        if times != sorted(times):
            raise TraceFormatError(f"counter {name!r} goes back in time")
        if len({frozenset(its) for _, its in values}) > 1:
            raise TraceFormatError(f"counter {name!r} changes its series")


def ns(us: Any) -> int:
    """Return nanoseconds.  Raises TraceFormatError for a part of one."""
    value = Decimal(str(us)) * 1000  # of a float its shortest text, as a file has it
    if value != value.to_integral_value():
        raise TraceFormatError(f"{us} µs are no whole nanoseconds")
    return int(value)


def _no_constant(text: str) -> None:
    raise TraceFormatError(f"{text} is not valid JSON")


def _check(event: Mapping[str, Any]) -> None:
    kind = event.get("ph")
    if kind not in PHASES:
        raise TraceFormatError(f"unknown kind: {event}")
    if not isinstance(event.get("name"), str) or not event["name"]:
        raise TraceFormatError(f"no name: {event}")
    if not isinstance(event.get("pid"), int | str):
        raise TraceFormatError(f"no process: {event}")
    if kind not in "CM" and not isinstance(event.get("tid"), int | str):
        raise TraceFormatError(f"no thread: {event}")
    if kind in NEEDS_TIME and not _is_number(event.get("ts")):
        raise TraceFormatError(f"no time: {event}")
    if kind == "X" and not (_is_number(event.get("dur")) and event["dur"] >= 0):
        raise TraceFormatError(f"no duration of 0 or above: {event}")
    if kind == "C" and not (
        event.get("args") and all(_is_number(one) for one in event["args"].values())
    ):
        raise TraceFormatError(f"a counter needs numbers: {event}")
    if kind == "M" and METADATA.get(event["name"]) not in event.get("args", {}):
        raise TraceFormatError(f"metadata without its value: {event}")
    if kind in "sf" and ("id" not in event or not event.get("cat")):
        raise TraceFormatError(f"an arrow needs an id and a category: {event}")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool)


def _track(events: Iterable[Mapping[str, Any]], base_ns: int) -> list[Slice]:
    """Nest the slices of a thread.  `sorted` keeps the order of the file for equal times."""
    found: list[Slice] = []
    open_: list[int] = []
    timed = [(ns(one["ts"]), one) for one in events]
    for start_ns, event in sorted(timed, key=lambda pair: pair[0]):
        end_ns = start_ns + ns(event["dur"])
        while open_ and found[open_[-1]].end_ns <= start_ns + base_ns:
            open_.pop()
        if open_ and found[open_[-1]].end_ns < end_ns + base_ns:
            raise TraceFormatError(f"{event} ends after {found[open_[-1]]}, in which it begins")
        around = tuple(open_)
        one = Slice(
            event["name"], start_ns + base_ns, end_ns + base_ns, event.get("args", {}), around
        )
        open_.append(len(found))
        found.append(one)
    return found
