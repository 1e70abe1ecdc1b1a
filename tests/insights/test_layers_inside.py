"""Layers measured alone beside their time inside, from made-up runs and profiles."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from bench.commands import report
from bench.core.records import Case, Entry, Failure, Measurement, Samples
from bench.html import layer_tables, page
from bench.insights import layers_inside
from bench.insights.layers_inside import Beside
from bench.results import profile_load, profile_tables
from bench.results.loading import ReadError
from bench.results.profile_load import Profiled
from bench.results.results import Results
from tests.support.cases import case
from tests.support.results import replicates, run_of

LAYERS = [
    {"name": "m.0", "alias": "a", "same_as": []},
    {"name": "m.1", "alias": "b", "same_as": ["m.1#2", "b#2"], "calls": 2},
]
FORWARD = {"(network)": 0.001, "a": 0.005, "b": 0.002, "b#2": 0.002}  # seconds, together 10 ms
KINDS = {"(network)": "module", "(autograd)": "residual"}
PHASES = ("forward", "backward", "optimizer")


def profile(
    folder: Path,
    of: Case,
    forward_s: Mapping[str, float],
    backward_s: Mapping[str, float] | None = None,
    device_s: Mapping[str, float] | None = None,
    *,
    contended: bool = False,
) -> list[Profiled]:
    """A profile's directory, written and read."""
    rows = []
    for name in dict.fromkeys([*forward_s, *(backward_s or {}), *(device_s or {})]):
        row: dict[str, Any] = {"layer": name, "module": name.partition("#")[0], "type": "X"}
        row |= {"kind": KINDS.get(name, "layer")}
        row |= {f"{phase}_{where}_s": None for phase in PHASES for where in ("host", "device")}
        row["forward_host_s"] = forward_s.get(name, 0.0)
        row["backward_host_s"] = (backward_s or {}).get(name, 0.0)
        row["host_s"] = row["forward_host_s"] + row["backward_host_s"]
        row["forward_device_s"] = row["device_s"] = (device_s or {}).get(name)
        rows.append(row)
    one = profile_tables.Profile(
        case=of,
        folder=folder / "case",
        steps=3,
        whole_s=sum(row["host_s"] for row in rows),
        profiled_s=0.010,
        unprofiled_s=0.009,
        contended=contended,
        layers=rows,
        operators=[],
        kernels=[],
        device=None,
        memory=None,
        notes=[],
    )
    one.folder.mkdir(parents=True)
    profile_tables.write_case(one)
    return profile_load.load(folder)


def alone(a_s: float = 0.004, b_s: float = 0.003, **settings: Any) -> list[Entry]:
    """Of b one call is measured, and it is called twice."""
    parts = {"net/a": a_s, "net/b": b_s}
    return [
        entry
        for name, time_s in parts.items()
        for entry in replicates(case(subject=name, **settings), [time_s] * 5)
    ]


def run(folder: Path, entries: Sequence[Entry], **more: Any) -> Results:
    return run_of(folder / "run", entries, **{"layers": {"net": LAYERS}, **more})


def beside(tmp_path: Path, entries: Sequence[Entry], profiles: list[Profiled]) -> list[Beside]:
    found, problems = layers_inside.of_run(run(tmp_path, entries), profiles)
    assert problems == []
    return found


def test_each_layer_has_its_share_alone_beside_its_share_inside(tmp_path: Path) -> None:
    (one,) = beside(tmp_path, alone(), profile(tmp_path / "p", case(subject="net"), FORWARD))
    a, b = one.lines
    assert (a.layer, a.calls, a.alone_s, a.inside_s) == ("a", 1, 0.004, 0.005)
    assert (a.alone_ratio, a.inside_ratio) == pytest.approx((0.4, 0.5))
    assert a.shares_ratio == pytest.approx(1.25)
    assert (b.layer, b.calls, b.alone_s, b.inside_s) == ("b", 2, 0.006, 0.004)
    assert b.shares_ratio == pytest.approx(0.4 / 0.6)
    assert one.rest_s == pytest.approx(0.001)


def test_the_words_say_both_shares_the_times_and_that_a_profiled_step_is_slower(
    tmp_path: Path,
) -> None:
    (one,) = beside(tmp_path, alone(), profile(tmp_path / "p", case(subject="net"), FORWARD))
    said = layer_tables.section(one, "")
    assert said.title == case(subject="net").case_id
    assert said.summary == (
        "b: 60 % of the layers measured alone, 40 % of the forward inside; "
        "a: 40 % alone, 50 % inside. In no layer: 10 % of the forward."
    )
    assert said.evidence == ("b 6.00 ms alone, 4.00 ms inside; a 4.00 ms alone, 5.00 ms inside")
    assert said.rows == (
        ("a", "1", "4.00 ms", "40.0 %", "5.00 ms", "50.0 %", "1.25"),
        ("b", "2", "6.00 ms", "60.0 %", "4.00 ms", "40.0 %", "0.67"),
        ("in no layer", "", "", "", "1.00 ms", "10.0 %", ""),
    )
    assert "share inside is the share of the forward of a profiled step" in said.caution
    slows = "under the profiler, which slows it, a step took 10.0 ms, without it 9.00 ms"
    assert slows in said.caution
    assert "mean of 3 steps" in said.caution
    assert "disturbed" not in said.caution
    assert "another machine" not in said.caution


