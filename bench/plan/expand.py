"""Turn a configuration and the result of the probe into the list of cases.  Pure.

A combination that cannot have an effect is left out, with its reason, so that no row shows a
setting that did nothing.
"""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from bench.core.axes import AXES, BY_NAME, MAX_BATCH, plainest
from bench.core.errors import UserError
from bench.core.near import did_you_mean
from bench.core.records import Case
from bench.core.row_names import NOT_SETTINGS
from bench.core.subject import SHIPPED, layer_name, layer_text, parse
from bench.core.text import command
from bench.host.probed import Device, Layer, Probe, SubjectFound
from bench.plan.config import Config, On, Sweep, layers_of

SHIPPED_INPUT = {"convnet": "3,224,224"}
# Values of LeftOut.settings: all layers of a subject, a whole sweep, a device, batches.
LAYERS, SWEEP, DEVICE, BATCH = "layers", "sweep", "device", "batch"
NOT_ON: Mapping[On, str] = {  # why a sweep has no case
    "cpu": "the sweep is for the CPU, which is not measured",
    "accelerators": "the sweep is for accelerators, and none is measured",
}
NO_SEARCH = (
    "--batch max: only `bench run` looks for the largest batch that fits into memory; give a number"
)
NO_ARITHMETIC = frozenset({"Flatten", "Identity", "Unflatten"})  # they compute nothing


class PlanError(UserError):
    """The plan cannot be made; the message says what is missing and what exists."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A combination that is not measured, or all of a subject, a sweep or a device."""

    subject: str
    settings: str
    reason: str


@dataclass(frozen=True, slots=True)
class Plan:
    """The cases to measure, and the combinations that are left out."""

    cases: tuple[Case, ...]
    left_out: tuple[LeftOut, ...]
    thresholds: Mapping[str, float] = field(default_factory=dict)  # by case id: of its sweep
    guessed: Mapping[str, str] = field(default_factory=dict)  # subject → the input that was tried
    # At batch 1: cases that are measured at the largest batch that fits (`bench.engine.largest`).
    largest: tuple[Case, ...] = ()

    @property
    def notes(self) -> list[str]:
        """The combinations whose absence may be a surprise, and the inputs that were guessed."""
        notes = []
        for one in self.left_out:
            if one.settings == LAYERS:
                notes.append(one.reason)
            elif one.settings == DEVICE:
                notes.append(f"{one.subject} is left out: {one.reason}")
            elif one.settings == BATCH:
                notes.append(f"{one.subject}: {one.reason}")
        return notes + [
            f"the input of {name} is guessed {text}; --input says otherwise"
            for name, text in self.guessed.items()
        ]


def make(
    config: Config, probe: Probe, *, as_plain_process: bool = False, finds_largest: bool = False
) -> Plan:
    """Return each combination that can have an effect, once.  Raises PlanError.

    as_plain_process: add a twin with `allocator=system` to each plain case of a whole network on
    the CPU, unless the configuration names an allocator.

    finds_largest: whether the command looks for the largest batch (`batch = max`).
    """
    cases: dict[str, Case] = {}
    largest: dict[str, Case] = {}
    left_out: dict[tuple[str, str, str], LeftOut] = {}
    thresholds: dict[str, float] = {}
    for sweep in config.sweeps:
        there, same = _devices(sweep, probe)
        for one in _left_out_of(sweep, there, same, probe):
            left_out[one.subject, one.settings, one.reason] = one
        for batch, case in _of_sweep(sweep, there, probe, left_out):
            if batch == MAX_BATCH:
                largest.setdefault(case.case_id, case)
                continue
            if sweep.threshold is not None and case.case_id not in cases:
                thresholds[case.case_id] = sweep.threshold
            cases.setdefault(case.case_id, case)
    if largest and not finds_largest:
        raise PlanError(NO_SEARCH)
    if as_plain_process and not any(sweep.axes.get("allocator") for sweep in config.sweeps):
        cases, thresholds = _with_twins(cases, thresholds)
    chosen = _only(cases, config.only)
    sought = () if config.only else tuple(largest.values())
    if not chosen and not sought:
        reasons = {one.reason for one in left_out.values()}
        raise PlanError("nothing to measure: " + ("; ".join(sorted(reasons)) or "no cases"))
    guesses = {name: one.guessed for name, one in probe.subjects.items() if one.guessed}
    inputs = {(parse(case.subject).whole, case.input) for case in (*chosen, *sought)}
    guessed = {name: text for name, text in guesses.items() if (name, text) in inputs}
    return Plan(tuple(chosen), tuple(left_out.values()), thresholds, guessed, sought)


