"""Student and teacher: sizes, shapes, gradients, and the paper's numbers of parameters."""

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from dynamic_kd.models import FPNStudent, RFBTeacher  # noqa: E402
from dynamic_kd.models._rfb import ReceptiveFieldBlock  # noqa: E402

MODELS = [FPNStudent, RFBTeacher]


@pytest.fixture
def weightless():
    """Make models without memory for their weights, where only names and shapes matter."""
    with torch.device("meta"):
        yield


def parameters(module):
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(("backbone", "mebibytes"), [("vgg16", 57.9), ("vgg19", 78.2)])
def test_the_student_has_the_size_the_paper_prints(weightless, backbone, mebibytes):
    student = FPNStudent(backbone)
    assert abs(parameters(student) * 4 / 2**20 - mebibytes) < 0.05
    assert 461_600 <= parameters(student) - parameters(student.backbone) <= 475_900


@pytest.mark.parametrize(("backbone", "last"), [("vgg16", 28), ("vgg19", 34)])
def test_the_trunks_of_vgg_have_the_keys_of_torchvision(weightless, backbone, last):
    shapes = {key: tuple(value.shape) for key, value in FPNStudent(backbone, 3).backbone.state_dict().items()}
    assert shapes["features.0.weight"] == (64, 3, 3, 3)
    assert shapes["features.5.weight"] == (128, 64, 3, 3)
    assert shapes[f"features.{last}.weight"] == (512, 512, 3, 3)
    assert len(shapes) == 2 * (13 if backbone == "vgg16" else 16)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("size", [(32, 32), (33, 47), (96, 80)])
def test_one_logit_per_pixel_at_any_size(model, channels, size):
    logits = model("tiny", channels)(torch.rand(2, channels, *size))
    assert logits.shape == (2, 1, *size)
    assert logits.isfinite().all()


@pytest.mark.parametrize("model", MODELS)
def test_vgg_runs_at_an_odd_size(weightless, model):
    with torch.no_grad():
        assert model("vgg16")(torch.rand(1, 4, 37, 50)).shape == (1, 1, 37, 50)


@pytest.mark.parametrize("model", MODELS)
def test_the_gradient_reaches_every_parameter(model):
    torch.manual_seed(0)
    network = model("tiny")
    network(torch.rand(2, 4, 64, 64)).square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("model", MODELS)
def test_an_image_does_not_depend_on_its_batch_or_on_training_mode(model):
    torch.manual_seed(0)
    network, images = model("tiny"), torch.rand(3, 4, 48, 48)
    with torch.no_grad():
        together = network(images)
        apart = torch.cat([network.eval()(image[None]) for image in images])
    torch.testing.assert_close(together, apart, rtol=1e-4, atol=1e-5)


def test_the_teacher_is_the_students_trunk_with_four_receptive_field_blocks(weightless):
    for backbone in ("vgg16", "vgg19", "tiny"):
        student, teacher = FPNStudent(backbone), RFBTeacher(backbone)
        assert sum(isinstance(module, ReceptiveFieldBlock) for module in teacher.modules()) == 4
        assert parameters(student.backbone) == parameters(teacher.backbone)
        assert parameters(student) < parameters(teacher)


def test_a_receptive_field_block_sees_twenty_one_pixels(monkeypatch):
    by_pixel = lambda groups, channels: torch.nn.Identity()  # noqa: E731  (normalisation sees every pixel)
    monkeypatch.setattr("dynamic_kd.models._rfb.GroupNorm", by_pixel)
    torch.manual_seed(0)
    image = torch.rand(1, 2, 41, 41, requires_grad=True)
    ReceptiveFieldBlock(2, 8)(image)[0, :, 20, 20].sum().backward()
    rows, columns = torch.nonzero(image.grad[0].abs().sum(0), as_tuple=True)
    for seen in (rows, columns):
        assert (int(seen.min()), int(seen.max())) == (20 - 10, 20 + 10)


def test_each_branch_of_a_receptive_field_block_sees_further():
    reaches = []
    for branch in ReceptiveFieldBlock(2, 8).branches:
        strips = [module for module in branch.modules() if isinstance(module, torch.nn.Conv2d)]
        reaches.append(tuple(1 + sum(m.dilation[0] * (m.kernel_size[axis] - 1) for m in strips) for axis in (0, 1)))
        assert sum(isinstance(module, torch.nn.ReLU) for module in branch.modules()) == len(strips)
    assert reaches == [(3, 3), (9, 9), (15, 15), (21, 21)]


@pytest.mark.parametrize("model", MODELS)
def test_logits_start_small_whatever_the_scale_of_the_trunk(model):
    """Trunks that were trained elsewhere may give maps in the hundreds, from which training would diverge."""
    torch.manual_seed(0)
    network, image = model("vgg16"), torch.randn(1, 4, 64, 64)
    with torch.no_grad():
        logits = network(image)
        network.backbone.features[0].weight *= 100  # biases are zero: every map grows a hundredfold
        assert 0.1 < logits.std() < 1
        assert logits.mean().abs() < 2
        torch.testing.assert_close(network(image), logits, rtol=1e-2, atol=1e-2)


def test_maps_are_enlarged_without_a_shift():
    """A pixel of the small map lies over the middle of the four pixels that it stands for."""

    class Positions(torch.nn.Module):
        def forward(self, maps):
            return (2 * torch.arange(float(maps.shape[-1])) + 0.5).expand(1, 1, *maps.shape[-2:])

    student = FPNStudent("tiny")
    student.predict = Positions()
    logits = student(torch.zeros(1, 4, 32, 64))
    torch.testing.assert_close(logits[0, 0, 7, 1:-1], torch.arange(64.0)[1:-1])


@pytest.mark.parametrize("model", MODELS)
class TestErrors:
    def test_backbone(self, model):
        with pytest.raises(ValueError, match="backbone: expected one of 'vgg16', 'vgg19', 'tiny', got 'resnet50'"):
            model("resnet50")

    def test_channels(self, model):
        with pytest.raises(ValueError, match=r"in_channels: expected 3 \(colour\) or 4 \(colour and depth\), got 1"):
            model("tiny", 1)

    @pytest.mark.parametrize("shape", [(4, 32, 32), (1, 3, 32, 32), (1, 4, 31, 32), (1, 4, 32, 31)])
    def test_input(self, model, shape):
        with pytest.raises(ValueError, match=r"images: expected shape \(B, 4, H, W\) with H and W at least 32, got "):
            model("tiny")(torch.zeros(shape))


@pytest.mark.parametrize("model", MODELS)
def test_networks_are_one_graph_to_torchs_compiler(model):
    network, images = model("tiny"), torch.rand(1, 4, 40, 33)
    compiled = torch.compile(network, backend="eager", fullgraph=True, dynamic=False)
    torch.testing.assert_close(compiled(images), network(images))
