"""The names in a file that is not imported."""

from bench.core.code_names import defined, listed, may_have

SOURCE = """
from torch import nn
from elsewhere import other
BATCH = 8
class Net(nn.Module):
    def forward(self, x): ...
def make_net(): ...
def _private(): ...
net = Net()
net = make_net()
"""


def test_the_classes_functions_and_made_networks_are_listed_in_their_order() -> None:
    assert defined(SOURCE) == ["Net", "make_net", "net"]
    assert defined("def broken(:") == defined("\0") == []


def test_a_name_that_occurs_or_may_be_imported_may_be_there() -> None:
    assert may_have(SOURCE, "net")
    assert may_have(SOURCE, "other")
    assert not may_have(SOURCE, "oth")
    assert may_have("from models import *", "anything")


def test_many_names_are_cut() -> None:
    assert listed(["a", "b"]) == "a, b"
    assert listed([f"net{n}" for n in range(10)]) == (
        "net0, net1, net2, net3, net4, net5, net6, net7, 2 more"
    )
