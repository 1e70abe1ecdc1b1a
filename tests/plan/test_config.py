import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.plan.config import OWN, QUICK, ConfigError, load


def _write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    return path


def test_the_shipped_sweep_is_taken_where_nothing_else_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = load()
    assert config.source == "the default sweep"
    assert config.run.replicates == 5
    assert config.subjects() == ("convnet", "convnet/*")


def test_cases_that_flags_choose_are_said_to_be_from_flags(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert load(flags={"batch": ["4"]}).source == "flags"
    assert load(subjects=["a:b"], default=OWN).source == "flags"
    assert load(only=["convnet:x"]).source == "flags"
    assert load(default=QUICK).source == "the quick sweep"
    assert load(replicates=3).source == "the default sweep"
    path = _write(tmp_path, "[[sweep]]\nbatch = 2\n")
    assert load(path, flags={"batch": ["4"]}).source == str(path)


def test_a_bench_toml_in_the_current_directory_replaces_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bench.toml").write_text('[[sweep]]\nsubject = "a:b"\nbatch = 3\n')
    config = load()
    assert [sweep.subjects for sweep in config.sweeps] == [("a:b",)]
    assert config.sweeps[0].axes["batch"] == ("3",)


def test_a_flag_replaces_its_axis_in_every_sweep(tmp_path: Path) -> None:
    path = _write(tmp_path, "[[sweep]]\nbatch = [1, 2]\n[[sweep]]\nmode = 'training'\n")
    config = load(path, flags={"batch": ["64"]}, subjects=["a:b", "a:c/*"])
    assert [sweep.axes["batch"] for sweep in config.sweeps] == [("64",), ("64",)]
    assert [sweep.axes["mode"] for sweep in config.sweeps] == [(), ("training",)]
    assert config.subjects() == ("a:b", "a:c/*")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[sweep]]\nbatch = [0]", r"sweep 1: batch is '0'; expected e.g. 32"),
        ("[[sweep]]\nbach = [1]", r"sweep 1: unknown key 'bach'; did you mean 'batch'\?"),
        (
            "[[sweep]]\n[[sweep]]\nwidth = 3",
            r"sweep 2: unknown key 'width'; there are subject, layers, most_layers, emulated, on,",
        ),
        (
            "[[sweep]]\nthreshold = -0.1",
            r"sweep 1: threshold = -0.1; expected greater than 0",
        ),
        ("[[sweep]]\non = 'gpu'", r"sweep 1: on = 'gpu'; expected 'any', 'cpu' or 'accelerators'"),
        ("[[sweep]]\nthreshold = 5", r"sweep 1: threshold = 5; expected less than 1"),
        ("[[sweep]]\nthreshold = '5 %'", r"sweep 1: threshold = '5 %'; expected a number"),
        ("[sweep]\nbatch = [1]", r"sweep = {'batch': \[1\]}; expected \[\[sweep\]\], a list"),
        ("sweep = [3]", r"sweep 1: sweep = 3; expected a table"),
        ("[runs]", r"mine.toml: unknown key 'runs'; did you mean 'run'\?"),
        ("[run]\nreplicate = 5", r"\[run\]: unknown key 'replicate'; did you mean 'replicates'\?"),
        (
            "[run]\nreplicates = 0",
            r"mine.toml, \[run\]: replicates = 0; expected greater than or equal to 1",
        ),
        ("[run]\nreplicates = 2.5", r"replicates = 2.5; expected a whole number"),
        ("[run]\nprecision = 'x'", r"precision = 'x'; expected a number"),
        ("[run]\nprecision = nan", r"precision = nan; expected a finite number"),
        ("[run]\ntimeout_s = 0.5", r"timeout_s = 0.5 ends a case before its samples are taken"),
        ("[[sweep]]\nsubject = 'nothing'", r"sweep 1: subject 'nothing' is not understood"),
        ("[[sweep]]\nsubject = []", r"sweep 1: subject is an empty list"),
        ("[[sweep]]\nbatch = []", r"sweep 1: batch is an empty list"),
        ("[[sweep]]\nlayers = 'yes'", r"sweep 1: layers = 'yes'; expected true or false"),
        ("[[sweep]]\naxes = 3", r"sweep 1: unknown key 'axes'; there are subject"),
        ("[[sweep]]\nsubjects = 'a:b'", r"unknown key 'subjects'; did you mean 'subject'\?"),
        ("= 3", r"is not valid TOML"),
        ("[run]\nseed = " + "9" * 5000, r"holds a number that is too long to be read"),
        (
            "[run]\nseed = 0x" + "f" * 5000,
            r"seed = a number of too many digits; expected less than",
        ),
        (
            "[[sweep]]\nbatch = [1, 0x" + "f" * 5000 + "]",
            r"sweep 1: batch is a number of too many digits",
        ),
        ("[[sweep]]\nsubject = {a = 3}", r"subject holds a list in a list, or a table"),
        ("[[sweep]]\nbatch = " + "[" * 100 + "]" * 100, r"batch holds a list in a list"),
        ("0x" + "f" * 20 + " = 3", r"unknown key '0xf"),
        ("seed = \0", r"is not valid TOML"),
        ("run = 3", r"run = 3; expected a table"),
    ],
)
def test_each_mistake_is_one_line_that_names_the_place(
    tmp_path: Path, text: str, message: str
) -> None:
    path = _write(tmp_path, text)
    with pytest.raises(ConfigError, match=message) as caught:
        load(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_largest_seed_is_taken(tmp_path: Path) -> None:
    assert load(_write(tmp_path, "[run]\nseed = 4294967295")).run.seed == 4294967295


@pytest.mark.parametrize("digits", [19, 4000, 5000])
def test_a_flag_of_very_many_digits_is_one_line(digits: int) -> None:
    with pytest.raises(
        ConfigError, match=r"^--batch: batch is '9+…?9+'; expected e\.g\. 32"
    ) as caught:
        load(flags={"batch": ["9" * digits]})
    assert "\n" not in str(caught.value)


def test_a_wrong_flag_is_named_as_a_flag() -> None:
    with pytest.raises(
        ConfigError, match=r"^--memory-format: memory_format is 'nhwc'; expected one of"
    ):
        load(flags={"memory_format": ["nhwc"]})
    with pytest.raises(ConfigError, match=r"^--replicates: replicates = 0"):
        load(replicates=0)


@pytest.mark.parametrize("content", [b"\xff\xfe", b"a=[" * 3000])
def test_a_file_that_is_no_text_or_too_deep_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "odd.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"odd\.toml"):
        load(path)


def test_a_missing_file_and_a_directory_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        load(tmp_path / "none.toml")
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path)


