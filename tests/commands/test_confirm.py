"""How `bench history --confirm` goes through the findings, with a comparison that is made up."""

from pathlib import Path

import pytest

from bench.ab import ab_plan
from bench.commands import ab, confirm, provenance
from bench.history import findings, series
from bench.history.findings import History
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
    made = Comparison(code=ab.INTERRUPTED)
    monkeypatch.setattr(ab, "run", made.run)
    with pytest.raises(KeyboardInterrupt):
        confirmed(tmp_path)
    assert len(made.asked) == 1
