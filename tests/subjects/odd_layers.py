"""Networks whose layers, calls or tensors are of a kind that is seldom met."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize
from torch.utils.checkpoint import checkpoint

TABLES: dict[int, Tensor] = {}


class KeptTable(nn.Module):
    """(N, 16, 8): a table by length alone, kept outside the module for all instances."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        length = x.shape[1]
        if length not in TABLES:
            TABLES[length] = torch.linspace(0, 1, length, device=x.device)[:, None]
        return torch.as_tensor(self.fc(x + TABLES[length]))


class KeptOnItsClass(nn.Module):
    """(N, 8): the same in an attribute of the class."""

    table: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        if KeptOnItsClass.table is None:
            KeptOnItsClass.table = torch.ones(x.shape[1], device=x.device)
        return x * KeptOnItsClass.table


class HookStore(nn.Module):
    """(N, 8): a hook keeps a feature in a dict outside the module, which is read in the call."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(8, 8), nn.Linear(8, 8)
        store: dict[str, Tensor] = {}
        self.store_of: Callable[[], dict[str, Tensor]] = lambda: store

        def keep(_module: nn.Module, _args: Any, output: Tensor) -> None:
            store.setdefault("first", output.detach())

        self.first.register_forward_hook(keep)

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x)
        return torch.as_tensor(self.last(y) + self.store_of()["first"].mean())


class HookGraph(nn.Module):
    """(N, 8): a hook keeps the feature of the call before with its graph."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(8, 8), nn.Linear(8, 8)
        store: dict[str, Tensor] = {}

        def mix(_module: nn.Module, _args: Any, output: Tensor) -> Tensor:
            mixed = output + store.get("first", torch.zeros(())).mean()
            store["first"] = output
            return torch.as_tensor(mixed)

        self.first.register_forward_hook(mix)

    def forward(self, x: Tensor) -> Tensor:
        return torch.as_tensor(self.last(self.first(x)))


class MadeOnce(nn.Module):
    """(N, 8): computes a tensor from its weight when it is built, with its graph."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(8))
        self.gate = self.weight.sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        return torch.as_tensor(x * self.gate)


class KeepsOnItsClass(nn.Module):
    """(N, 8): the output before, for all instances, with its graph."""

    last: Tensor | None = None

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        last = KeepsOnItsClass.last
        y = self.fc(x) if last is None else self.fc(x) + last.sigmoid().mean()
        KeepsOnItsClass.last = y
        return torch.as_tensor(y)


class KeepsInACell(nn.Module):
    """(N, 8): a part keeps a list of states with their graphs."""

    def __init__(self) -> None:
        super().__init__()
        self.part = nn.Linear(8, 8)
        self.part.past = [torch.zeros(8)]  # type: ignore[assignment]

    def forward(self, x: Tensor) -> Tensor:
        past: Any = self.part.past
        past[0] = (self.part(x) + past[0]).tanh()
        return torch.as_tensor(past[0])


class Streaming(nn.Module):
    """(N, 1, 32): keeps its own past, so each call works on more."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key = nn.Linear(32, 32), nn.Linear(32, 32)
        self.past: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.past.append(self.key(x).detach())
        keys = torch.cat(self.past, 1)
        return torch.softmax(self.query(x) @ keys.transpose(1, 2), -1) @ keys


class KeepsState(nn.Module):
    """(N, 4, 8): state from call to call, with its graph."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.GRU(8, 8, batch_first=True)
        self.state: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        y, self.state = self.rnn(x, self.state)
        return torch.as_tensor(y)


# --- lazy ------------------------------------------------------------------------------------


class LazyUnused(nn.Module):
    """(N, 8): one lazy layer is never called."""

    def __init__(self) -> None:
        super().__init__()
        self.used, self.never = nn.LazyLinear(4), nn.LazyLinear(4)

    def forward(self, x: Tensor) -> Tensor:
        return torch.as_tensor(self.used(x))


class LazyAux(nn.Module):
    """(N, 3, 8, 8): a lazy auxiliary head, with statistics, that training alone calls."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.LazyConv2d(6, 3, padding=1), nn.LazyLinear(4)
        self.aux = nn.Sequential(nn.LazyConv2d(5, 1), nn.LazyBatchNorm2d())

    def forward(self, x: Tensor) -> Any:
        y = self.conv(x).relu()
        head = self.head(y.mean((2, 3)))
        return (head, self.aux(y)) if self.training else head


