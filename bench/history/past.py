"""The past commits of `bench backfill`: which are measured, and which could not be."""

import hashlib
import itertools
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.core.errors import UserError
from bench.history import series, store
from bench.history.commits import Commit
from bench.results import results_folder
from bench.results.csv_files import MEASUREMENTS
from bench.results.loading import ReadError
from bench.results.run_directory import write_atomically

# Flags of times that do not count, and that a new measurement would have as well.
LASTING = frozenset({"growing", "parallel"})
SKIPPED = "skipped.json"
RANGE = ".."


class PastError(UserError):
    """The commits cannot be chosen, or the store cannot be used."""


def ends(given: str) -> tuple[str, str]:
    """Return both ends of `REV..REV`.  Raises PastError."""
    first, dots, last = given.partition(RANGE)
    if not dots or not first or last.startswith("."):
        raise PastError(
            f"{given}: is not a range of commits; write e.g. v1.0..HEAD or HEAD~40..HEAD"
        )
    return first, last or "HEAD"


def chosen(commits: Sequence[Commit], every: int) -> list[Commit]:
    """Return every n-th commit, the newest first.  commits: the oldest first."""
    if every < 1:
        raise PastError(f"--every {every}: expected 1 or more")
    return list(reversed(commits))[::every]


def digest_of(asked: Mapping[str, object]) -> str:
    """Return a short digest of what is measured, and how."""
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:8]


@dataclass(frozen=True, slots=True)
class Shelf:
    """The runs of one machine in a store that measure the same cases in the same way.

    folder: of the machine.
    what:   the digest of the cases and the sampling.
    """

    folder: Path
    what: str

    def free_path(self, commit: Commit) -> Path:
        """Return a run directory for a commit that does not exist yet."""
        first = self.folder / f"{commit.short}-{self.what}"
        numbered = (first.with_name(f"{first.name}-{number}") for number in itertools.count(2))
        return next(one for one in itertools.chain([first], numbered) if not one.exists())

    def runs(self, commit: Commit) -> list[Path]:
        """Return the run directories of a commit."""
        found = self.folder.glob(f"{commit.short}-{self.what}*/{MEASUREMENTS}")
        return sorted(one.parent for one in found)

    def skipped(self) -> dict[str, str]:
        """Return the commits that cannot be measured, with their reasons.  Raises PastError."""
        path = self._skipped
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            return {str(commit): str(why) for commit, why in document.items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, AttributeError) as error:
            raise PastError(f"{path}: cannot be read ({error}); remove or repair it") from None

    def skip(self, commit: Commit, why: str) -> None:
        """Remember that a commit cannot be measured.  Raises OSError."""
        results_folder.make_for(self.folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        document = {**self.skipped(), commit.sha: why}
        write_atomically(self._skipped, json.dumps(document, indent=1) + "\n")

    @property
    def _skipped(self) -> Path:
        return self.folder / f"{self.what}-{SKIPPED}"

    @property
    def unfinished(self) -> Path:
        """Return the folder for the run in progress, which the store does not read.

        Two backfills at the same time have folders of their own.
        """
        return self.folder / f".unfinished-{os.getpid()}"


def left_to_do(
    commits: Iterable[Commit], shelf: Shelf, *, retry: bool
) -> tuple[list[Commit], int, int]:
    """Return the commits to measure, and how many are measured and skipped already.

    retry: those that were skipped or disturbed are measured again.
    """
    wanted = list(commits)
    skipped = {} if retry else shelf.skipped()
    done = {
        one.sha
        for one in wanted
        if any(not (retry and is_disturbed(run)) for run in shelf.runs(one))
    }
    left = [one for one in wanted if one.sha not in done and one.sha not in skipped]
    return left, len(done), len(wanted) - len(done) - len(left)


def is_disturbed(run: Path) -> bool:
    """Return whether a time of a run does not count, and a new one might."""
    try:
        ((found,), _) = store.read([run])
    except (ValueError, ReadError):
        return True
    return not found.times or bool(disturbances(found))


def disturbances(run: store.Run) -> list[str]:
    """Return the flags for which times of a run do not count, sorted, without LASTING ones."""
    flags = {flag for time in run.times.values() for flag in time.row.flag_names}
    return sorted(flags & (series.DISTURBED - LASTING))