def _left_out_of(
    sweep: Sweep, devices: Sequence[str], same: Mapping[str, str], probe: Probe
) -> Iterable[LeftOut]:
    """Yield what a sweep does not measure at all: devices, itself, layers.

    devices: on which it is measured.  same: device that is left out → the one that it is like.
    """
    for name, first in same.items():
        why = f"it is like {first}; --device {name} or --device all measures it"
        yield LeftOut(name, DEVICE, why)
    if not devices:
        for subject in sweep.subjects:
            yield LeftOut(subject, SWEEP, NOT_ON[sweep.on])
        return
    for whole, why in {**_without_layers(sweep, probe), **_smaller_layers(sweep, probe)}.items():
        yield LeftOut(f"{whole}/*", LAYERS, why)


def _of_sweep(
    sweep: Sweep,
    devices: Sequence[str],
    probe: Probe,
    left_out: dict[tuple[str, str, str], LeftOut],
) -> Iterable[tuple[str, Case]]:
    """Yield the batch as asked for, and the case; of `max`, the case at batch 1.

    left_out: gets the combinations that are left out.
    """
    for subject, layer in _subjects(sweep, probe) if devices else ():
        if not subject.isprintable():
            why = "the name of the layer has characters that cannot be printed"
            left_out[subject, LAYERS, why] = LeftOut(subject, LAYERS, why)
            continue
        whole = parse(subject).whole
        for settings in _combinations(sweep, subject, devices, probe):
            device = probe.devices[settings["device"]]
            reason = (
                _without_effect(settings, device, layer)
                or _same_as_another(settings, sweep, device)
                or _emulated(settings, sweep, device)
            )
            if reason:
                shown = " ".join(f"{key}={value}" for key, value in settings.items())
                left_out.setdefault((subject, shown, reason), LeftOut(subject, shown, reason))
                continue
            fixed = _fixed_batch(settings, whole, probe)
            if fixed is not None and fixed != settings["batch"]:
                left_out[whole, BATCH, ""] = LeftOut(whole, BATCH, _ignores_batch(fixed))
                settings["batch"] = fixed
            batch = settings["batch"]
            number = "1" if batch == MAX_BATCH else batch
            yield batch, _case(subject, {**settings, "batch": number}, device)


def _subjects(sweep: Sweep, probe: Probe) -> Iterable[tuple[str, Layer | None]]:
    """Yield the names to measure; layers come in the order in which the network calls them."""
    for asked in sweep.subjects:
        name = layers_of(asked) if sweep.layers else asked
        ref = parse(name)
        found = probe.subjects[ref.whole]
        if ref.layer is None:
            yield ref.whole, None
        elif ref.layer == "*":
            for layer in found.layers if asked == name else _most_work(sweep, found):
                yield f"{ref.whole}/{layer_text(layer.shown)}", layer
        elif found.layers_error:  # its row will have the reason
            yield f"{ref.whole}/{ref.layer}", None
        else:
            layer = _layer(ref.whole, ref.layer, found)
            yield f"{ref.whole}/{layer_text(layer.shown)}", layer


def _most_work(sweep: Sweep, found: SubjectFound) -> list[Layer]:
    """Return those with the most work in the network, in the order in which it calls them."""
    by_work = sorted(found.layers, key=lambda layer: -layer.work * layer.calls)
    chosen = {layer.name for layer in by_work[: sweep.most_layers]}
    return [layer for layer in found.layers if layer.name in chosen]


def _smaller_layers(sweep: Sweep, probe: Probe) -> dict[str, str]:
    """Return by subject why some of its layers are left out."""
    wholes = [name for name in sweep.subjects if sweep.layers and parse(name).layer is None]
    found = {parse(name).whole: probe.subjects[parse(name).whole] for name in wholes}
    return {
        whole: f"of the {len(one.layers)} layers of {whole} the {sweep.most_layers} that compute "
        f"the most are measured; {command('--subject', f'{whole}/*')} measures all"
        for whole, one in found.items()
        if sweep.most_layers is not None and len(one.layers) > sweep.most_layers
    }


def _without_layers(sweep: Sweep, probe: Probe) -> dict[str, str]:
    """Return reasons by subject, for `SUBJECT/*` where no layer was found."""
    refs = [parse(layers_of(name) if sweep.layers else name) for name in sweep.subjects]
    found = {ref.whole: probe.subjects[ref.whole] for ref in refs if ref.layer == "*"}
    why = {whole: one.layers_error or "it calls no other module" for whole, one in found.items()}
    return {
        whole: f"{whole}/* is left out, since its layers are unknown: {why[whole]}"
        for whole, one in found.items()
        if not one.layers
    }


def _layer(whole: str, name: str, found: SubjectFound) -> Layer:
    layer = layer_named(name, found)
    if layer is None:
        raise PlanError(no_layer(whole, name, found))
    return layer


