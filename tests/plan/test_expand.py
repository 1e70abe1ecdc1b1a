from dataclasses import replace
from pathlib import Path

import pytest

from bench.core.row_names import settings
from bench.host.probed import Device, Layer, Probe, SubjectFound
from bench.plan.config import OWN, QUICK, load
from bench.plan.expand import BATCH, LeftOut, Plan, PlanError, make

CPU = Device(name="cpu", shown="a CPU")
GPU = Device(name="cuda:0", shown="a GPU", has_cudnn=True, has_tf32=True)
LAYERS = (
    Layer(name="model.0", alias="conv1", type="Conv2d"),
    Layer(name="flatten", alias="flatten", type="Flatten"),
    Layer(name="act", alias=None, type="ReLU", same_as=("act#2",)),
)


def _probe(*devices: Device, **subjects: SubjectFound) -> Probe:
    found = {"convnet": SubjectFound(has_inputs=True, layers=LAYERS), **subjects}
    return Probe(
        torch="2.13.0",
        torch_details={},
        devices={one.name: one for one in devices or (CPU,)},
        subjects=found,
    )


def _ids(probe: Probe, **flags: list[str]) -> list[str]:
    subjects = flags.pop("subject", ["convnet"])
    config = load(flags=flags, subjects=subjects)
    return [case.case_id for case in make(config, probe).cases]


def test_the_default_sweep_covers_what_it_promises() -> None:
    cases = make(load(), _probe()).cases
    assert len({case.batch for case in cases}) == 3
    assert {case.mode for case in cases} == {"inference", "training"}
    assert {case.memory_format for case in cases} == {"contiguous", "channels_last"}
    assert {case.allocator for case in cases} == {"retained"}
    assert {case.compile for case in cases} == {"off", "default"}
    assert {case.amp for case in cases} == {"off", "bfloat16"}
    assert {case.subject for case in cases} >= {"convnet", "convnet/conv1", "convnet/act"}


# --- as a plain process ---------------------------------------------------------------------


def test_each_plain_case_of_a_whole_network_on_the_cpu_has_a_twin_as_a_plain_process() -> None:
    config = load(flags={"batch": ["1", "8"], "device": ["auto"]}, subjects=["convnet"])
    cases = make(config, _probe(CPU, GPU), as_plain_process=True).cases
    twins = [case for case in cases if case.allocator == "system"]
    assert {(case.subject, case.mode, case.batch, case.device) for case in twins} == {
        ("convnet", mode, batch, "cpu") for mode in ("inference", "training") for batch in (1, 8)
    }
    assert {(case.compile, case.amp, case.memory_format) for case in twins} == {
        ("off", "off", "contiguous")
    }
    # Each stands in the tables below the case that it belongs to.
    assert [replace(cases[cases.index(twin) - 1], allocator="system") for twin in twins] == twins


def test_a_twin_belongs_to_what_is_plain_in_this_sweep() -> None:
    flags = {"threads": ["4", "2"], "dtype": ["bfloat16"], "amp": ["off"], "compile": ["off"]}
    config = load(flags=flags, subjects=["convnet"])
    cases = make(config, _probe(), as_plain_process=True).cases
    twins = [case for case in cases if case.allocator == "system"]
    assert {(case.threads, case.dtype, case.memory_format) for case in twins} == {
        ("2", "bfloat16", "contiguous")
    }


@pytest.mark.parametrize("asked", [["retained"], ["system"], ["retained", "system"]])
def test_who_names_an_allocator_gets_what_was_named(asked: list[str]) -> None:
    config = load(flags={"allocator": asked}, subjects=["convnet"])
    with_twins = make(config, _probe(), as_plain_process=True)
    assert with_twins.cases == make(config, _probe()).cases


def test_a_twin_can_be_chosen_by_its_id_and_has_the_threshold_of_its_case(tmp_path: Path) -> None:
    path = tmp_path / "ci.toml"
    path.write_text("[[sweep]]\nbatch = 8\nthreshold = 0.2\n")
    every = make(load(path), _probe(), as_plain_process=True)
    plain, twin = every.cases
    assert twin == replace(plain, allocator="system")
    assert every.thresholds == {plain.case_id: 0.2, twin.case_id: 0.2}
    chosen = make(load(path, only=[twin.case_id]), _probe(), as_plain_process=True)
    assert chosen.cases == (twin,)


