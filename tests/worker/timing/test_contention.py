"""Counters of the machine around samples, from files that look like Linux' /proc."""

import mmap
from dataclasses import replace
from pathlib import Path

import pytest

from bench.worker.timing import contention
from bench.worker.timing.contention import (
    CONTENDED_RATIO,
    Difference,
    Meter,
    Snapshot,
    difference,
    snapshot,
)


def at(
    seconds: float,
    waits: dict[int, int] | None = None,
    faults: int | None = 0,
    switches: int | None = 0,
) -> Snapshot:
    return Snapshot(
        at_s=seconds, run_wait_ns=waits, page_faults=faults, involuntary_switches=switches
    )


def threads(folder: Path, waits: dict[int, int]) -> Path:
    for thread, wait_ns in waits.items():
        task = folder / str(thread)
        task.mkdir()
        (task / "schedstat").write_text(f"987654321 {wait_ns} 42\n")
    return folder


def test_run_queue_wait_is_the_second_figure_of_each_thread(tmp_path: Path) -> None:
    tasks = threads(tmp_path, {7: 1000, 8: 2500})
    assert snapshot(tasks, lambda: 5.0).run_wait_ns == {7: 1000, 8: 2500}


def test_a_snapshot_is_taken_at_the_time_of_its_clock(tmp_path: Path) -> None:
    assert snapshot(tmp_path, lambda: 5.0).at_s == 5.0


def test_contention_is_the_waiting_of_the_most_delayed_thread_over_wall_time() -> None:
    before = at(10.0, {1: 10**9, 2: 0})
    after = at(13.0, {1: 25 * 10**8, 2: 5 * 10**8})
    assert difference(before, after).contention_ratio == pytest.approx(0.5)


def test_a_new_thread_counts_with_all_it_has_waited() -> None:
    found = difference(at(0.0, {1: 10**9}), at(1.0, {1: 10**9, 2: 10**8}))
    assert found.contention_ratio == pytest.approx(0.1)


def test_a_thread_that_ended_does_not_count() -> None:
    found = difference(at(0.0, {1: 0, 2: 10**9}), at(1.0, {1: 10**8}))
    assert found.contention_ratio == pytest.approx(0.1)


def test_a_thread_number_that_was_given_again_is_a_new_thread() -> None:
    found = difference(at(0.0, {1: 10**9}), at(1.0, {1: 2 * 10**8}))
    assert found.contention_ratio == pytest.approx(0.2)


def test_quiet_and_contended_as_they_were_seen_lie_on_either_side_of_the_threshold() -> None:
    quiet = difference(at(0.0, {1: 0}), at(3.0, {1: 40_000_000}))
    loud = difference(at(0.0, {1: 0}), at(3.0, {1: 2_200_000_000}))
    assert quiet.contended is False
    assert loud.contended is True
    assert CONTENDED_RATIO == 0.1


def test_faults_and_switches_are_differences() -> None:
    found = difference(at(0.0, None, 1000, 5), at(1.0, None, 1500, 7))
    assert (found.page_faults, found.involuntary_switches) == (500, 2)


def test_a_system_without_proc_knows_nothing_and_says_none(tmp_path: Path) -> None:
    seen = snapshot(tmp_path / "missing", lambda: 5.0)
    assert seen.run_wait_ns is None
    found = difference(seen, snapshot(tmp_path / "missing", lambda: 6.0))
    assert found.contention_ratio is None
    assert found.contended is None


def test_a_kernel_without_schedstat_knows_nothing(tmp_path: Path) -> None:
    (tmp_path / "7").mkdir()
    assert snapshot(tmp_path, lambda: 5.0).run_wait_ns is None


def test_a_thread_that_ends_while_it_is_looked_at_is_left_out(tmp_path: Path) -> None:
    (threads(tmp_path, {7: 1000}) / "8").mkdir()
    assert snapshot(tmp_path, lambda: 5.0).run_wait_ns == {7: 1000}


def test_a_file_that_is_not_understood_is_unknown(tmp_path: Path) -> None:
    (threads(tmp_path, {7: 1000}) / "7" / "schedstat").write_text("x\n")
    assert snapshot(tmp_path, lambda: 5.0).run_wait_ns is None


def test_a_system_without_getrusage_knows_no_faults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contention, "resource", None)
    seen = snapshot(tmp_path, lambda: 5.0)
    assert (seen.page_faults, seen.involuntary_switches) == (None, None)
    assert difference(seen, seen) == Difference(
        wall_s=0.0,
        contention_ratio=None,
        page_faults=None,
        involuntary_switches=None,
    )


def test_touching_fresh_memory_shows_as_page_faults(tmp_path: Path) -> None:
    before = snapshot(tmp_path)
    # Straight from the kernel: what malloc gives may have been touched before.
    with mmap.mmap(-1, 64 * 2**20) as fresh:
        for place in range(0, len(fresh), mmap.PAGESIZE):
            fresh[place] = 1
        after = snapshot(tmp_path)
    faults = difference(before, after).page_faults
    if faults is None:
        pytest.skip("no getrusage here")
    assert faults > 0


