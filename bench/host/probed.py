"""The answer of a probe: this machine, its devices, and the subjects."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from bench.core.records import STRICT

OF_WEIGHTS = "weights "  # the name of a source that is no module begins so


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuDetails:
    """A GPU of CUDA or ROCm beyond its name.  None: torch and the driver do not tell."""

    driver: str | None = None
    capability: str | None = None  # of CUDA: 9.0
    memory_bytes: int | None = None
    power_limit_w: float | None = None
    persistence: bool | None = None  # the driver stays loaded while no process uses the GPU
    mig: bool | None = None  # the board is sliced (Multi-Instance GPU)


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A device that torch can compute on."""

    name: str  # cpu, cuda:0
    shown: str  # as its driver names it
    has_cudnn: bool = False
    has_tf32: bool = False
    has_bfloat16: bool = True  # False: a CPU without instructions for it, which emulates it
    memory_bytes: int | None = None
    compile_lacks: str | None = None  # what torch.compile needs on an accelerator and does not find
    compile_mend: str | None = None
    gpu: GpuDetails | None = None

    @property
    def type(self) -> str:
        return self.name.partition(":")[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A layer that the subject calls."""

    name: str  # dotted; name#2 for a second call
    alias: str | None
    type: str
    same_as: tuple[str, ...] = ()  # names and aliases of equal layers, measured once
    calls: int = 1  # of this and the equal ones, in one call of the subject
    work: float = 0.0  # of one of these, about, in multiply-adds

    @property
    def shown(self) -> str:
        return self.alias or self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class SubjectFound:
    """A subject as built by the probe."""

    error: str | None = None  # no such subject
    raised: str | None = None  # there is one, and its own code raised, or ended or hung the probe
    missing: str | None = None  # the module that its import does not find
    has_inputs: bool = False  # it has example_inputs
    fixed_batch: int | None = None  # of example_inputs, where its argument changes nothing
    guessed: str | None = None  # an input that it takes, where it has no example_inputs
    parameters: int | None = None
    file: str | None = None  # where its code lies
    layers: tuple[Layer, ...] = ()  # what SUBJECT/* stands for
    modules: tuple[Layer, ...] = ()  # further modules that it calls
    layers_error: str | None = None

    @classmethod
    def unknown(cls, why: str) -> Self:
        """Return a subject that could not be probed; its rows will say why."""
        return cls(raised=why, layers_error=why, has_inputs=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A module of the user's own, as it was imported."""

    file: str
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """The result of the probe: all that the plan has to know."""

    __pydantic_config__: ClassVar[Mapping[str, Any]] = STRICT

    torch: str
    torch_details: Mapping[str, Any]  # for run.json
    devices: Mapping[str, Device]
    subjects: Mapping[str, SubjectFound]
    # Module → source of the modules of the subjects that are neither installed nor this project's.
    sources: Mapping[str, Source] = dataclasses.field(default_factory=dict)
    no_gpu: str | None = None  # why torch finds no GPU, or not all, and what to do

    @property
    def names(self) -> dict[str, str]:
        """The name that the driver reports, by device."""
        return {name: one.shown for name, one in self.devices.items()}

    @property
    def accelerators(self) -> dict[str, str]:
        """Return the names that drivers report, by device, without the CPU."""
        return {name: shown for name, shown in self.names.items() if name != "cpu"}

    @property
    def gpus(self) -> dict[str, dict[str, Any]]:
        """The details of each GPU for run.json, by device; unknown details are left out."""
        return {
            name: {
                key: value
                for key, value in dataclasses.asdict(one.gpu).items()
                if value is not None
            }
            for name, one in self.devices.items()
            if one.gpu is not None
        }

    @property
    def modules(self) -> dict[str, Source]:
        """The sources without a file of weights."""
        return {name: one for name, one in self.sources.items() if not name.startswith(OF_WEIGHTS)}

    @property
    def digests(self) -> dict[str, str]:
        """The digests of the sources for run.json, without their folders on this machine."""
        return {name: one.digest for name, one in self.sources.items()}
