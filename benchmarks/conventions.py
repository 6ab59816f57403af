"""How far each convention of the metrics moves each score, on folders of real maps and masks.

Run ``python benchmarks/conventions.py NAME=MAPS,MASKS ...``. Every choice is compared with the library's convention on
the same images. A row holds both scores, their difference, and the differences of single images where each image has
a score. PySODMetrics and torchmetrics are compared too. `_other_conventions.py` implements the conventions of other
scripts. Its S is first checked against the library's for equal centroids.
"""

import argparse
import warnings
from functools import partial
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import py_sod_metrics
import torch
from _environment import environment, write_rows
from _other_conventions import (
    flipped,
    in_floats,
    map_to_mask,
    mask_to_map,
    normalised,
    own_numbers,
    rate_at,
    same,
    squeezed,
    with_greys,
)
from torchmetrics.classification import BinaryF1Score, BinaryJaccardIndex

from dynamic_kd.data import match_by_stem, read_gray
from dynamic_kd.metrics import SODMetrics

RESULTS = Path(__file__).parent / "results" / "conventions.csv"
FIVE = ("MAE", "F", "wF", "S", "E")
ALL = (*FIVE, "FPR", "IoU", "Dice", "BER", "OA", "kappa", "AUC")


class Way(NamedTuple):
    """One way to score: what is done to a pair, and the accumulator's settings."""

    prepare: object
    settings: dict


WAYS = {
    "convention": Way(same, {"metrics": ALL, "per_image_curves": True}),
    "not normalised": Way(same, {"normalize": False}),
    "strict": Way(same, {"metrics": ["E"], "strict": True}),
    "mask > 0": Way(with_greys, {}),
    "flipped": Way(flipped, {"metrics": ["wF", "S"]}),
    "map to mask": Way(map_to_mask, {}),
    "map to mask, nearest": Way(partial(map_to_mask, interpolation=cv2.INTER_NEAREST), {}),
    "squeezed": Way(squeezed, {}),
    "squeezed, not normalised": Way(squeezed, {"normalize": False}),
    "squeezed, strict": Way(squeezed, {"metrics": ["E"], "strict": True}),
    "mask to map": Way(mask_to_map, {}),
    "floats": Way(in_floats, {}),
    "floats, quantized": Way(in_floats, {"quantize": True}),
}
# What is printed, and the ways that are compared.
COMPARED = {
    "maps not normalised": ("convention", "not normalised"),
    "E cut with > (strict)": ("convention", "strict"),
    "masks cut at > 0": ("convention", "mask > 0"),
    "images flipped left to right": ("convention", "flipped"),
    "256 x 256 maps: mask resized to the map, nearest": ("map to mask", "mask to map"),
    "256 x 256 maps: resized to the mask by nearest, not bilinear": ("map to mask", "map to mask, nearest"),
    "maps of levels 25 to 229: not normalised": ("squeezed", "squeezed, not normalised"),
    "maps of levels 25 to 229: E cut with > (strict)": ("squeezed", "squeezed, strict"),
    "float maps scored as they are, not as 8 bits": ("floats, quantized", "floats"),
}
# Means of the largest values of rates that rise to the same value for every map.
TRIVIAL = ("maxFPR", "maxBER", "maxFPR_per_image", "maxBER_per_image")
PEER_CURVES = {"F": ("Fmeasure", "fm"), "E": ("Emeasure", "em")}


class Peer:
    """Scores of the same images by PySODMetrics and torchmetrics."""

    def __init__(self):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            names = ("MAE", "WeightedFmeasure", "Smeasure", "Fmeasure", "Emeasure")
            self.measures = {name: getattr(py_sod_metrics, name)() for name in names}
        handler = py_sod_metrics.KappaHandler(False, False, with_binary=True)
        self.measures["FmeasureV2"] = py_sod_metrics.FmeasureV2({"kappa": handler})
        self.pooled = {"binIoU": BinaryJaccardIndex(), "binDice": BinaryF1Score()}

    def step(self, pred, mask):
        for metric in self.pooled.values():
            metric.update(torch.from_numpy(np.float32(pred) / 255), torch.from_numpy(mask > 128))
        for measure in self.measures.values():
            measure.step(pred=pred, gt=mask)

    def scores(self):
        results = {name: measure.get_results() for name, measure in self.measures.items()}
        scores = {"MAE": results["MAE"]["mae"], "wF": results["WeightedFmeasure"]["wfm"]}
        scores["Sm"] = results["Smeasure"]["sm"]
        for name, (measure, key) in PEER_CURVES.items():
            found = results[measure][key]
            scores |= {f"max{name}": found["curve"].max(), f"mean{name}": found["curve"].mean()}
            scores[f"adp{name}"] = found["adp"]
        return scores | {"binKappa": results["FmeasureV2"]["kappa"]["binary"]}


def f_of(precision, recall, beta_squared=0.3):
    below = beta_squared * precision + recall
    return (1 + beta_squared) * precision * recall / np.where(below > 0, below, 1)


