"""How the programs of a launch share the pixels of a batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from dynamic_kd.torch._fused._kernels import _backward, _cells, _forward

if TYPE_CHECKING:
    from torch import Tensor

# Warps of a program. In each step a thread loads 16 bytes of the student's logits.
WARPS = 4
BYTES = 16
# A program takes as many steps as leave each multiprocessor this many programs. A thread multiplies quotients, each in
# (1/2, 2], of all steps: more than 127 could leave float32's range.
PROGRAMS, MOST_QUOTIENTS = 16, 64
# Of cells: rows that a program takes, as long as there is a program for each multiprocessor; pixels that a thread takes
# side by side; pixels of a tile, at least where a row of cells takes more than one tile, and at most; warps.
ROWS, WIDE, FEWEST_PIXELS, MOST_PIXELS, MOST_WARPS = 8, 4, 512, 2048, 8


class Plane(NamedTuple):
    """A batch of maps as the kernels read it."""

    strides: tuple[int, int, int, int]
    channels: int
    dense: bool


def plane_of(maps: Tensor) -> Plane:
    """Return how the kernels read a batch of maps."""
    height, width = maps.shape[-2:]
    strides = maps.stride() if maps.ndim == 4 else (maps.stride(0), 0, *maps.stride()[1:])
    dense = (strides[3] == 1 or width == 1) and (strides[2] == width or height == 1)
    batch, channel, row, column = strides
    return Plane((batch, channel, row, column), 1 if maps.ndim == 3 else maps.shape[1], dense)


class Plan(NamedTuple):
    """Both kernels, the programs of an image, and what the kernels are told beside strides and settings."""

    forward: Any
    backward: Any
    tiles: int
    numbers: tuple[Any, ...]
    constants: dict[str, Any]
    forward_constants: dict[str, Any]


def full_plan(student: Tensor, teacher: Tensor, target: Tensor, planes: list[Plane], multiprocessors: int) -> Plan:
    """Plan the launches for maps that all have the target's size."""
    height, width = target.shape[-2:]
    images, pixels = target.shape[0], height * width
    wide = BYTES // student.element_size()
    block = 32 * WARPS * wide
    steps, tiles = _steps_and_tiles(images, -(-pixels // block), MOST_QUOTIENTS // wide, multiprocessors)
    names = ("STUDENT_DENSE", "TEACHER_DENSE", "TARGET_DENSE", "VALID_DENSE")
    constants: dict[str, Any] = {name: plane.dense for name, plane in zip(names, planes, strict=True)}
    constants |= {"BLOCK": block, "STEPS": steps, "num_warps": WARPS}
    return Plan(_forward.forward, _backward.backward, tiles, (width, pixels, tiles), constants, {"WIDE": wide})


def cells_plan(student: Tensor, teacher: Tensor, target: Tensor, planes: list[Plane], multiprocessors: int) -> Plan:
    """Plan the launches for a student smaller than the target."""
    (height, width), (target_height, target_width) = student.shape[-2:], target.shape[-2:]
    ratio_y, ratio_x = target_height // height, target_width // width
    cells, blocks, halo = _blocks(width, ratio_x)
    strip = ROWS
    while strip > 1 and target.shape[0] * blocks * -(-height // strip) < multiprocessors:
        strip //= 2
    tiles = blocks * -(-height // strip)
    wide = min(ratio_x, WIDE)
    grid = "other"
    if teacher.shape[-2:] in (student.shape[-2:], target.shape[-2:]):
        grid = "student" if teacher.shape[-2:] == student.shape[-2:] else "target"
    constants = {
        "TEACHER_GRID": grid,
        "RATIO_Y": ratio_y,
        "RATIO_X": ratio_x,
        "ROWS": strip,
        "CELLS": cells,
        "HALO": halo,
        "WIDE": wide,
        "num_warps": min(max(cells * ratio_x // (32 * WIDE), 1), MOST_WARPS),
    }
    sizes = (height, width, *teacher.shape[-2:])
    each_row = {"LOG_EACH_ROW": wide * ratio_y > MOST_QUOTIENTS}
    return Plan(_cells.forward, _cells.backward, tiles, (sizes, tiles, blocks), constants, each_row)


def _blocks(width: int, ratio: int) -> tuple[int, int, int]:
    """Return the cells of a tile, the tiles of a row, and how many cells of a tile are its neighbours', on each side.

    One tile for the whole row needs no neighbours, but its cells are rounded up to a power of two.
    """
    choices = [(power_of_two(width), 1, 0)]
    cells = MOST_PIXELS // ratio
    while cells > 2 and cells * ratio >= FEWEST_PIXELS:
        choices.append((cells, -(-width // (cells - 2)), 1))
        cells //= 2
    fitting = [choice for choice in choices if choice[0] * ratio <= MOST_PIXELS]
    return min(fitting, key=lambda choice: choice[0] * choice[1])


def _steps_and_tiles(images: int, blocks: int, most: int, multiprocessors: int) -> tuple[int, int]:
    """Return the steps that a program takes, and how many programs make up an image of this many blocks."""
    wanted = -(-blocks * images // (multiprocessors * PROGRAMS))
    steps = min(power_of_two(wanted), most)
    return steps, -(-blocks // steps)


def power_of_two(number: int) -> int:
    """Round up."""
    return 1 << max(number - 1, 0).bit_length()
