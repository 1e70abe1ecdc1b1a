import io
import re

import pytest
from rich.console import Console

from bench.core.records import Facts, Failure, Measurement, Samples
from bench.terminal.live import LiveTable
from bench.terminal.progress import Bar
from tests.support.cases import case
from tests.support.results import replicates

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


def test_on_a_terminal_the_table_shows_count_time_left_and_the_figures() -> None:
    drawn = _drawn(terminal=True)
    assert "1/2" in drawn
    assert "0:01 left" in drawn  # a second by the test's clock for the first, so one for the next
    assert "latency 2.00 ms" in drawn  # below its name, which is too long to stand beside


def _filled() -> LiveTable:
    slow, fast = [0.020, 0.021, 0.022], [0.010, 0.0104, 0.0112]
    table = LiveTable([case(), case(amp="bfloat16"), case(memory_format="channels_last")])
    for outcome in (*replicates(case(), slow), *replicates(case(amp="bfloat16"), fast)):
        assert not isinstance(outcome, Facts)
        table.add(outcome)
    return table


def test_the_table_holds_all_planned_rows_and_the_speedups_so_far() -> None:
    lines = [line.plain for line in _filled().table("title", 9).lines(100)]
    assert lines[1] == "all on cpu, 3,224,224, float32"
    assert [" ".join(line.split()) for line in lines[5:8]] == [
        "convnet inference N=8 plain 21.0 ms 11.9 %",
        "convnet inference N=8 amp=bfloat16 10.5 ms 14.3 % 1.99× (1.93–2.06)",
        "convnet inference N=8 channels_last –",
    ]


def test_a_short_terminal_shows_the_rows_that_are_measured_and_counts_the_others() -> None:
    text = "\n".join(line.plain for line in _filled().table("title", 2).lines(100))
    assert "plain" in text
    assert "amp=bfloat16" in text
    assert "channels_last" not in text
    assert "1 more rows come with the summary" in text


@pytest.mark.parametrize(("width", "height"), [(90, 25), (40, 12), (30, 5), (80, 2)])
def test_no_drawing_is_larger_than_the_terminal(width: int, height: int) -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=width, height=height, color_system=None)
    with Bar(console, cases=[case(batch=size) for size in range(1, 40)]) as bar:
        bar.begin(40)
        bar.done(Measurement(case=case(batch=1), replicate=0, samples=(TIMES,)), 39)
    frames = re.split(r"(?:\x1b\[[0-9;?]*[A-Za-z]|\r)+", out.getvalue())
    assert max(len(line) for frame in frames for line in frame.split("\n")) <= width
    assert max(frame.count("\n") for frame in frames) < height
