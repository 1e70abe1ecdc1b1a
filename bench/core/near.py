"""The known word that a misspelled one most likely means, for messages.  Pure."""

import difflib
from collections.abc import Iterable, Mapping

ALIKE = 0.65  # share of common letters (difflib) from which two words are taken for one


def nearest(word: str, known: Iterable[str], others: Mapping[str, str] | None = None) -> str | None:
    """Return the known word that is most like `word`, whatever its case; None = none is like it.

    others: further names of known words, e.g. fp16 for float16.
    """
    by_lower = {one.lower(): one for one in known}
    meant = (others or {}).get(word.lower())
    if meant is not None and meant.lower() in by_lower:
        return by_lower[meant.lower()]
    found = difflib.get_close_matches(word.lower(), by_lower, 1, cutoff=ALIKE)
    return by_lower[found[0]] if found else None


def did_you_mean(
    word: str, known: Iterable[str], others: Mapping[str, str] | None = None, before: str = "; "
) -> str:
    """Return the end of a message that names the nearest known word; empty if none is like it."""
    found = nearest(word, known, others)
    return "" if found is None else f"{before}did you mean {found!r}?"
