"""The changes in a network are named with their place and their time."""

from dataclasses import replace
from typing import Any

import pytest

from bench.explain.differences import BETWEEN, IDLE
from bench.explain.explanation import Explanation, explain
from bench.results.profile_parts import FusedKernel, GraphBreak, PartTime, Round, StepParts
from tests.explain.sides import BACK, CONV, FC, MODULES, NORM, PLAIN, called, part, side
from tests.support.cases import case

COPY = ("layer1.conv", "backward", "aten::copy_")


def first(a: StepParts, b: StepParts) -> str:
    return explain(a, b).sentences[0]


def plain(**more: Any) -> StepParts:
    return side(PLAIN, modules=MODULES, **more)


def test_equal_code_has_no_cause() -> None:
    found = explain(plain(), plain(noise=(1.03, 0.96, 1.01, 1.0, 0.98)))
    assert found.causes == ()
    assert found.sentences == [
        "no difference was found: nothing counted differs, and no part beyond its noise"
    ]


def test_figures_that_differ_by_little_are_told_with_all_digits() -> None:
    a, b = (plain(counted={"peak_bytes": size, "flops": size}) for size in (23_201_024, 23_201_280))
    assert explain(a, b).counted == (
        "FLOPs 23,201,024 → 23,201,280; peak memory 23,201,024 B → 23,201,280 B"
    )


def test_without_a_cause_a_counted_figure_that_differs_is_not_denied() -> None:
    a, b = (plain(counted={"peak_bytes": size}) for size in (1e6, 2e6))
    assert first(a, b) == (
        "no cause was found: counted figures of the whole step differ, but none of a module, and "
        "no part beyond its noise"
    )


def test_a_step_that_differs_by_small_parts_alone_is_not_called_equal() -> None:
    """Each of sixty parts takes 1.6 % of the step, and a fifth longer in B."""
    keys = [(f"layer{number}", "forward", "aten::relu") for number in range(60)]
    a, b = (side(dict.fromkeys(keys, (1, time_s))) for time_s in (1e-4, 1.2e-4))
    assert first(a, b) == (
        "no cause was found: nothing counted differs, and the step differs beyond its noise, but "
        "no part of it does"
    )


def test_one_round_is_too_few_to_tell_times_apart() -> None:
    a, b = (side(PLAIN, noise=(noise,), modules=MODULES) for noise in (1.0, 1.5))
    assert first(a, b) == (
        "no difference was found: nothing counted differs, and 1 round is too few to tell a "
        "difference of the times from noise"
    )


def test_a_new_operator_is_named_with_its_place_and_what_it_stands_before() -> None:
    order = {COPY[:2]: ("aten::copy_", "aten::convolution_backward")}
    before = {COPY[:2]: ("aten::convolution_backward",)}
    b = side({**PLAIN, COPY: (1, 1.6e-3)}, modules=MODULES, order=order)
    assert first(plain(order=before), b) == (
        "backward of `layer1.conv` +1.60 ms (100 % of the slowdown): a new `aten::copy_` "
        "(1.60 ms) before `aten::convolution_backward`"
    )


def test_what_no_cause_has_is_the_remainder() -> None:
    found = explain(plain(), side({**PLAIN, COPY: (1, 2e-3), FC: (1, 4.3e-3)}, modules=MODULES))
    assert [one.layer for one in found.causes] == ["layer1.conv"]
    assert found.remainder_s == pytest.approx(0.3e-3)
    total_s = sum(one.difference_s for one in found.causes) + found.remainder_s
    assert total_s == pytest.approx(found.whole.difference_s)


def test_causes_without_a_sentence_are_told_with_their_time() -> None:
    copies = {(f"layer{number}", "forward", "aten::copy_"): (1, 1e-3) for number in range(10)}
    relus = {(f"layer{number}", "forward", "aten::relu"): (1, 5e-3) for number in range(10)}
    found = explain(side(relus), side({**relus, **copies}))
    assert len(found.sentences) == 8
    assert found.rest.startswith("+2.00 ms in 2 more causes; ")


