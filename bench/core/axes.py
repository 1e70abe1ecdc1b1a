"""The axes of a sweep, declared once.

Flags, TOML keys, the plan, the columns of the CSV, `case_id` and `--by` are all made from
`AXES`; to add a setting that a user can turn, add a line here and apply it in
`bench.worker.device.settings`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass


class AxisError(ValueError):
    """A value that its axis does not know; the message says what would be right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """One setting of a case."""

    name: str
    help: str
    values: tuple[str, ...] = ()  # the closed set, the base of comparisons first; () = open
    default: str | None = None  # where neither TOML nor flag says; None = the plan finds it
    pattern: str = ""  # what a value of an open axis looks like
    example: str = ""
    in_id: str = "{}"  # how the value stands in a case_id
    # Results of earlier versions have no such axis: its default held there.  It does not stand in a
    # case_id, so that those of earlier results stay what they are.
    later: bool = False

    @property
    def flag(self) -> str:
        return "--" + self.name.replace("_", "-")

    def check(self, value: object) -> str:
        """The value as text, in its normal form.  Raises AxisError."""
        if isinstance(value, bool):  # TOML's `amp = false` is clear enough
            value = "on" if value else "off"
        text = str(value).strip()
        if self.values and text not in self.values:
            raise AxisError(
                f"{self.name} {text!r} is unknown; choose from {', '.join(self.values)}"
            )
        if self.pattern and not re.fullmatch(self.pattern, text):
            raise AxisError(f"{self.name} {text!r} is no {self.name}; write e.g. {self.example}")
        return text


AS_BUILT = "as-built"  # of the axis dtype: a module keeps what it was built with

_DTYPE = (
    r":(?:float16|float32|float64|bfloat16|complex64|complex128|bool|uint8|int8|int16|int32|int64)"
    r"(?:<[1-9][0-9]*)?"
)
_INPUT = rf"[1-9][0-9]*(?:,[1-9][0-9]*)*(?:{_DTYPE})?|{_DTYPE}"

AXES: tuple[Axis, ...] = (
    Axis(
        name="mode",
        help="inference (eval, inference_mode) or training (a whole step)",
        values=("inference", "training"),
        default="inference",
    ),
    Axis(
        name="batch",
        help="images per call",
        pattern=r"[1-9][0-9]{0,6}",
        example="32, at most 9999999",
        default="32",
        in_id="b{}",
    ),
    Axis(
        name="input",
        help="input shape without the batch, e.g. '3,224,224' or '3,224,224; 10:int64<1000'",
        pattern=rf"own|(?:{_INPUT})(?:\s*;\s*(?:{_INPUT}))*",
        example="3,224,224 or '3,224,224; 10:int64<1000'",
    ),
    Axis(
        name="device",
        help="cpu, cuda:0, mps, xpu:0 …; auto = the CPU and every accelerator found",
        pattern=r"[a-z]+(?::[0-9]+)?",
        example="cpu, cuda:0 or auto",
        default="auto",
    ),
    Axis(
        name="dtype",
        help="of the weights and inputs; as-built keeps what the subject mixes on purpose",
        values=("float32", "bfloat16", "float16", AS_BUILT),
        default="float32",
    ),
    Axis(
        name="amp",
        help="autocast to this dtype",
        values=("off", "bfloat16", "float16"),
        default="off",
        in_id="amp={}",
    ),
    Axis(
        name="memory_format",
        help="layout of images and of 4-dimensional weights",
        values=("contiguous", "channels_last"),
        default="contiguous",
    ),
    Axis(
        name="compile",
        help="torch.compile's mode",
        values=(
            "off",
            "default",
            "reduce-overhead",
            "max-autotune",
            "max-autotune-no-cudagraphs",
        ),
        default="off",
        in_id="compile={}",
    ),
    Axis(
        name="cudnn_benchmark",
        help="cuDNN tries its algorithms per shape and keeps the fastest",
        values=("off", "on"),
        default="off",
        in_id="cudnn={}",
    ),
    Axis(
        name="tf32",
        help="TensorFloat-32 for convolutions and matrix products alike",
        values=("off", "on"),
        default="off",
        in_id="tf32={}",
    ),
    Axis(
        name="threads",
        help="intra-op threads of the CPU; auto = what torch would take",
        pattern=r"auto|[1-9][0-9]{0,3}",
        example="2 or auto",
        default="auto",
        in_id="t={}",
    ),
    Axis(
        name="allocator",
        help="of the CPU: freed memory stays with the process, or as the C library comes",
        values=("retained", "system"),
        default="retained",
    ),
    Axis(
        name="grad_mode",
        help="of inference: autograd off for good, off but to be switched on inside, or on",
        values=("inference_mode", "no_grad", "enabled"),
        default="inference_mode",
        in_id="grad={}",
        later=True,
    ),
)

BY_NAME: Mapping[str, Axis] = {axis.name: axis for axis in AXES}
