import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.core.subject import SubjectError, inside, layer_name, layer_text, parse


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


@pytest.mark.parametrize(
    ("text", "whole", "layer"),
    [
        ("mynet.py:make", "mynet:make", None),
        ("./mynet:make", "mynet:make", None),
        ("my/models.py:make(3)/conv1", "my.models:make(3)", "conv1"),
        ("./my/__init__.py:make", "my:make", None),
        ("nets:Ärger", "nets:Ärger", None),
        ("nets:A\u0308rger", "nets:Ärger", None),  # as some file systems write it
        ("größe.netz:Ü", "größe.netz:Ü", None),
        ("a:b/conv (3x3)", "a:b", "conv (3x3)"),
        ("a:b/relu/first", "a:b", "relu/first"),
        ("a:b(')', [1])/block(1)", "a:b(')', [1])", "block(1)"),
        ("a:b/größe ", "a:b", "größe "),
        (r"a:b/\*", "a:b", r"\*"),
        ("a:b/* ", "a:b", "*"),
    ],
)
def test_files_and_layers_may_have_any_name(text: str, whole: str, layer: str | None) -> None:
    ref = parse(text)
    assert (ref.whole, ref.layer) == (whole, layer)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("/abs/nets.py:X", "change to the folder of its code, and write nets.py:callable"),
        ("../nets.py:X", "is a path outside the current directory and its repository"),
        ("my-nets/a.py:X", "'my-nets' is not a valid name of a Python module"),
        ("mynet.py", "is a file without a callable; write mynet.py:callable"),
    ],
)
def test_a_path_that_is_no_module_is_told_what_is_right(text: str, says: str) -> None:
    with pytest.raises(SubjectError, match=re.escape(says)):
        parse(text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("my/models.py:make(3)/conv1", "my/models.py:make(3)"),
        ("models.py:net", "models.py:net"),
        ("my/models:net", "my/models:net"),
        ("my.models:net/*", "my.models:net"),
        ("convnet/conv1", "convnet"),
    ],
)
def test_a_file_is_shown_as_it_was_written(text: str, shown: str) -> None:
    assert parse(text).shown == shown
    assert parse("my/models.py:net") == parse("my.models:net")


@given(st.text(st.characters(exclude_categories=("C", "Z")), min_size=1))
def test_a_layer_of_any_name_is_found_by_what_is_written(name: str) -> None:
    ref = parse(f"a:b/{layer_text(name)}")
    assert ref.layer is not None
    assert ref.layer != "*"
    assert layer_name(ref.layer) == name


@given(st.text())
def test_any_text_is_a_subject_or_a_clear_error(text: str) -> None:
    try:
        ref = parse(text)
    except SubjectError:
        return
    assert ref.module
    assert ref.callable


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("/home/me/repo/tools/my/models.py:make(3)/conv1", "my/models.py:make(3)/conv1"),
        ("/home/me/repo/nets/a.py:X", "nets/a.py:X"),
        ("../nets/a.py:X", "nets/a.py:X"),
        ("/elsewhere/a.py:X", "/elsewhere/a.py:X"),
        ("/home/me/repo-2/a.py:X", "/home/me/repo-2/a.py:X"),
        ("my/models.py:make", "my/models.py:make"),
        ("a.b:c('/x:y')", "a.b:c('/x:y')"),
        ("convnet/*", "convnet/*"),
    ],
)
def test_a_path_inside_the_directory_or_its_repository_becomes_relative(
    text: str, meant: str
) -> None:
    assert inside(text, ("/home/me/repo/tools", "/home/me/repo")) == meant


def test_a_misspelled_short_name_names_the_shipped_network() -> None:
    with pytest.raises(SubjectError, match=r"; did you mean 'convnet'\?$"):
        parse("convent")
