"""Both kernels for a student smaller than the target: its logits are interpolated where they are used.

Each of the student's pixels is a cell of RATIO_Y by RATIO_X pixels of the target. These lie a distance d in
(-1/2, 1/2) from its centre, on either axis, so their logits are v + |d| (n - v), with the neighbour n on that side. A
program takes some rows of cells, and in them a block of columns. Its tiles have a row for each cell, with the cell's
pixels of one row of the target. RATIO_X is a power of two, so threads read several neighbouring pixels at once. The
nine student pixels around a cell are read once for all its pixels.

Backward, the derivatives of a cell's pixels are summed for each of these nine, and neighbours in the same column of
cells are carried from row to row. The rows and columns of cells around a program's own are computed by two programs
each, so none waits for another or adds to what it wrote: every run gives the same bits.
"""

import triton
import triton.language as tl

from dynamic_kd.torch._fused._kernels._backward import scales, slopes
from dynamic_kd.torch._fused._kernels._forward import finish, measures, multiply
from dynamic_kd.torch._fused._kernels._math import clipped_logit
from dynamic_kd.torch._fused._kernels._pixels import limited, logits, signed


@triton.jit
def _distance(place, RATIO: tl.constexpr):
    """How far a cell's pixel is from the cell's centre on one axis, in cells, by its place among the cell's pixels."""
    return tl.cast(2 * place + 1 - RATIO, tl.float32) / (2 * RATIO)


@triton.jit
def _columns(block, width, RATIO_X: tl.constexpr, CELLS: tl.constexpr, HALO: tl.constexpr):
    """A block's cells, which of them it owns, its pixels, which of them exist, and their distances."""
    lane = tl.arange(0, CELLS)
    cell = block * (CELLS - 2 * HALO) + lane - HALO
    exists = (cell >= 0) & (cell < width)
    owned = exists & (lane >= HALO) & (lane < CELLS - HALO)
    place = tl.arange(0, RATIO_X)[None, :]
    pixel = cell[:, None] * RATIO_X + place
    return cell, exists, owned, pixel, exists[:, None] & (place < RATIO_X), _distance(place, RATIO_X)


@triton.jit
def _row(base, row, cell, low, exists, strides, CHANNELS: tl.constexpr):
    """A source row at cells, with the steps to their left and right neighbours."""
    base += tl.cast(row, tl.int64) * strides[2]
    here = logits(base, cell * strides[3], exists, strides[1], CHANNELS)
    left = logits(base, tl.maximum(cell - 1, 0) * strides[3], exists, strides[1], CHANNELS)
    right = logits(base, tl.minimum(cell + 1, low - 1) * strides[3], exists, strides[1], CHANNELS)
    return left, here, right


@triton.jit
def _rows(base, row, rows, cell, low, exists, strides, CHANNELS: tl.constexpr):
    """Three source rows, clamped at the edges."""
    above = _row(base, tl.maximum(row - 1, 0), cell, low, exists, strides, CHANNELS)
    here = _row(base, row, cell, low, exists, strides, CHANNELS)
    below = _row(base, tl.minimum(row + 1, rows - 1), cell, low, exists, strides, CHANNELS)
    return above, here, below


@triton.jit
def _mixed(above, here, below, distance):
    """Source values at a vertical distance."""
    return here + tl.abs(distance) * (tl.where(distance < 0, above, below) - here)


@triton.jit
def _interpolated(rows, y_distance, x_distance):
    """One row of the target's pixels, by cells."""
    above, here, below = rows
    left = _mixed(above[0], here[0], below[0], y_distance)[:, None]
    middle = _mixed(above[1], here[1], below[1], y_distance)[:, None]
    right = _mixed(above[2], here[2], below[2], y_distance)[:, None]
    return _mixed(left, middle, right, x_distance)


@triton.jit
def _around(pixel, low, high):
    """The two source pixels around a pixel, on one axis, and how far it is from the first."""
    position = tl.maximum((2 * pixel + 1) * low - high, 0)
    before = position // (2 * high)
    share = (position - 2 * high * before).to(tl.float32) / (2 * high)
    return before, tl.minimum(before + 1, low - 1), share


@triton.jit
def _sampled(base, rows, columns, inside, strides, CHANNELS: tl.constexpr):
    """One row of the target's pixels, from a teacher whose grid is neither the student's nor the target's."""
    before, after, x_share = columns
    above, below, y_share = rows
    above = tl.cast(above, tl.int64) * strides[2]
    below = tl.cast(below, tl.int64) * strides[2]
    left = logits(base + above, before * strides[3], inside, strides[1], CHANNELS)
    left += y_share * (logits(base + below, before * strides[3], inside, strides[1], CHANNELS) - left)
    right = logits(base + above, after * strides[3], inside, strides[1], CHANNELS)
    right += y_share * (logits(base + below, after * strides[3], inside, strides[1], CHANNELS) - right)
    return left + x_share * (right - left)


