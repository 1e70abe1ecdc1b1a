"""The film of a terminal shows what the command printed, and what is there when nothing moves."""

import io
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from rich.console import Console
from rich.live import Live
from rich.text import Text

from tests.support import chromium
from tests.support.paths import ROOT
from tools.animated_svg import Frame, svg
from tools.demo import COLUMNS, MOST_BYTES, PROMPT_S, ROWS, film
from tools.terminal import Line, Output, Recording, Screen, Style, changes

PLAIN = Style()


def texts(lines: tuple[Line, ...]) -> list[str]:
    return ["".join(text for text, _ in line) for line in lines]


def test_colours_and_what_is_written_over_are_those_of_a_terminal() -> None:
    screen = Screen(columns=10)
    screen.feed("\x1b[1mhead\x1b[0m\r\nold\rnew \x1b[3")
    screen.feed("2mgood\x1b[39m  \r\n\x1b[2Anot\x1b[K\r\n")
    assert screen.lines == (
        (("not", PLAIN),),
        (("new ", PLAIN), ("good", Style(colour=32))),
    )
    screen = Screen(columns=4)
    screen.feed("abcdef\r\n\r\n")
    assert texts(screen.lines) == ["abcd", "ef"]


def test_a_table_that_rich_draws_again_stands_on_the_screen_a_single_time() -> None:
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=20, height=10)
    console.print("before")
    with Live(console=console, auto_refresh=False, transient=True) as live:
        for drawn in ("one\ntwo", "one\ntwo\nthree"):
            live.update(Text(drawn), refresh=True)
    console.print("after")
    written = file.getvalue().replace("\n", "\r\n")  # as a terminal makes it
    screen = Screen(columns=20)
    screen.feed(written[: written.index("three") + 5])
    assert texts(screen.lines) == ["before", "one", "two", "three"]
    screen.feed(written[written.index("three") + 5 :])
    assert texts(screen.lines) == ["before", "after"]


def test_output_that_comes_at_once_is_one_change() -> None:
    outputs = (Output(0.1, "a"), Output(0.12, "b\r\n"), Output(0.5, "c"), Output(0.9, ""))
    found = list(changes(Recording(80, 24, outputs)))
    assert [(one.at_s, texts(one.lines)) for one in found] == [(0.12, ["ab"]), (0.5, ["ab", "c"])]


def test_a_recording_is_read_as_it_was_written(tmp_path: Path) -> None:
    one = Recording(100, 30, (Output(0.5, "\x1b[32mé\r\n"),), "a title")
    one.save(tmp_path / "one.cast")
    assert Recording.load(tmp_path / "one.cast") == one


def test_the_film_ends_with_the_pages_of_the_output_and_stands_for_the_first() -> None:
    lines = "".join(f"line {number}\r\n" for number in range(2 * ROWS))
    recording = Recording(COLUMNS, ROWS, (Output(1.0, "begins\r\n"), Output(61.0, lines)))
    frames, length_s, still = film(recording)
    assert all(len(frame.lines) <= ROWS for frame in frames)
    assert [frame.at_s for frame in frames] == sorted(frame.at_s for frame in frames)
    assert PROMPT_S < length_s < 60
    first, *_, last = frames[still:]
    assert texts(first.lines)[:3] == ["$ bench run --quick --compile off", "begins", "line 0"]
    assert texts(last.lines)[-1] == f"line {2 * ROWS - 1}"
    assert {text for frame in frames[still:] for text in texts(frame.lines)} >= {
        f"line {number}" for number in range(2 * ROWS)
    }


def line(text: str) -> Line:
    return ((text, PLAIN),)


def test_each_line_is_written_once_for_all_the_times_that_it_is_shown() -> None:
    frames = [
        Frame(0.0, (line("always"), line("first & <only>"))),
        Frame(2.0, (line("always"), line("then"))),
        Frame(3.0, (line("always"), line("first & <only>"))),
    ]
    made = svg(frames, 4.0, columns=80, rows=24, title="bench, 2026", still=1)
    root = ET.fromstring(made)
    shown = ["".join(one.itertext()) for one in root.iter("{http://www.w3.org/2000/svg}text")]
    assert sorted(shown) == ["always", "first & <only>", "then"]
    assert "{0%{opacity:1}50%{opacity:0}75%{opacity:1}}" in made
    assert "{0%{opacity:0}50%{opacity:1}75%{opacity:0}}" in made
    hidden = [one for one in root.iter() if " h" in one.get("class", "")]
    assert ["".join(one.itertext()) for one in hidden] == ["first & <only>"]
    assert root.findtext("{http://www.w3.org/2000/svg}title") == "bench, 2026"


def test_the_film_in_the_documentation_is_small_and_dated() -> None:
    made = ROOT / "docs" / "demo.svg"
    assert made.stat().st_size < MOST_BYTES
    title = ET.parse(made).getroot().findtext("{http://www.w3.org/2000/svg}title") or ""
    assert title.startswith("bench run --quick --compile off: ")
    assert title.rpartition("recorded on ")[2].startswith("20")


@pytest.mark.slow
@pytest.mark.skipif(chromium.PATH is None, reason="no Chromium")
def test_a_browser_shows_each_frame_at_its_time(tmp_path: Path) -> None:
    frames = [Frame(0.0, (line("one"),)), Frame(2.0, (line("two"),)), Frame(3.0, (line("three"),))]
    file = tmp_path / "film.svg"
    file.write_text(svg(frames, 4.0, columns=80, rows=24, title="t", still=1), encoding="utf-8")
    seek = """(at_ms) => {
        document.getAnimations().forEach((one) => { one.pause(); one.currentTime = at_ms; });
        return Array.from(document.querySelectorAll("g[class]"))
            .filter((one) => getComputedStyle(one).opacity === "1")
            .map((one) => one.textContent).join();
    }"""
    with chromium.browser(tmp_path / "profile") as page:
        page.open(file)
        shown = [page.run(f"({seek})({at_ms})") for at_ms in (100, 1900, 2100, 3100, 3999)]
        assert shown == ["one", "one", "two", "three", "three"]
        page.run("document.getAnimations().forEach((one) => one.cancel())")
        assert page.run(f"({seek})(0)") == "two"
