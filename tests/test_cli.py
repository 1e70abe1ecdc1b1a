"""The command line in processes of its own: what a user sees of a mistake, and how fast."""

import errno
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

import pytest
import typer
from typer.main import get_command

from bench import cli
from tests.support.paths import ROOT

Bench = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("COLUMNS", "100")

    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "bench", *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return call


# Flags without a default: without them, nothing is selected, named or resumed.
WITHOUT_DEFAULT = {
    "--subject",
    "--case",
    "--name",
    "--resume",
    "--by",
    "--baseline",
    "--input",
    "-m",
}


@pytest.mark.parametrize(
    "command",
    ["run", "compare", "check", "ab", "report", "profile", "history", "backfill", "bless"],
)
def test_the_help_of_a_flag_says_its_effect_and_its_default(command: str) -> None:
    flags = get_command(cli.app).commands[command].params  # type: ignore[attr-defined]
    for flag in (one for one in flags if one.param_type_name == "option"):
        name, text = flag.opts[0], flag.help or ""
        assert len(text.split("[")[0]) > 12, name
        if name not in WITHOUT_DEFAULT and not flag.is_flag:
            assert "[default: " in text or "default: " in text or flag.show_default, name


@pytest.mark.slow
def test_help_names_every_command_and_imports_no_torch(bench: Bench) -> None:
    assert "Measure the sweep" in bench("--help").stdout
    script = (
        "import sys, bench.cli, bench.commands.check\n"
        "heavy = {'torch'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "print('fine')"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.stdout == "fine\n", done.stderr


@pytest.mark.slow
def test_the_start_of_the_command_line_imports_nothing_that_takes_long() -> None:
    script = (
        "import sys, bench.cli\n"
        "heavy = {'torch', 'pandas', 'scipy', 'matplotlib', 'pydantic', 'numpy'}\n"
        "print((heavy | {'importlib.metadata'}) & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.stdout == "set()\n", done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("run", "--amp", "fp8"), "bench: --amp: amp is 'fp8'; expected one of off, bfloat16"),
        (("run", "--config", "none.toml"), "bench: none.toml: no such file"),
        (("run", "--subject", "resnet"), "bench: --subject: subject 'resnet' is not understood"),
        (("run", "--replicates", "0"), "bench: --replicates: replicates = 0"),
        (("run", "--resume", "nowhere"), "bench: --resume nowhere: is not a run directory"),
        (
            ("ab", "--resume", "nowhere", "--threshold", "0.05"),
            "bench: --resume nowhere: a resume keeps the arguments of the comparison",
        ),
        (
            ("ab", "--resume", "nowhere", "--budget", "9"),
            "bench: --resume nowhere: is not a comparison",
        ),
        (("compare", "nowhere", "--by", "amp"), "bench: nowhere: no such file or directory"),
        (("check", "nowhere", "--baseline", "."), "bench: nowhere: no such file or directory"),
        (("history", "nowhere"), "bench: HEAD: its commits cannot be listed"),
        (("backfill", "HEAD"), "bench: HEAD: is not a range of commits"),
        (("bless", "convnet:*", "-m", " "), "bench: -m: is empty; say why the level is accepted"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    bench: Bench, arguments: tuple[str, ...], message: str
) -> None:
    done = bench(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith(message)
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


@pytest.mark.slow
def test_the_version_is_the_one_that_is_installed(bench: Bench) -> None:
    done = bench("--version")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"convnet-bench {metadata.version('convnet-bench')}\n"


def test_a_checkout_that_is_not_installed_has_no_version(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli, "DISTRIBUTION", "convnet-bench-that-nobody-installed")
    with pytest.raises(typer.Exit):
        cli.show_version(wanted=True)
    said = "(not installed; the version comes from the tag of the checkout)"
    assert capsys.readouterr().out == f"convnet-bench-that-nobody-installed {said}\n"


@pytest.mark.slow
def test_an_unknown_flag_is_exit_code_2(bench: Bench) -> None:
    done = bench("run", "--bach", "3")
    assert done.returncode == 2
    assert done.stderr.startswith("bench: No such option: --bach")
    assert done.stderr.endswith("see bench run --help\n")
    assert done.stderr.count("\n") == 1


@pytest.mark.slow
def test_a_reader_that_has_enough_changes_no_exit_code() -> None:
    """A closed pipe must not look like a verdict."""
    example = ROOT / "results" / "example"
    done = subprocess.run(
        f"{sys.executable} -m bench compare {example} --by memory_format | head -c 1;"
        " exit ${PIPESTATUS[0]}",
        shell=True,
        executable="/bin/bash",
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


EXAMPLE = ROOT / "results" / "example"
COMMANDS = (
    "--help",
    "run --help",
    f"compare {EXAMPLE} --by memory_format",
    f"check copy --baseline {EXAMPLE}",
    f"report {EXAMPLE} --out page",
)


def in_a_shell(folder: Path, command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/bash", "-c", command],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
@pytest.mark.parametrize("arguments", COMMANDS)
def test_a_full_disk_behind_the_output_is_one_line_and_no_verdict(
    tmp_path: Path, arguments: str
) -> None:
    shutil.copytree(EXAMPLE, tmp_path / "copy")
    done = in_a_shell(tmp_path, f"{sys.executable} -m bench {arguments} > /dev/full")
    said = "bench: standard output: No space left on device; make room there\n"
    assert (done.returncode, done.stderr) == (2, said)


@pytest.mark.slow
@pytest.mark.parametrize("arguments", COMMANDS)
@pytest.mark.parametrize("closed", [">&-", "<&- >&- 2>&-"])
def test_output_that_was_closed_beforehand_is_output_that_nobody_reads(
    tmp_path: Path, arguments: str, closed: str
) -> None:
    shutil.copytree(EXAMPLE, tmp_path / "copy")
    done = in_a_shell(tmp_path, f"{sys.executable} -m bench {arguments} {closed}")
    assert (done.returncode, done.stderr) == (0, "")


def test_what_the_system_refuses_is_one_line_and_no_verdict(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def command() -> int:
        raise OSError(errno.ENOSPC, "No space left on device", "/some/\x1bfile")

    with pytest.raises(typer.Exit) as caught:
        cli._end(command)
    assert caught.value.exit_code == 2
    said = "bench: /some/?file: No space left on device; make room there\n"
    assert capsys.readouterr().err == said


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("--subject", "no_such:Net"),
            "subject no_such:Net: no module named 'no_such', installed or in",
        ),
        (
            ("--subject", "torch.nn:Nothing"),
            "subject torch.nn:Nothing: torch.nn has no callable",
        ),
        (
            ("--subject", "torch.nn:Conv2d(3)"),
            "subject torch.nn:Conv2d(3): Conv2d raised Type",
        ),
        (("--subject", "torch:ones(3)"), "not an nn.Module"),
        (("--subject", "torch.nn:ReLU"), "the shape of its input is unknown; give --input"),
        (("--subject", "convnet/conv9"), "calls no layer 'conv9'; it calls conv1, bn1"),
        (("--device", "xpu"), "--device xpu: torch 2."),
        (("--case", "nothing"), "--case nothing: the sweep has no such case"),
    ],
)
def test_what_only_torch_can_tell_is_one_line_as_well(
    bench: Bench, arguments: tuple[str, ...], message: str
) -> None:
    done = bench("run", "--list", *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("bench: ")


@pytest.mark.slow
def test_the_list_shows_every_case_what_is_left_out_and_the_time(bench: Bench) -> None:
    done = bench("run", "--list")
    assert done.returncode == 0, done.stderr
    assert "convnet/conv1:training:b8:3x224x224:cpu:float32:amp=off:contiguous:" in done.stdout
    assert "the sweep is for accelerators, and none is measured" in done.stdout
    cases = [line for line in done.stdout.splitlines() if line.startswith("convnet")]
    assert len(cases) >= 40
    assert f"{len(cases)} cases, about " in done.stdout


def test_a_fault_of_the_suite_is_no_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.failed(KeyError("ns")) == 70
    said = capsys.readouterr().err
    assert "KeyError: 'ns'" in said
    assert said.endswith("this is a fault of bench; please report it with these lines\n")


def test_ctrl_c_under_an_older_typer_is_an_interruption(capsys: pytest.CaptureFixture[str]) -> None:
    abort = type("Abort", (RuntimeError,), {})
    assert cli.failed(abort()) == 130
    assert capsys.readouterr().err == ""


@pytest.mark.slow
def test_a_home_that_cannot_be_written_gets_no_completion_and_one_line(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("HOME", str(tmp_path / "file"))
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")
    done = bench("--install-completion", "fish")
    assert done.returncode == 2
    assert done.stderr.startswith(f"bench: {tmp_path}/file")
    assert done.stderr.count("\n") == 1


@pytest.mark.slow
def test_an_error_that_nobody_expects_ends_with_a_code_of_its_own() -> None:
    script = (
        "import sys, bench.__main__ as door\n"
        "class Broken:\n"
        "    commands = {}\n"
        "    def main(self, **given): raise KeyError('ns')\n"
        "door.COMMAND = Broken()\n"
        "door.main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 70
    assert "Traceback" in done.stderr


@pytest.fixture
def own_signals() -> Iterator[None]:
    kept = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    for number in kept:
        signal.signal(number, signal.SIG_DFL)
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("own_signals")
@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGHUP])
def test_being_ended_clears_away_what_was_begun_as_ctrl_c_does(ending: signal.Signals) -> None:
    cleared: list[str] = []

    def command() -> int:
        try:
            os.kill(os.getpid(), ending)
            return 0
        finally:
            cleared.append("worktrees")

    with pytest.raises(typer.Exit) as caught:
        cli._end(command)
    assert caught.value.exit_code == 130
    assert cleared == ["worktrees"]


@pytest.mark.usefixtures("own_signals")
def test_what_nohup_ignores_stays_ignored() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with pytest.raises(typer.Exit):
        cli._end(lambda: 0)
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN


# --- completion in a shell --------------------------------------------------------------------


def _offered(folder: Path, *words: str) -> list[str]:
    """Return the completions of the last word, requested as bash does."""
    done = subprocess.run(
        [sys.executable, "-m", "bench"],
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "_BENCH_COMPLETE": "complete_bash",
            "COMP_WORDS": " ".join(("bench", *words)),
            "COMP_CWORD": str(len(words)),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["ru"], ["run"]),
        (["run", "--memory"], ["--memory-format"]),
        (["run", "--memory-format", "ch"], ["channels_last"]),
        (["profile", "--mode", "t"], ["training"]),
        (["ab", "--device", "cu"], ["cuda:0"]),
        (["run", "--threads", ""], ["auto"]),
        (["run", "--subject", "con"], ["convnet"]),
        (["compare", "run", "--by", "all"], ["allocator"]),
        (["run", "--out", "x"], []),  # bash offers files itself
    ],
)
def test_a_shell_is_offered_commands_flags_and_values(
    tmp_path: Path, words: list[str], expected: list[str]
) -> None:
    assert _offered(tmp_path, *words) == expected


@pytest.mark.slow
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_a_script_for_the_command(tmp_path: Path, shell: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "_BENCH_COMPLETE": f"source_{shell}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert f"_BENCH_COMPLETE=complete_{shell}" in done.stdout
    assert "bench" in done.stdout
