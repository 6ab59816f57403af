"""Images a second that a GPU sees when several trainings share it, and when ``torch.compile`` makes their kernels.

Each training is the VGG16 student of the recipe ``ecssd`` (bfloat16, batches of 4 random images of 256 x 256, steps
replayed as CUDA graphs), alone, on streams of one process, or in processes. Processes take turns unless NVIDIA's MPS
serves them: start it first (``nvidia-cuda-mps-control -d``), and the rows say so. ``start`` is what comes before the
first replayed step: imports, compiling, and capturing; the second compiled start finds the first one's kernels.
"""

import argparse
import csv
import os
import subprocess
import sys
import time
from pathlib import Path

import torch
from _environment import environment, require_gpus

RESULTS = Path(__file__).parent / "results" / "side_by_side.csv"
SETTINGS = "VGG16 student, bf16, batch 4 of 256 x 256, graphed steps, random images"
IMAGES, BATCH, SIZE = 64, 4, 256
READY = 90  # seconds after which all processes of a row replay their steps


def trainings(count, compiled):
    """Make so many trainings, and the row of a plan that each step takes."""
    from dynamic_kd.models import FPNStudent
    from dynamic_kd.training import read_recipe

    # Private: `train` runs one training in a process, and this measures steps of several.
    from dynamic_kd.training._augmentation import epoch_steps
    from dynamic_kd.training._image_set import ImageSet
    from dynamic_kd.training._loop import _GraphedStep, _Step, sgd
    from dynamic_kd.training._networks import student_objective
    from dynamic_kd.training._processes import accelerator_of

    recipe = read_recipe("ecssd", ["data.root=."])
    accelerator = accelerator_of(recipe.precision)
    maps = torch.rand(IMAGES, 1, SIZE, SIZE)
    images = torch.randint(0, 255, (IMAGES, 3, SIZE, SIZE), dtype=torch.uint8)
    arrays = {"images": images.numpy(), "targets": (maps > 0.5).numpy(), "teacher_maps": maps.numpy()}
    data = ImageSet.from_arrays([str(image) for image in range(IMAGES)], [None] * IMAGES, arrays)
    data = data.for_device(accelerator.device, move=True)
    steps = []
    for _ in range(count):
        model = FPNStudent("vgg16", 3).to(accelerator.device, memory_format=torch.channels_last)
        model, optimizer = accelerator.prepare(model, sgd(model, recipe.training))
        objective = student_objective(recipe, accelerator, None)
        step = _Step(model, optimizer, data, objective, recipe.training, accelerator, compiled=compiled)
        steps.append(_GraphedStep(step))
    plan = epoch_steps(IMAGES, BATCH, 1, 10.0, True, (0, 1), 0, 1)
    return steps, torch.stack(plan, dim=1).to(accelerator.device)[0]


def measured(count, compiled, begin, seconds):
    """Return the images a second of trainings on streams of this process, and the seconds of their start."""
    from dynamic_kd.training._processes import repeatable

    started = time.perf_counter()
    with repeatable(True):
        steps, row = trainings(count, compiled)
        for step in steps:
            for _ in range(5):
                step(row)
        torch.cuda.synchronize()
        ready = time.perf_counter() - started
        time.sleep(max(0.0, begin - time.time()))
        streams = [torch.cuda.Stream() for _ in steps]
        first, rounds = time.perf_counter(), 0
        while time.perf_counter() - first < seconds:
            for step, stream in zip(steps, streams, strict=True):
                with torch.cuda.stream(stream):
                    step(row)
            rounds += 1
            if rounds % 8 == 0:
                torch.cuda.synchronize()
        torch.cuda.synchronize()
    return rounds * count * BATCH / (time.perf_counter() - first), ready


def row_of(processes, streams, compiled, seconds):
    """Measure in processes of their own, all at the same time."""
    begin = time.time() + (READY if processes > 1 else 0)
    words = [sys.executable, __file__, "--one", str(streams), str(int(compiled)), str(begin), str(seconds)]
    children = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for _ in range(processes)]
    answers = [[float(word) for word in child.communicate()[0].split()[-2:]] for child in children]
    together = sum(rate for rate, _ in answers)
    served = "MPS" if "CUDA_MPS_PIPE_DIRECTORY" in os.environ else "taking turns"
    how = f"processes, {served}" if processes > 1 else "streams of one process" if streams > 1 else "alone"
    return {
        "trainings": processes * streams,
        "how": how,
        "compiled": compiled,
        "images_per_second_each": round(together / (processes * streams)),
        "images_per_second_together": round(together),
        "start_seconds": round(max(start for _, start in answers), 1),
        "settings": SETTINGS,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5, help="to measure each row")
    parser.add_argument("--output", type=Path, default=RESULTS, help="CSV to add rows to")
    # A process of a row: streams, compiled, begin, seconds.
    parser.add_argument("--one", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    require_gpus(parser)
    if options.one:
        streams, compiled, begin, seconds = map(float, options.one)
        print(*measured(int(streams), bool(compiled), begin, seconds))
        return
    about = {"gpu": torch.cuda.get_device_name(), **environment("torch", "triton")}
    for compiled in (False, True):
        for processes, streams in ((1, 1), (1, 1), (1, 4), (4, 1)):
            row = row_of(processes, streams, compiled, options.seconds) | about
            print(row, flush=True)
            new = not options.output.exists()
            with options.output.open("a", newline="") as file:
                writer = csv.DictWriter(file, fieldnames=list(row), lineterminator="\n")
                if new:
                    writer.writeheader()
                writer.writerow(row)


if __name__ == "__main__":
    main()
