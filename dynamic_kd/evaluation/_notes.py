"""What a reader of a table should know of the images behind it."""

from __future__ import annotations

from collections.abc import Mapping

SENTENCES = {
    "resized": "resized to their masks",
    "other_shape": "of another shape (aspect ratio) than their masks, stretched onto them (are they of these images?)",
    "colour_pred": "in colour, read as their luma (are they maps?)",
    "missing_pred": "left out: no map for the mask",
    "missing_target": "left out: no mask for the map",
    "empty_target": "with an empty mask",
    "full_target": "with a full mask",
    "constant_prediction": "with a constant map",
    "grey_target": "with a mask of greys, cut at 128 (is it a mask?)",
    "skipped": "skipped",
}


def image_notes(counts: Mapping[str, int]) -> str:
    """Return one sentence of how many images there were, and what was found or done with some of them."""
    notes = [f"{counts[key]} {words}" for key, words in SENTENCES.items() if counts[key]]
    return "; ".join([f"{counts['images']} images", *notes])