def test_a_case_stands_once_however_many_sweeps_ask_for_it() -> None:
    ids = _ids(_probe(), batch=["8"], memory_format=["contiguous"], compile=["off"], amp=["off"])
    assert len(ids) == len(set(ids))


def test_the_threshold_of_a_case_is_that_of_the_sweep_that_asks_for_it_first(
    tmp_path: Path,
) -> None:
    path = tmp_path / "ci.toml"
    path.write_text(
        "[[sweep]]\nbatch = 1\n[[sweep]]\nbatch = [1, 8]\nthreshold = 0.2\n"
        "[[sweep]]\nbatch = [8, 32]\nthreshold = 0.1\n"
    )
    planned = make(load(path), _probe())
    by_batch = {one.batch: planned.thresholds.get(one.case_id) for one in planned.cases}
    assert by_batch == {1: None, 8: 0.2, 32: 0.1}


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        ({"cudnn_benchmark": ["on"]}, "cpu has no cuDNN to benchmark"),
        ({"tf32": ["on"]}, "a CPU has no TF32"),
        ({"compile": ["reduce-overhead"]}, "on a CPU it is default"),
        ({"compile": ["max-autotune-no-cudagraphs"]}, "on a CPU it is max-autotune"),
        ({"dtype": ["float16"], "amp": ["bfloat16"]}, "autocast is for float32 weights"),
        ({"input": ["100"], "memory_format": ["channels_last"]}, "channels_last needs an image"),
        ({"subject": ["convnet/flatten"], "compile": ["default"]}, "Flatten computes nothing"),
    ],
)
def test_what_makes_no_sense_is_left_out_with_its_reason(
    flags: dict[str, list[str]], reason: str
) -> None:
    with pytest.raises(PlanError, match=f"nothing to measure: .*{reason}"):
        _ids(_probe(), **flags)


@pytest.mark.parametrize("name", ["mps", "xpu:0", "privateuseone:0"])
def test_modes_about_cuda_graphs_are_left_out_where_there_are_none(name: str) -> None:
    other = Device(name=name, shown="a card")
    asked = {"compile": ["default", "reduce-overhead", "max-autotune-no-cudagraphs"]}
    plan = make(load(flags={"device": [name], **asked}), _probe(CPU, other))
    assert {case.compile for case in plan.cases} == {"default"}
    with pytest.raises(PlanError, match=f"CUDA graphs; on {name} it is default"):
        make(load(flags={"device": [name], "compile": ["reduce-overhead"]}), _probe(CPU, other))
    on_cuda = make(load(flags={"device": ["cuda:0"], **asked}), _probe(CPU, GPU))
    assert {case.compile for case in on_cuda.cases} == set(asked["compile"])


def test_settings_of_the_cpu_are_empty_on_an_accelerator_and_the_other_way_round() -> None:
    plan = make(load(flags={"device": ["auto"]}), _probe(CPU, GPU))
    on_cpu = [case for case in plan.cases if case.device == "cpu"]
    on_gpu = [case for case in plan.cases if case.device == "cuda:0"]
    assert on_cpu
    assert all(case.cudnn_benchmark is None and case.tf32 is None for case in on_cpu)
    assert all(case.threads is None and case.allocator is None for case in on_gpu)
    assert {case.cudnn_benchmark for case in on_gpu} == {"off", "on"}
    assert {case.tf32 for case in on_gpu} == {"default", "off", "on"}


def test_the_default_sweep_keeps_an_accelerator_busy_and_tries_its_settings() -> None:
    cases = [one for one in make(load(), _probe(CPU, GPU)).cases if one.device == "cuda:0"]
    assert len(cases) == 26
    assert {one.batch for one in cases} == {1, 32, 256, 1024}
    assert {(one.amp, one.memory_format) for one in cases} == {
        ("off", "contiguous"),
        ("bfloat16", "contiguous"), ("bfloat16", "channels_last"),
        ("float16", "contiguous"), ("float16", "channels_last"),
    }  # fmt: skip
    assert {(one.compile, one.batch) for one in cases if one.compile != "off"} == {
        ("reduce-overhead", 1), ("default", 256),
    }  # fmt: skip


