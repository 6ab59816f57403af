"""
Score saliency maps as papers do
================================

Two made-up methods on a made-up data set, side by side as a table and as curves.
"""

import argparse

import numpy as np

from dynamic_kd.metrics import SODMetrics, plot_curves, table

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--images", type=int, default=20)
parser.add_argument("--size", type=int, default=256)
parser.add_argument("--curves", metavar="FILE", help="where to save the curves")
options = parser.parse_args()

# %%
# A map and a mask at a time go into each method's `SODMetrics`, with the name of the image.

generator = np.random.default_rng(0)
sharp, blurred = SODMetrics(), SODMetrics()
rows, columns = np.indices((options.size, options.size))
for image in range(options.images):
    center = generator.uniform(0.3, 0.7, 2) * options.size
    radius = generator.uniform(0.1, 0.25) * options.size
    distance = np.hypot(rows - center[0], columns - center[1]) - radius
    target = distance < 0
    noise = generator.normal(0, 2, target.shape)
    # A method that is sure of its edges, and one that fades out around them.
    for metrics, softness in ((sharp, 2), (blurred, options.size / 10)):
        saliency = 1 / (1 + np.exp((distance + noise) / softness))
        metrics.update(saliency, target, names=[f"{image:04}"])

# %%
# The scores are those that papers print; each image's own are kept.

reports = {"sharp": sharp.compute(), "blurred": blurred.compute()}
print(table(reports, "markdown"))
worst = min(reports["blurred"].per_image, key=lambda row: row["Sm"])
print(f"worst image of 'blurred' by S-measure: {worst['name']} ({worst['Sm']:.3f})")

# %%
# Curves are means over images, at thresholds of k / 255.

figure = plot_curves(reports)
if options.curves:
    figure.savefig(options.curves)
