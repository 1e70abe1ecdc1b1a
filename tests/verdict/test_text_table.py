"""Tables of plain text: nothing is cut, nothing is broken, no blanks at the ends."""

import io

import pytest
from rich.console import Console

from bench.verdict.text_table import Column, TextTable, wrapped

COLUMNS = (
    Column("case", wraps=True),
    Column("latency", right=True),
    Column("speedup (95 %)", right=True),
    Column("verdict", wraps=True),
)
NAME = "resnet18/layer1.0.conv1 inference N=4 channels_last amp=bfloat16 compile=max-autotune"


def printed(table: TextTable, width: int) -> list[str]:
    file = io.StringIO()
    Console(file=file, width=width).print(table)
    return file.getvalue().splitlines()


def filled(name: str = NAME) -> TextTable:
    table = TextTable("a title", COLUMNS, above="all on cpu", caption="a caption " * 20)
    table.add(name, "71.0 ms", "1.40× (1.24–1.58)", "no difference found")
    table.add("convnet", "1.10 ms", "0.98× (0.90–1.07)", "slower if alone")
    return table


@pytest.mark.parametrize("width", [30, 40, 60, 80, 100, 200])
def test_a_table_fits_the_width_and_ends_no_line_in_blanks(width: int) -> None:
    lines = printed(filled(), width)
    assert max(map(len, lines)) <= min(width, 100)
    assert [line for line in lines if line != line.rstrip()] == []


@pytest.mark.parametrize("width", [30, 40, 60, 80, 100])
def test_no_word_is_cut_and_no_interval_is_broken(width: int) -> None:
    lines = printed(filled(), width)
    words = " ".join(lines).split()
    assert set(NAME.split()) <= set(words)
    assert any("1.40× (1.24–1.58)" in line for line in lines)
    assert "…" not in "".join(lines)


def test_what_does_not_fit_beside_its_name_stands_below_it() -> None:
    table = TextTable("t", COLUMNS)
    table.add("a" * 25, "71.0 ms", "1.40× (1.24–1.58)", "faster")
    assert printed(table, 40) == [
        "t", "", "a" * 25, "  latency 71.0 ms",
        "  speedup (95 %) 1.40× (1.24–1.58)", "  verdict faster", "",
    ]  # fmt: skip


def test_a_column_that_is_empty_in_all_rows_is_left_out() -> None:
    table = TextTable("t", COLUMNS)
    table.add("net", "", "1.40×", "")
    assert printed(table, 80)[2:] == [
        "case  speedup (95 %)",
        "────────────────────",
        "net            1.40×",
        "",
    ]


def test_only_a_word_that_no_line_holds_is_broken_after_a_separator() -> None:
    assert wrapped("one my.models.vision/layer1.0.conv1 two", 20) == [
        "one",
        "my.models.vision/",
        "layer1.0.conv1 two",
    ]


def test_hostile_names_reach_no_terminal() -> None:
    assert "\x1b" not in "".join(printed(filled("net\x1b[31m[red]"), 80))
    assert "net?[31m[red]" in "".join(printed(filled("net\x1b[31m[red]"), 80))
