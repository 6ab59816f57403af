"""The folder a demo leaves behind."""

from __future__ import annotations

import json
import platform
import shutil
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dynamic_kd
from dynamic_kd._extras import opencv
from dynamic_kd._figures import write_figure
from dynamic_kd._files import write_whole
from dynamic_kd._tables import rounded
from dynamic_kd.metrics import plot_curves, table
from dynamic_kd.models import save_model
from dynamic_kd.training._demo_networks import STUDENTS, TEACHER, student_recipe
from dynamic_kd.training._figures import contact_sheet, picture_grid
from dynamic_kd.training._logs import STAGES

if TYPE_CHECKING:
    from dynamic_kd.data import Sample
    from dynamic_kd.training._demo import DemoResult

FILES = {
    "table.md": "the scores, for reading",
    "table.csv": "the scores, every digit",
    "results.json": "scores, counts, settings, versions and times",
    "curves.png": "precision-recall and F-measure curves",
    "pictures.png": "image, depth, truth and each method's map",
    "noise.csv": "the teacher's IoU of each training sample, and its flag",
    "noise.png": "the training samples the teacher trusts least",
    "weights": "the networks as safetensors, settings in their metadata",
    "maps": "saliency maps of the test set by method, and the masks",
}
_PACKAGES = ("numpy", "scipy", "torch", "opencv-python-headless", "matplotlib", "safetensors")


def prepare(folder: Path, *, overwrite: bool = False) -> None:
    """Make the folder; what another run left in it is an error, or is removed under ``overwrite``.

    Raises
    ------
    ValueError
        If the path is a file, or the folder is not empty and ``overwrite`` is off.
    """
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder}: expected a folder for the results, got a file")
    if folder.is_dir() and any(folder.iterdir()):
        if not overwrite:
            raise ValueError(
                f"{folder}: expected a new or empty folder, got a filled one; name another or overwrite it"
            )
        for name in FILES:
            path = folder / name
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
    folder.mkdir(parents=True, exist_ok=True)


def write(folder: Path, result: DemoResult) -> None:
    """Write every file of `FILES`."""
    texts = {
        "table.md": _markdown(result),
        "table.csv": table(result.reports, "csv"),
        "results.json": json.dumps(_as_json(result), indent=1) + "\n",
        "noise.csv": result.noise.csv(),
    }
    for name, text in texts.items():
        write_whole(folder / name, text.encode())
    shown = _shown(result.test)
    columns = {name: [maps[position, 0] for position in shown] for name, maps in result.maps.items()}
    rows = [result.test[position] for position in shown]
    figures = {
        "curves.png": plot_curves(result.reports),
        "pictures.png": picture_grid(rows, columns, truth_known=result.truth_known),
        "noise.png": contact_sheet(result.train, result.noise),
    }
    for name, figure in figures.items():
        write_figure(folder / name, figure)
    _write_weights(folder / "weights", result)
    _write_maps(folder / "maps", result)


def slug(name: str) -> str:
    """Return a method's name as a file name."""
    words = "".join(char if char.isalnum() or char == "." else " " for char in name).split()
    return "-".join(words if name == TEACHER else ["student", *words])


def sentences(result: DemoResult) -> list[str]:
    """Return what a reader of the numbers should know, a sentence each."""
    size = result.settings.recipe.data.size
    said = [f"{len(result.train)} training and {len(result.test)} test samples, {size} pixels wide."]
    if result.near:
        said += [f"Near is {near} in the depth files of {name}." for name, near in result.near.items()]
    noise = result.noise.summary()
    said.append(
        f"The teacher's IoU is at most {result.noise.threshold:g} on {noise['flagged']} of {noise['samples']} "
        "training samples; noise elimination sets them aside."
    )
    if result.truth_known:
        precision, recall, auc = (_or_dash(noise[key]) for key in ("precision", "recall", "auc"))
        said.append(
            f"Really spoilt are {noise['spoilt']} depth maps: precision of the flags {precision}, recall {recall}, "
            f"AUC of the IoU {auc}."
        )
    return said


def _or_dash(value: float | None) -> str:
    return "-" if value is None else rounded(value)


def _markdown(result: DemoResult) -> str:
    parts = [table(result.reports)]
    if result.by_depth:
        parts.append("max F on the test samples with clean and with spoilt depth:\n")
        depths = list(next(iter(result.by_depth.values())))
        lines = [["method", *depths], ["---"] * (1 + len(depths))]
        lines += [[name, *(rounded(each[d]["maxF"]) for d in depths)] for name, each in result.by_depth.items()]
        parts.append("".join(f"| {' | '.join(cells)} |\n" for cells in lines))
    parts.append("\n".join(sentences(result)) + "\n")
    return "\n".join(parts)


def _as_json(result: DemoResult) -> dict[str, Any]:
    settings = asdict(result.settings) | {"recipe": result.settings.recipe.as_dict(), "students": STUDENTS}
    return {
        "scores": {name: report.as_dict() for name, report in result.reports.items()},
        "scores_by_depth": {
            name: {depth: report.as_dict() for depth, report in each.items()} for name, each in result.by_depth.items()
        },
        "counts": {name: report.counts for name, report in result.reports.items()},
        "noise": result.noise.summary(),
        "samples": {"train": len(result.train), "test": len(result.test), "near": result.near},
        "parameters": {name: sum(p.numel() for p in model.parameters()) for name, model in result.models.items()},
        "settings": settings,
        "metrics": next(iter(result.reports.values())).settings,
        "versions": {"dynamic-kd": dynamic_kd.__version__, "python": platform.python_version()}
        | {name: metadata.version(name) for name in _PACKAGES},
        "platform": platform.platform(),
        "seconds": {step: round(seconds, 2) for step, seconds in result.seconds.items()},
    }


def _shown(samples: list[Sample], rows: int = 8) -> list[int]:
    """Positions of the samples to show: in turn a clean depth map and one of each spoilt kind."""
    by_kind: dict[str, list[int]] = {}
    for position, sample in enumerate(samples):
        by_kind.setdefault(sample.spoilt or "", []).append(position)
    kinds = [by_kind[kind] for kind in sorted(by_kind)]
    longest = max(map(len, kinds))
    turns = [kind[turn] for turn in range(longest) for kind in kinds if turn < len(kind)]
    return sorted(turns[:rows], key=lambda position: samples[position].spoilt or "")


def _write_weights(folder: Path, result: DemoResult) -> None:
    recipe = result.settings.recipe
    for name, model in result.models.items():
        stage = STAGES[1 if name == TEACHER else 2]
        own = recipe if name == TEACHER else student_recipe(recipe, name)
        save_model(model, folder / f"{slug(name)}.safetensors", stage=stage, recipe=own.as_dict())


def _write_maps(folder: Path, result: DemoResult) -> None:
    cv2 = opencv()
    masks = [255 * sample.mask.astype("uint8") for sample in result.test]
    columns = {slug(name): maps[:, 0] for name, maps in result.maps.items()} | {"masks": masks}
    for column, pictures in columns.items():
        for sample, picture in zip(result.test, pictures, strict=True):
            path = folder / column / f"{sample.name.replace('/', '-')}.png"
            write_whole(path, cv2.imencode(".png", picture)[1].tobytes())
