"""Text from files and subjects, made harmless for a terminal, a shell and a page."""

import os
import re
import shlex


def printable(text: str) -> str:
    """What a terminal would act on (escape sequences, newlines) becomes `?`."""
    return "".join(sign if sign.isprintable() else "?" for sign in text)


def command(*words: object) -> str:
    """To be pasted into a shell, which then takes each word as it is, whatever it holds."""
    return " ".join(_word(str(one)) for one in words)


def _word(text: str) -> str:
    if text.isprintable() and "  " not in text:  # two spaces may become one on their way
        return shlex.quote(text)
    return f"$'{''.join(map(_escaped, os.fsencode(text)))}'"  # as bash, zsh and POSIX 2024 have it


def _escaped(byte: int) -> str:
    sign = chr(byte)
    return sign if sign.isascii() and sign.isalnum() else f"\\x{byte:02x}"


def shortened(text: str, most: int) -> str:
    """`most` characters of it: its beginning and its end, where layers and settings stand."""
    if len(text) <= most:
        return text
    head = (most - 1) * 2 // 3
    return f"{text[:head]}…{text[len(text) - (most - 1 - head) :]}"


def short_words(text: str, most: int) -> str:
    """The same of each word of a sentence."""
    return re.sub(rf"\S{{{most + 1},}}", lambda found: shortened(found[0], most), text)
