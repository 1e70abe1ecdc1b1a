"""The configuration: TOML and flags, checked and merged.

`[run]` sets durations and precision; each `[[sweep]]` lists values for each axis.  A flag
replaces its axis in every sweep.  Each mistake is reported in one line that names its place.
"""

import contextlib
import reprlib
import tomllib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic

from bench.core import code_names, replicates
from bench.core.axes import BY_NAME, AxisError
from bench.core.errors import UserError
from bench.core.near import did_you_mean
from bench.core.subject import SHIPPED, SubjectError, parse
from bench.core.text import plain, short_words
from bench.plan.subject_files import named
from bench.start import roots

# The sweeps that ship: of `bench run` (for the ConvNet, for a subject that is named, and with
# --quick), `bench profile` and `bench ab`.
DEFAULT = Path(__file__).with_name("default.toml")
OWN = DEFAULT.with_name("own.toml")
QUICK = DEFAULT.with_name("quick.toml")
PROFILE = DEFAULT.with_name("profile.toml")
AB = DEFAULT.with_name("ab.toml")
NAMES = {
    DEFAULT: "the default sweep",
    OWN: "the sweep of a network of your own",
    QUICK: "the quick sweep",
    PROFILE: "the default sweep",
    AB: "the default sweep",
}
FLAGS = "flags"
LOCAL = Path("bench.toml")
MOST_REPLICATES = 1000
ENOUGH = 5  # replicates, before an interval says whether it is narrow (rule 9)
STRICT = pydantic.ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)
# Type of pydantic's error → the expected value; the other errors are clear by themselves.
EXPECTED = {
    "model_type": "a table",
    "tuple_type": "[[sweep]], a list of tables",
    "bool_type": "true or false",
    "int_type": "a whole number",
    "float_type": "a number",
}


class ConfigError(UserError):
    """A mistake in the configuration; the message says what, where, and what is expected."""


class RunOptions(pydantic.BaseModel):
    """The `[run]` table: durations, replicates and precision."""

    model_config = STRICT

    # Fresh interpreters for each case.
    replicates: Annotated[int, pydantic.Field(ge=1, le=MOST_REPLICATES)] = 5
    # So many of each case before any has more, each block of cases after the one above it, unless
    # all replicates fit into the budget; None: each block has all of them before the next one.
    least_replicates: Annotated[int, pydantic.Field(ge=1, le=MOST_REPLICATES)] | None = None
    # Up to so many for a case whose interval is wide; None: twice as many, with a budget 100.
    max_replicates: Annotated[int, pydantic.Field(ge=1, le=MOST_REPLICATES)] | None = None
    # Half the width of the interval, as a share of the time, at which a case gets no more.
    precision: Annotated[float, pydantic.Field(gt=0, lt=1)] = 0.10
    # No case is begun after this time; None: no limit.
    budget_s: Annotated[float, pydantic.Field(gt=0)] | None = None
    # After this time only what lacks its replicates is begun; None: the budget alone holds.
    extras_s: Annotated[float, pydantic.Field(gt=0)] | None = None
    # Added to budget_s for each accelerator that is measured (`bench.plan.case_costs.with_budget`).
    accelerator_budget_s: Annotated[float, pydantic.Field(ge=0)] | None = None
    timeout_s: Annotated[float, pydantic.Field(gt=0, le=1e6)] = 180.0  # of one case
    samples_s: Annotated[float, pydantic.Field(gt=0, le=600)] = 0.6  # of each kind of samples
    warmup_s: Annotated[float, pydantic.Field(gt=0, le=600)] = 0.2  # the least
    min_samples: Annotated[int, pydantic.Field(ge=1, le=200)] = 5  # no kind has more than 200
    # A process for each case, or one for the cases of a device in a replicate (docs/gpu.md).
    isolation: Literal["process", "session"] = "process"
    # Whether cases of different devices are measured at the same time, and flagged `parallel`.
    parallel_devices: bool = False
    # passive: threads that wait for each other sleep, and leave the processor to other processes
    # (`bench.host.wait_policy`).
    wait_policy: Literal["default", "passive"] = "default"
    seed: Annotated[int, pydantic.Field(ge=0, lt=2**32)] = 0  # of the order of the cases
    energy: bool = True  # whether the energy of a GPU is counted, which takes 2 s a case
    weights: str | None = None  # file that is loaded into each subject but the shipped one

    @property
    def weights_file(self) -> str | None:
        """The absolute path of the file, because a worker may run in another folder."""
        return None if self.weights is None else str(Path(self.weights).absolute())

    @property
    def first_replicates(self) -> int:
        """The number of replicates that each block has before the next one begins."""
        return replicates.first(self.replicates, self.least_replicates)

    @property
    def most_replicates(self) -> int:
        """The number of replicates up to which imprecise cases get more of them.

        None are added if fewer than ENOUGH were requested.  With a budget, replicates are added
        until it is spent.
        """
        if self.max_replicates or self.replicates < ENOUGH:
            return max(self.replicates, self.max_replicates or 0)
        return MOST_REPLICATES if self.budget_s is not None else 2 * self.replicates


