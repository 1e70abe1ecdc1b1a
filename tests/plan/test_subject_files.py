"""A subject that is named by its file is that file, or nothing is measured."""

from pathlib import Path

import pytest

from bench.core.subject import SubjectError
from bench.plan import config
from bench.plan.subject_files import found_first, named
from tests.worker.process.test_limits import lay

NET = "class Net: pass\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder `sub` of a repository, which is the current directory."""
    monkeypatch.delenv("CONVNET_BENCH_PATH", raising=False)
    lay(tmp_path, {".git/HEAD": "", "models.py": NET, "sub/own.py": NET})
    monkeypatch.chdir(tmp_path / "sub")
    return tmp_path / "sub"


def test_a_file_above_is_named_as_it_is_imported(folder: Path) -> None:
    assert named("../models.py:Net") == "models.py:Net"
    assert named(f"{folder.parent}/models.py:Net(3)/conv") == "models.py:Net(3)/conv"
    assert named("own.py:Net") == "own.py:Net"
    assert named("models:Net") == "models:Net"


@pytest.mark.parametrize("hiding", ["models.py", "models/__init__.py", "src/models.py"])
def test_another_file_of_the_same_name_is_never_measured_instead(folder: Path, hiding: str) -> None:
    lay(folder, {hiding: NET})
    with pytest.raises(SubjectError) as caught:
        named("../models.py:Net")
    assert str(caught.value) == (
        f"subject '../models.py:Net': the name models means {hiding}, which is found first; "
        "rename one of the two, or change to the folder of the file that you mean"
    )
    with pytest.raises(config.ConfigError, match=r"^--subject: subject '\.\./models\.py:Net': the"):
        config.load(subjects=("../models.py:Net",))


def test_a_package_beside_a_file_of_its_name_is_never_measured_instead(folder: Path) -> None:
    lay(folder, {"net.py": NET, "net/__init__.py": NET})
    with pytest.raises(SubjectError, match=r"the name net means net/__init__\.py"):
        named("net.py:Net")
    assert named("net/__init__.py:Net") == "net/__init__.py:Net"


def test_a_file_in_a_folder_called_convnet_is_no_layer_of_the_shipped_network(folder: Path) -> None:
    lay(folder, {"convnet/net.py": NET})
    with pytest.raises(SubjectError, match="read as a layer of convnet, the network that ships"):
        named("convnet/net.py:Net")
    assert named("convnet/conv1") == "convnet/conv1"


def test_folders_without_init_are_one_package_and_come_after_any_other(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    lay(tmp_path, {"one/my/a.py": "", "two/my/b.py": ""})
    assert found_first("my.b", [one, two]) == two / "my/b.py"
    lay(tmp_path, {"two/my/__init__.py": ""})
    assert found_first("my.b", [one, two]) == two / "my/b.py"
    assert found_first("my.a", [one, two]) == two / "my/__init__.py"
    assert found_first("other.b", [one, two]) is None
