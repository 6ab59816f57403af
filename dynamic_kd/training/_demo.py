"""The demo: `train`, `predict_folder` and `compare` for a teacher with wrong maps and four students."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from dynamic_kd._checks import check_whole
from dynamic_kd._extras import opencv, require
from dynamic_kd._figures import COLOURS, write_figure
from dynamic_kd._files import write_whole
from dynamic_kd.evaluation import compare, read_config, write_comparison
from dynamic_kd.training._predict import predict_folder
from dynamic_kd.training._recipe_data import find_folders, read_recipe_data
from dynamic_kd.training._recipe_file import read_recipe
from dynamic_kd.training._run_folder import RESULTS, weights_file
from dynamic_kd.training._sections import Data
from dynamic_kd.training._train import train

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from matplotlib.figure import Figure

    from dynamic_kd.evaluation import Comparison, DataSetResult
    from dynamic_kd.training._image_set import ImageSet
    from dynamic_kd.training._predict_folders import PredictedFolder
    from dynamic_kd.training._recipe import Recipe
    from dynamic_kd.training._recipe_data import RecipeData

    Progress = Callable[[str, int, int], None]
    Note = Callable[[str], None]

TEACHER = "teacher"
STUDENTS: dict[str, dict[str, Any]] = {
    "no teacher": {"weighting": "none"},
    "fixed weight": {"weighting": 0.5, "noise_elimination": None},
    "fixed weight + noise elimination": {"weighting": 0.5, "noise_elimination": "absolute"},
    "dynamic weight + noise elimination": {"weighting": "dynamic", "noise_elimination": "absolute"},
}
"""The students by name, and the loss settings of each; weighting "none" trains without the teacher."""

WRONG = 0.6
"""Share of the teacher's maps that are swapped."""

_ALONE, _FIXED, _, _METHOD = STUDENTS
_CONFIG, _FIGURE, _OWN_FILES = "compare.toml", "scores.png", ("runs", "data", "maps", "comparison")
_TEST_SHARE = 0.3
_EPOCHS = (4, 60)  # bounds where the size of the data set decides


def run_demo(
    out: str | Path,
    *,
    data: str | Path | None = None,
    near: str = "auto",
    size: int = 96,
    epochs: int | None = None,
    seed: int = 0,
    overwrite: bool = False,
    progress: Progress = lambda step, done, total: None,
    note: Note = lambda text: None,
) -> tuple[Comparison, list[str]]:
    """Train a teacher, swap 60% of its training maps, distil students from them, and compare all on test images.

    Parameters
    ----------
    out : str or Path
        Folder for everything: ``data/train`` and ``data/test``, the images; ``runs/NAME``, a run folder of `train` for
        each network; ``maps/NAME``, the maps of `predict_folder`; ``compare.toml`` and ``comparison``, the tables and
        figures of `dynamic_kd.evaluation.compare`; ``scores.png``, the weighted F of each network.
    data : str or Path, optional
        RGB-D data sets to use instead of the synthetic one; 30% of their images, chosen by the seed, are for testing.
    near : {"auto", "bright", "dark"}
        Whether bright or dark means near in the depth files of ``data``.
    size : int
        Height and width of all images.
    epochs : int, optional
        Passes of each student over the training set; the teacher takes 3/2 as many. By default as the recipe says; with
        ``data``, as many as take the same number of steps, from 4 to 60.
    seed : int
        Of everything random. The same seed gives the same numbers on the same machine.
    overwrite : bool
        Replace an earlier demo in ``out``.
    progress : callable
        Called with the name of a step, how much of it is done, and how much there is.
    note : callable
        Called with what the user should know of the data and the teacher.

    Returns
    -------
    comparison : Comparison
        Of teacher and students on the test images.
    findings : list of str
        What the scores show, in sentences that are computed from them.

    Raises
    ------
    ValueError
        If a setting is out of range, if ``out`` holds other files, or if the data cannot be read.

    Notes
    -----
    All networks train on the CPU. The teacher's own maps of the test images are not swapped.
    """
    require("cv2", "matplotlib", "tomli_w", extra="train")
    import tomli_w

    out = Path(out)
    recipe = read_recipe("demo", {"seed": seed, "data.size": size})
    check_whole("epochs", epochs, low=1, optional=True)
    _check_folder(out, overwrite=overwrite)
    parts = _parts(recipe, None if data is None else Path(data), near, progress, note)
    if epochs is None and data is not None:
        fitting = round(recipe.training.epochs * recipe.data.train_count / len(parts["train"][1]))
        epochs = min(max(fitting, _EPOCHS[0]), _EPOCHS[1])
    if epochs is not None:
        recipe = _with_epochs(recipe, epochs)
    _remove_earlier(out)
    for part, (images, chosen) in parts.items():
        _write_images(out / "data" / part, images, chosen)
    recipe = replace(recipe, data=_data(out, size))
    predicted = _train_and_predict(replace(recipe, teacher_only=True), TEACHER, out, progress, note)
    taught = _taught(recipe, predicted["train"].maps)
    methods = {TEACHER: predicted["test"]}
    for name, settings in STUDENTS.items():
        student = replace(taught, loss=replace(taught.loss, **settings))
        methods[name] = _train_and_predict(student, name, out, progress, lambda text: None)["test"]
    config = {
        "output": "comparison",
        "datasets": {"test": {"target": "data/test/GT", "image": "data/test/RGB"}},
        "methods": {name: {"maps": {"test": str(of.maps.relative_to(out))}} for name, of in methods.items()},
        "settings": {"grid": "worst:4"},
    }
    write_whole(out / _CONFIG, tomli_w.dumps(config).encode())
    comparison = compare(read_config(out / _CONFIG), progress=partial(_advance, progress, "comparison"))
    write_comparison(comparison)
    write_figure(out / _FIGURE, _bars(comparison.datasets["test"]))
    return comparison, _findings(out / "runs" / _METHOD, comparison.datasets["test"])


