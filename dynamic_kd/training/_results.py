"""What a run has come to: its scores, how long it took, and figures of what the method saw."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from dynamic_kd._files import write_whole
from dynamic_kd.models import model_metadata
from dynamic_kd.training._insight import noise_limit, write_insight
from dynamic_kd.training._logs import STAGES, WEIGHTS
from dynamic_kd.training._noise_sources import noise_report_from_log
from dynamic_kd.training._records_file import read_records
from dynamic_kd.training._stage import Run, records_file, weights_file
from dynamic_kd.training._weights_log import read_weights_log

if TYPE_CHECKING:
    from dynamic_kd.data import Sample

RESULTS = "results.json"


def write_results(run: Run, samples: list[Sample]) -> None:
    """Draw what the method saw of the training samples, and write the results."""
    content: dict[str, Any] = {"name": run.recipe.name, "results": _scores(run)}
    if (run.folder / WEIGHTS).exists():
        log, limit = read_weights_log(run.folder / WEIGHTS), noise_limit(run.recipe)._asdict()
        write_insight(run.folder, log, samples, **limit)
        content["noise"] = noise_report_from_log(log, samples=samples, **limit).summary()
    content["seconds"] = round(run.seconds, 2)
    write_whole(run.folder / RESULTS, (json.dumps(content, indent=1) + "\n").encode())


def _scores(run: Run) -> dict[str, Any]:
    """Return the scores of each network, after the last epoch and at its best."""
    found: dict[str, Any] = {}
    for stage, name in STAGES.items():
        for which in ("last", "best"):
            path = weights_file(run.folder, stage, which)
            if path.exists():
                facts = model_metadata(path)
                found.setdefault(name, {})[which] = {key: facts[key] for key in ("epoch", "scores") if key in facts}
        path = records_file(run.folder, stage, "report")
        if path.exists():
            found[name]["last"]["report"] = read_records(path).as_dict()
    return found