def test_the_part_of_the_cpu_is_the_same_with_and_without_an_accelerator() -> None:
    alone = make(load(), _probe(CPU)).cases
    beside = [one for one in make(load(), _probe(CPU, GPU)).cases if one.device == "cpu"]
    assert list(alone) == beside


def test_auto_takes_the_first_accelerator_of_each_name_and_says_which_are_left_out() -> None:
    other = Device(name="cuda:2", shown="another GPU", has_cudnn=True)
    twin = Device(name="cuda:1", shown="a GPU", has_cudnn=True, has_tf32=True)
    plan = make(load(), _probe(CPU, GPU, twin, other))
    assert {case.device for case in plan.cases} == {"cpu", "cuda:0", "cuda:2"}
    assert [one for one in plan.left_out if one.settings == "device"] == [
        LeftOut(
            "cuda:1", "device", "it is like cuda:0; --device cuda:1 or --device all measures it"
        )
    ]


def test_every_device_can_be_asked_for_or_one_by_its_number() -> None:
    eight = [Device(name=f"cuda:{index}", shown="a GPU") for index in range(8)]
    every = make(load(flags={"device": ["all"]}), _probe(CPU, *eight))
    assert {case.device for case in every.cases} == {"cpu", *(one.name for one in eight)}
    fourth = make(load(flags={"device": ["cuda:3"]}), _probe(CPU, *eight))
    assert {case.device for case in fourth.cases} == {"cuda:3"}
    both = make(load(flags={"device": ["auto", "cuda:3"]}), _probe(CPU, *eight))
    assert {case.device for case in both.cases} == {"cpu", "cuda:0", "cuda:3"}
    assert "cuda:3" not in {one.subject for one in both.left_out}


def test_a_sweep_for_one_sort_of_device_asks_the_other_for_nothing(tmp_path: Path) -> None:
    path = tmp_path / "both.toml"
    path.write_text(
        "[[sweep]]\non = 'cpu'\nbatch = 1\n[[sweep]]\non = 'accelerators'\nbatch = 64\n"
        "[[sweep]]\nbatch = 8\n"
    )
    cases = make(load(path), _probe(CPU, GPU)).cases
    assert {(one.device, one.batch) for one in cases} == {
        ("cpu", 1), ("cuda:0", 64), ("cpu", 8), ("cuda:0", 8),
    }  # fmt: skip
    named = make(load(path, flags={"device": ["cpu"]}), _probe(CPU, GPU))
    assert {(one.device, one.batch) for one in named.cases} == {("cpu", 1), ("cpu", 8)}


def test_a_plan_of_sweeps_for_devices_that_are_not_there_says_so(tmp_path: Path) -> None:
    path = tmp_path / "gpu.toml"
    path.write_text("[[sweep]]\non = 'accelerators'\n")
    with pytest.raises(PlanError, match="the sweep is for accelerators, and none is measured"):
        make(load(path), _probe(CPU))
    path.write_text("[[sweep]]\non = 'cpu'\ndevice = 'cuda'\n")
    with pytest.raises(PlanError, match="the sweep is for the CPU, which is not measured"):
        make(load(path), _probe(CPU, GPU))


def test_cuda_graphs_are_asked_of_cuda_alone() -> None:
    metal = Device(name="mps", shown="a Mac")
    plan = make(load(), _probe(CPU, metal))
    assert "reduce-overhead" not in {one.compile for one in plan.cases}
    assert "reduce-overhead is about CUDA graphs; on mps it is default" in {
        one.reason for one in plan.left_out
    }


def test_a_device_may_be_named_without_its_number() -> None:
    cases = make(load(flags={"device": ["cuda"]}), _probe(CPU, GPU)).cases
    assert {case.device for case in cases} == {"cuda:0"}


def test_a_device_that_is_not_there_is_wrong_use_and_names_what_is() -> None:
    with pytest.raises(PlanError, match=r"--device cuda: .*expected one of cpu"):
        make(load(flags={"device": ["cuda"]}), _probe())


def test_layers_go_by_the_shipped_name_and_by_the_dotted_one_as_the_same_case() -> None:
    ids = _ids(_probe(), subject=["convnet/conv1", "convnet/model.0"], mode=["inference"])
    assert {one.split(":")[0] for one in ids} == {"convnet/conv1"}


