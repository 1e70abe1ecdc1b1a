"""Messages about wrong use of the command line name the value that was given."""

import pytest

from bench.core.wrong_use import said

NUMBER = "Input should be a valid number, unable to parse string as a number"
INTEGER = "Input should be a valid integer, unable to parse string as an integer"


@pytest.mark.parametrize(
    ("message", "arguments", "expected"),
    [
        (
            f"Invalid value for '--timeout': {NUMBER}",
            ["run", "--timeout", "abc"],
            "--timeout: 'abc' is not understood; expected a number",
        ),
        (
            f"Invalid value for '--seed': {INTEGER}.",
            ["run", "--seed=x"],
            "--seed: 'x' is not understood; expected a whole number",
        ),
        (
            "Invalid value for '--budget': 'abc' is not a valid float.",
            ["run", "--budget", "abc"],
            "--budget: 'abc' is not understood; expected a number",
        ),
        (
            "Invalid value for '--budget': 'abc' is not a valid float.",
            ["run", "--budget", "60", "--budget=abc"],
            "--budget: 'abc' is not understood; expected a number",
        ),
        ("Missing option '--baseline'.", ["check"], "Missing option '--baseline'"),
        ("No such command 'plot'.\n", ["plot"], "No such command 'plot'"),
        (
            "Invalid value for '--to': 'x' is not one of 'csv', 'asv'.",
            ["export", "--to", "x"],
            "--to: 'x' is not one of 'csv', 'asv'",
        ),
    ],
)
def test_a_message_names_flag_value_and_expectation(
    message: str, arguments: list[str], expected: str
) -> None:
    assert said(message, arguments) == expected
