"""git in a repository of a test, with an author of its own."""

import subprocess
from pathlib import Path

AUTHOR = ("-c", "user.name=Test", "-c", "user.email=test@example.org")


def git(folder: Path, *arguments: str) -> str:
    """Return the output of git.  Raises CalledProcessError."""
    done = subprocess.run(
        ["git", *AUTHOR, *arguments], cwd=folder, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()