def test_a_layer_equal_to_an_earlier_one_is_found_under_either_name() -> None:
    ids = _ids(_probe(), subject=["convnet/act#2"], mode=["inference"])
    assert {one.split(":")[0] for one in ids} == {"convnet/act"}


def test_a_layer_that_is_not_there_is_wrong_use_and_names_some_that_are() -> None:
    with pytest.raises(PlanError, match=r"convnet calls no layer 'conv9'; it calls conv1, flatten"):
        _ids(_probe(), subject=["convnet/conv9"])


def test_a_subject_without_an_input_asks_for_one() -> None:
    probe = _probe(**{"a:b": SubjectFound()})
    with pytest.raises(PlanError, match="the shape of its input is unknown; give --input"):
        _ids(probe, subject=["a:b"])
    assert _ids(probe, subject=["a:b"], input=["16"])


def test_layers_of_a_forward_that_raises_are_wrong_use_with_its_words() -> None:
    probe = _probe(**{"a:b": SubjectFound(layers_error="RuntimeError: shape")})
    with pytest.raises(PlanError, match="its layers are unknown: RuntimeError: shape"):
        _ids(probe, subject=["a:b/*"], input=["16"])


def test_layers_that_cannot_be_known_cost_no_other_case() -> None:
    probe = _probe(**{"a:b": SubjectFound(layers_error="it ended", has_inputs=True)})
    plan = make(load(subjects=["a:b/*", "a:b/fc", "convnet"]), probe)
    assert {case.subject for case in plan.cases} >= {"a:b/fc", "convnet"}
    assert (
        LeftOut("a:b/*", "layers", "a:b/* is left out, since its layers are unknown: it ended")
        in plan.left_out
    )


def test_a_sweep_over_layers_leaves_out_a_subject_without_any() -> None:
    plan = make(load(subjects=["a:b"]), _probe(**{"a:b": SubjectFound(has_inputs=True)}))
    assert {case.subject for case in plan.cases} == {"a:b"}
    assert "it calls no other module" in {one.reason.split(": ")[-1] for one in plan.left_out}


def test_one_case_can_be_chosen_and_an_unknown_one_is_wrong_use() -> None:
    every = make(load(), _probe()).cases
    only = make(load(only=[every[3].case_id]), _probe())
    assert only.cases == (every[3],)
    with pytest.raises(PlanError, match="the sweep has no such case"):
        make(load(only=["convnet:x"]), _probe())


def test_layers_of_any_name_are_planned_and_one_that_cannot_be_printed_is_left_out() -> None:
    names = ("conv (3x3)", "relu/first", "größe", "*", "a\nb")
    layers = tuple(Layer(name=name, alias=None, type="ReLU") for name in names)
    probe = _probe(**{"m:odd": SubjectFound(has_inputs=True, layers=layers)})
    plan = make(load(subjects=["m:odd/*"], flags={"mode": ["inference"]}), probe)
    assert {case.subject for case in plan.cases} == {
        "m:odd/conv (3x3)", "m:odd/relu/first", "m:odd/größe", r"m:odd/\*",
    }  # fmt: skip
    assert "m:odd/a\nb" in {one.subject for one in plan.left_out}
    for name in ("conv (3x3)", "relu/first", "größe", r"\*"):
        one = make(load(subjects=[f"m:odd/{name}"]), probe)
        assert {case.subject for case in one.cases} == {f"m:odd/{name}"}


def test_the_grad_mode_is_asked_for_in_inference_and_training_is_measured_once(
    tmp_path: Path,
) -> None:
    path = tmp_path / "one.toml"
    path.write_text(
        "[[sweep]]\nsubject = 'convnet'\nbatch = 8\ngrad_mode = ['no_grad', 'enabled']\n"
        "mode = ['inference', 'training']\n"
    )
    planned = make(load(path), _probe())
    assert [(one.mode, one.grad_mode) for one in planned.cases] == [
        ("inference", "no_grad"),
        ("inference", "enabled"),
        ("training", None),
    ]
    assert [one.reason for one in planned.left_out] == [
        "grad_mode has no effect on training, which always computes gradients"
    ]