def _parts(
    recipe: Recipe, root: Path | None, near: str, progress: Progress, note: Note
) -> dict[str, tuple[ImageSet, Sequence[int]]]:
    """Return the images for training and for testing, and which of them."""
    if root is None:
        train_set, test_set, _ = _read(recipe, progress, note)
        assert test_set is not None
        return {"train": (train_set, range(len(train_set))), "test": (test_set, range(len(test_set)))}
    data = Data(source="folders", root=str(root), train=({"folder": "."},), near=near, size=recipe.data.size)
    images = _read(replace(recipe, data=data), progress, note).train
    if len(images) < 4:
        raise ValueError(f"{root}: has {len(images)} samples; training and testing take at least 4")
    order = np.random.default_rng(recipe.seed).permutation(len(images))
    tested = min(max(1, round(_TEST_SHARE * len(images))), len(images) - 1)
    return {"train": (images, sorted(order[tested:])), "test": (images, sorted(order[:tested]))}


def _read(recipe: Recipe, progress: Progress, note: Note) -> RecipeData:
    return read_recipe_data(recipe, find_folders(recipe), torch.device("cpu"), progress, note)


def _with_epochs(recipe: Recipe, epochs: int) -> Recipe:
    """Return the recipe with other epochs of the student, and the teacher's in proportion."""
    teachers = max(1, round(epochs * recipe.teacher_training.epochs / recipe.training.epochs))
    training = replace(recipe.teacher_training, epochs=teachers)
    return replace(
        recipe,
        teacher=replace(recipe.teacher, training=training),
        training=replace(recipe.training, epochs=epochs),
    )


def _check_folder(out: Path, *, overwrite: bool) -> None:
    """Raise if the path is a file, or the folder is not empty and ``overwrite`` is off."""
    if out.exists() and not out.is_dir():
        raise ValueError(f"{out}: is a file; name a folder for the results")
    if out.is_dir() and any(out.iterdir()) and not overwrite:
        raise ValueError(f"{out}: is not empty; name another folder, or replace an earlier demo (--overwrite)")


def _remove_earlier(out: Path) -> None:
    """Remove what an earlier demo wrote."""
    for name in (_CONFIG, _FIGURE, *_OWN_FILES):
        path = out / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _write_images(folder: Path, images: ImageSet, chosen: Sequence[int]) -> None:
    """Write samples as a data set of PNG files."""
    cv2 = opencv()
    for position in chosen:
        sample = images.sample(int(position))
        assert sample.depth is not None
        pictures = {
            "RGB": sample.image[..., ::-1],
            "depth": np.rint(65535 * sample.depth).astype(np.uint16),
            "GT": 255 * sample.mask.astype(np.uint8),
        }
        for role, picture in pictures.items():
            path = folder / role / f"{sample.name.replace('/', '-')}.png"
            write_whole(path, cv2.imencode(".png", picture)[1].tobytes())


