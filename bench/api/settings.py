"""The settings of a call in this process, by the names of the axes."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from operator import index
from typing import Any, SupportsIndex

from bench.core.axes import BY_NAME, AxisError
from bench.core.errors import UserError
from bench.core.near import did_you_mean
from bench.worker.device import settings

# Words of other libraries and of `bench run`, for settings that a process cannot have for a call.
ELSEWHERE = {
    "dtype": "convert the model and its inputs: model.to(torch.bfloat16)",
    "allocator": "the allocator is chosen when a process starts: use bench.run(…, allocator=…)",
}


class SettingError(UserError, ValueError):
    """A setting that cannot be used here; the message says what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Settings by axis; None leaves an axis as this process and this model have it."""

    mode: str | None = None
    device: str | None = None
    amp: str | None = None
    memory_format: str | None = None
    compile: str | None = None
    cudnn_benchmark: str | None = None
    tf32: str | None = None
    threads: str | None = None
    grad_mode: str | None = None

    def __post_init__(self) -> None:
        if self.grad_mode is not None and self.mode == "training":
            raise SettingError("grad_mode is a setting of inference; leave it out of a training")

    @property
    def given(self) -> dict[str, str]:
        """The settings that are not None."""
        names = [one.name for one in fields(self)]
        return {name: one for name in names if (one := getattr(self, name)) is not None}

    def require_effect(self, device_type: str) -> None:
        """Raise SettingError for a setting that this kind of device does not have."""
        for name in self.given:
            match BY_NAME[name].meaning:
                case "cudnn" | "tf32" if device_type != "cuda":
                    owner = "CUDA devices"
                case "cpu" if device_type != "cpu":
                    owner = "the CPU"
                case _:
                    continue
            raise SettingError(
                f"{name} has no effect on {device_type}: it is a setting of {owner}; leave it out"
            )

    def apply(self) -> None:
        """Set the switches of this process.  `state.switches_kept` puts them back."""
        settings.apply(self.given)


def checked(given: Mapping[str, object]) -> Settings:
    """Return the settings.  Raise SettingError for a value that its axis does not have.

    None = not given.  `compile=True` is the mode `default`.
    """
    found: dict[str, Any] = {}
    for name, value in given.items():
        if value is None:
            continue
        if name == "compile" and value is True:
            value = "default"
        try:
            found[name] = BY_NAME[name].check(value)
        except AxisError as error:
            raise SettingError(str(error)) from None
    return Settings(**found)


def checked_batch(batch: object) -> int | None:
    """Return the items of a call; None = as the inputs have it.  Raises SettingError."""
    if batch is None:
        return None
    if isinstance(batch, SupportsIndex) and not isinstance(batch, bool) and index(batch) >= 1:
        return index(batch)
    raise SettingError(f"batch is {batch!r}: expected a number of items, 1 or more")


def unknown_keyword(name: str, known: Iterable[str]) -> str:
    """Return a hint for a keyword that the model refuses: it may be a misspelled setting."""
    if name in ELSEWHERE:
        return f"{name} is not a setting of a call in this process: {ELSEWHERE[name]}"
    near = did_you_mean(name, known)
    return f"{name!r} is not a setting, so the model was called with it{near}"