class LazyOnlyInTraining(nn.Module):
    """(N, 8): eval mode is refused."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.LazyLinear(4)

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            raise NotImplementedError("no inference yet")
        return torch.as_tensor(self.fc(x))


class LazyTied(nn.Module):
    """(N, 8): two lazy layers share a weight; the bias of the second one is never given a size."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.LazyLinear(8), nn.LazyLinear(8)
        self.second.weight = self.first.weight

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(self.first(x), self.second.weight)


class LazyLater(nn.Module):
    """(N, 8): a lazy layer that only the fourth call reaches."""

    def __init__(self) -> None:
        super().__init__()
        self.calls, self.fc, self.later = 0, nn.Linear(8, 8), nn.LazyLinear(8)

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        y = self.fc(x)
        return torch.as_tensor(self.later(y) if self.calls > 3 else y)


# --- parametrized ----------------------------------------------------------------------------


class Normed(nn.Module):
    """(N, 3, 16, 16): weight_norm and spectral_norm, the former in its old form where asked."""

    def __init__(self, old: bool = False) -> None:
        super().__init__()
        make: Any = nn.utils.weight_norm if old else parametrizations.weight_norm
        self.c1 = make(nn.Conv2d(3, 8, 3, padding=1))
        self.c2 = parametrizations.spectral_norm(nn.Conv2d(8, 8, 3, padding=1))
        self.fc = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        return torch.as_tensor(self.fc(self.c2(self.c1(x).relu()).relu().mean((2, 3))))


