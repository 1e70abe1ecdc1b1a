"""The records that the packages exchange, and the columns of the files.

A `Case` is one point of the plan.  An outcome (`Measurement` or `Failure`) is its result in one
replicate.  A `Row` joins the results of all replicates.  `StaticMetrics` (memory, FLOPs) are found
once for each case, in a process of their own.
"""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from bench.core.axes import AXES

SCHEMA_VERSION = 1

# Pydantic's settings for reading records (`bench.core.decode`), without pydantic.
STRICT: Mapping[str, Any] = {"strict": True, "allow_inf_nan": False}

# Field of a record → its key in the journals, if that is an older word.  Another key would make the
# files of earlier versions unreadable.
STORED_KEYS: Mapping[str, str] = {"metrics": "facts"}

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
    "contended": "other work on the machine took processor time, or used the GPU, during the "
    "samples",
    "unsteady": "the times had not settled after the warm-up, or moved through the samples, or "
    "each call does more than the last",
    "parallel": "other devices of the machine were measured at the same time (--parallel-devices)",
    "growing": "the calls are not alike on any machine: each one does more than the last, "
    "leaves more behind, or changes its inputs",
    "noisy": "the replicates' interval is wider than the precision asked for (forward or step)",
    "few-replicates": "fewer replicates than asked for; where least_replicates is set, than that",
    "partial": "other replicates of the case failed",
    "launch-bound": "the host takes at least 90 % of the time of the calls to issue them, so the "
    "device waits for it",
    "throttled": "the device lowered its clocks for heat or a hardware fault",
    "implausible": "faster than the machine's measured peaks allow",
    "unverified": "the result could not be compared with a reference",
    "bimodal": "the replicates fall into two groups of times",
}

# A working set counts as main memory from so many times the last cache on: at most a quarter of it
# can still be in the cache, and walked from end to end again and again, less (LRU: nothing).
BEYOND_CACHE = 4

INFERENCE_PHASES = ("forward",)
TRAINING_PHASES = ("forward", "backward", "optimizer", "step")
# Phases of whole subjects on an accelerator, outside their steps: copies from and to the host.
TRANSFER_PHASES = ("input_pageable", "input_pinned", "output_pageable", "output_pinned")


def whole_phase(mode: str) -> str:
    """Return the phase that covers the whole call: the one with latency and throughput."""
    return "step" if mode == "training" else "forward"


def defaults_of_earlier(fields: Mapping[str, Any]) -> dict[str, str]:
    """Return the values of the axes that are missing in results of earlier versions."""
    if fields.get("mode") != "inference":
        return {}
    return {axis.name: str(axis.default) for axis in AXES if axis.later}


# The cause of a failure that decides what the runner does: `disk-full` on the disk of the child, or
# `together` if both sides of a comparison do not fit into memory at once.
Cause = Literal["disk-full", "together"]


class RecordError(ValueError):
    """A line or a row that cannot be read; the message names the field."""


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Case:
    """One point of the plan: a subject under settings.  None = the axis has no meaning here."""

    # A field of a later version would make two cases one.
    __pydantic_config__: ClassVar[Mapping[str, Any]] = {**STRICT, "extra": "forbid"}

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
    grad_mode: str | None = None  # of inference

    def __post_init__(self) -> None:
        for name, value in defaults_of_earlier({"mode": self.mode}).items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)

    @property
    def case_id(self) -> str:
        """Return the id, equal on all machines and in all runs.  Join on it; do not parse it."""
        parts = [self.subject]
        for axis in AXES:
            value = getattr(self, axis.name)
            if value is not None and not (axis.later and value == axis.default):
                parts.append(axis.in_id.format(str(value).replace(",", "x").replace(" ", "")))
        return ":".join(parts)

    def as_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """The samples of one phase and kind in one replicate."""

    phase: str
    kind: str  # latency | pipelined | device
    calls_per_sample: int
    times_s: tuple[float, ...]  # per call