def test_an_input_that_was_guessed_is_used_and_told() -> None:
    found = _probe(**{"m:net": SubjectFound(guessed="3,224,224")})
    plan = make(load(subjects=["m:net"]), found)
    assert {case.input for case in plan.cases} == {"3,224,224"}
    assert plan.guessed == {"m:net": "3,224,224"}
    assert plan.notes[-1] == ("the input of m:net is guessed 3,224,224; --input says otherwise")


def test_a_guess_is_not_used_where_an_input_is_given() -> None:
    found = _probe(**{"m:net": SubjectFound(guessed="3,224,224")})
    plan = make(load(subjects=["m:net"], flags={"input": ["3,32,32"]}), found)
    assert {case.input for case in plan.cases} == {"3,32,32"}
    assert plan.guessed == {}


def test_a_network_whose_own_inputs_ignore_the_batch_is_measured_at_the_one_they_have() -> None:
    found = _probe(**{"m:net": SubjectFound(has_inputs=True, fixed_batch=4, layers=LAYERS)})
    flags = {"batch": ["1", "32", "max"], "mode": ["inference"], "device": ["cpu"]}
    plan = make(load(subjects=["m:net"], flags=flags), found, finds_largest=True)
    assert {case.subject for case in plan.cases} >= {"m:net", "m:net/act"}
    assert {case.batch for case in plan.cases} == {4}
    assert plan.largest == ()
    assert [one for one in plan.left_out if one.settings == BATCH] == [
        LeftOut(
            "m:net",
            BATCH,
            "example_inputs(batch) gives the same sizes for every batch, so N=4 is measured and no "
            "other; let it use its argument, or give --input",
        )
    ]


def test_a_batch_is_as_asked_for_where_the_inputs_have_it_or_are_not_the_networks_own() -> None:
    found = _probe(**{"m:net": SubjectFound(has_inputs=True, fixed_batch=4)})
    for flags in ({"batch": ["4"]}, {"batch": ["1", "32"], "input": ["3,32,32"]}):
        plan = make(load(subjects=["m:net"], flags={**flags, "compile": ["off"]}), found)
        assert {str(case.batch) for case in plan.cases} == set(flags["batch"])
        assert not any(one.settings == BATCH for one in plan.left_out)


@pytest.mark.parametrize(
    ("subject", "says"),
    [
        ("convnet/cnv1", "calls no layer 'cnv1'; it calls conv1, flatten, act; did you mean"),
        ("convnet/act#3", "did you mean 'act#2'"),
    ],
)
def test_a_misspelled_layer_names_the_nearest_one(subject: str, says: str) -> None:
    with pytest.raises(PlanError, match=says):
        _ids(_probe(), subject=[subject])


def test_a_misspelled_case_id_names_the_nearest_one() -> None:
    meant = make(load(), _probe()).cases[0].case_id
    with pytest.raises(PlanError) as caught:
        make(load(only=[meant.replace("inference", "inferense")]), _probe())
    assert str(caught.value).endswith(f"; did you mean {meant!r}?")


