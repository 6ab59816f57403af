"""
Score saliency maps as papers do
================================

Two synthetic methods on a synthetic data set, as the table and the curves of a paper. One method draws sharp edges; the
other fades out around them. Both find the same objects, so their max F differs little, but their weighted F a lot.
"""

import numpy as np

from dynamic_kd.metrics import SODMetrics, plot_curves, table

# %%
# Each method gets a `SODMetrics`. Pass it one map and mask at a time, or whole batches, with the names of the images.

IMAGES, SIZE = 20, 256
generator = np.random.default_rng(0)
sharp, blurred = SODMetrics(), SODMetrics()
rows, columns = np.indices((SIZE, SIZE))
for image in range(IMAGES):
    center = generator.uniform(0.3, 0.7, 2) * SIZE
    radius = generator.uniform(0.1, 0.25) * SIZE
    distance = np.hypot(rows - center[0], columns - center[1]) - radius
    target = distance < 0
    noise = generator.normal(0, 2, target.shape)
    for metrics, softness in ((sharp, 2), (blurred, SIZE / 10)):
        saliency = 1 / (1 + np.exp((distance + noise) / softness))
        metrics.update(saliency, target, names=[f"{image:04}"])

# %%
# A report has the scores that papers print, and the scores of each image.

reports = {"sharp": sharp.compute(), "blurred": blurred.compute()}
print(table(reports, "markdown"))
worst = min(reports["blurred"].per_image, key=lambda row: row["Sm"])
print(f"worst image of 'blurred' by S-measure: {worst['name']} ({worst['Sm']:.3f})")

# %%
# The curves are means over images at the thresholds k / 255.

figure = plot_curves(reports)
