"""The records that pass between the parts, and the columns of the files.

Three kinds of record: a `Case` is a point of the plan, an outcome (`Measurement` or `Failure`)
is what one replicate saw of it, a `Row` is what all replicates say together.  `Facts` are
figures that need no repetition (memory, FLOPs), found once per case in a process of their own.
"""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from bench.core.axes import AXES

SCHEMA_VERSION = 1

Status = Literal["ok", "unsupported", "invalid", "oom", "timeout", "crash", "error"]
STATUSES: tuple[Status, ...] = (
    "ok",
    "unsupported",
    "invalid",
    "oom",
    "timeout",
    "crash",
    "error",
)

FLAGS: Mapping[str, str] = {
    "contended": "other work took more of the processor than the samples can bear",
    "unsteady": "the times had not settled after the warm-up, or moved through the samples, or "
    "each call does more than the last",
    "noisy": "the replicates' interval is wider than the precision asked for (forward or step)",
    "few-replicates": "fewer replicates than asked for",
    "partial": "other replicates of the case failed",
    "throttled": "the device lowered its clocks for heat or a hardware fault",
    "implausible": "faster than the machine's measured peaks allow",
    "unverified": "the result could not be compared with a reference",
    "bimodal": "the replicates fall into two groups of times",
}

INFERENCE_PHASES = ("forward",)
TRAINING_PHASES = ("forward", "backward", "optimizer", "step")
# Of subjects as a whole on an accelerator, outside their steps: from and to memory of the host.
TRANSFER_PHASES = ("input_pageable", "input_pinned", "output_pageable", "output_pinned")


def whole_phase(mode: str) -> str:
    """The phase that stands for the whole case: the one with latency and throughput."""
    return "step" if mode == "training" else "forward"


def defaults_of_earlier(fields: Mapping[str, Any]) -> dict[str, str]:
    """The axes that results of earlier versions do not have, as they stood there."""
    if fields.get("mode") != "inference":
        return {}
    return {axis.name: str(axis.default) for axis in AXES if axis.later}


class RecordError(ValueError):
    """A line or a row that is none; the message says which field."""


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Case:
    """One point of the plan: a subject under settings.  None = the axis has no meaning here."""

    subject: str
    mode: str
    batch: int
    input: str
    device: str
    dtype: str
    amp: str
    memory_format: str
    compile: str
    cudnn_benchmark: str | None = None
    tf32: str | None = None
    threads: str | None = None
    allocator: str | None = None
    grad_mode: str | None = None  # of inference; None there = inference_mode

    @property
    def case_id(self) -> str:
        """Stable across runs and machines; to be joined on, never parsed."""
        parts = [self.subject]
        for axis in AXES:
            value = getattr(self, axis.name)
            if value is not None and not (axis.later and value == axis.default):
                parts.append(axis.in_id.format(str(value).replace(",", "x").replace(" ", "")))
        return ":".join(parts)

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> "Case":
        """From a JSON object, of an earlier version as well.  Raises RecordError."""
        try:
            case = cls(**{**defaults_of_earlier(fields), **fields})
        except TypeError as error:
            raise RecordError(f"not a case: {error}") from None
        if not isinstance(case.subject, str) or type(case.batch) is not int:
            raise RecordError(f"not a case: subject {case.subject!r}, batch {case.batch!r}")
        return case

    def as_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """The samples of one phase and kind in one replicate."""

    phase: str
    kind: str  # latency | pipelined | device
    calls_per_sample: int
    times_s: tuple[float, ...]  # per call


