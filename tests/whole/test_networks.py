"""Well-known networks and every one of their layers, through the very path of a run."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bench.core.records import Measurement, StaticMetrics
from bench.core.subject import parse
from bench.engine.collect import collect
from bench.engine.fork_server import ForkServer
from bench.engine.requests import request
from bench.plan.config import RunOptions
from bench.results.run_directory import Folders
from bench.worker.model import inputs, layers, pytree, twins
from bench.worker.model.build import build
from tests.support.cases import case

INPUTS = {"ResNet": "3,32,32", "MobileNet": "3,32,32", "Transformer": "own", "LanguageModel": "own"}
IMAGES = ("ResNet", "MobileNet")


def listing(name: str) -> tuple[nn.Module, Any, list[layers.Layer]]:
    whole = build(parse(f"tests.subjects.networks:{name}"))
    given = inputs.make(INPUTS[name], whole, 2, torch.float32)
    found, _ = layers.list_layers(whole, *given)
    return whole, given, list(found)


def names(name: str) -> list[str]:
    return [one.name for one in listing(name)[2]]


def test_a_residual_networks_layers_are_told_apart_and_equal_ones_are_one() -> None:
    found = {one.name: one for one in listing("ResNet")[2]}
    assert "layer1.0.relu" in found["layer1.0.relu"].name
    # Four calls of two blocks' ReLUs on one shape: measured once, and named.
    twins = {*found["layer1.0.relu"].same_as}
    assert {"layer1.0.relu#2", "layer1.1.relu", "layer1.1.relu#2"} <= twins
    assert found["layer1.0.relu"].writes_input
    assert "layer2.0.downsample.0" in found
    assert "layer1.1.conv1" in found["layer1.0.conv1"].same_as


def test_a_depthwise_separable_networks_groups_make_another_layer() -> None:
    found = names("MobileNet")
    assert {"features.1.conv.3", "features.2.conv.0", "classifier.0", "classifier.1"} <= set(found)


def test_attention_is_one_layer_and_keeps_its_keywords() -> None:
    whole, given, found = listing("Transformer")
    (first,) = [one for one in found if one.name == "blocks.0.attention"]
    assert "blocks.1.attention" in first.same_as
    seen = layers.capture(whole, "blocks.0.attention", *given)
    assert seen.kwargs["need_weights"] is False
    assert seen.kwargs["attn_mask"].shape == (12, 12)
    assert seen.args[0] is seen.args[1] is seen.args[2]


def test_the_second_call_of_an_lstm_is_given_the_state_of_the_first() -> None:
    whole, given, found = listing("LanguageModel")
    assert {"lstm", "lstm#2"} <= {one.name for one in found}
    second = layers.capture(whole, "lstm#2", *given)
    state = second.args[1]
    assert [tuple(one.shape) for one in state] == [(2, 2, 16), (2, 2, 16)]
    assert all(bool((one != 0).any()) for one in state)


@pytest.mark.parametrize("name", INPUTS)
def test_a_layer_alone_gives_bit_for_bit_what_it_gave_inside(name: str) -> None:
    whole, given, found = listing(name)
    whole.train()
    for one in found:
        seen = layers.capture(whole, one.name, *given)
        if isinstance(seen.module, nn.Dropout):
            continue  # another mask
        before = {key: value.clone() for key, value in seen.module.state_dict().items()}
        args, kwargs = pytree.map_tensors(
            lambda t: twins.twin(t.detach()), (seen.args, seen.kwargs)
        )
        output = seen.module(*args, **kwargs)
        seen.module.load_state_dict(before)
        for alone, inside in zip(pytree.tensors(output), pytree.tensors(seen.output), strict=True):
            assert torch.equal(alone, inside), one.name
            assert alone.stride() == inside.stride(), one.name


@pytest.mark.parametrize("name", IMAGES)
def test_only_the_first_convolutions_input_needs_no_gradient(name: str) -> None:
    whole, given, found = listing(name)
    needs = {
        one.name: any(
            t.requires_grad for t in pytree.tensors(layers.capture(whole, one.name, *given).args)
        )
        for one in found
    }
    assert [layer for layer, gradient in needs.items() if not gradient] == [found[0].name]


# --- measured -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForkServer]:
    log = tmp_path_factory.mktemp("session") / "log"
    one = ForkServer(
        allocator="retained", modules=["tests.subjects.networks"], inductor=False, log=log
    )
    yield one
    one.close()


def outcomes(session: ForkServer, folder: Path, name: str, **settings: Any) -> dict[str, list[str]]:
    """By subject what is wrong with it: nothing, where all is well."""
    folders = Folders(scratch=folder, failures=folder / "failures")
    options = RunOptions(samples_s=0.005, warmup_s=0.005, min_samples=1)
    wrong: dict[str, list[str]] = {}
    for layer in ["", *(f"/{one}" for one in names(name))]:
        subject = f"tests.subjects.networks:{name}{layer}"
        one = case(subject=subject, batch=2, input=INPUTS[name], **settings)
        for job in ("measure", *(() if layer else ("reference",)), "static_metrics"):
            asked = request(job, one, 0, options, folders)
            entry = collect(asked, session.ask(asked), folders)
            if isinstance(entry, Measurement):
                continue
            if not isinstance(entry, StaticMetrics):
                wrong.setdefault(subject, []).append(f"{job}: {entry.status}: {entry.reason}")
                continue
            found = [entry.invalid] if entry.invalid else []
            found += [f"{metric}: {why}" for metric, why in entry.problems.items()]
            if found:
                wrong.setdefault(subject, []).extend(found)
    return wrong


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["inference", "training"])
@pytest.mark.parametrize("name", INPUTS)
def test_every_layer_is_measured_and_found_right(
    session: ForkServer, tmp_path: Path, name: str, mode: str
) -> None:
    wrong = outcomes(session, tmp_path, name, mode=mode)
    if mode == "training":  # dropout is all that cannot be compared
        for subject in (
            "tests.subjects.networks:MobileNet",
            "tests.subjects.networks:MobileNet/classifier.0",
        ):
            for why in wrong.pop(subject, []):
                assert "draws random numbers" in why
    assert wrong == {}


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{"memory_format": "channels_last"}, {"amp": "bfloat16"}])
@pytest.mark.parametrize("name", IMAGES)
def test_layouts_and_autocast_reach_every_layer(
    session: ForkServer, tmp_path: Path, name: str, settings: dict[str, str]
) -> None:
    assert outcomes(session, tmp_path, name, mode="inference", **settings) == {}


def test_a_gradient_has_the_layout_of_its_output() -> None:
    from bench.worker.model.loss import FixedGradient

    whole = build(parse("tests.subjects.networks:ResNet")).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    x = torch.randn(2, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    seen = layers.capture(whole, "layer1.0.conv1", (x,), {})
    output: Tensor = seen.output
    (gradient,) = FixedGradient(scaled=False).seeds(output)[1]
    assert output.is_contiguous(memory_format=torch.channels_last)
    assert gradient.is_contiguous(memory_format=torch.channels_last)


def test_the_residual_network_of_original_size_has_the_parameters_of_its_paper() -> None:
    whole = build(parse("tests.subjects.networks:ResNet18"))
    assert sum(one.numel() for one in whole.parameters()) == 11_689_512
    assert whole(torch.zeros(1, 3, 64, 64)).shape == (1, 1000)
