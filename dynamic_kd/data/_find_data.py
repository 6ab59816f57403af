"""Data sets as lists of files that belong together, found without decoding any."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from dynamic_kd._checks import check_choice, check_flag
from dynamic_kd._mask import Meaning, meaning
from dynamic_kd.data._known_sets import count_note
from dynamic_kd.data._located import Located, locate
from dynamic_kd.data._pairing import IMAGE_SUFFIXES

POLARITIES = ("auto", "bright", "dark")


@dataclass(frozen=True)
class SampleFiles:
    """The files of one sample.

    Attributes
    ----------
    name : str
        Unique over the data sets found together: ``"0001"``, or ``"DES/0001"`` where there are several. Files are named
        by it.
    image : Path
        The colour image.
    depth, mask, teacher : Path or None
        The other files of the sample, at any size.
    """

    name: str
    image: Path
    depth: Path | None = None
    mask: Path | None = None
    teacher: Path | None = None


@dataclass(frozen=True)
class DataFolder:
    """A data set as files.

    Attributes
    ----------
    name : str
        The canonical name of a known data set (``"NJUD"``, not ``"NJU2K"``), else its folder's name. Unique over the
        data sets found together (``"NJUD/train"``, ``"NJUD/test"``).
    root : Path
        The folder that holds its sub-folders.
    files : tuple of SampleFiles
        In the order of their stems, or of the list file.
    near : str
        What is near in the depth files: ``"bright"``, ``"dark"``, or ``"auto"`` until `decide_near` has decided.
    split : str or None
        ``"train"``, ``"test"`` or ``"val"`` where a folder is named so.
    notes : tuple of str
        Remarks for the user, such as an unexpected count of images.
    depths : tuple of Path
        All depth files of the data set, also those of samples that a list file leaves out. `decide_near` looks at
        them, or at the samples' depth files if this is empty.
    meaning : Meaning
        What the user says of the levels of the masks.
    masks : tuple of Path
        All masks of the data set, also those of samples that a list file leaves out. `decide_masks` reads them.
    salient : tuple of int or None
        The salient levels, once `decide_masks` has found one meaning of the masks.
    """

    name: str
    root: Path
    files: tuple[SampleFiles, ...]
    near: str
    split: str | None = None
    notes: tuple[str, ...] = ()
    depths: tuple[Path, ...] = field(default=(), repr=False)
    meaning: Meaning = field(default_factory=Meaning)
    masks: tuple[Path, ...] = field(default=(), repr=False)
    salient: tuple[int, ...] | None = None

    @property
    def has_depth(self) -> bool:
        """Whether its samples have depth maps."""
        return any(files.depth for files in self.files)


def find_data(
    root: str | Path,
    *,
    depth: bool | None = None,
    masks: bool = True,
    list_file: str | Path | None = None,
    teacher: str | Path | None = None,
    near: str = "auto",
    salient: Any = None,
    void: Any = None,
    channel: str = "auto",
) -> list[DataFolder]:
    """Find data sets: a folder that holds images, depth maps and masks, or a folder of such folders.

    These sub-folders are known, in upper or lower case. Images: RGB, RGB_left, LR, Image, Images, Imgs, train_images,
    test_images. Depth maps: depth, depths, train_depth, train_depth_negation, test_depth. Masks: GT, Mask, masks,
    ground_truth_mask, train_masks, test_masks. Data sets may lie one or two levels below the root, as
    ``NJUD/train/RGB`` or ``train/NJUD/RGB``. Files with the same stem form a sample.

    Parameters
    ----------
    root : str or Path
        The folder.
    depth : bool, optional
        Whether depth maps are required (True) or ignored (False). By default a data set has depth if every image has a
        depth map.
    masks : bool
        Whether masks are required. With False they are ignored, and a folder of images alone is a data set.
    list_file : str or Path, optional
        Take the samples that this file names, one on each line: by a stem, a file name, a path from the root or from
        the data set, or by the paths of image, depth map and mask in columns. A ``#`` starts a comment.
    teacher : str or Path, optional
        A teacher's saliency maps: the name of a sub-folder in each data set, or a folder of maps. For several data sets
        this folder holds one folder for each. Maps without an image are ignored.
    near : {"auto", "bright", "dark"}
        What is near in the depth files; see `decide_near`.
    salient, void, channel
        What the levels of the masks mean, as for `read_mask`; see `decide_masks`. The channel is that of the teacher's
        maps, too.

    Returns
    -------
    list of DataFolder
        In the order of their paths. With a list file, those that it names samples of.

    Raises
    ------
    ValueError
        If there is no data set, if two sub-folders have one role, if files are unmatched or a teacher's map is missing
        (the message lists them and the folder that lacks them), or if the list file is wrong.

    Examples
    --------
    >>> [data] = find_data("NJU2K", depth=True, list_file="train.txt")  # doctest: +SKIP
    >>> data.name, len(data.files), data.notes  # doctest: +SKIP
    ('NJUD', 1485, ())
    """
    check_choice("near", near, POLARITIES)
    check_flag("masks", masks)
    wanted = meaning(salient, void, channel)
    if depth is not None:
        check_flag("depth", depth)
    needed = ("image", *(["depth"] if depth else []), *(["mask"] if masks else []))
    ignored = (*(["depth"] if depth is False else []), *([] if masks else ["mask"]))
    located, notes = locate(Path(root), needed, ignored, list_file, teacher)
    folders = [replace(_data_folder(each, near, depth), meaning=wanted) for each in located]
    return [replace(folders[0], notes=(*notes, *folders[0].notes)), *folders[1:]]


def _data_folder(located: Located, near: str, depth: bool | None) -> DataFolder:
    """Match the files of a data set, or raise. Depth that is optional is left out unless every image has it."""
    layout, notes = located.layout, []
    if depth is None and (lacking := located.lacking("depth")):
        notes.append(f"{layout.folder}: depth is left out: {located.words({'depth': lacking})}")
        located = located.without("depth")
    missing = located.missing()
    if missing:
        folders = ", ".join(layout.roles[role].name for role in located.files)
        raise ValueError(
            f"{layout.folder}: expected the same file stems in {folders}, got {located.words(missing)}; "
            "add or remove files, or name those to use in a list file"
        )
    if not located.wanted:
        raise ValueError(f"{layout.roles['image']}: expected images ({', '.join(IMAGE_SUFFIXES)}), got none")
    if count := count_note(layout.name, layout.split, len(located.wanted)):
        notes.append(count)
    notes += [f"{layout.folder}: {note}" for note in located.notes]
    files = [SampleFiles(located.prefix + stem, **located.of(stem)) for stem in located.wanted]
    depths, masks = (tuple(located.files.get(role, {}).values()) for role in ("depth", "mask"))
    return DataFolder(located.name, layout.folder, tuple(files), near, layout.split, tuple(notes), depths, masks=masks)
