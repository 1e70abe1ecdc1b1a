"""Energy of a call, by a board whose counter is renewed now and then."""

from collections.abc import Callable

import pytest

from bench.worker.device.energy import energy_j_per_call

RENEWED_S = 0.1
IDLE_W, BUSY_W = 100.0, 700.0
QUERY_S = 6e-4


class Board:
    """A GPU that draws 700 W while it works and 100 W else; the host waits for it, or launches.

    A counter that is renewed every 0.1 s is read in 0.6 ms, by the clock of the host.
    """

    def __init__(self, call_s: float, *, counts: bool = True, stuck: bool = False) -> None:
        self.call_s, self.counts, self.stuck = call_s, counts, stuck
        self.now_s = 1000.0
        self.free_s = self.now_s
        self.busy_s = 0.0  # up to now
        self.shown_j, self.renewed_s = 5000.0, self.now_s
        self.calls = self.in_queue = self.most_in_queue = self.looks_at_work = 0

    def clock(self) -> float:
        return self.now_s

    def call(self) -> None:
        self._pass(min(1e-6, self.call_s / 10))
        self.free_s = max(self.free_s, self.now_s) + self.call_s
        self.calls += 1
        self.in_queue += 1
        self.most_in_queue = max(self.most_in_queue, self.in_queue)

    def wait(self) -> None:
        self._pass(max(0.0, self.free_s - self.now_s))
        self._pass(2e-5)  # from the end of the work to the host
        self.in_queue = 0

    def energy_j(self) -> float | None:
        self.looks_at_work += self.in_queue > 0
        self._pass(QUERY_S)
        return self.shown_j if self.counts else None

    def _pass(self, time_s: float) -> None:
        """Time goes by, from renewal to renewal of the counter."""
        end_s = self.now_s + time_s
        while not self.stuck and self.renewed_s + RENEWED_S <= end_s:
            self._spend(self.renewed_s + RENEWED_S)
            self.renewed_s = self.now_s
            self.shown_j += IDLE_W * RENEWED_S + (BUSY_W - IDLE_W) * self.busy_s
            self.busy_s = 0.0
        self._spend(end_s)

    def _spend(self, end_s: float) -> None:
        self.busy_s += max(0.0, min(end_s, self.free_s) - self.now_s)
        self.now_s = end_s


def energy(board: Board, call: Callable[[], object] | None = None) -> float | None:
    return energy_j_per_call(board, call or board.call, board.wait, board.clock)


@pytest.mark.parametrize("call_s", [1e-4, 1.7e-3, 0.02, 0.3, 1.1, 12.0])
def test_the_energy_of_a_call_is_that_of_calls_back_to_back(call_s: float) -> None:
    assert energy(Board(call_s)) == pytest.approx(BUSY_W * call_s, rel=0.02)


def test_the_energy_of_what_the_gpu_did_before_is_not_that_of_the_calls() -> None:
    board = Board(0.09)
    board.call()  # the counter has not been renewed since
    assert energy(board) == pytest.approx(BUSY_W * 0.09, rel=0.02)


@pytest.mark.parametrize(("call_s", "calls"), [(12.0, 1), (2.1, 1), (0.9, 3), (0.3, 7)])
def test_a_slow_call_is_made_no_more_often_than_two_seconds_need(call_s: float, calls: int) -> None:
    board = Board(call_s)
    energy(board)
    assert board.calls == calls


def test_short_calls_are_waited_for_every_twentieth_of_a_second() -> None:
    board = Board(1e-4)
    energy(board)
    assert 450 <= board.most_in_queue <= 500
    assert 20_000 <= board.calls <= 22_000


def test_the_counter_is_read_while_the_gpu_has_nothing_to_do() -> None:
    board = Board(1e-3)
    energy(board)
    assert board.looks_at_work == 0


def test_a_counter_that_is_renewed_rarely_or_runs_backward_counts_nothing() -> None:
    assert energy(Board(1e-3, stuck=True)) is None
    board = Board(0.5)

    def call() -> None:
        board.shown_j = 0.0
        board.call()

    assert energy(board, call) is None


def test_without_a_counter_there_is_no_energy_and_nothing_is_called() -> None:
    board = Board(1e-3, counts=False)
    assert energy(board) is None
    assert board.calls == 0