def test_training_has_a_share_of_each_phase_and_what_is_computed_again_is_its_layers(
    tmp_path: Path,
) -> None:
    def trained(name: str, forward_s: float, backward_s: float) -> list[Entry]:
        spans = {"forward": forward_s, "backward": backward_s, "step": forward_s + backward_s}
        samples = tuple(
            Samples(phase=phase, kind="latency", calls_per_sample=1, times_s=(time_s,))
            for phase, time_s in spans.items()
        )
        of = case(subject=name, mode="training")
        return [Measurement(case=of, replicate=number, samples=samples) for number in range(3)]

    entries = [*trained("net/a", 0.001, 0.003), *trained("net/b", 0.001, 0.001)]
    backward_s = {"a": 0.004, "a#2": 0.002, "b": 0.001, "b#2": 0.001, "(autograd)": 0.002}
    of = case(subject="net", mode="training")
    forward, backward = beside(tmp_path, entries, profile(tmp_path / "p", of, FORWARD, backward_s))
    assert [line.alone_s for line in forward.lines] == [0.001, 0.002]
    a, b = backward.lines
    assert (a.inside_s, a.inside_ratio, a.alone_ratio) == pytest.approx((0.006, 0.6, 0.6))
    assert (b.inside_s, b.alone_s) == pytest.approx((0.002, 0.002))
    assert backward.rest_s == pytest.approx(0.002)
    assert layer_tables.section(backward, "").title.endswith(" · backward")


def test_where_the_device_was_profiled_its_times_are_compared(tmp_path: Path) -> None:
    on = {"device": "cuda:0", "threads": None, "allocator": None}
    entries = [
        Measurement(
            case=case(subject=name, **on),
            replicate=number,
            samples=(
                Samples(phase="forward", kind="latency", calls_per_sample=1, times_s=(0.1,)),
                Samples(phase="forward", kind="device", calls_per_sample=1, times_s=(time_s,)),
            ),
        )
        for name, time_s in (("net/a", 0.004), ("net/b", 0.003))
        for number in range(3)
    ]
    of = case(subject="net", **on)
    (one,) = beside(
        tmp_path, entries, profile(tmp_path / "p", of, FORWARD, device_s={"a": 0.002, "b": 0.006})
    )
    assert [(line.layer, line.alone_s, line.inside_s) for line in one.lines] == [
        ("b", 0.006, 0.006),
        ("a", 0.004, 0.002),
    ]
    assert "in which the device worked" in layer_tables.section(one, "").caution


def test_a_layer_without_a_call_in_the_profile_is_unknown_inside_and_not_zero(
    tmp_path: Path,
) -> None:
    fused = {"(network)": 0.001, "encoder": 0.007, "a": 0.002}
    (one,) = beside(tmp_path, alone(), profile(tmp_path / "p", case(subject="net"), fused))
    assert [(line.layer, line.inside_s, line.shares_ratio) for line in one.lines] == [
        ("a", 0.002, pytest.approx(0.5)),
        ("b", None, None),
    ]
    said = layer_tables.section(one, "")
    assert said.rows[1] == ("b", "2", "6.00 ms", "60.0 %", "–", "–", "–")
    assert said.summary.startswith(
        "a: 40 % of the layers measured alone, 20 % of the forward inside."
    )
    assert one.rest_s == pytest.approx(0.008)


@pytest.mark.parametrize(
    ("entries", "layers", "forward_s", "why"),
    [
        (alone(batch=32), LAYERS, FORWARD, "in other settings, or at another batch size"),
        (alone(amp="bfloat16"), LAYERS, FORWARD, "in other settings, or at another batch size"),
        (alone()[:5], LAYERS, FORWARD, "not all layers were measured alone: b"),
        (alone(), LAYERS, {"(compiled graph 0/0)": 0.01}, "has none of these layers"),
        (alone(), [], FORWARD, "the run did not measure its layers"),
        (
            replicates(case(subject="net"), [0.01]),
            LAYERS,
            FORWARD,
            "the run did not measure its layers",
        ),
    ],
)
def test_a_case_that_stands_beside_nothing_says_why(
    tmp_path: Path,
    entries: Sequence[Entry],
    layers: list[Any],
    forward_s: Mapping[str, float],
    why: str,
) -> None:
    of = case(subject="net")
    found, (said,) = layers_inside.of_run(
        run(tmp_path, entries, layers={"net": layers}), profile(tmp_path / "p", of, forward_s)
    )
    assert found == []
    assert said.startswith(f"{of.case_id}: ")
    assert why in said


