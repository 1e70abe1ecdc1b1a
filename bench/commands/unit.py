"""One unit of `bench fleet`, in a process of its own on a node: a look, or a single replicate.

Standard input: a line of JSON.  The answer goes to the file `out`; an error that a user can fix is
an answer as well.
"""

import dataclasses
import io
import json
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from bench.commands import provenance
from bench.commands import run as measure
from bench.core.errors import UserError, one_line
from bench.core.exit_codes import INTERRUPTED
from bench.engine.run_so_far import Known
from bench.host import priority, probe
from bench.host.orphans import end_with_parent
from bench.results import journal
from bench.results.csv_files import RUN


def main() -> None:
    """Answer one request."""
    asked = json.loads(sys.stdin.read())
    end_with_parent(asked["parent"])
    alone = only_unit(Path(tempfile.gettempdir()))
    try:
        answer = JOBS[asked["job"]](asked)
    except UserError as error:
        answer = {"error": one_line(error)}
    beside = Path(asked["out"]).with_suffix(".tmp")
    beside.write_text(json.dumps(answer), encoding="utf-8")
    beside.rename(asked["out"])
    os.close(alone)


def only_unit(folder: Path) -> int:
    """Wait until no other unit of this user measures on this machine; return the lock.

    A unit of a driver that was killed may take a moment to end.
    """
    import fcntl

    handle = os.open(folder / f"bench-unit-{os.getuid()}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(handle, fcntl.LOCK_EX)
    return handle


def look(_: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is fixed about this machine and its software."""
    if why := priority.undo_nice():
        return {"error": why}
    found = probe.look((), {}, 180.0)
    return {
        "fixed": provenance.fixed(found),
        "devices": found.names,
        "node": provenance.machine(found)["node"],
    }


def shard(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Measure a shard of one replicate, and return its run directory."""
    if why := priority.undo_nice():
        return {"error": why}
    given = {name: _tuples(value) for name, value in asked["run"].items()}
    given["config"] = None if given["config"] is None else Path(given["config"])
    console = Console(file=io.StringIO(), width=100)
    with tempfile.TemporaryDirectory(prefix="bench-shard-") as folder:
        path = Path(folder) / "shard"
        ran = measure.measured(
            measure.Asked(
                **given,
                out=path,
                shard=asked["shard"],
                known=Known(**asked["known"]),
            ),
            console,
        )
        if ran.code == INTERRUPTED:  # a part of a unit would count as the whole of it
            return {"error": "was interrupted before its end"}
        failures = path / "failures"
        return {
            "run": json.loads((path / RUN).read_text(encoding="utf-8")),
            "lines": [line.decode() for _, line in journal.lines(path / journal.NAME, UserError)],
            "failures": {
                one.name: one.read_text(encoding="utf-8", errors="replace")
                for one in (sorted(failures.iterdir()) if failures.is_dir() else ())
            },
        }


def _tuples(value: Any) -> Any:
    """Turn the lists of JSON into the tuples of `Asked`."""
    return tuple(value) if isinstance(value, list) else value


def asked_fields(asked: measure.Asked) -> dict[str, Any]:
    """Return the flags as JSON has them, without those that a unit has of its own."""
    fields = dataclasses.asdict(asked)
    for name in ("out", "resume", "shard", "known", "list_only", "began_s"):
        fields.pop(name)
    fields["config"] = None if asked.config is None else str(asked.config)
    return fields


JOBS = {"look": look, "shard": shard}