def layer_named(name: str, found: SubjectFound) -> Layer | None:
    """Return the layer with this name, or with it as its alias or as that of an equal layer."""
    for meant in dict.fromkeys((layer_name(name), layer_name(name.strip()))):
        for layer in (*found.layers, *found.modules):
            if meant in (layer.name, layer.alias, *layer.same_as):
                return layer
    return None


def no_layer(whole: str, name: str, found: SubjectFound) -> str:
    """Return the message for a layer that does not exist."""
    there = ", ".join(layer_text(layer.shown) for layer in found.layers[:12])
    more = ", …" if len(found.layers) > 12 else ""
    every = [layer for layer in (*found.layers, *found.modules) if layer.shown.isprintable()]
    names = [one for layer in every for one in (layer.shown, layer.name, *layer.same_as)]
    near = did_you_mean(name.strip(), map(layer_text, filter(str.isprintable, names)))
    return f"{whole} calls no layer {name!r}; it calls {there}{more}{near}"


def _combinations(
    sweep: Sweep, subject: str, devices: Sequence[str], probe: Probe
) -> Iterable[dict[str, str]]:
    whole = parse(subject).whole
    values: list[Sequence[str]] = []
    for axis in AXES:
        given: Sequence[str] = sweep.axes.get(axis.name, ())
        if axis.name == "device":
            given = devices
        elif axis.name == "input" and not given:
            given = (_own_input(whole, probe.subjects[whole]),)
        values.append(given or (str(axis.default),))
    for combination in itertools.product(*values):
        yield dict(zip(BY_NAME, combination, strict=True))


def _fixed_batch(settings: Mapping[str, str], whole: str, probe: Probe) -> str | None:
    """Return the only batch that the subject's own inputs have; None if they follow the axis."""
    fixed = probe.subjects[whole].fixed_batch
    return str(fixed) if fixed is not None and settings["input"] == "own" else None


def _ignores_batch(fixed: str) -> str:
    return (
        f"example_inputs(batch) gives the same sizes for every batch, so N={fixed} is measured and "
        "no other; let it use its argument, or give --input"
    )


def _devices(sweep: Sweep, probe: Probe) -> tuple[tuple[str, ...], dict[str, str]]:
    """Return the devices of a sweep, and those that `auto` leaves out → one that is like them.

    Raises PlanError.
    """
    asked = sweep.axes.get("device", ()) or (str(BY_NAME["device"].default),)
    firsts = _first_of_each_kind(probe.devices.values())
    names: dict[str, None] = {}
    for device in asked:
        if device == "auto":
            names.update(dict.fromkeys(firsts.values()))
        elif device == "all":
            names.update(dict.fromkeys(probe.devices))
        else:
            names.setdefault(one_device(device, probe))
    there = tuple(name for name in names if sweep.on in ("any", _kind(name)))
    same = {
        one.name: firsts[one.type, one.shown]
        for one in probe.devices.values()
        if "auto" in asked and one.name not in names and sweep.on in ("any", _kind(one.name))
    }
    return there, same


def _first_of_each_kind(devices: Iterable[Device]) -> dict[tuple[str, str], str]:
    """Return the first device by its type and the name that its driver reports."""
    found: dict[tuple[str, str], str] = {}
    for one in devices:
        found.setdefault((one.type, one.shown), one.name)
    return found


def one_device(device: str, probe: Probe) -> str:
    """Return the full name of a device: `cuda` is `cuda:0`.  Raises PlanError."""
    full = device if device in probe.devices else f"{device}:0"
    if full not in probe.devices:
        there = ", ".join(probe.devices)
        if device.partition(":")[0] == "cuda" and probe.no_gpu:
            raise PlanError(f"--device {device}: {probe.no_gpu}; expected one of {there}")
        raise PlanError(
            f"--device {device}: torch {probe.torch} finds no such device; "
            f"expected one of {there}{did_you_mean(device, probe.devices)}"
        )
    return full


def _kind(device: str) -> On:
    return "cpu" if device == "cpu" else "accelerators"


def _own_input(whole: str, found: SubjectFound) -> str:
    if whole in SHIPPED:
        return SHIPPED_INPUT[whole]
    if found.has_inputs:
        return "own"
    if found.guessed:
        return found.guessed
    raise PlanError(
        f"{whole}: the shape of its input is unknown; give --input, e.g. --input 3,224,224 "
        "(without the batch dimension), or give the module a method example_inputs(batch)"
    )


