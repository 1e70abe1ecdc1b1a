"""Read the directories of shards, and refuse those that are not of one run."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.core.errors import UserError
from bench.core.records import Entry, StaticMetrics
from bench.core.shard import Shard
from bench.host import environment
from bench.results import directory_kind, journal, run_json
from bench.results.csv_files import RUN
from bench.results.run_json import Description, DescriptionError
from bench.shards import kinds


class ShardsError(UserError):
    """The directories are not shards of one run; the message is one line."""


@dataclass(frozen=True, slots=True)
class Part:
    """The part of a run that one machine measured.

    path:    the directory of the shard, or where it came from.
    written: run.json as it was read.
    fixed:   details of machine and software that do not change within a run.
    """

    path: Path
    written: Mapping[str, Any]
    description: Description
    shard: Shard
    plan: str
    fixed: Mapping[str, Any]
    entries: Sequence[Entry]
    label: str | None = None

    @property
    def kind(self) -> str:
        return kinds.kind(self.fixed, self.label)

    @property
    def outcomes(self) -> int:
        return sum(not isinstance(one, StaticMetrics) for one in self.entries)

    @property
    def node(self) -> str:
        """The computer; shards of earlier versions do not say, so each counts as its own."""
        return self.description.machine.node or f"shard {self.shard.index}"


def parts(given: Sequence[Path]) -> list[Part]:
    """Read all shards.  Raises ShardsError, JournalError."""
    found = [part_of(path) for path in _directories(given)]
    if not found:
        raise ShardsError(f"{given[0]}: has no run directory in it")
    refuse_others(found)
    return found


def _directories(given: Iterable[Path]) -> Iterator[Path]:
    """Yield the run directories: those given, and those inside of other folders that are given."""
    for path in given:
        if (path / RUN).exists() or not path.is_dir():
            yield path
        else:
            yield from sorted(one.parent for one in path.glob(f"*/{RUN}"))


def part_of(path: Path) -> Part:
    """Read the directory of a shard.  Raises ShardsError, JournalError."""
    try:
        written = json.loads((path / RUN).read_text(encoding="utf-8"))
        described = run_json.of(written)
        fixed = environment.fixed_details(written["machine"], written["environment"])
    except (FileNotFoundError, NotADirectoryError):
        raise ShardsError(f"{path}: is not a run directory; it has no {RUN}") from None
    except OSError as error:
        raise ShardsError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        why = error if isinstance(error, DescriptionError) else f"is damaged ({error!r})"
        raise ShardsError(f"{path / RUN}: {why}") from None
    if described.shard is None:
        kind = directory_kind.kind_of(path) or directory_kind.A_RUN
        raise ShardsError(
            f"{path}: is {kind.words} and not a shard; `bench run --shard i/n` makes shards"
        )
    return Part(
        path=path,
        written=written,
        description=described,
        shard=described.shard.shard,
        plan=described.shard.plan,
        fixed=fixed,
        entries=journal.read(path / journal.NAME),
    )


def refuse_others(found: Sequence[Part]) -> None:
    """Raise ShardsError for a shard of another plan or version, or of changed code."""
    first = found[0]
    for one in found:
        if why := _refused(first, one):
            raise ShardsError(f"{one.path}: {why}")


def _refused(first: Part, one: Part) -> str | None:
    if one.description.environment.git_dirty:
        return (
            "was measured in a working tree with uncommitted changes, which other shards may not "
            "have had; commit them and measure it again"
        )
    if one.plan != first.plan:
        return f"is of another plan than {first.path} ({one.plan} instead of {first.plan})"
    if one.shard.count != first.shard.count:
        return f"is shard {one.shard}, and {first.path} is shard {first.shard}"
    differs = kinds.different(kinds.versions(first.fixed), kinds.versions(one.fixed))
    if differs is None:
        differs = kinds.different(*_common_sources(first, one))
    return f"{differs} ({first.path})" if differs else None


def _common_sources(first: Part, one: Part) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the digests of the subjects' files that both have, by the names of subjects."""
    a, b = first.description.environment.sources, one.description.environment.sources
    both = a.keys() & b
    return (
        {f"version of {name}": a[name] for name in both},
        {f"version of {name}": b[name] for name in both},
    )
