"""What a comparison is about: folders of data sets and methods, and settings, checked in one place."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from dynamic_kd._checks import check_choice, check_flag, check_whole
from dynamic_kd._mask import Meaning, meaning
from dynamic_kd.metrics import SODMetrics

# The folder of results, beside the configuration file or in the folder of methods.
OUTPUT = "comparison"
MOST_RESAMPLES = 1_000_000
# Characters that some file systems forbid in names; each data set and method names files.
_FORBIDDEN = frozenset('/\\:*?"<>|')


@dataclass(frozen=True, kw_only=True)
class CompareSettings:
    """What is scored, how, and what is reported.

    Attributes
    ----------
    normalize, strict, empty_target
        As for `SODMetrics`.
    metrics
        Names of the metrics to compute, as for `SODMetrics`; None for its default.
    scores
        Scores in the tables, the ranks and the tests; None for each image's scores of the metrics.
    allow_missing
        Leave out and count maps, masks and data sets that are missing, instead of raising an error.
    strict_size
        Refuse a map whose size is not its mask's, instead of resizing it.
    salient, void, channel
        What the levels of the masks mean, as for `evaluate_folders`.
    resamples
        Bootstrap resamples for intervals and tests; 0 for none.
    seed
        Seed of the bootstrap.
    reference
        Method against which all others are tested, where it has maps; None for all pairs.
    grid
        Images of the visual comparison: their stems, or ``"worst:8"``; None for no grid.
    paper
        Show the numbers of the paper's Table 1 for the same data sets.

    Raises
    ------
    ValueError, TypeError
        A setting out of range.

    Examples
    --------
    >>> settings = CompareSettings(scores=["maxF", "MAE"], grid="worst:8")
    >>> settings.scores, settings.resamples
    (('maxF', 'MAE'), 2000)
    """

    normalize: bool = True
    strict: bool = False
    empty_target: str = "count"
    metrics: Sequence[str] | None = None
    scores: Sequence[str] | None = None
    allow_missing: bool = False
    strict_size: bool = False
    salient: Any = None
    void: Any = None
    channel: str = "auto"
    resamples: int = 2000
    seed: int = 0
    reference: str | None = None
    grid: str | Sequence[str] | None = None
    paper: bool = False

    def __post_init__(self) -> None:
        for name in ("normalize", "strict", "allow_missing", "strict_size", "paper"):
            check_flag(name, getattr(self, name))
        check_choice("empty_target", self.empty_target, ("count", "skip", "refuse"))
        meaning(self.salient, self.void, self.channel)
        check_whole("resamples", self.resamples, low=0, high=MOST_RESAMPLES)
        check_whole("seed", self.seed, low=0, high=2**63 - 1)
        for name in ("metrics", "scores"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, _names(name, getattr(self, name)))
        if self.reference is not None and not isinstance(self.reference, str):
            raise TypeError(f"reference: expected the name of a method, got {self.reference!r}")
        if self.grid is not None:
            grid_request(self.grid)

    @property
    def meaning(self) -> Meaning:
        """What the levels of the masks mean."""
        return meaning(self.salient, self.void, self.channel)

    def accumulator(self, *, per_image_curves: bool = False) -> SODMetrics:
        """Return an empty accumulator with these settings."""
        chosen: dict[str, Any] = {} if self.metrics is None else {"metrics": self.metrics}
        return SODMetrics(
            **chosen,
            normalize=self.normalize,
            strict=self.strict,
            empty_target=self.empty_target,
            salient=self.salient,
            void=self.void,
            per_image_curves=per_image_curves,
        )


@dataclass(frozen=True)
class DataSetFolders:
    """Folders of one data set: masks, and colour images for the visual comparison, if there are any."""

    target: Path
    image: Path | None = None


@dataclass(frozen=True)
class CompareConfig:
    """A comparison of methods on data sets.

    Attributes
    ----------
    datasets
        Name -> folders, in the order of the tables.
    methods
        Name -> data set -> folder of maps.
    output
        Folder of the results.
    cache
        File of the measured images.
    settings
        What is scored, how, and what is reported.
    source
        The file or folder that was read.
    """

    datasets: Mapping[str, DataSetFolders]
    methods: Mapping[str, Mapping[str, Path]]
    output: Path
    cache: Path
    settings: CompareSettings
    source: Path

    def __post_init__(self) -> None:
        for kind, names in (("datasets", self.datasets), ("methods", self.methods)):
            _check_file_names(f"{self.source}: {kind}", names)
        if self.settings.reference is not None and self.settings.reference not in self.methods:
            raise ValueError(
                f"{self.source}: reference: expected one of the methods {', '.join(self.methods)}, "
                f"got {self.settings.reference!r}{suggestion(self.settings.reference, self.methods)}"
            )


def cache_in(output: Path) -> Path:
    """Return the cache's default place."""
    return output / ".cache" / "records.sqlite"


def suggestion(word: str, known: Iterable[str]) -> str:
    """Return the end of a message about an unknown name: the known name it resembles, if there is one."""
    close = get_close_matches(word, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else "; remove or rename it"


def grid_request(grid: str | Sequence[str]) -> int | tuple[str, ...]:
    """Return how many of the worst images a grid shows, or the stems of the images it shows."""
    if not isinstance(grid, str):
        return _names("grid", grid)
    worst = re.fullmatch(r"worst:([1-9][0-9]{0,3})", grid)
    if worst:
        return int(worst[1])
    if grid.startswith("worst"):
        raise ValueError(f"grid: expected worst:N with N from 1 to 9999, got {grid!r}; write for example worst:8")
    return _names("grid", grid.split(","))


def _names(setting: str, value: Any) -> tuple[str, ...]:
    """Return a list of names without blanks, each once."""
    if isinstance(value, str) or not isinstance(value, Sequence) or not all(isinstance(item, str) for item in value):
        raise TypeError(f"{setting}: expected a list of names, got {value!r} ({type(value).__name__})")
    names = tuple(dict.fromkeys(item.strip() for item in value))
    if not names or "" in names:
        raise ValueError(f"{setting}: expected at least one name and none empty, got {list(value)!r}")
    return names


def _check_file_names(where: str, names: Iterable[str]) -> None:
    """Refuse names that cannot be names of files, since each data set and method names some."""
    seen: dict[str, str] = {}
    for name in names:
        if not name.strip() or name.startswith(".") or set(name) & _FORBIDDEN or not name.isprintable():
            raise ValueError(
                f"{where}: {name!r} cannot be the name of a file; "
                f"rename it without any of {' '.join(sorted(_FORBIDDEN))} and without a leading dot"
            )
        other = seen.setdefault(name.casefold(), name)
        if other != name:
            raise ValueError(f"{where}: {other!r} and {name!r} differ in capitals alone; rename one")
