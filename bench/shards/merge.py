"""Merge the shards of one run: for each kind of machine the journal that one run would have."""

import dataclasses
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.core.records import NODE, Entry, Failure, StaticMetrics, to_line
from bench.core.records import SCHEMA_VERSION as SCHEMA
from bench.results import journal, run_directory
from bench.results.csv_files import RUN
from bench.shards.kinds import folder_name
from bench.shards.read import Part

# Keys of run.json that describe one process, and not the run.
OF_ONE_SHARD = frozenset({"shard", "spent", "command", "started", "run_id", "name"})


@dataclass(frozen=True, slots=True)
class Merged:
    """All that was measured on one kind of machine, each shard a single time.

    again: shards that are given once more; of two, the one with more measurements counts.
    """

    kind: str
    parts: Sequence[Part]
    again: Sequence[Part] = ()

    @property
    def name(self) -> str:
        """A name for its folder."""
        first = self.parts[0]
        return folder_name(first.description.devices, self.kind, first.label)

    @property
    def shards(self) -> list[int]:
        return [one.shard.index for one in self.parts]


def by_kind(parts: Iterable[Part]) -> list[Merged]:
    """Return what each kind of machine measured, by its shards in order."""
    kinds: dict[str, list[Part]] = {}
    for part in parts:
        kinds.setdefault(part.kind, []).append(part)
    return [_without_copies(kind, found) for kind, found in kinds.items()]


def _without_copies(kind: str, found: Sequence[Part]) -> Merged:
    """Keep one of several with the same shard: outcomes of two are never mixed in one replicate."""
    best: dict[int, Part] = {}
    again: list[Part] = []
    for part in found:
        other = best.setdefault(part.shard.index, part)
        if other is part:
            continue
        if (part.measured, part.outcomes) > (other.measured, other.outcomes):
            best[part.shard.index], part = part, other
        again.append(part)
    return Merged(kind, [best[index] for index in sorted(best)], again)


def missing(merged: Sequence[Merged]) -> list[int]:
    """Return the shards that no machine has measured."""
    count = merged[0].parts[0].shard.count
    return sorted(set(range(1, count + 1)) - {index for one in merged for index in one.shards})


def entries(parts: Sequence[Part]) -> list[Entry]:
    """Return the entries of all parts as one journal would have them: replicate after replicate.

    Each outcome names its node, if there are several.  A case has the static metrics that
    found it wrong; else those that no time limit ended, and with the fewest problems.
    """
    several = len({part.node for part in parts}) > 1
    placed = [
        (number, _of_node(entry, part.node) if several else entry)
        for part in parts
        for number, entry in _placed(part.entries)
    ]
    ordered = [entry for _, entry in sorted(placed, key=lambda one: one[0])]
    best: dict[str, StaticMetrics] = {}
    for entry in ordered:
        if isinstance(entry, StaticMetrics):
            other = best.setdefault(entry.case.case_id, entry)
            best[entry.case.case_id] = min(other, entry, key=_doubt)
    return journal.without_repeats(
        best[entry.case.case_id] if isinstance(entry, StaticMetrics) else entry for entry in ordered
    )


def _placed(own: Iterable[Entry]) -> Iterator[tuple[int, Entry]]:
    """Yield each entry with its replicate; static metrics have that of the outcome before them."""
    number = 0
    for entry in own:
        if not isinstance(entry, StaticMetrics):
            number = entry.replicate
        yield number, entry


def _of_node(entry: Entry, node: str) -> Entry:
    if isinstance(entry, StaticMetrics):
        return entry
    return dataclasses.replace(entry, state={**entry.state, NODE: node})


def _doubt(one: StaticMetrics) -> tuple[bool, bool, int]:
    return one.invalid is None, one.limit_s is not None, len(one.problems)


def document(merged: Merged, command: Sequence[str]) -> dict[str, Any]:
    """Return run.json of the merged run: that of its first shard, with what all of them add."""
    first = merged.parts[0]
    kept = {name: value for name, value in first.written.items() if name not in OF_ONE_SHARD}
    cases = {json.dumps(one, sort_keys=True): one for one in _all(merged, "cases")}
    spent = _sum([one.written.get("spent") for one in merged.parts])
    return {
        **kept,
        "command": list(command),
        "started": min(filter(None, (one.description.started for one in merged.parts))),
        "name": first.written.get("name"),
        "cases": list(cases.values()),
        "kind": merged.kind,
        "merged": {
            "plan": first.plan,
            "count": first.shard.count,
            "shards": [
                {
                    "index": one.shard.index,
                    "node": one.node,
                    "outcomes": one.outcomes,
                    "started": one.description.started,
                    "command": list(one.description.command),
                }
                for one in merged.parts
            ],
        },
        **({"spent": spent} if spent else {}),
    }


def _all(merged: Merged, key: str) -> Iterator[Any]:
    for part in merged.parts:
        yield from part.written.get(key) or ()


def _sum(spent: Iterable[object]) -> dict[str, float]:
    """Return the seconds of all machines together, by part."""
    total: dict[str, float] = {}
    for one in spent:
        for name, value in one.items() if isinstance(one, Mapping) else ():
            if isinstance(value, int | float) and not isinstance(value, bool):
                total[name] = round(total.get(name, 0.0) + value, 3)
    return total


def write(merged: Merged, path: Path, command: Sequence[str]) -> None:
    """Make the run directory, without its tables.  Raises RunDirError."""
    with run_directory.new(path) as folder:
        described = {"schema": SCHEMA, "run_id": path.name, **document(merged, command)}
        text = json.dumps(described, indent=1) + "\n"
        run_directory.write_atomically(folder / RUN, text)
        logged = [
            dataclasses.replace(part, entries=list(_with_logs(part, folder)))
            for part in merged.parts
        ]
        lines = "".join(f"{to_line(entry)}\n" for entry in entries(logged))
        run_directory.write_atomically(folder / journal.NAME, lines)


def _with_logs(part: Part, folder: Path) -> Iterator[Entry]:
    """Copy what failed processes printed; a name that another shard has taken gets its number."""
    for entry in part.entries:
        log = entry.log if isinstance(entry, Failure) else None
        source = part.path / "failures" / Path(log or "").name
        if not isinstance(entry, Failure) or log is None or not source.is_file():
            yield entry
            continue
        target = folder / "failures" / source.name
        target.parent.mkdir(exist_ok=True)
        if target.exists():
            target = target.with_stem(f"{target.stem}-of-shard-{part.shard.index}")
        shutil.copyfile(source, target)
        yield dataclasses.replace(entry, log=target.name)