@given(content=st.binary(max_size=200))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
def test_any_bytes_are_a_configuration_or_a_clear_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "any.toml"
    path.write_bytes(content)
    try:
        config = load(path)
    except ConfigError as error:
        assert str(path) in str(error)
    else:
        assert config.sweeps


def test_an_input_is_that_of_the_subjects_of_its_own_sweep(tmp_path: Path) -> None:
    path = tmp_path / "two.toml"
    path.write_text(
        '[[sweep]]\nsubject = "convnet/bn1"\n'
        '[[sweep]]\nsubject = ["torch.nn:ReLU", "torch.nn:Sigmoid"]\ninput = ["32,55,55", "8"]\n'
    )
    asked = load(path)
    assert asked.inputs() == {"torch.nn:ReLU": "32,55,55", "torch.nn:Sigmoid": "32,55,55"}
    assert load(path, flags={"input": ["4"]}).inputs()["convnet"] == "4"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"timeout_s": float("inf")}, "--timeout: timeout_s = inf"),
        ({"timeout_s": 1e30}, "--timeout: timeout_s = 1e+30"),
        ({"budget_s": float("nan")}, "--budget: budget_s = nan"),
        ({"timeout_s": 0.3}, "--timeout: timeout_s = 0.3 ends a case before its samples are taken"),
    ],
)
def test_a_time_that_nothing_can_wait_for_is_one_line(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(**options)
    assert str(caught.value).startswith(says)
    assert "\n" not in str(caught.value)


def test_a_byte_order_mark_is_no_part_of_the_configuration(tmp_path: Path) -> None:
    path = tmp_path / "marked.toml"
    path.write_bytes(b"\xef\xbb\xbf[run]\nreplicates = 3\n")
    assert load(path).run.replicates == 3


def test_a_file_without_a_callable_is_told_with_the_names_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nets.py").write_text("class Net: ...\ndef make_net(): ...\n")
    said = "subject 'nets.py' is a file without a callable; write nets.py:callable"
    with pytest.raises(ConfigError, match=f"{re.escape(said)}; it has Net, make_net$"):
        load(subjects=["nets.py"])
    (tmp_path / "nets.py").unlink()
    with pytest.raises(ConfigError, match=f"{re.escape(said)}$"):
        load(subjects=["nets.py"])
