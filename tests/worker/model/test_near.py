"""A subject that is not there names the one that was meant."""

from pathlib import Path
from types import ModuleType

import pytest
from torch import nn

from bench.core.subject import parse
from bench.worker.model import near


def test_the_nearest_network_or_function_is_named_and_no_number() -> None:
    module = ModuleType("nets")
    module.MakeNet, module.make_nets, module.number = nn.ReLU, lambda: nn.ReLU(), 3  # type: ignore[attr-defined]
    assert near.callables(module, "make_net") == "; did you mean 'make_nets'?"
    assert near.callables(module, "makenet") == "; did you mean 'MakeNet'?"
    assert near.callables(module, "numbre") == ""


def test_the_names_that_a_module_itself_defines_are_listed() -> None:
    module = ModuleType("nets")
    own = type("Net", (nn.ReLU,), {"__module__": "nets"})
    module.__dict__.update(Net=own, ReLU=nn.ReLU, made=own(), number=3)
    assert near.own_names(module) == "; it has Net, made"
    assert near.own_names(ModuleType("nets")) == ""


@pytest.mark.parametrize(
    ("asked", "missing", "meant"),
    [
        ("my.modls:net", "my.modls", "; did you mean 'my.models:net'?"),
        ("models:net(3)", "models", "; did you mean 'my.models:net(3)'?"),
        ("zebra:net", "zebra", ""),
        ("my/modls.py:net", "my.modls", "; did you mean 'my/models.py:net'?"),
        ("my/modls:net(3)/conv", "my.modls", "; did you mean 'my/models.py:net(3)'?"),
        ("models.py:net", "models", "; did you mean 'my/models.py:net'?"),
        ("myy/models.py:net", "myy", "; did you mean 'my/models.py:net'?"),
        ("my/modls.py:nte", "my.modls", "; did you mean 'my/models.py'? It has Net, net"),
        ("my.modls:nte", "my.modls", "; did you mean 'my.models'? It has Net, net"),
        ("zebra.py:net", "zebra", ""),
    ],
)
def test_the_nearest_file_or_package_is_named_as_the_subject_was_written(
    tmp_path: Path, asked: str, missing: str, meant: str
) -> None:
    (tmp_path / "my").mkdir()
    (tmp_path / "my" / "models.py").write_text("class Net: ...\nnet = Net()\n")
    assert near.modules(parse(asked), missing, [str(tmp_path)]) == meant
