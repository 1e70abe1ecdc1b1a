"""What is broken in run.json is unknown; what is whole stays as it is."""

import json
from pathlib import Path
from typing import Any

import pytest

from bench.core.records import Row
from bench.results import plausibility
from bench.results.run_json import deep, sound

RUNG = {"what": "copy", "amount": 8, "per_s": 1e9}
LADDER = {"threads": "auto", "arithmetic": {"float32": [RUNG]}, "traffic": [RUNG]}


def test_what_this_suite_writes_stays_as_it_is() -> None:
    text = (Path(__file__).parent.parent / "results/example/run.json").read_text(encoding="utf-8")
    assert sound(json.loads(text)) == json.loads(text)


@pytest.mark.parametrize(
    ("given", "left"),
    [
        ({"command": "bench run"}, {}),
        ({"command": ["bench", 5]}, {}),
        ({"started": 2026}, {}),
        ({"config": []}, {}),
        ({"machine": None, "later": {}}, {"machine": None, "later": {}}),
        ({"environment": {"git_commit": 7, "cuda": 13}}, {"environment": {"cuda": 13}}),
        ({"devices": {"cpu": "EPYC", "cuda:0": {}}}, {"devices": {"cpu": "EPYC"}}),
        ({"machine": {"peaks": {"cpu": 5}, "cores": 2}}, {"machine": {"peaks": {}, "cores": 2}}),
        ({"layers": {"a": [{"alias": "b"}], "c": []}}, {"layers": {"c": []}}),
        ({"layers": {"a": [{"name": "b", "calls": "two"}]}}, {"layers": {}}),
        ({"layers": {"a": [{"name": "b", "same_as": [5]}]}}, {"layers": {}}),
    ],
)
def test_a_part_of_another_shape_is_left_out(given: dict[str, Any], left: dict[str, Any]) -> None:
    assert sound(given) == left


@pytest.mark.parametrize(
    "broken",
    [
        5,
        {**LADDER, "threads": 2},
        {name: part for name, part in LADDER.items() if name != "threads"},
        {**LADDER, "arithmetic": []},
        {**LADDER, "traffic": None},
        {**LADDER, "traffic": [{"amount": 8}]},
        {**LADDER, "traffic": [{**RUNG, "per_s": 0}]},
        {**LADDER, "traffic": [{**RUNG, "per_s": True}]},
        {**LADDER, "traffic": [{**RUNG, "amount": float("nan")}]},
    ],
)
def test_a_broken_ladder_bounds_nothing_and_its_neighbours_stay(broken: object) -> None:
    machine = sound({"machine": {"peaks": {"cpu": [broken, LADDER]}}})["machine"]
    assert machine == {"peaks": {"cpu": [LADDER]}}
    found = plausibility.of_row(Row(device="cpu", threads="auto"), machine)
    assert found is not None
    assert found.flop_per_s == {"float32": 1e9}


def test_what_is_nested_without_end_is_deep() -> None:
    assert not deep({"a": [{"b": 1}]})
    nested: Any = 0
    for _ in range(41):
        nested = {"a": [0, nested]}
    assert deep(nested)
