"""Types that users of folders, networks and training see; mypy checks this file, and nothing runs it."""

from pathlib import Path
from typing import assert_type

import numpy as np
import numpy.typing as npt
import torch

from dynamic_kd.data import DataFolder, Matching, Sample, find_data, images_by_stem, match_by_stem, read_gray
from dynamic_kd.evaluation import evaluate_folders
from dynamic_kd.metrics import MetricReport
from dynamic_kd.models import FPNStudent, RFBTeacher, load_model
from dynamic_kd.torch import DynamicKDLoss, align_teacher
from dynamic_kd.training import Recipe, bundled_recipes, read_recipe


def folders(folder: Path) -> None:
    assert_type(match_by_stem(pred=folder, target="masks"), Matching)
    assert_type(images_by_stem("masks"), dict[str, Path])
    assert_type(read_gray("0001.png"), npt.NDArray[np.uint8] | npt.NDArray[np.float64])
    assert_type(evaluate_folders(folder, "masks"), MetricReport)
    found: list[DataFolder] = list(find_data(folder))
    sample: type[Sample] = Sample
    print(found, sample)


def networks(image: torch.Tensor, mask: torch.Tensor) -> None:
    student, teacher = FPNStudent("vgg16", in_channels=4), RFBTeacher("vgg16")
    loss = DynamicKDLoss(p=0.7)
    assert_type(loss.forward(student.forward(image), align_teacher(teacher(image), (256, 256)), mask), torch.Tensor)
    assert_type(student.forward(image), torch.Tensor)
    loss.to("cuda").eval()
    load_model("student.safetensors")
    assert_type(read_recipe("paper-vgg16"), Recipe)
    print(bundled_recipes())


def wrong(mask: torch.Tensor, recipe: Recipe) -> None:
    match_by_stem("maps", "masks")  # type: ignore[arg-type, call-arg]
    read_gray(7)  # type: ignore[arg-type]
    FPNStudent(in_channels="4")  # type: ignore[arg-type]
    align_teacher(mask)  # type: ignore[call-arg]
    recipe.seed = 1  # type: ignore[misc]
    evaluate_folders("maps")  # type: ignore[call-arg]
