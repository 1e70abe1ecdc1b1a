import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.subject import SubjectError, parse


def test_the_shipped_network_and_its_layers_have_short_names() -> None:
    assert parse("convnet").callable == "ConvNet"
    assert parse("convnet").layer is None
    assert parse("convnet/conv1").layer == "conv1"
    assert parse("convnet/*").layer == "*"


def test_literal_arguments_are_read() -> None:
    ref = parse('torch.nn:Conv2d(64, (3, 3), "same", stride=2, bias=False)/weight.sub')
    assert ref.module == "torch.nn"
    assert ref.callable == "Conv2d"
    assert ref.args == (64, (3, 3), "same")
    assert ref.kwargs == {"stride": 2, "bias": False}
    assert ref.layer == "weight.sub"
    assert ref.whole == 'torch.nn:Conv2d(64, (3, 3), "same", stride=2, bias=False)'


@pytest.mark.parametrize(
    "text",
    [
        "",
        "resnet",
        "convnet/",
        "a:b(",
        "a:b(open('x'))",
        "a:b(*[1])",
        "a:b(**{'x': 1})",
        "a:b(1)(2)",
        "a b:c",
        "a:b(x)",
        "a:b(__import__('os'))",
        "a:b;c",
    ],
)
def test_what_is_no_subject_is_refused(text: str) -> None:
    with pytest.raises(SubjectError, match=r"write convnet|literals"):
        parse(text)


@given(st.text())
def test_any_text_is_a_subject_or_a_clear_error(text: str) -> None:
    try:
        ref = parse(text)
    except SubjectError:
        return
    assert ref.module
    assert ref.callable