@triton.jit
def _folded(values, WIDE: tl.constexpr):
    """Sum neighbours in a cell that one thread holds."""
    return tl.sum(tl.reshape(values, (values.shape[0], values.shape[1] // WIDE, WIDE)), axis=2)


@triton.jit
def _inputs(
    maps,
    strides,
    sizes,
    y,
    y_distance,
    student_rows,
    teacher_rows,
    teacher_columns,
    pixel,
    there,
    x_distance,
    clip,
    RATIO_Y: tl.constexpr,
    TEACHER_GRID: tl.constexpr,
    TEACHER_CHANNELS: tl.constexpr,
    TEACHER_MAPS: tl.constexpr,
    HAS_VALID: tl.constexpr,
    FAST: tl.constexpr,
):
    """One row of pixels: the student's logit, the teacher's, its map, the target, and whether it counts."""
    teacher, target, valid = maps
    teacher_strides, target_strides, valid_strides = strides
    row = tl.cast(y, tl.int64)
    inside = there
    if HAS_VALID:
        at = valid + row * valid_strides[2] + pixel * valid_strides[3]
        inside = inside & (tl.load(at, inside, other=0) != 0)
    g = signed(tl.load(target + row * target_strides[2] + pixel * target_strides[3], inside, other=0))
    s = tl.where(inside, _interpolated(student_rows, y_distance, x_distance), 0.0)
    if TEACHER_GRID == "target":
        base = teacher + row * teacher_strides[2]
        t = logits(base, pixel * teacher_strides[3], inside, teacher_strides[1], TEACHER_CHANNELS)
    elif TEACHER_GRID == "student":
        t = tl.where(inside, _interpolated(teacher_rows, y_distance, x_distance), 0.0)
    else:
        rows = _around(y, sizes[2], sizes[0] * RATIO_Y)
        t = _sampled(teacher, rows, teacher_columns, inside, teacher_strides, TEACHER_CHANNELS)
    m = t
    if TEACHER_MAPS:
        m = tl.where(inside, limited(t), 0.5)
        t = clipped_logit(m, clip, FAST)
    return s, t, m, g, inside


@triton.jit
def forward(
    student,
    teacher,
    target,
    valid,
    partials,
    counters,
    terms,
    loss,
    student_strides,
    teacher_strides,
    target_strides,
    valid_strides,
    images,
    sizes,
    tiles,
    blocks,
    clip,
    rate,
    inverse_temperature,
    kl_scale,
    p,
    threshold,
    noise_weight,
    fixed_weight,
    STUDENT_CHANNELS: tl.constexpr,
    TEACHER_CHANNELS: tl.constexpr,
    TEACHER_GRID: tl.constexpr,
    HAS_VALID: tl.constexpr,
    TEACHER_MAPS: tl.constexpr,
    WEIGHTING: tl.constexpr,
    NOISE_ELIMINATION: tl.constexpr,
    REDUCTION: tl.constexpr,
    POWER: tl.constexpr,
    HIGH_TEMPERATURE: tl.constexpr,
    RATIO_Y: tl.constexpr,
    RATIO_X: tl.constexpr,
    ROWS: tl.constexpr,
    CELLS: tl.constexpr,
    HALO: tl.constexpr,
    WIDE: tl.constexpr,
    LOG_EACH_ROW: tl.constexpr,
    TILES: tl.constexpr,
    IMAGES: tl.constexpr,
    FAST: tl.constexpr,
):
    """Sum a tile's pixels, as the forward kernel of full-size logits does.

    ``sizes`` are height and width of the student and of the teacher.

    Grid (images * tiles,).
    """
    image = (tl.program_id(0) // tiles).to(tl.int64)
    tile = tl.program_id(0) % tiles
    strip, block = tile // blocks, tile % blocks
    student += image * student_strides[0]
    maps = teacher + image * teacher_strides[0], target + image * target_strides[0], valid + image * valid_strides[0]
    strides = teacher_strides, target_strides, valid_strides
    height, width, _, teacher_width = sizes
    cell, exists, owned, pixel, there, x_distance = _columns(block, width, RATIO_X, CELLS, HALO)
    there = there & owned[:, None]
    teacher_columns = _around(pixel, teacher_width, width * RATIO_X)
    folded = tl.zeros((CELLS, RATIO_X // WIDE), tl.float32)
    of_teacher, teacher_hits, student_errors, student_hits, of_target = folded, folded, folded, folded, folded
    divergence, entropy, teacher_entropy, counted = folded, folded, folded, folded
    for row in range(strip * ROWS, tl.minimum(strip * ROWS + ROWS, height)):
        rows = _rows(student, row, height, cell, width, exists, student_strides, STUDENT_CHANNELS)
        teacher_rows = rows
        if TEACHER_GRID == "student":
            teacher_rows = _rows(maps[0], row, height, cell, width, exists, teacher_strides, TEACHER_CHANNELS)
        product = folded + 1.0
        logs = folded
        for y in range(row * RATIO_Y, row * RATIO_Y + RATIO_Y):
            s, t, m, g, inside = _inputs(
                maps,
                strides,
                sizes,
                y,
                _distance(y - row * RATIO_Y, RATIO_Y),
                rows,
                teacher_rows,
                teacher_columns,
                pixel,
                there,
                x_distance,
                clip,
                RATIO_Y,
                TEACHER_GRID,
                TEACHER_CHANNELS,
                TEACHER_MAPS,
                HAS_VALID,
                FAST,
            )
            values = measures(s, t, m, g, inside, rate, TEACHER_MAPS, WEIGHTING, POWER, HIGH_TEMPERATURE, FAST)
            of_teacher += _folded(values[0], WIDE)
            teacher_hits += _folded(values[1], WIDE)
            student_errors += _folded(values[2], WIDE)
            student_hits += _folded(values[3], WIDE)
            of_target += _folded(g, WIDE)
            divergence += _folded(values[4] * inverse_temperature, WIDE)
            product *= tl.reduce(tl.reshape(values[5], (CELLS, RATIO_X // WIDE, WIDE)), 2, multiply)
            if LOG_EACH_ROW:
                logs += tl.log(product)
                product = folded + 1.0
            if HIGH_TEMPERATURE:
                divergence += _folded(values[8], WIDE)
            entropy += _folded(values[6], WIDE)
            if WEIGHTING == "a2dele":
                teacher_entropy += _folded(values[7], WIDE)
            if HAS_VALID:
                counted += _folded(inside.to(tl.float32), WIDE)
        divergence += logs + tl.log(product)
    finish(
        (
            of_teacher,
            teacher_hits,
            student_errors,
            student_hits,
            of_target,
            divergence,
            entropy,
            teacher_entropy,
            counted,
        ),
        partials,
        counters,
        terms,
        loss,
        image,
        images,
        tile,
        tiles,
        height * width * RATIO_Y * RATIO_X,
        (kl_scale, p, threshold, noise_weight, fixed_weight),
        HAS_VALID,
        WEIGHTING,
        NOISE_ELIMINATION,
        REDUCTION,
        TILES,
        IMAGES,
    )


@triton.jit
def backward(
    student,
    teacher,
    target,
    valid,
    terms,
    gradients,
    result,
    student_strides,
    teacher_strides,
    target_strides,
    valid_strides,
    gradients_stride,
    images,
    sizes,
    tiles,
    blocks,
    clip,
    rate,
    kl_slope,
    STUDENT_CHANNELS: tl.constexpr,
    TEACHER_CHANNELS: tl.constexpr,
    TEACHER_GRID: tl.constexpr,
    HAS_VALID: tl.constexpr,
    TEACHER_MAPS: tl.constexpr,
    POWER: tl.constexpr,
    HIGH_TEMPERATURE: tl.constexpr,
    RATIO_Y: tl.constexpr,
    RATIO_X: tl.constexpr,
    ROWS: tl.constexpr,
    CELLS: tl.constexpr,
    HALO: tl.constexpr,
    WIDE: tl.constexpr,
    FAST: tl.constexpr,
):
    """Write the derivatives by the student's own pixels.

    Grid (images * tiles,).
    """
    image = (tl.program_id(0) // tiles).to(tl.int64)
    strip, block = tl.program_id(0) % tiles // blocks, tl.program_id(0) % tiles % blocks
    soft_scale, hard_scale = scales(terms, gradients + image * gradients_stride, image, images, kl_slope)
    student += image * student_strides[0]
    maps = teacher + image * teacher_strides[0], target + image * target_strides[0], valid + image * valid_strides[0]
    strides = teacher_strides, target_strides, valid_strides
    result += image * sizes[0] * sizes[1] * STUDENT_CHANNELS
    height, width, _, teacher_width = sizes
    cell, exists, owned, pixel, there, x_distance = _columns(block, width, RATIO_X, CELLS, HALO)
    to_left, to_right = tl.maximum(-x_distance, 0.0), tl.maximum(x_distance, 0.0)
    to_middle = 1.0 - tl.abs(x_distance)
    teacher_columns = _around(pixel, teacher_width, width * RATIO_X)
    # Sums for the left, the same and the right source column: of the source row before the present one, and of it.
    zero = tl.zeros((CELLS,), tl.float32)
    before = zero, zero, zero
    present = zero, zero, zero
    top, end = strip * ROWS, tl.minimum(strip * ROWS + ROWS, height)
    for row in range(tl.maximum(top - 1, 0), tl.minimum(end + 1, height)):
        rows = _rows(student, row, height, cell, width, exists, student_strides, STUDENT_CHANNELS)
        teacher_rows = rows
        if TEACHER_GRID == "student":
            teacher_rows = _rows(maps[0], row, height, cell, width, exists, teacher_strides, TEACHER_CHANNELS)
        # Of the rows around its own, a program needs the half that lies towards them.
        first = row * RATIO_Y + tl.where(row < top, RATIO_Y // 2, 0)
        last = row * RATIO_Y + tl.where(row < end, RATIO_Y, RATIO_Y - RATIO_Y // 2)
        folded = tl.zeros((CELLS, RATIO_X // WIDE), tl.float32)
        up_left, up, up_right, left, middle, right = folded, folded, folded, folded, folded, folded
        down_left, down, down_right = folded, folded, folded
        for y in range(first, last):
            y_distance = _distance(y - row * RATIO_Y, RATIO_Y)
            s, t, _m, g, inside = _inputs(
                maps,
                strides,
                sizes,
                y,
                y_distance,
                rows,
                teacher_rows,
                teacher_columns,
                pixel,
                there,
                x_distance,
                clip,
                RATIO_Y,
                TEACHER_GRID,
                TEACHER_CHANNELS,
                TEACHER_MAPS,
                HAS_VALID,
                FAST,
            )
            slope = slopes(s, t, g, soft_scale, hard_scale, rate, POWER, HIGH_TEMPERATURE, FAST)
            slope = tl.where(inside, slope, 0.0)
            of_left = _folded(slope * to_left, WIDE)
            of_middle = _folded(slope * to_middle, WIDE)
            of_right = _folded(slope * to_right, WIDE)
            to_up, to_down = tl.maximum(-y_distance, 0.0), tl.maximum(y_distance, 0.0)
            to_here = 1.0 - tl.abs(y_distance)
            up_left += to_up * of_left
            up += to_up * of_middle
            up_right += to_up * of_right
            left += to_here * of_left
            middle += to_here * of_middle
            right += to_here * of_right
            down_left += to_down * of_left
            down += to_down * of_middle
            down_right += to_down * of_right
        above = tl.sum(up_left, 1), tl.sum(up, 1), tl.sum(up_right, 1)
        here = tl.sum(left, 1), tl.sum(middle, 1), tl.sum(right, 1)
        below = tl.sum(down_left, 1), tl.sum(down, 1), tl.sum(down_right, 1)
        if row == 0:
            here = _added(here, above)  # beyond the edge the source's first row goes on
        else:
            before = _added(before, above)
        present = _added(present, here)
        if (row > top) & (row <= end):
            _store(result, before, row - 1, cell, owned, height, width, STUDENT_CHANNELS)
        if row == height - 1:
            present = _added(present, below)
            if row < end:
                _store(result, present, row, cell, owned, height, width, STUDENT_CHANNELS)
        before, present = present, below


@triton.jit
def _added(first, second):
    return first[0] + second[0], first[1] + second[1], first[2] + second[2]


@triton.jit
def _store(result, sums, row, cell, owned, height, width, CHANNELS: tl.constexpr):
    """Write a row of derivatives; a cell's sums for its neighbours come to them by an exchange between lanes."""
    left, middle, right = sums
    lane = tl.arange(0, cell.shape[0])
    from_left = tl.gather(right, tl.maximum(lane - 1, 0), 0)
    from_right = tl.gather(left, tl.minimum(lane + 1, cell.shape[0] - 1), 0)
    slope = middle + tl.where(cell == 0, left, from_left) + tl.where(cell == width - 1, right, from_right)
    at = result + tl.cast(row, tl.int64) * width + cell
    if CHANNELS == 1:
        tl.store(at, slope.to(result.dtype.element_ty), owned)
    else:
        tl.store(at, (-slope).to(result.dtype.element_ty), owned)
        tl.store(at + tl.cast(height, tl.int64) * width, slope.to(result.dtype.element_ty), owned)
