"""The log of stage 2: what is read, what is forgiven, what is refused."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from weights_csv import COLUMNS, row, write_log

pytest.importorskip("torch", reason="torch is not installed")

from dynamic_kd.training._weights_log import read_weights_log

TWO_EPOCHS = [(1, "b", 0.9, 0.8, 0.7), (1, "a", 0.4, 0.6, 0.01), (2, "a", 0.3, 0.5, 0.01), (2, "b", 0.8, 0.2, 0.5)]


def test_a_row_for_each_epoch_and_a_column_for_each_sample(tmp_path):
    log = read_weights_log(write_log(tmp_path / "weights.csv", TWO_EPOCHS))
    assert log.epochs.tolist() == [1, 2]
    assert log.names == ("a", "b")
    assert log.teacher_iou.tolist() == [[0.4, 0.9], [0.3, 0.8]]
    assert log.student_error.tolist() == [[0.6, 0.8], [0.5, 0.2]]
    assert log.weight.tolist() == [[0.01, 0.7], [0.01, 0.5]]
    assert log.reliable.tolist() == [[False, True], [False, True]]
    assert log.lines.tolist() == [[3, 2], [4, 5]]
    assert log.seen.all()


def test_an_epoch_that_runs_has_samples_to_come(tmp_path):
    log = read_weights_log(write_log(tmp_path / "weights.csv", TWO_EPOCHS[:3]))
    assert log.seen.tolist() == [[True, True], [True, False]]
    for values in (log.teacher_iou, log.student_error, log.weight):
        np.testing.assert_array_equal(np.isnan(values), ~log.seen)
    assert not log.reliable[1, 1]


@pytest.mark.parametrize("cut", [1, 8, len(row(*TWO_EPOCHS[3]))])
def test_a_line_that_is_still_being_written_does_not_count(tmp_path, cut):
    path = write_log(tmp_path / "weights.csv", [*TWO_EPOCHS[:3], row(*TWO_EPOCHS[3])[:cut]], end="")
    assert read_weights_log(path).lines.max() == 4


def test_a_name_cut_within_a_letter_is_no_error(tmp_path):
    path = write_log(tmp_path / "weights.csv", TWO_EPOCHS)
    path.write_bytes(path.read_bytes() + "3,ü".encode()[:3])
    assert read_weights_log(path).epochs.tolist() == [1, 2]


def test_of_rows_repeated_after_a_resume_the_last_counts(tmp_path):
    again = [(2, "b", 0.7, 0.1, 0.4), (2, "a", 0.6, 0.3, 0.2)]
    log = read_weights_log(write_log(tmp_path / "weights.csv", [*TWO_EPOCHS, *again]))
    assert log.teacher_iou.tolist() == [[0.4, 0.9], [0.6, 0.7]]
    assert log.reliable.tolist() == [[False, True], [True, True]]


@given(
    st.lists(
        st.tuples(st.integers(1, 4), st.sampled_from(["a", "b,c", 'd"e', "f\u2028g"]), *[st.integers(0, 8)] * 3),
        min_size=1,
    )
)
def test_what_is_read_is_the_last_of_what_was_written(tmp_path_factory, rows):
    rows = [(epoch, name, *(value / 8 for value in values)) for epoch, name, *values in rows]
    quoted = [(epoch, '"' + name.replace('"', '""') + '"', *values) for epoch, name, *values in rows]
    log = read_weights_log(write_log(tmp_path_factory.mktemp("log") / "weights.csv", quoted))
    expected = {(epoch, name): tuple(values) for epoch, name, *values in rows}
    found = {
        (int(epoch), name): (log.teacher_iou[e, n], log.student_error[e, n], log.weight[e, n])
        for e, epoch in enumerate(log.epochs)
        for n, name in enumerate(log.names)
        if log.seen[e, n]
    }
    assert found == expected


def test_the_latest_samples_are_those_of_the_last_epochs_in_the_order_of_training(tmp_path):
    rows = [*TWO_EPOCHS, (3, "b", 0.75, 0.25, 0.4)]
    log = read_weights_log(write_log(tmp_path / "weights.csv", rows))
    for count in (1, 2, 4, 5, 99):
        teacher, student = log.latest(count)
        np.testing.assert_allclose(teacher, [each[2] for each in rows[-count:]])
        np.testing.assert_allclose(student, [1 - each[3] for each in rows[-count:]])


def test_an_epoch_written_again_stays_before_the_later_ones(tmp_path):
    log = read_weights_log(write_log(tmp_path / "weights.csv", [*TWO_EPOCHS, TWO_EPOCHS[0]]))
    assert log.latest(2)[0].tolist() == [0.3, 0.8]


def test_columns_are_found_by_name_and_others_left_alone(tmp_path):
    path = tmp_path / "weights.csv"
    path.write_text("reliable,more,weight,student_error,teacher_iou,sample,epoch\n1,x,0.5,0.25,0.75,a,1\n")
    log = read_weights_log(path)
    assert (log.teacher_iou[0, 0], log.student_error[0, 0], log.weight[0, 0]) == (0.75, 0.25, 0.5)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "has no row yet; wait for the first epoch of stage 2"),
        (["1,a"], "weights.csv, line 2: has 2 values instead of 9; remove the line"),
        (["0,a,0,0,0,0,0,0,0"], "line 2: epoch must be a whole number from 1, got '0'"),
        (["x,a,0,0,0,0,0,0,0"], "line 2: epoch must be a whole number from 1, got 'x'"),
        ([TWO_EPOCHS[0], "1,a,0,0,0,2,0,0,0"], "line 3: reliable must be 0 or 1, got '2'"),
        (["1,a,1.5,0,0,0,0,0,0"], "line 2: teacher_iou must be a number in [0, 1], got '1.5'"),
        (["1,a,0,nan,0,0,0,0,0"], "line 2: student_error must be a number in [0, 1], got 'nan'"),
        (["1,a,0,0,-,0,0,0,0"], "line 2: weight must be a number in [0, 1], got '-'"),
    ],
)
def test_what_cannot_be_understood_is_named(tmp_path, lines, message):
    path = write_log(tmp_path / "weights.csv", lines)
    with pytest.raises(ValueError, match=re.escape(message)):
        read_weights_log(path)


def test_a_file_without_a_whole_line_has_no_rows_yet(tmp_path):
    for content in ("", ",".join(COLUMNS)[:20]):
        (tmp_path / "weights.csv").write_text(content)
        with pytest.raises(ValueError, match="has no row yet"):
            read_weights_log(tmp_path / "weights.csv")


def test_no_file_and_other_files(tmp_path):
    with pytest.raises(ValueError, match=r"weights\.csv: no such file; stage 2 of training writes it"):
        read_weights_log(tmp_path / "weights.csv")
    (tmp_path / "metrics.csv").write_text("epoch,sample,loss\n1,a,2\n")
    with pytest.raises(ValueError, match=r"has no column teacher_iou, student_error, weight, reliable"):
        read_weights_log(tmp_path / "metrics.csv")
