"""What an experiment's numbers are, in words."""

from __future__ import annotations

from benchmarks.experiments._experiment import short
from benchmarks.experiments._results import Results
from dynamic_kd._version import __version__
from dynamic_kd.evaluation._bootstrap import LEVEL

NAMED = 5  # of many runs


def sentences(results: Results) -> list[str]:
    """Return, sentence by sentence, what the numbers are."""
    experiment = results.experiment
    images = len(next(iter(results.runs.values())).report.names)
    of = "the reporting images" if results.own_choosing else "all that runs are scored on"
    seeds = ", ".join(map(str, experiment.seeds))
    said = [
        f"Reported by dynamic-kd {__version__}; recipe {recipe_name(experiment.recipe)}, seeds {seeds}.",
        f"Mean and standard deviation over seeds, of the weights after the last epoch, on {images} images ({of}).",
    ]
    if experiment.choose:
        tuned = " and ".join(short(setting, experiment.axes) for setting in experiment.choose)
        where = "the choosing images" if results.own_choosing else "these very images, for there are no others"
        said.append(f"{tuned}: of each method the best by the mean {experiment.by} on {where}.")
    fixed = [method.name for method in experiment.methods if method.fixed]
    if results.references:
        best = f"that which is best by {experiment.by} on {{}} of {', '.join(fixed)}" if len(fixed) > 1 else fixed[0]
        chosen = "the choosing images" if results.own_choosing else "these very images"
        said.append(
            f"Differences are to {best.format(chosen)}. Intervals: "
            f"{100 * LEVEL:.0f}%, by a paired bootstrap over seeds and images, both drawn with replacement, of the "
            "seeds one fewer than there are, and the images the same for all seeds and methods "
            f"({experiment.resamples} resamples, seed {experiment.bootstrap_seed}); "
            "corrected by max-t, as is p, for the number of methods compared at one point of the grid. With two or "
            "three seeds that differ much they are too narrow."
        )
    if results.diverged:  # all of them: they are results
        said.append(f"Diverged (the loss was no longer finite): {', '.join(results.diverged)}.")
    if results.missing:
        first, more = ", ".join(results.missing[:NAMED]), len(results.missing) - NAMED
        said.append(f"Not finished: {first}{f' and {more} more' if more > 0 else ''}.")
    return said


def recipe_name(recipe: str) -> str:
    """Return a recipe's name, without the place of its file."""
    return recipe.replace("\\", "/").rpartition("/")[2].removesuffix(".toml")
