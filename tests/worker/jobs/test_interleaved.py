"""Turns: the pause, the untimed calls, the samples of a side, and who comes when."""

import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import bench
from bench.ab.interleave import TOGETHER, ChildEnded, interleave, turn_for
from bench.core.protocol import NoMoreTurns, Turn, TurnTaken, to_line
from bench.core.records import Entry, Failure, Measurement
from bench.worker.jobs.interleaved import (
    Channel,
    InterleavedSampler,
    TurnsError,
    packages,
    proof,
)
from tests.support.cases import PLAIN
from tests.support.fake_device import FakeDevice, FakeStep


@dataclass
class Meter:
    running: bool = False
    blocks: int = 0

    def start(self) -> None:
        self.running = True

    def stop(self) -> None:
        self.running = False
        self.blocks += 1


def sampler(device: FakeDevice, step: FakeStep, meter: Meter | None = None) -> InterleavedSampler:
    def pause(seconds: float) -> None:
        device.now_s += seconds

    return InterleavedSampler(step, device, meter or Meter(), device.clock, pause)


def test_a_turn_begins_with_twenty_milliseconds_of_rest_and_two_calls_that_do_not_count() -> None:
    device = FakeDevice(synchronous=True, has_events=False, launch_s=0.0)
    meter, during = Meter(), list[tuple[float, bool]]()
    step = FakeStep(device, {"forward": 0.01}, slower=(50.0, 50.0))
    step.on_call = lambda: during.append((device.now_s, meter.running))
    (samples,) = sampler(device, step, meter).turn(1, 3)
    assert samples.times_s == pytest.approx((0.01, 0.01, 0.01))
    assert during[0][0] == pytest.approx(100.02)
    assert [running for _, running in during] == [False, False, True, True, True]
    assert meter.blocks == 1


def test_whole_and_phases_come_from_the_same_calls() -> None:
    device = FakeDevice(synchronous=True, has_events=False, launch_s=0.0)
    step = FakeStep(device, {"forward": 0.01, "backward": 0.03})
    samples = sampler(device, step).turn(2, 4)
    assert [one.phase for one in samples] == ["step", "forward", "backward"]
    assert {one.kind for one in samples} == {"latency"}
    assert {one.calls_per_sample for one in samples} == {2}
    for one, wanted_s in zip(samples, (0.04, 0.01, 0.03), strict=True):
        assert one.times_s == pytest.approx((wanted_s,) * 4)


def test_a_sample_is_the_mean_of_its_calls() -> None:
    device = FakeDevice(synchronous=True, has_events=False, launch_s=0.0)
    step = FakeStep(device, {"forward": 0.01}, slower=(1.0, 1.0, 1.0, 3.0))
    (samples,) = sampler(device, step).turn(2, 1)
    assert samples.times_s == pytest.approx((0.02,))


def test_on_an_accelerator_its_own_events_tell_the_phases() -> None:
    device = FakeDevice(launch_s=1e-5)
    step = FakeStep(device, {"forward": 0.01, "backward": 0.03})
    *samples, in_a_row = sampler(device, step).turn(1, 2)
    assert {one.kind for one in samples} == {"device"}
    assert [one.times_s[0] for one in samples] == pytest.approx([0.04, 0.01, 0.03], rel=0.01)
    assert (in_a_row.phase, in_a_row.kind) == ("step", "pipelined")


def test_on_an_accelerator_a_turn_ends_with_blocks_of_calls_back_to_back() -> None:
    device = FakeDevice(launch_s=1e-5)
    *_, in_a_row = sampler(device, FakeStep(device, {"forward": 0.001})).turn(5, 20)
    assert (in_a_row.calls_per_sample, len(in_a_row.times_s)) == (20, 5)  # as many calls again
    assert in_a_row.times_s == pytest.approx((0.001,) * 5, rel=0.01)
    *_, slow = sampler(device, FakeStep(device, {"forward": 0.15})).turn(1, 1)
    assert (slow.calls_per_sample, len(slow.times_s)) == (2, 2)  # nor longer than a turn may be


@pytest.mark.parametrize("synchronous", [True, False])
def test_by_the_hosts_clock_a_turn_has_the_whole_alone(synchronous: bool) -> None:
    device = FakeDevice(synchronous=synchronous, has_events=not synchronous, launch_s=0.0)
    step = FakeStep(device, {"forward": 0.01, "backward": 0.03})
    timed = InterleavedSampler(step, device, Meter(), device.clock, lambda _: None, host_clock=True)
    (samples,) = timed.turn(1, 2)
    assert (samples.phase, samples.kind) == ("step", "latency")
    assert samples.times_s == pytest.approx((0.04, 0.04))


