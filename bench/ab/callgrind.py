"""Run a process under callgrind, and read its files.

The format: valgrind's manual, "Callgrind Format Specification".
"""

import re
import shutil
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.host.interpreter import Place

TRIGGER = "desc: Trigger: Client Request: "
_FUNCTION = re.compile(r"c?fn=\((\d+)\)(?: (.*))?")


class CallgrindError(ValueError):
    """A file is not one of callgrind's."""


@dataclass(frozen=True, slots=True)
class Counts:
    """Instructions of one piece of work, in all and by function.  name: as the process gave it."""

    name: str
    total: int
    by_function: dict[str, int]


@dataclass(frozen=True, slots=True)
class Under(Place):
    """A place whose processes run under callgrind.  dumps: the beginning of its files' names."""

    dumps: str = ""

    def command(self, module: str, *arguments: str) -> list[str]:
        return [
            shutil.which("valgrind") or "valgrind",
            "--tool=callgrind",
            "--instr-atstart=no",
            "--cache-sim=no",
            "--compress-strings=yes",
            f"--callgrind-out-file={self.dumps}",
            *Place.command(self, module, *arguments),
        ]


def read(folder: Path) -> dict[str, Counts]:
    """Return what a process counted, by name; files without a name are from its end."""
    found = {}
    for file in sorted(folder.iterdir()):
        counts = parsed(file.read_text(encoding="utf-8", errors="replace").splitlines())
        if counts.name:
            found[counts.name] = counts
    return found


def parsed(lines: Iterable[str]) -> Counts:
    """Read one file.  Raises CallgrindError."""
    name, total, function = "", None, "?"
    names: dict[str, str] = {}
    costs: defaultdict[str, int] = defaultdict(int)
    for line in _own(lines, names):
        if line.startswith(TRIGGER):
            name = line.removeprefix(TRIGGER).strip()
        elif line.startswith(("totals: ", "summary: ")):
            total = int(line.split()[1])
        elif match := _FUNCTION.match(line):
            function = names.get(match[1], "?")
        elif line[:1] in tuple("0123456789+-*"):
            places = line.split()
            costs[function] += int(places[1]) if len(places) > 1 else 0
    if total is None:
        raise CallgrindError("has no totals")
    return Counts(name, total, dict(costs))


def _own(lines: Iterable[str], names: dict[str, str]) -> Iterator[str]:
    """Yield the lines without those of the costs of called functions; learn names on the way."""
    skip = False
    for line in lines:
        if skip:
            skip = False
            continue
        if match := _FUNCTION.match(line):
            if match[2] is not None:
                names[match[1]] = match[2]
            if line.startswith("cfn="):
                continue
        skip = line.startswith("calls=")
        if not skip:
            yield line
