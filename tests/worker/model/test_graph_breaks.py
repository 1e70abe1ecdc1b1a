"""The places where torch.compile leaves the graph."""

import pytest
import torch

from bench.worker.model import graph_breaks
from tests.subjects.planted_causes import build

pytestmark = pytest.mark.slow


def test_a_break_is_found_with_its_line_and_the_module_whose_forward_has_it() -> None:
    net = build("resnet", "graph_break", "layer1.1").eval()
    (one,) = graph_breaks.find(net, (torch.zeros(1, 3, 64, 64),), {}, training=False)
    assert one["modules"] == ["layer1.1"]
    assert one["place"].startswith("planted_causes.py:")
    assert one["code"] == "torch._dynamo.graph_break()"


def test_a_network_that_is_one_graph_has_none() -> None:
    net = build("resnet").eval()
    assert graph_breaks.find(net, (torch.zeros(1, 3, 64, 64),), {}, training=False) == []
