"""Text from files and subjects, made harmless for a terminal, a shell and a page."""

import re
import shlex


def printable(text: str) -> str:
    """What a terminal would act on (escape sequences, newlines) becomes `?`."""
    return "".join(sign if sign.isprintable() else "?" for sign in text)


def command(*words: object) -> str:
    """To be pasted into a shell."""
    return shlex.join(map(str, words))


def shortened(text: str, most: int) -> str:
    """`most` characters of it: its beginning and its end, where layers and settings stand."""
    if len(text) <= most:
        return text
    head = (most - 1) * 2 // 3
    return f"{text[:head]}…{text[len(text) - (most - 1 - head) :]}"


def short_words(text: str, most: int) -> str:
    """The same of each word of a sentence."""
    return re.sub(rf"\S{{{most + 1},}}", lambda found: shortened(found[0], most), text)


def plain(text: str, most: int = 64) -> str:
    """On one line, without control characters, shortened in the middle to `most` characters."""
    line = " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())
    if len(line) <= most:
        return line
    head = (most - 1) * 2 // 3
    return f"{line[:head]}…{line[len(line) - (most - 1 - head) :]}"
