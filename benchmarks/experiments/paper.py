"""The numbers of the paper's ablations (Tables 3 to 5)."""

from __future__ import annotations

from collections.abc import Mapping

SCORES = ("meanF", "wF", "MAE")

_TABLE_3 = ("RGB", "RGBD", "s=0.3", "s=0.5", "s=0.7", "dynamic", "+threshold")
_TABLE_5 = ("s=0.3", "s=0.5", "s=0.7", "dynamic")


def _columns(names: tuple[str, ...], *numbers: tuple[float, float, float]) -> dict[str, tuple[float, float, float]]:
    return dict(zip(names, numbers, strict=True))


# Number -> data set -> column -> mean F, wF and MAE.
PAPER_TABLES: Mapping[int, Mapping[str, Mapping[str, tuple[float, float, float]]]] = {
    3: {
        "SIP": _columns(
            _TABLE_3,
            (0.704, 0.654, 0.108), (0.773, 0.724, 0.086), (0.832, 0.796, 0.063), (0.845, 0.805, 0.061),
            (0.843, 0.809, 0.059), (0.849, 0.811, 0.058), (0.853, 0.817, 0.056),
        ),
        "NJUD": _columns(
            _TABLE_3,
            (0.776, 0.739, 0.080), (0.830, 0.799, 0.060), (0.902, 0.895, 0.030), (0.902, 0.889, 0.034),
            (0.898, 0.880, 0.037), (0.904, 0.893, 0.032), (0.914, 0.901, 0.030),
        ),
        "NLPR": _columns(
            _TABLE_3,
            (0.780, 0.746, 0.046), (0.816, 0.781, 0.041), (0.873, 0.877, 0.022), (0.876, 0.875, 0.024),
            (0.870, 0.865, 0.026), (0.876, 0.876, 0.024), (0.890, 0.887, 0.021),
        ),
        "LFSD": _columns(
            _TABLE_3,
            (0.713, 0.656, 0.142), (0.784, 0.741, 0.102), (0.825, 0.780, 0.086), (0.832, 0.793, 0.080),
            (0.830, 0.790, 0.080), (0.834, 0.795, 0.078), (0.835, 0.796, 0.078),
        ),
    },
    4: {
        "SIP": {"teacher": (0.864, 0.829, 0.054), "student": (0.848, 0.811, 0.058)},
        "DES": {"teacher": (0.891, 0.848, 0.028), "student": (0.892, 0.870, 0.025)},
    },
    5: {
        "NLPR": _columns(
            _TABLE_5,
            (0.882, 0.869, 0.024), (0.876, 0.865, 0.025), (0.876, 0.866, 0.027), (0.884, 0.879, 0.024),
        ),
        "LFSD": _columns(
            _TABLE_5,
            (0.790, 0.745, 0.104), (0.786, 0.735, 0.106), (0.788, 0.751, 0.101), (0.798, 0.753, 0.097),
        ),
    },
}  # fmt: skip


def paper_row(table: int, column: str) -> dict[str, dict[str, float]]:
    """Return data set -> score -> number of a column of a paper's table; empty if the table has no such column."""
    sets = PAPER_TABLES[table]
    return {
        name: dict(zip(SCORES, columns[column], strict=True)) for name, columns in sets.items() if column in columns
    }
