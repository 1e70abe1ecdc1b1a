"""Weights from a file get into a subject whole, or the message names what does not fit."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from bench.core.subject import parse
from bench.worker.model import weights
from bench.worker.model.build import SubjectError, build
from bench.worker.model.weights import WeightsError, load


def saved(folder: Path, what: Any) -> Path:
    torch.save(what, folder / "w.pt")
    return folder / "w.pt"


def ones() -> dict[str, torch.Tensor]:
    return {"weight": torch.ones(2, 3), "bias": torch.ones(2)}


@pytest.mark.parametrize(
    "held",
    [
        ones(),
        {"state_dict": ones(), "epoch": 3},
        {"model": ones(), "loss": torch.tensor(0.5)},
        {f"module.{name}": one for name, one in ones().items()},
        {f"_orig_mod.{name}": one for name, one in ones().items()},
    ],
)
def test_a_state_dict_is_found_alone_in_a_checkpoint_and_under_wrappers(
    tmp_path: Path, held: Any
) -> None:
    module = nn.Linear(3, 2)
    load(module, saved(tmp_path, held))
    assert module.weight.tolist() == [[1.0, 1.0, 1.0], [1.0, 1.0, 1.0]]
    assert module.bias.tolist() == [1.0, 1.0]


@pytest.mark.parametrize("prefix", ["", "module.", "module._orig_mod."])
def test_a_network_with_a_part_called_module_gets_its_weights_with_and_without_wrappers(
    tmp_path: Path, prefix: str
) -> None:
    wrapping, inner = nn.Module(), nn.Linear(3, 2)
    wrapping.module = inner
    held = {f"{prefix}module.{name}": one for name, one in ones().items()}
    load(wrapping, saved(tmp_path, held))
    assert inner.bias.tolist() == [1.0, 1.0]


class Harmful:
    def __reduce__(self) -> Any:
        return (sys.exit, (7,))


@pytest.mark.parametrize(
    ("held", "says"),
    [
        ({"weight": torch.ones(2, 3)}, "w.pt does not fit: it lacks bias"),
        ({**ones(), "x": torch.ones(1)}, "w.pt does not fit: it has unexpected x"),
        ({**ones(), "bias": torch.ones(9)}, "size mismatch for bias"),
        ({"epoch": 3}, "w.pt has no state dict, neither by itself nor under state_dict"),
        (3, "w.pt has no state dict"),
        ({0: torch.ones(2, 3)}, "w.pt has no state dict"),
        (Harmful(), "holds more than tensors and plain values"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, held: Any, says: str) -> None:
    with pytest.raises(WeightsError, match=says):
        load(nn.Linear(3, 2), saved(tmp_path, held))


class Tied(nn.Module):
    """A network whose last layer has the weights of the first."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False)
        self.last.weight = self.first.weight


@pytest.mark.parametrize("name", ["first.weight", "last.weight"])
def test_a_tensor_of_two_names_may_be_stored_by_one_of_them(tmp_path: Path, name: str) -> None:
    module = Tied()
    load(module, saved(tmp_path, {name: torch.full((3, 3), 7.0)}))
    assert module.first.weight is module.last.weight
    assert module.last.weight.tolist() == [[7.0] * 3] * 3


def test_tensors_of_equal_sizes_that_are_not_shared_are_all_needed(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False))
    with pytest.raises(WeightsError, match=r"it lacks 1\.weight$"):
        load(module, saved(tmp_path, {"0.weight": torch.ones(3, 3)}))


def test_a_file_of_safetensors_without_its_package_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "safetensors.torch", None)
    with pytest.raises(WeightsError, match=r"w\.safetensors needs the package safetensors"):
        load(nn.Linear(3, 2), tmp_path / "w.safetensors")


def test_a_subject_is_built_with_them_and_the_shipped_network_keeps_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights._Given, "path", None)
    own = build(parse("convnet")).state_dict()
    weights.use(str(saved(tmp_path, ones())))
    assert build(parse("torch.nn:Linear(3, 2)")).state_dict()["weight"].sum().item() == 6.0
    assert all(
        torch.equal(one, own[name]) for name, one in build(parse("convnet")).state_dict().items()
    )
    with pytest.raises(SubjectError, match=r"Linear\(4, 2\): --weights: w\.pt does not fit"):
        build(parse("torch.nn:Linear(4, 2)"))