def _without_effect(settings: Mapping[str, str], device: Device, layer: Layer | None) -> str | None:
    """Return why this combination cannot have an effect; None if it can."""
    on_cpu = device.type == "cpu"
    compile_, amp = settings["compile"], settings["amp"]
    rules: tuple[tuple[bool, str], ...] = (
        (
            not device.has_cudnn and settings["cudnn_benchmark"] == "on",
            f"{device.type} has no cuDNN to benchmark",
        ),
        (not device.has_tf32 and settings["tf32"] == "on", f"{device.shown} has no TF32"),
        (
            device.type != "cuda" and compile_ in ("reduce-overhead", "max-autotune-no-cudagraphs"),
            f"{compile_} is about CUDA graphs; on {'a CPU' if on_cpu else device.name} it is "
            + ("default" if compile_ == "reduce-overhead" else "max-autotune"),
        ),
        (
            not on_cpu and settings["threads"] != "auto",
            "threads are the CPU's",
        ),
        (not on_cpu and settings["allocator"] == "system", "the C allocator is the CPU's"),
        (
            amp != "off" and settings["dtype"] != "float32",
            f"autocast is for float32 weights, not for dtype {settings['dtype']}",
        ),
        (
            compile_ != "off" and layer is not None and layer.type in NO_ARITHMETIC,
            f"{layer.type if layer else ''} computes nothing that could be compiled",
        ),
        (
            settings["memory_format"] == "channels_last" and not has_images(settings["input"]),
            "channels_last needs an image (C, H, W) among the inputs",
        ),
    )
    return next((reason for holds, reason in rules if holds), None)


def _same_as_another(settings: Mapping[str, str], sweep: Sweep, device: Device) -> str | None:
    """Return why a case is left out that another value of an axis of this sweep makes as well."""
    asked = sweep.axes.get("tf32", ())
    if settings["tf32"] == "off" and "default" in asked and not device.has_tf32:
        return f"{device.shown} has no TF32, so off is its default"
    asked = sweep.axes.get("grad_mode", ())
    if settings["mode"] == "inference" or not asked or settings["grad_mode"] == asked[0]:
        return None
    return "grad_mode has no effect on training, which always computes gradients"


def _emulated(settings: Mapping[str, str], sweep: Sweep, device: Device) -> str | None:
    """Return why bfloat16 is left out of a sweep without emulated arithmetic."""
    if sweep.emulated or device.has_bfloat16:
        return None
    axis = next((name for name in ("amp", "dtype") if settings[name] == "bfloat16"), None)
    if axis is None:
        return None
    return f"{device.shown} has no instructions for bfloat16; --{axis} bfloat16 measures it"


def has_images(input_: str) -> bool:
    """Return whether an input of the axis has three dimensions beside the batch; `own` may have."""
    if input_ == "own":
        return True
    return any(part.split(":")[0].count(",") == 2 for part in input_.split(";"))


def _case(subject: str, settings: Mapping[str, str], device: Device) -> Case:
    """Return the case with these values; an axis without meaning there is None."""
    values: dict[str, Any] = {
        axis.name: settings[axis.name]
        if axis.means_something(
            mode=settings["mode"],
            on_cpu=device.type == "cpu",
            cudnn=device.has_cudnn,
            tf32=device.has_tf32,
        )
        else None
        for axis in AXES
    }
    values["batch"] = int(settings["batch"])
    values["input"] = ";".join(part.strip() for part in settings["input"].split(";"))
    values["device"] = device.name
    return Case(subject=subject, **values)


def _with_twins(
    cases: Mapping[str, Case], thresholds: Mapping[str, float]
) -> tuple[dict[str, Case], dict[str, float]]:
    """Return the cases, each plain one followed by the same case as a plain process runs it."""
    found, limits = {}, dict(thresholds)
    plain = _plain(cases.values())
    for case_id, case in cases.items():
        found[case_id] = case
        if case_id in plain and case.allocator and parse(case.subject).layer is None:
            twin = replace(case, allocator="system")
            found[twin.case_id] = twin
            if case_id in thresholds:
                limits[twin.case_id] = thresholds[case_id]
    return found, limits


def _plain(cases: Iterable[Case]) -> set[str]:
    """Return the ids of the cases that a subject's other settings are compared with."""
    by_network: dict[tuple[str, str], list[Case]] = {}
    for case in cases:
        by_network.setdefault((case.subject, case.input), []).append(case)
    found: set[str] = set()
    for own in by_network.values():
        base = {}
        for axis in AXES:
            if axis.name not in NOT_SETTINGS:
                there = {getattr(case, axis.name) for case in own} - {None}
                base[axis.name] = plainest(axis, there)
        found.update(
            case.case_id
            for case in own
            if all(getattr(case, name) in (None, value) for name, value in base.items())
        )
    return found


def _only(cases: Mapping[str, Case], only: Sequence[str]) -> list[Case]:
    if not only:
        return list(cases.values())
    for case_id in only:
        if case_id not in cases:
            raise PlanError(
                f"--case {case_id}: the sweep has no such case; `bench run --list` shows all "
                f"{len(cases)}{did_you_mean(case_id, cases)}"
            )
    return [cases[case_id] for case_id in dict.fromkeys(only)]
