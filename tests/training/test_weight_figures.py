"""The figures show the numbers of the log."""

import numpy as np
import pytest
from weights_csv import write_log

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("matplotlib", reason="matplotlib is not installed")

from dynamic_kd.training._weight_figures import teacher_student_scatter, weight_over_time
from dynamic_kd.training._weights_log import read_weights_log


@pytest.fixture
def make_log(tmp_path):
    """Return a log of random samples, the first of which is noise in every epoch."""

    def make(epochs=10, samples=21, seed=0):
        generator = np.random.default_rng(seed)
        rows = []
        for epoch in range(1, epochs + 1):
            for sample in generator.permutation(samples):
                teacher = 0.2 if sample == 0 else generator.uniform(0.55, 1)
                rows.append((epoch, f"s{sample:02d}", teacher, generator.uniform(), generator.uniform(0.1, 0.9)))
        return read_weights_log(write_log(tmp_path / f"{seed}.csv", rows))

    return make


class TestScatter:
    def test_a_panel_for_each_log_with_the_last_samples(self, make_log):
        logs = {f"run {seed}": make_log(seed=seed) for seed in range(6)}
        figure = teacher_student_scatter(logs, last=100)
        panels = [axes for axes in figure.axes if axes.get_title()]
        assert [axes.get_title().strip() for axes in panels] == list(logs)
        for axes, log in zip(panels, logs.values(), strict=True):
            teacher, student = log.latest(100)
            [cells] = axes.collections
            assert cells.get_array().sum() == 100
            note = axes.texts[0].get_text()
            correlation = np.corrcoef(teacher, student)[0, 1]
            assert note == f"{np.mean(student > teacher):.0%} above the diagonal, r = {correlation:.2f}"
            assert axes.lines[0].get_xydata().tolist() == [[0, 0], [1, 1]]

    def test_teacher_is_across_and_student_is_up(self, tmp_path):
        log = read_weights_log(write_log(tmp_path / "log.csv", [(1, "a", 0.9, 0.8, 0.5), (1, "b", 0.9, 0.7, 0.5)]))
        figure = teacher_student_scatter({"run": log})
        centres = figure.axes[0].collections[0].get_offsets()
        np.testing.assert_allclose(centres.mean(axis=0), [0.9, 0.25], atol=0.04)
        assert figure.axes[0].texts[0].get_text() == "0% above the diagonal, r = -"  # α does not vary

    def test_all_panels_share_one_scale(self, make_log):
        figure = teacher_student_scatter({"a": make_log(), "b": make_log(epochs=40, seed=1)})
        first, second = (axes.collections[0] for axes in figure.axes[:2])
        assert first.norm is second.norm
        assert second.norm.vmax == second.get_array().max()

    def test_the_threshold_is_marked_on_demand(self, make_log):
        [axes, _] = teacher_student_scatter({"a": make_log()}, threshold=0.4).axes
        assert axes.lines[1].get_xydata().tolist() == [[0.4, 0], [0.4, 1]]
        assert "noise" in [text.get_text() for text in axes.texts]
        [axes, _] = teacher_student_scatter({"a": make_log()}, threshold=0.75, relative=True).axes
        assert axes.lines[1].get_xydata().tolist() == [[0, 0], [0.75, 1]]
        assert len(teacher_student_scatter({"a": make_log()}).axes[0].lines) == 1

    def test_mistakes(self, make_log):
        with pytest.raises(ValueError, match="logs: is empty; pass a log for each panel"):
            teacher_student_scatter({})
        with pytest.raises(ValueError, match=r"last: expected a number in \[1, inf\), got 0"):
            teacher_student_scatter({"a": make_log()}, last=0)


class TestOverTime:
    def test_median_and_bands_of_the_samples_above_the_threshold(self, make_log):
        log = make_log()
        above, _ = weight_over_time(log).axes
        trusted = log.weight[:, 1:]
        lines = {line.get_label(): line for line in above.lines}
        np.testing.assert_allclose(lines["median"].get_ydata(), np.median(trusted, axis=1))
        np.testing.assert_array_equal(lines["median"].get_xdata(), log.epochs)
        for band, percentiles in zip(above.collections, ([5, 95], [25, 75]), strict=True):
            low, high = np.percentile(trusted, percentiles, axis=1)
            assert set(np.round(band.get_paths()[0].vertices[:, 1], 9)) == set(np.round([*low, *high], 9))

    def test_an_epoch_without_a_sample_above_the_threshold_leaves_a_gap(self, tmp_path):
        rows = [(epoch, name, 0.9 if epoch == 2 else 0.1, 0.5, 0.4) for epoch in (1, 2, 3) for name in "ab"]
        figure = weight_over_time(read_weights_log(write_log(tmp_path / "log.csv", rows)))
        np.testing.assert_array_equal(figure.axes[0].lines[0].get_ydata(), [np.nan, 0.4, np.nan])
        np.testing.assert_array_equal(figure.axes[1].lines[0].get_ydata(), [1, 0, 1])
        figure.savefig(tmp_path / "gap.png")

    def test_a_fixed_weight_has_no_lowest_samples(self, tmp_path):
        rows = [(epoch, name, 0.9, 0.5, 0.3) for epoch in (1, 2) for name in "abc"]
        figure = weight_over_time(read_weights_log(write_log(tmp_path / "log.csv", rows)))
        assert [line.get_label() for line in figure.axes[0].lines] == ["median"]

    def test_the_lowest_samples_by_name_but_not_those_that_are_noise(self, make_log):
        log = make_log()
        above, _ = weight_over_time(log).axes
        order = [name for _, name in sorted(zip(log.weight.mean(axis=0), log.names, strict=True)) if name != "s00"]
        assert [line.get_label() for line in above.lines] == ["median", "lowest of all epochs:", *order[:3]]
        np.testing.assert_array_equal(above.lines[2].get_ydata(), log.weight[:, log.names.index(order[0])])

    def test_the_share_under_the_threshold(self, make_log):
        log = make_log()
        _, below = weight_over_time(log, threshold=0.5).axes
        np.testing.assert_allclose(below.lines[0].get_ydata(), 1 / 21)
        assert below.get_title(loc="left") == "Samples below the noise threshold (α ≤ 0.5)"
        _, below = weight_over_time(log, threshold=0.75, relative=True).axes
        assert below.get_title(loc="left") == "Samples below the noise threshold (α ≤ 0.75 of the student's IoU)"

    def test_an_epoch_that_has_just_begun_is_left_out_unless_it_is_the_first(self, tmp_path):
        rows = [(epoch, name, 0.9, 0.5, 0.5) for epoch in (1, 2) for name in "abcd"]
        for count, shown in ((1, [1]), (4, [1]), (5, [1]), (6, [1, 2]), (8, [1, 2])):
            log = read_weights_log(write_log(tmp_path / "log.csv", rows[:count]))
            figure = weight_over_time(log)
            assert figure.axes[0].lines[0].get_xdata().tolist() == shown
            figure.savefig(tmp_path / "one.png")


def test_names_are_shown_as_they_are(tmp_path):
    log = read_weights_log(write_log(tmp_path / "log.csv", [(1, "_a$b$", 0.9, 0.5, 0.5), (1, "b", 0.9, 0.5, 0.4)]))
    figure = weight_over_time(log)
    assert figure.axes[0].get_legend().get_texts()[-1].get_text().endswith(r"_a\$b\$")
    teacher_student_scatter({"$x": log}).savefig(tmp_path / "x.png")