HOST_TIMES = "host_times"  # key of a Measurement's state: why a device has no times of its own
MISSED_BY_EVENTS = "missed_by_events"  # likewise: why this case has none on such a device
INFINITE = "infinite"  # key of a Measurement's state: where the output is infinite
NODE = "node"  # key of an outcome's state: which of several machines of one kind measured it


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One replicate of a case that ran."""

    case: Case
    replicate: int
    samples: tuple[Samples, ...]
    flags: tuple[str, ...] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)  # by column name; unknown: absent
    state: Mapping[str, Any] = field(default_factory=dict)  # as read back
    controls: Mapping[str, tuple[float, ...]] = field(default_factory=dict)  # seconds, by name
    controls_s: float = 0.0  # that they took, with their untimed calls; 0 in older journals
    wall_s: float = 0.0  # of the whole outcome, as its runner saw it
    timed_s: float = 0.0  # of it, warm-up and samples
    warmup_s: float = 0.0  # of that, warm-up; 0 in journals that do not tell
    looking_s: float = 0.0  # of wall_s: calls that later replicates of a slow case do not make
    kind: Literal["measurement"] = "measurement"

    @property
    def doubts(self) -> dict[str, str]:
        """Return the reason for each flag for which the worker gave one."""
        said = self.state.get("doubts")
        return {str(k): str(v) for k, v in said.items()} if isinstance(said, Mapping) else {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One replicate of a case that did not run, or whose result cannot be trusted."""

    case: Case
    replicate: int
    status: Status
    reason: str
    cause: Cause | None = None
    log: str | None = None  # file in the folder `failures` with the end of what it printed
    state: Mapping[str, Any] = field(default_factory=dict)
    wall_s: float = 0.0
    kind: Literal["failure"] = "failure"

    @property
    def told(self) -> str:
        """The reason, and where there is more to read."""
        return f"{self.reason} (failures/{self.log})" if self.log else self.reason


@dataclass(frozen=True, slots=True, kw_only=True)
class StaticMetrics:
    """The static metrics of a case by column name, found once and outside the timing."""

    case: Case
    metrics: Mapping[str, float]
    problems: Mapping[str, str] = field(default_factory=dict)  # by metric: why it is unknown
    invalid: str | None = None  # reason, where the case computes something else
    # The time limit that ended some of it: a resume with a longer one tries again.
    limit_s: float | None = None
    wall_s: float = 0.0
    kind: Literal["facts"] = "facts"  # as the journal has it


Outcome = Measurement | Failure
Entry = Measurement | Failure | StaticMetrics


def stored_key(field_name: str) -> str:
    return STORED_KEYS.get(field_name, field_name)


def stored_fields(record: Any) -> dict[str, Any]:
    """Return the fields of a dataclass by the keys that the journals have for them."""
    return {stored_key(name): value for name, value in dataclasses.asdict(record).items()}


def to_line(entry: Entry) -> str:
    """Return one line of JSON, without the newline."""
    head: dict[str, Any] = {"kind": entry.kind, "case_id": entry.case.case_id}
    match entry:
        case Measurement():
            head |= {"replicate": entry.replicate, "status": "ok", "reason": None}
        case Failure():
            head |= {"replicate": entry.replicate}
        case StaticMetrics():
            pass
    # default=str would hide a tensor that slipped in: let json raise instead
    return json.dumps(head | stored_fields(entry), allow_nan=False, separators=(",", ":"))


