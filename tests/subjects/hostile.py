"""Subjects that misbehave, each in its own way."""

import ctypes
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn


class Small(nn.Module):
    """(N, 4) → (N, 4); well-behaved, for the others to build on."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Any:
        return self.fc(x)


class Raises(Small):
    def forward(self, x: Tensor) -> Any:
        raise RuntimeError("shapes do not\nfit <b>here</b>")


class RaisesAtTheTenth(Small):
    calls = 0

    def forward(self, x: Tensor) -> Any:
        self.calls += 1
        if self.calls == 10:
            raise ValueError("tenth call")
        return self.fc(x)


def acts(act: Callable[[], object]) -> type[Small]:
    """A subject that does something in each call, and then what it should."""

    class Acts(Small):
        def forward(self, x: Tensor) -> Any:
            act()
            return self.fc(x)

    return Acts


def once(act: Callable[[], object]) -> type[Small]:
    """The same, in its first call alone."""
    left = [act]
    return acts(lambda: left and left.pop()())


def raises(error: BaseException) -> type[Small]:
    def act() -> None:
        raise error

    return acts(act)


class Nameless(BaseException):
    """An error that is not an Exception and whose text cannot be read."""

    def __str__(self) -> str:
        raise RuntimeError("never")


RaisesBase = raises(Nameless())
RaisesHuge = raises(ValueError("much " * 2_000_000))
RaisesEscapes = raises(ValueError("=cmd|'/c calc'\n\x1b]0;owned\x07\x1b[2J<script>"))
RaisesMemoryError = raises(MemoryError("no more"))
RaisesBadAlloc = raises(RuntimeError("std::bad_alloc"))
DeviceIsFull = raises(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB"))
SaysTheDiskIsFull = raises(OSError(28, "No space left on device", "/dev/full"))

Segfaults = acts(lambda: ctypes.string_at(0))
Aborts = acts(os.abort)
KillsItself = acts(lambda: os.kill(os.getpid(), signal.SIGKILL))
KillsItsReplicate = acts(lambda: os.kill(os.getppid(), signal.SIGKILL))


class Exits(Small):
    def __init__(self, code: int) -> None:
        super().__init__()
        self.code = code

    def forward(self, x: Tensor) -> Any:
        os._exit(self.code)


class ExitsWhenBuilt(Small):
    def __init__(self) -> None:
        sys.exit("no")


class RaisesWhenBuilt(Small):
    def __init__(self) -> None:
        raise ValueError("not today")


class TooLargeToBuild(Small):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(2**24, 2**24)  # a petabyte


class HangsWhenBuilt(Small):
    def __init__(self) -> None:
        time.sleep(3600)


class LeavesAProcessWhenBuilt(Small):
    def __init__(self) -> None:
        super().__init__()
        subprocess.Popen(["sleep", "3604"], start_new_session=True)


ExitsSoftly = acts(lambda: sys.exit("enough"))
Hangs = acts(lambda: time.sleep(3600))
TakesASecond = acts(lambda: time.sleep(1.0))
HangsInC = acts(lambda: ctypes.PyDLL(None).sleep(3600))  # never lets go of the interpreter


class HangsAtTheThird(Small):
    calls = 0

    def forward(self, x: Tensor) -> Any:
        self.calls += 1
        if self.calls == 3:
            time.sleep(3600)
        return self.fc(x)


class HangsAndListensToNoSignal(Small):
    def forward(self, x: Tensor) -> Any:
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        while True:
            time.sleep(3600)


Floods = acts(lambda: print("flood " * 2**24))


class ClosesStreams(Small):
    def forward(self, x: Tensor) -> Any:
        os.closerange(1, 3)
        raise RuntimeError("in silence")


class HasNoStreams(Small):
    def forward(self, x: Tensor) -> Any:
        sys.stdout = sys.stderr = None
        raise RuntimeError("in silence")


class HasWrongStreams(Small):
    def forward(self, x: Tensor) -> Any:
        sys.stdout = sys.stderr = 7
        raise RuntimeError("in silence")


def write_to_all() -> None:
    for handle in range(3, 64):
        try:
            os.write(handle, b'{"ready": true}\n')
        except OSError:
            continue


ClosesAll = once(lambda: os.closerange(0, 1024))
WritesToAll = acts(write_to_all)

# Once: a thread's stack (8 MiB) counts against the memory that a child may have, so that one in
# each call ends a case at some number of calls, which depends on what is free and how fast it is.
LeavesAThread = once(lambda: threading.Thread(target=time.sleep, args=(3600,)).start())
LeavesADaemon = once(lambda: threading.Thread(target=time.sleep, args=(3600,), daemon=True).start())
LeavesAProcess = once(lambda: subprocess.Popen(["sleep", "3601"], start_new_session=True))
LeavesADeafProcess = once(
    lambda: subprocess.Popen(["sh", "-c", "trap '' TERM HUP INT; while :; do sleep 3601; done"])
)


class LeavesAndHangs(Small):
    """The process that it leaves can be told by the seconds that it sleeps."""

    def __init__(self, sleep_s: int) -> None:
        super().__init__()
        self.sleep_s = sleep_s

    def forward(self, x: Tensor) -> Any:
        subprocess.Popen(["sleep", str(self.sleep_s)], start_new_session=True)
        time.sleep(3600)


class LeavesAndKillsItsReplicate(LeavesAndHangs):
    def forward(self, x: Tensor) -> Any:
        subprocess.Popen(["sleep", str(self.sleep_s)], start_new_session=True)
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(3600)


class LeavesAndDiesWhenBuilt(Small):
    def __init__(self, sleep_s: int) -> None:
        subprocess.Popen(["sleep", str(sleep_s)], start_new_session=True)
        os.kill(os.getpid(), signal.SIGKILL)


def detach() -> None:
    """Leave a process behind as daemons do: fork, begin a session, fork again."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.execvp("sleep", ["sleep", "3601"])
        os._exit(0)