def _values(name: str, value: Any, check: Callable[[Any], str]) -> tuple[str, ...]:
    """Return the given value or values in their normal form, without repetition.

    Raises ValueError, which pydantic collects.
    """
    given = value if isinstance(value, list | tuple) else [value]
    if not given:
        raise ValueError(f"{name} is an empty list")
    if any(isinstance(one, list | dict) for one in given):
        raise ValueError(f"{name} holds a list in a list, or a table; write values")
    try:
        return tuple(dict.fromkeys(check(one) for one in given))
    except (AxisError, SubjectError) as error:
        raise ValueError(short_words(str(error), 200)) from None
    except ValueError:  # Python writes no number of more than 4300 digits
        raise ValueError(f"{name} is a number of too many digits") from None


def _subject(value: Any) -> str:
    found = named(str(value))
    try:
        parse(found)
    except SubjectError as error:
        raise SubjectError(f"{error}{_names_in(found.strip())}") from None
    return found


def _names_in(place: str) -> str:
    """Return `; it has Net, make_net` for a file without a callable, if it can be read."""
    if not place.endswith(".py"):
        return ""
    for root in roots():
        with contextlib.suppress(OSError, ValueError):
            names = code_names.defined(Path(root, place).read_text(encoding="utf-8"))
            return f"; it has {code_names.listed(names)}" if names else ""
    return ""


def _subjects(value: Any) -> tuple[str, ...]:
    return _values("subject", value, _subject)


On = Literal["any", "cpu", "accelerators"]


class Sweep(pydantic.BaseModel):
    """A `[[sweep]]`: the values of each axis, every combination of which is asked for."""

    model_config = STRICT

    axes: Mapping[str, tuple[str, ...]] = pydantic.Field(alias="[axes]")  # no key of a file
    # SUBJECT, SUBJECT/layer or SUBJECT/*; one or a list.
    subjects: Annotated[tuple[str, ...], pydantic.BeforeValidator(_subjects)] = pydantic.Field(
        ("convnet",), alias="subject"
    )
    layers: bool = False  # the layers of the subjects instead of the subjects
    # The layers with the most work alone, unless the subject is named SUBJECT/*; None = all.
    most_layers: Annotated[int, pydantic.Field(ge=1)] | None = None
    emulated: bool = True  # False: bfloat16 only on devices that have instructions for it
    on: On = "any"  # the devices that the sweep is for
    # The threshold of `bench ab` for these cases; None = that of the comparison.
    threshold: Annotated[float, pydantic.Field(gt=0, lt=1)] | None = None

    @pydantic.model_validator(mode="before")
    @classmethod
    def _of_table(cls, table: Any) -> Any:
        """Collect the axes of a table: in a file each axis is a key of its own."""
        if not isinstance(table, dict):
            return table
        axes = {
            name: _values(name, table[name], axis.check) if name in table else ()
            for name, axis in BY_NAME.items()
        }
        return {key: value for key, value in table.items() if key not in axes} | {"[axes]": axes}


class _File(pydantic.BaseModel):
    """The whole file."""

    model_config = STRICT

    run: RunOptions = RunOptions()
    sweep: tuple[Sweep, ...]


