"""`bench init SUBJECT`: a commented bench.toml for one's own network."""

from dataclasses import dataclass
from pathlib import Path

from rich.text import Text

from bench.core.axes import BY_NAME, AxisError
from bench.core.errors import UserError
from bench.core.exit_codes import OK
from bench.core.subject import SHIPPED, parse
from bench.core.text import command, printable
from bench.host import probe
from bench.plan import config, expand, template
from bench.plan.subject_files import named
from bench.terminal.progress import wide_console

PROBE_LIMIT_S = 120.0
BATCHES = (1, 8)


class InitError(UserError):
    """There is a file already, or the subject cannot be built; the message is one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The arguments of `bench init`."""

    subject: str
    input: str | None = None
    out: Path = config.LOCAL
    force: bool = False


def run(asked: Asked) -> int:
    """Build the network once, and write the file.  Raises InitError, ProbeError, SubjectError."""
    if asked.out.exists() and not asked.force:
        raise InitError(f"{asked.out} exists; --force replaces it, --out writes another file")
    subject, own = named(asked.subject), _input(asked.input)
    asked_for = parse(subject)
    whole = asked_for.whole
    given = {whole: own} if own else {}
    look = probe.look((asked_for.shown,), given, PROBE_LIMIT_S, slow=probe.LOOK_AT_IT)
    found = probe.built(look).subjects[whole]
    if own is None and not (found.has_inputs or found.guessed or whole in SHIPPED):
        raise InitError(
            f"{whole}: no input is known. Give --input, e.g. --input 3,224,224 (without the batch)"
        )
    input_ = own or found.guessed or expand.SHIPPED_INPUT.get(whole)
    text = template.text(
        subject, input_, BATCHES, images=input_ is None or expand.has_images(input_)
    )
    _write(asked.out, text, replace=asked.force)
    if found.guessed and own is None:
        _say(f"the input of {whole} is guessed {input_}; change it in {asked.out} if it is wrong")
    _say(f"{asked.out} is written; next: {command('bench', 'run', *_config(asked.out))}")
    return OK


def _input(given: str | None) -> str | None:
    """Return the value as the file takes it.  Raises InitError."""
    try:
        return None if given is None else BY_NAME["input"].check(given)
    except AxisError as error:
        raise InitError(f"--input: {error}") from None


def _say(text: str) -> None:
    wide_console().print(Text(printable(text)), soft_wrap=True)


def _config(out: Path) -> list[str]:
    return [] if out == config.LOCAL else ["--config", str(out)]


def _write(path: Path, text: str, *, replace: bool) -> None:
    with path.open("w" if replace else "x", encoding="utf-8") as file:
        file.write(text)
