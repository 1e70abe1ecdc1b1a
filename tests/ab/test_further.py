"""The advice of a comparison on undecided cases, against the effect of a resume."""

import itertools
import json
import shlex
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bench import cli
from bench.ab import ab_directory, ab_plan, decision
from bench.ab.ab_plan import Asked, Planned
from bench.ab.pair_journal import PhaseKey
from bench.ab.scheduler import Pairs
from bench.ab.variants import Side
from bench.commands import ab
from bench.plan.config import RunOptions
from bench.verdict.comparison import PairComparison
from bench.verdict.lines import reach
from bench.verdict.looks import Stage
from bench.verdict.report import TIME, Finding, Report
from tests.ab.test_scheduler import CHEAP, DEAR, World

KEYS = (DEAR.case_id, CHEAP.case_id)


@dataclass
class Comparison:
    """One directory, measured by a world that behaves."""

    directory: Path
    world: World
    plan: int

    @classmethod
    def begun(cls, directory: Path, plan: int, noise: float, factor: float) -> "Comparison":
        directory.mkdir()
        (directory / "pairs.jsonl").touch()
        sides = {name: {"kind": "settings", "asked": "amp=off"} for name in "AB"}
        asked: dict[str, object] = {
            "config": None,
            "axes": {},
            "subjects": [],
            "threshold": 0.05,
            "seed": 0,
        }
        document = {"sides": sides, "asked": asked, "pairs": plan}
        (directory / ab_directory.DESCRIPTION).write_text(json.dumps(document))
        world = World(directory / "pairs.jsonl", factor={KEYS[0]: factor}, noise=noise)
        return cls(directory, world, plan)

    def measured(
        self, plan: int, budget_s: float | None = None
    ) -> tuple[Pairs, Report[PairComparison]]:
        pairs, complete = self.world.run(pairs=plan, budget_s=budget_s)
        planned = Planned(
            sides=tuple(Side(name=name, asked="amp=off", kind="settings") for name in "AB"),  # type: ignore[arg-type]
            cases={key: {"A": one, "B": one} for key, one in self.world.cases.items()},
            missing={}, run=RunOptions(), threshold=0.05, thresholds={}, machine_id="m",
            versions={}, proof={}, torch_details={}, sources={}, pairs=plan,
        )  # fmt: skip
        incomplete = None if complete else "the budget was used up"
        report = decision.decided(planned, pairs, (), self.directory, incomplete=incomplete)
        return pairs, report

    def accepted(self, command: str, monkeypatch: pytest.MonkeyPatch) -> int:
        """The plan of a resume by this command.  Raises AbError where it is refused."""
        words, asked = shlex.split(command), list[Asked]()
        assert words[0] == "bench"

        def run(one: Asked) -> int:
            asked.append(one)
            return 0

        monkeypatch.setattr(ab, "run", run)
        assert CliRunner().invoke(cli.app, words[1:]).exit_code == 0
        (one,) = asked
        ab_plan.refuse_pairs(one.pairs)
        again, _ = ab_directory.stored(one)
        assert again.pairs is not None
        return again.pairs


def decisive(pairs: Pairs, one: Finding) -> tuple[Stage, int]:
    """Return the stage of the pairs that decide a finding, and how many were tried."""
    name = PhaseKey(one.case_id, one.phase or "forward")
    stage: Stage = "fresh" if name in pairs.suspects() else "first"
    return stage, len(pairs.seen.tried(one.case_id, stage))


def undecided(report: Report[PairComparison]) -> list[Finding]:
    times = [one for one in report.findings if one.figure in (TIME, None)]
    return [one for one in times if one.verdict == "INCONCLUSIVE"]


def advised(report: Report[PairComparison], words: str) -> str:
    """The command of the note with these words."""
    (note,) = [one for one in report.notes if words in one]
    _, found, command = note.partition("bench ab ")
    return found + command


# noise, factor, --pairs, and the budget in seconds
GRID = [
    *itertools.product((1.04, 1.08, 1.35), (1.03, 1.1), (8, 40), (None,)),
    *itertools.product((1.12, 1.35), (1.0, 1.1), (40, 56), (4.5, 13.5, 40.5)),
]


def test_every_command_that_is_advised_is_accepted_and_measures_what_it_was_advised_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = set()
    for number, (noise, factor, plan, budget_s) in enumerate(GRID):
        made = Comparison.begun(tmp_path / str(number), plan, noise, factor)
        before, report = made.measured(plan, budget_s)
        rows = undecided(report)
        seen |= {row.evidence.outlook for row in rows}
        counts = {row.case_id: decisive(before, row) for row in rows}
        words = {"go on": "to resume", "more pairs": "to add as many"}
        commands = {
            outlook: advised(report, said)
            for outlook, said in words.items()
            if any(row.evidence.outlook == outlook for row in rows)
        }
        # The larger one is taken last, for pairs cannot be taken away.
        for outlook, command in commands.items():
            after, _ = made.measured(made.accepted(command, monkeypatch))
            for row in rows:
                if row.evidence.outlook == outlook:
                    # First pairs that were added may have chosen otherwise.
                    stage, count = decisive(after, row)
                    shown = (noise, factor, plan, budget_s, row.case_id, command)
                    assert count > len(before.seen.tried(row.case_id, stage)), shown
                    assert after.seen.pairs.items() > before.seen.pairs.items(), shown
        ended = [row for row in rows if row.evidence.outlook == "given up"]
        after, _ = made.measured(max(plan, 160))
        for row in ended:
            fresh = after.seen.tried(row.case_id, "fresh")
            assert ("fresh", len(fresh)) == counts[row.case_id], (noise, factor, plan, budget_s)
    assert seen == {"go on", "more pairs", "given up", "too noisy", None}


def test_the_number_that_is_advised_for_a_row_adds_a_pair_to_it(tmp_path: Path) -> None:
    made = Comparison.begun(tmp_path / "out", 68, 1.065, 1.0)
    _, report = made.measured(68)
    # The simulation says 71, whose first pairs are as many as those of 68.
    assert [row.evidence.pairs_needed for row in undecided(report)] == [74, 74]
    after, _ = made.measured(74)
    assert [len(after.seen.of(key, "first")) for key in KEYS] == [12, 12]


def test_what_no_number_of_pairs_decides_is_said_instead_of_one(tmp_path: Path) -> None:
    made = Comparison.begun(tmp_path / "out", 40, 2.0, 1.0)
    _, report = made.measured(40)
    rows = undecided(report)
    assert [row.evidence.outlook for row in rows] == ["too noisy"] * 2
    assert [row.evidence.pairs_needed for row in rows] == [None] * 2
    assert all("needs more than --pairs 636" in reach(row) for row in rows)
    assert (
        "2 undecided times cannot be decided on this machine: even --pairs 636" in report.notes[-1]
    )
    assert "bench ab --resume" not in " ".join(report.notes)
