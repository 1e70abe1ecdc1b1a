"""Run git in a folder, and in nothing else that the environment names."""

import contextlib
import os
import subprocess
from pathlib import Path

from bench.core.errors import UserError

# Variables of git-rev-parse(1) --local-env-vars that point to another repository.  A git hook sets
# them, and git would then work on the user's own index.
_GIT_ELSEWHERE = frozenset(
    f"GIT_{name}"
    for name in (
        "DIR", "WORK_TREE", "IMPLICIT_WORK_TREE", "INDEX_FILE", "OBJECT_DIRECTORY",
        "ALTERNATE_OBJECT_DIRECTORIES", "COMMON_DIR", "PREFIX", "SHALLOW_FILE", "GRAFT_FILE",
    )
)  # fmt: skip

# Flags of `git log` against settings of the user that change its output: signatures, encoding.
PLAIN_LOG = ("--no-show-signature", "--encoding=UTF-8")


def git_variables() -> dict[str, str]:
    """Return an environment in which git uses only the folder that it is started in.

    Its messages are in English, because they are parsed.
    """
    own = {name: value for name, value in os.environ.items() if name not in _GIT_ELSEWHERE}
    return {**own, "LC_ALL": "C"}


class GitError(UserError):
    """git reports an error, or is not installed."""

    def __init__(self, why: str, stderr: str = "") -> None:
        """stderr: the whole error output of git."""
        super().__init__(why)
        self.stderr = stderr


def asked(
    folder: Path, *arguments: str, timeout_s: float | None = None, own_session: bool = False
) -> "subprocess.CompletedProcess[str]":
    """Return how git ended.  Raises OSError, subprocess.TimeoutExpired.

    own_session: Ctrl-C on the terminal does not reach git.
    """
    return subprocess.run(
        ["git", *arguments],
        cwd=folder,
        env=git_variables(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        timeout=timeout_s,
        start_new_session=own_session,
        check=False,
    )


def git(folder: Path, *arguments: str, why: str, own_session: bool = False) -> str:
    """Return the output of git.  Raises GitError with `why` and git's own message."""
    try:
        done = asked(folder, *arguments, own_session=own_session)
    except OSError as error:
        raise GitError(f"{why} (git: {error.strerror})") from None
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        raise GitError(f"{why} ({lines[-1]})" if lines else why, done.stderr)
    return done.stdout.strip()


def top_of(folder: Path) -> Path:
    """Return the top folder of the repository; the folder itself if it is in no repository."""
    with contextlib.suppress(GitError):
        return Path(git(folder, "rev-parse", "--show-toplevel", why="")).resolve()
    return folder.resolve()
