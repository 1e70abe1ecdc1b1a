"""The pool of workers with fork servers that answer from memory."""

import dataclasses
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from bench.core.protocol import Ended, Exited, Request, Signalled, WorkerLost
from bench.core.records import Failure, Measurement, to_line
from bench.engine.fork_server import StartError
from bench.engine.policy import tried
from bench.engine.requests import request
from bench.engine.workers import Experience, Starting, Stopped, WorkerPool, opened
from bench.host.interpreter import HERE, Place
from bench.plan.config import RunOptions
from bench.results.run_directory import Folders
from tests.support.cases import PLAIN, case

LOST = WorkerLost("the replicate ended with exit code -9", killed=True)


@dataclass
class FakeServer:
    """Its children leave a failure that says `done`, unless it is told how they end."""

    started: dict[str, Any]
    ends: list[Ended]
    leaves: Callable[[], str | None] = lambda: None
    unshared: frozenset[str] = frozenset()
    dead: bool = False

    def ask(self, asked: Request) -> Ended:
        if self.ends:
            ended = self.ends.pop(0)
            self.dead = isinstance(ended.how, WorkerLost)
            return ended
        done = Failure(case=asked.case, replicate=0, status="error", reason="done")
        Path(asked.out).write_text(self.leaves() or to_line(done))
        return Ended(how=Exited(0), wall_s=0.5)

    def close(self) -> None:
        self.dead = True

    def kill(self) -> None:
        self.dead = True


@dataclass
class World:
    """The folder in which fork servers start, and the ends of their children."""

    folder: Path
    ends: list[Ended] = field(default_factory=list)
    unshared: frozenset[str] = frozenset()
    servers: list[FakeServer] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    leaves: str | None = None  # what a child writes, if it is not `done`
    experience: Experience = field(init=False)

    def __post_init__(self) -> None:
        self.experience = Experience(tell=self.told.append)

    def start(self, **given: Any) -> FakeServer:
        given["say"]("forks do not work here")
        self.servers.append(FakeServer(given, self.ends, lambda: self.leaves, self.unshared))
        return self.servers[-1]

    def pool(self, *cases: Any, place: Place = HERE) -> WorkerPool:
        return WorkerPool(
            cases=cases or (PLAIN,),
            folders=Folders(self.folder / "scratch", self.folder / "failures"),
            log=self.folder / "servers.log",
            place=place,
            experience=self.experience,
            start=self.start,  # type: ignore[arg-type]
        )

    def ask(self, pool: WorkerPool) -> Failure:
        found = pool.ask(request("measure", PLAIN, 0, RunOptions(), pool.folders))
        assert isinstance(found, Failure)
        return found


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_a_device_without_events_of_its_own_is_told_once_whatever_its_children_say(
    world: World,
) -> None:
    pool = world.pool()
    for said in ("they tell 0.1 ms", "they tell 0.2 ms"):
        on_gpu = case(device="mps", threads=None, allocator=None)
        asked = request("measure", on_gpu, 0, RunOptions(), pool.folders)
        left = Measurement(case=on_gpu, replicate=0, samples=(), state={"host_times": said})
        world.leaves = to_line(left)
        assert isinstance(pool.ask(asked), Measurement)
    assert [one for one in world.told if "mps" in one] == [
        "mps has host times alone; its events are not used: they tell 0.1 ms"
    ]


def test_accelerators_are_hidden_from_fork_servers_whose_cases_are_all_on_the_cpu(
    world: World,
) -> None:
    on_gpu = case(device="cuda:0", threads=None, allocator=None)
    pool = world.pool(PLAIN, on_gpu)
    with opened(pool):
        hidden = {one.started["allocator"]: one.started["cpu_only"] for one in world.servers}
    assert hidden == {PLAIN.allocator: True, None: False}


def test_fork_servers_start_with_the_wait_policy_of_their_run(world: World) -> None:
    for policy in ("default", "passive"):
        pool = dataclasses.replace(world.pool(), wait_policy=policy)
        with opened(pool):
            assert world.servers[-1].started["wait_policy"] == policy


def test_a_fork_server_starts_when_it_is_needed_and_serves_what_follows(world: World) -> None:
    pool = world.pool()
    assert world.servers == []
    assert [world.ask(pool).reason for _ in range(2)] == ["done", "done"]
    (server,) = world.servers
    assert server.started["modules"] == ["convnet.network"]
    assert server.started["log"] == world.folder / "servers-retained.log"


