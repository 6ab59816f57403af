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
def small_recipe():
    """Return a recipe for the demo, with other settings on top, that takes seconds."""
    from dynamic_kd.training import read_recipe

    small = ("data.size=32", "data.train_count=24", "data.validation_count=12")
    short = ("training.epochs=2", "teacher.training.epochs=3")

    def make(*overrides):
        return read_recipe("cpu", [*small, *short, "seed=3", *overrides])

    return make


@pytest.fixture(scope="session")
def small_run(small_recipe):
    """A demo on the synthetic set."""
    from dynamic_kd.training import DemoSettings, run_demo

    return run_demo(DemoSettings(recipe=small_recipe()))
