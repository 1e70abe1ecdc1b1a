"""Three small pieces of known work, sampled in turn with the case's samples (rule 33).

The machine's speed drifts, and most of the drift is common to all work.  The times of the controls
during a case say how fast the machine was then: bound by arithmetic (a matrix
product), by memory (a copy that no second-level cache holds), and by both (a convolution).
"""

from collections.abc import Callable

import torch
from torch import nn

from bench.worker.timing.stopwatch import TimedDevice, no_garbage_collection, wall_clock

MATRIX = 512  # 512 × 512 in float32: 1 MB, 0.27 GFLOP
COPIED = 2**21  # numbers: 8 MB read, 8 MB written
IMAGE = (1, 16, 56, 56)  # (N, C, H, W) of the convolution, to 32 channels by 3 × 3: 29 MFLOP
SEED = 0


class Controls:
    """Reference work between two blocks of samples; `times_s` has one time per control and call."""

    def __init__(
        self,
        device_name: str,
        device: TimedDevice,
        clock: Callable[[], float] = wall_clock,
        why_no_memory: Callable[[Exception], str | None] = lambda _: None,
    ) -> None:
        """Prepare the controls on `device_name`, where they allocate 20 MB.

        why_no_memory: why an exception means that memory ended; None: it means something else.
        Where it ended, the controls are given up, `left_out` says why, and nothing is raised: the
        case needs no controls to be timed.
        """
        self._works: dict[str, Callable[[], object]] = {}
        self._device = device
        self._clock = clock
        self._why_no_memory = why_no_memory
        self.times_s: dict[str, list[float]] = {}
        self.left_out: str | None = None
        self.spent_s = 0.0  # in all of them
        self._unless_full(lambda: self._begin(device_name))

    def __call__(self) -> None:
        """Time each control once, after an untimed call: the case has emptied its caches."""
        self._unless_full(self._sample_each)

    def _begin(self, device_name: str) -> None:
        self._works = _works(device_name)
        self.times_s = {name: [] for name in self._works}
        self._sample_each()  # first calls are no figures
        for times in self.times_s.values():
            times.clear()

    def give_way(self, why: str) -> bool:
        """Give their memory back to the case; whether there was any to give."""
        held = bool(self._works)
        if held:
            self.left_out = why
            self._works, self.times_s = {}, {}
        return held

    def _unless_full(self, act: Callable[[], None]) -> None:
        start_s = self._clock()
        try:
            act()
        except Exception as error:
            self.left_out = self._why_no_memory(error)
            if self.left_out is None:
                raise
            self._works, self.times_s = {}, {}
        finally:
            self.spent_s += self._clock() - start_s

    def _sample_each(self) -> None:
        with torch.inference_mode(), no_garbage_collection():
            for name, work in self._works.items():
                work()
                self._device.wait()
                start = self._clock()
                work()
                self._device.wait()
                self.times_s[name].append(self._clock() - start)


def _works(device_name: str) -> dict[str, Callable[[], object]]:
    numbers = torch.Generator().manual_seed(SEED)

    def draw(*shape: int) -> torch.Tensor:
        made = torch.randn(shape, generator=numbers, dtype=torch.float32, device="cpu")
        return made.to(device_name)

    one, other = draw(MATRIX, MATRIX), draw(MATRIX, MATRIX)
    product = torch.empty_like(one)
    # A copy takes as long whatever the numbers are, and drawing them would take longer.
    source = torch.ones(COPIED, device=device_name)
    target = torch.ones_like(source)
    image, kernel = draw(*IMAGE), draw(32, IMAGE[1], 3, 3)
    return {
        "matmul": lambda: torch.mm(one, other, out=product),
        "copy": lambda: target.copy_(source),
        "convolution": lambda: nn.functional.conv2d(image, kernel, padding=1),
    }
