"""The plot of accelerators beside the CPU: its intervals, and what is said of them."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from bench.core.records import Entry, Measurement, Samples
from bench.plots.devices import devices
from bench.plots.draw import rc_context
from tests.support.cases import case
from tests.support.figures import captions
from tests.support.results import run_of

GPU = {"device": "cuda:0", "cudnn_benchmark": "off", "tf32": "off", "threads": None,
       "allocator": None}  # fmt: skip


def entries(count: int) -> Iterator[Entry]:
    """So many replicates on a CPU, and on a GPU with its transfers."""
    for number in range(count):
        factor = 1 + 0.01 * number**2
        times = {("forward", "latency"): 0.02, ("forward", "pipelined"): 0.02}
        yield Measurement(case=case(), replicate=number, samples=samples(times, factor))
        times = {("forward", "latency"): 0.002, ("forward", "pipelined"): 0.001}
        for way in ("pageable", "pinned"):
            times |= {(f"{end}_{way}", "latency"): 0.001 for end in ("input", "output")}
        yield Measurement(case=case(**GPU), replicate=number, samples=samples(times, 1.0))


def samples(times: dict[tuple[str, str], float], factor: float) -> tuple[Samples, ...]:
    return tuple(
        Samples(phase=phase, kind=kind, calls_per_sample=1, times_s=(time_s * factor,))
        for (phase, kind), time_s in times.items()
    )


def drawn(folder: Path, count: int) -> tuple[Figure, str]:
    """The figure, and its captions on one line."""
    with rc_context():
        (figure,) = devices(run_of(folder / "run", list(entries(count)))).values()
    return figure, " ".join(" ".join(one.get_text() for one in captions(figure)).split())


@pytest.mark.parametrize(("count", "bars"), [(2, 0), (3, 3)])
def test_no_speedup_of_two_replicates_has_an_interval(
    tmp_path: Path, count: int, bars: int
) -> None:
    figure, _ = drawn(tmp_path, count)
    (below,) = (axes for axes in figure.axes if axes.get_label() == "inference gain")
    names = {line.get_label() for line in below.lines}
    assert {f"cuda:0 with {way} transfers" for way in ("pageable", "pinned")} <= names
    assert len([one for one in below.collections if isinstance(one, LineCollection)]) == bars


def test_the_bars_of_times_and_those_of_speedups_are_told_apart(tmp_path: Path) -> None:
    of_times = "bars: 95 % interval, 4.6 % between runs (default)"
    of_speedups = "; those of speedups: over the replicates of this run"
    for count, told, not_told in (
        (1, "", "bars:"),
        (2, of_times, of_speedups),
        (3, of_times + of_speedups, "over replicates"),
    ):
        _, said = drawn(tmp_path / str(count), count)
        assert told in said
        assert not_told not in said
