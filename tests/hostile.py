"""Subjects that misbehave, each in its own way."""

import os
import signal
import subprocess
import sys
import threading
import time
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


class Segfaults(Small):
    def forward(self, x: Tensor) -> Any:
        os.kill(os.getpid(), signal.SIGSEGV)


class ExitsHard(Small):
    def forward(self, x: Tensor) -> Any:
        os._exit(3)


class ExitsSoftly(Small):
    def forward(self, x: Tensor) -> Any:
        sys.exit("enough")


class Hangs(Small):
    def forward(self, x: Tensor) -> Any:
        time.sleep(3600)


class Floods(Small):
    def forward(self, x: Tensor) -> Any:
        print("flood " * 1000)
        return self.fc(x)


class ClosesStreams(Small):
    def forward(self, x: Tensor) -> Any:
        os.closerange(1, 3)
        raise RuntimeError("in silence")


class LeavesAThread(Small):
    def forward(self, x: Tensor) -> Any:
        threading.Thread(target=time.sleep, args=(3600,)).start()
        return self.fc(x)


class LeavesAProcess(Small):
    started = False

    def forward(self, x: Tensor) -> Any:
        if not self.started:
            subprocess.Popen(["sleep", "3601"], start_new_session=True)
            self.started = True
        return self.fc(x)


class Hungry(Small):
    def forward(self, x: Tensor) -> Any:
        return torch.ones(2**46)


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
    """As position tables and masks are: compiled code settles in the second call."""

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
