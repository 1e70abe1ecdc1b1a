"""JSON becomes records whose fields have the declared types, or an error of one line."""

import json
from dataclasses import dataclass
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.core import decode
from bench.core.records import Failure, RecordError, to_line
from tests.support.cases import PLAIN


@dataclass(frozen=True)
class Round:
    radius: float
    kind: Literal["round"] = "round"


@dataclass(frozen=True)
class Square:
    sides: tuple[int, ...]
    kind: Literal["square"] = "square"


SHAPE: decode.Decoder[Round | Square] = decode.Decoder(decode.tagged(Round | Square), "shape")


@pytest.mark.parametrize(
    ("line", "shape"),
    [
        ('{"kind": "round", "radius": 2}', Round(2.0)),
        (b'{"kind": "square", "sides": [1, 2]}', Square((1, 2))),
    ],
)
def test_a_union_is_told_apart_by_its_kind(line: str | bytes, shape: Round | Square) -> None:
    assert SHAPE.of_json(line) == shape


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('{"kind": "round", "radius": "2"}', "round.radius: Input should be a valid number"),
        ('{"kind": "round", "radius": NaN}', "round.radius: Input should be a finite number"),
        (
            '{"kind": "square", "sides": [1, true]}',
            "square.sides.1: Input should be a valid integer",
        ),
        ('{"kind": "square"}', "square.sides: Field required"),
        ("nonsense", "Invalid JSON: expected ident at line 1 column 2"),
    ],
)
def test_a_wrong_field_is_named_by_its_place(line: str, says: str) -> None:
    with pytest.raises(RecordError) as caught:
        SHAPE.of_json(line)
    assert str(caught.value) == f"not a shape: {says}"


def test_a_message_is_one_short_line_whatever_the_file_holds() -> None:
    line = json.dumps({"kind": "\x1b[2J\n" + "y" * 5000})
    with pytest.raises(RecordError) as caught:
        SHAPE.of_json(line)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 330


@given(st.text())
def test_any_text_is_an_entry_or_a_clear_error(text: str) -> None:
    with pytest.raises(RecordError, match=r"^not a journal line: "):
        decode.entry(text)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_any_json_in_the_place_of_a_case_is_refused(value: object) -> None:
    line = {
        **json.loads(to_line(Failure(case=PLAIN, replicate=0, status="ok", reason=""))),
        "case": value,
    }
    with pytest.raises(RecordError):
        decode.entry(json.dumps(line))


def earlier(fields: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if name not in names}


@pytest.mark.parametrize(
    "changed", [{"batch": 0}, {"batch": "8"}, {"subject": None}, {"sparsity": "2:4"}]
)
def test_a_case_with_a_field_that_is_none_or_of_a_later_version_is_refused(
    changed: dict[str, Any],
) -> None:
    with pytest.raises(RecordError, match=r"^not a case: "):
        decode.case({**PLAIN.as_dict(), **changed})


def test_a_failure_of_an_earlier_version_has_its_log_in_its_reason() -> None:
    line = json.loads(to_line(Failure(case=PLAIN, replicate=1, status="crash", reason="no")))
    line = earlier(line, "log", "cause") | {"reason": "no (failures/a.txt)"}
    found = decode.entry(json.dumps(line))
    assert isinstance(found, Failure)
    assert (found.told, found.log, found.cause) == ("no (failures/a.txt)", None, None)


def test_a_failure_names_its_log_where_it_is_told() -> None:
    one = Failure(case=PLAIN, replicate=1, status="crash", reason="no", log="a.txt")
    assert one.told == "no (failures/a.txt)"
    assert decode.entry(to_line(one)) == one
