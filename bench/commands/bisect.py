"""The command `bench bisect GOOD BAD`: which commit made a case slower or faster?

`run` reads as the table of contents of a search.
"""

import dataclasses
import datetime
import json
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from bench.ab import ab_directory, ab_plan, variants, worktrees
from bench.ab.ab_plan import Asked, Planned
from bench.ab.variants import Side
from bench.bisect import confirmation, report
from bench.bisect import journal as bisect_journal
from bench.bisect.commits import BisectError, Commit, between, weights
from bench.bisect.journal import Broken, Confirmed, Measured, Stored
from bench.bisect.live import Pairs
from bench.bisect.posterior import Suspects
from bench.bisect.search import (
    MOST_PAIRS,
    Answer,
    CannotRunError,
    OutOfBudgetError,
    Search,
    UnconfirmedError,
)
from bench.commands import ab
from bench.core.axes import AXES
from bench.core.errors import UserError, one_line
from bench.core.records import Case, whole_phase
from bench.core.text import command, number_of
from bench.engine import policy
from bench.host import environment, gpu_driver, preflight
from bench.host.git import top_of
from bench.plots import posterior as posterior_plot
from bench.results import directory_kind, run_directory
from bench.results.journal import Journal
from bench.terminal.progress import wide_console
from bench.verdict import tables

