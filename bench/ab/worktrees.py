"""Worktrees of a repository: made, removed whatever happens meanwhile, forgotten where lost.

The only module that tells git to change anything; it touches no worktree but those of
comparisons.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

from bench.core.errors import UserError
from bench.host.environment import git_variables

SCRATCH = "bench-ab-"  # begins the name of the folder that holds our worktrees
# A hook that fails after a good checkout would fail the checkout (git-config(1)).
WITHOUT_HOOKS = ("-c", f"core.hooksPath={os.devnull}")
ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class GitError(UserError):
    """git refuses, or is not there."""

    def __init__(self, why: str, said: str = "") -> None:
        """said: by git, all of it."""
        super().__init__(why)
        self.said = said


@contextlib.contextmanager
def scratch(top: Path) -> Iterator[Path]:
    """A folder for worktrees of the repository `top`; it is gone afterwards, and they with it."""
    folder = Path(tempfile.mkdtemp(prefix=SCRATCH)).resolve()
    try:
        _forget_gone(top)
        yield folder
    finally:
        with _undisturbed():
            for tree in sorted(folder.glob("*/.git")):
                with contextlib.suppress(GitError):
                    _clear_away(top, tree.parent)
            shutil.rmtree(folder, ignore_errors=True)
            _forget_gone(top)


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """A second Ctrl-C, and the SIGTERM that a CI service sends after it, wait for the clearing up.

    Of other threads signals are none of the business.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in ENDINGS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def _forget_gone(top: Path) -> None:
    """Worktrees of comparisons that were killed, where their folders are gone.

    Ours alone: `git worktree prune` would forget those of others that are only away, too.
    """
    with contextlib.suppress(GitError):
        listed = git(top, "worktree", "list", "--porcelain", why="", own_session=True)
        for line in listed.splitlines():
            tree = Path(line.removeprefix("worktree "))
            ours = line.startswith("worktree ") and tree.parent.name.startswith(SCRATCH)
            if ours and not tree.parent.exists():
                with contextlib.suppress(GitError):
                    _clear_away(top, tree)


def _clear_away(top: Path, tree: Path) -> None:
    """Twice forced: one that was interrupted while it was made is locked."""
    git(top, "worktree", "remove", "--force", "--force", str(tree), why="", own_session=True)


def top_of(folder: Path) -> Path:
    """Of the repository; where there is none, the folder itself."""
    with contextlib.suppress(GitError):
        return Path(git(folder, "rev-parse", "--show-toplevel", why="")).resolve()
    return folder.resolve()


def git(folder: Path, *arguments: str, why: str, own_session: bool = False) -> str:
    """What git says.  Raises GitError with `why`, and git's own words.

    own_session: a key that is pressed does not reach it.
    """
    try:
        done = subprocess.run(
            ["git", *arguments],
            cwd=folder,
            env=git_variables(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            start_new_session=own_session,
            check=False,
        )
    except OSError as error:
        raise GitError(f"{why} (git: {error.strerror})") from None
    if done.returncode:
        said = done.stderr.strip().splitlines()
        raise GitError(f"{why} ({said[-1]})" if said else why, done.stderr)
    return done.stdout.strip()