@dataclass(frozen=True, slots=True)
class Config:
    """Everything that a run was asked to do."""

    run: RunOptions
    sweeps: tuple[Sweep, ...]
    source: str  # what chose the cases: a file, the default sweep, or flags
    only: tuple[str, ...] = field(default=())  # case ids; () = all

    @property
    def chosen_without_file(self) -> bool:
        """Return whether a sweep that ships was taken, with flags or without."""
        return self.source in (FLAGS, *NAMES.values())

    def as_dict(self) -> dict[str, Any]:
        """Return the configuration for run.json."""
        return {
            **self.run.model_dump(),
            "source": self.source,
            "only": list(self.only),
            "sweeps": [sweep.model_dump() for sweep in self.sweeps],
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
    source = NAMES.get(path, str(path))
    flagged = _flagged({**(flags or {}), "subject": subjects})
    # A flag for bfloat16 holds on machines that emulate it, too.
    asked = {"emulated": True} if flagged.keys() & {"amp", "dtype"} else {}
    found = _checked(_read(path, source), source, options, flagged | asked)
    chosen = FLAGS if path in NAMES and (flagged or only) else source
    return Config(run=found.run, sweeps=found.sweep, source=chosen, only=tuple(only))


def _flagged(flags: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """Return the flags that are given, checked.  Raises ConfigError."""
    found: dict[str, tuple[str, ...]] = {}
    for name, values in flags.items():
        check = BY_NAME[name].check if name in BY_NAME else _subject
        try:
            found |= {name: _values(name, values, check)} if values else {}
        except ValueError as error:
            raise ConfigError(f"{_flag(name)}: {error}") from None
    return found


def _flag(key: str) -> str:
    return f"--{key.removesuffix('_s').replace('_', '-')}"


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
        raise ConfigError(f"{source}: is not UTF-8 text, so it is not valid TOML") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{source}: is not valid TOML: {error}") from None
    except RecursionError:
        raise ConfigError(f"{source}: is nested too deeply") from None
    except ValueError:  # what Python, and no rule of TOML, refuses: a number of 5000 digits
        raise ConfigError(f"{source}: holds a number that is too long to be read") from None


def run_options(table: Any, options: Mapping[str, Any], source: str) -> RunOptions:
    """Return the `[run]` table, changed by the options that are not None.  Raises ConfigError."""
    return _checked({"run": table}, source, options, {}, of_sweeps=False).run


def _checked(
    document: Mapping[str, Any],
    source: str,
    options: Mapping[str, Any],
    flags: dict[str, Any],
    *,
    of_sweeps: bool = True,
) -> _File:
    """Return the document with these options in [run], flags in each sweep.  Raises ConfigError.

    of_sweeps: the document has the sweeps of the run, so that its subjects are known.
    """
    run, sweeps = document.get("run", {}), document.get("sweep", [{}])
    given = {key: value for key, value in options.items() if value is not None}
    if "budget_s" in given:  # the whole budget, whatever the file adds for accelerators
        given = {"accelerator_budget_s": 0.0, **given}
    if isinstance(run, dict):
        run = run | given
    if isinstance(sweeps, list):
        sweeps = tuple(one | flags if isinstance(one, dict) else one for one in sweeps)
    try:
        found = _File.model_validate({**document, "run": run, "sweep": sweeps})
    except pydantic.ValidationError as error:
        raise ConfigError(_one_line(error, source, given)) from None
    if of_sweeps:
        _check_weights(found, "--weights" if "weights" in given else source)
    times = found.run
    if times.samples_s + times.warmup_s >= times.timeout_s:
        place = "--timeout" if "timeout_s" in given else source
        raise ConfigError(
            f"{place}: timeout_s = {times.timeout_s:g} ends a case before its samples are taken: "
            f"warmup_s = {times.warmup_s:g} and samples_s = {times.samples_s:g}"
        )
    return found


def _check_weights(found: _File, place: str) -> None:
    """Refuse a file that is not there, or no subject to load it into.  Raises ConfigError."""
    path = found.run.weights
    if path is None:
        return
    if Path(path).is_dir():
        raise ConfigError(f"{place}: weights = {path!r} is a folder; give a file in it")
    if not Path(path).is_file():
        raise ConfigError(f"{place}: weights = {path!r}: no such file")
    wholes = {parse(one).whole for sweep in found.sweep for one in sweep.subjects}
    if wholes and wholes <= set(SHIPPED):
        raise ConfigError(
            f"{place}: {', '.join(sorted(wholes))} keeps its own weights; name a subject of your "
            "own"
        )


def _one_line(error: pydantic.ValidationError, source: str, flags: Collection[str]) -> str:
    """Return the first mistake: where it is, the key, and what is expected.

    flags: keys of [run] that were given by flags.
    """
    first = error.errors()[0]
    match first["loc"]:
        case ("run", str(key)):
            where = _flag(key) if key in flags else f"{source}, [run]"
            known = list(RunOptions.model_fields)
        case ("sweep", int(number), *keys):
            where, key = f"{source}, sweep {number + 1}", str(keys[0] if keys else "sweep")
            known = ["subject", "layers", "most_layers", "emulated", "on", "threshold", *BY_NAME]
        case (table, *_):
            where, key, known = source, str(table), ["run", "sweep"]
    if first["type"] == "extra_forbidden":
        rest = did_you_mean(key, known, before="") or f"there are {', '.join(known)}"
        return f"{where}: unknown key {plain(key)!r}; {rest}"
    if first["type"] == "value_error":
        return f"{where}: {first['ctx']['error']}"
    expected = EXPECTED.get(first["type"], first["msg"].removeprefix("Input should be "))
    try:
        shown = reprlib.repr(first["input"])
    except ValueError:  # as in `_values`
        shown = "a number of too many digits"
    return f"{where}: {key} = {shown}; expected {expected}"
