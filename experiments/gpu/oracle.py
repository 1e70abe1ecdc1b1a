"""Measure an accelerator by plain torch in a process of its own, without the suite.

`python -m experiments.gpu.oracle start|rates DEVICE` prints one JSON object.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

SIZE = 8192  # of a square matrix product: 1.1 TFLOP
COPY_BYTES = 2**31
SPAN_S = 0.5  # the shortest time that is believed
POWER_S = 3.0
BETWEEN_WAITS = 50


def start(device: str) -> dict[str, float]:
    """Seconds of a process' first import, allocation, convolution and matrix product."""
    begin = time.perf_counter()
    import torch

    marks = [time.perf_counter()]
    index = torch.device(device).index or 0

    def mark() -> None:
        torch.accelerator.synchronize(index)
        marks.append(time.perf_counter())

    torch.zeros(1, device=device)
    mark()
    image, kernel = torch.zeros(1, 8, 9, 9, device=device), torch.zeros(8, 8, 3, 3, device=device)
    torch.nn.functional.conv2d(image, kernel)
    mark()
    torch.mm(torch.zeros(8, 8, device=device), torch.zeros(8, 8, device=device))
    mark()
    names = ("import_s", "context_s", "convolution_s", "product_s")
    spans = (after - before for before, after in zip([begin, *marks], marks, strict=False))
    return dict(zip(names, spans, strict=True))


def rates(device: str) -> dict[str, Any]:
    """The rates of a bfloat16 product and of a copy, and power as the driver's counters have it."""
    import torch

    index = torch.device(device).index or 0

    def wait() -> None:
        torch.accelerator.synchronize(index)

    one = torch.randn(SIZE, SIZE, device=device, dtype=torch.bfloat16)
    other, product = torch.randn_like(one), torch.empty_like(one)

    def multiply() -> None:
        torch.mm(one, other, out=product)

    product_s = _seconds_per_call(multiply, wait)
    source = torch.ones(COPY_BYTES // 4, device=device)
    target = torch.empty_like(source)
    copy_s = _seconds_per_call(lambda: target.copy_(source), wait)
    return {
        "product_flop_per_s": 2.0 * SIZE**3 / product_s,
        "copy_bytes_per_s": 2.0 * COPY_BYTES / copy_s,
        "torch": torch.__version__,
        **(_driver(device, multiply, wait) if device.startswith("cuda") else {}),
    }


def _seconds_per_call(call: Callable[[], object], wait: Callable[[], None]) -> float:
    call()
    wait()
    calls = 1
    while True:
        begin = time.perf_counter()
        for _ in range(calls):
            call()
        wait()
        took_s = time.perf_counter() - begin
        if took_s > SPAN_S:
            return took_s / calls
        calls = max(calls + 1, int(calls * min(10.0, 1.3 * SPAN_S / max(took_s, 1e-6))))


def _driver(device: str, call: Callable[[], None], wait: Callable[[], None]) -> Mapping[str, Any]:
    """Return NVML's figures of the card; none without NVML (AMD) or without such a counter."""
    import pynvml
    import torch

    try:
        pynvml.nvmlInit()
        uuid = torch.cuda.get_device_properties(device).uuid
        handle = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}")
        energy = pynvml.nvmlDeviceGetTotalEnergyConsumption
        before_mj, begin = energy(handle), time.perf_counter()
        while time.perf_counter() - begin < POWER_S:
            for _ in range(BETWEEN_WAITS):
                call()
            wait()
        power_w = (energy(handle) - before_mj) / 1e3 / (time.perf_counter() - begin)
        clocks = [pynvml.nvmlDeviceGetClockInfo(handle, pynvml.NVML_CLOCK_SM) for _ in range(3)]
        return {
            "power_w": power_w,
            "limit_w": pynvml.nvmlDeviceGetEnforcedPowerLimit(handle) / 1e3,
            "sm_clock_hz": statistics.median(clocks) * 1e6,
            "most_sm_clock_hz": pynvml.nvmlDeviceGetMaxClockInfo(handle, pynvml.NVML_CLOCK_SM)
            * 1e6,
            "persistence_mode": bool(pynvml.nvmlDeviceGetPersistenceMode(handle)),
            "driver": str(pynvml.nvmlSystemGetDriverVersion()),
            "memory_bytes": int(pynvml.nvmlDeviceGetMemoryInfo(handle).total),
        }
    except pynvml.NVMLError as error:
        return {"driver_error": str(error)}


QUESTIONS: Mapping[str, Callable[[str], Mapping[str, Any]]] = {
    "start": start,
    "rates": rates,
}


def main() -> None:
    sys.stdout.write(json.dumps(QUESTIONS[sys.argv[1]](sys.argv[2])) + "\n")


if __name__ == "__main__":
    main()
