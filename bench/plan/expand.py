"""Turn a configuration and the result of the probe into the list of cases.  Pure.

A combination that cannot have an effect is left out, with its reason, so that no row shows a
setting that did nothing.
"""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from bench.core.axes import AXES, BY_NAME, plainest
from bench.core.errors import UserError
from bench.core.near import did_you_mean
from bench.core.records import Case
from bench.core.row_names import NOT_SETTINGS
from bench.core.subject import SHIPPED, layer_name, layer_text, parse
from bench.host.probed import Device, Layer, Probe, SubjectFound
from bench.plan.config import Config, Sweep, layers_of

SHIPPED_INPUT = {"convnet": "3,224,224"}
LAYERS = "layers"  # value of LeftOut.settings: all layers of a subject
NO_ARITHMETIC = frozenset({"Flatten", "Identity", "Unflatten"})  # they compute nothing


class PlanError(UserError):
    """No plan can be made; the message says what is missing and what exists."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A combination that is not measured."""

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


def make(config: Config, probe: Probe, *, as_plain_process: bool = False) -> Plan:
    """Return each combination that can have an effect, once.  Raises PlanError.

    as_plain_process: add a twin with `allocator=system` to each plain case of a whole network on
    the CPU, unless the configuration names an allocator.
    """
    cases: dict[str, Case] = {}
    left_out: dict[tuple[str, str, str], LeftOut] = {}
    thresholds: dict[str, float] = {}
    for sweep in config.sweeps:
        for whole, why in _without_layers(sweep, probe).items():
            left_out[whole, LAYERS, why] = LeftOut(f"{whole}/*", LAYERS, why)
        for whole, why in _smaller_layers(sweep, probe).items():
            left_out[whole, LAYERS, why] = LeftOut(f"{whole}/*", LAYERS, why)
        for subject, layer in _subjects(sweep, probe):
            if not subject.isprintable():
                why = "the name of the layer has characters that cannot be printed"
                left_out[subject, LAYERS, why] = LeftOut(subject, LAYERS, why)
                continue
            for settings in _combinations(sweep, subject, probe):
                device = probe.devices[settings["device"]]
                reason = (
                    _without_effect(settings, device, layer)
                    or _second_grad_mode(settings, sweep)
                    or _emulated(settings, sweep, device)
                )
                if reason:
                    shown = " ".join(f"{key}={value}" for key, value in settings.items())
                    left_out.setdefault((subject, shown, reason), LeftOut(subject, shown, reason))
                    continue
                case = _case(subject, settings, device)
                if sweep.threshold is not None and case.case_id not in cases:
                    thresholds[case.case_id] = sweep.threshold
                cases.setdefault(case.case_id, case)
    if as_plain_process and not any(sweep.axes.get("allocator") for sweep in config.sweeps):
        cases, thresholds = _with_twins(cases, thresholds)
    chosen = _only(cases, config.only)
    if not chosen:
        reasons = {one.reason for one in left_out.values()}
        raise PlanError("nothing to measure: " + ("; ".join(sorted(reasons)) or "no cases"))
    guesses = {name: one.guessed for name, one in probe.subjects.items() if one.guessed}
    inputs = {(parse(case.subject).whole, case.input) for case in chosen}
    guessed = {name: text for name, text in guesses.items() if (name, text) in inputs}
    return Plan(tuple(chosen), tuple(left_out.values()), thresholds, guessed)


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
        f"the most are measured; --subject {whole}/* measures all"
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


def _combinations(sweep: Sweep, subject: str, probe: Probe) -> Iterable[dict[str, str]]:
    whole = parse(subject).whole
    values: list[Sequence[str]] = []
    for axis in AXES:
        given: Sequence[str] = sweep.axes.get(axis.name, ())
        if axis.name == "device":
            given = _devices(given or (str(axis.default),), probe)
        elif axis.name == "input" and not given:
            given = (_own_input(whole, probe.subjects[whole]),)
        values.append(given or (str(axis.default),))
    for combination in itertools.product(*values):
        yield dict(zip(BY_NAME, combination, strict=True))


def _devices(asked: Sequence[str], probe: Probe) -> tuple[str, ...]:
    names: dict[str, None] = {}
    for device in asked:
        if device == "auto":
            names.update(dict.fromkeys(probe.devices))
            continue
        full = device if device in probe.devices else f"{device}:0"
        if full not in probe.devices:
            there = ", ".join(probe.devices)
            raise PlanError(
                f"--device {device}: torch {probe.torch} finds no such device; "
                f"expected one of {there}{did_you_mean(device, probe.devices)}"
            )
        names.setdefault(full)
    return tuple(names)


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


def _second_grad_mode(settings: Mapping[str, str], sweep: Sweep) -> str | None:
    """Return why a training step is left out: grad_mode has no effect on it."""
    asked = sweep.axes.get("grad_mode", ())
    if settings["mode"] == "inference" or not asked or settings["grad_mode"] == asked[0]:
        return None
    return "grad_mode has no effect on training, which always computes gradients"


def _emulated(settings: Mapping[str, str], sweep: Sweep, device: Device) -> str | None:
    """Return why bfloat16 is left out of a sweep without emulated arithmetic."""
    if sweep.emulated or device.has_bfloat16:
        return None
    if "bfloat16" not in (settings["amp"], settings["dtype"]):
        return None
    return f"{device.shown} has no instructions for bfloat16; --amp bfloat16 measures it"


def has_images(input_: str) -> bool:
    """Whether an input of the axis has three dimensions beside the batch; `own` may have."""
    if input_ == "own":
        return True
    return any(part.split(":")[0].count(",") == 2 for part in input_.split(";"))


def _case(subject: str, settings: Mapping[str, str], device: Device) -> Case:
    on_cpu = device.type == "cpu"
    return Case(
        subject=subject,
        mode=settings["mode"],
        batch=int(settings["batch"]),
        input=";".join(part.strip() for part in settings["input"].split(";")),
        device=device.name,
        dtype=settings["dtype"],
        amp=settings["amp"],
        memory_format=settings["memory_format"],
        compile=settings["compile"],
        cudnn_benchmark=settings["cudnn_benchmark"] if device.has_cudnn else None,
        tf32=settings["tf32"] if device.has_tf32 else None,
        threads=settings["threads"] if on_cpu else None,
        allocator=settings["allocator"] if on_cpu else None,
        grad_mode=settings["grad_mode"] if settings["mode"] == "inference" else None,
    )


def _with_twins(
    cases: Mapping[str, Case], thresholds: Mapping[str, float]
) -> tuple[dict[str, Case], dict[str, float]]:
    """The cases, each plain one followed by the same case as a plain process runs it."""
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
    """The ids of the cases that a subject's other settings are compared with."""
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
