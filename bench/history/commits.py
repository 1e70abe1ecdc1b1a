"""The first-parent line of a repository: the order of a history.

Runs are ordered by it and never by the clock, because past commits can be measured afterwards.
"""

import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from bench.core.errors import UserError
from bench.host import git as host_git
from bench.host.environment import refused_by_git

MOST_S = 60
_FIELD = "\x1f"
_BEGIN = re.compile(rf"(?:[0-9a-f]{{40}}|[0-9a-f]{{64}}){_FIELD}")  # SHA-1 or SHA-256


class CommitsError(UserError):
    """The line of commits cannot be read; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Commit:
    """One commit.  date: of the committer, YYYY-MM-DD."""

    sha: str
    date: str = ""
    subject: str = ""

    @property
    def short(self) -> str:
        return self.sha[:8]


@dataclass(frozen=True)
class Line:
    """The commits of a branch along their first parents, the oldest first.

    shallow: the clone has only the newest part of it.
    """

    commits: tuple[Commit, ...]
    shallow: bool = False

    @cached_property
    def places(self) -> Mapping[str, int]:
        return {commit.sha: place for place, commit in enumerate(self.commits)}


def line(folder: Path, branch: str = "HEAD") -> Line:
    """Read the line that ends at `branch`.  Raises CommitsError."""
    if branch.startswith("-"):
        raise CommitsError(f"{branch}: is not a revision; give e.g. --branch main")
    form = f"--format=%H{_FIELD}%cs{_FIELD}%s"
    why = f"{branch}: its commits cannot be listed"
    asked = ("--first-parent", "--reverse", "-z", form, branch, "--")
    text = git(folder, "log", *host_git.PLAIN_LOG, *asked, why=why)
    found = [_commit(one) for one in text.split("\0") if _BEGIN.match(one)]
    shallow = git(folder, "rev-parse", "--is-shallow-repository", why=why) == "true"
    return Line(tuple(found), shallow)


def _commit(text: str) -> Commit:
    """Parse a commit; its subject may have any character, also those that end a line elsewhere."""
    sha, date, subject = (*text.split(_FIELD, 2), "")[:3]  # git() strips an empty subject
    return Commit(sha, date, " ".join(subject.split()))


def resolved(folder: Path, revision: str) -> str:
    """Return the full name of a commit.  Raises CommitsError."""
    why = f"{revision}: the repository has no such revision"
    if not revision or revision.startswith("-"):
        raise CommitsError(why)
    return git(folder, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}", why=why)


def first_with(folder: Path, line: Line, sha: str) -> str | None:
    """Return the first commit of the line that contains a commit; None if none does.

    sha: a full name.  Raises CommitsError.
    """
    if sha in line.places:
        return sha
    if not line.commits:
        return None
    since = f"{sha}..{line.commits[-1].sha}"
    why = f"{sha[:8]}: the commits after it cannot be listed"
    after = git(folder, "rev-list", "--ancestry-path", since, why=why).split()
    places = [line.places[one] for one in after if one in line.places]
    return line.commits[min(places)].sha if places else None


def top(folder: Path) -> Path:
    """Return the top folder of the repository.  Raises CommitsError."""
    return Path(git(folder, "rev-parse", "--show-toplevel", why="no repository")).resolve()


def git(folder: Path, *arguments: str, why: str) -> str:
    """Return the output of git.  Raises CommitsError."""
    try:
        done = host_git.asked(folder, *arguments, timeout_s=MOST_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CommitsError(f"{why} (git: {getattr(error, 'strerror', None) or error})") from None
    if done.returncode:
        said = refused_by_git(done.stderr)
        raise CommitsError(f"{why} ({said})" if said else why)
    return done.stdout.strip()
