"""Subjects of which it is known where their time goes."""

import threading
from typing import Any

import torch
from torch import Tensor, nn
from torch.profiler import record_function
from torch.utils.checkpoint import checkpoint

HEAVY = 384  # rows of the square matrices: half a millisecond each and more


def work() -> None:
    one = torch.ones(HEAVY, HEAVY)
    for _ in range(10):
        one @ one


class _HeavyBackward(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:  # noqa: ARG004
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:  # noqa: ARG004
        work()
        return gradients[0]


class HeavyForward(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        work()
        return x * 2


class HeavyBackward(nn.Module):
    def forward(self, x: Tensor) -> Any:
        return _HeavyBackward.apply(x)  # type: ignore[no-untyped-call]


class Planted(nn.Module):
    """One layer has all the work of the forward, another all that of the backward."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.slow = HeavyForward()
        self.between = nn.ReLU()
        self.dear = HeavyBackward()
        self.never = nn.Linear(4, 4)
        self.last = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.between(self.slow(self.first(x)))
        return torch.as_tensor(self.last(self.between(self.dear(x))))


class OwnCode(nn.Module):
    """The work lies in the network's own forward, in none of its layers."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        work()
        return torch.as_tensor(self.fc(x))


class KeepsItsOwn(nn.Module):
    """A thousand numbers are kept for the backward that no layer puts out."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        return (self.weight * x.sum()).expand(1000).exp().sum()


class _Large(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        block = torch.zeros(3_000_000)
        return x + block[0]


class Allocates(nn.Module):
    """One layer needs twelve million bytes for as long as it works."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.large, self.last = nn.Linear(4, 4), _Large(), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return torch.as_tensor(self.last(self.large(self.first(x))))


class Fusible(nn.Module):
    """A compiler puts the batch norm and the ReLU of its block into one kernel."""

    def __init__(self) -> None:
        super().__init__()
        self.block = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        return torch.as_tensor(self.block(x))


class OwnThread(nn.Module):
    """One of its layers runs in a thread."""

    def __init__(self) -> None:
        super().__init__()
        self.here, self.there = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        found: list[Tensor] = []
        inference = torch.is_inference_mode_enabled()

        def work() -> None:
            with torch.inference_mode(inference):
                found.append(self.there(x))

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        return torch.as_tensor(self.here(x)) + found[0]


class OddRange(nn.Module):
    """Has a range with a name that breaks the trace as torch writes it."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        with record_function('say "hi", {"ph": "X"}'):
            return torch.as_tensor(self.fc(x))


class HeavyLoss(Planted):
    """The work lies in the loss."""

    def __init__(self) -> None:
        super().__init__()
        self.slow, self.dear = nn.Identity(), nn.Identity()  # type: ignore[assignment]

    def loss(self, output: Tensor) -> Tensor:
        work()
        return output.sum()


class Checkpointed(nn.Module):
    """Its layer is computed again in the backward."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Any:
        return checkpoint(self.fc, x, use_reentrant=False)


class HostileNames(nn.Module):
    """Its layers have names that no file and no terminal should meet."""

    def __init__(self) -> None:
        super().__init__()
        for name in ('a"\\b', "a?\\b", "=1+1", "<b>\x1b[31m", "line\nbreak"):
            self.add_module(name, nn.Linear(4, 4))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.children():
            x = layer(x)
        return x


class CatchesErrors(nn.Module):
    """A layer raises, and the network goes on without it."""

    def __init__(self) -> None:
        super().__init__()
        self.wrong = nn.Linear(5, 4)
        self.right = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        try:
            x = self.wrong(x)
        except RuntimeError:
            x = self.right(x)
        return x
