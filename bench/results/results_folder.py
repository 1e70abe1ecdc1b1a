"""The folder `results` in which runs lie by default; git ignores a new one."""

import contextlib
from pathlib import Path

RESULTS = Path("results")
OWN = Path(__file__).parents[2] / RESULTS  # of this project, whose example runs are committed
# Stored baselines are meant to be committed (docs/ci.md).  This file ignores itself, as those in
# the caches of pytest and ruff do, so that `git status` says nothing new after a run.
IGNORE = """\
# Made by bench. Runs are not committed; results/baseline is.
*
!/baseline/
!/baseline/**
"""


def make_for(path: Path) -> None:
    """Make the folder `results` if `path` is inside it and it does not exist.

    In a repository of git it gets a .gitignore.  An existing folder stays as it is.
    Raises OSError if the folder cannot be made.
    """
    folder = RESULTS.absolute()
    inside = path.absolute().is_relative_to(folder) and path.absolute() != folder
    if not inside or folder.exists() or folder.is_symlink():
        return
    try:
        folder.mkdir()
    except FileExistsError:  # another process was first
        return
    if folder != OWN and any((above / ".git").exists() for above in folder.parents):
        with contextlib.suppress(OSError), (folder / ".gitignore").open("x") as file:
            file.write(IGNORE)
