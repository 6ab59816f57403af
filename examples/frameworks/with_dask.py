"""
Dask: metrics over many machines
================================

Workers read and measure maps where these are. A few kilobytes for each image come back, and any score is computed
from them: the same bits as on one machine, however the images were shared out.
"""

import numpy as np
from distributed import Client

from dynamic_kd.metrics import SODMetrics

metrics = SODMetrics()


def measure(name):
    """Measure one image on a worker; here it is made up, where you would read files."""
    generator = np.random.default_rng(int(name))
    target = np.zeros((48, 64), bool)
    target[8:32, 16:40] = True
    pred = np.clip(0.6 * target + 0.5 * generator.random(target.shape), 0, 1)
    return metrics.measure(pred, target)


# %%
# Here the client starts two workers on this machine. Give it the address of your scheduler instead.

if __name__ == "__main__":
    names = [f"{image:04}" for image in range(40)]
    with Client(n_workers=2, threads_per_worker=1, dashboard_address=None) as client:
        measured = client.gather(client.map(measure, names))
    for name, records in zip(names, measured, strict=True):
        metrics.update_records(records, names=[name])
    report = metrics.compute()
    print(f"{len(report.names)} images, maxF {report['maxF']:.3f}, Sm {report['Sm']:.3f}")
