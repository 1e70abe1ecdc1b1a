"""The plugin that prints failures when they happen."""

import pytest

from tests.support.paths import ROOT

pytest_plugins = ["pytester"]


@pytest.mark.slow
def test_a_failure_is_printed_before_the_next_test_begins(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    pytester.makepyfile(
        """
        import sys

        def test_one():
            assert 1 + 1 == 3

        def test_two(capsys):
            with capsys.disabled():
                print("two has begun", flush=True)
        """
    )
    found = pytester.runpytest_subprocess("-v", "-p", "tests.support.failures_at_once")
    found.stdout.fnmatch_lines(
        ["*call of *test_one failed*", "*assert (1 + 1) == 3*", "*two has begun*"]
    )