def test_with_too_few_rounds_the_rest_is_not_called_noise() -> None:
    a, b = (side(PLAIN, noise=(noise,), modules=MODULES) for noise in (1.0, 1.5))
    assert explain(a, b).rest == "+18.0 ms in no cause: 1 round is too few to know the noise"


def test_python_in_a_forward_is_time_between_operators() -> None:
    loop = ("layer1", "forward", BETWEEN)
    b = side({**PLAIN, loop: (0, 9e-3)}, modules=MODULES)
    a = side({**PLAIN, loop: (0, 0.1e-3)}, modules=MODULES)
    assert "forward of `layer1` +8.90 ms" in first(a, b)
    assert "between operators (Python and dispatch) 100 µs → 9.00 ms" in first(a, b)


def test_the_time_of_a_hook_is_told_by_the_node_in_which_it_runs() -> None:
    node = "autograd::engine::evaluate_function: ReluBackward0"
    a, b = (
        side({**PLAIN, ("fc", "backward", node): (1, time_s)}, modules=MODULES)
        for time_s in (0.1e-3, 9e-3)
    )
    assert first(a, b) == (
        f"backward of `fc` +8.90 ms (100 % of the slowdown): `{node}` 100 µs → 9.00 ms"
    )


def test_a_setting_of_a_layer_is_told_before_its_time() -> None:
    small = called("layer1.conv", "Conv2d", settings="8, 8, kernel_size=(3, 3), bias=False")
    large = called("layer1.conv", "Conv2d", settings="8, 8, kernel_size=(7, 7), bias=False")
    a = side(PLAIN, modules=(*MODULES[:2], small, *MODULES[3:]))
    b = side({**PLAIN, CONV: (1, 30e-3)}, modules=(*MODULES[:2], large, *MODULES[3:]))
    assert ": kernel_size=(3, 3) → kernel_size=(7, 7); " in first(a, b)
    assert first(a, b).startswith("forward of `layer1.conv` +20.0 ms (100 % of the slowdown)")


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("8, 8, bias=False", "8, 16, bias=False", "8, 8 → 8, 16"),
        ("8, 16, bias=False", "16, 8, bias=False", "8, 16 → 16, 8"),
        ("8, 8, bias=False", "8, 8", "bias=False → the default"),
        ("", "p=0.5", "the default → p=0.5"),
    ],
)
def test_settings_without_a_name_are_told_by_their_places(
    before: str, after: str, told: str
) -> None:
    left, right = (called("layer1.conv", "Conv2d", settings=one) for one in (before, after))
    a = side(PLAIN, modules=(*MODULES[:2], left, *MODULES[3:]))
    b = side({**PLAIN, CONV: (1, 30e-3)}, modules=(*MODULES[:2], right, *MODULES[3:]))
    assert f": {told}; " in first(a, b)


def test_settings_in_another_order_are_the_same() -> None:
    a, b = (
        side(PLAIN, modules=(*MODULES[:2], called("layer1.conv", "Conv2d", settings=one)))
        for one in ("p=1, q=2", "q=2, p=1")
    )
    assert explain(a, b).causes == ()


def test_an_inserted_layer_is_new_and_the_layers_behind_it_are_not() -> None:
    names = ("net.0", "net.1")
    keys = [(name, "forward", "aten::addmm") for name in ("net.0", "net.1", "net.2")]
    a = side(
        {keys[0]: (1, 5e-3), (names[1], "forward", "aten::relu"): (1, 2e-3)},
        modules=(called("net.0", "Linear"), called("net.1", "ReLU")),
        types={"net.0": ["net.0", "Linear"], "net.1": ["net.1", "ReLU"]},
    )
    b = side(
        {keys[0]: (1, 5e-3), keys[1]: (1, 3e-3), ("net.2", "forward", "aten::relu"): (1, 2e-3)},
        modules=(called("net.0", "Linear"), called("net.1", "Linear"), called("net.2", "ReLU")),
        types={"net.1": ["net.1", "Linear"]},
    )
    found = explain(a, b)
    assert [one.layer for one in found.causes] == ["net.1"]
    assert "a new layer (Linear)" in found.sentences[0]


