"""The words for a flag that the command line does not understand.  Pure.

The library that reads flags has words of its own, some of them those of its type checker.
"""

import re
from collections.abc import Sequence

_OF_A_VALUE = re.compile(r"Invalid value for '?(?:[^']* / )?(?P<flag>[^':]+)'?: (?P<why>.*)")
_KINDS = {
    "integer": re.compile(r"valid integer"),
    "number": re.compile(r"valid (number|float)"),
}
_EXPECTED = {"integer": "a whole number", "number": "a number"}


def said(message: str, arguments: Sequence[str]) -> str:
    """Return the message on one line, without a final dot, and with the value that was given.

    arguments: of the command line, without the program.
    """
    text = " ".join(message.split()).rstrip(".")
    found = _OF_A_VALUE.fullmatch(text)
    if found is None:
        return text
    flag, why = found["flag"], found["why"]
    given = _given(flag, arguments)
    for kind, words in _KINDS.items():
        if words.search(why):
            shown = "" if given is None else f"{given!r} is not understood; "
            return f"{flag}: {shown}expected {_EXPECTED[kind]}"
    return f"{flag}: {why}"


def _given(flag: str, arguments: Sequence[str]) -> str | None:
    """Return the value of a flag as it was written, if it was; the last of several is used."""
    given = None
    for place, one in enumerate(arguments):
        name, equals, value = one.partition("=")
        if name == flag:
            given = value if equals else next(iter(arguments[place + 1 :]), None)
    return given
