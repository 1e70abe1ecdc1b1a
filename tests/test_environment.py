"""What is stored of the environment, as far as a resume rests on it."""

import sys
from pathlib import Path

import pytest

from bench.environment import sources


def test_a_source_is_that_of_the_folder_one_stands_in_and_is_not_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "models" / "small").mkdir(parents=True)
    (tmp_path / "models" / "__init__.py").write_text("raise SystemExit('imported')")
    net = tmp_path / "models" / "small" / "net.py"  # its folder is a namespace of the package
    net.write_text("a = 1")
    monkeypatch.chdir(tmp_path)
    before = sources(["models.small.net", "models", "models.nowhere", "nowhere.net"])
    assert "models" not in sys.modules
    assert before["models.nowhere"] is None
    assert before["nowhere.net"] is None
    assert sources(before) == before
    net.write_text("a = 2")
    after = sources(before)
    assert after["models"] == before["models"] is not None
    assert after["models.small.net"] != before["models.small.net"]


def test_a_module_without_a_file_has_no_source() -> None:
    assert sources(["sys", "xml"])["sys"] is None
