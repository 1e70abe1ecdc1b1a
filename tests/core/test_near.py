"""A message about a misspelled word names the word that was meant."""

import pytest

from bench.core.axes import BY_NAME, AxisError
from bench.core.near import did_you_mean, nearest


def test_the_nearest_word_is_found_whatever_its_case() -> None:
    assert nearest("MAKE_NTE", ["make_net", "make_data"]) == "make_net"
    assert nearest("makenet", ["MakeNet", "Other"]) == "MakeNet"


def test_a_word_that_is_like_none_gets_no_hint() -> None:
    assert nearest("zebra", ["make_net"]) is None
    assert did_you_mean("zebra", ["make_net"]) == ""


def test_the_hint_is_the_end_of_a_sentence() -> None:
    assert did_you_mean("laye1", ["layer1", "head"]) == "; did you mean 'layer1'?"


@pytest.mark.parametrize(
    ("axis", "value", "meant"),
    [
        ("memory_format", "chanels_last", "channels_last"),
        ("memory_format", "NHWC", "channels_last"),
        ("amp", "bf16", "bfloat16"),
        ("dtype", "fp16", "float16"),
        ("mode", "train", "training"),
        ("compile", "max-autotun", "max-autotune"),
        ("tf32", "true", "on"),
    ],
)
def test_a_misspelled_value_of_an_axis_names_the_one_that_is_meant(
    axis: str, value: str, meant: str
) -> None:
    with pytest.raises(AxisError, match=rf"; did you mean '{meant}'\?$"):
        BY_NAME[axis].check(value)
