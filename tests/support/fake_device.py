"""A device, a step and a clock that behave: asynchrony tested without a GPU.

Time passes only where work is launched or waited for, so every duration can be told in advance.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Self


class NotWaitedForError(Exception):
    """Error of an event whose time is asked for while it is in the queue."""


class FakeDevice:
    """An accelerator with one queue and the clock of its host, or a CPU if `synchronous`.

    launch_s: what the host spends on handing over one piece of work.
    look_s:   what one look at the clock costs.
    event_s:  what making an event costs the host; to record one that is there costs nothing.
    wait_s:   what a wait costs the host after the device is done.
    """

    def __init__(
        self,
        *,
        launch_s: float = 1e-5,
        look_s: float = 0.0,
        event_s: float = 0.0,
        wait_s: float = 0.0,
        has_events: bool = True,
        synchronous: bool = False,
    ) -> None:
        self.launch_s = launch_s
        self.look_s = look_s
        self.event_s = event_s
        self.wait_s = wait_s
        self.has_events = has_events
        self.synchronous = synchronous
        self.now_s = 100.0  # of the host; a clock that starts at 0 would hide a forgotten start
        self.free_s = 100.0  # when the queue will be empty
        self.aside_free_s = 100.0  # likewise that of another stream, in which no event is recorded
        self.waited_s = 0.0  # up to when the host knows the device to be done
        self.waits = 0

    def clock(self) -> float:
        self.now_s += self.look_s
        return self.now_s

    def submit(self, work_s: float) -> None:
        """Queue work; a synchronous device does it at once."""
        self.now_s += self.launch_s
        self.free_s = max(self.free_s, self.now_s) + work_s
        if self.synchronous:
            self.now_s = self.free_s

    def submit_aside(self, work_s: float) -> None:
        """Queue work in the other stream."""
        self.now_s += self.launch_s
        self.aside_free_s = max(self.aside_free_s, self.now_s) + work_s

    def wait(self) -> None:
        self.waits += 1
        self.now_s = max(self.now_s, self.free_s, self.aside_free_s)
        self.waited_s = self.now_s
        self.now_s += self.wait_s

    def event(self) -> "FakeEvent":
        self.now_s += self.event_s
        return FakeEvent(device=self, at_s=max(self.now_s, self.free_s))


@dataclass(slots=True)
class FakeEvent:
    device: FakeDevice
    at_s: float

    def record(self) -> None:
        self.at_s = max(self.device.now_s, self.device.free_s)

    def seconds_until(self, later: Self) -> float:
        if later.at_s > self.device.waited_s:
            raise NotWaitedForError
        return later.at_s - self.at_s


@dataclass(slots=True)
class FakeStep:
    """Step whose phases take the given times.

    phases_s: device seconds by phase.
    slower:   factors for the first calls, e.g. (100,) for one slow first call.
    copy_s:   device work of restoring one input; 0 = the step does not write to its input.
    room:     for how many calls inputs can be prepared.
    """

    device: FakeDevice
    phases_s: dict[str, float]
    slower: Iterable[float] = ()
    copy_s: float = 0.0
    room: int = 2**30
    calls: int = 0
    ready: int = 0
    on_call: Callable[[], None] | None = None
    _factors: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._factors = list(self.slower)

    @property
    def phases(self) -> tuple[str, ...]:
        return tuple(self.phases_s)

    @property
    def whole(self) -> str:
        return "forward" if len(self.phases_s) == 1 else "step"

    def prepare(self, calls: int) -> int:
        self.ready = min(calls, self.room)
        if self.copy_s:
            for _ in range(self.ready):
                self.device.submit(self.copy_s)
        return self.ready

    def __call__(self, mark: Callable[[], None] | None = None) -> None:
        assert self.ready > 0, "called without a prepared input"
        self.ready -= 1
        factor = self._factors[self.calls] if self.calls < len(self._factors) else 1.0
        self.calls += 1
        if self.on_call is not None:
            self.on_call()
        for position, work_s in enumerate(self.phases_s.values()):
            if position and mark is not None:
                mark()
            self.device.submit(work_s * factor)
