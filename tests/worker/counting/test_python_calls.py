"""The calls of Python functions in one call of a case."""

from pathlib import Path

from bench.worker.counting import python_calls, valgrind


def helper(number: int) -> int:
    return len(str(number))


def test_calls_are_counted_by_file_and_function() -> None:
    def work() -> None:
        for one in (1, 2, 3):
            helper(one)

    found = python_calls.counted(work)
    (name,) = [one for one in found if one.endswith("test_python_calls.py:helper")]
    assert found[name] == 3
    assert found["builtins.len"] == 3


def test_files_of_packages_are_named_from_the_package_on() -> None:
    assert python_calls.short("/x/lib/site-packages/torch/optim/sgd.py") == "torch/optim/sgd.py"
    assert python_calls.short("/a/b/c/d/e.py") == "c/d/e.py"
    assert python_calls.short(str(Path.cwd() / "models" / "net.py")) == "models/net.py"


def test_a_request_outside_of_valgrind_does_nothing() -> None:
    running_on_valgrind = 0x1001
    assert valgrind.ask(running_on_valgrind) == 0
