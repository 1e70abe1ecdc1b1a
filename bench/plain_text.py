"""Text from files and subjects, made harmless for a terminal."""


def printable(text: str) -> str:
    """What a terminal would act on (escape sequences, newlines) becomes `?`."""
    return "".join(sign if sign.isprintable() else "?" for sign in text)
