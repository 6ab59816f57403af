"""What it costs ``dynamic-kd evaluate`` to look at the levels of masks: processor seconds with and without.

Run ``python benchmarks/mask_checks.py PRED TARGET``. Both ways score the same folders with one worker, in turns within
one process, and their scores are compared. Without, masks are grey levels cut at 128, as plain scripts read them.
"""

import argparse
import time
from pathlib import Path

from _environment import environment, write_rows

from dynamic_kd._mask import Levels
from dynamic_kd.data import Mask, read_gray
from dynamic_kd.evaluation import _measure, evaluate_folders

RESULTS = Path(__file__).parent / "results" / "mask_checks.csv"


def plain(path, content, **_):
    """Read a mask without looking at its levels."""
    return Mask(read_gray(path, content), None, Levels((0, 255)), "")


def seconds(pred, target, read):
    _measure.read_mask = read
    start = time.process_time()
    report = evaluate_folders(pred, target)
    return time.process_time() - start, report


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pred", help="folder of maps")
    parser.add_argument("target", help="folder of masks")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    checked = _measure.read_mask
    times = {"with": [], "without": []}
    _, report = seconds(options.pred, options.target, checked)  # compiles, and fills the file system's cache
    scores = report.as_dict()
    for _ in range(options.repeats):
        for way, read in (("with", checked), ("without", plain)):
            spent, report = seconds(options.pred, options.target, read)
            times[way].append(spent)
            assert report.as_dict() == scores

    # Other processes only add to a time, so the smallest is the nearest to the cost.
    with_checks, without = (min(times[way]) for way in ("with", "without"))
    row = {
        "images": report.counts["images"],
        "with_s": round(with_checks, 2),
        "without_s": round(without, 2),
        "more": f"{with_checks / without - 1:.1%}",
        "repeats": options.repeats,
        **environment("numpy", "opencv-python-headless"),
    }
    print(*(f"{name}={value}" for name, value in row.items()))
    write_rows(options.output, [row])


if __name__ == "__main__":
    main()
