"""The expected duration of a run, on a CPU and on accelerators."""

from dataclasses import replace
from typing import Any

import pytest

from bench.core.records import Case
from bench.engine.run_estimate import estimate
from bench.host.probed import Device, Layer, Probe, SubjectFound
from bench.plan.case_costs import Estimate, with_budget
from bench.plan.config import Config, load
from bench.plan.expand import Plan, make
from tests.support.cases import PLAIN

LAYERS = tuple(Layer(name=f"layer{index}", alias=None, type="ReLU") for index in range(10))
CPU = Device(name="cpu", shown="a CPU")
GPUS = tuple(
    Device(name=f"cuda:{index}", shown="NVIDIA H100 80GB HBM3", has_cudnn=True, has_tf32=True)
    for index in range(8)
)


def planned(*devices: Device, **options: Any) -> tuple[Plan, Config]:
    """The default sweep on a machine with these devices, with its budget."""
    found = Probe(
        torch="2.13.0",
        torch_details={},
        devices={one.name: one for one in (CPU, *devices)},
        subjects={"convnet": SubjectFound(has_inputs=True, layers=LAYERS)},
    )
    config = load(**options)
    plan = make(config, found)
    return plan, with_budget(config, plan)


def of(*cases: Case, **options: Any) -> Estimate:
    config = load(**{"replicates": 1, "samples_s": 0.35, "warmup_s": 0.2, **options})
    config = replace(config, run=config.run.model_copy(update={"budget_s": None}))
    return estimate(Plan(cases, ()), config.run)


def on_gpu(**values: object) -> Case:
    gpu = {"device": "cuda:0", "threads": None, "allocator": None}
    return replace(PLAIN, **{**gpu, "input": "3,224,224", **values})  # type: ignore[arg-type]


def test_the_default_sweep_fits_a_machine_with_one_gpu_into_its_budget() -> None:
    plan, config = planned(GPUS[0])
    found = estimate(plan, config.run)
    assert config.run.budget_s == 820
    assert sum(found.by_device_s.values()) + 5 * 4.0 < 820  # nothing is cut: five replicates
    assert found.by_device_s["cuda:0"] < 600


def test_a_machine_with_eight_equal_gpus_takes_as_long_as_one_with_one() -> None:
    (one, with_one), (eight, with_eight) = planned(GPUS[0]), planned(*GPUS)
    assert estimate(eight, with_eight.run) == estimate(one, with_one.run)
    assert with_eight.run.budget_s == with_one.run.budget_s


def test_each_accelerator_that_is_measured_adds_to_the_budget() -> None:
    other = replace(GPUS[1], shown="another GPU")
    assert planned()[1].run.budget_s == 320
    assert planned(GPUS[0], other)[1].run.budget_s == 320 + 2 * 500


def test_a_budget_that_is_given_is_the_whole_budget() -> None:
    assert planned(GPUS[0], budget_s=60)[1].run.budget_s == 60


def test_a_budget_bounds_the_estimate() -> None:
    plan, config = planned(budget_s=10)
    assert estimate(plan, config.run).total_s == pytest.approx(11.5)


# Seconds that an H100 took for a case and its static metrics, one replicate each.
@pytest.mark.parametrize(
    ("values", "took_s"),
    [
        ({"batch": 1, "mode": "training"}, 1.67 + 2.78),
        ({"batch": 256, "mode": "training"}, 2.38 + 2.99),
        ({"batch": 1024, "mode": "training"}, 4.88 + 3.79),
        ({"batch": 1024}, 4.91 + 3.61),
        ({"batch": 1, "mode": "training", "compile": "reduce-overhead"}, 12.18 + 3.99),
    ],
)
def test_cases_that_a_gpu_has_measured_take_about_as_long_as_estimated(
    values: dict[str, object], took_s: float
) -> None:
    assert of(on_gpu(**values)).by_device_s["cuda:0"] == pytest.approx(took_s, rel=0.15)


def test_a_layer_copies_nothing_to_its_device() -> None:
    few, many = of(on_gpu(subject="convnet/bn1")), of(on_gpu(subject="convnet/bn1", batch=1024))
    assert few == many


def test_an_import_is_paid_for_each_replicate_and_by_no_device() -> None:
    found = of(on_gpu(), PLAIN, replicates=3)
    assert found.total_s == pytest.approx(3 * 4.0 + sum(found.by_device_s.values()))
