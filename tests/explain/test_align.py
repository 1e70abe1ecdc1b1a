"""Modules of two versions of a network find each other."""

from bench.explain.align import aligned, names_in_b, renamed, tree
from tests.explain.sides import called, side


def described(*names_and_types: str) -> list[tuple[str, str, str, str]]:
    """`conv:Conv2d` is a module with that name and type."""
    return [(*one.partition(":")[::2], "", "") for one in names_and_types]


def pairs(a: list[str], b: list[str]) -> dict[str, str]:
    return aligned(tree(described(*a)), tree(described(*b)))


def test_modules_with_equal_names_belong_together_whatever_their_order() -> None:
    found = pairs(["conv:Conv2d", "norm:BatchNorm2d"], ["norm:BatchNorm2d", "conv:Conv2d"])
    assert found == {"conv": "conv", "norm": "norm"}


def test_a_layer_that_is_inserted_moves_the_numbers_behind_it() -> None:
    found = pairs(
        ["net.0:Conv2d", "net.1:ReLU", "net.2:Linear"],
        ["net.0:Conv2d", "net.1:Dropout", "net.2:ReLU", "net.3:Linear"],
    )
    assert found == {"net": "net", "net.0": "net.0", "net.2": "net.1", "net.3": "net.2"}


def test_of_two_equal_blocks_the_one_with_the_same_weights_is_meant() -> None:
    def block(number: int, width: int) -> tuple[str, str, str, str]:
        return f"net.{number}", "Linear", f"weight {width}x{width}", ""

    a, b = tree([block(0, 8), block(1, 16)]), tree([block(0, 4), block(1, 8), block(2, 16)])
    assert aligned(a, b) == {"net": "net", "net.1": "net.0", "net.2": "net.1"}


def test_a_renamed_layer_is_found_by_its_position_among_its_siblings() -> None:
    found = pairs(["a:Conv2d", "act:ReLU", "z:Linear"], ["a:Conv2d", "activation:ReLU", "z:Linear"])
    assert found == {"a": "a", "activation": "act", "z": "z"}


def test_what_lies_inside_a_renamed_module_moves_with_it() -> None:
    found = pairs(["old:Block", "old.conv:Conv2d"], ["new:Block", "new.conv:Conv2d"])
    assert found == {"new": "old", "new.conv": "old.conv"}


def names(a: list[str], b: list[str]) -> dict[str, str]:
    return names_in_b(tree(described(*a)), tree(described(*b)))


def test_a_removed_layer_does_not_take_the_name_of_the_layer_that_moves_to_its_place() -> None:
    found = names(
        ["net.0:Conv2d", "net.1:Dropout", "net.2:ReLU", "net.3:Linear"],
        ["net.0:Conv2d", "net.1:ReLU", "net.2:Linear"],
    )
    assert found == {
        "net": "net",
        "net.0": "net.0",
        "net.1": "net.1 (in A)",
        "net.2": "net.1",
        "net.3": "net.2",
    }


def test_what_lies_inside_a_removed_block_stays_inside_it() -> None:
    found = names(
        ["net.0:Block", "net.0.conv:Conv2d", "net.1:Other", "net.1.conv:Conv2d"],
        ["net.0:Other", "net.0.conv:Conv2d"],
    )
    assert found["net.0"] == "net.0 (in A)"
    assert found["net.0.conv"] == "net.0 (in A).conv"
    assert found["net.1.conv"] == "net.0.conv"


def test_a_layer_that_only_a_has_keeps_its_name_where_it_is_free() -> None:
    assert names(["conv:Conv2d", "drop:Dropout"], ["conv:Conv2d"])["drop"] == "drop"


def test_the_second_call_of_a_renamed_module_moves_with_the_first() -> None:
    key = ("old#2", "forward", "aten::relu")
    a = side({key: (1, 1e-3)}, modules=(called("old", "ReLU"), called("old#2", "ReLU")))
    b = side({}, modules=(called("new", "ReLU"), called("new#2", "ReLU")))
    found = renamed(a, b)
    assert [one.layer for one in found.rounds[0].parts] == ["new#2"]
    assert [(one.row, one.module) for one in found.modules] == [("new", "new"), ("new#2", "new")]
