"""`bench init`: a file that `bench run` takes, for the network that was named."""

from pathlib import Path

import pytest

from bench.commands import init
from bench.commands.init import Asked, InitError
from bench.core.errors import UserError
from bench.host.probed import Device, Probe, SubjectFound
from bench.plan import config, expand

CPU = {"cpu": Device(name="cpu", shown="a CPU")}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def finds(monkeypatch: pytest.MonkeyPatch, **found: SubjectFound) -> None:
    subjects = {f"net:{name}": one for name, one in found.items()}
    probe = Probe(torch="2.13.0", torch_details={}, devices=CPU, subjects=subjects)
    monkeypatch.setattr("bench.host.probe.look", lambda *_, **__: probe)


def planned(folder: Path, **found: SubjectFound) -> expand.Plan:
    subjects = {f"net:{name}": one for name, one in found.items()}
    probe = Probe(torch="2.13.0", torch_details={}, devices=CPU, subjects=subjects)
    return expand.make(config.load(folder / "bench.toml"), probe)


def test_the_file_is_one_that_a_run_takes(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = SubjectFound(guessed="3,224,224")
    finds(monkeypatch, make=found)
    assert init.run(Asked(subject="net.py:make")) == 0
    plan = planned(folder, make=found)
    assert {case.input for case in plan.cases} == {"3,224,224"}
    assert {case.mode for case in plan.cases} == {"inference", "training"}
    assert {case.memory_format for case in plan.cases} == {"contiguous", "channels_last"}
    assert {case.allocator for case in plan.cases} == {"retained"}
    assert {case.compile for case in plan.cases} == {"off"}
    assert capsys.readouterr().out.splitlines() == [
        "the input of net:make is guessed 3,224,224; change it in bench.toml if it is wrong",
        "bench.toml is written; next: bench run",
    ]


def test_the_file_has_the_settings_of_a_run_without_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = SubjectFound(guessed="3,224,224", layers_error="unknown")
    finds(monkeypatch, make=found)
    init.run(Asked(subject="net:make"))
    gpu = Device(name="cuda:0", shown="a GPU", has_cudnn=True, has_tf32=True)
    probe = Probe(
        torch="2.13.0",
        torch_details={},
        devices={"cpu": Device(name="cpu", shown="a CPU", has_bfloat16=True), "cuda:0": gpu},
        subjects={"net:make": found},
    )

    def settings(of: config.Config) -> set[tuple[object, ...]]:
        plan = expand.make(of, probe, as_plain_process=True)
        axes = ("mode", "device", "amp", "memory_format", "cudnn_benchmark", "tf32", "allocator")
        return {
            tuple(getattr(case, name) for name in axes)
            for case in plan.cases
            if case.batch == 8 and case.compile == "off"
        }

    flags = {"device": ("cpu", "cuda:0")}
    own = config.load(None, default=config.OWN, subjects=("net:make",), flags=flags)
    assert settings(config.load(folder / "bench.toml", flags=flags)) == settings(own)


@pytest.mark.parametrize("given", ["3x224x224", "3, 224, 224", "", "3,0,224"])
def test_an_input_that_a_run_would_refuse_is_refused_before_anything_is_written(
    folder: Path, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    finds(monkeypatch, make=SubjectFound(has_inputs=True))
    with pytest.raises(InitError, match=rf"^--input: input is '{given}'; expected e\.g\. 3,224"):
        init.run(Asked(subject="net:make", input=given))
    assert not (folder / "bench.toml").exists()


def test_what_is_commented_out_can_be_put_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = SubjectFound(has_inputs=True, layers_error="unknown")
    finds(monkeypatch, make=found)
    init.run(Asked(subject="net:make"))
    file = folder / "bench.toml"
    lines = file.read_text().splitlines()
    start = lines.index(next(one for one in lines if one.startswith("# [[sweep]]")))
    tail = [one.removeprefix("# ") for one in lines[start:]]
    file.write_text("\n".join([*lines[:start], *tail]))
    plan = planned(folder, make=found)
    assert {case.compile for case in plan.cases} == {"off", "default"}
    assert {case.input for case in plan.cases} == {"own"}


def test_an_input_without_an_image_has_one_memory_format(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finds(monkeypatch, make=SubjectFound())
    init.run(Asked(subject="net:make", input="12"))
    plan = planned(folder, make=SubjectFound())
    assert {case.memory_format for case in plan.cases} == {"contiguous"}


def test_a_file_that_is_there_stays(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finds(monkeypatch, make=SubjectFound(has_inputs=True))
    (folder / "bench.toml").write_text("mine")
    with pytest.raises(InitError, match="--force replaces it"):
        init.run(Asked(subject="net:make"))
    assert (folder / "bench.toml").read_text() == "mine"
    init.run(Asked(subject="net:make", force=True))
    assert (folder / "bench.toml").read_text().startswith("# What `bench run` measures")


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (SubjectFound(), "no input is known. Give --input"),
        (SubjectFound.unknown("make raised ValueError: no"), "subject make raised ValueError"),
    ],
)
def test_what_cannot_be_measured_gets_no_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch, found: SubjectFound, message: str
) -> None:
    finds(monkeypatch, make=found)
    with pytest.raises(UserError, match=message):
        init.run(Asked(subject="net:make"))
    assert not (folder / "bench.toml").exists()


def test_the_name_of_a_subject_may_hold_what_toml_would_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "net:make('a\"b', 3)"
    probe = Probe(
        torch="2.13.0",
        torch_details={},
        devices=CPU,
        subjects={name: SubjectFound(has_inputs=True)},
    )
    monkeypatch.setattr("bench.host.probe.look", lambda *_, **__: probe)
    init.run(Asked(subject=name))
    assert config.load(folder / "bench.toml").sweeps[0].subjects == (name,)


@pytest.mark.slow
def test_the_shipped_network_needs_no_input(folder: Path) -> None:
    assert init.run(Asked(subject="convnet")) == 0
    assert config.load(folder / "bench.toml").sweeps[0].axes["input"] == ("3,224,224",)