@pytest.mark.parametrize(
    ("ran_s", "waited_s", "lost"),
    [
        ((2.0,) * 4, (2.0,) * 4, 0.0),  # four threads of its own on two processors
        ((1.0,) * 4, (3.0,) * 4, 0.75),  # the same beside a process that has one of them
        ((2.0,) * 2, (2.0,) * 2, 0.5),  # two threads, one other process on each processor
        ((3.9, 2.0), (0.1, 2.0), 0.5),  # one other process on one of them: the step waits for both
        ((1.0,), (3.0,), 0.75),
        ((0.0,), (4.0,), 1.0),
    ],
)
def test_threads_that_wait_for_each_other_have_lost_nothing_to_others(
    ran_s: tuple[float, ...], waited_s: tuple[float, ...], lost: float
) -> None:
    def of(seconds: tuple[float, ...]) -> dict[int, int]:
        return {number: round(one * 1e9) for number, one in enumerate(seconds)}

    none = dict.fromkeys(range(len(ran_s)), 0)
    before = replace(at(0.0, none), run_ns=none, processors=2)
    after = replace(at(4.0, of(waited_s)), run_ns=of(ran_s), processors=2)
    assert difference(before, after).contention_ratio == pytest.approx(lost)


def test_many_threads_that_wait_a_little_each_are_no_contention() -> None:
    none = dict.fromkeys(range(64), 0)
    waits = dict.fromkeys(range(64), 10**7)  # 10 ms of a second: together 0.64 s
    ran = dict.fromkeys(range(64), 9 * 10**8)
    before = replace(at(0.0, none), run_ns=none, processors=64)
    after = replace(at(1.0, waits), run_ns=ran, processors=64)
    assert difference(before, after).contention_ratio == pytest.approx(0.01)


def test_a_kernel_that_counts_nothing_is_not_quiet_but_unknown() -> None:
    none = {1: 0, 2: 0}
    before, after = (replace(at(at_s, none), run_ns=none, processors=2) for at_s in (0.0, 1.0))
    assert difference(before, after).contention_ratio is None


def test_what_a_hypervisor_took_counts_as_lost_to_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stat = tmp_path / "stat"
    monkeypatch.setattr(contention, "processors", lambda: frozenset({0, 2}))
    counts = ("  9 0 0 0 0 0 0 900 0 0", "0 1 1 1 1 1 1 1 100 1 1", "1 1 1 1 1 1 1 1 7 1 1")
    lines = (*counts, "2 1 1 1 1 1 1 1 50 1 1")
    stat.write_text("".join(f"cpu{line}\n" for line in lines))
    assert snapshot(tmp_path, lambda: 0.0, stat).stolen_s == {0: 1.0, 2: 0.5}  # ticks of 10 ms
    at_first = {0: 1.0, 2: 0.5}
    before = Snapshot(
        at_s=0.0, run_wait_ns={1: 0}, page_faults=0, involuntary_switches=0, stolen_s=at_first
    )
    after = Snapshot(
        at_s=1.0,
        run_wait_ns={1: 10**8},
        page_faults=0,
        involuntary_switches=0,
        stolen_s={0: 1.1, 2: 0.7},
    )
    assert difference(before, after).contention_ratio == pytest.approx(0.3)


@pytest.mark.parametrize("text", ["", "cpu  100 0 50\n", "cpu a b c d e f g h i\n"])
def test_a_kernel_that_does_not_tell_what_was_stolen_says_nothing(
    tmp_path: Path, text: str
) -> None:
    stat = tmp_path / "stat"
    stat.write_text(text)
    assert snapshot(tmp_path, lambda: 0.0, stat).stolen_s is None


def meter(*looks: Snapshot) -> Meter:
    later = iter(looks)
    return Meter(take_snapshot=lambda: next(later))


def test_a_meter_adds_up_its_blocks_and_leaves_out_what_lies_between() -> None:
    found = meter(
        at(0.0, {1: 0}, faults=10, switches=1),
        at(1.0, {1: 2 * 10**8}, faults=14, switches=2),
        at(5.0, {1: 9 * 10**9}, faults=999, switches=77),  # warm-up, controls: nobody's
        at(8.0, {1: 9 * 10**9}, faults=1001, switches=77),
    )
    for _ in range(2):
        found.start()
        found.stop()
    assert found.contention_ratio == pytest.approx(0.2 / 4)
    assert not found.contended
    assert found.columns(calls=3) == {
        "page_faults": 2.0,
        "contention_ratio": pytest.approx(0.05),
        "involuntary_switches": 1.0,
    }


def test_a_meter_over_its_threshold_is_contended_and_one_that_never_ran_is_not() -> None:
    found = meter(at(0.0, {1: 0}), at(1.0, {1: 10**8}))
    found.start()
    found.stop()
    assert found.contended
    assert not meter().contended
    assert meter().columns(calls=0) == {}


def test_a_meter_that_cannot_see_knows_nothing() -> None:
    found = meter(at(0.0, None, faults=None), at(1.0, None, faults=None))
    found.start()
    found.stop()
    assert found.contention_ratio is None
    assert "page_faults" not in found.columns(calls=1)