def test_a_record_has_the_time_that_its_child_took(world: World) -> None:
    assert world.ask(world.pool()).wall_s == 0.5


@pytest.mark.parametrize("killed", [Ended(how=LOST), Ended(how=Signalled("SIGKILL"))])
def test_what_something_outside_killed_is_done_again(world: World, killed: Ended) -> None:
    world.ends = [killed, killed]
    assert world.ask(world.pool()).reason == "done"


def test_what_is_killed_three_times_is_a_crash(world: World) -> None:
    world.ends = [Ended(how=LOST)] * 3
    found = world.ask(world.pool())
    assert (found.status, found.reason) == ("crash", f"{LOST.why}, while it ran this case")
    assert len(world.servers) == 3


@pytest.mark.parametrize(
    "ended",
    [
        Ended(how=Signalled("SIGSEGV")),
        Ended(how=Signalled("SIGKILL"), out_of_memory=True),
        Ended(how=WorkerLost("the replicate did not answer within 9 s")),
    ],
)
def test_what_ended_by_itself_is_not_done_again(world: World, ended: Ended) -> None:
    world.ends = [ended]
    assert world.ask(world.pool()).reason != "done"


def test_a_fork_server_that_ended_is_said_and_replaced(world: World) -> None:
    world.ends = [Ended(how=WorkerLost("it ended"))]
    pool = world.pool()
    assert [world.ask(pool).status for _ in range(2)] == ["crash", "error"]
    assert len(world.servers) == 2
    assert world.told == [
        "forks do not work here",
        f"{PLAIN.case_id}: it ended; a new one is started",
    ]


def test_what_cannot_be_shared_is_left_out_of_later_servers_of_its_place_alone(
    world: World,
) -> None:
    world.unshared = frozenset({"convnet.network"})
    other = Place(python="/other/python")
    for place in (HERE, HERE, other):
        world.pool(place=place).server_of(PLAIN)
    assert [one.started["modules"] for one in world.servers] == [
        ["convnet.network"],
        [],
        ["convnet.network"],
    ]


def test_open_pools_have_a_server_for_each_allocator_and_end_them_all(world: World) -> None:
    both = world.pool(case(allocator="retained"), case(allocator="system"))
    with opened(both, world.pool()):
        assert sorted(one.started["allocator"] for one in world.servers) == [
            "retained",
            "retained",
            "system",
        ]
        assert not any(one.dead for one in world.servers)
    assert all(one.dead for one in world.servers)


def test_where_one_server_does_not_start_the_others_are_ended(world: World) -> None:
    start = world.start

    def fails(**given: Any) -> FakeServer:
        if given["allocator"] == "system":
            raise StartError("no torch")
        return start(**given)

    pool = world.pool(case(allocator="retained"), case(allocator="system"))
    pool.start = fails  # type: ignore[assignment]
    with pytest.raises(StartError, match="no torch"), opened(pool):
        pass
    assert [one.dead for one in world.servers] == [True]


def test_a_pool_that_was_closed_starts_fresh_servers(world: World) -> None:
    pool = world.pool()
    world.ask(pool)
    pool.close()
    world.ask(pool)
    assert [one.dead for one in world.servers] == [True, False]


@pytest.mark.parametrize(("kills", "made"), [(0, 1), (2, 3), (9, 3)])
def test_an_attempt_is_made_three_times_at_most(kills: int, made: int) -> None:
    attempts: list[int] = []

    def attempt() -> int:
        attempts.append(len(attempts))
        return attempts[-1]

    killed: Callable[[int], bool] = lambda number: number < kills  # noqa: E731
    assert tried(attempt, killed) == made - 1
    assert len(attempts) == made


def test_parallel_devices_have_fork_servers_of_their_own(world: World) -> None:
    first, second = (case(device=f"cuda:{i}", threads=None, allocator=None) for i in range(2))
    with opened(world.pool(first, second)):
        assert len(world.servers) == 1
    pool = world.pool(first, second)
    pool.parallel = True
    with opened(pool):
        assert [one.started["log"].name for one in world.servers[1:]] == [
            "servers-None-cuda-0.log",
            "servers-None-cuda-1.log",
        ]


