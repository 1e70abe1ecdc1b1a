"""A quick test that starts a process or sleeps is told so, whatever the code under test catches."""

import multiprocessing
import os
import subprocess
import threading
import time
from collections.abc import Callable

import pytest

from tests.support import guard

pytest_plugins = ("pytester",)


@pytest.mark.parametrize(
    ("name", "act"),
    [
        ("Popen.__init__", lambda: subprocess.run(["true"], check=False)),
        ("BaseProcess.start", lambda: multiprocessing.Process().start()),
        ("BaseProcess.start", lambda: multiprocessing.get_context("spawn").Process().start()),
        ("os.fork", lambda: os.fork()),
        ("os.posix_spawn", lambda: os.posix_spawn("/bin/true", ["true"], {})),
        ("os.system", lambda: os.system("true")),
        ("time.sleep", lambda: time.sleep(0)),
    ],
)
def test_what_takes_long_is_refused_and_named(name: str, act: Callable[[], object]) -> None:
    with guard.quick() as refused, pytest.raises(pytest.fail.Exception, match=name):
        act()
    assert len(refused) == 1
    assert "mark" in refused[0]
    assert "`slow`" in refused[0]


def test_what_the_code_under_test_catches_or_a_thread_meets_is_known_as_well() -> None:
    def swallows() -> None:
        with pytest.raises(pytest.fail.Exception):
            time.sleep(1)

    with guard.quick() as refused:
        swallows()
        thread = threading.Thread(target=swallows)
        thread.start()
        thread.join()
    assert len(refused) == 2


TESTS = """
    import subprocess, threading, time, pytest

    @pytest.fixture(scope="module")
    def waited():
        time.sleep(0)

    def test_sleeps():
        time.sleep(0)

    def test_catches():
        try:
            time.sleep(0)
        except BaseException:
            pass

    def test_of_a_fixture_that_sleeps(waited):
        pass

    def test_is_quick():
        pass

    @pytest.mark.slow
    def test_may():
        time.sleep(0)

    @pytest.fixture(scope="module")
    def started():
        return subprocess.run(["true"]).returncode

    @pytest.mark.gpu
    @pytest.mark.skipif(False, reason="there is one")
    def test_of_a_gpu_may(started):
        assert started == 0
        time.sleep(0)

    @pytest.mark.gpu
    @pytest.mark.skipif(True, reason="there is none")
    def test_of_a_gpu_is_skipped():
        raise AssertionError
"""


@pytest.mark.slow
def test_tests_that_are_not_marked_are_guarded_with_their_fixtures_and_the_others_are_not(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(TESTS)
    result = pytester.runpytest_inprocess("-p", "tests.support.guard", "-p", "no:benchmark")
    result.assert_outcomes(passed=3, failed=2, errors=1, skipped=1)
    result.stdout.fnmatch_lines_random(
        ["FAILED *::test_sleeps*", "FAILED *::test_catches*", "ERROR *::test_of_a_fixture*"]
    )


@pytest.mark.slow
def test_what_runs_alone_has_to_be_slow_as_well(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("import pytest\n@pytest.mark.alone\ndef test_measures(): pass")
    result = pytester.runpytest_inprocess("-p", "tests.support.guard", "-p", "no:benchmark")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*test_measures is marked `alone`; mark it `slow` as well"])


@pytest.mark.slow
def test_what_needs_a_gpu_has_to_say_when_it_is_skipped(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("import pytest\n@pytest.mark.gpu\ndef test_launches(): pass")
    result = pytester.runpytest_inprocess("-p", "tests.support.guard", "-p", "no:benchmark")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*test_launches is marked `gpu`; add the `skipif`*"])


TWO = """
    import pytest

    def test_is_quick():
        pass

    @pytest.mark.slow
    def test_takes_long():
        pass
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("limit", "outcomes"),
    [
        ([], {"passed": 2}),
        (["--stop-after", "3600"], {"passed": 2}),
        (["--stop-after", "0"], {"passed": 1, "skipped": 1}),
    ],
)
def test_what_would_begin_too_late_is_skipped_where_it_is_slow(
    pytester: pytest.Pytester, limit: list[str], outcomes: dict[str, int]
) -> None:
    pytester.makepyfile(TWO)
    result = pytester.runpytest_inprocess(
        "-rs", "-p", "tests.support.guard", "-p", "no:benchmark", *limit
    )
    result.assert_outcomes(**outcomes)
    assert ("no time left: --stop-after 0" in result.stdout.str()) == ("skipped" in outcomes)