def test_a_new_block_has_all_calls_of_the_layers_inside_it() -> None:
    """A layer that is called twice, as the activation of a residual block is."""
    relu = ("block.relu", "forward", "aten::relu")
    again = ("block.relu#2", "forward", "aten::relu")
    b = side(
        {**PLAIN, relu: (1, 2e-3), again: (1, 3e-3)},
        modules=(
            *MODULES,
            called("block", "Block"),
            called("block.relu", "ReLU"),
            called("block.relu#2", "ReLU"),
        ),
        types={"block": ["block", "Block"]},
    )
    found = explain(plain(), b)
    assert [one.layer for one in found.causes] == ["block"]
    assert first(plain(), b).startswith("forward of `block` +5.00 ms")


def test_layers_that_are_called_without_the_block_around_them_are_no_removed_block() -> None:
    inlined = (MODULES[0], *MODULES[2:])
    assert explain(plain(), side(PLAIN, modules=inlined)).causes == ()


def test_a_new_layer_that_is_called_three_times_is_one_cause() -> None:
    calls = [(f"relu{count}", "forward", "aten::relu") for count in ("", "#2", "#3")]
    own = tuple(called(row, "ReLU") for row, _, _ in calls)
    b = side({**PLAIN, **dict.fromkeys(calls, (1, 2e-3))}, modules=(*MODULES, *own))
    found = explain(plain(), b)
    assert [one.layer for one in found.causes] == ["relu"]
    assert found.causes[0].difference_s == pytest.approx(6e-3)


def test_a_further_call_of_a_module_has_only_what_it_adds() -> None:
    """Its inner layer is called twice in each call of it."""
    relus = [(f"block.relu{count}", "forward", "aten::relu") for count in ("", "#2", "#3", "#4")]
    rows = ("block", *(row for row, _, _ in relus))
    a = side(
        {**PLAIN, relus[0]: (1, 1e-3), relus[1]: (1, 1e-3)},
        modules=(*MODULES, *(called(row, "Module") for row in rows[:3])),
    )
    b = side(
        {**PLAIN, **dict.fromkeys(relus, (1, 1e-3)), relus[1]: (1, 8e-3)},
        modules=(*MODULES, *(called(row, "Module") for row in (*rows, "block#2"))),
    )
    found = explain(a, b)
    again = next(one for one in found.causes if "runs again" in one.changes)
    assert {part.layer for part in again.parts} == {"block.relu#3", "block.relu#4"}


def test_a_block_that_is_no_longer_checkpointed_is_told_so() -> None:
    again = ("layer1.conv#2", "backward", "aten::mkldnn_convolution")
    a = side({**PLAIN, again: (1, 10e-3)}, modules=MODULES)
    assert "no longer runs again in the backward, as activation checkpointing" in first(a, plain())


def test_a_removed_layer_is_told_by_its_own_name_type_and_time() -> None:
    """Its name in A is that of the layer behind it in B."""
    a = side(
        {
            ("net.0", "forward", "aten::addmm"): (1, 5e-3),
            ("net.1", "forward", "aten::addmm"): (1, 3e-3),
            ("net.2", "forward", "aten::addmm"): (1, 2e-3),
            ("net.2", "forward", "aten::relu"): (1, 1e-3),
        },
        modules=(called("net.0", "Linear"), called("net.1", "Gate"), called("net.2", "Linear")),
        types={"net.1": ["net.1", "Gate"], "net.2": ["net.2", "Linear"]},
    )
    b = side(
        {
            ("net.0", "forward", "aten::addmm"): (1, 5e-3),
            ("net.1", "forward", "aten::addmm"): (1, 2e-3),
            ("net.1", "forward", "aten::relu"): (1, 1e-3),
        },
        modules=(called("net.0", "Linear"), called("net.1", "Linear")),
        types={"net.1": ["net.1", "Linear"]},
    )
    found = explain(a, b)
    (sentence,) = found.sentences
    assert sentence == (
        "forward of `net.1 (in A)` -3.00 ms (100 % of the speedup): no more layer (Gate); no more "
        "`aten::addmm` (3.00 ms)"
    )
    assert found.remainder_s == pytest.approx(0)


