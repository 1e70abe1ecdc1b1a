"""The line about the cases that a run is going to measure."""

import dataclasses

from bench.terminal.brief import of
from tests.support.cases import case

PLAIN = case(subject="my.models:resnet18", batch=4)
TRAINING = dataclasses.replace(PLAIN, mode="training", grad_mode=None)
LAST = dataclasses.replace(PLAIN, memory_format="channels_last")
LAYER = dataclasses.replace(PLAIN, subject="my.models:resnet18/conv1")
END = "; --mode, --batch, --memory-format and the like narrow it, or a bench.toml"


def test_networks_modes_batches_settings_and_layers_stand_in_one_line() -> None:
    assert of([PLAIN, TRAINING, LAST, LAYER]) == (
        "measures resnet18, inference and training, N=4: plain, channels_last; 1 layer" + END
    )


def test_a_batch_that_is_still_to_be_found_stands_last() -> None:
    one = dataclasses.replace(PLAIN, batch=1)
    assert of([], [one]) == "measures resnet18, inference, N=max: plain" + END
    assert of([PLAIN, dataclasses.replace(PLAIN, batch=32)], [one]) == (
        "measures resnet18, inference, N=4, 32, max: plain" + END
    )


def test_layers_alone_say_whose_they_are() -> None:
    other = dataclasses.replace(LAYER, subject="my.models:resnet18/fc", batch=8)
    assert of([LAYER, other]) == "measures 2 layers, resnet18, inference, N=4, 8: plain" + END


def test_of_many_networks_some_are_named() -> None:
    many = [dataclasses.replace(PLAIN, subject=f"m:net{n}") for n in range(5)]
    assert of(many) == "measures net0, net1, net2 and 2 more, inference, N=4: plain" + END
