"""
Two stages by a recipe, and what the loss saw
=============================================

The recipe ``cpu`` on fewer and smaller images: a teacher is trained by the masks of a synthetic RGB-D set, in which
three depth maps of ten are spoilt; then a student is distilled from it. In a shell this is ``dynamic-kd train cpu``,
within two minutes.
"""

import argparse
import csv
from pathlib import Path
from tempfile import mkdtemp

from matplotlib.figure import Figure

from dynamic_kd.training import read_recipe, read_weights_log, teacher_student_scatter, train

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--images", type=int, default=240)
parser.add_argument("--epochs", type=int, default=16, help="of the teacher")
parser.add_argument("--out", metavar="RUN", help="run folder (default: a temporary one)")
options = parser.parse_args()

# %%
# A recipe holds every setting; any of them can be changed where it is read, and nowhere else.

recipe = read_recipe(
    "cpu",
    [
        "data.size=32",
        f"data.train_count={options.images}",
        "data.validation_count=60",
        f"teacher.training.epochs={options.epochs}",
        "training.epochs=6",
        "evaluate_every=6",
    ],
)
run = Path(options.out or mkdtemp())
results = train(recipe, run, cpu=True)
for stage in ("teacher", "student"):
    print(f"{stage}: maxF {results['results'][stage]['last']['scores']['maxF']:.3f}")

# %%
# The run folder has the teacher's agreement with the mask, α, of each training sample; at a threshold of one half the
# loss stops listening. Which depth maps are spoilt it was never told.

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
# What both networks knew of each sample while the student learnt, as in the paper's Figure 7.

scatter = teacher_student_scatter({"dynamic": read_weights_log(run / "weights.csv")}, threshold=recipe.loss.threshold)
