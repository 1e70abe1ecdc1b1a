import os
import subprocess
from pathlib import Path

import pytest

from bench.core.text import (
    command,
    error_line,
    first_line,
    number_of,
    printable,
    shortened_line,
    typed_error,
)

HOSTILE = (
    "run",
    "my run; touch owned",
    "$(touch owned) `touch owned` && touch owned",
    "a[/bold]",
    'it\'s "one"',
    "two  spaces and\ttabs\n",
    "x\x1b[2Jy",
    "\u202eltr",
    b"no-utf8-\xff\x9b".decode("utf-8", "surrogateescape"),
    "µ and 日本",
    "back\\slash",
    "",
)


def test_what_a_terminal_would_act_on_is_made_harmless() -> None:
    assert printable("a\x1b[2Jb\nc\td") == "a?[2Jb?c?d"


@pytest.mark.slow
@pytest.mark.parametrize("text", HOSTILE)
def test_a_shell_takes_each_word_of_a_command_as_it_is(tmp_path: Path, text: str) -> None:
    pasted = command("printf", "%s:%s", text, text)
    done = subprocess.run(
        ["/bin/bash", "-c", pasted], cwd=tmp_path, capture_output=True, check=False
    )
    assert done.stdout == os.fsencode(f"{text}:{text}")
    assert list(tmp_path.iterdir()) == []


def test_a_plain_command_is_as_a_user_writes_it() -> None:
    assert command("bench", "run", "--resume", Path("results/a")) == "bench run --resume results/a"


@pytest.mark.parametrize(
    ("count", "told"), [(0, "0 cases"), (1, "1 case"), (2, "2 cases"), (1200, "1,200 cases")]
)
def test_a_number_agrees_with_its_noun(count: int, told: str) -> None:
    assert number_of(count, "case") == told


@pytest.mark.parametrize(
    ("most", "shown"),
    [
        (41, "the file weights.pt has no key conv1.bias"),
        (30, "the file … no key conv1.bias"),
        (26, "the file … key conv1.bias"),
    ],
)
def test_an_error_is_shortened_between_words(most: int, shown: str) -> None:
    error = ValueError("the file weights.pt\n  has no key conv1.bias")
    assert error_line(error, most) == shown


def test_a_word_that_is_too_long_is_cut() -> None:
    assert shortened_line("x" * 100, 12) == "xxxxxx … xxx"


@pytest.mark.parametrize(
    ("error", "typed", "first"),
    [
        (ValueError("no key\n  a"), "ValueError: no key a", "no key"),
        (KeyError(), "KeyError", "KeyError"),
    ],
)
def test_an_error_is_named_by_its_type(error: Exception, typed: str, first: str) -> None:
    assert typed_error(error, 60) == typed
    assert first_line(error) == first