DESCRIPTION = "bisect.json"
FOUND, WRONG, UNDECIDED, INTERRUPTED = 0, 2, 3, 130
CODES = {Answer.FOUND: FOUND, Answer.NO_EFFECT: UNDECIDED, Answer.UNDECIDED: UNDECIDED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The arguments and flags of `bench bisect`."""

    good: str | None = None
    bad: str | None = None
    case: str = ""  # words of the case's name
    phase: str | None = None  # None: the whole call
    config: Path | None = None
    axes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    subjects: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)  # of config.RunOptions
    most_pairs: int = MOST_PAIRS
    out: Path | None = None
    resume: Path | None = None


def run(wanted: Wanted) -> int:
    """Search, and write a directory.  Return the exit code."""
    console = wide_console()
    wanted = _stored(wanted) if wanted.resume else wanted
    if wanted.good is None or wanted.bad is None:
        raise BisectError("two revisions are needed: bench bisect GOOD BAD, e.g. v1.0 HEAD")
    good, bad = variants.parse(wanted.good, wanted.bad)
    commits = between(_hash(good, "GOOD"), _hash(bad, "BAD"), Path.cwd())
    if wanted.out and not wanted.resume:
        run_directory.refuse_existing(wanted.out)
    asked = Asked(
        config=wanted.config, axes=wanted.axes, subjects=wanted.subjects, options=wanted.options
    )
    deadline = policy.Deadline.begun(wanted.options.get("budget_s"), time.monotonic)
    top = top_of(Path.cwd())
    with worktrees.scratch(top) as scratch:
        sides = [
            variants.opened_in(one, scratch / name) for one, name in ((good, "GOOD"), (bad, "BAD"))
        ]
        known = ab_plan.look(asked, sides[0])
        planned = ab_plan.make(asked, *sides, known={"A": known})
        key = _chosen(planned, wanted.case)
        path = _directory(wanted, commits, key, planned)
        own = {key: planned.cases[key]}
        one = dataclasses.replace(planned, cases=own)
        tell = partial(tables.say, console)
        prior = weights(commits, _imported(planned))
        for line in _beginning(commits, one, key, prior):
            tell(line)
        phase = wanted.phase or whole_phase(own[key]["A"].mode)
        pairs = Pairs(
            planned=one, asked=asked, key=key, phase=phase,
            directory=path, folder=Path.cwd(), scratch=scratch, deadline=deadline, tell=tell,
            known=known,
        )  # fmt: skip
        with gpu_driver.kept_loaded([case.device for case in own[key].values()]):
            return _search(wanted, commits, prior, pairs, path, console)


def _search(
    wanted: Wanted,
    commits: Sequence[Commit],
    prior: Sequence[float],
    pairs: Pairs,
    path: Path,
    console: Console,
) -> int:
    """Search and report while no other process may write into the directory."""
    directory = run_directory.RunDir(path)
    holder = run_directory.lock(directory)
    try:
        return _locked(wanted, commits, prior, pairs, directory, console)
    finally:
        run_directory.release(holder)


def _locked(
    wanted: Wanted,
    commits: Sequence[Commit],
    prior: Sequence[float],
    pairs: Pairs,
    directory: run_directory.RunDir,
    console: Console,
) -> int:
    path = directory.path
    journal = Journal(path / bisect_journal.NAME)
    measure = _Measure(
        commits=commits, pairs=pairs, journal=journal, console=console,
        stored=bisect_journal.read(path / bisect_journal.NAME),
    )  # fmt: skip
    search = Search(prior, measure, most_pairs=wanted.most_pairs)
    tell = partial(tables.say, console)
    search.tell = lambda now: tell(report.progress(now, commits, measure.count))
    go_on = command("bench", "bisect", "--resume", path)
    try:
        answer = search.run()
    except KeyboardInterrupt:
        tell(f"interrupted; go on with: {go_on}")
        return INTERRUPTED
    except CannotRunError as error:
        raise BisectError(f"BAD cannot be measured: {error}") from None
    finally:
        journal.close()
    found = report.Found(
        good=str(pairs.planned.sides[0].commit), bad=commits[-1].sha,
        case=ab_plan.names(pairs.planned)[pairs.key], phase=pairs.phase, commits=commits,
        answer=answer, search=search, values=measure.values, directory=str(path),
        confirmation=measure.confirmation,
    )  # fmt: skip
    _write(path, found)
    run_directory.finish(directory, complete=answer is not Answer.UNDECIDED)
    _tell(found, console, path)
    return CODES[answer]


@dataclass(kw_only=True)
class _Measure:
    """Answers the search: from the journal first, then by new pairs, which it writes there."""

    commits: Sequence[Commit]
    pairs: Pairs
    journal: Journal
    stored: Stored
    console: Console
    values: dict[int, list[float]] = field(default_factory=lambda: defaultdict(list))
    count: int = 0
    confirmation: str = ""

    def pair(self, commit: int) -> float:
        one = self.commits[commit - 1]
        if waiting := self.stored.pairs.get(one.sha):  # they come before a failure of the commit
            value = waiting.popleft().value
        elif one.sha in self.stored.broken and commit != len(self.commits):
            raise CannotRunError(self.stored.broken[one.sha])
        else:  # BAD is tried again, because there is no search without it
            value = self._new(one)
        self.count += 1
        self.values[commit].append(value)
        return value

    def _new(self, commit: Commit) -> float:
        try:
            pair, value = self.pairs.pair(commit, self.count)
        except CannotRunError as error:
            self.journal.append_line(
                bisect_journal.to_line(Broken(commit=commit.sha, why=str(error)))
            )
            raise
        good_s, commit_s = (statistics.median(one) for one in pair.samples[self.pairs.phase])
        self.journal.append_line(
            bisect_journal.to_line(
                Measured(
                    commit=commit.sha,
                    value=value,
                    good_s=good_s,
                    commit_s=commit_s,
                    flags=pair.flags,
                    wall_s=pair.wall_s,
                )
            )
        )
        return value

    def differs(self, suspects: Suspects, change: float) -> bool:
        """Compare the last suspect with the commit before the first one by `bench ab`.

        Only an answer is written to the journal, so that a resume compares again without one.
        """
        before = suspects.first - 1
        good = str(self.pairs.planned.sides[0].commit)
        parent = self.commits[before - 1].sha if before else good
        commit = self.commits[suspects.last - 1].sha
        known = self.stored.confirmed.get((parent, commit))
        if known is None:
            known = self._compared(parent, commit, change)
            self.journal.append_line(bisect_journal.to_line(known))
        self.confirmation = known.report
        return known.differs

    def _compared(self, parent: str, commit: str, change: float) -> Confirmed:
        """Return the answer of a new comparison.

        Raises UnconfirmedError if it decides nothing, OutOfBudgetError if the budget is the reason.
        """
        deadline = self.pairs.deadline
        if deadline.spent:
            raise OutOfBudgetError
        # Side B takes longer if the change is there, since an improvement is compared backwards.
        sides = (parent, commit) if change > 0 else (commit, parent)
        out = _free(self.pairs.directory / f"confirm-{commit[:9]}")
        self.confirmation = str(out)
        self.console.print()
        try:
            code = ab.run(self._asked(*sides, out, confirmation.threshold(change)))
            self.console.print()
            if code == INTERRUPTED:
                raise KeyboardInterrupt
            differs = confirmation.differs(out, self.pairs.phase)
        except (UserError, UnconfirmedError) as error:
            if deadline.spent:
                raise OutOfBudgetError from None
            raise UnconfirmedError(one_line(error)) from None
        return Confirmed(parent=parent, commit=commit, differs=differs, report=str(out))

    def _asked(self, a: str, b: str, out: Path, threshold: float) -> Asked:
        """Return the arguments of `bench ab` for this case alone."""
        case = self.pairs.planned.cases[self.pairs.key]["A"]
        return dataclasses.replace(
            self.pairs.asked,
            a=a,
            b=b,
            out=out,
            axes=_axes(case),
            subjects=(case.subject,),
            threshold=threshold,
            for_all=True,
            options={**self.pairs.asked.options, "budget_s": self.pairs.deadline.left_s},
        )


def _axes(case: Case) -> dict[str, tuple[str, ...]]:
    """Return the flags that select exactly this case."""
    values = {axis.name: getattr(case, axis.name) for axis in AXES}
    return {name: (str(value),) for name, value in values.items() if value is not None}


def _free(path: Path) -> Path:
    """Return a name that no interrupted comparison has taken."""
    found, number = path, 1
    while found.exists():
        number += 1
        found = path.with_name(f"{path.name}-{number}")
    return found


def _hash(side: Side, name: str) -> str:
    if side.kind != "revision" or side.asked == variants.WORKING_TREE or side.commit is None:
        raise BisectError(f"{name} is {side.asked!r}; expected a git revision, e.g. v1.0 or HEAD")
    return side.commit


def _chosen(planned: Planned, text: str) -> str:
    """Return the key of the only case with these words in its name.  Raises BisectError."""
    names = ab_plan.names(planned)
    words = text.split()
    fits = [
        key
        for key, name in names.items()
        if key == text or all(word in name.split() or word in key.split("|") for word in words)
    ]
    if len(fits) == 1:
        return fits[0]
    if not names:
        why = next(iter(planned.missing.values()), "no case is selected")
        raise BisectError(f"GOOD and BAD have no common case: {why}")
    shown = "; ".join([names[key] for key in fits or names][:12])
    if not fits:
        raise BisectError(f"--case {text!r} fits none of the cases: {shown}")
    raise BisectError(
        f"a search needs one case, and {len(fits)} are selected: {shown}; choose with --case, "
        "e.g. --case 'training N=8', or with --subject, --mode and --batch"
    )


def _imported(planned: Planned) -> set[str]:
    """Return the files that the subject imports on either side, relative to the repository."""
    found: set[str] = set()
    for side in planned.sides:
        tree = side.tree
        assert tree is not None
        files = [one.file for one in planned.sources[side.name].values()]
        files += [file for file in planned.proof[side.name].values() if file]
        for file in files:
            whole = (tree / file).resolve()
            if whole.is_relative_to(tree):
                found.add(whole.relative_to(tree).as_posix())
    return found


def _beginning(
    commits: Sequence[Commit], planned: Planned, key: str, prior: Sequence[float]
) -> list[str]:
    touching = sum(one > 1 for one in prior)
    name = ab_plan.names(planned)[key]
    good, torch = str(planned.sides[0].commit)[:9], " and ".join({*planned.versions.values()})
    return [
        f"{number_of(len(commits), 'commit')} after GOOD ({good}) up to BAD ({commits[-1].short})",
        f"{touching} of them change a file that the subject imports: these are more probable",
        f"case: {name}; torch {torch}",
        *(f"note: {warning}" for warning in preflight.warnings()),
    ]


def _directory(wanted: Wanted, commits: Sequence[Commit], key: str, planned: Planned) -> Path:
    if wanted.resume:
        _refuse_changes(wanted.resume, planned)
        run_directory.make_scratch(run_directory.RunDir(wanted.resume))
        return wanted.resume
    now = datetime.datetime.now(datetime.UTC)
    path = wanted.out or run_directory.default_path("bisect", commits[-1].sha, now)
    document = {
        "command": ["bench", *sys.argv[1:]],
        "started": now.isoformat(timespec="seconds"),
        "good": planned.sides[0].commit,
        "bad": commits[-1].sha,
        "case": key,
        "phase": wanted.phase,
        "asked": {
            "config": str(wanted.config.resolve()) if wanted.config else None,
            "axes": {name: list(values) for name, values in wanted.axes.items()},
            "subjects": list(wanted.subjects),
            "seed": planned.run.seed,
            "weights": wanted.options.get("weights"),
        },
        **ab_directory.fixed(planned),
        "environment": {**planned.torch_details, **environment.environment()},
    }
    run_directory.create(path, document, name=DESCRIPTION, journal=bisect_journal.NAME)
    return path


def _refuse_changes(path: Path, planned: Planned) -> None:
    """Raise BisectError if the ratios of a resumed search would not be comparable."""
    if changed := ab_directory.changed(_document(path), ab_directory.fixed(planned)):
        raise BisectError(
            f"--resume {path}: changed since then: {', '.join(changed)}; start a new search"
        )


def _document(path: Path) -> dict[str, Any]:
    """Return the content of bisect.json.  Raises BisectError."""
    if other := directory_kind.mistaken(path, (directory_kind.BISECTION,)):
        raise BisectError(f"--resume {path}: {other}")
    try:
        return dict(json.loads((path / DESCRIPTION).read_text(encoding="utf-8")))
    except OSError as error:
        raise BisectError(f"--resume {path}: is not a bisection: {error.strerror}") from None
    except (ValueError, TypeError) as error:
        raise BisectError(f"--resume {path}: its {DESCRIPTION} is damaged ({error})") from None


def _stored(wanted: Wanted) -> Wanted:
    """Return the flags of the search that is resumed.  Raises BisectError."""
    path = wanted.resume
    assert path is not None
    if wanted.good or wanted.axes or wanted.subjects or wanted.config or wanted.case:
        raise BisectError(
            "--resume continues a search as it was begun; give it without revisions and without "
            "other flags than --budget, --pairs and --timeout"
        )
    stored = _document(path)
    try:
        before = stored["asked"]
        options = {"seed": before["seed"], "weights": before["weights"]}
        given = {name: value for name, value in wanted.options.items() if value is not None}
        return dataclasses.replace(
            wanted,
            good=stored["good"],
            bad=stored["bad"],
            case=stored["case"],
            phase=stored["phase"],
            config=Path(before["config"]) if before["config"] else None,
            axes={name: tuple(values) for name, values in before["axes"].items()},
            subjects=tuple(before["subjects"]),
            options={**options, **given},
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise BisectError(f"--resume {path}: its {DESCRIPTION} is damaged ({error})") from None


def _write(path: Path, found: report.Found) -> None:
    try:
        (path / "report.md").write_text(report.markdown(found), encoding="utf-8")
        (path / "bisect.csv").write_text(report.table(found), encoding="utf-8")
        names = [one.short for one in found.commits]
        posterior_plot.draw(names, found.values, found.search.shares(), found.headline, path)
        stored = json.loads((path / DESCRIPTION).read_text(encoding="utf-8"))
        stored |= {"answer": found.answer.name.lower(), "headline": found.headline}
        run_directory.write_atomically(path / DESCRIPTION, json.dumps(stored, indent=1) + "\n")
    except OSError as error:
        raise UserError(f"{path}: the report cannot be written: {error.strerror}") from None


def _tell(found: report.Found, console: Console, path: Path) -> None:
    tell = partial(tables.say, console)
    tell("")
    tell(found.headline)
    for sentence in found.sentences():
        tell(f"- {sentence}")
    if found.is_ranked:
        tell("")
        console.print(report.text_table(found))
    tell("")
    tell(f"report: {path / 'report.md'}; plot: {path / posterior_plot.NAME}")
