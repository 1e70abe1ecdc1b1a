"""The result of a probe for subjects that cannot be looked at."""

import sys
import tempfile
from pathlib import Path

import pytest

from bench.host import helper, interpreter, probe
from bench.host.probed import Probe
from tests.support.processes import running

SMALL, LONG_S = "tests.subjects.hostile:Small", 60.0


def look(*subjects: str, timeout_s: float = LONG_S) -> Probe:
    return probe.look(subjects, dict.fromkeys(subjects, "4"), timeout_s)


def test_a_folder_for_temporary_files_that_is_closed_is_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/proc")
    with pytest.raises(probe.ProbeError) as caught:
        look(SMALL)
    said = str(caught.value)
    assert said.startswith("/proc/bench-probe-")
    assert said.endswith("may read and write it, or choose another (TMPDIR)")


def test_what_is_too_slow_is_told_what_its_command_can_do_about_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def late(*_: object, **__: object) -> None:
        raise helper.HelperLate("not done")

    monkeypatch.setattr(helper, "ask", late)
    said = []
    asked: tuple[tuple[list[str], str], ...] = (
        ([SMALL], probe.BY_FLAG),
        ([SMALL], probe.LOOK_AT_IT),
        ([], probe.BY_FLAG),
    )
    for subjects, slow in asked:
        with pytest.raises(probe.ProbeError) as caught:
            probe.look(subjects, {}, 20.0, slow=slow)
        said.append(str(caught.value))
    assert said[0].endswith("took more than 80 s; give --timeout, or look at what it does")
    assert said[1].endswith(f"building {SMALL} took more than 80 s; look at what it does")
    assert said[2].startswith("importing torch took more than 80 s; end other work, and see ")


HALF = """#!{python}
import json, pathlib, sys
pathlib.Path(json.load(sys.stdin)["out"]).write_text("{{")
"""


@pytest.mark.slow
def test_half_an_answer_is_one_line(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text(HALF.format(python=sys.executable))
    python.chmod(0o755)
    with pytest.raises(probe.ProbeError, match=r"^the probe of torch ended with exit code 0: "):
        probe.look((), {}, LONG_S, interpreter.Place(python=str(python)))


@pytest.mark.slow
def test_importing_torch_takes_nothing_of_the_time_that_a_subject_is_given() -> None:
    assert look(SMALL, timeout_s=0.01).subjects[SMALL].parameters == 20


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "timeout_s", "why"),
    [
        ("ExitsWhenBuilt", LONG_S, "its code called sys.exit(no) when it was imported or built"),
        ("LeavesAndDiesWhenBuilt(3606)", LONG_S, "ended with exit code -9: "),
        ("HangsWhenBuilt", 12.0, "took more than 12 s"),
    ],
)
def test_a_subject_that_ends_who_looks_at_it_costs_itself_alone(
    monkeypatch: pytest.MonkeyPatch, name: str, timeout_s: float, why: str
) -> None:
    monkeypatch.setattr(probe, "START_S", 0.0)
    found = look(f"tests.subjects.hostile:{name}", SMALL, timeout_s=timeout_s)
    assert found.subjects[SMALL].parameters == 20
    lost = found.subjects[f"tests.subjects.hostile:{name}"]
    assert lost.error is None  # it is measured, so that its cases say what it does
    assert lost.layers_error is not None
    assert name in lost.layers_error
    assert why in lost.layers_error


@pytest.mark.slow
def test_a_subject_that_raises_when_it_is_built_costs_itself_alone() -> None:
    name = "tests.subjects.hostile:RaisesWhenBuilt"
    found = look(name, SMALL)
    assert probe.built(found) is found
    assert found.subjects[SMALL].parameters == 20
    assert found.subjects[name].raised == (
        "tests.subjects.hostile:RaisesWhenBuilt: RaisesWhenBuilt raised ValueError: not today"
    )
    with pytest.raises(probe.ProbeError, match=r"subject .*hostile:RaisesWhenBuilt: .*today"):
        probe.built(look(name))
    with pytest.raises(probe.ProbeError, match="has no callable 'Smal'"):
        probe.built(look("tests.subjects.hostile:Smal", SMALL))


@pytest.mark.slow
def test_alone_it_is_an_error_that_names_it() -> None:
    with pytest.raises(
        probe.ProbeError, match=r"the probe of .*hostile:LeavesAndDiesWhenBuilt\(3607\) ended"
    ):
        look("tests.subjects.hostile:LeavesAndDiesWhenBuilt(3607)")
    with pytest.raises(probe.ProbeError, match=r"hostile:ExitsWhenBuilt: its code called"):
        probe.built(look("tests.subjects.hostile:ExitsWhenBuilt"))


@pytest.mark.slow
def test_what_it_leaves_running_is_ended_and_not_waited_for() -> None:
    found = look("tests.subjects.hostile:LeavesAProcessWhenBuilt")
    assert found.subjects["tests.subjects.hostile:LeavesAProcessWhenBuilt"].error is None
    assert running("sleep", "3604") == []


@pytest.mark.slow
def test_what_is_left_of_a_look_that_was_killed_is_ended_as_well() -> None:
    with pytest.raises(probe.ProbeError, match="exit code -9"):
        look("tests.subjects.hostile:LeavesAndDiesWhenBuilt(3605)")
    assert running("sleep", "3605") == []


@pytest.mark.slow
def test_own_inputs_that_ignore_the_batch_are_found() -> None:
    name, follows = "tests.subjects.hostile:FourImages", "tests.subjects.hostile:RemembersInADict"
    found = probe.look([name, follows], {}, LONG_S)
    assert found.subjects[name].fixed_batch == 4
    assert found.subjects[follows].fixed_batch is None


@pytest.mark.slow
def test_what_a_subject_imports_is_known_by_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text("from torch import nn\nimport sizes\nmade = sizes.Made\n")
    (tmp_path / "sizes.py").write_text("from torch import nn\nclass Made(nn.ReLU): pass\n")
    found = probe.look(["net:made"], {}, LONG_S)
    before = found.digests
    assert set(before) == {"net", "sizes"}  # and nothing that is installed
    assert probe.edited(found.sources) == ""
    (tmp_path / "sizes.py").write_text("from torch import nn\nclass Made(nn.Tanh): pass\n")
    said = probe.edited(found.sources)
    assert said == "sizes was edited during the run: the results may mix two versions"
    after = probe.look(["net:made"], {}, LONG_S).digests
    assert after["net"] == before["net"]
    assert after["sizes"] != before["sizes"]
