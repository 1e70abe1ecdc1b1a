"""The page in a real browser: it sorts, it filters, it complains of nothing."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.commands import report
from bench.core.records import Entry, Failure
from tests.html.test_page import HOSTILE
from tests.support import synthetic
from tests.support.cases import case
from tests.support.chromium import PATH, Browser, browser
from tests.support.results import replicates, run_of

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(PATH is None, reason="needs Chromium (Debian: apt install chromium)"),
]
ROWS = "Array.from(document.querySelectorAll('#rows tbody tr'))"
SHOWN = f"{ROWS}.filter((one) => !one.hidden)"


@pytest.fixture(scope="module")
def html(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page") / "run"
    nasty = replicates(case(subject=f"net{HOSTILE}"), [0.5] * 5)
    broken: list[Entry] = [
        Failure(case=case(batch=64), replicate=0, status="oom", reason="too big")
    ]
    run_of(folder, [*synthetic.entries(gpu=True), *nasty, *broken], layers=synthetic.LISTED)
    assert report.report([folder], None) == 0
    return folder / "report.html"


@pytest.fixture(scope="module")
def chrome(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("profile")) as one:
        yield one


@pytest.fixture
def shown(chrome: Browser, html: Path) -> Browser:
    chrome.said.clear()
    chrome.asked.clear()
    chrome.open(html)
    return chrome


def click(header: str) -> str:
    return f"document.querySelector('th[data-column={header}] button').click()"


def cells(chrome: Browser, column: str) -> list[str]:
    """Return the texts of a column, from top to bottom."""
    place = f"document.querySelector('th[data-column={column}]').cellIndex"
    return list(chrome.run(f"{ROWS}.map((one) => one.cells[{place}].textContent.trim())"))


def value(shown: str) -> float:
    """`12.3 ms` → 0.0123"""
    number, _, unit = shown.partition(" ")
    prefix = unit.removesuffix("s").removesuffix("B").removesuffix("%")
    return (
        float(number)
        * {"": 1, "n": 1e-9, "µ": 1e-6, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9}[prefix]
    )


def test_it_complains_of_nothing_and_asks_nobody(shown: Browser, html: Path) -> None:
    assert shown.said == []
    outside = [one for one in shown.asked if not one.startswith("data:")]
    assert outside == [html.resolve().as_uri()]


def test_nothing_that_a_name_holds_becomes_a_part_of_the_page(shown: Browser) -> None:
    assert shown.run("document.querySelectorAll('img[onerror], img[src=x]').length") == 0
    assert shown.run("document.body.textContent.includes('onerror=alert(1)')")


@pytest.mark.parametrize("column", ["time_s", "half_width_ratio", "images_per_s", "peak_bytes"])
def test_a_click_sorts_by_the_numbers_that_are_shown_and_a_second_turns_it_round(
    shown: Browser, column: str
) -> None:
    before = sorted(cells(shown, column))
    for turned, order in ((False, "ascending"), (True, "descending")):
        shown.run(click(column))
        found = cells(shown, column)
        assert sorted(found) == before
        known = [value(one) for one in found if one]
        assert known == sorted(known, reverse=turned)
        assert len(set(known)) > 10
        assert not any(found[len(known) :])  # what is unknown stands last
        assert shown.run("document.querySelector('[aria-sort]').getAttribute('aria-sort')") == order


def test_the_phases_of_a_step_on_an_accelerator_are_sorted_among_the_others(
    shown: Browser,
) -> None:
    shown.run(click("time_s"))
    where = f"{ROWS}.map((one) => one.textContent)"
    texts = shown.run(where)
    phases = [n for n, text in enumerate(texts) if "backward" in text and "cuda:0" in text]
    assert phases
    assert all(cells(shown, "time_s")[n] for n in phases)
    assert min(phases) < len(texts) / 2


@pytest.mark.parametrize(
    ("column", "order"),
    [
        ("phase", ["backward", "forward", "optimizer", "step", ""]),
        (
            "settings",
            [
                "amp=bfloat16",
                "as a plain process",
                "channels_last",
                "compile=default",
                "cuda:0 amp=bfloat16 tf32=off",
                "cuda:0 channels_last tf32=off",
                "cuda:0 compile=default tf32=off",
                "cuda:0 tf32=off",
                "plain",
            ],
        ),
        ("flags", ["oom", "unverified", ""]),
    ],
)
def test_a_column_of_texts_is_sorted_by_what_it_shows(
    shown: Browser, column: str, order: list[str]
) -> None:
    shown.run(click(column))
    found = cells(shown, column)
    assert [one for n, one in enumerate(found) if n == 0 or found[n - 1] != one] == order


def test_numbers_stand_on_the_right_and_names_on_the_left(shown: Browser) -> None:
    sides = f"Array.from({ROWS}[0].cells, (one) => getComputedStyle(one).textAlign)"
    assert shown.run(sides) == ["left"] * 3 + ["right", "left"] + ["right"] * 7 + ["left"]


def test_words_in_any_order_filter_the_rows_and_the_count_says_how_many(shown: Browser) -> None:
    every = shown.run(f"{ROWS}.length")
    shown.run(
        "const box = document.getElementById('search'); box.value = 'training conv1 cpu FORWARD';"
        "box.dispatchEvent(new Event('input'))"
    )
    assert shown.run(f"{SHOWN}.length") == 1
    assert shown.run("document.getElementById('count').textContent") == f"1 of {every} rows"


def test_a_choice_filters_by_a_setting(shown: Browser) -> None:
    shown.run(
        "const one = document.querySelector('select[data-column=amp]'); one.value = 'bfloat16';"
        "one.dispatchEvent(new Event('change'))"
    )
    texts = shown.run(f"{SHOWN}.map((one) => one.textContent)")
    assert texts
    assert all("amp=bfloat16" in text for text in texts)


def test_a_row_opens_all_its_columns(shown: Browser) -> None:
    shown.run(f"{ROWS}[0].click()")
    assert shown.run("document.getElementById('details').open")
    assert "case_id" in shown.run("document.querySelector('#details dl').textContent")


@pytest.mark.parametrize("dark", [False, True])
def test_on_a_phone_nothing_is_wider_than_the_screen(
    chrome: Browser, html: Path, dark: bool
) -> None:
    chrome.open(html, width=375, dark=dark)
    assert chrome.run("document.documentElement.scrollWidth") <= 375


def test_on_a_phone_a_table_of_many_batch_sizes_scrolls_by_itself(
    chrome: Browser, tmp_path: Path
) -> None:
    entries = [
        entry
        for batch in (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
        for setting in ("off", "bfloat16")
        for entry in replicates(case(batch=batch, amp=setting), [0.01] * 3)
    ]
    run_of(tmp_path / "many", entries)
    assert report.report([tmp_path / "many"], None) == 0
    chrome.open(tmp_path / "many" / "report.html", width=390)
    assert chrome.run("document.documentElement.scrollWidth") == 390
    assert chrome.run(
        "(() => { const one = document.querySelector('#speedups .scroll');"
        " return one.scrollWidth > one.clientWidth })()"
    )


def test_on_a_phone_a_plot_keeps_a_legible_size_and_scrolls_by_itself(
    chrome: Browser, html: Path
) -> None:
    chrome.open(html, width=375)
    assert chrome.run("document.querySelector('figure img').clientWidth") == 736
    figure = "document.querySelector('figure')"
    assert chrome.run(f"{figure}.scrollWidth > {figure}.clientWidth")


def test_on_a_phone_the_name_of_a_row_stays_while_its_figures_are_scrolled(
    chrome: Browser, html: Path
) -> None:
    chrome.open(html, width=375)
    left = f"Math.round({ROWS}[0].cells[0].getBoundingClientRect().left)"
    before = chrome.run(left)
    chrome.run("document.getElementById('rows').parentElement.scrollLeft = 300")
    assert chrome.run("document.getElementById('rows').parentElement.scrollLeft") == 300
    assert chrome.run(left) == before


def test_dark_paper_is_dark_and_its_ink_light(chrome: Browser, html: Path) -> None:
    chrome.open(html, dark=True)
    style = "getComputedStyle(document.body)"
    assert chrome.run(f"{style}.backgroundColor") == "rgb(20, 23, 27)"
    assert chrome.run(f"{style}.color") == "rgb(230, 233, 237)"


def test_it_prints(shown: Browser, tmp_path: Path) -> None:
    shown.pdf(tmp_path / "page.pdf")
    assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF")


def test_without_scripts_it_is_a_plain_table(chrome: Browser, html: Path) -> None:
    chrome.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        chrome.open(html)
        assert chrome.run(f"{ROWS}.length") > 50
        assert chrome.run("document.querySelector('.controls').hidden")
    finally:
        chrome.call("Emulation.setScriptExecutionDisabled", value=False)
