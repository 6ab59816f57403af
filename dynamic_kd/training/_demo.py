"""The demo: `train`, `predict_folder` and `compare` over one recipe, for a teacher and four students."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dynamic_kd._checks import check_whole
from dynamic_kd._extras import opencv, require
from dynamic_kd._files import write_whole
from dynamic_kd.data import find_data
from dynamic_kd.evaluation import compare, read_config, write_comparison
from dynamic_kd.training._predict import predict_folder
from dynamic_kd.training._recipe_data import read_part
from dynamic_kd.training._recipe_file import read_recipe
from dynamic_kd.training._run_folder import RESULTS, weights_file
from dynamic_kd.training._sections import Data
from dynamic_kd.training._train import train

if TYPE_CHECKING:
    from collections.abc import Callable

    from dynamic_kd.evaluation import Comparison
    from dynamic_kd.training._predict_folders import PredictedFolder
    from dynamic_kd.training._recipe import Recipe

    Progress = Callable[[str, int, int], None]
    Note = Callable[[str], None]

TEACHER = "teacher"
STUDENTS: dict[str, dict[str, Any]] = {
    "cross-entropy": {"weighting": "none"},
    "fixed weight 0.5": {"weighting": 0.5, "noise_elimination": None},
    "dynamic weight": {"weighting": "dynamic", "noise_elimination": None},
    "dynamic + noise elimination": {"weighting": "dynamic", "noise_elimination": "absolute"},
}
"""The students by name, and the loss settings of each; weighting "none" trains without the teacher."""

_CONFIG, _OWN_FILES = "compare.toml", ("runs", "data", "maps", "comparison", "train.txt", "test.txt")
_TEST_SHARE = 0.3
_EPOCHS = (4, 60)  # bounds where the size of the data set decides
_QUOTIENTS = ("precision", "recall", "auc")


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
) -> Comparison:
    """Train a teacher and four students by the recipe ``"demo"`` on the CPU, predict test images, and compare the maps.

    Parameters
    ----------
    out : str or Path
        Folder for everything: ``runs/NAME``, a run folder of `train` for each network; ``data``, the test images;
        ``maps/NAME``, the maps of `predict_folder`; ``compare.toml`` and ``comparison``, the tables and figures of
        `dynamic_kd.evaluation.compare`.
    data : str or Path, optional
        RGB-D data sets to use instead of the synthetic one; 30% of their images, chosen by the seed, are for testing.
    near : {"auto", "bright", "dark"}
        Whether bright or dark means near in the depth files of ``data``.
    size : int
        Height and width of all images.
    epochs : int, optional
        Passes of each student over the training set; the teacher takes 5/3 of them. By default as the recipe says; with
        ``data``, as many as take the same number of steps, from 4 to 60.
    seed : int
        Of everything random. The same seed gives the same numbers on the same machine.
    overwrite : bool
        Replace an earlier demo in ``out``.
    progress : callable
        Called with the name of a step, how much of it is done, and how much there is.
    note : callable
        Called with what the user should know, such as the number of samples that noise elimination flags.

    Returns
    -------
    Comparison
        Of teacher and students on the test images. Of the synthetic set, samples with clean and with spoilt depth are
        two data sets.

    Raises
    ------
    ValueError
        If a setting is out of range, if ``out`` holds other files, or if the data cannot be read.
    """
    require("cv2", "matplotlib", "tomli_w", extra="train")
    import tomli_w

    out = Path(out)
    recipe = read_recipe("demo", {"seed": seed, "data.size": size})
    split = None if data is None else _split(data, near, seed)
    if epochs is None and split is not None:
        fitting = round(recipe.training.epochs * recipe.data.train_count / len(split[0]))
        epochs = min(max(fitting, _EPOCHS[0]), _EPOCHS[1])
    if epochs is not None:
        recipe = _with_epochs(recipe, epochs)
    _clear(out, overwrite=overwrite)
    if split is not None and data is not None:
        recipe = _with_folders(recipe, Path(data), near, split, out)
    _write_test_images(out / "data", recipe, progress)
    config: dict[str, Any] = {"output": "comparison", "datasets": {}, "methods": {}, "settings": {"grid": "worst:4"}}
    for name, each in _recipes(recipe, out).items():
        run, advance = out / "runs" / name, partial(_advance, progress, name)
        train(each, run, cpu=True, progress=advance, note=note if name == TEACHER else lambda text: None)
        weights = weights_file(run, each.stages[-1], "last")
        predicted = predict_folder(
            weights, out / "data", out / "maps" / name, near="bright", device="cpu", progress=advance
        )
        maps = {_data_set(each).name: str(each.maps.relative_to(out)) for each in predicted.folders}
        config["methods"][name] = {"maps": maps}
    for folder in map(_data_set, predicted.folders):
        root = folder.relative_to(out)
        config["datasets"][folder.name] = {"target": str(root / "GT"), "image": str(root / "RGB")}
    for text in _noise_sentences(out / "runs" / name):
        note(text)
    write_whole(out / _CONFIG, tomli_w.dumps(config).encode())
    comparison = compare(read_config(out / _CONFIG), progress=partial(_advance, progress, "comparison"))
    write_comparison(comparison)
    return comparison


def _split(data: str | Path, near: str, seed: int) -> tuple[list[str], list[str]]:
    """Return the images of data sets for training and for testing, as lines of list files."""
    root = Path(data)
    folders = find_data(root, depth=True, near=near)
    images = [files.image.relative_to(root).as_posix() for folder in folders for files in folder.files]
    if len(images) < 4:
        raise ValueError(f"{data}: has {len(images)} samples; training and testing take at least 4")
    order = np.random.default_rng(seed).permutation(len(images))
    tested = min(max(1, round(_TEST_SHARE * len(images))), len(images) - 1)
    return [images[i] for i in sorted(order[tested:])], [images[i] for i in sorted(order[:tested])]


def _with_epochs(recipe: Recipe, epochs: int) -> Recipe:
    """Return the recipe with other epochs of the student, and the teacher's in proportion."""
    check_whole("epochs", epochs, low=1)
    teachers = max(1, round(epochs * recipe.teacher_training.epochs / recipe.training.epochs))
    training = replace(recipe.teacher_training, epochs=teachers)
    return replace(
        recipe,
        teacher=replace(recipe.teacher, training=training),
        training=replace(recipe.training, epochs=epochs),
    )


