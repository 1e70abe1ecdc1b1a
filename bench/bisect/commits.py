"""The commits between GOOD and BAD, in the order of the first-parent line, and their prior weights.

The order never uses dates, since the clock of a commit may be wrong.
"""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from bench.core.errors import UserError
from bench.host.git import PLAIN_LOG, GitError, git

# A commit that changes a file which the subject imports is this many times as probable as others.
TOUCHING = 10.0
# The start of a commit and of its fields in the output of git; no name of a file has them.
_START, _FIELD = "\0", "\x1f"


class BisectError(UserError):
    """A search cannot be started, resumed or continued; the message is one line."""


@dataclass(frozen=True, slots=True)
class Commit:
    """One commit.  files: paths that it changed, relative to the top of the repository."""

    sha: str
    subject: str
    date: str
    files: tuple[str, ...] = ()

    @property
    def short(self) -> str:
        return self.sha[:9]

    @property
    def shown(self) -> str:
        return f"{self.short} ({self.subject})"


def between(good: str, bad: str, folder: Path) -> list[Commit]:
    """Return the commits after `good` up to `bad`, the oldest first.  Raises BisectError.

    good, bad: full hashes.
    """
    if good == bad:
        raise BisectError("GOOD and BAD are the same commit; give two different revisions")
    if not _is_ancestor(good, bad, folder):
        how = "; give them in the other order" if _is_ancestor(bad, good, folder) else ""
        raise BisectError(f"GOOD ({good[:9]}) is not an ancestor of BAD ({bad[:9]}){how}")
    layout = "%x00" + "%x1f".join(("%H", "%cs", "%s"))
    listed = _git(
        folder, "log", *PLAIN_LOG, "--first-parent", "-m", "--reverse", "--name-only",
        f"--format={layout}", f"{good}..{bad}",
    )  # fmt: skip
    found = []
    for text in listed.split(_START)[1:]:
        head, *files = text.strip("\n").split("\n")
        sha, date, subject = (*head.split(_FIELD, 2), "")[:3]  # git() strips an empty subject
        found.append(Commit(sha, subject, date, tuple(one for one in files if one)))
    return found


def weights(commits: Collection[Commit], imported: Collection[str]) -> list[float]:
    """Return the prior weight of each commit.

    imported: files that the subject imports, relative to the top of the repository.
    """
    own = set(imported)
    return [TOUCHING if own.intersection(one.files) else 1.0 for one in commits]


def _is_ancestor(older: str, newer: str, folder: Path) -> bool:
    try:
        git(folder, "merge-base", "--is-ancestor", older, newer, why="")
    except GitError as error:
        if error.stderr.strip():
            raise BisectError(f"git cannot compare the revisions: {error.stderr.strip()}") from None
        return False
    return True


def _git(folder: Path, *arguments: str) -> str:
    try:
        return git(folder, "-c", "core.quotePath=false", *arguments, why="git cannot list commits")
    except GitError as error:
        raise BisectError(str(error)) from None