LeavesAnOrphan = once(detach)
ForksOnce = once(os.fork)


class Fills(Small):
    def forward(self, x: Tensor) -> Any:
        kept = []
        while True:
            kept.append(torch.empty(2**28))  # 1 GiB, never touched


class EatsUp(Small):
    """Takes memory beyond its limit until the kernel ends it."""

    def forward(self, x: Tensor) -> Any:
        hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
        resource.setrlimit(resource.RLIMIT_DATA, (hard, hard))
        kept = []
        while True:
            kept.append(torch.ones(2**24))


def go_where_nothing_is() -> None:
    folder = tempfile.mkdtemp()
    os.chdir(folder)
    Path(folder).rmdir()


def raise_in_a_handler(every_s: float) -> None:
    def handler(*_: object) -> None:
        raise RuntimeError("in a handler")

    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, every_s, every_s)


def lower_limits() -> None:
    for which in (resource.RLIMIT_FSIZE, resource.RLIMIT_NOFILE):
        resource.setrlimit(which, (0, resource.getrlimit(which)[1]))


def remove_records() -> None:
    """Remove the folder of the log, which has the records as well."""
    shutil.rmtree(Path("/proc/self/fd/1").readlink().parent)


ChangesFolder = acts(lambda: os.chdir("/"))
GoesWhereNothingIs = once(go_where_nothing_is)
SetsAnAlarm = acts(lambda: signal.setitimer(signal.ITIMER_REAL, 0.001))
RaisesInAHandler = acts(lambda: raise_in_a_handler(1e-3))
LowersLimits = once(lower_limits)
RemovesRecords = once(remove_records)
ChangesUmask = acts(lambda: os.umask(0o777))
TurnsDtype = acts(lambda: torch.set_default_dtype(torch.float64))
TurnsDeterministic = acts(lambda: torch.use_deterministic_algorithms(True))


class Hungry(Small):
    def forward(self, x: Tensor) -> Any:
        return torch.ones(2**46)


class Large(nn.Module):
    """Its gradients in float64 take 72 MB."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3000, 3000)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.fc(x)
        return found


class NotFinite(Small):
    def forward(self, x: Tensor) -> Any:
        return self.fc(x) / 0


class TurnsThreads(Small):
    def forward(self, x: Tensor) -> Any:
        torch.set_num_threads(1)
        return self.fc(x)


class GoesToEval(Small):
    def forward(self, x: Tensor) -> Any:
        self.eval()
        return self.fc(x)


class WithoutCompiling(Small):
    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def forward(self, x: Tensor) -> Any:
        return self.fc(x)


class CachesInItsFirstCall(Small):
    """Makes a mask in its first call, as position tables are; compiled code settles later."""

    mask: Tensor | None = None

    def forward(self, x: Tensor) -> Any:
        if self.mask is None:
            self.mask = torch.ones(4)
        return self.fc(x) * self.mask


class RecompilesEachTime(Small):
    calls = 0

    def forward(self, x: Tensor) -> Any:
        self.calls += 1
        return self.fc(x) * self.calls


class TrainGivesNone(Small):
    def train(self, mode: bool = True) -> Any:
        super().train(mode)


class TrainDoesNothing(Small):
    def train(self, mode: bool = True) -> Any:
        return self


class EvalRaises(Small):
    def eval(self) -> Any:
        raise RuntimeError("never in eval")

    def train(self, mode: bool = True) -> Any:
        return super().train(mode) if mode else self.eval()


class CallGivesNone(Small):
    def __call__(self, *_: Any, **__: Any) -> Any:
        return None


class ConvertsBack(nn.Module):
    """(N, 3, H, W): asks for channels_last and gets contiguous."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x: Tensor) -> Any:
        self.conv.weight.data = self.conv.weight.data.contiguous()
        return self.conv(x.contiguous())


