"""`SODMetrics` in any order of its operations, against a model that keeps every image."""

import pickle

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from long_runs import examples

from dynamic_kd import metrics
from dynamic_kd.metrics import SODMetrics

HEIGHTS = st.integers(1, 5)
WIDTHS = st.sampled_from([2, 5, 6])  # a batch of width 1, 3 or 4 is refused, as if its channels were last
NAMES = st.sampled_from("abcdefgh")
LIT = st.sampled_from([[[True]], [[True]], [[False]]])  # every third target is empty
PRED_KINDS = st.sampled_from(["uint8", "float16", "float32", "float64", "torch", "channel"])
TARGET_KINDS = st.sampled_from(["bool", "uint8", "int64", "float32"])
SETTINGS = {
    "normalize": st.booleans(),
    "strict": st.booleans(),
    "empty_target": st.sampled_from(["count", "skip", "refuse"]),
    "duplicates": st.sampled_from(["refuse", "once"]),
    "per_image_curves": st.booleans(),
    "metrics": st.sampled_from([("MAE", "F", "wF", "S", "E"), ("E", "IoU", "AUC", "OA"), ("MAE", "SI-MAE", "F")]),
}


class Model:
    """Every image that counts, and how many do not."""

    def __init__(self, settings):
        self.settings = settings
        self.images = []  # (name, pred, target); the name a position where none was given
        self.skipped = []
        self.seen = 0
        self.duplicates = 0

    def knows(self, name):
        return isinstance(name, str) and name in {*(image[0] for image in self.images), *self.skipped}

    def add(self, name, pred, target):
        if self.knows(name):
            self.duplicates += 1
        elif self.settings["empty_target"] == "skip" and not target.any():
            self.skipped.append(name)
        else:
            self.images.append((name, pred, target))

    def refuses(self, names, targets):
        """Whether a batch is an error: a name again, or an empty target among the images that are new."""
        again = [self.knows(name) or (isinstance(name, str) and name in names[:k]) for k, name in enumerate(names)]
        if self.settings["duplicates"] == "refuse" and any(again):
            return True
        new = [target for target, old in zip(targets, again, strict=True) if not old]
        return self.settings["empty_target"] == "refuse" and not all(target.any() for target in new)

    def update(self, names, preds, targets):
        named = [self.seen + k for k in range(len(preds))] if names is None else names
        if self.refuses(named, targets):
            return False
        for image in zip(named, preds, targets, strict=True):
            self.add(*image)
        self.seen += len(preds)
        return True

    def merge(self, other):
        mine = Model(self.settings)
        mine.images, mine.skipped = self.images[:], self.skipped[:]
        for name, *pair in other.images:
            if self.knows(name):
                self.duplicates += 1
            else:
                mine.images.append((name if isinstance(name, str) else name + self.seen, *pair))
        for name in other.skipped:
            if self.knows(name):
                self.duplicates += 1
            else:
                mine.skipped.append(name if isinstance(name, str) else None)
        self.images, self.skipped = mine.images, mine.skipped
        self.seen += other.seen
        self.duplicates += other.duplicates

    def scores(self):
        """Means of the functions' values, and maxima and means of the mean curves."""
        found = {}
        normalize, strict = self.settings["normalize"], self.settings["strict"]

        def each(function, **more):
            values = [function(pred, target, normalize=normalize, **more) for _, pred, target in self.images]
            return np.mean(values, axis=0)

        def cut(letter, function, **more):
            curve = each(function, **more)
            own = each(function, reduce="max", **more)
            found.update({f"max{letter}": curve.max(), f"mean{letter}": curve.mean(), f"max{letter}_per_image": own})
            found[f"adp{letter}"] = each(function, reduce="adaptive", **more)

        for name in self.settings["metrics"]:
            if name == "F":
                cut("F", metrics.f_measure)
            elif name == "E":
                cut("E", metrics.e_measure, strict=strict)
            elif name in ("IoU", "OA"):
                rate = metrics.intersection_over_union if name == "IoU" else metrics.overall_accuracy
                cut(name, rate)
                found[f"bin{name}"] = each(rate, reduce="binary")
            elif name == "AUC":
                found |= {"AUC-ROC": each(metrics.roc_auc), "AUC-PR": each(metrics.pr_auc)}
            else:
                shown = {"S": "Sm"}.get(name, name)
                found[shown] = each(SINGLE[name])
        return found

    def counts(self):
        targets = [target for _, _, target in self.images]
        return {
            "images": len(targets),
            "empty_target": sum(not target.any() for target in targets) + len(self.skipped),
            "full_target": sum(bool(target.all()) for target in targets),
            "constant_prediction": sum(bool(pred.min() == pred.max()) for _, pred, _ in self.images),
            "skipped": len(self.skipped),
            "duplicates": self.duplicates,
        }


SINGLE = {
    "MAE": metrics.mean_absolute_error,
    "wF": metrics.weighted_f_measure,
    "S": metrics.s_measure,
    "SI-MAE": metrics.size_invariant_mean_absolute_error,
}


@st.composite
def batches(draw):
    """Predictions (uint8) and targets (bool) of one size, with names for all or for none."""
    shape = (draw(st.integers(1, 3)), draw(HEIGHTS), draw(WIDTHS))
    preds = draw(hnp.arrays(np.uint8, shape, elements=st.sampled_from([0, 3, 128, 200, 255])))
    targets = draw(hnp.arrays(bool, shape)) & np.array(draw(st.lists(LIT, min_size=len(preds), max_size=len(preds))))
    return preds, targets, draw(st.none() | st.lists(NAMES, min_size=len(preds), max_size=len(preds)))


