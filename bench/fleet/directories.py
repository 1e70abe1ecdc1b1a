"""The directory of a fleet: how it began, its journal, and a run directory for each kind."""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.core.records import SCHEMA_VERSION
from bench.fleet import journal
from bench.fleet.driver import FleetError, entries_of
from bench.fleet.journal import Done
from bench.results import directory_kind, run_directory, run_json
from bench.shards import merge
from bench.shards.merge import Merged
from bench.shards.read import Part

DESCRIPTION = "fleet.json"


def create(path: Path, description: Mapping[str, Any]) -> None:
    """Make the directory.  Raises RunDirError."""
    with run_directory.new(path) as folder:
        document = {"schema": SCHEMA_VERSION, "run_id": path.name, **description}
        text = json.dumps(document, indent=1) + "\n"
        run_directory.write_atomically(folder / DESCRIPTION, text)
        (folder / journal.NAME).touch()


def reopen(path: Path) -> dict[str, Any]:
    """Return how a fleet began.  Raises FleetError."""
    if other := directory_kind.mistaken(path, (directory_kind.FLEET,)):
        raise FleetError(f"--resume {path}: {other}")
    try:
        document = json.loads((path / DESCRIPTION).read_text(encoding="utf-8"))
        asked, versions = document["asked"], document["versions"]
        if not isinstance(asked, dict) or not isinstance(versions, dict):
            raise TypeError("asked and versions are objects")
    except OSError as error:
        raise FleetError(
            f"--resume {path}: is not the directory of a fleet: {error.strerror}"
        ) from None
    except (ValueError, KeyError, TypeError, RecursionError):
        raise FleetError(f"--resume {path}: its {DESCRIPTION} is damaged; begin anew") from None
    return dict(document)


def write_runs(
    path: Path, lines: Sequence[journal.Line], command: Sequence[str]
) -> list[tuple[Path, Merged]]:
    """Write the run directory of each kind anew from the journal, without tables."""
    found = []
    kinds: dict[str, list[Done]] = {}
    for one in journal.counting(lines):
        kinds.setdefault(one.kind_id, []).append(one)
    for kind_id, done in kinds.items():
        scratch = path / f".units-{kind_id}"
        shutil.rmtree(scratch, ignore_errors=True)
        parts = [_part(one, scratch) for one in sorted(done, key=lambda one: one.unit)]
        merged = Merged(kind_id, parts)
        folder = path / merged.name
        shutil.rmtree(folder, ignore_errors=True)
        try:
            merge.write(merged, folder, command)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        found.append((folder, merged))
    return found


def _part(done: Done, scratch: Path) -> Part:
    """Return a unit as the shard that it is, with what its failed processes printed."""
    described = run_json.of(done.run)
    shard = described.shard
    if shard is None:
        raise FleetError(f"unit {done.unit} from {done.address}: its run.json has no shard")
    folder = scratch / str(done.unit)
    for name, text in _safe(done.failures):
        (folder / "failures").mkdir(parents=True, exist_ok=True)
        (folder / "failures" / name).write_text(text, encoding="utf-8")
    machine = described.machine.model_copy(update={"node": done.node})
    return Part(
        path=folder,
        written=done.run,
        description=described.model_copy(update={"machine": machine}),
        shard=shard.shard,
        plan=shard.plan,
        fixed={},
        entries=entries_of(done),
        label=done.label,
    )


def _safe(failures: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield names without a folder in them: they come from another machine."""
    for name, text in failures.items():
        if Path(name).name == name:
            yield name, text
