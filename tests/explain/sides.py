"""Profiles of made-up steps, of which the difference is known."""

from collections.abc import Mapping, Sequence
from typing import Any

from bench.results.profile_parts import ModuleCall, PartTime, Round, StepParts
from tests.support.cases import case

# layer, phase, operator → calls, seconds
Parts = Mapping[tuple[str, str, str], tuple[int, float]]


def part(key: tuple[str, str, str], calls: int, host_s: float, **more: Any) -> PartTime:
    layer, phase, operator = key
    own = {"calls": calls, "host_s": host_s, "least_s": host_s, **more}
    return PartTime(layer=layer, phase=phase, operator=operator, **own)


def side(
    parts: Parts,
    *,
    noise: Sequence[float] = (1.0, 1.01, 0.99, 1.005, 0.995),
    modules: Sequence[ModuleCall] = (),
    **more: Any,
) -> StepParts:
    """Return a profile with a round for each factor of `noise`, by which all times are longer."""
    rounds = []
    for factor in noise:
        own = tuple(part(key, calls, time_s * factor) for key, (calls, time_s) in parts.items())
        total_s = sum(one.host_s for one in own)
        rounds.append(Round(unprofiled_s=total_s, profiled_s=total_s, parts=own))
    return StepParts(case=case(), rounds=tuple(rounds), modules=tuple(modules), **more)


CONV = ("layer1.conv", "forward", "aten::mkldnn_convolution")
BACK = ("layer1.conv", "backward", "aten::convolution_backward")
NORM = ("layer1.norm", "forward", "aten::native_batch_norm")
FC = ("fc", "forward", "aten::addmm")
PLAIN: Parts = {CONV: (1, 10e-3), BACK: (1, 20e-3), NORM: (1, 2e-3), FC: (1, 4e-3)}


def called(row: str, type_: str, **more: Any) -> ModuleCall:
    return ModuleCall(row=row, module=row.partition("#")[0], type=type_, **more)


MODULES = (
    called("(network)", "Net"),
    called("layer1", "Block"),
    called("layer1.conv", "Conv2d"),
    called("layer1.norm", "BatchNorm2d"),
    called("fc", "Linear"),
)
