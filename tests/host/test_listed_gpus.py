"""The GPUs that the driver's tool lists, and those that a process may use."""

import dataclasses
from types import SimpleNamespace

import pytest

from bench.host import listed_gpus
from bench.host.listed_gpus import Gpu

THREE = [Gpu(str(index), "a card", "580.1", 1.0, 1.0, uuid=f"GPU-{index}a") for index in range(3)]


@pytest.mark.parametrize(
    ("variables", "indices"),
    [
        ({}, "012"),
        ({"CUDA_VISIBLE_DEVICES": "1"}, "1"),
        ({"CUDA_VISIBLE_DEVICES": " 2, 0"}, "20"),
        ({"CUDA_VISIBLE_DEVICES": "0,-1,1"}, "0"),
        ({"CUDA_VISIBLE_DEVICES": "GPU-2"}, "2"),
        ({"CUDA_VISIBLE_DEVICES": "GPU-"}, ""),
        ({"CUDA_VISIBLE_DEVICES": ""}, ""),
        ({"CUDA_VISIBLE_DEVICES": "MIG-1234"}, "012"),
    ],
)
def test_only_gpus_that_a_process_may_use_are_looked_at(
    variables: dict[str, str], indices: str
) -> None:
    assert "".join(one.index for one in listed_gpus.visible(THREE, variables)) == indices


def test_the_numbers_of_unlike_gpus_mean_what_their_order_says() -> None:
    unlike = [THREE[0], dataclasses.replace(THREE[1], name="another")]
    assert listed_gpus.visible(unlike, {"CUDA_VISIBLE_DEVICES": "1"}) == unlike
    by_uuid = {"CUDA_VISIBLE_DEVICES": "GPU-1"}
    assert listed_gpus.visible(unlike, by_uuid) == unlike[1:]
    by_bus = {"CUDA_VISIBLE_DEVICES": "1", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    assert listed_gpus.visible(unlike, by_bus) == unlike[1:]


def test_what_nvidia_smi_prints_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    printed = (
        "0, NVIDIA H100 80GB HBM3, 550.54, "
        "350.00, 700.00, Enabled, Default, Enabled, Disabled, 2, GPU-1a\n"
        "1, Tesla T4, 550.54, [N/A], ERR!, Disabled, Exclusive_Process, "
        "[N/A], [N/A], [N/A], [N/A]\n"
    )

    def run(command: list[str], **_: object) -> SimpleNamespace:
        assert command[0] == "nvidia-smi"
        return SimpleNamespace(returncode=0, stdout=printed)

    monkeypatch.setattr("subprocess.run", run)
    assert listed_gpus.nvidia_smi() == [
        Gpu(
            "0",
            "NVIDIA H100 80GB HBM3",
            "550.54",
            350.0,
            700.0,
            persistence=True,
            compute_mode="Default",
            ecc="Enabled",
            ecc_pending="Disabled",
            ecc_errors=2,
            uuid="GPU-1a",
        ),
        Gpu(
            "1",
            "Tesla T4",
            "550.54",
            None,
            None,
            persistence=False,
            compute_mode="Exclusive_Process",
        ),
    ]


def test_without_nvidia_smi_no_gpu_is_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*_: object, **__: object) -> None:
        raise FileNotFoundError

    monkeypatch.setattr("subprocess.run", run)
    assert listed_gpus.nvidia_smi() == []
