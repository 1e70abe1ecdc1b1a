import dataclasses

import pytest

from bench.core import decode
from bench.core.axes import AXES, BY_NAME, AxisError
from bench.core.records import COLUMNS, Case
from tests.support.cases import case


def test_every_axis_is_a_field_of_a_case_and_a_column_of_the_csv() -> None:
    names = [axis.name for axis in AXES]
    assert names == [one.name for one in dataclasses.fields(Case) if one.name != "subject"]
    assert set(names) <= set(COLUMNS)


@pytest.mark.parametrize(
    ("axis", "value"),
    [
        ("batch", "0"),
        ("batch", "-1"),
        ("batch", "1e3"),
        ("batch", "8\n"),
        ("mode", "train"),
        ("input", "3,,4"),
        ("input", "a"),
        ("device", "cpu:"),
        ("device", "rm -rf"),
        ("threads", "0"),
        ("threads", "two"),
        ("amp", "fp16"),
    ],
)
def test_a_value_that_an_axis_does_not_know_is_refused_with_what_would_be_right(
    axis: str, value: str
) -> None:
    if value.strip() != value:
        assert BY_NAME[axis].check(value) == value.strip()
        return
    with pytest.raises(AxisError, match=r"; expected (?:one of|e\.g\.) "):
        BY_NAME[axis].check(value)


@pytest.mark.parametrize(
    "value",
    [
        "3,224,224",
        "3,224,224; 10:int64<1000",
        "16:int64<10;16:bool",
        ":int64<10",
        "own",
        "9:complex64",
    ],
)
def test_every_form_of_an_input_is_understood(value: str) -> None:
    assert BY_NAME["input"].check(value) == value


def test_tomls_booleans_mean_on_and_off() -> None:
    assert BY_NAME["amp"].check(False) == "off"
    assert BY_NAME["tf32"].check(True) == "on"


def test_an_axis_that_came_later_changes_no_case_id_by_its_default() -> None:
    plain = case()
    assert plain.grad_mode == "inference_mode"
    assert plain.case_id == (
        "convnet:inference:b8:3x224x224:cpu:float32:amp=off:contiguous:compile=off:t=auto:retained"
    )
    assert case(grad_mode="no_grad").case_id == plain.case_id + ":grad=no_grad"


def test_a_case_of_an_earlier_version_stands_as_it_was_measured() -> None:
    fields = case().as_dict()
    del fields["grad_mode"]
    assert decode.case(fields) == case()
    fields["mode"] = "training"
    assert decode.case(fields) == case(mode="training", grad_mode=None)
