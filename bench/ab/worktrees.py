"""Make git worktrees for a comparison, and remove them whatever happens.

Only this module lets git change anything.  It touches only the worktrees of comparisons.
"""

import contextlib
import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

from bench.host.git import GitError, git

SCRATCH = "bench-ab-"  # the start of the name of the folder with our worktrees
# A hook that fails makes the whole checkout fail (git-config(1)).
WITHOUT_HOOKS = ("-c", f"core.hooksPath={os.devnull}")
ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


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
        for line in listed.split("\n"):  # a folder may have any other character in its name
            tree = Path(line.removeprefix("worktree "))
            ours = line.startswith("worktree ") and tree.parent.name.startswith(SCRATCH)
            if ours and not tree.parent.exists():
                with contextlib.suppress(GitError):
                    _clear_away(top, tree)


def _clear_away(top: Path, tree: Path) -> None:
    """Remove a worktree; `--force` twice, since an interrupted `worktree add` leaves a lock."""
    git(top, "worktree", "remove", "--force", "--force", str(tree), why="", own_session=True)
