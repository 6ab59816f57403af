"""The same training on one GPU and on several: how far weights and scores are apart, and how much faster it is.

``python benchmarks/two_gpus.py --data DIR --weights VGG16`` trains the student of the recipe ``ecssd`` in full
precision, TF32 off, with batches of 32 (an epoch of 800 images has 25 steps), by one process, and by ``torchrun`` with
one for each GPU, over NCCL. Where NVLink multicast must not be used, set ``NCCL_NVLS_ENABLE=0`` first.
"""

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from _environment import environment, require_gpus, write_rows
from safetensors.torch import load_file

RESULTS = Path(__file__).parent / "results" / "two_gpus.csv"
SETTINGS = ["precision=fp32", "training.batch_size=32", "evaluate_every=0"]
# The command, in a process where TF32 is off.
TRAIN = """
import sys, torch
torch.backends.cudnn.allow_tf32 = False
from dynamic_kd.cli import main
sys.exit(main(sys.argv[1:]))
"""


def trained(options, folder, gpus, epochs):
    """Train, and return the run folder."""
    place, script = folder / f"{gpus}-{epochs}", folder / "train.py"
    script.write_text(TRAIN)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={gpus}", str(script)]
    command = [
        *(launcher if gpus > 1 else [sys.executable, str(script)]),
        *("train", "ecssd", "--data", str(options.data), "--out", str(place)),
        *("--set", f"student.weights={options.weights}", f"training.epochs={epochs}", *SETTINGS),
    ]
    visible = {"CUDA_VISIBLE_DEVICES": ",".join(map(str, range(gpus)))}
    subprocess.run(command, check=True, env={**os.environ, **visible})
    return place


def row_of(gpus, epochs, place, alone):
    """Return what a run came to, and how far its weights are from those of one GPU."""
    scores = json.loads((place / "results.json").read_text())["results"]["student"]["last"]["scores"]
    last = list(csv.DictReader((place / "epochs.csv").open()))[-1]
    weights, others = (load_file(each / "student-last.safetensors") for each in (place, alone))
    apart = max(float((weights[name] - others[name]).norm() / others[name].norm()) for name in weights)
    return {
        "gpus": gpus,
        "epochs": epochs,
        "steps": 25 * epochs,
        "loss": last["loss"],
        **{name: round(scores[name], 6) for name in ("maxF", "MAE", "wF")},
        "images_per_second_last_epoch": last["images_per_second"],
        "largest_relative_difference_of_weights": "" if place == alone else float(f"{apart:.2g}"),
        "settings": f"ecssd fp32, TF32 off, batch 32, learning rate 1e-3, seed 0{', torchrun, NCCL' * (gpus > 1)}",
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="ECSSD: images, masks, pred_ISNet")
    parser.add_argument("--weights", type=Path, required=True, help="VGG16's convolutions")
    parser.add_argument("--epochs", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--gpus", type=int, default=torch.cuda.device_count())
    parser.add_argument("--output", type=Path, default=RESULTS, help="CSV to write")
    options = parser.parse_args()
    require_gpus(parser, max(2, options.gpus))
    about = {"gpu": torch.cuda.get_device_name(), **environment("torch", "triton", "accelerate")}
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for epochs in options.epochs:
            alone = trained(options, Path(folder), 1, epochs)
            for gpus, place in ((1, alone), (options.gpus, trained(options, Path(folder), options.gpus, epochs))):
                rows.append(row_of(gpus, epochs, place, alone) | about)
                print(rows[-1], flush=True)
    write_rows(options.output, rows)


if __name__ == "__main__":
    main()