def _data(out: Path, size: int) -> Data:
    """Return the recipe's section for the images that the demo wrote."""
    train, test = ({"folder": "train"},), ({"folder": "test"},)
    root = str((out / "data").resolve())
    return Data(source="folders", root=root, train=train, validation=test, near="bright", size=size)


def _taught(recipe: Recipe, maps: Path) -> Recipe:
    """Return the recipe of students that learn from a folder of maps, some of which are swapped."""
    teacher = replace(
        recipe.teacher, model="maps", training=None, maps=f"{maps.resolve()}/", spoil="swapped", spoil_share=WRONG
    )
    return replace(recipe, teacher=teacher)


def _train_and_predict(
    recipe: Recipe, name: str, out: Path, progress: Progress, note: Note
) -> dict[str, PredictedFolder]:
    """Train a network and predict all images; return the maps of both parts."""
    run, advance = out / "runs" / name, partial(_advance, progress, name)
    train(recipe, run, cpu=True, progress=advance, note=note)
    weights = weights_file(run, recipe.stages[-1], "last")
    predicted = predict_folder(
        weights, out / "data", out / "maps" / name, near="bright", device="cpu", progress=advance
    )
    return {part: folder for part in ("train", "test") for folder in predicted.folders if folder.maps.name == part}


def _advance(progress: Progress, name: str, step: str, done: int, total: int) -> None:
    progress(f"{name}: {step}", done, total)


def _bars(result: DataSetResult) -> Figure:
    """Draw the weighted F of each network, with its 95% interval over images."""
    from matplotlib.figure import Figure

    names = list(result.reports)
    scores = np.array([report["wF"] for report in result.reports.values()])
    ends = np.array([of_network["wF"][:2] for of_network in result.intervals.values()])
    figure = Figure(figsize=(7, 2.8), layout="constrained", dpi=130)
    axes = figure.subplots()
    colours = ["0.75", "0.55", COLOURS[1], COLOURS[0], COLOURS[0]]
    bars = axes.barh(names, scores, xerr=abs(ends.T - scores), color=colours, error_kw={"linewidth": 1, "capsize": 3})
    axes.bar_label(bars, [f"{score:.3f}" for score in scores], label_type="center", color="white", fontweight="bold")
    axes.invert_yaxis()
    figure.suptitle(f"Weighted F with {WRONG:.0%} of the teacher's training maps swapped", fontsize=11)
    axes.set_xlabel(f"weighted F on {result.common} test images, 95% interval over images")
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def _findings(run: Path, result: DataSetResult) -> list[str]:
    """Return what the demo shows, in sentences computed from its results."""
    noise = json.loads((run / RESULTS).read_text(encoding="utf-8"))["noise"]
    precision, recall = (0.0 if noise[key] is None else noise[key] for key in ("precision", "recall"))
    scores = {name: report["wF"] for name, report in result.reports.items()}
    listed = ", ".join(f"{name} {scores[name]:.3f}" for name in STUDENTS)
    found = (
        f"{noise['spoilt']} of the teacher's {noise['samples']} training maps were swapped. Noise elimination flags "
        f"{noise['flagged']}: {recall:.0%} of the swapped maps, and {precision:.0%} of the flagged ones are swapped."
    )
    sentences = [found, f"Weighted F on the test images: {listed}."]
    expected = {
        f"{_FIXED} is not below {_ALONE}": scores[_FIXED] < scores[_ALONE],
        f"{_METHOD} is not above {_FIXED}": scores[_METHOD] > scores[_FIXED],
        f"{_METHOD} is not above {_ALONE}": scores[_METHOD] > scores[_ALONE],
    }
    failed = [text for text, holds in expected.items() if not holds]
    if failed:
        return [*sentences, f"This run does not show what the method promises: {'; '.join(failed)}."]
    shown = (
        "With a fixed weight the student also learns the wrong maps, and ends below a student without a teacher. Noise "
        "elimination ignores them, and the remaining maps help."
    )
    return [*sentences, shown]
