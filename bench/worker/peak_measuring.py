"""Measures how fast this machine is at most: arithmetic by dtype, and bytes/s by size.

It runs in a process of its own (`python -m bench.worker.peak_measuring`, a line of JSON on
standard input, the answer in a file), so that a row can be compared with what is possible here.

The sizes are in cache and beyond the last one, and the best of several samples counts.  A large
matrix product is not the fastest work: convolutions may be faster (Winograd, FFT), and small layers
run from caches at several times the rate of a large copy.
"""

import json
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from bench.core.records import BEYOND_CACHE
from bench.host import environment
from bench.worker.device import cuda
from bench.worker.device.device import Device, open_device
from bench.worker.process import limits
from bench.worker.timing import contention
from bench.worker.timing.stopwatch import TimedDevice, no_garbage_collection, wall_clock

SAMPLE_S = 0.005
SAMPLES = 5
MOST_CALLS = 2**20
MATRICES = (64, 128, 256, 512, 1024, 2048, 4096, 8192)  # the large ones only where they fit in time
# (N, C, H, W), output channels: 3 × 3 with a padding of 1, as in most networks
CONVOLUTIONS = (((8, 64, 28, 28), 64), ((4, 128, 28, 28), 128), ((32, 128, 28, 28), 128))
TOUCHED_BYTES = tuple(2**power for power in range(15, 31))  # 32 KiB to 1 GiB
DTYPE_S, BYTES_S = 0.8, 0.8  # what is not reached by then is left out
BEYOND_S = 1.5  # for the one point beyond the last cache that the size sweep itself did not come to
FREE_SHARE = 0.25  # of the free memory, that such a point may take
DTYPES = {
    "float32": torch.float32,
    "tf32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
}


@dataclass(frozen=True, slots=True)
class Work:
    """A call with a known amount of work."""

    what: str
    amount: float  # floating-point operations, or bytes
    call: Callable[[], object]


def main() -> None:
    """Answer one request: device, arithmetics, thread counts, file."""
    asked = json.loads(sys.stdin.read())
    device = open_device(asked["device"])
    found: list[dict[str, Any]] = []
    auto = torch.get_num_threads()
    for threads in asked["threads"]:
        torch.set_num_threads(auto if threads in (None, "auto") else int(threads))
        others = contention.Meter()
        others.start()
        with torch.inference_mode():
            found.append(
                {
                    "threads": threads,
                    "arithmetic": {name: arithmetic(device, name) for name in asked["arithmetics"]},
                    "traffic": byte_rates(device),
                    "cache_bytes": last_cache_bytes(device),
                }
            )
        others.stop()
        found[-1]["disturbed"] = others.contended
    Path(asked["out"]).write_text(json.dumps(found), encoding="utf-8")


def arithmetic(device: Device, name: str) -> list[dict[str, Any]]:
    """Return rates of matrix products and convolutions; none where unsupported."""
    if name == "tf32" or device.type == "cuda":
        cuda.set_tf32("on" if name == "tf32" else "off")
    return size_sweep(device, _products(device.name, DTYPES[name]), DTYPE_S) + size_sweep(
        device, _convolutions(device.name, DTYPES[name]), DTYPE_S
    )


def byte_rates(device: Device) -> list[dict[str, Any]]:
    """Return rates of a copy and of a sum by bytes touched, with a size beyond the cache."""
    cache_bytes, most = last_cache_bytes(device), largest_size_bytes(device)
    found = []
    for works in (_copies, _sums):
        fit = [touched for touched in TOUCHED_BYTES if most is None or touched <= most]
        rates = size_sweep(device, works(device.name, fit), BYTES_S)
        missing = size_beyond_cache(cache_bytes, [rate["amount"] for rate in rates], most)
        found += rates + size_sweep(device, works(device.name, missing), BEYOND_S)
    return found


def size_beyond_cache(
    cache_bytes: int | None, touched: Sequence[int], most: int | None
) -> list[int]:
    """Return the size to measure beyond the cache; none if `touched` has one or it fits nowhere.

    cache_bytes: of the last cache.
    most:        bytes that one size may touch.  None = unknown.
    """
    if cache_bytes is None or max(touched, default=0) >= BEYOND_CACHE * cache_bytes:
        return []
    wanted = 2 ** math.ceil(math.log2(BEYOND_CACHE * cache_bytes))
    return [] if most is not None and wanted > most else [wanted]


