"""The file of accepted levels: written by a command, read and edited by people."""

import datetime
from pathlib import Path

import pytest

from bench.history import blessed
from bench.history.blessed import BlessedError, Blessing

TODAY = datetime.date(2026, 11, 3)


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / blessed.FILE
    given = Blessing("convnet:*", "0" * 40, 'it is "right"\nand slower \\ é')
    blessed.add(path, [given], TODAY)
    (found,) = blessed.read(path)
    assert (found.case, found.at, found.why) == (given.case, given.at, given.why)
    assert found.when == "2026-11-03"


def test_what_a_person_wrote_stays(tmp_path: Path) -> None:
    path = tmp_path / blessed.FILE
    path.write_text('# mine\n[[blessed]]\ncase = "a"\nat = "b"\nwhy = "c" # because\n')
    blessed.add(path, [Blessing("d", "e", "f")], TODAY)
    assert path.read_text().startswith("# mine\n[[blessed]]\n")
    assert "# because" in path.read_text()
    assert [one.case for one in blessed.read(path)] == ["a", "d"]


def test_no_file_is_no_blessing(tmp_path: Path) -> None:
    assert blessed.read(tmp_path / blessed.FILE) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("blessed = 3", "blessed is not a list of tables"),
        ("[[blessed]]\ncase = 'a'\nat = 'b'\n", "blessed number 1 has no text for why"),
        ("[[blessed", "is not valid TOML"),
    ],
)
def test_a_damaged_file_is_refused_and_not_written_to(
    tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / blessed.FILE
    path.write_text(text)
    with pytest.raises(BlessedError, match=message):
        blessed.add(path, [Blessing("d", "e", "f")], TODAY)
    assert path.read_text() == text


def test_a_pattern_is_of_the_cases_that_match_it() -> None:
    assert blessed.is_of("convnet:training:*", "convnet:training:b8")
    assert blessed.is_of("m:f(1)[2]", "m:f(1)[2]")
    assert not blessed.is_of("convnet", "convnet:training:b8")
