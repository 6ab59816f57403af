"""What an evaluation found, and the settings that made it."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, eq=False)
class MetricReport(Mapping[str, float]):
    """Scores of a data set: a mapping from the names papers print to floats, with all that belongs to them.

    Attributes
    ----------
    scores
        MAE, maxF, meanF, adpF, wF, Sm, maxE, meanE and adpE, where max and mean are taken over the data set's mean
        curve; and maxF_per_image and maxE_per_image, means of each image's own maximum. Other metrics' scores in
        the same way.
    counts
        Images scored, with an empty or a full target, with a constant prediction, skipped for their empty target, and
        left out because their name had come before; after an evaluation of folders also those resized or missing.
    settings
        Version, backend and conventions that made the scores.
    curves
        Float64 arrays of shape (256,): threshold (k / 255, ascending), precision, recall, f_measure and e_measure,
        each the mean over images.
    names
        The images, in the order they were scored.
    rows
        Float64, one row for each image: its own MAE, maxF, ..., adpE, or what else was measured.
    columns
        Names of the rows' columns.
    pooled
        Scores, such as maxF, of the counts summed over all images, as if these were one; of metrics made of counts.
    per_image_curves
        From a curve's name to each image's own, shape (images, 256), if the accumulator was told to keep them.

    Examples
    --------
    >>> import numpy as np
    >>> from dynamic_kd.metrics import SODMetrics
    >>> metrics = SODMetrics()
    >>> metrics.update(np.eye(4), np.eye(4, dtype=bool), names=["diagonal"])
    >>> report = metrics.compute()
    >>> report.per_image[0]["name"], report["Sm"] == report.as_dict()["Sm"]
    ('diagonal', True)
    """

    scores: dict[str, float]
    counts: dict[str, int]
    settings: dict[str, object]
    curves: dict[str, npt.NDArray[np.float64]]
    names: tuple[str, ...]
    rows: npt.NDArray[np.float64]
    columns: tuple[str, ...]
    pooled: dict[str, float] = field(default_factory=dict)
    per_image_curves: dict[str, npt.NDArray[np.float64]] = field(default_factory=dict)

    def __getitem__(self, name: str) -> float:
        if name not in self.scores:
            raise KeyError(f"{name!r} is none of this report's scores: {', '.join(self.scores)}")
        return self.scores[name]

    def __contains__(self, name: object) -> bool:
        return name in self.scores

    def __iter__(self) -> Iterator[str]:
        return iter(self.scores)

    def __len__(self) -> int:
        return len(self.scores)

    def __repr__(self) -> str:
        scores = ", ".join(f"{name}={self.scores[name]:.4f}" for name in self.columns)
        return f"MetricReport({self.counts['images']} images: {scores})"

    @cached_property
    def per_image(self) -> list[dict[str, Any]]:
        """One dictionary for each image: its name and its own scores."""
        return [
            {"name": name, **dict(zip(self.columns, map(float, row), strict=True))}
            for name, row in zip(self.names, self.rows, strict=True)
        ]

    def as_dict(self) -> dict[str, float]:
        """Return the scores alone, as a plain dictionary."""
        return dict(self.scores)

    def to_json(self) -> str:
        """Return everything as JSON: scores, counts, settings, curves and per-image rows."""
        content = {
            "scores": self.scores,
            "pooled": self.pooled,
            "counts": self.counts,
            "settings": self.settings,
            "curves": {name: curve.tolist() for name, curve in self.curves.items()},
            "per_image": self.per_image,
        }
        return json.dumps(content, indent=1) + "\n"

    def per_image_csv(self) -> str:
        """Return the per-image rows as CSV, every digit kept."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["name", *self.columns])
        writer.writerows([name, *map(repr, row)] for name, row in zip(self.names, self.rows.tolist(), strict=True))
        return text.getvalue()
