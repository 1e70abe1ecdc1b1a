"""The configuration: TOML and flags, checked and merged.

`[run]` sets durations and precision; each `[[sweep]]` lists values for each axis.  A flag
replaces its axis in every sweep.  Each mistake is reported in one line that names its place.
"""

import dataclasses
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import pydantic

from bench.core.axes import BY_NAME, AxisError
from bench.core.errors import UserError
from bench.core.subject import SubjectError, parse

# The sweeps that ship: of `bench run`, `bench profile` and `bench ab`.
DEFAULT = Path(__file__).with_name("default.toml")
PROFILE = DEFAULT.with_name("profile.toml")
AB = DEFAULT.with_name("ab.toml")
LOCAL = Path("bench.toml")
MOST_REPLICATES = 1000
WHOLE = range(-(2**63), 2**63)  # TOML's own integers, https://toml.io/en/v1.0.0#integer
MOST_DEPTH = 8  # of tables and lists in each other; no key takes more than half of it
ENOUGH = 5  # replicates, before an interval says whether it is narrow (rule 9)


class ConfigError(UserError):
    """A mistake in the configuration; the message says what, where, and what is expected."""


class RunOptions(pydantic.BaseModel):
    """The `[run]` table: durations, replicates and precision."""

    model_config = pydantic.ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False
    )

    replicates: Annotated[int, pydantic.Field(ge=1, le=MOST_REPLICATES)] = 5
    max_replicates: Annotated[int, pydantic.Field(ge=1, le=MOST_REPLICATES)] | None = None
    precision: Annotated[float, pydantic.Field(gt=0, lt=1)] = 0.10
    budget_s: Annotated[float, pydantic.Field(gt=0)] | None = None
    timeout_s: Annotated[float, pydantic.Field(gt=0, le=1e6)] = 180.0
    samples_s: Annotated[float, pydantic.Field(gt=0, le=600)] = 0.6
    warmup_s: Annotated[float, pydantic.Field(gt=0, le=600)] = 0.2
    min_samples: Annotated[int, pydantic.Field(ge=1, le=200)] = 5  # no kind has more than 200
    seed: Annotated[int, pydantic.Field(ge=0, lt=2**32)] = 0

    @property
    def most_replicates(self) -> int:
        """The number of replicates up to which imprecise cases get more of them.

        None are added if fewer than ENOUGH were requested.  With a budget, replicates are added
        until it is spent.
        """
        if self.max_replicates or self.replicates < ENOUGH:
            return max(self.replicates, self.max_replicates or 0)
        return MOST_REPLICATES if self.budget_s is not None else 2 * self.replicates


@dataclass(frozen=True, slots=True)
class Sweep:
    """The requested values of each axis; all combinations of them are cases."""

    axes: Mapping[str, tuple[str, ...]]
    subjects: tuple[str, ...] = ("convnet",)
    layers: bool = False  # the layers of the subjects instead of the subjects
    threshold: float | None = None  # of `bench ab`, for these cases; None = the comparison's


@dataclass(frozen=True, slots=True)
class Config:
    """Everything that a run was asked to do."""

    run: RunOptions
    sweeps: tuple[Sweep, ...]
    source: str
    only: tuple[str, ...] = field(default=())  # case ids; () = all

    def as_dict(self) -> dict[str, Any]:
        """Return the configuration for run.json."""
        return {
            **self.run.model_dump(),
            "source": self.source,
            "only": list(self.only),
            "sweeps": [dataclasses.asdict(sweep) for sweep in self.sweeps],
        }

    def subjects(self) -> tuple[str, ...]:
        """Return every requested name once; layers are named SUBJECT/*."""
        names: dict[str, None] = {}
        for sweep in self.sweeps:
            for subject in sweep.subjects:
                names.setdefault(layers_of(subject) if sweep.layers else subject)
        return tuple(names)

    def inputs(self) -> dict[str, str]:
        """Return the first input of each subject, by subject without its layer."""
        found: dict[str, str] = {}
        for sweep in self.sweeps:
            for subject in sweep.subjects:
                for value in sweep.axes.get("input", ())[:1]:
                    found.setdefault(parse(subject).whole, value)
        return found


def layers_of(subject: str) -> str:
    """`convnet` → `convnet/*`; a name that has a layer stays as it is."""
    return subject if parse(subject).layer else f"{subject}/*"


