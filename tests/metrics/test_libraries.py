"""The same scores from every array library, dtype and shape."""

import numpy as np
import pytest

from dynamic_kd.metrics import SODMetrics, s_measure


@pytest.fixture
def batch(random_pair):
    generator = np.random.default_rng(7)
    images = [random_pair(generator, 21, 34) for _ in range(3)]
    pred, target = (np.stack(each) for each in zip(*images, strict=True))
    return pred, target


def test_every_library_gives_the_same_scores(functions, batch, xp, to_numpy):
    pred, target = batch
    for name, function in functions.items():
        value = function(xp.asarray(pred), xp.asarray(target))
        assert type(value) is type(xp.asarray(1.0)), name
        assert value.dtype == xp.float64, name
        np.testing.assert_allclose(to_numpy(value), function(pred, target), rtol=0, atol=1e-12, err_msg=name)


def test_floating_predictions_equal_8_bit_ones(functions, batch, backend):
    pred, target = batch
    for name, function in functions.items():
        value = function(backend(pred / 255), backend(target))
        np.testing.assert_allclose(np.asarray(value), function(pred, target), rtol=0, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_narrow_floats_are_widened_first(functions, batch, dtype):
    torch = pytest.importorskip("torch")
    pred, target = batch
    narrow = torch.from_numpy(pred / 255).to(getattr(torch, dtype))
    for function in functions.values():
        value = function(narrow, torch.from_numpy(target))
        np.testing.assert_array_equal(value.numpy(), function(narrow.double().numpy(), target))


def test_jax_without_64_bits_is_exact_on_the_cpu(functions, batch):
    jnp = pytest.importorskip("jax.numpy")
    pred, target = batch
    for name, function in functions.items():
        value = function(jnp.asarray(pred), jnp.asarray(target))
        assert value.dtype == jnp.float32
        np.testing.assert_array_equal(value, np.float32(function(pred, target)), err_msg=name)
        narrow = jnp.asarray(pred / 255, jnp.bfloat16)
        wide = np.asarray(narrow.astype(jnp.float32))
        np.testing.assert_array_equal(function(narrow, jnp.asarray(target)), np.float32(function(wide, target)))


def test_jax_without_64_bits_is_close_when_compiled(functions, batch):
    jax = pytest.importorskip("jax")
    pred, target = batch
    for name, function in functions.items():
        value = np.asarray(jax.jit(function)(pred, target))
        # In float32 a level may round across a threshold, which moves its pixels.
        assert np.median(np.abs(value - function(pred, target))) < 1e-5, name


def test_jax_without_64_bits_finds_the_centroid_of_a_large_mask():
    jax = pytest.importorskip("jax")
    rows, columns = np.indices((1500, 1500))
    target = np.hypot(rows - 800, columns - 740) < 690
    pred = np.where(target, 200, (rows // 8) % 100).astype(np.uint8)
    assert float(jax.jit(s_measure)(pred, target)) == pytest.approx(s_measure(pred, target), abs=1e-4)


def test_jax_transformations(functions, batch, jax):
    pred, target = batch
    for name, function in functions.items():
        compiled = jax.jit(function)(pred, target)
        np.testing.assert_allclose(compiled, function(pred, target), rtol=0, atol=1e-12, err_msg=name)
        mapped = jax.vmap(function)(jax.numpy.asarray(pred), jax.numpy.asarray(target))
        np.testing.assert_allclose(mapped, function(pred, target), rtol=0, atol=1e-12, err_msg=name)


def test_shapes(functions, batch, backend):
    pred, target = batch
    for name, function in functions.items():
        values = np.asarray(function(backend(pred), backend(target)))
        assert values.shape == ((3, 256) if name in "FE" else (3,))
        channel = np.asarray(function(backend(pred[:, None]), backend(target)))
        np.testing.assert_array_equal(channel, values)
        single = np.asarray(function(backend(pred[1]), backend(target[1])))
        assert single.shape == values.shape[1:]
        np.testing.assert_allclose(single, values[1], rtol=1e-13)


@pytest.mark.parametrize(
    "mask",
    [
        lambda target: target.astype(np.uint8) * 255,
        lambda target: target.astype(np.int64) * 129,
        lambda target: target.astype(np.int8),
        lambda target: target.astype(np.float32),
        lambda target: target * 0.1 + 0.45,
    ],
)
def test_masks_of_every_kind(functions, batch, mask, backend):
    pred, target = batch
    for function in functions.values():
        value = function(backend(pred), backend(mask(target)))
        np.testing.assert_array_equal(np.asarray(value), np.asarray(function(backend(pred), backend(target))))


def test_inputs_of_every_memory_layout(functions, batch):
    pred, target = batch
    for function in functions.values():
        value = function(pred.transpose(0, 2, 1)[:, ::-1], target.transpose(0, 2, 1)[:, ::-1])
        copied = function(pred.transpose(0, 2, 1)[:, ::-1].copy(), target.transpose(0, 2, 1)[:, ::-1].copy())
        np.testing.assert_array_equal(value, copied)


def test_inputs_are_never_written(functions, batch, backend):
    pred, target = batch
    before = pred.copy(), target.copy()
    for function in functions.values():
        function(backend(pred), backend(target))
        function(backend(pred / 255), backend(target))
    assert (pred == before[0]).all()
    assert (target == before[1]).all()


def test_streams_take_every_library(batch, xp):
    pred, target = batch
    ours, numpys = SODMetrics(), SODMetrics()
    ours.update(xp.asarray(pred), xp.asarray(target))
    numpys.update(pred, target)
    assert ours.compute().as_dict() == pytest.approx(numpys.compute().as_dict(), abs=1e-12)


def test_torch_maps_with_gradient_are_scored(batch):
    torch = pytest.importorskip("torch")
    pred, target = batch
    maps = torch.from_numpy(pred / 255).requires_grad_()
    metrics = SODMetrics()
    metrics.update(maps.sigmoid(), torch.from_numpy(target))
    assert len(metrics) == 3
