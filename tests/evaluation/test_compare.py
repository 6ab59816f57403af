"""Many methods on many data sets: the numbers, what is measured again and what is not, and what is refused."""

import os
import shutil

import cv2
import numpy as np
import pytest
from comparison_folders import write_image, write_layout

from dynamic_kd.evaluation import (
    _measure,
    compare,
    comparison_tables,
    evaluate_folders,
    read_config,
    write_comparison,
)
from dynamic_kd.evaluation._bootstrap import ImageScores, percentile_interval, resampled_scores
from dynamic_kd.metrics import SCORES, SODMetrics

QUICK = {"resamples": 20}
# HCE takes too long here.
EVERY = [name for name in dict.fromkeys(score.metric for score in SCORES.values()) if name != "HCE"]


@pytest.fixture
def root(tmp_path):
    return write_layout(tmp_path / "maps")


@pytest.fixture
def work(monkeypatch):
    """Count the images that are decoded and the pairs that are measured."""
    counts = {"decoded": 0, "measured": 0}

    def counting(name, function):
        def counted(*arguments, **settings):
            counts[name] += 1
            return function(*arguments, **settings)

        return counted

    for name in ("read_gray", "read_mask"):
        monkeypatch.setattr(_measure, name, counting("decoded", getattr(_measure, name)))
    monkeypatch.setattr(SODMetrics, "measure", counting("measured", SODMetrics.measure))
    return counts


def conventions(comparison):
    """The notes of the last table."""
    return comparison_tables(comparison)[-1].notes


def scores(comparison):
    return {
        (name, method): report.as_dict()
        for name, result in comparison.datasets.items()
        for method, report in result.reports.items()
    }


def test_the_numbers_are_those_of_evaluate_folders(root):
    found = compare(read_config(root, strict=True, **QUICK), workers=2)
    assert list(found.datasets) == ["DES", "SIP"]
    for name, result in found.datasets.items():
        assert list(result.reports) == ["fair", "good", "poor"]
        for method, report in result.reports.items():
            alone = evaluate_folders(root / method / name, root / "GT" / name, strict=True)
            assert report.as_dict() == alone.as_dict()
            assert report.per_image == alone.per_image
            assert report.counts == alone.counts
            own = {"per_image_curves"}
            assert {key: report.settings[key] for key in report.settings if key not in own} == {
                key: alone.settings[key] for key in alone.settings if key not in own
            }


def test_workers_change_nothing_but_time(root):
    progress = []
    one = compare(read_config(root, output=root.parent / "one", **QUICK))
    three = compare(
        read_config(root, output=root.parent / "three", **QUICK), workers=3, progress=lambda *x: progress.append(x)
    )
    assert scores(one) == scores(three)
    for name, result in one.datasets.items():
        assert three.datasets[name].intervals == result.intervals
        assert three.datasets[name].tests == result.tests
    assert progress == [("DES", done, 24) for done in (3, 6, 9, 12)] + [("SIP", done, 24) for done in (15, 18, 21, 24)]