def test_an_operator_of_a_moved_layer_stands_before_the_one_that_it_stands_before() -> None:
    """The new operator's layer has another number in A."""
    relu, copy = ("net.1", "forward", "aten::relu"), ("net.1", "forward", "aten::copy_")
    a = side(
        {("net.0", "forward", "aten::relu"): (1, 2e-3)},
        modules=(called("net.0", "ReLU"),),
        order={("net.0", "forward"): ("aten::relu",)},
    )
    b = side(
        {("net.0", "forward", "aten::addmm"): (1, 1e-3), relu: (1, 2e-3), copy: (1, 4e-3)},
        modules=(called("net.0", "Linear"), called("net.1", "ReLU")),
        order={("net.1", "forward"): ("aten::copy_", "aten::relu")},
    )
    assert first(a, b).endswith("a new `aten::copy_` (4.00 ms) before `aten::relu`")


def test_a_block_that_runs_again_in_the_backward_is_checkpointed() -> None:
    again = ("layer1.conv#2", "backward", "aten::mkldnn_convolution")
    whole = ("layer1#2", "backward", BETWEEN)
    b = side({**PLAIN, again: (1, 10e-3), whole: (0, 0.1e-3)}, modules=MODULES)
    assert first(plain(), b).startswith("backward of `layer1` +10.1 ms")
    assert "runs again in the backward, as activation checkpointing does" in first(plain(), b)


def test_a_block_whose_layers_all_run_again_is_named_itself() -> None:
    """Its forward is called and not the module, so that the block has no second call."""
    conv = ("layer1.conv#2", "backward", "aten::mkldnn_convolution")
    norm = ("layer1.norm#2", "backward", "aten::native_batch_norm")
    b = side({**PLAIN, conv: (1, 10e-3), norm: (1, 2e-3)}, modules=MODULES)
    assert first(plain(), b).startswith("backward of `layer1` +12.0 ms")


def test_a_layer_in_training_mode_is_named_by_its_mode() -> None:
    drop = ("layer1.norm", "forward", "aten::bernoulli_")
    trains = called("layer1.norm", "BatchNorm2d", training=True)
    b = side({**PLAIN, drop: (1, 3e-3)}, modules=(*MODULES[:3], trains, MODULES[4]))
    assert "`layer1.norm`" in first(plain(), b)
    assert "inference mode → training mode; a new `aten::bernoulli_`" in first(plain(), b)


def test_a_module_in_another_mode_in_its_second_call_alone_is_told_with_both_modes() -> None:
    second = ("fc#2", "forward", "aten::addmm")
    evaluated, trained = (called("fc#2", "Linear", training=mode) for mode in (False, True))
    a = side({**PLAIN, second: (1, 4e-3)}, modules=(*MODULES, evaluated))
    b = side({**PLAIN, second: (1, 9e-3)}, modules=(*MODULES, trained))
    assert "`fc` +5.00 ms (100 % of the slowdown): inference mode → training mode" in first(a, b)


def test_changes_of_the_format_are_unknown_without_the_details_of_modules() -> None:
    flips = formats("contiguous", LAST, LAST, PLAINLY, PLAINLY, LAST, "", "")
    found = explain(side(PLAIN, modules=flips), side(PLAIN))
    assert found.counted == "changes of the memory format 3 → unknown"
    assert found.sentences[0].startswith("no difference was found: nothing counted differs")


def formats(*values: str) -> tuple[Any, ...]:
    """The modules with these formats: input and output of layer1, of conv, norm and fc."""
    pairs = [values[place : place + 2] for place in range(0, len(values), 2)]
    return (
        MODULES[0],
        *(
            called(one.row, one.type, input_format=given, output_format=made)
            for one, (given, made) in zip(MODULES[1:], pairs, strict=True)
        ),
    )


LAST, PLAINLY = "channels_last", "contiguous"


