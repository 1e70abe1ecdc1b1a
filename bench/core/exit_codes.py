"""Exit codes of all commands (docs/ci.md)."""

OK = 0
BAD_RESULT = 1  # the figures are there, and they are bad: slower, wrong, or a failed check
WRONG_USE = 2  # as typer has it
UNDECIDED = 3
FAILED = 4  # a case failed, or a part is missing
INTERNAL = 70  # a fault of bench itself: EX_SOFTWARE (sysexits.h)
INTERRUPTED = 130  # 128 + SIGINT, as shells have it
