"""Data sets as lists of files that belong together; nothing is decoded yet."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from dynamic_kd._checks import check_choice, check_flag
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
        Unique over the data sets found together, used as file stem: ``"0001"``, or ``"DES/0001"`` if they are several.
    image : Path
        The colour image.
    depth, mask, teacher : Path or None
        What else there is of it, at any size.
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
        The canonical name where the set is known (``"NJUD"``, not ``"NJU2K"``), else its folder's; unique over the
        data sets found together (``"NJUD/train"``, ``"NJUD/test"``).
    root : Path
        The folder that its sub-folders lie in.
    files : tuple of SampleFiles
        In the order of their stems or of the list file.
    near : str
        What is near in the depth files: ``"bright"``, ``"dark"``, or ``"auto"`` until `decide_near` has looked.
    split : str or None
        ``"train"``, ``"test"`` or ``"val"`` where a folder's name says so.
    notes : tuple of str
        What the user should know, such as another count of images than the set is known for.
    depths : tuple of Path
        All depth files of the data set, also those of samples that a list file leaves out; by them `decide_near`
        decides. If empty, by those of the samples.
    """

    name: str
    root: Path
    files: tuple[SampleFiles, ...]
    near: str
    split: str | None = None
    notes: tuple[str, ...] = ()
    depths: tuple[Path, ...] = field(default=(), repr=False)

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
) -> list[DataFolder]:
    """Find data sets: a folder that holds images, depth maps and masks, or a folder of such folders.

    The images lie in a sub-folder RGB, RGB_left, LR, Image, Images, Imgs, train_images or test_images; the depth maps
    in depth, depths, train_depth, train_depth_negation or test_depth; the masks in GT, Mask, masks,
    ground_truth_mask, train_masks or test_masks; upper and lower case are the same. Data sets may lie one or two
    levels below the root, as ``NJUD/train/RGB`` or ``train/NJUD/RGB``. Files belong together by stem.

    Parameters
    ----------
    root : str or Path
        The folder.
    depth : bool, optional
        Whether depth maps are required (True) or ignored (False); by default each set that has one for every image
        has depth.
    masks : bool
        Whether masks are required; without, they are ignored, and a folder that holds nothing but images is a set.
    list_file : str or Path, optional
        Take the samples that this file names, one a line: a stem, a file's name, a path from the root or from the
        data set, or the paths of image, depth map and mask in columns. A ``#`` starts a comment.
    teacher : str or Path, optional
        A teacher's saliency maps: the name of a sub-folder in each data set, or a folder of maps (for several data
        sets, one that holds a folder for each). It may hold more maps than there are images.
    near : {"auto", "bright", "dark"}
        What is near in the depth files; see `decide_near`.

    Returns
    -------
    list of DataFolder
        In the order of their paths; of a list file's, those that it names samples of.

    Raises
    ------
    ValueError
        If there is no data set, if two sub-folders serve one role, if files are unmatched or a teacher's map is
        missing (they are listed, and which folder lacks them), or if the list file is wrong.

    Examples
    --------
    >>> [data] = find_data("NJU2K", depth=True, list_file="train.txt")  # doctest: +SKIP
    >>> data.name, len(data.files), data.notes  # doctest: +SKIP
    ('NJUD', 1485, ())
    """
    check_choice("near", near, POLARITIES)
    check_flag("masks", masks)
    if depth is not None:
        check_flag("depth", depth)
    needed = ("image", *(["depth"] if depth else []), *(["mask"] if masks else []))
    ignored = (*(["depth"] if depth is False else []), *([] if masks else ["mask"]))
    located, notes = locate(Path(root), needed, ignored, list_file, teacher)
    folders = [_data_folder(each, near, depth) for each in located]
    return [replace(folders[0], notes=(*notes, *folders[0].notes)), *folders[1:]]


def _data_folder(located: Located, near: str, depth: bool | None) -> DataFolder:
    """Match the files of a data set, or raise; depth that is not asked for must be there for all images."""
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
    files = [SampleFiles(located.prefix + stem, **located.of(stem)) for stem in located.wanted]
    depths = tuple(located.files.get("depth", {}).values())
    return DataFolder(located.name, layout.folder, tuple(files), near, layout.split, tuple(notes), depths)