BY_WORK = tuple(
    Layer(name=f"conv{n}", alias=None, type="Conv2d", work=float(n % 7), calls=1 + n // 18)
    for n in range(20)
)


def _own(subject: str = "a:b") -> Plan:
    probe = _probe(**{"a:b": SubjectFound(has_inputs=True, layers=BY_WORK)})
    return make(load(default=OWN, subjects=[subject]), probe)


def test_a_network_of_ones_own_is_measured_under_every_setting_and_its_layers_plain() -> None:
    cases = _own().cases
    wholes = [case for case in cases if case.subject == "a:b"]
    assert {(case.mode, settings(case)) for case in wholes} == {
        (mode, setting)
        for mode in ("inference", "training")
        for setting in (
            "plain",
            "channels_last",
            "amp=bfloat16",
            "compile=default",
        )
    }
    assert {settings(case) for case in cases if case.subject != "a:b"} == {"plain"}


def test_of_its_layers_the_twelve_with_the_most_work_are_measured_in_their_order() -> None:
    plan = _own()
    layers = list(dict.fromkeys(one.subject for one in plan.cases if one.subject != "a:b"))
    # Of work 6 to 3 all; 2 only for conv2 and conv9, which come first; conv18 and conv19 are called
    # twice: 2 · 4 and 2 · 5.
    expected = [3, 4, 5, 6, 10, 11, 12, 13, 17, 18, 19]
    assert set(layers) == {f"a:b/conv{n}" for n in expected} | {"a:b/conv2"}
    assert layers == sorted(layers, key=lambda one: int(one.removeprefix("a:b/conv")))
    (why,) = [one.reason for one in plan.left_out if one.settings == "layers"]
    assert why == (
        "of the 20 layers of a:b the 12 that compute the most are measured; --subject "
        "'a:b/*' measures all"
    )


def test_all_layers_are_measured_where_they_are_asked_for() -> None:
    plan = _own("a:b/*")
    assert len({one.subject for one in plan.cases}) == 20
    assert not [one for one in plan.left_out if one.settings == "layers"]


def test_a_quick_run_has_whole_networks_in_both_modes_without_a_compiler() -> None:
    plan = make(load(default=QUICK), _probe())
    assert {(case.mode, settings(case)) for case in plan.cases} == {
        (mode, setting)
        for mode in ("inference", "training")
        for setting in ("plain", "channels_last", "amp=bfloat16")
    }
    assert {case.subject for case in plan.cases} == {"convnet"}


def test_emulated_bfloat16_is_left_out_unless_a_flag_asks_for_it() -> None:
    old = Device(name="cpu", shown="an old CPU", has_bfloat16=False)
    plan = make(load(default=QUICK), _probe(old))
    assert {case.amp for case in plan.cases} == {"off"}
    why = "an old CPU has no instructions for bfloat16; --amp bfloat16 measures it"
    assert why in {one.reason for one in plan.left_out}
    asked = make(load(default=QUICK, flags={"amp": ["bfloat16"]}), _probe(old))
    assert {case.amp for case in asked.cases} == {"bfloat16"}


def test_emulated_bfloat16_of_the_weights_is_measured_by_their_own_flag(tmp_path: Path) -> None:
    old = Device(name="cpu", shown="an old CPU", has_bfloat16=False)
    path = tmp_path / "b.toml"
    path.write_text('[[sweep]]\ndtype = ["float32", "bfloat16"]\nemulated = false\n')
    plan = make(load(path), _probe(old))
    assert [one.reason for one in plan.left_out] == [
        "an old CPU has no instructions for bfloat16; --dtype bfloat16 measures it"
    ]


def test_tf32_off_and_default_are_one_case_where_the_device_has_none() -> None:
    flags = {"tf32": ["default", "off", "on"], "device": ["cpu"], "mode": ["inference"]}
    plan = make(load(flags=flags), _probe(CPU))
    assert {one.tf32 for one in plan.cases} == {None}
    assert {"a CPU has no TF32", "a CPU has no TF32, so off is its default"} <= {
        one.reason for one in plan.left_out
    }
    alone = make(load(flags={**flags, "tf32": ["off"]}), _probe(CPU))
    assert alone.cases == plan.cases


def test_the_largest_batch_is_planned_beside_numbers_and_only_where_it_is_looked_for() -> None:
    config = load(flags={"batch": ["8", "max"], "mode": ["inference"], "device": ["cpu"]})
    plan = make(config, _probe(), finds_largest=True)
    assert {one.batch for one in plan.cases} == {8}
    assert {one.batch for one in plan.largest} == {1}
    assert len(plan.largest) == len(plan.cases)
    with pytest.raises(PlanError, match="only `bench run` looks for the largest batch"):
        make(config, _probe())


def test_a_plan_of_nothing_but_the_largest_batch_is_a_plan() -> None:
    config = load(flags={"batch": ["max"]})
    plan = make(config, _probe(), finds_largest=True)
    assert plan.cases == ()
    assert plan.largest


def test_a_gpu_that_is_not_found_is_told_with_the_reason_of_the_probe() -> None:
    hidden = "CUDA_VISIBLE_DEVICES='' hides the GPU: unset it, or name a GPU that exists"
    probe = replace(_probe(CPU), no_gpu=hidden)
    for device in ("cuda", "cuda:1"):
        with pytest.raises(PlanError) as caught:
            _ids(probe, device=[device])
        assert str(caught.value) == f"--device {device}: {hidden}; expected one of cpu"
    with pytest.raises(PlanError, match=r"--device xpu: torch 2\.13\.0 finds no such device"):
        _ids(probe, device=["xpu"])
