"""What a reader of the tables should know: the images behind the numbers, and how the numbers were computed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dynamic_kd._version import __version__
from dynamic_kd.evaluation._bootstrap import LEVEL
from dynamic_kd.evaluation._compare import Comparison
from dynamic_kd.evaluation._paired_tests import FEW
from dynamic_kd.evaluation._ranks import is_constant, unranked
from dynamic_kd.metrics import MetricReport

_COUNTED = {
    "resized": "resized to their masks",
    "other_shape": "with another aspect ratio than their masks, stretched onto them (check that they belong together)",
    "colour_pred": "in colour, of which the luma was scored (check that they are saliency maps)",
    "deep_pred": "with more than 8 bits, all of which count",
    "zero_one_pred": "of 0 and 1, where 1 stands for salient in the whole folder",
    "of_255_pred": "of 16 bits, where 255 stands for salient in the whole folder",
    "other_spelling": "whose map and mask have names that differ by Unicode normalisation only",
    "missing_pred": "left out: no map for the mask",
    "missing_target": "left out: no mask for the map",
    "empty_target": "with an empty mask",
    "full_target": "with a full mask",
    "constant_prediction": "with a constant map",
    "grey_target": "with a mask of many greys, cut at 128 (check that it is a mask)",
    "skipped": "skipped",
}


def image_notes(counts: Mapping[str, int]) -> str:
    """Return how many images there were, and what was found or done with some of them."""
    notes = [f"{counts[key]} {words}" for key, words in _COUNTED.items() if counts[key]]
    return "; ".join([f"{counts['images']} images", *notes])


def mask_notes(report: MetricReport) -> list[str]:
    """Return what the masks hold, and what of it was read as what, in sentences."""
    masks: Any = report.settings["masks"]
    stored = ", ".join(masks["stored"]) if len(masks["stored"]) == 1 else _counted(masks["stored"])
    edges = f", with grey edges in {masks['grey_edges']}" if masks["grey_edges"] else ""
    notes = [f"Stored as {stored}; levels {masks['levels'] or 'none'}{edges}.", *masks["notes"]]
    left_out: Any = report.settings["left_out"]
    if left_out:
        notes.append(
            f"Not computed: {' and '.join(left_out)}, which look at where pixels are, so that void ones "
            f"({masks['void_share']:.1%} of all) cannot be left out."
        )
    return notes


def _counted(stored: Mapping[str, int]) -> str:
    return "; ".join(f"{how} ({count})" for how, count in stored.items())


def conventions(comparison: Comparison) -> list[str]:
    """Return, sentence by sentence, how scores, intervals, tests and ranks were computed."""
    settings = comparison.config.settings
    normalised = "min-max normalised" if settings.normalize else "not normalised"
    cut = ">" if settings.strict else ">="
    sentences = [
        f"dynamic-kd {__version__}.",
        f"Maps {normalised}; E-measure with {cut} at the thresholds; empty masks: {settings.empty_target}.",
        "max and mean of F and E are those of the data set's mean curve.",
    ]
    if len(comparison.config.methods) > 1:
        sentences.append("Bold: best; underlined: second best, by the three decimals printed.")
    if comparison.left_out:
        sentences.append(f"Data sets left out, without maps of any method: {', '.join(comparison.left_out)}.")
    if settings.resamples:
        sentences.append(
            f"Intervals: {100 * LEVEL:.0f}%, percentile bootstrap over images, {settings.resamples} resamples, "
            f"seed {settings.seed}; for max the mean curve is resampled."
        )
    sentences += _about_tests(comparison)
    if len(comparison.config.methods) > 1:
        constant = [score for score in comparison.scores if is_constant(score)]
        if constant:
            sentences.append(
                f"Neither marked nor ranked, because every pixel counts as salient at threshold 0: "
                f"{', '.join(constant)}."
            )
        sentences.append(_about_ranks(comparison))
    return sentences


def _about_tests(comparison: Comparison) -> list[str]:
    settings = comparison.config.settings
    reference = settings.reference
    tested = {name: result.common for name, result in comparison.datasets.items() if result.tests}
    lacking = [name for name, result in comparison.datasets.items() if reference not in result.reports]
    untested = [f"Not tested, without maps of {reference}: {', '.join(lacking)}."] if reference and lacking else []
    if not tested:
        return untested
    pairs = f"each method against {reference}" if reference else "all pairs of methods"
    sentences = [f"Tests: {pairs}, on the images that all methods have."]
    if settings.resamples:
        sentences.append(
            f"p_bootstrap: two-sided paired bootstrap over images of the printed score; at least "
            f"{2 / (settings.resamples + 1):.2g} with {settings.resamples} resamples, and 2/2^n with n images."
        )
    sentences += [
        "p_wilcoxon: Wilcoxon's signed-rank test of the images' scores, for scores that are means over images.",
        "The p-values ending in _holm are corrected by Holm within a data set and score.",
        *untested,
    ]
    few = [f"{name} ({images})" for name, images in tested.items() if images < FEW]
    if few:
        sentences.append(f"Tests on fewer than {FEW} images hardly generalise to other images: {', '.join(few)}.")
    return sentences


def _about_ranks(comparison: Comparison) -> str:
    """Return what methods are ranked by, or why they are not ranked."""
    scores = [score for score in comparison.scores if not is_constant(score)]
    left_out = unranked(result.reports for result in comparison.datasets.values())
    if comparison.ranks():
        without = f", without {', '.join(left_out)} (†)" if left_out else ""
        return (
            f"Ranks: mean over the data sets on which every method was scored and over {', '.join(scores)}{without}; "
            f"all digits count, and equal scores share the mean of their places."
        )
    if not scores:
        return "No ranks: no score tells the methods apart."
    if len(comparison.config.methods) - len(left_out) < 2:
        return "No ranks: fewer than two methods were scored on every image (†)."
    return "No ranks: no data set has maps of every method."
