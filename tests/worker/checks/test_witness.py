"""float64 code whose results are rounded as a coarser arithmetic rounds them."""

import pytest
import torch
from torch import Tensor, nn

from bench.worker.checks import witness


@pytest.mark.parametrize(
    ("bits", "kind"), [(24, torch.float32), (11, torch.float16), (8, torch.bfloat16)]
)
def test_results_are_rounded_to_nearest_and_are_numbers_of_the_dtype(
    bits: int, kind: torch.dtype
) -> None:
    x = torch.randn(1000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with witness.Rounded(bits):
        rounded = x + 1.0
    exact = x + 1.0
    assert rounded.dtype is torch.float64
    assert not torch.equal(rounded, exact)
    ordinary = exact.abs() > 0.01  # not among float16's subnormals
    assert torch.equal(rounded.to(kind).double()[ordinary], rounded[ordinary])
    assert bool(((rounded - exact).abs() <= 2.0**-bits * exact.abs()).all())  # half a spacing


def test_infinities_stay_and_whole_numbers_are_left_alone() -> None:
    x = torch.tensor([float("inf"), -float("inf"), 1e300], dtype=torch.float64)
    with witness.Rounded(6):
        y, whole = x * 1.0, torch.arange(1000) + 1000
    assert y.tolist()[:2] == [float("inf"), -float("inf")]
    assert float(y[2]) == pytest.approx(1e300, rel=0.02)
    assert torch.equal(whole, torch.arange(1000, 2000))


def test_complex_results_are_rounded_in_both_parts_and_views_are_not_written_to() -> None:
    z = torch.randn(50, dtype=torch.complex128)
    kept = z.clone()
    with witness.Rounded(8):
        view = z[:10]
        product = z * 1.0
    assert torch.equal(z, kept)
    assert torch.equal(view, kept[:10])
    assert torch.equal(product.real, kept.real.bfloat16().double())
    assert torch.equal(product.imag, kept.imag.bfloat16().double())


def test_backward_is_rounded_as_well() -> None:
    x = torch.randn(20, dtype=torch.float64, requires_grad=True)
    with witness.Rounded(8):
        x.square().sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, x.grad.bfloat16().double())
    assert not torch.equal(x.grad, 2 * x.detach())


def test_weights_and_inputs_are_moved_by_a_rounding_error_and_by_the_seed() -> None:
    def moved(seed: int) -> tuple[Tensor, Tensor]:
        layer, given = nn.Linear(50, 50).double(), torch.ones(50, dtype=torch.float64)
        with torch.no_grad():
            layer.weight.fill_(1.0)
        witness.perturb(layer, given, "bfloat16", seed)
        return layer.weight.detach() - 1, given - 1

    for one in moved(1):
        assert 0.8 * 2**-6 < float(one.abs().max()) <= 2**-6
    assert torch.equal(moved(1)[0], moved(1)[0])
    assert not torch.equal(moved(1)[0], moved(2)[0])