def test_an_accelerator_without_events_has_its_whole_alone() -> None:
    device = FakeDevice(has_events=False)
    step = FakeStep(device, {"forward": 0.01, "backward": 0.03})
    kinds = [(one.phase, one.kind) for one in sampler(device, step).turn(1, 2)]
    assert kinds == [("step", "latency"), ("step", "pipelined")]


def test_a_turn_by_the_hosts_times_has_no_phases_and_keeps_its_calls_back_to_back() -> None:
    device = FakeDevice(launch_s=1e-6)
    found = sampler(device, FakeStep(device, {"forward": 0.01, "backward": 0.03})).turn(
        1, 3, host_times=True
    )
    assert [(one.phase, one.kind) for one in found] == [("step", "latency"), ("step", "pipelined")]


def test_where_the_events_of_one_side_miss_work_both_sides_take_host_times() -> None:
    for place in range(2):
        log: list[tuple[Any, ...]] = []
        sides = FakeSide("A", log), FakeSide("B", log)
        sides[place].host_times = True
        interleave(*sides, random.Random(1), 2)
        assert [one.taken[0].host_times for one in sides] == [True, True]


def test_a_side_that_is_much_slower_has_shorter_turns_but_never_an_empty_one() -> None:
    device = FakeDevice(synchronous=True, has_events=False, launch_s=0.0)
    (few,) = sampler(device, FakeStep(device, {"forward": 0.15})).turn(1, 20)
    (one,) = sampler(device, FakeStep(device, {"forward": 5.0})).turn(1, 20)
    assert (len(few.times_s), len(one.times_s)) == (3, 1)


@pytest.mark.parametrize(
    ("call_s", "turn"),
    [
        (0.010, Turn(1, 10)),
        (0.5, Turn(1, 1)),
        (0.005, Turn(1, 20)),
        (0.001, Turn(5, 20)),
        (0.00001, Turn(500, 20)),
    ],
)
def test_a_turn_is_a_tenth_of_a_second_of_at_most_twenty_samples(call_s: float, turn: Turn) -> None:
    assert turn_for(call_s) == turn


@dataclass
class FakeSide:
    """A side that notes what it is asked, and may end early."""

    name: str
    log: list[tuple[Any, ...]]
    call_s: float = 0.01
    ends_at: int = 10**6  # turns
    turns: int = 0
    taken: list[Turn] = field(default_factory=list)
    host_times: bool = False

    def start(self) -> float:
        self.log.append((self.name, "start"))
        if self.ends_at < 0:
            raise ChildEnded
        return self.call_s

    def take(self, turn: Turn) -> None:
        self.log.append((self.name, turn.calls, turn.samples))
        self.taken.append(turn)
        self.turns += 1
        if self.turns > self.ends_at:
            raise ChildEnded

    def finish(self) -> Entry:
        if self.turns > self.ends_at or self.ends_at < 0:
            return Failure(case=PLAIN, replicate=0, status="crash", reason=self.name)
        return Measurement(case=PLAIN, replicate=0, samples=())


def test_both_are_warm_before_either_is_timed_and_have_the_turns_that_suit_a() -> None:
    log: list[tuple[Any, ...]] = []
    interleave(FakeSide("A", log, 0.01), FakeSide("B", log, 0.05), random.Random(1), 6)
    assert {one[1] for one in log[:2]} == {"start"}
    assert {one[1:] for one in log[2:]} == {(1, 10)}
    for turn in range(6):
        assert {one[0] for one in log[2 + 2 * turn : 4 + 2 * turn]} == {"A", "B"}


def test_who_begins_a_turn_is_drawn() -> None:
    log: list[tuple[Any, ...]] = []
    interleave(FakeSide("A", log), FakeSide("B", log), random.Random(1), 40)
    first = [one[0] for one in log[2::2]]
    assert first.count("A") == 20  # ABBA or BAAB: drift cancels
    assert all({first[n], first[n + 1]} == {"A", "B"} for n in range(0, 40, 2))
    assert len({tuple(first[n : n + 4]) for n in range(0, 40, 4)}) > 3  # no fixed slots


@pytest.mark.parametrize("ends_at", [-1, 0, 2])
def test_where_one_side_ends_early_the_other_has_no_further_turns(ends_at: int) -> None:
    log: list[tuple[Any, ...]] = []
    a, b = FakeSide("A", log), FakeSide("B", log, ends_at=ends_at)
    left, right = interleave(a, b, random.Random(1), 6)
    assert isinstance(left, Measurement)
    assert right == Failure(case=PLAIN, replicate=0, status="crash", reason="B")
    assert a.turns == ends_at + 1  # the same as the other: would it have failed there, too?