def test_images_of_many_sizes_keep_their_order(tmp_path):
    for index, size in enumerate([(20, 30), (12, 14), (20, 30), (16, 18), (12, 14)]):
        mask = np.zeros(size, np.uint8)
        mask[3:9, 4:10] = 255
        write_image(tmp_path / "GT" / "A" / f"{index}.png", mask)
        write_image(tmp_path / "ours" / "A" / f"{index}.png", mask // 2 + 7 * index)
    found = compare(read_config(tmp_path, **QUICK)).datasets["A"]
    report = found.reports["ours"]
    alone = evaluate_folders(tmp_path / "ours" / "A", tmp_path / "GT" / "A", per_image_curves=True)
    curves = {"maxE": alone.per_image_curves["e_measure"]}
    resampled = resampled_scores(ImageScores(alone.names, {}, curves), QUICK["resamples"], seed=0)
    assert found.intervals["ours"]["maxE"] == pytest.approx(percentile_interval(resampled["maxE"]), rel=1e-12)
    assert report.names == ("0", "1", "2", "3", "4")
    assert report.per_image == alone.per_image
    assert report.as_dict() == alone.as_dict()


def test_a_second_run_measures_nothing(root, work):
    first = compare(read_config(root, **QUICK), workers=2)
    assert work == {"decoded": 32, "measured": 24}  # each mask once for three methods
    second = compare(read_config(root, **QUICK), workers=2)
    assert work == {"decoded": 32, "measured": 24}
    assert scores(first) == scores(second)
    assert [result.fresh for result in first.datasets.values()] == [12, 12]
    assert [result.fresh for result in second.datasets.values()] == [0, 0]


def test_other_scores_need_no_image(root, work):
    compare(read_config(root, **QUICK))
    found = compare(read_config(root, metrics=["IoU", "BER"], scores=["maxIoU", "binBER"], resamples=0))
    assert work == {"decoded": 32, "measured": 24}
    metrics = SODMetrics(["IoU", "BER"])
    for path in sorted((root / "good" / "DES").iterdir()):
        metrics.update(cv2.imread(str(path), 0), cv2.imread(str(root / "GT" / "DES" / path.name), 0))
    assert found.datasets["DES"].reports["good"].as_dict() == metrics.compute().as_dict()
    assert found.ranks()[0].method == "good"


def test_every_score_is_tested_as_it_is_printed(root):
    """What intervals and tests are made of gives the report's own scores, whatever is measured."""
    found = compare(read_config(root, metrics=EVERY, resamples=5)).datasets["DES"]
    assert {test.score for test in found.tests} == set(found.reports["good"].columns)
    for test in found.tests:
        first, second = (found.reports[method][test.score] for method in (test.first, test.second))
        assert test.difference == pytest.approx(first - second, abs=1e-12), test.score
    assert set(found.intervals["good"]) == set(found.reports["good"])


def test_content_decides_what_is_measured_again(root, work):
    compare(read_config(root, **QUICK))
    path = root / "good" / "DES" / "000.png"
    os.utime(path, ns=(1, 1))
    assert compare(read_config(root, **QUICK)).datasets["DES"].fresh == 0
    write_image(path, cv2.imread(str(path), 0) // 2)
    assert compare(read_config(root, **QUICK)).datasets["DES"].fresh == 1
    assert work == {"decoded": 34, "measured": 25}  # with its mask
    mask = root / "GT" / "SIP" / "001.png"
    write_image(mask, np.roll(cv2.imread(str(mask), 0), 1))
    again = compare(read_config(root, **QUICK))
    assert again.datasets["SIP"].fresh == 3
    alone = evaluate_folders(root / "good" / "SIP", root / "GT" / "SIP")
    assert again.datasets["SIP"].reports["good"].as_dict() == alone.as_dict()


def test_a_file_replaced_with_size_and_time_kept_is_seen(root):
    for folder in ("GT", "good"):
        for path in (root / folder / "DES").iterdir():
            image = cv2.imread(str(path), 0)
            path.unlink()
            write_image(path.with_suffix(".bmp"), image)
            os.utime(path.with_suffix(".bmp"), ns=(10**18, 10**18))
    shutil.rmtree(root / "fair")
    shutil.rmtree(root / "poor")
    config = read_config(root, **QUICK)
    compare(config)
    path = root / "good" / "DES" / "000.bmp"
    before = path.stat()
    write_image(path, 255 - cv2.imread(str(path), 0))
    os.utime(path, ns=(10**18, 10**18))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert compare(config).datasets["DES"].fresh == 1


def test_the_same_content_elsewhere_is_known(root, work):
    compare(read_config(root, **QUICK))
    shutil.copytree(root / "good", root / "copy")
    found = compare(read_config(root, **QUICK))
    assert work["measured"] == 24
    assert found.datasets["DES"].reports["copy"].as_dict() == found.datasets["DES"].reports["good"].as_dict()


def test_settings_that_matter_are_measured_anew(root, work):
    compare(read_config(root, **QUICK))
    for settings, measured in (({"normalize": False}, 48), ({"strict": True}, 72), ({"empty_target": "skip"}, 72)):
        compare(read_config(root, **settings, **QUICK))
        assert work["measured"] == measured


def test_what_is_missing_is_refused_or_counted(root):
    (root / "good" / "DES" / "001.png").unlink()
    shutil.rmtree(root / "poor" / "SIP")
    with pytest.raises(ValueError, match=r"methods.poor: no folder of maps for SIP, none is configured"):
        compare(read_config(root, **QUICK))
    found = compare(read_config(root, allow_missing=True, **QUICK))
    assert list(found.datasets["SIP"].reports) == ["fair", "good"]
    assert found.datasets["DES"].reports["good"].names == ("000", "002", "003")
    assert found.datasets["DES"].reports["good"].counts["missing_pred"] == 1
    assert found.datasets["DES"].common == 3
    assert {test.images for test in found.datasets["DES"].tests} == {3}
    assert list(found.ranks()[0].datasets) == ["DES"]  # the only one that all methods were scored on
    shutil.copytree(root / "fair" / "SIP", root / "poor" / "SIP")
    with pytest.raises(ValueError, match=r"good on DES: expected the same file stems .*1 missing in pred: 001"):
        compare(read_config(root, **QUICK))


def test_a_data_set_without_maps_is_said_to_be_left_out(root):
    for method in ("good", "fair", "poor"):
        shutil.rmtree(root / method / "SIP")
    found = compare(read_config(root, allow_missing=True, **QUICK))
    assert list(found.datasets) == ["DES"]
    assert found.left_out == ("SIP",)
    assert "Data sets left out, without maps of any method: SIP." in conventions(found)


def test_where_the_reference_has_no_maps_nothing_is_tested_and_that_is_said(root):
    shutil.rmtree(root / "good" / "SIP")
    found = compare(read_config(root, allow_missing=True, reference="good", **QUICK))
    assert {(test.first, test.second) for test in found.datasets["DES"].tests} == {("good", "fair"), ("good", "poor")}
    assert found.datasets["SIP"].tests == ()
    text = conventions(found)
    assert "Not tested, without maps of good: SIP." in text
    assert any("Tests: each method against good, " in sentence for sentence in text)
    text = conventions(compare(read_config(root, allow_missing=True, **QUICK)))
    assert not any(sentence.startswith("Not tested") for sentence in text)


def test_a_reference_without_any_maps_tests_nothing(root):
    write_layout(root, datasets=("ZOO",), methods=("new",))
    config = read_config(root, allow_missing=True, reference="new", **QUICK)
    for method in ("good", "fair", "poor"):
        shutil.rmtree(root / method / "SIP")
    text = conventions(compare(config))
    assert "Not tested, without maps of new: DES." in text
    assert not any(sentence.startswith("Tests:") for sentence in text)


def test_results_within_the_folder_are_no_method(root):
    config = read_config(root, output=root / "results", **QUICK)
    compare(config)
    assert list(read_config(root).methods) == ["fair", "good", "poor"]


def test_tests_are_about_the_images_that_all_methods_have(root):
    (root / "good" / "DES" / "001.png").unlink()
    found = compare(read_config(root, allow_missing=True, **QUICK)).datasets["DES"]
    fair, good = found.reports["fair"], found.reports["good"]
    common = [fair.names.index(name) for name in good.names]
    column = fair.columns.index("Sm")
    [test] = [test for test in found.tests if (test.score, test.first, test.second) == ("Sm", "fair", "good")]
    assert test.difference == pytest.approx(fair.rows[common, column].mean() - good["Sm"], abs=1e-12)
    assert test.interval.low <= test.difference <= test.interval.high
    for folder in ("GT", "fair", "poor"):
        (root / folder / "DES" / "001.png").unlink()
    assert compare(read_config(root, **QUICK)).datasets["DES"].tests == found.tests


def test_no_image_in_common(tmp_path):
    write_layout(tmp_path, datasets=("A",), methods=("one", "two"), images=4)
    for method, stems in (("one", ("000", "001")), ("two", ("002", "003"))):
        for stem in stems:
            (tmp_path / method / "A" / f"{stem}.png").unlink()
    found = compare(read_config(tmp_path, allow_missing=True, **QUICK))
    assert found.datasets["A"].common == 0
    assert found.datasets["A"].tests == ()
    assert found.ranks() == []
    assert "No ranks: fewer than two methods were scored on every image (†)." in conventions(found)


def test_sizes_are_counted_and_refused_from_the_cache_too(root):
    path = root / "good" / "DES" / "002.png"
    write_image(path, cv2.resize(cv2.imread(str(path), 0), (56, 40)))
    other = root / "fair" / "DES" / "002.png"
    write_image(other, cv2.resize(cv2.imread(str(other), 0), (28, 28)))
    found = compare(read_config(root, **QUICK))
    again = compare(read_config(root, **QUICK))
    for each in (found, again):
        assert each.datasets["DES"].reports["good"].counts["resized"] == 1
        assert each.datasets["DES"].reports["fair"].counts["resized"] == 0
        assert {name: report.counts["other_shape"] for name, report in each.datasets["DES"].reports.items()} == {
            "good": 0, "fair": 1, "poor": 0,
        }  # fmt: skip
    with pytest.raises(ValueError, match=r"fair.DES.002\.png: expected the size of its mask, 28 x 20, got 28 x 28"):
        compare(read_config(root, strict_size=True, **QUICK))
    write_image(other, cv2.resize(cv2.imread(str(other), 0), (28, 20)))
    with pytest.raises(ValueError, match=r"good.DES.002\.png: expected the size of its mask, 28 x 20, got 56 x 40"):
        compare(read_config(root, strict_size=True, **QUICK))


def test_maps_in_colour_are_counted_from_the_cache_too(root):
    grey = cv2.imread(str(root / "good" / "DES" / "002.png"), 0)
    write_image(root / "good" / "DES" / "002.png", cv2.applyColorMap(grey, cv2.COLORMAP_JET))
    for _ in range(2):
        reports = compare(read_config(root, **QUICK)).datasets["DES"].reports
        assert {name: report.counts["colour_pred"] for name, report in reports.items()} == {
            "good": 1, "fair": 0, "poor": 0,
        }  # fmt: skip


def test_methods_that_lack_images_compete_for_nothing(root):
    for stem in ("001", "002"):
        (root / "good" / "DES" / f"{stem}.png").unlink()
    found = compare(read_config(root, allow_missing=True, **QUICK))
    des, sip, ranks = comparison_tables(found)
    assert {row[0]: set(marks[1:]) for row, marks in zip(des.rows, des.marks, strict=True)} == {
        "fair": {"best"}, "good †": {""}, "poor": {"second"},
    }  # fmt: skip
    assert "† Neither marked nor ranked, for lack of images that others have: good lacks 2." in des.notes
    assert [row[0] for row in sip.rows] == ["fair", "good", "poor"]
    assert [row[0] for row in ranks.rows] == ["fair", "poor"]
    assert [rank.method for rank in found.ranks()] == ["fair", "poor"]
    assert list(found.ranks()[0].datasets) == ["DES", "SIP"]
    assert any("without good (†); all digits count" in sentence for sentence in conventions(found))
    markdown, latex = (path.read_text(encoding="utf-8") for path in write_comparison(found)[:2])
    assert r"good$^\dagger$ &" in latex
    assert "| good † |" in markdown


def test_equal_numbers_of_different_images_are_not_compared_either(tmp_path):
    write_layout(tmp_path, datasets=("A",), methods=("one", "two", "all"), images=3)
    for method, stem in (("one", "000"), ("two", "001")):
        (tmp_path / method / "A" / f"{stem}.png").unlink()
    [table] = comparison_tables(compare(read_config(tmp_path, allow_missing=True, **QUICK)))
    assert [row[0] for row in table.rows] == ["all", "one †", "two †"]
    assert not any(mark for marks in table.marks for mark in marks)


def test_empty_and_grey_masks(root):
    write_image(root / "GT" / "DES" / "000.png", np.zeros((20, 28), np.uint8))
    write_image(root / "GT" / "DES" / "001.png", np.linspace(0, 255, 560).reshape(20, 28).astype(np.uint8))
    counts = compare(read_config(root, **QUICK)).datasets["DES"].reports["good"].counts
    assert (counts["empty_target"], counts["grey_target"], counts["images"]) == (1, 1, 4)
    skipped = compare(read_config(root, empty_target="skip", **QUICK)).datasets["DES"]
    assert skipped.reports["good"].counts["skipped"] == 1
    assert skipped.common == 3
    with pytest.raises(ValueError, match=r"on DES: .*GT.DES: target: expected salient pixels .*, got none in 000;"):
        compare(read_config(root, empty_target="refuse", **QUICK))


def test_a_bad_file_is_named_and_the_others_are_kept(root, work):
    path = root / "poor" / "SIP" / "002.png"
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    with pytest.raises(ValueError, match=r"poor.SIP.002\.png: expected a whole image, got a truncated"):
        compare(read_config(root, **QUICK), workers=2)
    measured = work["measured"]
    assert measured >= 20
    path.write_bytes(whole)
    found = compare(read_config(root, **QUICK))
    assert sum(result.fresh for result in found.datasets.values()) == 24 - measured
    mask = root / "GT" / "SIP" / "003.png"
    write_image(mask, cv2.imread(str(mask), 0) // 255)
    with pytest.raises(
        ValueError, match=r"GT.SIP: expected masks of two levels, .* 0, 1 in 1 mask \(003\.png\); 0, 255 in"
    ):
        compare(read_config(root, **QUICK))


@pytest.mark.parametrize(("workers", "error"), [(0, ValueError), (-1, ValueError), (1.5, TypeError), (True, TypeError)])
def test_bad_workers(root, workers, error):
    with pytest.raises(error, match="workers: expected a whole number"):
        compare(read_config(root), workers=workers)


def test_one_method_has_neither_tests_nor_ranks(tmp_path):
    write_layout(tmp_path, methods=("ours",))
    found = compare(read_config(tmp_path, **QUICK))
    assert found.ranks() == []
    assert found.datasets["DES"].tests == ()
    assert set(found.datasets["DES"].intervals) == {"ours"}


def test_without_resamples_there_are_no_intervals_but_ranks_tests(root):
    comparison = compare(read_config(root, resamples=0, reference="good"))
    assert "p_wilcoxon: Wilcoxon's signed-rank test" in " ".join(conventions(comparison))
    assert "bootstrap" not in " ".join(conventions(comparison))
    found = comparison.datasets["DES"]
    assert found.intervals == {}
    assert {(test.first, test.second) for test in found.tests} == {("good", "fair"), ("good", "poor")}
    assert all(test.p_bootstrap is None and test.interval is None for test in found.tests)
    assert {test.score: test.p_wilcoxon is None for test in found.tests}["maxF"]
    assert not {test.score: test.p_wilcoxon is None for test in found.tests}["Sm"]


def test_what_every_method_reaches_is_neither_marked_nor_ranked(root):
    """At threshold 0 all is salient: these do not tell good from poor, whatever digits rounding leaves them."""
    constant = ["maxBER", "maxFPR", "maxRecall"]
    found = compare(read_config(root, metrics=["BER", "FPR", "recall"], scores=[*constant, "meanBER"], **QUICK))
    for table in comparison_tables(found)[:2]:
        for row, marks in zip(table.rows, table.marks, strict=True):
            assert row[1:4] == pytest.approx([0.5, 1, 1])
            assert marks[1:4] == ("", "", "")
    text = " ".join(conventions(found))
    assert f"because every pixel counts as salient at threshold 0: {', '.join(constant)}." in text
    assert "scored and over meanBER; all digits count" in text
    alone = compare(read_config(root, metrics=["BER"], scores=["meanBER"], **QUICK))
    assert found.ranks() == alone.ranks()
    only = compare(read_config(root, metrics=["BER"], scores=["maxBER"], **QUICK))
    assert only.ranks() == []
    assert "No ranks: no score tells the methods apart." in conventions(only)


def test_tests_of_few_images_are_said_to_say_little(tmp_path):
    write_layout(tmp_path, datasets=("A",), methods=("good", "poor"), images=19)
    write_layout(tmp_path, datasets=("B",), methods=("good", "poor"), images=20)
    found = compare(read_config(tmp_path, **QUICK))
    assert "Tests on fewer than 20 images hardly generalise to other images: A (19)." in conventions(found)
    assert any("at least 0.095 with 20 resamples, and 2/2^n with n images" in each for each in conventions(found))
