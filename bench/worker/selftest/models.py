"""Subjects of known work and of known faults, for `bench selftest`.

The figures of the first kind are known beforehand; the second kind has to be refused.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bench.worker.timing.stopwatch import wall_clock


class Spin(nn.Module):
    """Any tensor → itself, after `duration_s` of the clock: a call that takes that long."""

    def __init__(self, duration_s: float) -> None:
        super().__init__()
        self.duration_s = duration_s

    def forward(self, x: Tensor) -> Tensor:
        end_s = wall_clock() + self.duration_s
        while wall_clock() < end_s:
            pass
        return x


class Temporary(nn.Module):
    """(N, 1024) → (N, 1024), with `size_bytes` more alive when the output is made."""

    def __init__(self, size_bytes: int) -> None:
        super().__init__()
        self.size_bytes = size_bytes
        self.weight = nn.Parameter(torch.ones(1024))

    def forward(self, x: Tensor) -> Tensor:
        temporary = torch.empty(self.size_bytes, dtype=torch.uint8, device=x.device)
        output = x * self.weight
        del temporary
        return output


class WellBehaved(nn.Module):
    """(N, 4) → (N, 4); well-behaved, for those below to build on."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Any:
        return self.fc(x)


class Crashes(WellBehaved):
    """Ends its process as a fault in a kernel does."""

    def forward(self, x: Tensor) -> Any:
        os.kill(os.getpid(), signal.SIGSEGV)
        return self.fc(x)


class Loops(WellBehaved):
    """Never returns."""

    def forward(self, x: Tensor) -> Any:  # noqa: ARG002
        while True:
            pass


class OtherInChannelsLast(nn.Module):
    """(N, 3, H, W): a convolution of something else where its input is channels_last."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x: Tensor) -> Any:
        if x.is_contiguous(memory_format=torch.channels_last):
            x = x * 1.01
        return self.conv(x)


def plain_loop_s(rows: int, size: int) -> float:
    """Return the seconds of one product of (rows, size) and (size, size), the best of 30 calls.

    It uses nothing of this suite, so that the suite can be compared with it.
    """
    x, weight = torch.randn(rows, size), torch.randn(size, size)
    best_s = float("inf")
    with torch.inference_mode():
        for _ in range(30):
            start_s = time.monotonic()
            torch.nn.functional.linear(x, weight)
            best_s = min(best_s, time.monotonic() - start_s)
    return best_s


def main() -> None:
    """Answer with the time of the plain loop (`bench.host.helper`)."""
    asked = json.loads(sys.stdin.read())
    found = plain_loop_s(asked["rows"], asked["size"])
    Path(asked["out"]).write_text(json.dumps(found), encoding="utf-8")
