"""The cells of the table agree with the values that its script sorts by."""

from bench.core.records import Row
from bench.html.table_data import value_of
from bench.html.table_rows import COLUMNS, lines


def shown(column: str, **values: float) -> str:
    row = Row(subject="convnet", mode="inference", phase="forward", status="ok", **values)  # type: ignore[arg-type]
    (line,) = lines([row], several=False)
    return line.cells[[one.name for one in COLUMNS].index(column)].text


def test_values_with_the_same_sort_key_are_shown_alike() -> None:
    above, below = 0.011550001, 0.011549999
    assert value_of(above) == value_of(below)
    assert shown("time_s", latency_median_s=above) == shown("time_s", latency_median_s=below)
    assert shown("images_per_s", images_per_s=115.50001) == shown(
        "images_per_s", images_per_s=115.49999
    )


def test_an_unknown_value_is_an_empty_cell() -> None:
    assert shown("time_s") == shown("half_width_ratio") == shown("peak_bytes") == ""


def test_a_known_value_bears_its_unit() -> None:
    assert shown("time_s", latency_median_s=0.0123456) == "12.3 ms"
    assert shown("peak_bytes", peak_bytes=48_140_000) == "48.1 MB"
