import io

from rich.console import Console

from bench.core.records import Failure, Measurement, Samples
from bench.terminal.progress import Bar
from tests.support.cases import case

TIMES = Samples(phase="forward", kind="latency", calls_per_sample=1, times_s=(0.001, 0.002, 0.009))


def _drawn(*, terminal: bool) -> str:
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=90, color_system=None)
    now = iter(range(100))
    with Bar(console, clock=lambda: float(next(now))) as bar:
        bar.begin(2)
        bar.done(Measurement(case=case(subject="x" * 80), replicate=0, samples=(TIMES,)), 1)
        bar.done(Failure(case=case(), replicate=0, status="crash", reason="\x1b[31mSIGSEGV"), 0)
    return out.getvalue()


def test_without_a_terminal_there_are_plain_lines() -> None:
    drawn = _drawn(terminal=False)
    assert drawn.splitlines()[0] == "measuring 2 outcomes"
    assert "1/2" in drawn
    assert "\x1b" not in drawn
    assert "crash: ?[31mSIGSEGV" in drawn


def test_on_a_terminal_a_bar_shows_count_time_left_and_the_last_figure() -> None:
    drawn = _drawn(terminal=True)
    assert "1/2" in drawn
    assert "0:01 left" in drawn  # a second by the test's clock for the first, so one for the next
    assert "…  2.00 ms" in drawn  # the name is cut, the figure is not