def test_a_lost_memory_format_is_named_where_it_is_lost_and_has_what_follows() -> None:
    """The code of layer1 converts before conv; conv and norm take longer for that."""
    a = side(PLAIN, modules=formats(LAST, LAST, LAST, LAST, LAST, LAST, "", ""))
    clone = ("layer1", "forward", "aten::clone")
    b = side(
        {**PLAIN, clone: (1, 1e-3), CONV: (1, 15e-3), NORM: (1, 4e-3)},
        modules=formats(LAST, PLAINLY, PLAINLY, PLAINLY, PLAINLY, PLAINLY, "", ""),
    )
    found = explain(a, b)
    assert len(found.causes) == 1
    assert found.causes[0].difference_s == pytest.approx(8e-3)
    assert "`layer1`, before `layer1.conv`, " in found.sentences[0]
    assert "memory format channels_last → contiguous (2 more layers after it)" in found.sentences[0]
    assert "a new `aten::clone`" in found.sentences[0]


def test_a_layer_whose_own_settings_changed_does_not_only_follow_a_lost_format() -> None:
    a = side(PLAIN, modules=formats(LAST, LAST, LAST, LAST, LAST, LAST, "", ""))
    modules = formats(LAST, PLAINLY, PLAINLY, PLAINLY, PLAINLY, PLAINLY, "", "")
    other = replace(modules[3], settings="8, momentum=0.5")
    b = side(
        {**PLAIN, CONV: (1, 15e-3), NORM: (1, 9e-3)}, modules=(*modules[:3], other, modules[4])
    )
    found = explain(a, b)
    assert [one.layer for one in found.causes] == ["layer1.norm", "layer1"]
    assert "the default → 8, momentum=0.5" in found.sentences[0]
    assert "(1 more layer after it)" in found.sentences[1]


def test_the_settings_of_a_layer_that_changes_the_format_are_told_before_it() -> None:
    a = side(PLAIN, modules=formats(LAST, LAST, LAST, LAST, LAST, LAST, "", ""))
    modules = formats(LAST, PLAINLY, LAST, PLAINLY, PLAINLY, PLAINLY, "", "")
    wide = replace(modules[2], settings="kernel_size=(7, 7)")
    b = side({**PLAIN, CONV: (1, 15e-3)}, modules=(*modules[:2], wide, *modules[3:]))
    assert ": the default → kernel_size=(7, 7); memory format channels_last → cont" in first(a, b)


def test_layers_that_follow_a_changed_dtype_are_all_counted() -> None:
    def net(dtype: str) -> tuple[Any, ...]:
        own = {"input_dtype": dtype, "output_dtype": dtype}
        return (*MODULES[:2], *(called(one.row, one.type, **own) for one in MODULES[2:]))

    b = side({**PLAIN, CONV: (1, 40e-3)}, modules=net("float64"))
    said = first(side(PLAIN, modules=net("float32")), b)
    assert "`layer1.conv` +30.0 ms" in said
    assert "dtype float32 → float64 (2 more layers after it)" in said


def test_layers_that_follow_a_format_that_changes_inside_a_layer_are_all_counted() -> None:
    a = side(PLAIN, modules=formats(LAST, LAST, LAST, LAST, LAST, LAST, "", ""))
    b = side(
        {**PLAIN, NORM: (1, 9e-3)},
        modules=formats(LAST, PLAINLY, LAST, PLAINLY, PLAINLY, PLAINLY, "", ""),
    )
    assert "`layer1.conv`" in first(a, b)
    assert "(1 more layer after it)" in first(a, b)


def test_a_layer_in_another_dtype_is_named_by_its_dtypes() -> None:
    wide = called("layer1.conv", "Conv2d", input_dtype="float64", output_dtype="float64")
    narrow = called("layer1.conv", "Conv2d", input_dtype="float32", output_dtype="float32")
    slow = ("layer1.conv", "forward", "aten::_slow_conv2d_forward")
    a = side(PLAIN, modules=(*MODULES[:2], narrow, *MODULES[3:]))
    parts = {key: value for key, value in PLAIN.items() if key != CONV}
    b = side({**parts, slow: (1, 40e-3)}, modules=(*MODULES[:2], wide, *MODULES[3:]))
    assert "`layer1.conv`" in first(a, b)
    assert "dtype float32 → float64" in first(a, b)
    assert (
        "`aten::_slow_conv2d_forward` (40.0 ms) instead of `aten::mkldnn_convolution` (10.0 ms)"
        in first(a, b)
    )


