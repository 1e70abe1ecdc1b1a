"""The files of callgrind."""

from pathlib import Path

import pytest

from bench.ab import callgrind
from bench.host.interpreter import HERE

# As callgrind 3.19 writes them, shortened: `fn` names a function by number, the name comes once.
# The line after `calls=` is what the called function took in all, and no cost of the caller.
DUMP = """\
# callgrind format
version: 1
creator: callgrind-3.19.0
pid: 7
cmd:  python
part: 2

desc: I1 cache:
desc: Trigger: Client Request: case-0-3

positions: line
events: Ir
summary: 1150

ob=(1) /lib/libc.so.6
fl=(1) ???
fn=(1) memcpy
0 100
+3 50

fn=(2) at::native::copy_
0 200
cob=(1)
cfi=(1)
cfn=(1)
calls=2 0
0 150
* 300

fn=(1)
0 500
totals: 1150
"""


def test_each_function_has_its_own_instructions_without_those_of_what_it_calls() -> None:
    found = callgrind.parsed(DUMP.splitlines())
    assert found.name == "case-0-3"
    assert found.total == 1150
    assert found.by_function == {"memcpy": 650, "at::native::copy_": 500}
    assert sum(found.by_function.values()) == found.total


def test_files_are_found_by_the_name_of_the_work_and_the_last_one_has_none(tmp_path: Path) -> None:
    (tmp_path / "count.1").write_text(DUMP, encoding="utf-8")
    (tmp_path / "count").write_text("events: Ir\ntotals: 0\n", encoding="utf-8")
    assert list(callgrind.read(tmp_path)) == ["case-0-3"]


def test_a_file_without_totals_is_refused() -> None:
    with pytest.raises(callgrind.CallgrindError, match="has no totals"):
        callgrind.parsed(["events: Ir", "fn=(1) f", "0 5"])


def test_a_place_under_callgrind_starts_the_same_module_with_the_counting_off() -> None:
    command = callgrind.Under(python="py", dumps="/tmp/d").command("bench.worker.count")
    plain = HERE.command("bench.worker.count")
    assert command[-3:] == ["py", *plain[1:]]
    assert "--instr-atstart=no" in command
