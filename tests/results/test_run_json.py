"""run.json: one typed record, or one line that says which key is wrong."""

import json
from typing import Any

import pytest

from bench.core.records import Row
from bench.results import plausibility
from bench.results.run_json import Description, DescriptionError, decode, of
from tests.support.paths import ROOT

RUNG = {"what": "copy", "amount": 8, "per_s": 1e9}
LADDER = {"threads": "auto", "arithmetic": {"float32": [RUNG]}, "traffic": [RUNG]}


@pytest.mark.parametrize("path", sorted((ROOT / "results").glob("**/run.json")))
def test_stored_runs_are_read_and_nothing_of_them_is_lost(path: Any) -> None:
    text = path.read_text(encoding="utf-8")
    assert json.loads(json.dumps(decode(text).written())) == json.loads(text)


def test_a_run_of_an_earlier_version_has_defaults_for_what_it_lacks() -> None:
    run = of({"run_id": "r", "machine": {"machine_id": "m"}})
    assert (run.config.replicates, run.config.max_replicates, run.config.precision) == (
        5,
        None,
        0.1,
    )
    assert (run.machine.peaks, run.environment.torch, run.devices) == ({}, None, {})
    assert run.machine.gpus == {}
    assert run.is_known
    assert not Description().is_known


@pytest.mark.parametrize(
    ("other", "is_same"),
    [
        ({}, True),
        ({"run_id": "other"}, False),
        ({"started": "2026-03-02T00:00:00+00:00"}, False),
        ({"machine": {"machine_id": "m2", "node": "n1"}}, False),
        ({"machine": {"machine_id": "m1", "node": "n2"}}, False),
        ({"environment": {"git_commit": "4567"}}, False),
        ({"started": None, "machine": {}}, True),  # an unknown detail tells nothing apart
    ],
)
def test_a_run_is_told_from_others_by_more_than_its_name(
    other: dict[str, Any], is_same: bool
) -> None:
    run = {
        "run_id": "now",
        "started": "2026-03-01T00:00:00+00:00",
        "machine": {"machine_id": "m1", "node": "n1"},
        "environment": {"git_commit": "0123"},
    }
    assert of(run).identity.is_same(of({**run, **other}).identity) is is_same


def test_the_sampling_of_a_run_that_lacks_later_keys_is_as_it_was_then() -> None:
    older = {"samples_s": 0.6, "warmup_s": 0.2, "min_samples": 5, "replicates": 5}
    now = {
        **older,
        "isolation": "process",
        "parallel_devices": False,
        "wait_policy": "default",
    }
    assert of({"config": older}).config.sampling == of({"config": now}).config.sampling
    for changed in (
        {"isolation": "session"},
        {"parallel_devices": True},
        {"wait_policy": "passive"},
    ):
        other = of({"config": {**now, **changed}})
        assert other.config.sampling != of({"config": now}).config.sampling


def test_keys_of_a_later_version_are_kept() -> None:
    run = of({"later": {"a": [1]}, "machine": {"cores": 2}})
    assert run.written() == {"machine": {"cores": 2}, "later": {"a": [1]}}


def test_a_gpu_is_read_as_the_run_found_it_and_what_it_did_not_find_is_unknown() -> None:
    run = of({"machine": {"gpus": {"cuda:0": {"driver": "580.159", "mig": False}}}})
    gpu = run.machine.gpus["cuda:0"]
    assert (gpu.driver, gpu.mig, gpu.memory_bytes) == ("580.159", False, None)


def test_an_argument_that_is_no_text_is_read_as_it_was_given() -> None:
    assert decode(json.dumps({"command": ["bench", "\udcff"]})).command == ("bench", "\udcff")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ([], "the whole document is []; expected an object"),
        ({"command": "bench run"}, "command is 'bench run'; expected a list"),
        ({"command": ["bench", 5]}, "command.1 is 5; expected a text"),
        ({"started": 2026}, "started is 2026; expected a text"),
        ({"config": []}, "config is []; expected an object"),
        ({"config": {"replicates": "5"}}, "config.replicates is '5'; expected a whole number"),
        ({"machine": None}, "machine is None; expected an object"),
        ({"environment": {"git_commit": 7}}, "environment.git_commit is 7; expected a text"),
        ({"devices": {"cuda:0": {}}}, "devices.cuda:0 is {}; expected a text"),
        (
            {"machine": {"gpus": {"cuda:0": {"driver": 580}}}},
            "machine.gpus.cuda:0.driver is 580; expected a text",
        ),
        ({"machine": {"peaks": {"cpu": 5}}}, "machine.peaks.cpu is 5; expected a list"),
        ({"layers": {"a": [{"alias": "b"}]}}, "layers.a.0.name is missing"),
        (
            {"layers": {"a": [{"name": "b", "calls": "two"}]}},
            "layers.a.0.calls is 'two'; expected a whole number",
        ),
        ({"devices": {"\n": 5}}, "devices.? is 5; expected a text"),
    ],
)
def test_a_wrong_part_is_named_with_its_key_and_what_was_expected(given: Any, says: str) -> None:
    with pytest.raises(DescriptionError) as caught:
        of(given)
    assert str(caught.value) == says


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        ({**LADDER, "threads": 2}, "threads is 2; expected a text"),
        ({key: LADDER[key] for key in ("arithmetic", "traffic")}, "threads is missing"),
        ({**LADDER, "arithmetic": []}, "arithmetic is []; expected an object"),
        ({**LADDER, "traffic": [{**RUNG, "per_s": 0}]}, "per_s is 0; expected a number above 0"),
        ({**LADDER, "traffic": [{**RUNG, "per_s": True}]}, "per_s is True; expected a number"),
        (
            {**LADDER, "traffic": [{**RUNG, "amount": float("nan")}]},
            "amount is nan; expected a finite number",
        ),
        ({**LADDER, "traffic": [{"amount": 8, "per_s": 1.0}]}, "traffic.0.what is missing"),
    ],
)
def test_a_broken_ladder_is_refused(broken: dict[str, Any], says: str) -> None:
    with pytest.raises(DescriptionError) as caught:
        of({"machine": {"peaks": {"cpu": [broken, LADDER]}}})
    assert str(caught.value).startswith("machine.peaks.cpu.0.")
    assert str(caught.value).endswith(says)


def test_a_ladder_bounds_the_rows_of_its_device_and_threads() -> None:
    machine = of({"machine": {"peaks": {"cpu": [LADDER]}}}).machine
    found = plausibility.of_row(Row(device="cpu", threads="auto"), machine)
    assert found is not None
    assert found.flop_per_s == {"float32": 1e9}


def test_a_layer_counts_those_equal_to_it() -> None:
    run = of(
        {
            "layers": {
                "net": [
                    {"name": "a", "calls": 2},
                    {"name": "b", "alias": "b1", "same_as": ["c", "d"]},
                    {"name": "e"},
                ]
            }
        }
    )
    calls = {name: layer.all_calls for name, layer in run.layers_by_name["net"].items()}
    assert calls == {"a": 2, "b1": 3, "e": 1}


@pytest.mark.parametrize("key", ["later", "config"])
def test_what_is_nested_without_end_is_refused(key: str) -> None:
    nested: Any = 0
    for _ in range(300):
        nested = {"a": [0, nested]}
    with pytest.raises(DescriptionError, match=f"{key}.* is nested too deep") as caught:
        of({key: nested})
    assert len(str(caught.value)) < 150
