"""Figure 2: scores against sizes, with the paper's beside them."""

import pytest

pytest.importorskip("matplotlib", reason="matplotlib is not installed")

from dynamic_kd.evaluation import score_against_size


def test_scores_against_sizes_have_the_papers_beside_them():
    figure = score_against_size({"mine": (10.0, 0.9)}, dataset="NLPR")
    told = {text.get_text(): tuple(text.xy) for text in figure.axes[0].texts}
    assert told["mine"] == (10.0, 0.9)
    assert told["Ours VGG19"] == (78.2, 0.930)
    assert told["DMRA"] == (238.8, 0.888)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dataset": "ECSSD"}, "dataset: expected one of the paper's Table 1, got 'ECSSD'"),
        ({"score": "wF"}, "score: expected one of 'maxF'"),
    ],
)
def test_what_the_paper_does_not_print_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        score_against_size({}, **settings)
