"""Nodes that are not like the others of their kind."""

import math

from bench.fleet import controls
from tests.support.cases import case
from tests.support.results import measurement


def levels(*times: float) -> dict[str, list[float]]:
    return {f"n{number}": [math.log(one)] for number, one in enumerate(times)}


def test_a_node_outside_of_the_others_prediction_interval_is_odd() -> None:
    found = controls.odd(levels(1.0, 1.01, 0.99, 1.3))
    assert list(found) == ["n3"]
    assert "30 % slower than those of the other 3 machines" in found["n3"]
    assert "faster" in controls.odd(levels(1.0, 1.01, 0.99, 0.7))["n3"]


def test_of_two_nodes_nobody_can_say_which_is_odd() -> None:
    assert controls.odd(levels(1.0, 2.0)) == {}


def test_nodes_that_scatter_or_differ_by_little_are_not_odd() -> None:
    assert controls.odd(levels(1.0, 1.2, 0.85, 1.3)) == {}
    assert controls.odd(levels(1.0, 1.0, 1.0, 1.04)) == {}


def test_only_the_worst_is_named_since_others_may_look_odd_because_of_it() -> None:
    assert list(controls.odd(levels(1.0, 1.0, 1.0, 1.1, 3.0))) == ["n4"]


def test_the_level_is_that_of_the_steady_controls() -> None:
    one = measurement(
        case(), 0, 1.0, controls={"matmul": (1.0, 4.0, 9.0), "conv": (1.0,), "copy": (100.0,)}
    )
    assert controls.level([one]) == math.log(4.0) / 2
    assert controls.level([measurement(case(), 0, 1.0)]) is None
