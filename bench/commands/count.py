"""`bench ab A B --count`: instructions of a call on both sides, instead of times."""

import dataclasses
import datetime
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.ab import ab_plan, counting, variants
from bench.ab.ab_plan import AbError, Asked, Planned
from bench.core.exit_codes import OK, UNDECIDED
from bench.core.records import SCHEMA_VERSION
from bench.core.text import number_of, shortened
from bench.host import environment
from bench.results import run_directory
from bench.terminal.progress import wide_console
from bench.verdict import counted, tables
from bench.verdict.counted import CaseCount

FILE = "count.json"


def run(asked: Asked) -> int:
    """Count, print the verdicts and write count.json.  Return the exit code."""
    console = wide_console()
    if asked.a is None or asked.b is None:
        raise AbError("two sides are needed: bench ab A B --count, e.g. bench ab main . --count")
    if asked.resume or asked.pairs is not None or asked.own_threshold:
        raise AbError(
            "--count: counts need no pairs, no threshold and no resume; leave out --pairs, "
            "--threshold and --resume"
        )
    counter = counting.find()
    if counter.engine is None:
        tables.say(console, f"unsupported: {counter.why}")
        return UNDECIDED if asked.strict else OK
    if asked.out:
        run_directory.refuse_existing(asked.out)
    a, b = variants.parse(asked.a, asked.b)
    with variants.opened(a, b) as both:
        planned = ab_plan.make(asked, *both)
        tables.say(console, f"A: {a.shown}; B: {b.shown}; counted by {counter.why}")
        path = asked.out or run_directory.default_path(
            "count", both[1].commit, datetime.datetime.now(datetime.UTC)
        )
        with run_directory.new(path) as folder:
            cases, canaries = counting.compared(
                planned, counter.engine, folder, lambda text: tables.say(console, text)
            )
            document = _document(planned, counter, cases, canaries, path)
            run_directory.write_atomically(folder / FILE, json.dumps(document, indent=1) + "\n")
    for line in lines(cases, ab_plan.names(planned), planned.missing):
        tables.say(console, line)
    tables.say(console, f"{path / FILE}")
    return counted.exit_code(cases, missing=bool(planned.missing), strict=asked.strict)


def lines(
    cases: Sequence[CaseCount], names: Mapping[str, str], missing: Mapping[str, str]
) -> Iterator[str]:
    """Yield a line for each case, and those of its causes."""
    for one in cases:
        name = names.get(one.key, one.key)
        if one.a is None or one.b is None or one.change is None or one.limit is None:
            yield f"{name}: {one.verdict}: {one.note}"
            continue
        yield (
            f"{name}: {shown(one.a)} → {shown(one.b)} instructions a call, "
            f"{100 * one.change:+.2f} % (limit {100 * one.limit:.2f} %): {one.verdict}"
            + (f": {one.note}" if one.note else "")
        )
        for cause in one.causes:
            yield f"    {shown(cause.instructions, sign='+')} in {shortened(cause.function, 120)}"
        for function, more in one.calls.items():
            which = "more" if more > 0 else "fewer"
            yield f"    {number_of(abs(more), 'call')} {which} of {function}"
    for key, why in missing.items():
        yield f"{key}: not counted: {why}"


def shown(count: float, sign: str = "") -> str:
    """Return `12,345`, or `1.234 M`."""
    if abs(count) < 1e6:
        return f"{count:{sign},.0f}"
    return f"{count / 1e6:{sign},.3f} M"


def _document(
    planned: Planned,
    counter: counting.Counter,
    cases: Sequence[CaseCount],
    canaries: Mapping[str, Sequence[float]],
    path: Path,
) -> dict[str, Any]:
    return {
        "schema": SCHEMA_VERSION,
        "run_id": path.name,
        "command": ["bench", *sys.argv[1:]],
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "sides": {side.name: side.as_dict() for side in planned.sides},
        "engine": counter.engine,
        "machine_id": planned.machine_id,
        "environment": {**planned.torch_details, **environment.environment()},
        "canary": {name: list(each) for name, each in canaries.items()},
        "cases": [dataclasses.asdict(one) for one in cases],
        "missing": dict(planned.missing),
    }
