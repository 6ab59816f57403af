"""Files as stage 2 writes them, made by hand."""

COLUMNS = ("epoch", "sample", "teacher_iou", "student_error", "weight", "reliable", "kl", "ce", "loss")


def row(epoch, sample, teacher_iou, student_error, weight, reliable=None):
    reliable = teacher_iou > 0.5 if reliable is None else reliable
    numbers = (f"{value:.6f}" for value in (teacher_iou, student_error, weight))
    return ",".join([str(epoch), sample, *numbers, str(int(reliable)), "0.100000", "0.200000", "0.150000"])


def write_log(path, rows, end="\n"):
    """Write rows of `row`'s arguments, or lines that are ready."""
    lines = [",".join(COLUMNS), *(line if isinstance(line, str) else row(*line) for line in rows)]
    path.write_text("\n".join(lines) + end, encoding="utf-8")
    return path
