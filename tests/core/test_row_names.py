"""The names of cases in tables."""

from bench.core.records import Row
from bench.core.row_names import accelerators, case_names
from tests.support.cases import case


def names(*cases: object, short: bool = False) -> list[str]:
    found = case_names(cases, short=short)  # type: ignore[arg-type]
    return [found.above, *(found.of(one) for one in cases)]  # type: ignore[arg-type]


def test_a_case_is_named_by_subject_mode_batch_and_settings_that_vary() -> None:
    net = {"subject": "my.models:resnet18", "batch": 4}
    assert names(case(**net), case(**net, memory_format="channels_last")) == [
        "all on cpu, 3,224,224, float32",
        "resnet18 inference N=4 plain",
        "resnet18 inference N=4 channels_last",
    ]


def test_a_setting_that_all_cases_share_stands_above_and_not_in_the_names() -> None:
    assert names(case(amp="bfloat16", batch=1), case(amp="bfloat16", batch=8)) == [
        "all on cpu, 3,224,224, float32, amp=bfloat16",
        "convnet inference N=1",
        "convnet inference N=8",
    ]


def test_what_differs_in_device_input_or_dtype_stands_in_the_names() -> None:
    assert names(case(), case(device="cuda:0", input="3,64,64", dtype="float16")) == [
        "",
        "convnet inference N=8 on 3,224,224 on cpu plain",
        "convnet inference N=8 on 3,64,64 on cuda:0 dtype=float16",
    ]


def test_two_modules_with_a_callable_of_one_name_keep_their_modules() -> None:
    assert names(case(subject="a:net/conv1"), case(subject="b:net"), case(subject="c:own"))[1:] == [
        "a:net/conv1 inference N=8",
        "b:net inference N=8",
        "own inference N=8",
    ]


def test_the_short_form_names_only_what_differs() -> None:
    assert names(case(batch=1), case(batch=8), short=True) == [
        "all convnet, inference, on cpu, 3,224,224, float32",
        "N=1",
        "N=8",
    ]
    assert names(case(), short=True)[1] == "convnet inference N=8"


def test_an_axis_that_stands_elsewhere_in_the_table_is_left_out() -> None:
    found = case_names([case(batch=1), case(batch=8)])
    assert found.of(case(batch=1), without="batch") == "convnet inference"


def test_accelerators_are_told_apart_by_number_and_name() -> None:
    names = {
        "cuda:10": "NVIDIA A100-SXM4-80GB MIG 1g.10gb",
        "cpu": "AMD EPYC",
        "cuda:2": "NVIDIA H100",
        "cuda:1": "NVIDIA H100",
    }
    rows = [Row(device=device, device_name=name) for device, name in names.items()]
    assert list(accelerators(rows).items()) == [
        ("cuda:1", "NVIDIA H100"),
        ("cuda:2", "NVIDIA H100"),
        ("cuda:10", "NVIDIA A100-SXM4-80GB MIG 1g.10gb"),
    ]
