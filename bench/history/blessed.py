"""Accepted levels: a TOML file in the repository, written by `bench bless`."""

import datetime
import fnmatch
import json
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bench.core.errors import UserError
from bench.history import commits
from bench.history.commits import CommitsError, Line

FILE = "bench-blessed.toml"
MOST_AT = 40  # characters of a revision in a note
_HEAD = """\
# Levels of cases that are accepted: `bench history` begins each series anew at its commit.
# Written by `bench bless`; it can be edited by hand.
"""


class BlessedError(UserError):
    """The file cannot be read or written; the message says what is wrong and where."""


@dataclass(frozen=True, slots=True)
class Blessing:
    """An accepted level.

    case: a case id, or a pattern with `*`.
    at:   the first commit that has the level: its full name, or any revision, written by hand.
    """

    case: str
    at: str
    why: str


def is_of(pattern: str, case_id: str) -> bool:
    """Return whether a case id is the one that is named, or matches the pattern."""
    return pattern == case_id or fnmatch.fnmatchcase(case_id, pattern)


def read(path: Path) -> list[Blessing]:
    """Return the accepted levels; empty if there is no file.  Raises BlessedError."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise BlessedError(f"{path}: cannot be read: {error.strerror}") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BlessedError(f"{path}: is not valid TOML: {error}") from None
    entries = document.get("blessed", [])
    if not isinstance(entries, list):
        raise BlessedError(f"{path}: blessed is not a list of tables; write [[blessed]]")
    return [_blessing(path, number, one) for number, one in enumerate(entries, 1)]


def _blessing(path: Path, number: int, entry: object) -> Blessing:
    found = entry if isinstance(entry, dict) else {}
    for name in ("case", "at", "why"):
        if not isinstance(found.get(name), str) or not found[name]:
            raise BlessedError(f"{path}: blessed number {number} has no text for {name}")
    return Blessing(found["case"], found["at"], found["why"])


def placed(given: Sequence[Blessing], folder: Path, line: Line) -> tuple[list[Blessing], list[str]]:
    """Return the blessings with the commits of the line where they begin, and notes.

    The commit of a blessing may stand on a branch that was merged later: then the level begins at
    the first commit of the line that contains it.  A note names each blessing that is not used.
    """
    found, notes = [], []
    for one in given:
        place, why = _place(one.at, folder, line)
        if place is None:
            notes.append(f"the blessing of {one.case} at {one.at[:MOST_AT]} is not used: {why}")
        else:
            found.append(replace(one, at=place))
    return found, notes


def _place(at: str, folder: Path, line: Line) -> tuple[str | None, str]:
    """Return the commit on the line at which a blessing begins, or None and the reason."""
    if at in line.places:
        return at, ""
    try:
        place = commits.first_with(folder, line, commits.resolved(folder, at))
    except CommitsError as error:
        more = "; the clone is shallow: git fetch --unshallow" if line.shallow else ""
        return None, f"{error}{more}"
    return place, (
        "the branch does not contain this commit, which may have been squashed or rebased; bless "
        "the case again at a commit of the branch"
    )


def add(path: Path, given: Sequence[Blessing], today: datetime.date) -> None:
    """Append blessings.  The text of the file stays as it is.  Raises BlessedError."""
    read(path)  # refuse to append to a file that is damaged
    try:
        before = path.read_text(encoding="utf-8") if path.exists() else _HEAD
        text = before + "".join(_written(one, today) for one in given)
        scratch = path.with_name(f".{path.name}.part")
        scratch.write_text(text, encoding="utf-8")
        scratch.replace(path)
    except OSError as error:
        raise BlessedError(f"{path}: cannot be written: {error.strerror}") from None


def _written(one: Blessing, today: datetime.date) -> str:
    return (
        f"\n[[blessed]]\ncase = {_quoted(one.case)}\nat = {_quoted(one.at)}\n"
        f"why = {_quoted(one.why)}\nwhen = {today.isoformat()}\n"
    )


def _quoted(text: str) -> str:
    """Return a TOML string: JSON's escapes are TOML's as well, but for DEL."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
