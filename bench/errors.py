"""The base of the errors that the command line turns into one line and exit code 2."""


class UserError(Exception):
    """Its message says what, where, and what would be right, in one line."""


def one_line(error: BaseException) -> str:
    """The message without what a terminal would act on."""
    text = " ".join(str(error).split())
    return "".join(sign if sign.isprintable() else "?" for sign in text)
