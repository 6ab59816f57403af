"""Reports with random scores."""

from dynamic_kd.metrics import MetricReport

SCORES = ("MAE", "maxF", "meanF", "wF", "Sm", "maxE")


def random_report(rng, images, *, names=None, error=None):
    """Return a report with random scores and F-measure curves, of images that are called 0, 1, ..."""
    rows, curves = rng.random((images, len(SCORES))), rng.random((images, 256))
    if error is not None:
        rows[:, 0] = error
    scores = dict(zip(SCORES, rows.mean(axis=0).tolist(), strict=True)) | {"maxF": float(curves.mean(axis=0).max())}
    names = tuple(map(str, range(images))) if names is None else names
    return MetricReport(
        scores=scores, counts={}, settings={}, curves={"f_measure": curves.mean(axis=0)}, names=names, rows=rows,
        columns=SCORES, per_image_curves={"f_measure": curves},
    )  # fmt: skip
