"""The network that ships: its shapes, the mended mistakes of the notes, and what they claim."""

import copy
import io
import pickle

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from convnet.network import ConvNet, smallest_image

STAGES = {  # of N images of 224×224
    "conv1": (32, 55, 55),
    "bn1": (32, 55, 55),
    "relu1": (32, 55, 55),
    "pool1": (32, 27, 27),
    "conv2": (64, 11, 11),
    "bn2": (64, 11, 11),
    "relu2": (64, 11, 11),
    "pool2": (64, 5, 5),
    "flatten": (1600,),
    "fc": (7,),
}


class Seed(nn.Module):
    """The notes' own class, repaired only so far that it runs."""

    def __init__(self, class_n: int = 7) -> None:
        super().__init__()
        self.model = nn.Sequential(
            nn.Conv2d(in_channels=3, out_channels=32, kernel_size=8, stride=4),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.MaxPool2d((2, 2)),
            nn.Conv2d(in_channels=32, out_channels=64, kernel_size=7, stride=2),
            nn.BatchNorm2d(64),
            nn.ReLU(),
            nn.MaxPool2d((2, 2)),
        )
        self.fc = nn.Linear(1600, class_n)

    def forward(self, x: Tensor) -> Tensor:
        x = self.model(x)
        x = x.view(x.size(0), -1)
        out: Tensor = self.fc(x)
        return out


@pytest.fixture(scope="module")
def net() -> ConvNet:
    torch.manual_seed(0)
    return ConvNet()


def test_every_stage_has_the_shape_of_the_table(net: ConvNet) -> None:
    seen: dict[str, tuple[int, ...]] = {}
    handles = [
        net.get_submodule(dotted).register_forward_hook(
            lambda _module, _given, output, name=name: seen.update({name: tuple(output.shape)})
        )
        for dotted, name in net.layer_names.items()
    ]
    try:
        net(*net.example_inputs(2))
    finally:
        for handle in handles:
            handle.remove()
    assert seen == {name: (2, *shape) for name, shape in STAGES.items()}
    assert list(seen) == list(STAGES)


def test_the_layers_are_made_inside_init_and_registered(net: ConvNet) -> None:
    assert isinstance(net.model, nn.Sequential)
    assert len(net.model) == 8
    assert isinstance(net.fc, nn.Linear)
    assert {"model", "flatten", "fc"} == {name for name, _ in net.named_children()}


def test_a_state_dict_of_the_notes_class_loads_strictly_and_computes_the_same(net: ConvNet) -> None:
    seed = Seed().eval()
    mine = ConvNet().eval()
    mine.load_state_dict(seed.state_dict(), strict=True)
    (images,) = net.example_inputs(2)
    with torch.no_grad():
        torch.testing.assert_close(mine(images), seed(images), rtol=0, atol=0)


def test_class_n_is_the_first_argument_and_there_is_no_args() -> None:
    assert ConvNet(10).fc.out_features == 10
    with pytest.raises(TypeError):
        ConvNet(object(), 7)  # type: ignore[arg-type,call-arg]


def test_channels_last_works_where_the_notes_forward_raises(net: ConvNet) -> None:
    (images,) = net.example_inputs(2)
    last = images.to(memory_format=torch.channels_last)
    theirs = Seed().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    with pytest.raises(RuntimeError, match="view size is not compatible"):
        theirs(last)
    mine = copy.deepcopy(net).eval()
    with torch.no_grad():
        expected = mine(images)
        changed = mine.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        # another order of the same sums: float32 rounding, sqrt(1600)·2^-24 with room
        torch.testing.assert_close(changed(last), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("image_size", "features"), [(224, 1600), (76, 64), (100, 64), (320, 4096)]
)
def test_the_classifier_fits_the_image_size(image_size: int, features: int) -> None:
    small = ConvNet(image_size=image_size)
    assert small.fc.in_features == features
    assert small(*small.example_inputs(2)).shape == (2, 7)


def test_an_image_that_is_too_small_is_refused_with_the_smallest_that_works() -> None:
    assert smallest_image() == 76
    for size in (75, 1, 0, -5):
        with pytest.raises(ValueError, match="the smallest that works is 76"):
            ConvNet(image_size=size)


