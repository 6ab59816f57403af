"""Time of the five metrics of papers for one image, as measured in benchmarks/results."""

import matplotlib.pyplot as plt
from ink import in_ink
from measured import rows

COLOURS = {"PySODMetrics": "#d55e00", "NumPy": "#3a9bd9", "numba": "#e69f00", "GPU": "#009e73"}


def light():
    draw("#222832")


def dark():
    draw("#ced6dd")


def draw(ink):
    _, (left, right) = plt.subplots(1, 2, figsize=(7.6, 3.3), layout="constrained", sharey=True)
    on_one_core(left)
    on_a_gpu(right)
    for axes in (left, right):
        in_ink(axes, ink)
        for text in (axes.title, *axes.get_legend().get_texts()):
            text.set_color(ink)


def on_one_core(axes):
    compiled, plain = (rows("metrics_cpu.csv", backend=backend, dtype="uint8") for backend in ("numba", "numpy"))
    sizes = [row["size"].replace("x", " × ") for row in compiled]
    series = {
        "PySODMetrics": [float(row["pysodmetrics_ms"]) for row in compiled],
        "NumPy": [float(row["ours_ms"]) for row in plain],
        "numba": [float(row["ours_ms"]) for row in compiled],
    }
    for name, values in series.items():
        axes.plot(sizes, values, marker="o", color=COLOURS[name], label=name)
    axes.set(title="one core of a CPU", xlabel="size", ylabel="milliseconds for an image", yscale="log")
    axes.legend(frameon=False)


def on_a_gpu(axes):
    measured = rows("metrics_cuda.csv", size="480x640", dtype="uint8")
    batches = [int(row["batch"]) for row in measured]
    peer = float(measured[0]["pysodmetrics_us"]) / 1000
    axes.axhline(peer, color=COLOURS["PySODMetrics"], label="PySODMetrics, one core")
    own = [float(row["us_per_image"]) / 1000 for row in measured]
    axes.plot(batches, own, marker="o", color=COLOURS["GPU"], label="GPU")
    axes.set(title="an H200, 480 × 640", xlabel="images in a batch", xscale="log")
    axes.set_xticks(batches[::2], labels=map(str, batches[::2]), minor=False)
    axes.minorticks_off()
    axes.legend(frameon=False)
