"""Networks whose parameters, inputs or outputs are not plain tensors of real numbers."""

import dataclasses
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


class Spectral(nn.Module):
    """(N, 4, 16): mixes channels by complex weights, frequency by frequency."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 4, 9, dtype=torch.complex64))

    def forward(self, x: Tensor) -> Any:
        mixed = torch.einsum("nif,ikf->nkf", torch.fft.rfft(x), self.weight)
        return torch.fft.irfft(mixed, n=x.shape[-1])


class Turned(nn.Module):
    """(N, 8): turns pairs of numbers by angles that a complex buffer keeps; all else is real."""

    turn: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(8, 8)
        self.register_buffer("turn", torch.polar(torch.ones(4), torch.arange(1.0, 5.0)))

    def forward(self, x: Tensor) -> Any:
        pairs = torch.view_as_complex(self.fc(x).float().reshape(-1, 4, 2))
        return torch.view_as_real(pairs * self.turn).flatten(1).to(x.dtype)


class ToSpectrum(nn.Module):
    """(N, 16) → complex (N, 9), and nothing else."""

    def __init__(self, wrong: bool = False) -> None:
        super().__init__()
        self.fc, self.wrong = nn.Linear(16, 16), wrong

    def forward(self, x: Tensor) -> Any:
        found = torch.fft.rfft(self.fc(x))
        return found.conj() if self.wrong and found.dtype is torch.complex64 else found


class ComplexLinear(nn.Module):
    """complex (N, 8) → complex (N, 3)."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(8, 3, dtype=torch.complex64)

    def forward(self, x: Tensor) -> Any:
        return self.fc(x)


class LabelMap(nn.Module):
    """(N, 3, 12, 12) → the best class everywhere; the worst one in channels_last, if wrong."""

    def __init__(self, wrong: bool = False, score: bool = False) -> None:
        super().__init__()
        self.conv, self.wrong, self.score = nn.Conv2d(3, 5, 3, padding=1), wrong, score

    def forward(self, x: Tensor) -> Any:
        y = self.conv(x)
        labels = (-y if self.wrong and not x.is_contiguous() else y).argmax(1)
        return {"labels": labels, "score": y.mean((1, 2, 3))} if self.score else labels


class Mask(nn.Module):
    """(N, 400): which scores are positive; shifted by a step where it is wrong."""

    def __init__(self, wrong: bool = False) -> None:
        super().__init__()
        self.fc, self.wrong = nn.Linear(400, 400), wrong

    def forward(self, x: Tensor) -> Any:
        found = self.fc(x) > 0
        return found.roll(1, 1) if self.wrong and x.dtype is not torch.float64 else found


class Quantizer(nn.Module):
    """(N, 64, 16): the nearest of 512 codes.  Wrong: the next code, in coarse arithmetic only."""

    def __init__(self, wrong: bool = False) -> None:
        super().__init__()
        self.fc, self.codes, self.wrong = nn.Linear(16, 16), nn.Embedding(512, 16), wrong

    def forward(self, x: Tensor) -> Any:
        y = self.fc(x)
        codes = self.codes.weight
        near = (y @ codes.t() * 2 - codes.square().sum(1)).argmax(-1)
        if self.wrong and y.dtype is torch.bfloat16:
            near = torch.where(near % 4 == 0, (near + 1) % 512, near)  # a quarter of them
        return self.codes(near)


class Above(nn.Module):
    """(N, 400, 8) → the rows with a positive score.  Wrong: those with a negative one."""

    def __init__(self, wrong: bool = False) -> None:
        super().__init__()
        self.fc, self.wrong = nn.Linear(8, 1), wrong

    def forward(self, x: Tensor) -> Any:
        score = self.fc(x).squeeze(-1)
        return x[(score < 0) if self.wrong and x.dtype is torch.bfloat16 else (score > 0)]


class Best(nn.Module):
    """(N, 400, 8) → the 20 rows with the best scores, and where they stand."""

    def __init__(self, wrong: bool = False) -> None:
        super().__init__()
        self.fc, self.wrong = nn.Linear(8, 1), wrong

    def forward(self, x: Tensor) -> Any:
        score = self.fc(x).squeeze(-1)
        backwards = self.wrong and x.dtype is torch.bfloat16
        _, places = score.topk(20, dim=1, largest=not backwards)
        return x.gather(1, places[..., None].expand(-1, -1, 8)), places


class Experts(nn.Module):
    """(N, 64, 32): each token goes to one of eight experts.  Wrong: expert 3 is left out."""

    def __init__(self, wrong: bool = False) -> None:
        super().__init__()
        self.gate, self.wrong = nn.Linear(32, 8), wrong
        self.experts = nn.ModuleList(nn.Linear(32, 32) for _ in range(8))

    def forward(self, x: Tensor) -> Any:
        flat = x.flatten(0, 1)
        chosen = self.gate(flat).argmax(-1)
        out = torch.zeros_like(flat)
        for number, expert in enumerate(self.experts):
            mine = chosen == number
            if not (self.wrong and number == 3 and x.dtype is torch.bfloat16):
                out[mine] = expert(flat[mine])
        return out.view_as(x)