class IgnoresAutocast(Small):
    def forward(self, x: Tensor) -> Any:
        with torch.autocast("cpu", enabled=False):
            return self.fc(x)


class OneValue(nn.Module):
    """(N, 4): BatchNorm with one value a channel at N = 1."""

    def __init__(self) -> None:
        super().__init__()
        self.bn = nn.BatchNorm1d(4)

    def forward(self, x: Tensor) -> Any:
        return self.bn(x)


class CallsAutograd(Small):
    """(N, 4): the force that belongs to an energy, as models of molecules put it out."""

    def forward(self, x: Tensor) -> Any:
        with torch.enable_grad():
            at = x.detach().requires_grad_()
            energy = torch.tanh(self.fc(at)).sum()
            (slope,) = torch.autograd.grad(energy, at, create_graph=self.training)
        return {"energy": energy, "force": -slope}


class NeedsGradients(Small):
    """The same by a network that does not switch gradients on itself."""

    def forward(self, x: Tensor) -> Any:
        at = x.detach().requires_grad_()
        (slope,) = torch.autograd.grad(torch.tanh(self.fc(at)).sum(), at)
        return slope


class SwitchesGradientsOn(Small):
    def forward(self, x: Tensor) -> Any:
        torch.set_grad_enabled(True)
        return self.fc(x)


class MixedDtypes(nn.Module):
    """(N, 4): a trunk in bfloat16 on purpose, a head in float32."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk, self.head = nn.Linear(4, 4).bfloat16(), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Any:
        return self.head(self.trunk(x.bfloat16()).float())


class FollowsItsWeights(MixedDtypes):
    """The same, which asks its weights in what they are."""

    def forward(self, x: Tensor) -> Any:
        y = self.trunk(x.to(self.trunk.weight.dtype))
        return self.head(y.to(self.head.weight.dtype))


def compiled_already() -> Any:
    return torch.compile(Small(), backend="eager")


class CompiledPart(Small):
    def __init__(self) -> None:
        super().__init__()
        self.fc.compile(backend="eager")


class CompiledBeside(nn.Module):
    """(N, 3): one part compiled in place, one wrapped, one as it is."""

    def __init__(self) -> None:
        super().__init__()
        self.placed = nn.Sequential(nn.Linear(3, 3), nn.ReLU())
        self.placed.compile(backend="eager")
        inner = nn.Sequential(nn.Linear(3, 3), nn.Sequential(nn.Linear(3, 3)))
        inner[1].compile(backend="eager")
        self.wrapped = torch.compile(inner, backend="eager")
        self.plain = nn.Sequential(nn.Linear(3, 3))

    def forward(self, x: Tensor) -> Any:
        return self.plain(self.wrapped(self.placed(x)))


@torch.compile(backend="eager")
def _doubled(x: Tensor) -> Tensor:
    return x * 2


class CompilesAFunction(Small):
    def forward(self, x: Tensor) -> Any:
        return _doubled(self.fc(x))


class BreaksInLoop(nn.Module):
    """(N, 4): its layers are compiled, the loop over them is not."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Small() for _ in range(3))

    def forward(self, x: Tensor) -> Any:
        for layer in self.layers:
            x = torch.relu(layer(x)) if self.training else layer(x)
            torch._dynamo.graph_break()
        return x


