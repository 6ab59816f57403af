"""Which work becomes a CUDA graph, and what its replays compute; graphs of a GPU are in test_cuda_statistics.py."""

import itertools
from concurrent.futures import ThreadPoolExecutor

import pytest

torch = pytest.importorskip("torch")

from graphs_on_cpu import Device, on_device  # noqa: E402

from dynamic_kd.metrics._statistics import _replay  # noqa: E402
from dynamic_kd.metrics._statistics._replay import replayed  # noqa: E402


@pytest.fixture
def device(monkeypatch):
    device = Device()
    for name in ("Stream", "current_stream", "stream", "is_current_stream_capturing", "CUDAGraph"):
        monkeypatch.setattr(torch.cuda, name, getattr(device, name))
    monkeypatch.setattr(_replay, "_graphs", {})
    monkeypatch.setattr(_replay, "_seen", _replay.Counter())
    monkeypatch.setattr(_replay, "_calls", itertools.count(1))
    return device


class Work:
    """Twice the first input and the second, and how often it was done."""

    def __init__(self):
        self.calls = 0

    def __call__(self, inputs):
        self.calls += 1
        first, second = inputs
        return [first * 2.0 + second, first * second]


def came(times, like="like", work=None):
    """Give the same work so many times, and return how often it was done rather than replayed."""
    work = work or Work()
    for _ in range(times):
        replayed(like, [on_device([1.0]), on_device([2.0])], work)
    return work.calls


def test_work_is_captured_the_third_time_and_replayed_from_then_on(device):
    work = Work()
    for time in range(1, 8):
        first, second = [1.0 * time, 2.0], [0.5, -1.0 * time]
        total, product = replayed("like", [on_device(first), on_device(second)], work)
        assert total.tolist() == [2 * time + 0.5, 4.0 - time]
        assert product.tolist() == [0.5 * time, -2.0 * time]
        # The third time it is done on copies, which compiles what they need, and recorded.
        assert work.calls == (time if time < 3 else 4)
    assert [graph.replays for graph in device.graphs] == [5]


def test_a_graph_reads_copies_of_its_inputs(device):
    given = [on_device([3.0]), on_device([4.0])]
    work = Work()
    for _ in range(3):
        total, _ = replayed("like", given, work)
    assert total.tolist() == [10.0]
    given[0].fill_(-1.0)
    device.graphs[0].replay()
    assert total.tolist() == [10.0]
    other = [on_device([5.0]), on_device([6.0])]
    replayed("like", other, work)
    assert (given[0].tolist(), other[0].tolist()) == ([-1.0], [5.0])


def test_batches_beyond_a_bound_are_left_alone(device, monkeypatch):
    monkeypatch.setattr(_replay, "MOST_PIXELS", 6)
    for pixels, graphs in ((7, 0), (6, 1)):
        for _ in range(4):
            replayed(pixels, [on_device([1.0] * pixels), on_device([2.0] * 3).sum()], Work())
        assert len(device.graphs) == graphs


def test_what_is_not_on_a_gpu_or_in_anothers_capture_is_done(device):
    work = Work()
    for _ in range(4):
        replayed("like", [torch.ones(2), torch.ones(2)], work)
    device.capturing = True
    assert came(4, work=work) == 8
    device.capturing = False
    assert not device.graphs
    assert came(2, work=work) == 10  # neither was counted


def test_work_of_another_kind_stream_or_thread_has_its_own_graph(device):
    came(3)
    assert came(1) == 0
    assert came(3, like="another") == 4
    with torch.cuda.stream(torch.cuda.Stream(None)):
        assert came(3) == 4
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(came, 3).result() == 4
    assert len(device.graphs) == 4
    assert [came(1), came(1, like="another")] == [0, 0]


def test_a_failed_capture_is_ended_and_kept_by_nobody(device):
    class Failing(Work):
        def __call__(self, inputs):
            if device.capturing:
                raise RuntimeError("no memory")
            return super().__call__(inputs)

    came(2)
    with pytest.raises(RuntimeError, match="no memory"):
        came(1, work=Failing())
    assert not device.capturing
    assert not _replay._graphs
    assert came(2) == 2  # captured after all, and replayed


def test_graphs_are_few_and_give_way_to_work_that_comes_more_than_twice_as_often(device, monkeypatch):
    monkeypatch.setattr(_replay, "MOST_GRAPHS", 2)
    came(4, like="often")
    came(3, like="rare")
    assert came(8, like="new") == 8  # 2 x 3 + 2
    assert len(device.graphs) == 2
    assert came(1, like="new") == 2
    assert [key[0] for key in _replay._graphs] == ["often", "new"]
    assert came(1, like="often") == 0
    assert came(1, like="rare") == 1


def test_counts_are_halved_now_and_then_so_that_old_graphs_make_room(device, monkeypatch):
    monkeypatch.setattr(_replay, "HALVED_EVERY", 10)
    came(5, like="old")
    came(4, like="new")
    assert sorted(_replay._seen.values()) == [4, 5]
    came(1, like="once")  # the tenth call
    assert {key[0]: count for key, count in _replay._seen.items()} == {"old": 2, "new": 2}
    came(9, like="old")
    assert max(_replay._seen.values()) == 11
    came(1, like="old")
    assert {key[0]: count for key, count in _replay._seen.items()} == {"old": 6, "new": 1}


def test_counts_of_work_that_never_comes_again_do_not_pile_up(device):
    for like in range(3 * _replay.HALVED_EVERY):
        came(1, like=like)
    assert len(_replay._seen) < _replay.HALVED_EVERY
