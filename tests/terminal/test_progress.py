import io
import re
from collections.abc import Mapping

import pytest
from rich.console import Console

from bench.core.records import Failure, Measurement, Samples, StaticMetrics
from bench.stats import ratios
from bench.terminal.live import LiveTable
from bench.terminal.progress import Bar, wide_console
from tests.support.cases import case
from tests.support.results import measurement, replicates

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


def test_a_pipe_has_plain_lines_also_where_colours_are_forced(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    with Bar(wide_console()) as bar:
        bar.begin(1)
        bar.done(Measurement(case=case(), replicate=0, samples=(TIMES,)), 0)
    out = capsys.readouterr().out
    assert "\x1b[?25l" not in out  # hides the cursor, as a drawing does
    assert [" ".join(line.split()) for line in out.splitlines()] == [
        "measuring 1 outcome",
        "1/1 0:00 left convnet inference N=8 2.00 ms",
    ]


def test_a_terminal_that_cannot_move_its_cursor_has_plain_lines() -> None:
    file, now = io.StringIO(), iter(range(100))
    console = Console(
        file=file, force_terminal=True, width=90, color_system=None, _environ={"TERM": "dumb"}
    )
    with Bar(console, clock=lambda: float(next(now))) as bar:
        bar.begin(1)
        bar.done(Measurement(case=case(), replicate=0, samples=(TIMES,)), 0)
    assert file.getvalue().splitlines()[0] == "measuring 1 outcome"
    assert "convnet inference N=8" in file.getvalue()


def test_on_a_terminal_the_table_shows_count_time_left_and_the_figures() -> None:
    drawn = _drawn(terminal=True)
    assert "1/2" in drawn
    assert "0:01 left" in drawn  # a second by the test's clock for the first, so one for the next
    assert re.search(
        r"a call +2\.00 ms", drawn
    )  # below its name, which is too long to stand beside


def _filled() -> LiveTable:
    slow, fast = [0.020, 0.021, 0.022], [0.010, 0.0104, 0.0112]
    table = LiveTable([case(), case(amp="bfloat16"), case(memory_format="channels_last")])
    for outcome in (*replicates(case(), slow), *replicates(case(amp="bfloat16"), fast)):
        assert not isinstance(outcome, StaticMetrics)
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
    assert "1 more row comes with the summary" in text


def _of(
    seconds: float, replicate: int, back_to_back_s: float | None, **changes: str
) -> Measurement:
    return measurement(case(**changes), replicate, seconds, pipelined_s=back_to_back_s)


def test_who_divides_two_times_gets_the_speedup_beside_them() -> None:
    table = LiveTable([case(), case(amp="bfloat16")])
    for replicate in range(3):
        table.add(_of(0.0009, replicate, 0.0008))
        table.add(_of(0.0004, replicate, 0.0005, amp="bfloat16"))
    lines = [" ".join(line.plain.split()) for line in table.table("title", 9).lines(100)]
    assert "convnet inference N=8 plain 800 µs 0.0 %" in lines
    assert any(
        line.startswith("convnet inference N=8 amp=bfloat16 500 µs 0.0 % 1.60×") for line in lines
    )
    assert any("calls back to back where measured, else single ones" in line for line in lines)


def test_single_calls_are_not_compared_with_calls_back_to_back() -> None:
    table = LiveTable([case(), case(amp="bfloat16")])
    table.add(_of(0.0009, 0, 0.0008))
    single = Samples(phase="forward", kind="latency", calls_per_sample=1, times_s=(0.0003,))
    table.add(Measurement(case=case(amp="bfloat16"), replicate=0, samples=(single,)))
    lines = [" ".join(line.plain.split()) for line in table.table("title", 9).lines(100)]
    assert "convnet inference N=8 plain 900 µs 1 replicate" in lines
    told = "convnet inference N=8 amp=bfloat16 300 µs 1 replicate 3.00×"
    assert any(line.startswith(told) for line in lines)


def test_a_drawing_of_many_rows_compares_each_a_single_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compared: list[int] = []
    paired = ratios.paired

    def counted(base: Mapping[int, float], value: Mapping[int, float]) -> ratios.Estimate | None:
        compared.append(len(value))
        return paired(base, value)

    sizes = range(1, 11)
    plain = [case(batch=size) for size in sizes]
    many = [case(batch=size, threads=str(count)) for size in sizes for count in range(1, 21)]
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=90, height=25, color_system=None)
    with Bar(console, cases=[*plain, *many]) as bar:
        bar.begin(211)
        for left, one in enumerate(reversed([*plain, *many])):
            bar.done(measurement(one, 0, 0.001), left + 1)
        monkeypatch.setattr(ratios, "paired", counted)
        bar.done(measurement(case(), 1, 0.001), 0)
    assert len(compared) == len(many)


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
