"""The section of the page that says why two variants take other times."""

from dataclasses import replace
from pathlib import Path

from bench.explain.explanation import explain
from bench.html import why
from bench.html.page import build
from tests.explain.sides import CONV, MODULES, PLAIN, called, side
from tests.support.cases import case
from tests.support.results import replicates, run_of

SLOWER = side({**PLAIN, CONV: (2, 30e-3)}, modules=MODULES)


def test_the_page_has_the_sentences_and_the_layers_of_an_explanation(tmp_path: Path) -> None:
    run = run_of(tmp_path / "run", replicates(case(), [0.01] * 5))
    html = build([run], explanations=[explain(side(PLAIN, modules=MODULES), SLOWER)]).html
    assert '<section id="why">' in html
    assert "forward of layer1.conv +20.0 ms (100 % of the slowdown)" in html
    assert '<td class="name">layer1.conv</td><td class="n">30.0 ms</td>' in html


def test_the_page_says_that_other_work_disturbed_the_profile(tmp_path: Path) -> None:
    run = run_of(tmp_path / "run", replicates(case(), [0.01] * 5))
    found = explain(side(PLAIN, modules=MODULES), replace(SLOWER, contended=True))
    html = build([run], explanations=[found]).html
    assert "; other work disturbed the profile: the times of the parts are doubtful" in html


def test_conversions_and_layers_that_are_left_out_are_told() -> None:
    copies = ("layer1.conv", "forward", "aten::copy_")
    many = {(f"layer{number}", "forward", "aten::addmm"): (1, 1e-3) for number in range(20)}
    quiet = explain(side(PLAIN, modules=MODULES), side(PLAIN, modules=MODULES))
    disturbed = explain(
        side({**PLAIN, **many}, modules=MODULES),
        side({**PLAIN, **many, copies: (3, 5e-3)}, modules=MODULES, contended=True),
    )
    assert why.sections([quiet])[0]["notes"] == []
    assert why.sections([disturbed])[0]["notes"] == [
        "Copies and conversions: layer1.conv 0 → 3.",
        "11 more layers are left out.",
    ]


def test_without_an_explanation_the_page_has_no_such_section(tmp_path: Path) -> None:
    run = run_of(tmp_path / "run", replicates(case(), [0.01] * 5))
    assert 'id="why"' not in build([run]).html


def test_a_layer_with_markup_in_its_name_is_text(tmp_path: Path) -> None:
    key = ("<b>x", "forward", "aten::addmm")
    modules = (called("<b>x", "Linear"),)
    found = explain(
        side({key: (1, 1e-3)}, modules=modules), side({key: (2, 9e-3)}, modules=modules)
    )
    run = run_of(tmp_path / "run", replicates(case(), [0.01] * 5))
    html = build([run], explanations=[found]).html
    assert "<b>x" not in html
    assert "&lt;b&gt;x" in html
