"""The candidates of a search: settings that make sense on one device, for one kind of call.

They are ordinary cases, made by `bench.plan.expand`: its rules leave out combinations without an
effect, as in a run.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from bench.core.axes import AXES, BY_NAME, AxisError
from bench.core.errors import UserError
from bench.core.near import did_you_mean
from bench.core.records import Case
from bench.host.probed import Device, Probe
from bench.plan import expand
from bench.plan.config import Config, RunOptions, Sweep

# Axes that are searched, in the order in which a setting is named.
SEARCHED = tuple(axis.name for axis in AXES if axis.searched)
REDUCED = ("bfloat16", "float16")
MOST_THREADS_TRIED = 4  # numbers of threads beside `auto`: the largest powers of two


class SpaceError(UserError):
    """There is nothing to search; the message is one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Restrictions of the search.

    only:  axes that are searched; empty = all that make sense on the device.
    fixed: values that all candidates have, the plain setting too.
    """

    only: tuple[str, ...] = ()
    fixed: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, only: Sequence[str], fixed: Sequence[str]) -> "Choice":
        """Return the choice of `--only AXIS` and `--fix AXIS=VALUE`.  Raises SpaceError."""
        for name in only:
            if name not in SEARCHED:
                near = did_you_mean(name, SEARCHED)
                known = ", ".join(SEARCHED)
                raise SpaceError(
                    f"--only {name}: is not an axis of a search; expected one of {known}{near}"
                )
        values: dict[str, str] = {}
        for text in fixed:
            name, equals, value = text.partition("=")
            if not equals or name not in SEARCHED:
                near = did_you_mean(name, SEARCHED)
                raise SpaceError(
                    f"--fix {text}: expected AXIS=VALUE with one of {', '.join(SEARCHED)}{near}"
                )
            try:
                values[name] = BY_NAME[name].check(value)
            except AxisError as error:
                raise SpaceError(f"--fix {text}: {error}") from None
            if name in only:
                raise SpaceError(f"--fix {text}: --only {name} searches this axis")
        return cls(only=tuple(only), fixed=values)


@dataclass(frozen=True, slots=True)
class Space:
    """The cases of a search.

    plain:    the setting that all others are compared with.
    eager:    combinations that cost no search and no compiler, the plain one first.
    compiled: modes of torch.compile, which are tried on the best of the eager ones.
    cudnn:    whether cuDNN's search for algorithms is tried on the best of the eager ones.  It
              takes 3 to 24 s in every process for a ResNet-50 on an H100.
    """

    plain: Case
    eager: tuple[Case, ...]
    compiled: tuple[str, ...]
    cudnn: bool = False


def values_of(device: Device, mode: str, cores: int) -> dict[str, tuple[str, ...]]:
    """Return the values of each searched axis that make sense on the device, plain first."""
    on_cpu = device.type == "cpu"
    found: dict[str, tuple[str, ...]] = {name: (str(BY_NAME[name].default),) for name in SEARCHED}
    found["memory_format"] = BY_NAME["memory_format"].values
    amp = ("bfloat16",) if on_cpu else REDUCED
    found["amp"] = ("off", *amp)
    if mode == "inference":  # weights of half precision do not train without a master copy
        found["dtype"] = ("float32", *amp)
    if device.has_cudnn:
        found["cudnn_benchmark"] = BY_NAME["cudnn_benchmark"].values
    if device.has_tf32:
        plain = str(BY_NAME["tf32"].default)
        found["tf32"] = (plain, *(one for one in ("on",) if one != plain))
    if on_cpu:
        powers = [2**power for power in range(cores.bit_length()) if 2**power < cores]
        found["threads"] = ("auto", *map(str, powers[-MOST_THREADS_TRIED:]))
    modes = ("default",) if on_cpu else ("default", "reduce-overhead", "max-autotune")
    found["compile"] = ("off", *modes) if device.type in ("cpu", "cuda") else ("off", "default")
    return found


def make(
    probe: Probe,
    subject: str,
    device: str,
    choice: Choice,
    cores: int,
    axes: Mapping[str, Sequence[str]],
) -> Space:
    """Return the candidates.

    device: by its full name.  cores: processors that may be used.
    axes:   mode, batch and input of all candidates, one value each; a missing one is the default.

    Raises SpaceError, expand.PlanError.
    """
    mode = next(iter(axes.get("mode", ())), str(BY_NAME["mode"].default))
    values = values_of(probe.devices[device], mode, cores)
    for name in SEARCHED:
        if choice.only and name not in choice.only:
            values[name] = values[name][:1]
    for name, value in choice.fixed.items():
        values[name] = (value,)
    shared = {**{name: tuple(given) for name, given in axes.items()}, "device": (device,)}
    compiled = tuple(one for one in values.pop("compile") if one != "off")
    cudnn = len(values["cudnn_benchmark"]) > 1
    values["cudnn_benchmark"] = values["cudnn_benchmark"][:1]
    fixed_compile = choice.fixed.get("compile")
    base = fixed_compile if fixed_compile is not None else "off"
    plan = expand.make(_config(subject, {**shared, **values, "compile": (base,)}), probe)
    plain = expand.make(
        _config(
            subject,
            {**shared, **{name: given[:1] for name, given in values.items()}, "compile": (base,)},
        ),
        probe,
    ).cases[0]
    every = [case for case in plan.cases if case != plain]
    others = [case for case in every if not _idle(case, plain)] or every
    more = () if fixed_compile is not None else compiled
    if not others and not more and not cudnn:
        raise SpaceError(
            f"{subject} on {device}: there is nothing to search; one setting alone is left"
        )
    return Space(plain, (plain, *others), more, cudnn)


def begins_slowly(case: Case) -> bool:
    """Return whether the first call of a process compiles, or searches for algorithms."""
    return case.compile != "off" or case.cudnn_benchmark == "on"


def with_search(case: Case) -> Case:
    """Return the setting with cuDNN's search for algorithms."""
    return replace(case, cudnn_benchmark="on")


def without_search(case: Case, plain: Case) -> Case:
    """Return the setting with what plain has in place of cuDNN's search."""
    return replace(case, cudnn_benchmark=plain.cudnn_benchmark)


def _idle(case: Case, plain: Case) -> bool:
    """Return whether TF32 has next to nothing to do: products are computed in half precision."""
    return case.tf32 != plain.tf32 and (case.amp != "off" or case.dtype in REDUCED)


def _config(subject: str, axes: Mapping[str, Sequence[str]]) -> Config:
    sweep = Sweep.model_validate({"subject": [subject], **{k: list(v) for k, v in axes.items()}})
    return Config(run=RunOptions(), sweeps=(sweep,), source="the search")


def changed(case: Case, plain: Case) -> tuple[tuple[str, str], ...]:
    """Return the axes in which a case differs from the plain one, with its values."""
    return tuple(
        (name, str(getattr(case, name)))
        for name in (*SEARCHED, "batch")
        if getattr(case, name) != getattr(plain, name)
    )
