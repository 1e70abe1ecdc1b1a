"""The whole suite on an accelerator of no maker that it knows: a backend of torch in C++.

`tests/support/sim_device` is what a maker of hardware writes for torch.  Its times are set, so
what comes back from a run is known before.  Each test starts processes of its own: torch can have
one such backend, and it cannot be unloaded.
"""

import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.support.paths import ROOT
from tests.support.sim_device import build

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        shutil.which(os.environ.get("CXX", "g++")) is None, reason="needs a C++ compiler"
    ),
]

SUBJECT = """
import torch
from torch import nn

class Net(nn.Sequential):
    def __init__(self):
        super().__init__(
            nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(4 * 4 * 4, 10),
        )
"""


@pytest.fixture(scope="module")
def site() -> Path:
    """The folder of the installed backend, for PYTHONPATH."""
    return build.installed()


def variables(site: Path, **settings: object) -> dict[str, str]:
    """Of a process in which the backend is installed."""
    path = os.pathsep.join((str(site), str(ROOT)))
    return {**os.environ, "PYTHONPATH": path, **{k: str(v) for k, v in settings.items()}}


def said(site: Path, code: str, **settings: object) -> str:
    """What this Python code prints; the backend is loaded by `import torch`."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env=variables(site, **settings),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


TRAIN = """
import torch
from torch import nn

def net(device):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.GELU(), nn.MaxPool2d(2),
        nn.Conv2d(4, 6, 3, stride=2, groups=2), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(6, 5),
    ).to(device)

def train(device, amp=None):
    model = net(device)
    optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9)
    torch.manual_seed(1)
    x, y = torch.randn(4, 3, 16, 16).to(device), torch.arange(4).to(device)
    scaler = torch.amp.GradScaler(device, 256.0, enabled=amp is not None)
    for _ in range(5):
        optimizer.zero_grad()
        with torch.autocast(device, amp, enabled=amp is not None):
            output = model(x)
            loss = nn.functional.cross_entropy(output, y)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
    return output, [p.detach().cpu() for p in model.parameters()]
"""


def test_a_training_step_on_the_device_has_the_values_of_the_cpu(site: Path) -> None:
    code = """
    (_, here), (output, there) = train("cpu"), train("sim")
    assert output.device == torch.device("sim:0")
    assert torch.sim.is_initialized()
    for a, b in zip(here, there, strict=True):
        torch.testing.assert_close(a, b)
    print("same")
    """
    assert said(site, TRAIN + textwrap.dedent(code)) == "same\n"


def test_autocast_and_the_gradient_scaler_work_in_half_precision(site: Path) -> None:
    code = """
    (_, here) = train("cpu", amp=torch.float16)
    (output, there) = train("sim", amp=torch.float16)
    assert output.dtype == torch.float16
    for a, b in zip(here, there, strict=True):
        torch.testing.assert_close(a, b, atol=2e-3, rtol=1e-2)  # float16: 3 digits
    print("close")
    """
    assert said(site, TRAIN + textwrap.dedent(code)) == "close\n"


def test_recurrent_layers_have_the_gradients_of_the_cpu(site: Path) -> None:
    code = """
    import torch
    from torch import nn
    x = torch.randn(2, 3, 4)
    for kind in (nn.LSTM, nn.GRU, nn.RNN):
        for bias in (True, False):
            here = kind(4, 5, batch_first=True, bias=bias)
            there = kind(4, 5, batch_first=True, bias=bias).to("sim")
            there.load_state_dict(here.state_dict())
            here(x)[0].square().sum().backward()
            there(x.to("sim"))[0].square().sum().backward()
            for a, b in zip(here.parameters(), there.parameters(), strict=True):
                torch.testing.assert_close(a.grad, b.grad.cpu())
            print(kind.__name__, bias)
    """
    assert said(site, code).split("\n")[:-1] == [
        f"{kind} {bias}" for kind in ("LSTM", "GRU", "RNN") for bias in (True, False)
    ]
