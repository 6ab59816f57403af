"""Every function of arrays does with each library what it declares."""

import inspect

import numpy as np
import pytest

from dynamic_kd import losses, metrics

GENERATOR = np.random.default_rng(0)
STUDENT, TEACHER = GENERATOR.normal(0, 3, (2, 2, 12, 15))
TARGET = np.zeros((2, 12, 15), dtype=bool)
TARGET[0, 3:8, 2:9] = TARGET[1, 6:, 4:] = True
MAPS = 1 / (1 + np.exp(-STUDENT))
IMAGES = np.array([0.8, 0.4]), np.array([0.3, 0.9])

LOSS = (STUDENT, TEACHER, TARGET)
INPUTS = {
    "DynamicKDLoss": LOSS,
    "soft_iou": (MAPS, TARGET),
    "dynamic_weight": IMAGES,
    "eliminate_noise": IMAGES,
    "temperature_kl": (STUDENT, TEACHER),
    "cross_entropy": (STUDENT, TARGET),
    "logits_from_probabilities": (MAPS,),
    "probability_shift": (TEACHER, TARGET),
    "camouflage_context_measure": (MAPS, TARGET, GENERATOR.integers(0, 256, (2, 12, 15, 3), dtype=np.uint8)),
}
SETTINGS = {"size_invariant_rate": {"rate": "dice"}}
NO_ARRAYS = {"DynamicKDTerms", "MetricReport", "Records", "SODMetrics", "Score", "plot_curves", "table"}

PUBLIC = {
    name: value
    for package in (losses, metrics)
    for name, value in vars(package).items()
    if callable(value) and not name.startswith("_") and name not in NO_ARRAYS
}


def declared(**support):
    """Mark a test to run on the functions that declare this much."""
    chosen = {
        name: function
        for name, function in PUBLIC.items()
        if hasattr(function, "__array_support__")
        and all(getattr(function.__array_support__, key) == value for key, value in support.items())
    }
    assert chosen
    return pytest.mark.parametrize("name", chosen)


def call(name, *arrays):
    """Return the value of a function, or the loss."""
    function = PUBLIC[name]
    if name == "DynamicKDLoss":
        return function()(*arrays)
    return function(*arrays, **SETTINGS.get(name, {}))


def inputs(name):
    return INPUTS.get(name, (MAPS, TARGET))


def test_every_public_function_declares_its_support():
    assert not [name for name, value in PUBLIC.items() if not hasattr(value, "__array_support__")]
    assert not [name for name in NO_ARRAYS if hasattr(getattr(losses, name, None), "__array_support__")]
    assert all(inspect.isfunction(value) for name, value in PUBLIC.items() if name != "DynamicKDLoss")


@declared()
def test_every_library_gives_numpys_values(name, xp, to_numpy):
    value = call(name, *map(xp.asarray, inputs(name)))
    assert isinstance(value, (type(xp.asarray(1.0)), np.float64))
    assert value.dtype == xp.float64
    np.testing.assert_allclose(to_numpy(value), call(name, *inputs(name)), rtol=1e-9, atol=1e-12)


@declared(gradient=True)
def test_torch_and_jax_give_the_gradient(name, jax):
    torch = pytest.importorskip("torch")
    first, *others = map(torch.from_numpy, map(np.copy, inputs(name)))
    first.requires_grad_()
    call(name, first, *others).sum().backward()
    gradient = jax.grad(lambda *arrays: call(name, *arrays).sum())(*map(jax.numpy.asarray, inputs(name)))
    assert np.any(gradient)
    np.testing.assert_allclose(first.grad.numpy(), gradient, rtol=1e-9, atol=1e-15)


@declared(gradient=False)
def test_others_give_constants(name):
    torch = pytest.importorskip("torch")
    first, *others = map(torch.from_numpy, map(np.copy, inputs(name)))
    assert not call(name, first.requires_grad_(), *others).requires_grad


@declared(traced=True)
def test_jax_compiles_and_maps(name, jax):
    arrays = [jax.numpy.asarray(array) for array in inputs(name)]
    expected = call(name, *inputs(name))

    def of_image(*image):
        return call(name, *(array[None] for array in image))

    np.testing.assert_allclose(jax.jit(lambda *each: call(name, *each))(*arrays), expected, rtol=1e-9, atol=1e-12)
    if name != "DynamicKDLoss":  # its value is already a mean over images
        mapped = np.asarray(jax.vmap(of_image)(*arrays))
        np.testing.assert_allclose(mapped.reshape(np.shape(expected)), expected, rtol=1e-9, atol=1e-12)


@declared(traced=False)
def test_others_refuse_traced_arrays(name, jax):
    with pytest.raises(TypeError, match="expected arrays with values, got traced ones"):
        jax.jit(lambda *arrays: call(name, *arrays))(*inputs(name))


def test_what_is_copied_to_the_host_cannot_be_traced():
    supports = [function.__array_support__ for function in PUBLIC.values()]
    assert all((support.gpu == "copied") != support.traced for support in supports)


@declared()
def test_values_come_back_to_the_gpu(name):
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("needs an NVIDIA GPU")
    value = call(name, *(torch.from_numpy(np.copy(array)).cuda() for array in inputs(name)))
    assert value.is_cuda
    np.testing.assert_allclose(value.cpu().numpy(), call(name, *inputs(name)), rtol=1e-6, atol=1e-9)