def test_settings_that_change_the_networks_own_input_are_no_cause_of_one_place() -> None:
    def net(dtype: str) -> tuple[Any, ...]:
        own = {"input_dtype": dtype, "output_dtype": dtype}
        return tuple(called(one.row, one.type, **own) for one in MODULES)

    a = side(PLAIN, modules=net("float32"))
    b = side({**PLAIN, CONV: (1, 5e-3), BACK: (1, 12e-3)}, modules=net("bfloat16"))
    found = explain(a, b)
    assert [one.layer for one in found.causes] == ["layer1.conv"]
    assert "(100 % of the speedup)" in found.sentences[0]


def test_a_graph_break_is_named_with_its_line_and_module() -> None:
    graph = ("(compiled graph 0/0)", "forward", BETWEEN)
    second = ("(compiled graph 1/0)", "forward", BETWEEN)
    broken = GraphBreak(
        reason="Tensor.item", place="net.py:7", code="x.item()", modules=("layer1",)
    )
    a = side({graph: (0, 5e-3)}, counted={"graph_breaks": 0.0})
    b = side({graph: (0, 4e-3), second: (0, 4e-3)}, counted={"graph_breaks": 1.0}, breaks=(broken,))
    assert first(a, b) == (
        "forward of `layer1` +3.00 ms (100 % of the slowdown): graph breaks 0 → 1; Tensor.item at "
        "`x.item()` (net.py:7)"
    )


def test_the_optimizer_has_no_part_in_a_graph_break() -> None:
    graph = ("(compiled graph 0/0)", "forward", BETWEEN)
    fused = ("(optimizer)", "optimizer", "aten::_foreach_add_")
    loop = ("(optimizer)", "optimizer", "aten::add_")
    a = side({graph: (0, 5e-3), fused: (1, 1e-3)}, counted={"graph_breaks": 0.0})
    b = side({graph: (0, 7e-3), loop: (60, 9e-3)}, counted={"graph_breaks": 1.0})
    found = explain(a, b)
    assert [(one.layer, round(one.difference_s, 6)) for one in found.causes] == [
        ("(optimizer)", 8e-3),
        ("(compiled graph)", 2e-3),
    ]


def test_a_graph_break_whose_line_moved_is_not_the_new_one() -> None:
    def broken(line: int, code: str, module: str) -> GraphBreak:
        place = f"net.py:{line}"
        return GraphBreak(reason="Tensor.item", place=place, code=code, modules=(module,))

    graph = ("(compiled graph 0/0)", "forward", BETWEEN)
    a = side(
        {graph: (0, 5e-3)},
        counted={"graph_breaks": 1.0},
        breaks=(broken(40, "x.item()", "layer1"),),
    )
    b = side(
        {graph: (0, 8e-3)},
        counted={"graph_breaks": 2.0},
        breaks=(broken(45, "x.item()", "layer1"), broken(90, "y.item()", "fc")),
    )
    assert first(a, b) == (
        "forward of `fc` +3.00 ms (100 % of the slowdown): graph breaks 1 → 2; Tensor.item at "
        "`y.item()` (net.py:90)"
    )


def test_a_counted_cause_without_time_comes_after_one_with_time() -> None:
    view = ("fc", "forward", "aten::view")
    b = side({**PLAIN, view: (1, 1e-6), CONV: (1, 20e-3)}, modules=MODULES)
    found = explain(plain(), b)
    assert [one.layer for one in found.causes] == ["layer1.conv", "fc"]


