"""Settings of all tests of models."""

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Compute with one thread: at these sizes more would wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
