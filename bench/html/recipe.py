"""The code to paste for the setting that a run found fastest, and its costs.

Every value comes from a file.  A value that its axis does not have gives no code at all.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from bench.compare.groups import Group, groups, label
from bench.compare.setting_speedup import SettingSpeedup
from bench.core import units
from bench.core.axes import AS_BUILT, AXES, BY_NAME, AxisError
from bench.core.records import Row
from bench.core.text import printable, shortened
from bench.host import allocators
from bench.insights import costs, settings
from bench.insights.insight import factor, listed
from bench.insights.settings import Contest
from bench.results.corrected import uncorrected
from bench.results.results import Medians, Results

MOST_CHARS = 80  # of a name
_PASTED = (*(axis.name for axis in AXES if axis.name not in ("batch", "input", "device")), "device")


@dataclass(frozen=True, slots=True)
class Recipe:
    """One setting of one mode and device.  All text is printable.

    shell: environment variables, which must be set before Python starts; or empty.
    costs: labels and values.
    """

    title: str
    claim: str
    code: str
    shell: str
    costs: tuple[tuple[str, str], ...]


def recipes(run: Results, most: int) -> list[Recipe]:
    """Return at most `most` recipes, those of accelerators first.

    There are none if no setting is faster beyond chance.
    """
    run = uncorrected(run)
    found = [
        (group, contest)
        for group in groups(run.rows)
        for contest in settings.contests(group, run.medians)
        if contest.preferred
    ]
    found.sort(key=lambda one: one[1].device == "cpu")
    made = (_recipe(group, contest, run.medians) for group, contest in found)
    return [one for one in made if one is not None][:most]


def _recipe(group: Group, contest: Contest, medians: Medians) -> Recipe | None:
    best = sorted(contest.preferred, key=lambda one: one.batch)
    row = best[-1].rows[1]
    try:
        values = _values(row)
    except AxisError:
        return None
    on = f" on {printable(contest.device)}" if len(group.devices) > 1 else ""
    name = shortened(printable(group.name), MOST_CHARS)
    return Recipe(
        title=f"{label(best[0].setting)} for {name} {contest.mode}{on}",
        claim=_claim(contest, best, medians),
        code="\n".join(code(values)),
        shell="\n".join(shell(values.get("allocator"))),
        costs=tuple(_costs(best[-1])),
    )


def _values(row: Row) -> Mapping[str, str]:
    """Return the values of the axes that code is made of.  Raises AxisError."""
    given = {name: getattr(row, name) for name in _PASTED}
    return {name: BY_NAME[name].check(value) for name, value in given.items() if value is not None}


def _claim(contest: Contest, best: Sequence[SettingSpeedup], medians: Medians) -> str:
    claim = f"{listed([f'{factor(one.span)} at N={one.batch}' for one in best])} against plain."
    rivals = dict.fromkeys(
        label(other.setting) for one in best for other in contest.rivals(one, medians)
    )
    if not rivals:
        return claim
    named = [*rivals][: settings.MOST_RIVALS]
    if len(rivals) > len(named):
        named.append(f"{len(rivals) - len(named)} more")
    return f"{claim} It is not clearly faster than {listed(named)} at each batch size."


def code(values: Mapping[str, str]) -> Iterator[str]:
    """Yield lines of Python that set the values of a case that are not torch's defaults."""
    yield "import torch"
    yield ""
    if (threads := values.get("threads", "auto")) != "auto":
        yield f"torch.set_num_threads({threads})"
    if values.get("cudnn_benchmark") == "on":
        yield "torch.backends.cudnn.benchmark = True"
    if values.get("tf32") == "on":
        yield 'torch.set_float32_matmul_precision("high")'
        yield "torch.backends.cudnn.allow_tf32 = True"
    elif values.get("tf32") == "off":
        yield "torch.backends.cudnn.allow_tf32 = False  # as measured; torch's default is True"
    training = values.get("mode") == "training"
    moved = _moved(values)
    yield f"model = model{moved}.{'train' if training else 'eval'}()"
    if moved:
        images = any(word in moved for word in ("dtype=", "memory_format="))
        yield f"x = x{moved}  # every input{' that is an image' if images else ''}"
    if training and (device := values.get("device", "cpu")) != "cpu":
        yield f'target = target.to("{device}")'
    if (mode := values.get("compile", "off")) != "off":
        named = "" if mode == "default" else f', mode="{mode}"'
        yield f"model = torch.compile(model, dynamic=False{named})"
    yield from _training(values) if training else _inference(values)


