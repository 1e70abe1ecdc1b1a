"""Which command made a directory, by the file that describes it, and how it is resumed.

The directories of earlier versions have the same files.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.core.text import command

# Here and not in `csv_files`, which imports pandas: a run does not wait for that when it begins.
RUN, MEASUREMENTS = "run.json", "measurements.csv"
OF_CASE = "profile.json"  # in the folder of each case of a profile
SIDES = ("A", "B")  # folders of a pair of profiles


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of directory.

    words:   in a message, after `is`.
    made_by: the command that makes it, without `bench`.
    resumed: whether `bench COMMAND --resume DIR` continues it.
    """

    words: str
    made_by: str
    resumed: bool = False

    def resume(self, path: Path) -> str:
        """Return the command that continues it."""
        return command("bench", self.made_by, "--resume", path)


A_RUN = Kind("a whole run", "run", resumed=True)
SHARD = Kind("a shard of a run", "run", resumed=True)
MERGED = Kind("a merged run", "merge")
SEARCH = Kind("a search", "tune", resumed=True)
COMPARISON = Kind("a comparison", "ab", resumed=True)
COUNT = Kind("a count of instructions", "ab --count")
BISECTION = Kind("a bisection", "bisect", resumed=True)
PROFILE = Kind("a profile", "profile")
PAIR = Kind("a pair of profiles", "profile A B")
FLEET = Kind("a fleet", "fleet", resumed=True)
RUNS = (A_RUN, SHARD, MERGED)  # they have a measurements.csv when they are finished

_OWN_FILES: Mapping[str, Kind] = {
    "ab.json": COMPARISON,
    "count.json": COUNT,
    "bisect.json": BISECTION,
    "fleet.json": FLEET,
    "tune.json": SEARCH,
}
_OWN_KEYS: Mapping[str, Kind] = {  # of run.json
    "tune": SEARCH,
    "sides": PAIR,
    "shard": SHARD,
    "merged": MERGED,
}


def kind_of(path: Path) -> Kind | None:
    """Return the kind of a directory; None if no command made it, or if it cannot be looked at.

    A damaged run.json is that of a run, whose reader says what is wrong.
    """
    try:
        return _kind_of(path)
    except OSError:
        return None


def _kind_of(path: Path) -> Kind | None:
    for file, kind in _OWN_FILES.items():
        if (path / file).exists():
            return kind
    if (path / RUN).exists():
        return _of_description(path)
    if (path / MEASUREMENTS).exists():
        return A_RUN
    if (path / OF_CASE).exists() or _has_profiles(path):
        return PROFILE
    return PAIR if all(_has_profiles(path / side) for side in SIDES) else None


def _of_description(path: Path) -> Kind:
    document = _read(path / RUN)
    for key, kind in _OWN_KEYS.items():
        if document.get(key) is not None:
            return kind
    if (path / MEASUREMENTS).exists():
        return A_RUN
    asked = document.get("command")
    of_profile = isinstance(asked, list) and asked[1:2] == [PROFILE.made_by]
    return PROFILE if of_profile or _has_profiles(path) else A_RUN


def _read(file: Path) -> Mapping[str, Any]:
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _has_profiles(path: Path) -> bool:
    return any(path.glob(f"*/{OF_CASE}"))


def mistaken(path: Path, expected: Collection[Kind]) -> str | None:
    """Return the end of the message to someone who resumes the directory of another command.

    None if it is as expected, or of no command.
    """
    found = kind_of(path)
    if found is None or found in expected:
        return None
    how = f"; go on with: {found.resume(path)}" if found.resumed else ""
    return f"is {found.words} of `bench {found.made_by}`{how}"


def no_run(path: Path) -> str | None:
    """Return why a directory without a measurements.csv is no finished run; None if unknown."""
    found = kind_of(path)
    if found is None:
        return None
    if found in RUNS:
        how = found.resume(path) if found.resumed else "bench merge, into another folder"
        return f"{path}: the run is not finished; go on with: {how}"
    return (
        f"{path}: was left by `bench {found.made_by}`, whose own report lies in it; give the "
        "directory of a `bench run`"
    )
