"""Read the profiles of two variants, as `bench profile A B` and `bench ab` leave them."""

from pathlib import Path

from bench.results import profile_load, profile_parts
from bench.results.profile_parts import StepParts

FOLDER = "profiles"  # in the directory of `bench ab`
A, B = "A", "B"


def folder_of(path: Path) -> Path:
    """Return the folder that has the folders of both sides."""
    return path / FOLDER if (path / FOLDER).is_dir() else path


def is_pair(path: Path) -> bool:
    """Return whether a directory has the profiles of two variants."""
    folder = folder_of(path)
    return all((folder / side).is_dir() and profile_load.folders(folder / side) for side in (A, B))


def load(path: Path) -> tuple[list[StepParts], list[StepParts]]:
    """Return the cases of A and of B, each in the order of their names.  Raises ReadError."""
    a, b = (
        [profile_parts.read(one) for one in profile_load.folders(folder_of(path) / side)]
        for side in (A, B)
    )
    return a, b