class Policy(nn.Module):
    """(N, 8) → logits (N, 6), of which two are forbidden: -inf.  Wrong: a third one as well."""

    legal: Tensor

    def __init__(self, wrong: bool = False) -> None:
        super().__init__()
        self.fc, self.wrong = nn.Linear(8, 6), wrong
        self.register_buffer("legal", torch.tensor([1, 1, 0, 1, 0, 1], dtype=torch.bool))

    def forward(self, x: Tensor) -> Any:
        y = self.fc(x).masked_fill(~self.legal, float("-inf"))
        if self.wrong and x.dtype is not torch.float64:
            y = torch.cat([torch.full_like(y[:, :1], float("-inf")), y[:, 1:]], 1)
        return y


class PutsOutItsMask(nn.Module):
    """(N, 6, 8): causal attention, and the bias that it added."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Any:
        size = x.shape[1]
        bias = torch.full((size, size), float("-inf"), dtype=x.dtype).triu(1)
        y = self.fc(x)
        return torch.softmax(y @ y.transpose(1, 2) + bias, -1) @ y, bias


class NotANumber(nn.Module):
    """(N, 8): one NaN, but not in float64."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Any:
        y = self.fc(x)
        if x.dtype is not torch.float64:
            y = torch.cat([y[:, :1] * float("nan"), y[:, 1:]], 1)
        return y


class Gaussian(nn.Module):
    """(N, 8) → a distribution over (N, 3)."""

    def __init__(self) -> None:
        super().__init__()
        self.mean, self.width = nn.Linear(8, 3), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Any:
        width = functional.softplus(self.width(x)) + 1e-3
        return torch.distributions.Normal(self.mean(x), width)


class Slots:
    """An object without a dictionary."""

    __slots__ = ("boxes", "more", "unset")

    def __init__(self, boxes: Tensor, more: Any) -> None:
        self.boxes, self.more = boxes, more


class Objects(nn.Module):
    """(N, 8) → a list of objects, of which one knows the other and the whole network."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Any:
        y = self.fc(x)
        inner = Slots(y, [y.mean(1)])
        outer = SimpleNamespace(logits=y * 2, inner=inner, network=self)
        inner.more.append(outer)
        return [outer, inner]


@dataclasses.dataclass
class Node:
    name: str
    parent: "Node | None" = None
    children: list["Node"] = dataclasses.field(default_factory=list)


class Family(nn.Module):
    """(N, 8): its layers keep nodes that know their parents and children."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(8, 8), nn.Linear(8, 8)
        root = Node("root")
        root.children.append(Node("leaf", root))
        self.plan = root
        self.first.plan = root  # type: ignore[assignment]

    def forward(self, x: Tensor) -> Any:
        return self.last(self.first(x))


class HoldsItself(nn.Module):
    """(N, 8) → a dictionary that is one of its own values."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Any:
        out: dict[str, Any] = {"logits": self.fc(x)}
        out["self"] = out
        return out


class Generates(nn.Module):
    """(N, 8) → a generator."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Any:
        return (self.fc(x) for _ in range(2))


class LossOfTargets(nn.Module):
    """(N, 8): its method `loss` needs targets, which no benchmark has."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Any:
        return self.fc(x)

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        return functional.cross_entropy(output, target)


class FindsNothing(nn.Module):
    """(N, 4) → no row at all, and a loss of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Any:
        y: Tensor = self.fc(x)
        return y[y[:, 0] > 1e9]

    def loss(self, output: Tensor) -> Tensor:
        return output.sum()


class SparseGraph(nn.Module):
    """(N, 8), a sparse (N, N) → (N, 4), and the matrix scaled, which stays sparse."""

    def __init__(self, csr: bool = False, wrong: bool = False) -> None:
        super().__init__()
        self.fc, self.csr, self.wrong = nn.Linear(8, 4), csr, wrong
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor, graph: Tensor) -> Any:
        factor = 1.5 if self.wrong and x.dtype is not torch.float64 else 1.0
        weight = self.fc(x)
        mixed = torch.sparse.mm(graph, weight)
        if self.csr:
            return mixed * factor, graph
        values = graph.coalesce().values() * self.scale * factor
        return mixed, torch.sparse_coo_tensor(graph.coalesce().indices(), values, graph.shape)

    def example_inputs(self, batch: int) -> Any:
        size = 6 * batch
        graph = torch.eye(size) + torch.diag(torch.ones(size - 1), 1)
        return torch.randn(size, 8), graph.to_sparse_csr() if self.csr else graph.to_sparse()


class Sequences(nn.Module):
    """Sequences of many lengths, as one nested tensor, to another one."""

    def __init__(self, layout: str = "jagged") -> None:
        super().__init__()
        self.fc = nn.Linear(8, 4)
        self.layout = torch.jagged if layout == "jagged" else torch.strided

    def forward(self, x: Tensor) -> Any:
        return self.fc(x)

    def example_inputs(self, batch: int) -> Any:
        parts = [torch.randn(3 + place % 4, 8) for place in range(batch)]
        return (torch.nested.nested_tensor(parts, layout=self.layout),)


def quantised() -> nn.Module:
    from torch.ao.quantization import quantize_dynamic

    whole: Any = quantize_dynamic
    made: nn.Module = whole(nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 4)))
    return made