class Symmetric(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return weight.triu() + weight.triu(1).transpose(-1, -2)


class Generated(nn.Module):
    """Makes a weight with a layer of its own."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, weight: Tensor) -> Tensor:
        return torch.as_tensor(self.inner(weight))


class Parametrized(nn.Module):
    """(N, 6, 8): parametrizations of an Embedding, an LSTM and two tensors of a Linear.

    `shared` makes a weight and is a layer of its own as well.
    """

    def __init__(self) -> None:
        super().__init__()
        self.rnn = parametrizations.weight_norm(nn.LSTM(8, 8, batch_first=True), "weight_hh_l0")
        self.table = nn.Embedding(4, 8)
        parametrize.register_parametrization(self.table, "weight", nn.Tanh())
        self.square = nn.Linear(8, 8)
        parametrize.register_parametrization(self.square, "weight", Symmetric())
        parametrize.register_parametrization(self.square, "bias", nn.Tanh())
        self.shared = nn.Linear(8, 8)
        self.made = nn.Linear(8, 8)
        parametrize.register_parametrization(self.made, "weight", Generated(self.shared))

    def forward(self, x: Tensor) -> Tensor:
        y, _ = self.rnn(x)
        y = y + self.table(torch.zeros(x.shape[:2], dtype=torch.int64, device=x.device))
        return torch.as_tensor(self.shared(self.made(self.square(y))))


# --- queries, sparse and nested --------------------------------------------------------------


class Queries(nn.Module):
    """(N, 10, 16): learned queries, a parameter that is handed to a layer."""

    def __init__(self) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.randn(1, 4, 16))
        self.fc = nn.Linear(16, 16)

    def forward(self, x: Tensor) -> Tensor:
        return torch.softmax(self.fc(self.queries) @ x.transpose(1, 2), -1) @ x


class GraphBuffer(nn.Module):
    """(N, 6, 8): a sparse buffer with 11 numbers, in one of torch's layouts."""

    def __init__(self, layout: str = "coo") -> None:
        super().__init__()
        dense = torch.eye(6) + torch.diag(torch.ones(5), 1)
        layouts = {"coo": torch.sparse_coo, "csr": torch.sparse_csr, "csc": torch.sparse_csc}
        self.register_buffer("links", dense.to_sparse(layout=layouts[layout]))
        self.fc = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        y = self.fc(x).permute(1, 0, 2).reshape(6, -1)
        links = torch.as_tensor(self.links)
        return torch.as_tensor((links @ y).reshape(6, len(x), 8).permute(1, 0, 2))


class GraphInput(nn.Module):
    """The links come as a sparse argument."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(8, 4)

    def forward(self, x: Tensor, links: Tensor) -> Tensor:
        return torch.as_tensor(torch.sparse.mm(links, self.fc(x)))

    def example_inputs(self, batch: int) -> tuple[Tensor, ...]:
        return torch.randn(6 * batch, 8), torch.eye(6 * batch).to_sparse()


class Nested(nn.Module):
    """Sequences of 3 and 4 tokens for two images."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        return torch.as_tensor(self.fc(x))

    def example_inputs(self, batch: int) -> tuple[Tensor]:
        parts = [torch.randn(3 + image % 4, 8) for image in range(batch)]
        return (torch.nested.nested_tensor(parts, layout=torch.jagged),)


class Packed(nn.Module):
    """A PackedSequence of 5 tokens an image."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.LSTM(8, 8)

    def forward(self, x: Any) -> Any:
        return self.rnn(x)[0]

    def example_inputs(self, batch: int) -> tuple[Any]:
        parts = [torch.randn(5, 8) for _ in range(batch)]
        return (nn.utils.rnn.pack_sequence(parts, enforce_sorted=False),)


# --- computed again, compiled, scripted ------------------------------------------------------


class Checkpointed(nn.Module):
    """(N, 3, 16, 16): two blocks under one checkpoint each, the second called twice."""

    def __init__(self, reentrant: bool = True) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.one = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.two = nn.Conv2d(8, 8, 1)
        self.fc, self.reentrant = nn.Linear(8, 4), reentrant

    def forward(self, x: Tensor) -> Tensor:
        y = self.stem(x)
        for block in (self.one, self.two, self.two):
            y = checkpoint(block, y, use_reentrant=self.reentrant)
        return torch.as_tensor(self.fc(y.mean((2, 3))))


class _Again(torch.autograd.Function):
    """Keeps the input alone, and computes the rest again in the backward."""

    @staticmethod
    def forward(ctx: Any, block: nn.Module, x: Tensor) -> Tensor:
        ctx.block = block
        ctx.save_for_backward(x)
        return torch.as_tensor(block(x))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor | None]:
        with torch.enable_grad():
            x = ctx.saved_tensors[0].detach().requires_grad_()
            torch.autograd.backward(ctx.block(x), gradients[0])
        return None, x.grad


class ComputesAgain(nn.Module):
    """(N, 8): a function of its own that does what a reentrant checkpoint does."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.inner = nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Any:
        return _Again.apply(self.inner, self.first(x))  # type: ignore[no-untyped-call]


class Inner(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(16, 16)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.fc(x))


class ScriptInside(nn.Module):
    """(N, 16): parts in TorchScript, in a list, beside one in Python."""

    def __init__(self) -> None:
        super().__init__()
        self.pre = nn.Linear(16, 16)
        self.parts = nn.ModuleList(torch.jit.script(Inner()) for _ in range(2))
        self.traced = torch.jit.trace(Inner(), torch.zeros(2, 16))

    def forward(self, x: Tensor) -> Tensor:
        x = self.pre(x)
        for part in self.parts:
            x = part(x)
        return torch.as_tensor(self.traced(x))


def scripted() -> Any:
    """(N, 16), TorchScript as a whole."""
    return torch.jit.script(Inner())


class CompiledPart(nn.Module):
    """(N, 16): a part that the network has compiled itself."""

    def __init__(self) -> None:
        super().__init__()
        self.pre, self.inner = nn.Linear(16, 16), Inner()
        self.inner.compile()

    def forward(self, x: Tensor) -> Tensor:
        return torch.as_tensor(self.inner(self.pre(x)))


def symbolic() -> nn.Module:
    """(N, 16), as torch.fx wrote it down."""
    return torch.fx.symbolic_trace(nn.Sequential(Inner(), nn.Linear(16, 4)))


class Detector(nn.Module):
    """A list of images and one of targets; losses in training, a list of dicts else."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 8, 3, stride=2), nn.Linear(8, 4)

    def forward(self, images: list[Tensor], targets: list[dict[str, Tensor]]) -> Any:
        y = self.fc(self.conv(torch.stack(images)).relu().mean((2, 3)))
        if self.training:
            wanted = torch.stack([one["box"] for one in targets])
            return {"box": nn.functional.smooth_l1_loss(y, wanted)}
        return [{"boxes": one[None]} for one in y]

    def example_inputs(self, batch: int) -> tuple[Any, ...]:
        images = [torch.rand(3, 20, 20) for _ in range(batch)]
        return images, [{"box": torch.rand(4)} for _ in range(batch)]


def quantised() -> Any:
    """(N, 16): linear layers in int8."""
    plain = nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 4))
    return torch.ao.quantization.quantize_dynamic(plain, {nn.Linear})