class MostlyEager(nn.Module):
    """(N, 4): one layer of three is compiled."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Small() for _ in range(3))

    def forward(self, x: Tensor) -> Any:
        x = self.layers[0](x)
        return _uncompiled(self.layers[2], _uncompiled(self.layers[1], x))


@torch.compiler.disable  # type: ignore[untyped-decorator]
def _uncompiled(layer: nn.Module, x: Tensor) -> Any:
    return layer(x)


class Log:
    """Keeps what it was shown."""

    def __init__(self) -> None:
        self.seen: list[Tensor] = []


class ShallowLog(Log):
    """A log that cannot be copied deeply; the lists inside can."""

    def __deepcopy__(self, memo: object) -> "ShallowLog":
        raise TypeError("one of a kind")


class UncopiedLog(ShallowLog):
    def __copy__(self) -> "UncopiedLog":
        raise TypeError("one of a kind")


class Remembers(nn.Module):
    """(N, 4) and a log of all calls before: each call works on more."""

    log: type[Log] = Log

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x: Tensor, log: Log) -> Any:
        log.seen.append(self.fc(x))
        return torch.stack(log.seen).mean(0)

    def example_inputs(self, batch: int) -> Any:
        return torch.randn(batch, 4), self.log()


class RemembersShallow(Remembers):
    log = ShallowLog


class RemembersUncopied(Remembers):
    log = UncopiedLog


class RemembersInADict(nn.Module):
    """Has a cache as users write it: a dict of lists."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x: Tensor, cache: dict[str, list[Tensor]]) -> Any:
        cache["keys"].append(self.fc(x))
        return torch.cat(cache["keys"]).sum(0)

    def example_inputs(self, batch: int) -> Any:
        return {"x": torch.randn(batch, 4), "cache": {"keys": []}}


class Streaming(Small):
    """Keeps its own past."""

    def __init__(self) -> None:
        super().__init__()
        self.past: list[Tensor] = []

    def forward(self, x: Tensor) -> Any:
        self.past.append(self.fc(x).detach())
        return torch.stack(self.past).mean(0)


class GrowingBuffer(Small):
    past: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("past", torch.zeros(0, 4))

    def forward(self, x: Tensor) -> Any:
        self.past = torch.cat([self.past, self.fc(x).detach()])
        return self.past.mean(0)


_PAST: list[Tensor] = []


class KeepsInItsFile(Small):
    def forward(self, x: Tensor) -> Any:
        _PAST.append(self.fc(x).detach())
        return torch.stack(_PAST).mean(0)


def keeps_in_a_closure() -> Any:
    past: list[Tensor] = []

    def hook(_module: object, _args: object, output: Tensor) -> Tensor:
        past.append(output.detach())
        return torch.stack(past).mean(0)

    module = Small()
    module.register_forward_hook(hook)
    return module


class ChainsItsGraph(Small):
    """Puts its last output into the next one: with gradients on, the graph gets longer."""

    def __init__(self) -> None:
        super().__init__()
        self.last: Tensor | None = None

    def forward(self, x: Tensor) -> Any:
        y = self.fc(x)
        self.last = y if self.last is None else torch.tanh(y + self.last)
        return self.last


class Counts(Small):
    """A number that goes up is no more work; nor is a table that its first call fills."""

    def __init__(self) -> None:
        super().__init__()
        self.calls, self.table = 0, dict[int, Tensor]()

    def forward(self, x: Tensor) -> Any:
        self.calls += 1
        return self.fc(x) + self.table.setdefault(len(x), torch.zeros(4))


class SkipsAtRandom(Small):
    def forward(self, x: Tensor) -> Any:
        for _ in range(random.randrange(20)):
            x = x + 1
        return self.fc(x)


class Trained(Small):
    """Raises unless its weights are those of `TRAINED`, which a file brings."""

    def forward(self, x: Tensor) -> Any:
        if abs(float(self.fc.weight.detach().double().mean()) - TRAINED) > TRAINED / 10:
            raise RuntimeError("untrained")
        return self.fc(x)


TRAINED = 7.0  # of each weight


class UsesUpAnIterator(Small):
    """The first call does three layers' work, every other one none."""

    def __init__(self) -> None:
        super().__init__()
        self.steps = iter([1, 2, 3])

    def forward(self, x: Tensor) -> Any:
        for _ in self.steps:
            x = self.fc(x)
        return x


class UsesUpAGenerator(Small):
    """As many steps as there are calls before the samples end: it ends in the middle of them."""

    def __init__(self) -> None:
        super().__init__()
        self.held = {"steps": (one for one in range(9))}

    def forward(self, x: Tensor) -> Any:
        return self.fc(x) if next(self.held["steps"], None) is not None else x


class KeepsAnIterator(Small):
    """Holds one that no call reads, and makes another in each call."""

    def __init__(self) -> None:
        super().__init__()
        self.unread = iter([1])
        self.each = iter([1])

    def forward(self, x: Tensor) -> Any:
        self.each = iter([1, 2])
        for _ in self.each:
            x = self.fc(x)
        return x


def in_a_part() -> Any:
    return nn.Sequential(UsesUpAnIterator(), Small())


class FourImages(Small):
    """Gives inputs of four images for any batch size."""

    def example_inputs(self, batch: int = 1) -> Any:
        return torch.randn(4, 4)
