"""The axes of a sweep, declared once.

Flags, TOML keys, the plan, `case_id`, `--by`, the names of settings and the lists of axes that a
command uses are all made from `AXES`.  CONTRIBUTING.md lists what else a new axis needs.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Literal

from bench.core.near import did_you_mean

# Names that values have elsewhere, for messages.
OTHER_NAMES = {
    "fp16": "float16",
    "half": "float16",
    "bf16": "bfloat16",
    "fp32": "float32",
    "float": "float32",
    "nchw": "contiguous",
    "nhwc": "channels_last",
    "eval": "inference",
    "forward": "inference",
    "train": "training",
    "eager": "off",
    "true": "on",
    "false": "off",
    "malloc": "system",
    "mixed": "default",
}


# The cases in which an axis means something.  Other cases have None for it.
Meaning = Literal["everywhere", "cpu", "cudnn", "tf32", "inference"]

# The value of `allocator` that a process has without this suite, in the words of tables and plots.
AS_PLAIN_PROCESS = "as a plain process"


class AxisError(ValueError):
    """A value that its axis does not have; the message says what is expected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """One setting of a case; the order of `AXES` is the order of settings in every table."""

    name: str
    help: str
    values: tuple[str, ...] = ()  # all allowed values, the plain one first; () = see `pattern`
    default: str | None = None  # without a flag or a TOML key; None = the plan finds it
    pattern: str = ""  # that a value must match where `values` is empty
    example: str = ""
    in_id: str = "{}"  # format of the value in a case_id
    # The axis is newer than some results, in which its default held.  The default is left out of
    # case_id, so that the ids of earlier results do not change.
    later: bool = False
    meaning: Meaning = "everywhere"
    at_start: bool = False  # a process has its value from its start on, or once for all
    searched: bool = False  # by `bench tune`
    compared: bool = False  # the summary of `bench run` may have a table of its speedups
    title: str = ""  # in tables and plots; empty = the name
    value_words: Mapping[str, str] = field(default_factory=dict)  # value → its name with the title
    value_alone: bool = False  # the values speak for themselves: `channels_last`

    @property
    def flag(self) -> str:
        return "--" + self.name.replace("_", "-")

    @property
    def of_device(self) -> bool:
        """Return whether some devices have it and others do not."""
        return self.meaning in ("cpu", "cudnn", "tf32")

    def means_something(self, *, mode: str, on_cpu: bool, cudnn: bool, tf32: bool) -> bool:
        """Return whether the axis means something for this mode on this kind of device."""
        holds: dict[Meaning, bool] = {
            "everywhere": True,
            "cpu": on_cpu,
            "cudnn": cudnn,
            "tf32": tf32,
            "inference": mode == "inference",
        }
        return holds[self.meaning]

    def words(self, value: str) -> str:
        """Return the name of a value in tables and plots: `TF32`, `cuDNN benchmark off`."""
        if value in self.value_words:
            return self.value_words[value]
        return value if self.value_alone else f"{self.title or self.name} {value}"

    def check(self, value: object) -> str:
        """Return the value as text in its normal form.  Raises AxisError."""
        if isinstance(value, bool):  # TOML's `amp = false` is clear enough
            value = "on" if value else "off"
        text = str(value).strip()
        if self.values and text not in self.values:
            expected = ", ".join(self.values)
            near = did_you_mean(text, self.values, OTHER_NAMES)
            raise AxisError(f"{self.name} is {text!r}; expected one of {expected}{near}")
        if self.pattern and not re.fullmatch(self.pattern, text):
            raise AxisError(f"{self.name} is {text!r}; expected e.g. {self.example}")
        return text


MAX_BATCH = "max"  # a value of the axis batch, for which a number is found
AS_BUILT = "as-built"  # a value of the axis dtype: the module keeps the dtypes it was built with

_DTYPE = (
    r":(?:float16|float32|float64|bfloat16|complex64|complex128|bool|uint8|int8|int16|int32|int64)"
    r"(?:<[1-9][0-9]*)?"
)
_INPUT = rf"[1-9][0-9]*(?:,[1-9][0-9]*)*(?:{_DTYPE})?|{_DTYPE}"

