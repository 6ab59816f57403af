"""``dynamic-kd predict``: saliency maps of a folder of images."""

from __future__ import annotations

import argparse
import shlex
from typing import TYPE_CHECKING, Any

from dynamic_kd.cli._terminal import one_bar, print_table

if TYPE_CHECKING:
    from dynamic_kd.training import Prediction

_DESCRIPTION = """\
Predict the saliency map of every image of a folder: 8-bit PNG files of the
images' own sizes, under their stems.

DIR is a data set, a folder of data sets, or a plain folder of images. For a
network that takes depth, the depth maps come from the data set or from --depth.

Existing maps are kept, so the same command continues after an interruption.
predict.json beside the maps records their weights and settings; maps of other
weights or settings are not mixed with them."""

_EPILOG = """\
Examples:
  dynamic-kd predict runs/des/student.safetensors datasets/DES --out maps/DES \\
      --evaluate
  dynamic-kd predict student.safetensors photos --depth photos_depth \\
      --out maps --device cuda --batch 32"""


def add_parser(commands: Any) -> None:
    """Add the subcommand to the command's parser."""
    parser = commands.add_parser(
        "predict",
        help="predict the saliency maps of a folder of images",
        description=_DESCRIPTION,
        epilog=_EPILOG,
    )
    parser.set_defaults(run=run)
    parser.add_argument("weights", metavar="WEIGHTS", help="weights that dynamic-kd train wrote, .safetensors")
    parser.add_argument("data", metavar="DIR", help="the images")
    parser.add_argument(
        "--out",
        required=True,
        metavar="MAPS",
        help="folder of the maps",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace existing maps")
    parser.add_argument("--evaluate", action="store_true", help="score the maps against the masks beside the images")

    inputs = parser.add_argument_group("input of the network")
    inputs.add_argument("--depth", metavar="DIR", help="depth maps of a plain folder of images")
    inputs.add_argument(
        "--near",
        choices=("auto", "bright", "dark"),
        default="auto",
        help="what is near in the depth files (default: decided for each data set)",
    )
    inputs.add_argument(
        "--size",
        type=int,
        metavar="N",
        help="height and width in pixels (default: as in training, if the weights record it, or 256)",
    )

    work = parser.add_argument_group("execution")
    work.add_argument("--batch", type=int, default=8, metavar="N", help="images in a batch (default: 8)")
    work.add_argument(
        "--device", default="auto", metavar="NAME", help="auto, cpu, cuda, cuda:1 (default: a GPU if any)"
    )
    work.add_argument("--workers", type=int, metavar="N", help="threads (default: one for each core, at most 8)")


def run(arguments: argparse.Namespace) -> int:
    """Predict, and print the scores or the command that computes them."""
    from dynamic_kd.training import predict_folder

    with one_bar() as progress:
        try:
            prediction = predict_folder(
                arguments.weights,
                arguments.data,
                arguments.out,
                depth=arguments.depth,
                size=arguments.size,
                batch_size=arguments.batch,
                device=arguments.device,
                near=arguments.near,
                overwrite=arguments.overwrite,
                evaluate=arguments.evaluate,
                workers=arguments.workers,
                progress=progress,
            )
        except KeyboardInterrupt:
            raise KeyboardInterrupt("finished maps are kept; the same command continues from them") from None
        except MemoryError as error:
            raise ValueError(str(error)) from None
    _print(arguments.out, prediction)
    return 0


def _print(out: str, prediction: Prediction) -> None:
    kept = f" ({prediction.kept} existed before)" if prediction.kept else ""
    print(f"wrote {prediction.written} maps into {out}{kept}; the network's input is {prediction.size} pixels wide")
    for note in prediction.notes:
        print(f"note: {note}")
    for folder in prediction.folders:
        if folder.near:
            print(f"near is {folder.near} in the depth files of {folder.name}")
    if prediction.reports:
        from dynamic_kd.evaluation import report_table

        for name, report in prediction.reports.items():
            print_table(report_table(name, report))
        return
    print("\nscore them with:")
    for folder in prediction.folders:
        maps, masks = shlex.quote(str(folder.maps)), shlex.quote(str(folder.masks or "MASKS"))
        print(f"  dynamic-kd evaluate --pred {maps} --target {masks}")
