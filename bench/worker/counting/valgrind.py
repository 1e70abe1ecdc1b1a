"""Requests to callgrind from inside: when to count, and when to write down what was counted.

A client request is a sequence of instructions that does nothing outside of valgrind
(valgrind/valgrind.h, "special instruction preamble").  It is written here as machine code, so that
no compiler is needed.  Only for x86-64: under valgrind an ARM processor takes hours.
"""

import ctypes
import mmap
from collections.abc import Callable
from functools import cache

BASE = ord("C") << 24 | ord("T") << 16  # callgrind.h
ZERO, DUMP_AT, START, STOP = BASE + 1, BASE + 3, BASE + 4, BASE + 5
CODE = bytes.fromhex(
    "4889f8"  # mov rax, rdi   address of the six numbers
    "4831d2"  # xor rdx, rdx   the answer outside of valgrind
    "48c1c703"  # rol rdi, 3   … in all 128 bits: nothing
    "48c1c70d"
    "48c1c73d"
    "48c1c733"
    "4887db"  # xchg rbx, rbx
    "4889d0"  # mov rax, rdx
    "c3"
)


@cache
def _request() -> Callable[[object], int]:
    page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(CODE)
    place = ctypes.addressof(ctypes.c_char.from_buffer(page))
    function = ctypes.CFUNCTYPE(ctypes.c_ulong, ctypes.c_void_p)(place)
    function.page = page  # type: ignore[attr-defined] # keeps it mapped
    return function


def ask(code: int, argument: int = 0) -> int:
    """Make a request; 0 outside of valgrind."""
    numbers = (ctypes.c_ulong * 6)(code, argument)
    return int(_request()(ctypes.addressof(numbers)))


class Callgrind:
    """Counts into files of callgrind, one for each `count`; the parent reads them."""

    def begin(self) -> None:
        """Switch the counting on; until then valgrind is ten times as fast."""
        ask(START)

    def end(self) -> None:
        ask(STOP)

    def count(self, name: str, work: Callable[[], None]) -> None:
        """Count the instructions of `work` into a file of this name."""
        text = ctypes.create_string_buffer(name.encode())
        ask(ZERO)
        work()
        ask(DUMP_AT, ctypes.addressof(text))
