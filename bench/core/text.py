"""Make text from files and subjects safe for a terminal, a shell and a page."""

import re
import shlex


def printable(text: str) -> str:
    """Replace characters that a terminal acts on (escape sequences, newlines) by `?`."""
    return "".join(sign if sign.isprintable() else "?" for sign in text)


def command(*words: object) -> str:
    """Return a command that can be pasted into a shell; each word is quoted as needed."""
    return shlex.join(map(str, words))


def number_of(count: int, noun: str) -> str:
    """`1 case`, `2 cases`, `1,200 cases`; nouns with an irregular plural have no place here."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def times(count: int) -> str:
    """`once`, `2 times`."""
    return "once" if count == 1 else f"{count} times"


def are(count: int) -> str:
    return "is" if count == 1 else "are"


def shortened(text: str, most: int) -> str:
    """Shorten to `most` characters: keep the beginning and the end (layers, settings)."""
    if len(text) <= most:
        return text
    head = (most - 1) * 2 // 3
    return f"{text[:head]}…{text[len(text) - (most - 1 - head) :]}"


def shortened_line(text: str, most: int) -> str:
    """Return sentences on one line of at most `most` characters, shortened between words."""
    line = " ".join(text.split())
    if len(line) <= most:
        return line
    head = (most - 3) * 2 // 3
    before = line[: head + 1].rpartition(" ")[0] or line[:head]
    tail = most - 3 - len(before)
    after = line[-tail - 1 :].partition(" ")[2] or line[-tail:]
    return f"{before} … {after}"


def error_line(error: BaseException, most: int) -> str:
    """Return the text of an error on one line of at most `most` characters."""
    return shortened_line(str(error), most)


def typed_error(error: BaseException, most: int) -> str:
    """Return `ValueError: its text` on one line, the text of at most `most` characters."""
    text = error_line(error, most)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text, or its type if it has no text."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def short_words(text: str, most: int) -> str:
    """Shorten each word of a sentence to `most` characters."""
    return re.sub(rf"\S{{{most + 1},}}", lambda found: shortened(found[0], most), text)


def plain(text: str, most: int = 64) -> str:
    """Return one line without control characters, shortened in the middle to `most`."""
    line = " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())
    return shortened(line, most)