def from_curves(report, sizes):
    """Rows (choice, score, convention, other) that follow from the images' own curves."""
    own = report.per_image_curves
    precision, recall, false = own["precision"], own["recall"], own["false_positive_rate"]
    for name, beta_squared in (("beta squared 1", 1.0), ("beta squared 0.09 (beta 0.3)", 0.09)):
        curve = f_of(precision, recall, beta_squared).mean(axis=0)
        yield name, "maxF", report["maxF"], curve.max()
        yield name, "meanF", report["meanF"], curve.mean()
    of_means = f_of(precision.mean(axis=0), recall.mean(axis=0))
    yield "F of the mean precision and recall", "maxF", report["maxF"], of_means.max()
    yield "F of the mean precision and recall", "meanF", report["meanF"], of_means.mean()
    for score in (name for name in report if name.endswith("_per_image") and name not in TRIVIAL):
        mean_curve = report[score.removesuffix("_per_image")]
        yield "mean of each image's own maximum", score.removesuffix("_per_image"), mean_curve, report[score]
    for score in (name for name in report.pooled if name not in TRIVIAL):
        value = report.pooled[score]
        yield "counts pooled over all images", score, report[score], value
    aligned = (own["e_measure"] * (1 - 1 / sizes[:, None])).mean(axis=0)
    yield "E divided by N", "maxE", report["maxE"], aligned.max()
    yield "E divided by N", "meanE", report["meanE"], aligned.mean()
    steps = recall - np.pad(recall[:, 1:], ((0, 0), (0, 1)))
    yield "average precision", "AUC-PR", report["AUC-PR"], (steps * precision).sum(axis=1).mean()
    closing = recall[:, -1] * np.where(recall[:, -1] > 0, precision[:, -1] + 1, 0) / 2
    yield "no point at recall 0", "AUC-PR", report["AUC-PR"], report["AUC-PR"] - closing.mean()
    closing = (false[:, -1] * recall[:, -1] / 2).mean()
    yield "no point at (0, 0)", "AUC-ROC", report["AUC-ROC"], report["AUC-ROC"] - closing


THRESHOLDS = {
    "20 thresholds from 0 to 1": np.linspace(0, 1, 20),
    "255 thresholds from 0 to below 1": np.linspace(0, 1 - 1e-10, 255),
}


def measure(maps, masks, limit):
    """All rows of one set: (choice, score, convention, other, mean and largest change of an image)."""
    totals = {name: SODMetrics(**way.settings) for name, way in WAYS.items()}
    peer, numbers, sizes = Peer(), [], []
    curves = {name: [] for name in THRESHOLDS}
    files = list(match_by_stem(pred=maps, target=masks).files.items())[:limit]
    for stem, pair in files:
        pred, mask = read_gray(pair["pred"]), read_gray(pair["target"])
        if pred.shape != mask.shape:
            pred = cv2.resize(pred, mask.shape[::-1])
        for name, way in WAYS.items():
            totals[name].update(*way.prepare(pred, mask), names=[stem])
        peer.step(pred, mask)
        numbers.append(own_numbers(pred, mask))
        sizes.append(mask.size)
        for name, thresholds in THRESHOLDS.items():
            curves[name].append(rate_at(normalised(pred), mask > 128, thresholds))
    reports = {name: total.compute() for name, total in totals.items()}
    return len(files), list(rows_of(reports, peer, numbers, np.array(sizes), curves))


def rows_of(reports, peer, numbers, sizes, curves):
    report = reports["convention"]
    for choice, names in COMPARED.items():
        first, other = (reports[name] for name in names)
        for score in other.columns:
            images = [each.rows[:, each.columns.index(score)] for each in (first, other)]
            yield choice, score, first[score], other[score], *moved(*images)
    for row in from_curves(report, sizes):
        yield (*row, "", "")
    for choice, images in curves.items():
        curve = np.mean(images, axis=0)
        yield choice, "maxF", report["maxF"], curve.max(), "", ""
        yield choice, "meanF", report["meanF"], curve.mean(), "", ""
    for choice, score in numbers[0]:
        first, other = np.array([each[choice, score] for each in numbers]).T
        yield choice, score, first.mean(), other.mean(), *moved(first, other)
    for score, value in peer.scores().items():
        yield "PySODMetrics", score, report[score], value, "", ""
    for score, metric in peer.pooled.items():
        yield f"torchmetrics {type(metric).__name__}", score, report[score], float(metric.compute()), "", ""


def moved(first, other):
    change = np.abs(first - other)
    return change.mean(), change.max()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="+", metavar="NAME=MAPS,MASKS", help="folders of maps and masks, paired by stem")
    parser.add_argument("--limit", type=int, help="the first images of each set only")
    arguments = parser.parse_args()
    where, rows = environment("numpy", "numba", "opencv-python-headless", "pysodmetrics", "torchmetrics"), []
    for text in arguments.sets:
        name, _, folders = text.partition("=")
        images, found = measure(*folders.split(","), arguments.limit)
        columns = ("choice", "score", "convention", "other", "change", "mean_image_change", "largest_image_change")
        for choice, score, first, other, *changes in found:
            values = (choice, score, *(rounded(each) for each in (first, other, other - first, *changes)))
            rows.append({"set": name, "images": images, **dict(zip(columns, values, strict=True)), **where})
            print(name, *values, sep=" | ")
    write_rows(RESULTS, rows)


def rounded(value):
    if value == "":
        return value
    return f"{value:.6f}" if abs(value) >= 1e-4 or value == 0 else f"{value:.1e}"


if __name__ == "__main__":
    main()
