"""The way of `bench history --confirm` through the findings, with a made-up comparison."""

from pathlib import Path

import pytest

from bench.ab import ab_plan
from bench.ab.ab_directory import ChangedError
from bench.commands import ab, confirm, provenance
from bench.core import exit_codes
from bench.history import findings, series
from bench.history.confirmed import folder_of
from bench.history.findings import History
from bench.verdict import ab_csv
from bench.verdict.report import Finding, PairEvidence
from tests.support.cases import PLAIN, case
from tests.support.history import line_of, run_of


def history() -> History:
    """Two cases that became 20 % slower at commit 10."""
    before = [0.1 * (1 + 0.001 * (number % 3)) for number in range(10)]
    seconds = [*before, *(1.2 * time_s for time_s in before)]
    runs = [
        run_of(number, time_s, one, run_id=f"{one.batch}-{number}")
        for one in (PLAIN, case(batch=32))
        for number, time_s in enumerate(seconds)
    ]
    found = findings.examine(series.gather(runs, line_of(30)).series)
    assert len(found.findings) == 2
    return found


class Comparison:
    """In the place of `bench ab`: it keeps what it was asked, and ends as it is told to."""

    def __init__(self, code: int = 0) -> None:
        self.code = code
        self.asked: list[ab_plan.Asked] = []

    def run(self, asked: ab_plan.Asked) -> int:
        self.asked.append(asked)
        return self.code


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "machine_id", lambda _: "m1")


def confirmed(store: Path) -> History:
    return confirm.confirm(history(), store, None, lambda _: None)


def test_each_finding_is_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Comparison()
    monkeypatch.setattr(ab, "run", made.run)
    found = confirmed(tmp_path)
    assert len(made.asked) == 2
    assert [one.confirmation for one in found.findings] == ["undecided", "undecided"]


def test_a_comparison_that_is_interrupted_ends_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Comparison(code=exit_codes.INTERRUPTED)
    monkeypatch.setattr(ab, "run", made.run)
    with pytest.raises(KeyboardInterrupt):
        confirmed(tmp_path)
    assert len(made.asked) == 1


class Upgraded(Comparison):
    """`bench ab` after torch changed: it refuses to resume, and a new comparison is clear."""

    def run(self, asked: ab_plan.Asked) -> int:
        super().run(asked)
        if asked.resume is not None:
            raise ChangedError(f"--resume {asked.resume}: changed since then: torch")
        assert asked.out is not None
        assert not asked.out.exists()
        asked.out.mkdir()
        (asked.out / "ab.json").write_text("{}")
        one = Finding(
            case_id="", phase="forward", figure="time_s", base=0.1, value=0.12, ratio=1.2,
            ratio_low=1.18, ratio_high=1.22, verdict="REGRESSED", evidence=PairEvidence(pairs=8),
        )  # fmt: skip
        ab_csv.write(asked.out / "ab.csv", [one])
        return 1


def test_a_comparison_that_cannot_be_resumed_is_kept_and_begun_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, said = Upgraded(), list[str]()
    monkeypatch.setattr(ab, "run", made.run)
    folders = [folder_of(tmp_path, one) for one in history().findings]
    folders[0].mkdir(parents=True)
    (folders[0] / "ab.json").write_text("old")
    folders[0].with_name(f"{folders[0].name}-old-1").mkdir()
    found = confirm.confirm(history(), tmp_path, None, said.append)
    assert [one.confirmation for one in found.findings] == ["confirmed", "confirmed"]
    assert [one.resume for one in made.asked] == [folders[0], None, None]
    kept = folders[0].with_name(f"{folders[0].name}-old-2")
    assert (kept / "ab.json").read_text() == "old"
    assert any(f"{kept} keeps the old one" in one for one in said)