def _column(doc: str) -> Any:
    return field(default=None, metadata={"doc": doc})


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of measurements.csv: a phase of a case, over all its replicates.

    The fields are the columns, in order.  SI base units; unknown is None, an empty cell.
    """

    run_id: str | None = _column("name of the run directory")
    case_id: str | None = _column("identifies the case in all runs and on all machines; join on it")
    subject: str | None = _column("what was measured")
    mode: str | None = _column("inference or training")
    phase: str | None = _column(
        "forward, backward, optimizer or step; transfers of an accelerator: input_pageable, "
        "input_pinned, output_pageable, output_pinned; empty unless status is ok"
    )
    batch: int | None = _column("images per call")
    input: str | None = _column(
        "input shape without the batch dimension; own = the module's example_inputs"
    )
    device: str | None = _column("cpu, cuda:0, …")
    dtype: str | None = _column(
        "dtype of weights and inputs; as-built = that of the subject, with random inputs in float32"
    )
    amp: str | None = _column("autocast dtype, or off")
    memory_format: str | None = _column("contiguous or channels_last")
    compile: str | None = _column("mode of torch.compile, or off")
    cudnn_benchmark: str | None = _column("cuDNN's benchmark mode; empty without cuDNN")
    tf32: str | None = _column(
        "TensorFloat-32: default (as torch comes: in convolutions, not in matrix products), off or "
        "on; empty where the device has none"
    )
    threads: str | None = _column(
        "number of intra-op threads that was requested; empty on accelerators"
    )
    allocator: str | None = _column(
        "C library's allocator: retained or system; empty on accelerators"
    )
    grad_mode: str | None = _column(
        "grad mode of inference: inference_mode, no_grad or enabled; empty for training"
    )
    status: str | None = _column("ok, unsupported, invalid, oom, timeout, crash or error")
    flags: str | None = _column("doubts about the row, joined by ;")
    reason: str | None = _column("why the status is not ok, or why a flag is set, if known")
    replicates: int | None = _column("number of fresh interpreters that measured the case")
    nodes: int | None = _column(
        "number of machines of one kind that measured the case; their spread is the standard "
        "error of a time; empty for a single machine"
    )
    samples: int | None = _column(
        "number of latency samples (of device samples if a phase has no latency)"
    )
    latency_median_s: float | None = _column(
        "one call, with an idle device before and after: geometric mean of the replicates' "
        "medians: s"
    )
    latency_low_s: float | None = _column(
        "low end of its 95 % interval, which includes the between-run SD: s"
    )
    latency_high_s: float | None = _column("high end of that interval: s")
    latency_error_ratio: float | None = _column(
        "standard error from the replicates of this run: SD of the logs of their medians / "
        "root of their number"
    )
    latency_between_ratio: float | None = _column(
        "between-run SD of its logarithm, which the interval includes as well"
    )
    latency_corrected_ratio: float | None = _column(
        "between-run SD of its logarithm at the usual level of the controls; the interval "
        "includes it instead; empty if the time stays as measured"
    )
    latency_min_s: float | None = _column("fastest sample of all: s")
    latency_mean_s: float | None = _column("mean over all samples: s")
    latency_p90_s: float | None = _column(
        "90th percentile of these replicates' samples; empty below 29 samples: s"
    )
    latency_p95_s: float | None = _column("95th percentile; empty below 59 samples: s")
    latency_p99_s: float | None = _column("99th percentile; empty below 299 samples: s")
    pipelined_s: float | None = _column(
        "time per call of calls back-to-back: geometric mean of the replicates' medians: s"
    )
    pipelined_low_s: float | None = _column(
        "low end of its 95 % interval, which includes the between-run SD: s"
    )
    pipelined_high_s: float | None = _column("high end of that interval: s")
    pipelined_error_ratio: float | None = _column("standard error from the replicates of this run")
    pipelined_between_ratio: float | None = _column("between-run SD of its logarithm")
    pipelined_corrected_ratio: float | None = _column(
        "between-run SD of its logarithm at the usual level of the controls, as for the latency"
    )
    earlier_runs: int | None = _column(
        "number of earlier runs of this machine and build behind the two …_between_ratio; 0: "
        "the default is used; 2 to 4: the default is mixed in"
    )
    device_s: float | None = _column("time between two events on the accelerator: s")
    host_issue_s: float | None = _column(
        "the host's time to issue one of the calls back-to-back, before it waits for the device; "
        "empty on a CPU, and where the call waits for the device itself: s"
    )
    images_per_s: float | None = _column("batch / pipelined_s: 1/s")
    process_start_s: float | None = _column(
        "from the start of a process until its accelerator is open (the context of CUDA), imports "
        "aside; libraries that load later are in first_call_s; empty on a CPU: s"
    )
    first_call_s: float | None = _column(
        "first call of a process, including compiling and cuDNN's search: s"
    )
    tuning_s: float | None = _column(
        "cuDNN's search: first call in benchmark mode, after one without, minus a steady call: s"
    )
    compile_cold_s: float | None = _column(
        "first call minus a steady call, with an empty compiler cache and one compiler thread, "
        "unless TORCHINDUCTOR_COMPILE_THREADS says more; without torch's check for vector "
        "instructions, where cases are forked: s"
    )
    compile_warm_s: float | None = _column(
        "first call minus a steady call, with a filled compiler cache: s"
    )
    parameters: int | None = _column("numbers in the module's parameters")
    largest_batch: int | None = _column(
        "largest batch of this case that fits, as `--batch max` found it; empty without it; how "
        "near the next batch was that does not fit is in run.json"
    )
    peak_bytes: int | None = _column("most memory that the allocator had given out at once: B")
    reserved_bytes: int | None = _column("most memory that the allocator held from the device: B")
    process_peak_bytes: int | None = _column("most physical memory of the process: B")
    flops: int | None = _column(
        "floating-point operations of one call, in convolutions and matrix products, "
        "multiply-add = 2"
    )
    flop_per_s: float | None = _column("flops / pipelined_s: 1/s")
    bytes_moved: int | None = _column(
        "least number of bytes that must move: inputs, outputs, parameters and gradients once "
        "each, the values that the backward pass reads again, and the optimizer's reads and "
        "writes: B"
    )
    bytes_per_s: float | None = _column("bytes_moved / pipelined_s: B/s")
    operators: int | None = _column("number of operators that one call dispatches")
    relative_error: float | None = _column(
        "error against float64 eager code: norm of the difference / norm"
    )
    graph_breaks: int | None = _column("graph breaks of the compiled module")
    recompiles: int | None = _column("recompiles of the compiled module during the measurement")
    layout_flips: int | None = _column("changes of memory format from layer to layer")
    page_faults: float | None = _column("minor page faults per call")
    instructions: float | None = _column(
        "instructions of one call in user mode, over all threads; empty where the processor's "
        "counters are not visible, as in most virtual machines"
    )
    cycles: float | None = _column("cycles of the processors in one call, in user mode, likewise")
    contention_ratio: float | None = _column(
        "time that the most delayed thread waited for a processor / time of the samples"
    )
    control_s: float | None = _column(
        "geometric mean of two controls (a matrix product and a convolution) measured in turns "
        "with the samples, and over replicates: s"
    )
    control_factor: float | None = _column(
        "factor by which the times of calls in this row (latency_…_s, pipelined_s, device_s) were "
        "moved to the usual level of the controls; rates were divided by it; 1: as measured"
    )
    sm_clock_hz: float | None = _column(
        "streaming-multiprocessor clock, read once right after the samples: Hz"
    )
    power_w: float | None = _column(
        "power of the board of a GPU, or on a CPU of all processor packages (RAPL, where it may be "
        "read; other work is in it): mean from its energy over warm-up, samples and controls if "
        "these take 2 s or longer, else one reading after them; empty for a slice of a board "
        "(MIG): W"
    )
    temperature_c: float | None = _column("temperature, read once after the samples: °C")
    gpu_utilization_ratio: float | None = _column(
        "share of the driver's last sampling period (a second or less) in which a kernel ran, "
        "read once right after the samples"
    )
    energy_j_per_image: float | None = _column(
        "energy of the board, or of the processor packages, over calls back-to-back for 2 s or "
        "longer / images: J"
    )
    device_name: str | None = _column("name that the driver reports")
    torch_version: str | None = _column("torch.__version__")
    machine_id: str | None = _column("digest of the machine's stable details")

    @property
    def flag_names(self) -> tuple[str, ...]:
        return tuple(flag for flag in (self.flags or "").split(";") if flag)


COLUMNS: tuple[str, ...] = tuple(column.name for column in dataclasses.fields(Row))
# Metrics that the worker finds, and that earlier results lack.
LATER_METRICS = frozenset({"host_issue_s", "process_start_s", "instructions", "cycles"})
# Results that were written before there were these are read as if they were empty.
LATER_COLUMNS = frozenset(
    {
        f"{kind}_{what}_ratio"
        for kind in ("latency", "pipelined")
        for what in ("error", "between", "corrected")
    }
    | {"earlier_runs", "control_factor", "largest_batch", "nodes"}
    | LATER_METRICS
)
