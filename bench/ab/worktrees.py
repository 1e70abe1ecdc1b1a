"""Make git worktrees for a comparison, and remove them whatever happens.

Only this module lets git change anything.  It touches only the worktrees of comparisons.
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

SCRATCH = "bench-ab-"  # the start of the name of the folder with our worktrees
# A hook that fails makes the whole checkout fail (git-config(1)).
WITHOUT_HOOKS = ("-c", f"core.hooksPath={os.devnull}")
ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class GitError(UserError):
    """git reports an error, or is not installed."""

    def __init__(self, why: str, stderr: str = "") -> None:
        """stderr: the whole error output of git."""
        super().__init__(why)
        self.stderr = stderr


@contextlib.contextmanager
def scratch(top: Path) -> Iterator[Path]:
    """Make a folder for worktrees of the repository `top`; both are removed afterwards."""
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
    """Ignore signals while worktrees are removed, such as a second Ctrl-C or a CI's SIGTERM.

    Other threads than the main one cannot set signal handlers, and do nothing here.
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
    """Remove the entries of worktrees whose folders are gone, since their comparison was killed.

    `git worktree prune` would also remove entries of other worktrees, such as those on a disk that
    is not mounted.
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
    """Remove a worktree; `--force` twice, since an interrupted `worktree add` leaves a lock."""
    git(top, "worktree", "remove", "--force", "--force", str(tree), why="", own_session=True)


def top_of(folder: Path) -> Path:
    """Return the top folder of the repository; the folder itself if it is in no repository."""
    with contextlib.suppress(GitError):
        return Path(git(folder, "rev-parse", "--show-toplevel", why="")).resolve()
    return folder.resolve()


def git(folder: Path, *arguments: str, why: str, own_session: bool = False) -> str:
    """Return the output of git.  Raises GitError with `why` and git's own message.

    own_session: Ctrl-C on the terminal does not reach git.
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
        lines = done.stderr.strip().splitlines()
        raise GitError(f"{why} ({lines[-1]})" if lines else why, done.stderr)
    return done.stdout.strip()