def test_one_filter_has_192_weights_and_the_first_layer_6176_parameters(net: ConvNet) -> None:
    first = net.model[0]
    assert isinstance(first, nn.Conv2d)
    assert first.weight[0].numel() == 192
    assert sum(one.numel() for one in first.parameters()) == 6176


def test_batchnorm_takes_the_number_of_channels_alone(net: ConvNet) -> None:
    assert isinstance(net.model[1], nn.BatchNorm2d)
    assert net.model[1].num_features == 32
    wrong = nn.BatchNorm2d(2, 32, 55, 55)  # type: ignore[arg-type]  # the notes' (N, C, H, W): C becomes eps, in silence
    assert (wrong.num_features, wrong.eps, wrong.momentum) == (2, 32, 55)


def test_the_third_dimension_is_height_and_the_fourth_width(net: ConvNet) -> None:
    high = torch.zeros(1, 3, 224, 112)
    with torch.no_grad():
        assert net.model[0](high).shape == (1, 32, 55, 27)


def test_flops_of_a_training_step_are_counted_as_known(net: ConvNet) -> None:
    counter = FlopCounterMode(display=False)
    with counter:
        net.loss(net(*net.example_inputs(32))).backward()
    assert counter.get_total_flops() == 4_712_484_864


def test_the_loss_is_cross_entropy_to_the_same_classes_each_time(net: ConvNet) -> None:
    output = torch.randn(5, 7, generator=torch.Generator().manual_seed(3))
    first = net.loss(output)
    classes = torch.randint(7, (5,), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(first, nn.functional.cross_entropy(output, classes))
    assert torch.equal(ConvNet().loss(output), first)


def test_the_classes_are_no_part_of_the_state_and_survive_copies(net: ConvNet) -> None:
    net.loss(torch.zeros(2, 7))
    assert set(net.state_dict()) == set(Seed().state_dict())
    for twin in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert torch.equal(twin.loss(torch.zeros(2, 7)), net.loss(torch.zeros(2, 7)))
    torch.save(net.state_dict(), io.BytesIO())


def test_example_inputs_are_the_same_each_time_and_leave_the_random_state_alone() -> None:
    small = ConvNet(in_channels=1, image_size=80)
    before = torch.get_rng_state()
    (first,), (second,) = small.example_inputs(3), small.example_inputs(3)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first, second)
    assert first.shape == (3, 1, 80, 80)


def test_batchnorm_in_training_gives_each_channel_mean_0_and_variance_1() -> None:
    numbers = torch.Generator().manual_seed(0)
    norm = nn.BatchNorm2d(32).train()
    out = norm(3 + 5 * torch.randn(8, 32, 11, 11, generator=numbers))
    mean, variance = out.mean((0, 2, 3)), out.var((0, 2, 3), correction=0)
    # eps = 1e-5 beside a variance of 25 lowers the variance by 4e-7; the rest is rounding
    torch.testing.assert_close(mean, torch.zeros(32), rtol=0, atol=1e-5)
    torch.testing.assert_close(variance, torch.ones(32), rtol=1e-4, atol=0)


def test_the_gradient_of_relu_is_0_or_1_and_negative_inputs_learn_nothing() -> None:
    x = torch.tensor([-2.0, -0.1, 0.0, 0.1, 3.0], requires_grad=True)
    nn.ReLU()(x).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [0, 0, 0, 1, 1]


def test_max_pooling_keeps_the_largest_of_each_two_by_two_field() -> None:
    image = torch.arange(16.0).reshape(1, 1, 4, 4)
    assert nn.MaxPool2d((2, 2))(image).tolist() == [[[[5, 7], [13, 15]]]]


def test_the_classifier_of_the_notes_goes_from_1600_features_to_10_classes() -> None:
    features = torch.zeros(32, 64, 5, 5)
    flat = nn.Flatten()(features)
    assert flat.shape == (32, 1600)
    assert nn.Linear(1600, 10)(flat).shape == (32, 10)
