"""Data sets as arrays on disk: built once for each content and size, then mapped into memory by every run."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dynamic_kd._extras import require
from dynamic_kd._version import __version__
from dynamic_kd.training._image_set import ImageSet, sample_arrays

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from dynamic_kd.data import Sample

# Raise this when the arrays of the same files and settings change.
_FORMAT = 2
_SAMPLES = "samples.json"


def cache_folder() -> Path:
    """Return the folder of all cached arrays: ``$DYNAMIC_KD_CACHE``, or the user's cache folder of the platform.

    Its content can be deleted at any time when no training runs.
    """
    require("platformdirs", extra="train")
    from platformdirs import user_cache_path

    chosen = os.environ.get("DYNAMIC_KD_CACHE")
    return Path(chosen) if chosen else user_cache_path("dynamic-kd", appauthor=False)


def cache_key(settings: Mapping[str, Any]) -> str:
    """Return the key of arrays that depend on these settings, the package's version and the cache's format."""
    text = json.dumps({"format": _FORMAT, "version": __version__, **settings}, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def cached_image_set(key: str, chunks: Iterable[Sequence[Sample]], count: int, *, depth: bool) -> ImageSet:
    """Return the data set of a key, mapped into memory; build it from chunks of samples if it is not there.

    Parameters
    ----------
    key : str
        Of `cache_key`.
    chunks : iterable of lists of Sample
        The samples in order, read only if they are needed. One chunk is in memory at a time.
    count : int
        Their number.
    depth : bool
        Whether to keep their depth.

    Notes
    -----
    The arrays are mapped copy-on-write: a change stays in the memory of its process.
    """
    require("filelock", extra="train")
    from filelock import FileLock

    folder = cache_folder() / f"images-{_FORMAT}" / key
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        # A process that waits here finds the arrays that another one has built.
        with FileLock(folder.with_suffix(".lock")):
            if not folder.is_dir():
                _build(folder, chunks, count, depth=depth)
    facts = json.loads((folder / _SAMPLES).read_text(encoding="utf-8"))
    arrays = {path.stem: np.load(path, mmap_mode="c", allow_pickle=False) for path in folder.glob("*.npy")}
    return ImageSet.from_arrays(facts["names"], facts["spoilt"], arrays)


def _build(folder: Path, chunks: Iterable[Sequence[Sample]], count: int, *, depth: bool) -> None:
    """Write the arrays beside their place, and rename the folder when it is complete."""
    partial = folder.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)  # of a process that was killed
    partial.mkdir()
    try:
        names: list[str] = []
        spoilt: list[str | None] = []
        with ExitStack() as stack:
            files: dict[str, Any] = {}
            for samples in chunks:
                for name, array in sample_arrays(samples, depth=depth).items():
                    if name not in files:
                        files[name] = stack.enter_context((partial / f"{name}.npy").open("wb"))
                        _write_header(files[name], (count, *array.shape[1:]), array.dtype)
                    files[name].write(np.ascontiguousarray(array).data)
                names += [sample.name for sample in samples]
                spoilt += [sample.spoilt for sample in samples]
        (partial / _SAMPLES).write_text(json.dumps({"names": names, "spoilt": spoilt}), encoding="utf-8")
        partial.rename(folder)
    except BaseException as error:
        shutil.rmtree(partial, ignore_errors=True)
        if isinstance(error, OSError) and error.filename is None:  # of a write
            raise OSError(error.errno, error.strerror, f"{folder.parent} (set DYNAMIC_KD_CACHE to move it)") from error
        raise


def _write_header(file: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}  # type: ignore[no-untyped-call]
    np.lib.format.write_array_header_1_0(file, header)  # type: ignore[no-untyped-call]
