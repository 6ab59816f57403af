"""Small runs, made once."""

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")


@pytest.fixture(scope="module", autouse=True)
def _one_thread(one_thread):
    """Train with one thread."""


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """Return a function that makes the recipe of a tiny run, with some settings changed."""
    from tiny_runs import recipe_file

    from dynamic_kd.training import read_recipe

    path = recipe_file(tmp_path_factory.mktemp("recipe"))
    return lambda *settings: read_recipe(path, settings)


@pytest.fixture(scope="module")
def whole(tiny, tmp_path_factory):
    """The folder of a tiny run that nothing stopped."""
    from dynamic_kd.training import train

    folder = tmp_path_factory.mktemp("runs") / "whole"
    train(tiny(), folder)
    return folder


@pytest.fixture
def no_figures(monkeypatch):
    """Leave the figures out, which take longer than a tiny training."""
    from dynamic_kd.training import _train

    monkeypatch.setattr(_train, "write_insight", lambda *arguments, **limit: None)