def test_compiled_code_is_told_by_its_kernels_and_the_layers_that_they_compute() -> None:
    graph = ("(compiled graph 0/0)", "forward", BETWEEN)
    kernel = FusedKernel(
        kernel="cpp_fused_add_relu_0",
        phase="forward",
        kind="fused",
        calls=1,
        time_s=2e-3,
        operators=("aten::add", "aten::relu", "aten::relu"),
        layers=("layer1.conv", "layer1.norm"),
    )
    optimizer = ("(optimizer)", "optimizer", "aten::add_")
    types = {row: [row, "Module"] for row in ("layer1.conv", "layer1.norm", "fc")}
    a = side({**PLAIN, optimizer: (1, 1e-3)}, modules=MODULES, types=types)
    b = side({graph: (0, 20e-3), optimizer: (1, 1e-3)}, modules=MODULES, fused=(kernel,))
    b = replace(b, case=case(compile="default"))
    found = explain(a, b)
    assert len(found.causes) == 1
    assert found.sentences[0] == (
        "`(network)` -16.0 ms (100 % of the speedup): 4 operators of eager code are compiled into "
        "1 kernel in 1 graph; kernel `cpp_fused_add_relu_0` (2.00 ms) computes `aten::add`, "
        "`aten::relu` of `layer1.conv`, `layer1.norm`"
    )
    assert found.remainder_s == pytest.approx(0)
    assert first(b, a) == (
        "`(network)` +16.0 ms (100 % of the slowdown): 4 operators of eager code take the place of "
        "1 kernel in 1 graph; kernel `cpp_fused_add_relu_0` (2.00 ms) computed `aten::add`, "
        "`aten::relu` of `layer1.conv`, `layer1.norm`"
    )


def device_side(*parts: PartTime) -> StepParts:
    rounds = []
    for factor in (1.0, 1.01, 0.99):
        total_s = factor * sum(one.device_s or 0.0 for one in parts)
        own = tuple(
            part(
                (one.layer, one.phase, one.operator),
                one.calls,
                one.host_s,
                device_s=factor * (one.device_s or 0.0),
                kernels=one.kernels,
            )
            for one in parts
        )
        rounds.append(Round(unprofiled_s=total_s, profiled_s=total_s, parts=own))
    return StepParts(case=case(), rounds=tuple(rounds), modules=MODULES)


def on_device(key: tuple[str, str, str], device_s: float, kernel: str, calls: int = 1) -> PartTime:
    kernels = {kernel: [calls, device_s]} if kernel else {}
    return part(key, calls, 1e-6, device_s=device_s, kernels=kernels)


GAP = ("fc", "forward", IDLE)
GEMM, GEMV = on_device(FC, 4e-3, "sgemm_128x64"), on_device(FC, 9e-3, "gemv2T")


def explained_on_device(before: tuple[PartTime, ...], after: tuple[PartTime, ...]) -> Explanation:
    return explain(device_side(*before), device_side(*after))


def test_a_slower_kernel_is_named_under_its_operator() -> None:
    conv = on_device(CONV, 10e-3, "implicit_gemm")
    found = explained_on_device((conv, GEMM), (conv, GEMV))
    assert found.sentences[0].endswith(
        "`aten::addmm` 4.00 ms → 9.00 ms: kernel `gemv2T` instead of `sgemm_128x64`"
    )


def test_launch_gaps_are_a_cause_of_their_own() -> None:
    gap, longer = on_device(GAP, 1e-3, "", 0), on_device(GAP, 6e-3, "", 0)
    found = explained_on_device((GEMM, gap), (GEMM, longer))
    assert found.sentences[0] == (
        "forward of `fc` +5.00 ms (100 % of the slowdown): launch gaps, in which the device idles, "
        "1.00 ms → 6.00 ms"
    )


def test_a_copy_between_host_and_device_is_a_cause_of_its_own() -> None:
    copy = on_device(("fc", "forward", "aten::copy_"), 3e-3, "Memcpy HtoD (Pageable -> Device)")
    found = explained_on_device((GEMM,), (GEMM, copy))
    assert (
        "copies `Memcpy HtoD (Pageable -> Device)` under `aten::copy_` 0 → 1"
        in (found.sentences[0])
    )


def test_copies_that_only_take_longer_are_told_with_their_times() -> None:
    key = ("fc", "forward", "aten::copy_")
    short, long = (
        on_device(key, time_s, "Memcpy HtoD (Pinned -> Device)") for time_s in (1e-3, 6e-3)
    )
    found = explained_on_device((GEMM, short), (GEMM, long))
    assert found.sentences[0].endswith("under `aten::copy_` 1 → 1, 1.00 ms → 6.00 ms")