def load(
    path: Path | None = None,
    *,
    default: Path = DEFAULT,
    flags: Mapping[str, Sequence[str]] | None = None,
    subjects: Sequence[str] = (),
    only: Sequence[str] = (),
    **options: Any,
) -> Config:
    """Load the configuration from `path`, else from ./bench.toml, else from `default`.

    flags:   axis name → values that replace the axis in every sweep.
    options: values that replace keys of `[run]`, where they are not None.

    Raises ConfigError.
    """
    path = file_of(path, default)
    source = "the default sweep" if path == default else str(path)
    document = _read(path, source)
    _refuse_what_nothing_takes(document, source)
    unknown = set(document) - {"run", "sweep"}
    if unknown:
        raise ConfigError(
            f"{source}: unknown table [{sorted(unknown)[0]}]; there are [run] and [[sweep]]"
        )
    run = run_options(document.get("run", {}), options, source)
    tables = document.get("sweep", [{}])
    if not isinstance(tables, list) or not all(isinstance(one, dict) for one in tables):
        raise ConfigError(f"{source}: sweep is no list of tables; write [[sweep]]")
    sweeps = tuple(
        _sweep(table, f"{source}, sweep {number}", flags or {}, subjects)
        for number, table in enumerate(tables, 1)
    )
    return Config(run=run, sweeps=sweeps, source=source, only=tuple(only))


def file_of(path: Path | None, default: Path) -> Path:
    """Return `path`, else ./bench.toml if it exists, else the default."""
    return path or (LOCAL if LOCAL.exists() else default)


def _read(path: Path, source: str) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise ConfigError(f"{source}: no such file") from None
    except OSError as error:
        raise ConfigError(f"{source}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{source}: is no UTF-8 text, so no TOML") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{source}: is no TOML: {error}") from None
    except RecursionError:
        raise ConfigError(f"{source}: is nested too deeply") from None
    except ValueError:  # what Python, and no rule of TOML, refuses: a number of 5000 digits
        raise ConfigError(f"{source}: holds a number that is too long to be read") from None


def _refuse_what_nothing_takes(document: Mapping[str, Any], source: str) -> None:
    """Refuse numbers and nesting that no key accepts.  Raises ConfigError."""
    left: list[tuple[str, Any, int]] = [("", document, 0)]
    while left:
        name, value, depth = left.pop()
        if isinstance(value, int) and value not in WHOLE:
            raise ConfigError(f"{source}: {name} is a number beyond 64 bits")
        if depth > MOST_DEPTH:
            raise ConfigError(f"{source}: {name} is nested too deeply")
        if isinstance(value, dict):
            left += [(str(key), one, depth + 1) for key, one in value.items()]
        elif isinstance(value, list):
            left += [(name, one, depth + 1) for one in value]


def run_options(table: Any, options: Mapping[str, Any], source: str) -> RunOptions:
    """Return the `[run]` table, replaced by the options that are not None.  Raises ConfigError."""
    if not isinstance(table, dict):
        raise ConfigError(f"{source}: run is no table; write [run]")
    given = {key: value for key, value in options.items() if value is not None}
    try:
        found = RunOptions(**{**table, **given})
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        if first["type"] == "extra_forbidden":
            known = ", ".join(RunOptions.model_fields)
            raise ConfigError(f"{source}: [run] has no key {key!r}; it has {known}") from None
        place = f"--{key.removesuffix('_s').replace('_', '-')}" if key in given else source
        raise ConfigError(f"{place}: {key} = {first['input']!r}: {first['msg']}") from None
    if found.samples_s + found.warmup_s >= found.timeout_s:
        place = "--timeout" if "timeout_s" in given else source
        raise ConfigError(
            f"{place}: timeout_s = {found.timeout_s:g} ends a case before its samples are taken: "
            f"warmup_s = {found.warmup_s:g} and samples_s = {found.samples_s:g}"
        )
    return found


def _sweep(
    table: Mapping[str, Any], where: str, flags: Mapping[str, Sequence[str]], names: Sequence[str]
) -> Sweep:
    own = ("subject", "layers", "threshold")
    unknown = set(table) - {*BY_NAME, *own}
    if unknown:
        known = ", ".join([*own, *BY_NAME])
        raise ConfigError(f"{where}: unknown key {sorted(unknown)[0]!r}; there are {known}")
    layers = table.get("layers", False)
    if not isinstance(layers, bool):
        raise ConfigError(f"{where}: layers = {layers!r}; write true or false")
    threshold = table.get("threshold")
    if threshold is not None and (not isinstance(threshold, float) or not 0 < threshold < 1):
        raise ConfigError(f"{where}: threshold = {threshold!r}; write e.g. 0.05 for 5 %")
    axes: dict[str, tuple[str, ...]] = {}
    for name, axis in BY_NAME.items():
        flagged = name in flags and bool(flags[name])
        place = axis.flag if flagged else where
        values = flags[name] if flagged else _as_list(table.get(name, []))
        if not values and name in table:
            raise ConfigError(f"{where}: {name} is an empty list")
        try:
            axes[name] = tuple(dict.fromkeys(axis.check(value) for value in values))
        except AxisError as error:
            raise ConfigError(f"{place}: {error}") from None
    subjects = tuple(map(str, names or _as_list(table.get("subject", "convnet"))))
    if not subjects:
        raise ConfigError(f"{where}: subject is an empty list")
    for subject in subjects:
        try:
            parse(subject)
        except SubjectError as error:
            raise ConfigError(f"{'--subject' if names else where}: {error}") from None
    return Sweep(axes=axes, subjects=subjects, layers=layers, threshold=threshold)


def _as_list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]