def test_where_both_fail_both_say_so() -> None:
    for ends_at in (-1, 1):
        log: list[tuple[Any, ...]] = []
        a, b = FakeSide("A", log, ends_at=ends_at), FakeSide("B", log, ends_at=ends_at)
        left, right = interleave(a, b, random.Random(1), 6)
        assert isinstance(left, Failure)
        assert isinstance(right, Failure)
        assert (left.reason, right.reason) == ("A", "B")
        assert [one[1] for one in log].count("start") == 2


@dataclass
class Room:
    """Memory that both sides share."""

    free: int


@dataclass
class Hungry:
    """A side that holds memory from its start, or from its first turn, to its end."""

    name: str
    room: Room
    needs: int
    in_turns: bool = False  # takes it there as well, and not before
    starts: int = 0
    held: int = 0
    failed: bool = False
    host_times: bool = False

    def start(self) -> float:
        self.starts, self.failed = self.starts + 1, False
        # Alone, what turns take is taken in the warm-up already.
        if not self.in_turns or self.starts > 1:
            self._take()
        return 0.01

    def take(self, _: Turn) -> None:
        if not self.held:
            self._take()

    def _take(self) -> None:
        if self.needs > self.room.free:
            self.failed = True
            raise ChildEnded
        self.room.free -= self.needs
        self.held = self.needs

    def finish(self) -> Entry:
        self.room.free, self.held = self.room.free + self.held, 0
        if self.failed:
            return Failure(case=PLAIN, replicate=0, status="oom", reason="out of memory")
        return Measurement(case=PLAIN, replicate=0, samples=())


@pytest.mark.parametrize("in_turns", [False, True])
def test_a_side_that_fits_alone_and_not_beside_the_other_is_not_blamed_whoever_builds_first(
    in_turns: bool,
) -> None:
    second = set()
    for seed in range(8):
        room = Room(10)
        sides = [Hungry(name, room, 6, in_turns) for name in "AB"]
        found = interleave(sides[0], sides[1], random.Random(seed))
        (failed,) = [one for one in found if isinstance(one, Failure)]
        assert (failed.status, failed.reason) == ("oom", f"{TOGETHER} (out of memory)")
        assert room.free == 10
        second.add(found.index(failed))
    assert second == {0, 1}


def test_a_side_that_does_not_fit_alone_is_blamed_whoever_builds_first() -> None:
    starts = set()
    for seed in range(8):
        a, b = Hungry("A", room := Room(10), 6), Hungry("B", room, 12)
        left, right = interleave(a, b, random.Random(seed))
        assert isinstance(left, Measurement)
        assert right == Failure(case=PLAIN, replicate=0, status="oom", reason="out of memory")
        starts.add((a.starts, b.starts))
    assert starts == {(1, 2), (1, 1)}  # alone from the beginning: not tried again


def test_the_proof_names_the_subject_and_no_file_of_python_or_of_the_suite() -> None:
    found = proof("tests.support.cases")
    assert str(found.subject).endswith("tests/support/cases.py")
    assert found.subject in found.files
    libraries = tuple(
        f"{Path(str(one.__file__)).resolve().parent}/" for one in (bench, pytest, random)
    )
    assert not any(one.startswith(libraries) for one in found.files)


def test_the_proof_names_what_is_installed_by_its_outermost_packages() -> None:
    found = proof("tests.support.cases").packages
    assert found["pytest/__init__.py"] == str(Path(str(pytest.__file__)).resolve())
    assert not any(one.startswith(("bench/", "random", "pytest/fixtures")) for one in found)
    of_namespace = {
        "ns.net": Path("/site/ns/net/__init__.py"),
        "ns.net.layers": Path("/site/ns/net/layers.py"),
        "six": Path("/site/six.py"),
        "six.moves": Path("/site/six.py"),
        "other_name": Path("/site/net.py"),
        "random": Path("/lib/random.py"),
    }
    assert packages(of_namespace) == {
        "ns/net/__init__.py": "/site/ns/net/__init__.py",
        "six.py": "/site/six.py",
    }


def test_a_side_whose_parent_is_gone_says_so(tmp_path: Path) -> None:
    (tmp_path / "one.orders").write_text(to_line(Turn(1, 2)))
    (tmp_path / "one.answers").touch()
    with Channel(str(tmp_path / "one")) as channel:
        channel.send(TurnTaken())
        turns = channel.turns()
        assert next(turns) == Turn(1, 2)
        with pytest.raises(TurnsError, match="the parent ended"):
            next(turns)
    assert (tmp_path / "one.answers").read_text() == '{"kind": "turn-taken"}\n'


def test_a_side_that_is_told_so_has_no_more_turns(tmp_path: Path) -> None:
    (tmp_path / "one.orders").write_text(to_line(Turn(1, 2)) + to_line(NoMoreTurns()))
    (tmp_path / "one.answers").touch()
    with Channel(str(tmp_path / "one")) as channel:
        assert list(channel.turns()) == [Turn(1, 2)]