def test_a_profile_of_another_machine_says_so(tmp_path: Path) -> None:
    profiles = profile(tmp_path / "p", case(subject="net"), FORWARD)
    for machine, other in (("m1", False), ("m2", True)):
        (tmp_path / "p/run.json").write_text(f'{{"machine": {{"machine_id": "{machine}"}}}}')
        profiles = profile_load.load(tmp_path / "p")
        (one,) = beside(tmp_path / machine, alone(), profiles)
        assert ("another machine" in layer_tables.section(one, "").caution) is other


def test_a_disturbed_profile_says_so(tmp_path: Path) -> None:
    profiles = profile(tmp_path / "p", case(subject="net"), FORWARD, contended=True)
    (one,) = beside(tmp_path, alone(), profiles)
    assert "Other work disturbed the profile" in layer_tables.section(one, "").caution


def test_of_very_many_layers_the_dearest_are_shown_and_the_others_counted(tmp_path: Path) -> None:
    names = [f"l{number}" for number in range(40)]
    entries = [e for name in names for e in replicates(case(subject=f"net/{name}"), [0.001] * 3)]
    inside = {name: 0.001 * number for number, name in enumerate(names, 1)}
    found, _ = layers_inside.of_run(
        run(tmp_path, entries, layers={"net": [{"name": name, "calls": 1} for name in names]}),
        profile(tmp_path / "p", case(subject="net"), inside),
    )
    said = layer_tables.section(found[0], "run one")
    assert [said.rows[0][0], said.rows[29][0], len(said.rows)] == ["l39", "l10", 31]
    assert said.left_out == "10 more layers are left out."
    assert said.title.startswith("run one · ")


# --- reading a profile, and the page ---------------------------------------------------------


def test_names_come_back_as_they_were_whatever_a_spreadsheet_makes_of_them(tmp_path: Path) -> None:
    (one,) = profile(tmp_path, case(subject="net"), {"=1+1": 0.001, "<b>,\n": 0.002})
    assert [row["layer"] for row in one.layers] == ["=1+1", "<b>,\n"]
    assert one.layers[0]["forward_device_s"] is None


@pytest.mark.parametrize(
    ("file", "text", "why"),
    [
        ("profile.json", "{", "is not valid JSON"),
        ("profile.json", "{}", "is not a profile of a case"),
        ("profile.json", "[]", "is not a JSON object"),
        ("layers.csv", "a,b\n", "has no column case_id, layer, module, type"),
        ("layers.csv", None, "cannot be read"),
        ("layers.csv", "0.001→x", "line 2: forward_host_s is 'x'; expected a time or a share"),
        ("layers.csv", "0.001→-1", "line 2: forward_host_s is '-1'; expected a time or a share"),
    ],
)
def test_what_is_no_profile_is_refused_in_one_line(
    tmp_path: Path, file: str, text: str | None, why: str
) -> None:
    profile(tmp_path, case(subject="net"), FORWARD)
    path = tmp_path / "case" / file
    if text is None:
        path.unlink()
    elif "→" in text:
        old, new = text.split("→")
        path.write_text(path.read_text().replace(old, new, 1))
    else:
        path.write_text(text)
    with pytest.raises(ReadError, match=why) as caught:
        profile_load.load(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_report_of_a_run_and_a_profile_shows_both_and_lies_with_the_run(tmp_path: Path) -> None:
    run(tmp_path, [*alone(), *replicates(case(subject="net"), [0.01] * 5)])
    profile(tmp_path / "p", case(subject="net"), FORWARD)
    assert report.report([tmp_path / "run", tmp_path / "p"], None) == 0
    html = (tmp_path / "run/report.html").read_text(encoding="utf-8")
    assert "Layers alone and inside the network" in html
    assert "a: 40 % alone, 50 % inside" in html.replace("\u202f", " ").replace("\xa0", " ")
    assert '<td class="n">1.25</td>' in html
    assert not (tmp_path / "p/report.html").exists()


def test_without_a_profile_the_page_says_nothing_of_inside(tmp_path: Path) -> None:
    assert 'id="inside"' not in page.build([run(tmp_path, alone())]).html


def test_the_page_says_of_which_cases_of_a_profile_no_layers_were_measured(tmp_path: Path) -> None:
    nasty = case(subject="net<img src=x>\x1b")
    one = run(tmp_path, [*alone(), Failure(case=nasty, replicate=0, status="oom", reason="")])
    html = page.build([one], profile(tmp_path / "p", nasty, FORWARD)).html
    assert "net&lt;img src=x&gt;?:inference" in html
    assert "the run did not measure its layers" in html
