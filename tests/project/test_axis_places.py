"""An axis is one record; the few other places that name one are those in CONTRIBUTING.md."""

import ast
import dataclasses
import re
from pathlib import Path

import pytest

from bench.api.settings import Settings
from bench.core.axes import AXES, BY_NAME
from bench.core.records import COLUMNS, Case
from bench.worker.device import settings
from tests.support.paths import ROOT

# Axes that differ in where they mean something and in how they are applied.
EXAMPLES = ("cudnn_benchmark", "grad_mode")
# Modules that make a case by hand, and so name each axis of it.
CASES_BY_HAND = {"bench/selftest/work.py", "bench/worker/jobs/reference.py"}


def _names(path: Path) -> set[str]:
    """The names of settings, arguments and fields that a module writes down."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Constant(value=str(name)):
                found.add(name)
            case ast.AnnAssign(target=ast.Name(id=name)) | ast.keyword(arg=str(name)):
                found.add(name)
            case ast.arg(arg=name):
                found.add(name)
    return found


def _recipe() -> set[str]:
    """The modules that CONTRIBUTING.md names where it says how to add an axis."""
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    bullet = page.partition("- **an axis**")[2].partition("\n- **")[0]
    return set(re.findall(r"`(bench/[\w/]+\.py)`", bullet))


@pytest.mark.parametrize("axis", EXAMPLES)
def test_an_axis_is_named_only_where_the_recipe_says(axis: str) -> None:
    there = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "bench").rglob("*.py")
        if axis in _names(path)
    }
    assert there - CASES_BY_HAND - _recipe() == set()


def test_every_module_of_the_recipe_exists() -> None:
    assert [one for one in _recipe() if not (ROOT / one).is_file()] == []
    assert len(_recipe()) > 5


def test_a_case_has_a_field_and_a_row_has_a_column_for_every_axis_in_their_order() -> None:
    names = [axis.name for axis in AXES]
    assert [one.name for one in dataclasses.fields(Case)] == ["subject", *names]
    assert {*names} <= {*COLUMNS}


def test_what_a_call_in_this_process_may_set_is_an_axis() -> None:
    assert {one.name for one in dataclasses.fields(Settings)} <= BY_NAME.keys()


def test_switches_of_a_process_belong_to_an_axis_that_a_device_may_lack() -> None:
    assert {name: BY_NAME[name].meaning for name in settings.SET} == {
        "threads": "cpu",
        "cudnn_benchmark": "cudnn",
        "tf32": "tf32",
    }


@pytest.mark.parametrize(
    ("axis", "value", "shown"),
    [
        ("tf32", "on", "TF32"),
        ("tf32", "off", "TF32 off"),
        ("cudnn_benchmark", "on", "cuDNN benchmark"),
        ("memory_format", "channels_last", "channels_last"),
        ("allocator", "system", "as a plain process"),
        ("amp", "bfloat16", "amp bfloat16"),
    ],
)
def test_a_value_is_named_as_people_do(axis: str, value: str, shown: str) -> None:
    assert BY_NAME[axis].words(value) == shown
