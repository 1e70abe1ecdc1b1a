"""A subject that is not there names the one that was meant."""

from pathlib import Path
from types import ModuleType

import pytest
from torch import nn

from bench.worker.model import near


def test_the_nearest_network_or_function_is_named_and_no_number() -> None:
    module = ModuleType("nets")
    module.MakeNet, module.make_nets, module.number = nn.ReLU, lambda: nn.ReLU(), 3  # type: ignore[attr-defined]
    assert near.callables(module, "make_net") == "; did you mean 'make_nets'?"
    assert near.callables(module, "makenet") == "; did you mean 'MakeNet'?"
    assert near.callables(module, "numbre") == ""


@pytest.mark.parametrize(
    ("asked", "missing", "meant"),
    [
        ("my.modls", "my.modls", "my.models"),
        ("models", "models", "my.models"),
        ("zebra", "zebra", None),
    ],
)
def test_the_nearest_file_or_package_is_named(
    tmp_path: Path, asked: str, missing: str, meant: str | None
) -> None:
    (tmp_path / "my").mkdir()
    (tmp_path / "my" / "models.py").touch()
    said = near.modules(asked, missing, [str(tmp_path)])
    assert said == ("" if meant is None else f"; did you mean {meant!r}?")
