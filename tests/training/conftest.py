"""A small run, made once."""

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Train with one thread: at this size more would wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def small_settings():
    """Return settings of a demo that takes seconds."""
    from dynamic_kd.training import DemoSettings, Recipe

    def make(**changes):
        recipe = Recipe(seed=changes.pop("seed", 3), epochs=2, teacher_epochs=3)
        return DemoSettings(**({"recipe": recipe, "size": 32, "train_count": 24, "test_count": 12} | changes))

    return make


@pytest.fixture(scope="session")
def small_run(small_settings):
    """A demo on the synthetic set."""
    from dynamic_kd.training import run_demo

    return run_demo(small_settings())