INFINITE = "infinite"  # of a Measurement's state: where the output is so, if anywhere


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One replicate of a case that ran."""

    case: Case
    replicate: int
    samples: tuple[Samples, ...]
    flags: tuple[str, ...] = ()
    facts: Mapping[str, float] = field(default_factory=dict)  # by column name; unknown: absent
    state: Mapping[str, Any] = field(default_factory=dict)  # as read back
    controls: Mapping[str, tuple[float, ...]] = field(default_factory=dict)  # seconds, by name
    wall_s: float = 0.0  # of the whole outcome, as its runner saw it
    timed_s: float = 0.0  # of it, warm-up and samples

    @property
    def doubts(self) -> dict[str, str]:
        """Why a flag is set, by flag, as far as its process has said it."""
        said = self.state.get("doubts")
        return {str(k): str(v) for k, v in said.items()} if isinstance(said, Mapping) else {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One replicate of a case that did not run, or must not be believed."""

    case: Case
    replicate: int
    status: Status
    reason: str
    state: Mapping[str, Any] = field(default_factory=dict)
    wall_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is found once per case, outside the timing."""

    case: Case
    facts: Mapping[str, float]
    problems: Mapping[str, str] = field(default_factory=dict)  # by fact: why it is unknown
    invalid: str | None = None  # the case computes something else: why its speed means nothing
    wall_s: float = 0.0


Outcome = Measurement | Failure
Entry = Measurement | Failure | Facts


def to_line(entry: Entry) -> str:
    """One line of JSON, without the newline."""
    head: dict[str, Any] = {"kind": type(entry).__name__.lower(), "case_id": entry.case.case_id}
    match entry:
        case Measurement():
            head |= {"replicate": entry.replicate, "status": "ok", "reason": None}
        case Failure():
            head |= {"replicate": entry.replicate}
        case Facts():
            pass
    # default=str would hide a tensor that slipped in: let json raise instead
    return json.dumps(head | dataclasses.asdict(entry), allow_nan=False, separators=(",", ":"))


def from_line(line: str) -> Entry:
    """The record of a journal line.  Raises RecordError."""
    try:
        fields = json.loads(line)
        kind = fields.pop("kind")
        fields.pop("case_id")
        fields["case"] = Case.of(fields["case"])
        if kind == "measurement":
            fields.pop("status"), fields.pop("reason")
            fields["samples"] = tuple(
                Samples(**{**one, "times_s": tuple(map(float, one["times_s"]))})
                for one in fields["samples"]
            )
            fields["flags"] = tuple(fields["flags"])
            fields["controls"] = {k: tuple(v) for k, v in fields["controls"].items()}
            return Measurement(**fields)
        if kind == "failure":
            return Failure(**fields)
        if kind == "facts":
            return Facts(**fields)
    except RecordError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise RecordError(f"not a journal line: {type(error).__name__}: {error}") from None
    raise RecordError(f"not a journal line: kind {kind!r}")


def _column(doc: str) -> Any:
    return field(default=None, metadata={"doc": doc})


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of measurements.csv: a phase of a case, over all its replicates.

    The fields are the columns, in order.  SI base units; unknown is None, an empty cell.
    """

    run_id: str | None = _column("the run directory's name")
    case_id: str | None = _column("identifies the case across runs and machines; join on it")
    subject: str | None = _column("what was called")
    mode: str | None = _column("inference or training")
    phase: str | None = _column(
        "forward, backward, optimizer or step; transfers of an accelerator: input_pageable, "
        "input_pinned, output_pageable, output_pinned; empty unless status is ok"
    )
    batch: int | None = _column("images per call")
    input: str | None = _column("input shape without the batch; own = the module's example_inputs")
    device: str | None = _column("cpu, cuda:0, …")
    dtype: str | None = _column(
        "of the weights and inputs; as-built = as the subject has them, inputs float32 where drawn"
    )
    amp: str | None = _column("autocast dtype, or off")
    memory_format: str | None = _column("contiguous or channels_last")
    compile: str | None = _column("mode of torch.compile, or off")
    cudnn_benchmark: str | None = _column("cuDNN's benchmark mode; empty without cuDNN")
    tf32: str | None = _column("TensorFloat-32; empty where the device has none")
    threads: str | None = _column("intra-op threads asked for; empty on accelerators")
    allocator: str | None = _column("of the CPU: retained or system; empty on accelerators")
    grad_mode: str | None = _column(
        "of inference: inference_mode, no_grad or enabled; empty for training"
    )
    status: str | None = _column("ok, unsupported, invalid, oom, timeout, crash or error")
    flags: str | None = _column("doubts about the row, joined by ;")
    reason: str | None = _column("why the status is not ok, or a flag is set, where known")
    replicates: int | None = _column("fresh interpreters that measured it")
    samples: int | None = _column("latency samples (device samples where a phase has no latency)")
    latency_median_s: float | None = _column(
        "one call, device idle before and after: geometric mean over replicates of their medians: s"
    )
    latency_low_s: float | None = _column(
        "low end of its 95 % interval, which includes what runs of one code differ by: s"
    )
    latency_high_s: float | None = _column("high end: s")
    latency_error_ratio: float | None = _column(
        "its standard error as the replicates of this run see it: SD of the logs of their medians "
        "/ root of their number"
    )
    latency_between_ratio: float | None = _column(
        "SD of its log from run to run, which the interval includes beside the error"
    )
    latency_min_s: float | None = _column("the fastest sample of all: s")
    latency_mean_s: float | None = _column("mean over all samples: s")
    latency_p90_s: float | None = _column(
        "90th percentile of these replicates' samples, from 29 on: s"
    )
    latency_p95_s: float | None = _column("95th percentile, from 59 on: s")
    latency_p99_s: float | None = _column("99th percentile, from 299 on: s")
    pipelined_s: float | None = _column(
        "per call when calls follow back to back, geometric mean over replicates as well: s"
    )
    pipelined_low_s: float | None = _column("low end of its 95 % interval, made likewise: s")
    pipelined_high_s: float | None = _column("high end: s")
    pipelined_error_ratio: float | None = _column("its standard error, likewise")
    pipelined_between_ratio: float | None = _column("SD of its log from run to run, likewise")
    earlier_runs: int | None = _column(
        "earlier runs of this machine and build that the two …_between_ratio come from; 0: none, "
        "they are the default; 2 to 4: the default counts beside them"
    )
    device_s: float | None = _column("between two events on the accelerator: s")
    images_per_s: float | None = _column("batch / pipelined_s: 1/s")
    first_call_s: float | None = _column("the first call of a process, compiling included: s")
    tuning_s: float | None = _column(
        "cuDNN's search: first call with this shape less a steady one: s"
    )
    compile_cold_s: float | None = _column("first call less a steady one, cache empty: s")
    compile_warm_s: float | None = _column("first call less a steady one, cache filled: s")
    parameters: int | None = _column("numbers in the module's parameters")
    peak_bytes: int | None = _column("most that the allocator had given out at once: B")
    reserved_bytes: int | None = _column("most that the allocator held from the device: B")
    process_peak_bytes: int | None = _column("most physical memory of the process: B")
    flops: int | None = _column(
        "floating-point operations of one call, convolutions and matrix products, multiply-add = 2"
    )
    flop_per_s: float | None = _column("flops / pipelined_s: 1/s")
    bytes_moved: int | None = _column(
        "least that must move: inputs, outputs, parameters, gradients once each, what backward "
        "needs of them again, and what the optimizer reads and writes: B"
    )
    bytes_per_s: float | None = _column("bytes_moved / pipelined_s: B/s")
    operators: int | None = _column("operators that one call dispatches")
    relative_error: float | None = _column("against float64 eager: norm of difference / norm")
    graph_breaks: int | None = _column("of the compiled module")
    recompiles: int | None = _column("of the compiled module while it was measured")
    layout_flips: int | None = _column("changes of memory format from layer to layer")
    page_faults: float | None = _column("minor page faults per call")
    contention_ratio: float | None = _column(
        "time that the most delayed thread waited for a processor / time"
    )
    control_s: float | None = _column(
        "geometric mean of two controls sampled in turn, a matrix product and a convolution: s"
    )
    sm_clock_hz: float | None = _column(
        "streaming-multiprocessor clock, read once right after the samples: Hz"
    )
    power_w: float | None = _column(
        "of the board: mean from its energy over warm-up, samples and controls where these take "
        "2 s or longer, else one reading after them; empty for a slice of it (MIG): W"
    )
    temperature_c: float | None = _column("temperature, read once after the samples: °C")
    gpu_utilization_ratio: float | None = _column(
        "share of the driver's last sampling period, a second or less, in which a kernel ran, "
        "read once right after the samples"
    )
    energy_j_per_image: float | None = _column(
        "of the board, over calls back to back for 2 s or longer / images: J"
    )
    device_name: str | None = _column("as its driver names it")
    torch_version: str | None = _column("torch.__version__")
    machine_id: str | None = _column("digest of the machine's stable facts")

    @property
    def flag_names(self) -> tuple[str, ...]:
        return tuple(flag for flag in (self.flags or "").split(";") if flag)


COLUMNS: tuple[str, ...] = tuple(column.name for column in dataclasses.fields(Row))
# Results that were written before there were these are read as if they were empty.
LATER_COLUMNS = frozenset(
    {f"{kind}_{what}_ratio" for kind in ("latency", "pipelined") for what in ("error", "between")}
    | {"earlier_runs"}
)
