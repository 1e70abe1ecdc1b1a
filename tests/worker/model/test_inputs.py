"""The inputs with which a subject is called."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from bench.worker.model import inputs
from bench.worker.model.inputs import InputError, InputSpec
from tests.subjects.models import Text


def make(text: str, batch: int = 2, dtype: torch.dtype = torch.float32, **how: Any) -> Any:
    return inputs.make(text, nn.Identity(), batch, dtype, **how)


def test_the_axis_is_read_as_shapes_dtypes_and_bounds() -> None:
    assert inputs.parse("3,224,224; 10:int64<1000;:bool") == (
        InputSpec(shape=(3, 224, 224)),
        InputSpec(shape=(10,), dtype=torch.int64, bound=1000),
        InputSpec(shape=(), dtype=torch.bool),
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("3,,4", "sizes in '3,,4'"),
        ("3,0", "1 or more"),
        ("3; ", "'' is not understood"),
        ("3x4", "'3x4' is not understood"),
        ("3:float31", "dtype 'float31'; choose float64, float32"),
        ("3<5", "'3<5' is not understood"),
        ("3:float32<5", "an upper bound (<5) is for integers"),
        ("3:bool<2", "an upper bound (<2) is for integers"),
        ("3:int8<129", "between 0 and 129"),
        ("3:int64<0", "between 0 and 0"),
    ],
)
def test_what_is_not_understood_is_named(text: str, says: str) -> None:
    with pytest.raises(InputError) as caught:
        make(text)
    assert says in str(caught.value)


def test_shapes_get_the_batch_in_front() -> None:
    (image, index, flag), kwargs = make("3,4,5; 10:int64<1000; :bool", batch=7)
    assert (image.shape, index.shape, flag.shape) == ((7, 3, 4, 5), (7, 10), (7,))
    assert (image.dtype, index.dtype, flag.dtype) == (torch.float32, torch.int64, torch.bool)
    assert kwargs == {}


def test_floats_are_standard_normal_and_never_zeros() -> None:
    (numbers,), _ = make("100,100")
    # 20,000 numbers: the mean's standard error is 0.007, the deviation's 0.005
    assert abs(float(numbers.mean())) < 0.03
    assert abs(float(numbers.std()) - 1) < 0.03


def test_integers_fill_the_range_below_their_bound() -> None:
    (numbers,), _ = make("500:int32<3")
    assert set(numbers.flatten().tolist()) == {0, 1, 2}
    (unbounded,), _ = make("500:int64")
    assert set(unbounded.flatten().tolist()) == {0, 1}


def test_the_numbers_are_the_same_every_time_and_in_every_dtype() -> None:
    (once,), _ = make("3,4")
    torch.manual_seed(7)
    (again,), _ = make("3,4")
    (half,), _ = make("3,4", dtype=torch.float16)
    assert torch.equal(once, again)
    assert torch.equal(half, once.half())


def test_a_dtype_of_its_own_outlives_that_of_the_case() -> None:
    (given, plain), _ = make("3:float32; 3", dtype=torch.bfloat16)
    assert (given.dtype, plain.dtype) == (torch.float32, torch.bfloat16)


def test_channels_last_is_for_images_alone() -> None:
    (image, matrix, mask), _ = make("3,4,5; 6,7; 3,4,5:int64<9", memory_format="channels_last")
    assert image.is_contiguous(memory_format=torch.channels_last)
    assert not image.is_contiguous()
    assert matrix.is_contiguous()
    assert mask.is_contiguous()


def test_the_modules_own_inputs_are_cast_but_for_integers() -> None:
    args, kwargs = inputs.make("own", Text(), 3, torch.bfloat16)
    assert args == ()
    assert (kwargs["tokens"].shape, kwargs["tokens"].dtype) == ((3, 7), torch.int64)
    assert (kwargs["scale"].shape, kwargs["scale"].dtype) == ((3,), torch.bfloat16)


def test_the_modules_own_inputs_are_the_same_every_time() -> None:
    _, first = inputs.make("own", Text(), 3, torch.float32)
    _, second = inputs.make("own", Text(), 3, torch.float32)
    assert torch.equal(first["scale"], second["scale"])


@pytest.mark.parametrize(
    ("given", "count"), [(torch.ones(2), 1), ((torch.ones(2), 3), 2), ([torch.ones(1)], 1)]
)
def test_own_inputs_may_be_a_tensor_or_a_tuple(given: Any, count: int) -> None:
    class Own(nn.Module):
        def example_inputs(self, batch: int) -> Any:  # noqa: ARG002
            return given

    args, kwargs = inputs.make("own", Own(), 2, torch.float32)
    assert (len(args), kwargs) == (count, {})


def test_without_any_input_the_message_says_how_to_give_one() -> None:
    with pytest.raises(InputError, match=r"--input 3,224,224 .* example_inputs"):
        make("own")


def test_own_inputs_of_a_wrong_kind_are_refused() -> None:
    class Own(nn.Module):
        def example_inputs(self, batch: int) -> int:
            return batch

    with pytest.raises(InputError, match=r"Own.example_inputs\(2\) gave a int"):
        inputs.make("own", Own(), 2, torch.float32)


def test_complex_numbers_have_a_mean_square_of_one_and_follow_the_precision() -> None:
    (numbers, wide), _ = make("100,100:complex64; 3:complex128")
    assert (numbers.dtype, wide.dtype) == (torch.complex64, torch.complex128)
    assert abs(float(numbers.abs().square().mean()) - 1) < 0.03  # of 20,000: ± 0.007
    assert abs(float(numbers.imag.std()) - 0.5**0.5) < 0.03
    (half,), _ = make("3:complex64", dtype=torch.float16)
    assert half.dtype is torch.complex32
    with pytest.raises(InputError, match=r"an upper bound \(<5\) is for integers"):
        make("3:complex64<5")


def test_the_modules_own_complex_inputs_stay_complex() -> None:
    class Own(nn.Module):
        def example_inputs(self, batch: int) -> Any:
            return torch.full((batch, 3), 1 + 2j), torch.ones(batch, 2).to_sparse()

    (given, sparse), _ = inputs.make("own", Own(), 2, torch.float64, memory_format="channels_last")
    assert given.dtype is torch.complex128
    assert bool((given.imag == 2).all())
    assert (sparse.dtype, sparse.layout) == (torch.float64, torch.sparse_coo)


def of_batch(given: Callable[[int], Any]) -> nn.Module:
    class Own(nn.Module):
        def example_inputs(self, batch: int) -> Any:
            return given(batch)

    return Own()


@pytest.mark.parametrize(
    ("given", "fixed"),
    [
        (lambda _: torch.randn(4, 3), 4),
        (lambda _: {"x": torch.randn(4, 3), "mask": torch.ones(4)}, 4),
        (lambda _: (torch.randn(5, 3), torch.ones(2, 9, dtype=torch.int64)), 1),  # a graph
        (lambda _: (torch.ones(()), 7), 1),
        (lambda batch: torch.randn(batch, 3), None),
        (lambda batch: torch.randn(9, batch, 3), None),
        (lambda batch: torch.randn(8 * ((batch + 7) // 8), 3), None),  # padded
        (lambda batch: ([torch.randn(3)] * batch,), None),
        (lambda batch: (torch.randn(4, 3), batch), None),
        (lambda batch: (torch.randn(4, 3), torch.tensor(batch)), None),
    ],
)
def test_own_inputs_that_are_the_same_for_every_batch_are_told(
    given: Callable[[int], Any], fixed: int | None
) -> None:
    assert inputs.fixed_batch(of_batch(given)) == fixed
