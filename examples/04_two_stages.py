"""
Train with a recipe, and see what the loss saw
==============================================

A teacher learns from the masks of a synthetic RGB-D set in which 30% of the depth maps are spoilt; then a student is
distilled from it. The run folder shows for which samples the teacher was ignored, and most of them are the spoilt
ones. In a shell, ``dynamic-kd train cpu`` does the same with more and larger images.
"""

import csv
from pathlib import Path
from tempfile import mkdtemp

from matplotlib.figure import Figure

from dynamic_kd.training import read_recipe, read_weights_log, teacher_student_scatter, train

# %%
# A recipe holds every setting. Change settings where you read it.

recipe = read_recipe(
    "cpu",
    [
        "data.size=32",
        "data.train_count=240",
        "data.validation_count=60",
        "teacher.training.epochs=16",
        "training.epochs=6",
        "evaluate_every=6",
    ],
)
run = Path(mkdtemp())
results = train(recipe, run, cpu=True)
for stage in ("teacher", "student"):
    print(f"{stage}: maxF {results['results'][stage]['last']['scores']['maxF']:.3f}")

# %%
# ``noise.csv`` in the run folder has α, the teacher's IoU with the mask, for each training sample. Below the threshold,
# the loss ignores the teacher. It was never told which depth maps are spoilt.

with open(run / "noise.csv", newline="", encoding="utf-8") as file:
    rows = list(csv.DictReader(file))
figure = Figure(figsize=(6.4, 2.8), layout="constrained")
axes = figure.subplots()
alphas = [[float(row["teacher_iou"]) for row in rows if row["spoilt"] == kind] for kind in ("0", "1")]
axes.hist(alphas, bins=20, range=(0, 1), stacked=True, label=["clean depth", "spoilt depth"])
axes.axvline(recipe.loss.threshold, color="0.3", linestyle="--", label="noise threshold")
axes.set(xlabel="α, the teacher's IoU", ylabel="training samples")
axes.legend(frameon=False)

# %%
# IoU of teacher and student for each sample during training, as in the paper's Figure 7.

scatter = teacher_student_scatter({"dynamic": read_weights_log(run / "weights.csv")}, threshold=recipe.loss.threshold)