def test_a_pool_serves_as_another_of_the_same_interpreters_alone(world: World) -> None:
    pool = world.pool()
    assert pool.serves_as(world.pool(PLAIN, dataclasses.replace(PLAIN, batch=64)))
    for other in (
        world.pool(PLAIN, dataclasses.replace(PLAIN, allocator="system")),
        world.pool(PLAIN, dataclasses.replace(PLAIN, compile="default")),
        world.pool(PLAIN, dataclasses.replace(PLAIN, subject="my.net:Net")),
        world.pool(PLAIN, place=Place(python="/other/python")),
        dataclasses.replace(world.pool(), wait_policy="passive"),
    ):
        assert not pool.serves_as(other)


def test_a_pool_takes_over_servers_and_what_they_told_of_unshared_modules(world: World) -> None:
    world.unshared = frozenset({"convnet.network"})
    said: list[str] = []
    early, own = world.pool(), world.pool()
    early.experience = Experience(tell=said.append)
    starting = Starting(early)
    starting.begin()
    own.take_over(starting.started())
    with opened(own):
        (server,) = world.servers
        early.close()  # has none any more
        assert not server.dead
        assert world.ask(own).reason == "done"
    assert server.dead
    assert own.experience.unshared == {HERE: {"convnet.network"}}
    assert said == world.told == ["forks do not work here"]
    early.experience.tell_new("later")
    assert world.told == ["forks do not work here", "later"]


def test_servers_that_still_import_are_ended_by_a_drop(world: World) -> None:
    importing, killed = threading.Event(), threading.Event()
    seen: list[str] = []

    class Importing:
        def kill(self) -> None:
            seen.append("killed")
            killed.set()

    def slow(**given: Any) -> FakeServer:
        given["spawned"](Importing())
        importing.set()
        seen.append("in time" if killed.wait(5) else "too late")
        given["spawned"](Importing())  # it was killed, so another is spawned
        seen.append("a stopped pool goes on")
        return world.start(**given)

    pool = world.pool()
    pool.start = slow  # type: ignore[assignment]
    starting = Starting(pool)
    starting.begin()
    assert importing.wait(30)
    assert not starting.ready
    starting.drop()
    assert starting.ready
    assert sorted(seen) == ["in time", "killed", "killed"]
    with pytest.raises(Stopped):
        pool.server_of(PLAIN)


@pytest.mark.parametrize("dropped", [False, True])
def test_modules_are_imported_when_they_may_come(world: World, dropped: bool) -> None:
    spawned, imported = threading.Event(), threading.Event()

    class Importing:
        def kill(self) -> None:
            pass

    def start(**given: Any) -> FakeServer:
        spawned.set()
        given["spawned"](Importing())
        imported.set()
        return world.start(**given)

    pool = dataclasses.replace(world.pool(), modules_may_come=threading.Event())
    pool.start = start  # type: ignore[assignment]
    starting = Starting(pool)
    starting.begin()
    assert spawned.wait(30)
    assert not imported.wait(0.05)
    if dropped:
        starting.drop()
        assert not imported.is_set()
        return
    assert pool.modules_may_come is not None
    pool.modules_may_come.set()
    assert starting.started() is pool
    assert imported.is_set()
    assert pool.held_s >= 0.05
    assert starting.took_s < 0.05


def test_an_interrupt_while_fork_servers_start_ends_them(world: World) -> None:
    stopped: list[WorkerPool] = []

    def interrupted(**_: Any) -> FakeServer:
        raise KeyboardInterrupt

    class Pool(WorkerPool):
        def stop(self) -> None:
            stopped.append(self)
            super().stop()

    made = world.pool()
    pool = Pool(cases=made.cases, folders=made.folders, log=made.log, start=interrupted)  # type: ignore[arg-type]
    with pytest.raises(KeyboardInterrupt), opened(pool):
        pass
    assert stopped == [pool]


def test_the_compiler_checks_vector_instructions_where_a_case_compiles_for_the_cpu(
    world: World,
) -> None:
    on_gpu = case(device="cuda:0", threads=None, allocator=None, compile="default")
    compiled = dataclasses.replace(PLAIN, compile="default")
    for cases in ((PLAIN,), (on_gpu,), (PLAIN, compiled)):
        with opened(world.pool(*cases)):
            pass
    folder = world.folder / "scratch" / "compile" / "vectors"
    assert [one.started["vectors"] for one in world.servers] == [None, None, folder]