def _moved(values: Mapping[str, str]) -> str:
    """Return `.to(…)`, or an empty text."""
    parts = []
    if (device := values.get("device", "cpu")) != "cpu":
        parts.append(f'"{device}"')
    if (dtype := values.get("dtype", AS_BUILT)) not in ("float32", AS_BUILT):
        parts.append(f"dtype=torch.{dtype}")
    if (layout := values.get("memory_format", "contiguous")) != "contiguous":
        parts.append(f"memory_format=torch.{layout}")
    return f".to({', '.join(parts)})" if parts else ""


def _autocast(values: Mapping[str, str]) -> str:
    amp = values.get("amp", "off")
    kind = values.get("device", "cpu").partition(":")[0]
    return "" if amp == "off" else f'torch.autocast("{kind}", dtype=torch.{amp})'


def _inference(values: Mapping[str, str]) -> Iterator[str]:
    grad_mode = values.get("grad_mode", "inference_mode")
    around = ["" if grad_mode == "enabled" else f"torch.{grad_mode}()", _autocast(values)]
    yield from _within(", ".join(filter(None, around)), "y = model(x)")


def _training(values: Mapping[str, str]) -> Iterator[str]:
    """Yield the training step as it is measured: backward outside autocast, with GradScaler."""
    scaled = values.get("amp") == "float16"
    if scaled:
        kind = values.get("device", "cpu").partition(":")[0]
        yield f'scaler = torch.amp.GradScaler("{kind}")  # a single time, before the loop'
    yield from _within(_autocast(values), "loss = criterion(model(x), target)")
    yield "scaler.scale(loss).backward()" if scaled else "loss.backward()"
    yield "scaler.step(optimizer)" if scaled else "optimizer.step()"
    if scaled:
        yield "scaler.update()"
    yield "optimizer.zero_grad()"


def _within(around: str, line: str) -> Iterator[str]:
    if around:
        yield f"with {around}:"
    yield f"    {line}" if around else line


def shell(kind: str | None) -> Iterator[str]:
    """Yield the shell commands for the axis `allocator`, for Linux and glibc."""
    if kind == "retained":
        for name, value in allocators.environment(kind, {}).items():
            yield f"export {name}={value}"
    if kind == "system":
        yield f"unset {' '.join(allocators.THRESHOLDS)}"


def _costs(one: SettingSpeedup) -> Iterator[tuple[str, str]]:
    """Yield the costs at the largest batch size, with those of the plain setting."""
    base, value = one.rows
    if value.peak_bytes:
        beside = ""
        if base.peak_bytes:
            change = value.peak_bytes / base.peak_bytes - 1
            beside = f"{units.bytes_(base.peak_bytes)}, {change:+.0%}".replace("%", " %")
        yield "peak memory", _beside(units.bytes_(value.peak_bytes), beside)
    if value.first_call_s:
        plain = units.seconds(base.first_call_s) if base.first_call_s else ""
        yield "first call", _beside(units.seconds(value.first_call_s), plain)
    if paid := costs.paybacks([one]):
        yield "spent a single time", " ".join(paid)
    if value.relative_error is not None:
        plain = "" if base.relative_error is None else f"{base.relative_error:.1g}"
        yield "error against float64", _beside(f"{value.relative_error:.1g}", plain)


def _beside(own: str, plain: str) -> str:
    return f"{own} (plain {plain})" if plain else own