AXES: tuple[Axis, ...] = (
    Axis(
        name="mode",
        help="what one call does: inference (a forward pass) or training (a whole step)",
        values=("inference", "training"),
        default="inference",
    ),
    Axis(
        name="batch",
        help="number of images per call; max = the most that fit into memory, found by trying",
        pattern=rf"{MAX_BATCH}|[1-9][0-9]{{0,6}}",
        example="32, at most 9999999, or max",
        default="32",
        in_id="b{}",
    ),
    Axis(
        name="input",
        help="input shape without the batch dimension, e.g. '3,224,224' or "
        "'3,224,224; 10:int64<1000' (two inputs, the second of integers below 1000)",
        pattern=rf"own|(?:{_INPUT})(?:\s*;\s*(?:{_INPUT}))*",
        example="3,224,224 or '3,224,224; 10:int64<1000'",
    ),
    Axis(
        name="device",
        help="cpu, cuda:0, mps or xpu:0; auto = the CPU and the first accelerator of each "
        "name; all = every device",
        pattern=r"[a-z]+(?::[0-9]+)?",
        example="cpu, cuda:0, auto or all",
        default="auto",
        compared=True,
        value_alone=True,
    ),
    Axis(
        name="dtype",
        help="dtype of weights and inputs; as-built keeps those that the network was built with",
        values=("float32", "bfloat16", "float16", AS_BUILT),
        default="float32",
        searched=True,
    ),
    Axis(
        name="amp",
        help="autocast to this dtype inside each call",
        values=("off", "bfloat16", "float16"),
        default="off",
        in_id="amp={}",
        searched=True,
        compared=True,
    ),
    Axis(
        name="memory_format",
        help="memory layout of images and of 4-dimensional weights",
        values=("contiguous", "channels_last"),
        default="contiguous",
        searched=True,
        compared=True,
        value_alone=True,
    ),
    Axis(
        name="compile",
        help="mode of torch.compile; off = eager",
        values=(
            "off",
            "default",
            "reduce-overhead",
            "max-autotune",
            "max-autotune-no-cudagraphs",
        ),
        default="off",
        in_id="compile={}",
        at_start=True,
        searched=True,
        compared=True,
    ),
    Axis(
        name="cudnn_benchmark",
        help="on = cuDNN tries its algorithms for each shape and keeps the fastest",
        values=("off", "on"),
        default="off",
        in_id="cudnn={}",
        meaning="cudnn",
        searched=True,
        compared=True,
        title="cuDNN benchmark",
        value_words={"on": "cuDNN benchmark"},
    ),
    Axis(
        name="tf32",
        help="TensorFloat-32: default = as torch comes: convolutions, no matrix products; "
        "off or on = both",
        values=("default", "off", "on"),
        default="default",
        in_id="tf32={}",
        meaning="tf32",
        searched=True,
        compared=True,
        title="TF32",
        value_words={"on": "TF32"},
    ),
    Axis(
        name="threads",
        help="number of CPU threads (intra-op); auto = torch's own choice",
        pattern=r"auto|[1-9][0-9]{0,3}",
        example="2 or auto",
        default="auto",
        in_id="t={}",
        meaning="cpu",
        searched=True,
    ),
    Axis(
        name="allocator",
        help="CPU memory: retained = freed memory stays in the process; system = the C library's "
        "defaults",
        values=("retained", "system"),
        default="retained",
        meaning="cpu",
        at_start=True,
        compared=True,
        value_words={"system": AS_PLAIN_PROCESS},
    ),
    Axis(
        name="grad_mode",
        help="autograd in inference: off (inference_mode), off unless the network turns it on "
        "(no_grad), or on (enabled)",
        values=("inference_mode", "no_grad", "enabled"),
        default="inference_mode",
        in_id="grad={}",
        later=True,
        meaning="inference",
    ),
)


def allows_tf32(value: str | None) -> bool:
    """Return whether some operation may use TensorFloat-32 with this value of its axis."""
    return value in ("default", "on")


BY_NAME: Mapping[str, Axis] = {axis.name: axis for axis in AXES}


def plainest(axis: Axis, there: Collection[str]) -> str:
    """Return the value that "plain" means where these values occur."""
    wanted = [axis.default or "", *axis.values, *sorted(there, key=natural)]
    return next((value for value in wanted if value in there), wanted[0])


def natural(text: str) -> tuple[int, str]:
    """Return a key to sort values by: numbers by their size."""
    return (int(text) if text.isdecimal() else 0, text)
