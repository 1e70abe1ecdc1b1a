"""The simulation of searches draws what the sweeps had."""

import dataclasses
import math

import pytest

from bench.tune.space import Space
from experiments.tune_proof import Checked, Round
from experiments.tune_simulated import Sweep, simulated, sweep_of
from tests.support.cases import case

PLAIN = case(subject="net", batch=8)
LAST = dataclasses.replace(PLAIN, memory_format="channels_last")
EAGER = (PLAIN, LAST)
CASES = [*EAGER, *(dataclasses.replace(one, compile="default") for one in EAGER)]
TRUE_S = dict(zip((one.case_id for one in CASES), (0.010, 0.008, 0.009, 0.006), strict=True))


def rounds(scatter: float) -> list[Round]:
    """Three rounds; the second is slower as a whole, and the times scatter."""
    found = []
    for number, drift in enumerate((1.0, 1.2, 1.0)):
        signs = {key: 1 if (place + number) % 2 else -1 for place, key in enumerate(TRUE_S)}
        times_s = {
            key: time_s * drift * math.exp(scatter * signs[key]) for key, time_s in TRUE_S.items()
        }
        found.append(
            Round(
                network="net",
                begun=0.0,
                cold=number == 0,
                times_s=times_s,
                walls_s=dict.fromkeys(TRUE_S, 9.0 if number == 0 else 1.0),
                start_s=3.0,
            )
        )
    return found


def sweep(scatter: float = 0.005) -> Sweep:
    checks = [
        Checked(network="net", case=one.as_dict(), metrics={}, wrong=None, wall_s=0.5)
        for one in CASES
    ]
    return sweep_of(Space(PLAIN, EAGER, ("default",)), CASES, rounds(scatter), checks)


def test_the_time_of_a_sweep_is_that_of_five_rounds_with_the_checks() -> None:
    assert sweep().exhaustive_s == pytest.approx(5 * (3 + 4) + 4 * 8 + 4 * 0.5 + 3)


def test_the_best_setting_is_found_and_its_speedup_is_in_the_interval() -> None:
    found = [simulated(sweep(), seed) for seed in range(10)]
    assert all(one.worse == pytest.approx(0.0, abs=1e-9) for one in found)
    assert sum(one.holds is True for one in found) >= 8


def test_times_that_scatter_more_are_found_less_well() -> None:
    wild = [simulated(sweep(0.5), seed).worse for seed in range(20)]
    assert max(wild) > 0.1