def given_as(preds, targets, pred_kind, target_kind):
    """The batch as a user has it, and the predictions as the model has to know them."""
    targets = {"uint8": 255, "int64": 255}.get(target_kind, 1) * targets.astype(target_kind)
    if target_kind == "bool":
        targets = targets.astype(bool)
    if pred_kind == "uint8":
        return preds, targets, preds
    if pred_kind == "channel":
        return preds[:, None], targets[:, None], preds
    if pred_kind == "torch":
        torch = pytest.importorskip("torch")
        return torch.from_numpy(preds), torch.from_numpy(targets), preds
    floats = (preds / 255).astype(pred_kind)
    return floats, targets, floats


class Machine(RuleBasedStateMachine):
    """One accumulator and its model."""

    @initialize(settings=st.fixed_dictionaries(SETTINGS))
    def start(self, settings):
        self.settings = settings
        self.metrics, self.model = self.fresh()

    def fresh(self):
        return SODMetrics(**self.settings), Model(self.settings)

    def both(self, pair, batch, pred_kind, target_kind, how="update"):
        """Give a batch to an accumulator and to its model, which must agree whether it is an error."""
        accumulator, model = pair
        preds, targets, names = batch
        shown, masks, known = given_as(preds, targets, "uint8" if how == "padded" else pred_kind, target_kind)

        def update():
            if how == "records":
                accumulator.update_records(accumulator.measure(shown, masks), names)
            elif how == "padded":
                rim = ((0, 0), (1, 2), (0, 3))
                valid = np.pad(np.ones(masks.shape, bool), rim)
                accumulator.update(np.pad(shown, rim, constant_values=9), np.pad(masks, rim), names, valid=valid)
            else:
                accumulator.update(shown, masks, names)

        if model.update(names, list(known), list(targets)):
            update()
        else:
            with pytest.raises(ValueError, match=r"expected each image once|expected salient pixels in every mask"):
                update()

    @rule(
        batch=batches(), kinds=st.tuples(PRED_KINDS, TARGET_KINDS), how=st.sampled_from(["update", "records", "padded"])
    )
    def update(self, batch, kinds, how):
        self.both((self.metrics, self.model), batch, *kinds, how)

    @rule(batch=batches(), spoilt=st.sampled_from([np.nan, np.inf, -0.5, 7.0]))
    def a_bad_batch_is_refused(self, batch, spoilt):
        preds, targets, names = batch
        values = preds / 255
        values[0, 0, 0] = spoilt
        with pytest.raises(ValueError, match=r"pred: expected|names: expected each image once"):
            self.metrics.update(values, targets, names)

    @rule(parts=st.lists(st.tuples(batches(), PRED_KINDS), max_size=3))
    def merge(self, parts):
        other, model = self.fresh()
        for batch, pred in parts:
            self.both((other, model), batch, pred, "bool")
        before = other.state_dict()
        shared = [name for name in (*(image[0] for image in model.images), *model.skipped) if self.model.knows(name)]
        if shared and self.settings["duplicates"] == "refuse":
            with pytest.raises(ValueError, match="expected each image once"):
                self.metrics.merge(other)
        else:
            self.metrics.merge(other)
            self.model.merge(model)
        np.testing.assert_equal(other.state_dict(), before)

    @rule()
    def reset(self):
        self.metrics.reset()
        self.model = Model(self.settings)

    @rule()
    def save_and_load(self):
        other = SODMetrics(**self.settings)
        other.update(np.ones((1, 2, 2)), np.ones((1, 2, 2), bool))
        other.load_state_dict(self.metrics.state_dict())
        self.metrics = other

    @rule()
    def pickle(self):
        self.metrics = pickle.loads(pickle.dumps(self.metrics))

    @precondition(lambda self: not self.model.images)
    @rule()
    def nothing_cannot_be_scored(self):
        with pytest.raises(ValueError, match="compute: expected at least one scored image"):
            self.metrics.compute()

    @precondition(lambda self: self.model.images)
    @rule()
    def scores_are_the_models(self):
        report = self.metrics.compute()
        expected = self.model.scores()
        assert report.as_dict() == pytest.approx(expected, abs=1e-12)
        assert report.counts == self.model.counts()
        assert report.names == tuple(str(name) for name, *_ in self.model.images)
        if self.settings["per_image_curves"] and "F" in self.settings["metrics"]:
            own = [metrics.f_measure(p, t, normalize=self.settings["normalize"]) for _, p, t in self.model.images]
            np.testing.assert_allclose(report.per_image_curves["f_measure"], own, rtol=0, atol=1e-12)

    @precondition(lambda self: self.model.images)
    @rule(order=st.randoms())
    def one_pass_in_any_order_has_the_same_bits(self, order):
        images = self.model.images[:]
        order.shuffle(images)
        alone = SODMetrics(**self.settings)
        for name, pred, target in images:
            alone.update(pred, target, name if isinstance(name, str) else None)
        assert alone.compute().as_dict() == self.metrics.compute().as_dict()
        assert alone.compute().pooled == self.metrics.compute().pooled

    @invariant()
    def it_knows_how_many(self):
        if hasattr(self, "metrics"):
            assert len(self.metrics) == len(self.model.images)


TestSODMetrics = Machine.TestCase
TestSODMetrics.settings = settings(max_examples=examples(60), stateful_step_count=20)
