"""The packages that a revision has of its own, by the paths that it tracks."""

import pytest

from bench.ab.own_packages import own_packages


@pytest.mark.parametrize(
    ("below", "tracked"),
    [
        ("mylib/__init__.py", "mylib/__init__.py"),
        ("mylib/__init__.py", "python/mylib/__init__.py"),
        ("mylib/__init__.py", "src/mylib/__init__.py"),
        ("mylib.py", "lib/mylib.py"),
        ("mylib/__init__.py", "packages/core/mylib/__init__.py"),
        ("mylib/__init__.py", "packages/core/src/mylib/__init__.py"),
        ("mylib/__init__.py", "core/src/mylib/__init__.py"),
        ("ns/mylib/__init__.py", "python/ns/mylib/__init__.py"),
    ],
)
def test_a_package_below_an_import_root_is_its_own(below: str, tracked: str) -> None:
    assert own_packages([tracked, "README.md"])[below] == tracked


@pytest.mark.parametrize(
    ("below", "tracked"),
    [
        ("tests/__init__.py", ["tests/__init__.py"]),
        ("setup.py", ["setup.py"]),
        ("torch/__init__.py", ["docs/torch/index.py", "docs/src/torch/__init__.py"]),
        ("numpy/__init__.py", ["mylib/__init__.py", "mylib/numpy/__init__.py"]),
        ("six.py", ["mylib/vendor/six.py", "third_party/lib/six.py", "vendored/lib/six.py"]),
        ("numpy/__init__.py", [".venv/lib/numpy/__init__.py"]),
        ("utils.py", ["src/__init__.py", "src/utils.py"]),  # src is a package: src.utils
        ("mylib/__init__.py", ["mylib/net.py"]),
    ],
)
def test_names_that_repositories_have_for_other_reasons_are_not(
    below: str, tracked: list[str]
) -> None:
    assert below not in own_packages(tracked)
