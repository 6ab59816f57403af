"""The scores of a data set with everything that belongs to them."""

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
    """Scores of a data set: a mapping from the names that papers print to floats, with counts, curves and settings.

    Attributes
    ----------
    scores
        MAE, maxF, meanF, adpF, wF, Sm, maxE, meanE and adpE by default; `SCORES` describes all. Max and mean are taken
        over the data set's mean curve. ``maxF_per_image`` and its like are means of each image's own maximum.
    counts
        Images scored, with an empty or a full target, with a constant prediction, skipped for an empty target, and left
        out as duplicates. After an evaluation of folders also those resized or missing.
    settings
        Version, backend and conventions behind the scores.
    curves
        Float64 arrays of shape (256,): threshold (k / 255, ascending), precision, recall, f_measure and e_measure,
        each the mean over images.
    names
        The images, in the order they were scored.
    rows
        Float64, one row of scores for each image.
    columns
        Names of the rows' columns.
    pooled
        Scores of the counts summed over all images, as of one large image, for metrics made of counts.
    per_image_curves
        A curve's name -> each image's own curve, shape (images, 256), if the accumulator keeps them.

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
            raise KeyError(f"{name!r} is not among this report's scores: {', '.join(self.scores)}")
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
