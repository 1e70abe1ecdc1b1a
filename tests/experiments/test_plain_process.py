"""The comparison of a plain script with its row."""

from experiments.plain_process import told


def test_a_script_as_fast_as_its_row_is_within_the_target() -> None:
    assert told([0.010, 0.010, 0.010], [0.0102, 0.0101, 0.0103]) == (
        "script / row: 1.020 (0.995–1.045), within 5 %"
    )


def test_a_script_that_takes_longer_is_not_within_the_target() -> None:
    assert told([0.010, 0.010], [0.0110, 0.0111]).endswith("not within 5 %")


def test_one_round_has_no_interval() -> None:
    assert told([0.010], [0.0101]) == "script / row: 1.010 (one round, no interval)"