def last_cache_bytes(device: Device) -> int | None:
    """Return the size of the cache next to the device's memory; None if unknown."""
    if device.type != "cpu":
        return cuda.l2_bytes(device.name)
    return environment.last_cache_bytes()


def largest_size_bytes(device: Device) -> int | None:
    """Return the bytes that one size may touch; an accelerator refuses by itself."""
    return int(FREE_SHARE * limits.free_bytes()) if device.type == "cpu" else None


def size_sweep(
    device: TimedDevice,
    works: Iterator[Work],
    most_s: float,
    clock: Callable[[], float] = wall_clock,
) -> list[dict[str, Any]]:
    """Measure larger and larger sizes until time or memory ends, or the device refuses."""
    found: list[dict[str, Any]] = []
    try:
        first = next(works, None)
        if first is None:
            return found
        # An accelerator's libraries load in it, for longer than the size sweep may take: a size
        # sweep that ended there would end far below the peak.
        first.call()
        device.wait()
        begin = clock()
        for work in chain((first,), works):
            seconds = best_s(work.call, device, begin + most_s, clock)
            if seconds is None:
                break
            rate = work.amount / seconds
            found.append({"what": work.what, "amount": work.amount, "per_s": rate})
    except (RuntimeError, MemoryError, NotImplementedError):
        return found
    return found


def best_s(
    call: Callable[[], object],
    device: TimedDevice,
    end_s: float,
    clock: Callable[[], float] = wall_clock,
) -> float | None:
    """Return the seconds of the fastest call, back to back; None if the time ended before one."""
    call()
    device.wait()
    if clock() > end_s:
        return None
    calls, best, taken = 1, None, 0
    while taken < SAMPLES and (best is None or clock() <= end_s):
        with no_garbage_collection():
            start = clock()
            for _ in range(calls):
                call()
            device.wait()
            took_s = clock() - start
        if took_s < SAMPLE_S and calls < MOST_CALLS:
            calls *= 2
            continue
        best = took_s / calls if best is None else min(best, took_s / calls)
        taken += 1
    return best


def _drawn(*shape: int, device: str, dtype: torch.dtype) -> torch.Tensor:
    """Draw on the device, because a CPU needs as long for a large matrix as a whole size sweep."""
    return torch.randn(shape, device=device).to(dtype)


def _products(device: str, dtype: torch.dtype) -> Iterator[Work]:
    for size in MATRICES:
        one = _drawn(size, size, device=device, dtype=dtype)
        call = partial(torch.mm, one, one, out=torch.empty_like(one))
        yield Work(f"matrix product {size}", 2.0 * size**3, call)


def _convolutions(device: str, dtype: torch.dtype) -> Iterator[Work]:
    for shape, channels in CONVOLUTIONS:
        for layout in (torch.contiguous_format, torch.channels_last):
            image = _drawn(*shape, device=device, dtype=dtype).contiguous(memory_format=layout)
            kernel = _drawn(channels, shape[1], 3, 3, device=device, dtype=dtype)
            kernel = kernel.contiguous(memory_format=layout)
            flops = 2.0 * shape[0] * channels * shape[2] * shape[3] * shape[1] * 9
            call = partial(functional.conv2d, image, kernel, padding=1)
            yield Work(f"convolution {shape} {layout}".replace("torch.", ""), flops, call)


def _copies(device: str, sizes: Iterable[int]) -> Iterator[Work]:
    """Yield copies: half of the bytes are read, half are written."""
    for touched in sizes:
        source = torch.ones(touched // 8, device=device)
        yield Work("copy", touched, partial(torch.empty_like(source).copy_, source))


def _sums(device: str, sizes: Iterable[int]) -> Iterator[Work]:
    """Yield sums: all bytes are read."""
    for touched in sizes:
        source = torch.ones(touched // 4, device=device)
        yield Work("sum", touched, partial(torch.sum, source))
