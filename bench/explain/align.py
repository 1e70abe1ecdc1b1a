"""Aligns the modules of two networks: equal names first, then the position among the siblings.

Names that are numbers (`nn.Sequential`) move when a layer is inserted, so siblings with such names
are compared by what they are, in their order (Needleman & Wunsch 1970).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from bench.results.profile_parts import StepParts

ONLY_IN_A = " (in A)"  # after the name of a module whose name another module has in B


@dataclass(slots=True)
class Node:
    """A module in the tree of names."""

    name: str  # the whole dotted name
    type: str = ""
    weights: str = ""
    settings: str = ""
    inside: dict[str, "Node"] = field(default_factory=dict)  # by the last part of the name

    @property
    def types(self) -> tuple[str, ...]:
        """The types of all modules inside, in order."""
        return tuple(name for one in self.inside.values() for name in (one.type, *one.types))

    @property
    def names(self) -> Iterator[str]:
        """The names of all modules inside."""
        for one in self.inside.values():
            yield one.name
            yield from one.names


# Weights of the reasons why two modules are alike.  They only have to order the alternatives.
_TYPE, _WEIGHTS, _SETTINGS, _INSIDE, _NAME, _POSITION = 4.0, 2.0, 1.0, 2.0, 1.5, 0.1


def tree(modules: Iterable[tuple[str, str, str, str]]) -> Node:
    """Return the tree of (dotted name, type, weights, settings), in the order of first calls."""
    root = Node("")
    for name, type_, weights, settings in modules:
        node, path = root, list[str]()
        for last in name.split("."):
            path.append(last)
            node = node.inside.setdefault(last, Node(".".join(path)))
        node.type, node.weights, node.settings = type_, weights, settings
    return root


def aligned(a: Node, b: Node) -> dict[str, str]:
    """Return the name of each module of B → the name of the module of A that corresponds."""
    found: dict[str, str] = {}
    for left, right in _pairs(list(a.inside.items()), list(b.inside.items())):
        found[right.name] = left.name
        found |= aligned(left, right)
    return found


def _pairs(a: Sequence[tuple[str, Node]], b: Sequence[tuple[str, Node]]) -> list[tuple[Node, Node]]:
    left, right = dict(a), dict(b)
    same = [name for name in left if name in right]
    if left.keys() == right.keys() and all(left[name].type == right[name].type for name in same):
        return [(left[name], right[name]) for name in same]
    found = [(left[name], right[name]) for name in same if not name.isdigit()]
    rest_a = [(name, one) for name, one in a if name.isdigit() or name not in right]
    rest_b = [(name, one) for name, one in b if name.isdigit() or name not in left]
    return found + _sequence(rest_a, rest_b)


def _alike(a: tuple[str, Node], b: tuple[str, Node]) -> float:
    (name_a, left), (name_b, right) = a, b
    score = _POSITION + _NAME * (name_a == name_b)
    if left.type != right.type:
        return score
    score += _TYPE + _WEIGHTS * (left.weights == right.weights)
    return score + _SETTINGS * (left.settings == right.settings) + _INSIDE * _overlap(left, right)


def _overlap(a: Node, b: Node) -> float:
    """Return the share of the types inside that both have, by position."""
    left, right = a.types, b.types
    if not left and not right:
        return 1.0
    equal = sum(one == other for one, other in zip(left, right, strict=False))
    return equal / max(len(left), len(right))


def _sequence(
    a: Sequence[tuple[str, Node]], b: Sequence[tuple[str, Node]]
) -> list[tuple[Node, Node]]:
    """Return the pairs, in order, whose likeness has the largest sum."""
    best: list[list[float]] = [[0.0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i in range(len(a) - 1, -1, -1):
        for j in range(len(b) - 1, -1, -1):
            both = best[i + 1][j + 1] + _alike(a[i], b[j])
            best[i][j] = max(both, best[i + 1][j], best[i][j + 1])
    found, i, j = list[tuple[Node, Node]](), 0, 0
    while i < len(a) and j < len(b):
        if best[i][j] == best[i + 1][j + 1] + _alike(a[i], b[j]):
            found.append((a[i][1], b[j][1]))
            i, j = i + 1, j + 1
        elif best[i][j] == best[i + 1][j]:
            i += 1
        else:
            j += 1
    return found


def renamed(a: StepParts, b: StepParts) -> StepParts:
    """Return A with the names that its modules have in B.

    A module that B lacks keeps its name, with ONLY_IN_A after it if another module has that name.
    """
    names = names_in_b(*(tree(_described(one)) for one in (a, b)))

    def module(name: str) -> str:
        return names.get(name, name)

    def row(name: str) -> str:  # `layer#2` is the second call of the module `layer`
        own, mark, count = name.partition("#")
        return f"{module(own)}{mark}{count}"

    return replace(
        a,
        rounds=tuple(
            replace(one, parts=tuple(replace(part, layer=row(part.layer)) for part in one.parts))
            for one in a.rounds
        ),
        modules=tuple(
            replace(one, row=row(one.row), module=module(one.module)) for one in a.modules
        ),
        types={row(name): (module(own), type_) for name, (own, type_) in a.types.items()},
        order={(row(name), phase): calls for (name, phase), calls in a.order.items()},
        breaks=tuple(replace(one, modules=tuple(map(module, one.modules))) for one in a.breaks),
        fused=tuple(replace(one, layers=tuple(map(module, one.layers))) for one in a.fused),
    )


def names_in_b(a: Node, b: Node) -> dict[str, str]:
    """Return the name of each module of A → its name among those of B, which no other has."""
    partners = {left: right for right, left in aligned(a, b).items()}
    return dict(_among(a, partners, set(b.names), ""))


def _among(
    a: Node, partners: Mapping[str, str], taken: set[str], around: str
) -> Iterator[tuple[str, str]]:
    """Yield the old and the new name of each module inside.

    around: the new name of `a`, if it is marked; else empty.
    """
    for last, one in a.inside.items():
        marked = ""
        if (name := partners.get(one.name)) is None:
            name = f"{around}.{last}" if around else one.name
            if name in taken:
                name += ONLY_IN_A
            marked = name if name != one.name else ""
        yield one.name, name
        yield from _among(one, partners, taken, marked)


def _described(side: StepParts) -> list[tuple[str, str, str, str]]:
    """Return name, type, weights and settings of each module, in the order of first calls."""
    found = {
        one.module: (one.module, one.type, one.weights, one.settings)
        for one in reversed(side.modules)
    }
    in_order = [found[one.module] for one in side.modules]
    others = dict.fromkeys(
        part.layer.partition("#")[0] for one in side.rounds for part in one.parts
    )
    return [*dict.fromkeys(in_order), *((name, "", "", "") for name in others if name not in found)]