def _with_folders(recipe: Recipe, root: Path, near: str, split: tuple[list[str], list[str]], out: Path) -> Recipe:
    """Return the recipe for data sets in folders, whose split it writes as list files."""
    parts = []
    for name, lines in zip(("train.txt", "test.txt"), split, strict=True):
        write_whole(out / name, "".join(f"{line}\n" for line in lines).encode())
        parts.append(({"folder": ".", "list": str(out / name)},))
    data = Data(source="folders", root=str(root), train=parts[0], validation=parts[1], near=near, size=recipe.data.size)
    return replace(recipe, data=data)


def _recipes(recipe: Recipe, out: Path) -> dict[str, Recipe]:
    """Return the recipe of each network by name, the teacher first."""
    checkpoint = weights_file(out / "runs" / TEACHER, 1, "last")
    taught = replace(recipe, teacher=replace(recipe.teacher, checkpoint=str(checkpoint)))
    students = {name: replace(taught, loss=replace(recipe.loss, **loss)) for name, loss in STUDENTS.items()}
    return {TEACHER: replace(recipe, teacher_only=True), **students}


def _clear(out: Path, *, overwrite: bool) -> None:
    """Remove an earlier demo from a folder.

    Raises
    ------
    ValueError
        If the path is a file, or the folder is not empty and ``overwrite`` is off or does not apply.
    """
    if out.exists() and not out.is_dir():
        raise ValueError(f"{out}: is a file; name a folder for the results")
    if not out.is_dir() or not any(out.iterdir()):
        return
    if not overwrite:
        raise ValueError(f"{out}: is not empty; name another folder, or replace an earlier demo (--overwrite)")
    for name in (_CONFIG, *_OWN_FILES):
        path = out / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _write_test_images(folder: Path, recipe: Recipe, progress: Progress) -> None:
    """Write the test samples as data sets of PNG files: those of clean and of spoilt depth apart, where it is known."""
    cv2, data = opencv(), read_part(recipe, "validation", progress)
    assert data is not None
    known = any(data.spoilt)
    for position in range(len(data)):
        sample = data.sample(position)
        assert sample.depth is not None
        name = ("spoilt depth" if sample.spoilt else "clean depth") if known else "test images"
        pictures = {
            "RGB": sample.image[..., ::-1],
            "depth": np.rint(65535 * sample.depth).astype(np.uint16),
            "GT": 255 * sample.mask.astype(np.uint8),
        }
        for role, picture in pictures.items():
            path = folder / name / role / f"{sample.name.replace('/', '-')}.png"
            write_whole(path, cv2.imencode(".png", picture)[1].tobytes())


def _data_set(folder: PredictedFolder) -> Path:
    """Return the folder of a data set that `_write_test_images` wrote."""
    assert folder.masks is not None
    return folder.masks.parent


def _advance(progress: Progress, name: str, step: str, done: int, total: int) -> None:
    progress(f"{name}: {step}", done, total)


def _noise_sentences(run: Path) -> list[str]:
    """Return what noise elimination flagged in a student's run, and how much of that is really spoilt."""
    results = json.loads((run / RESULTS).read_text(encoding="utf-8"))
    noise, threshold = results["noise"], read_recipe(run).loss.threshold
    texts = [f"noise elimination flags {noise['flagged']} of {noise['samples']} training samples (IoU ≤ {threshold:g})"]
    if "spoilt" in noise:
        precision, recall, auc = ("-" if noise[key] is None else f"{noise[key]:.3f}" for key in _QUOTIENTS)
        texts.append(
            f"{noise['spoilt']} of them really have a spoilt depth map: precision of the flags {precision}, recall "
            f"{recall}, AUC of the IoU {auc}"
        )
    return texts
