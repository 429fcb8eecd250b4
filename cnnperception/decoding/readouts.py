"""Linear readouts: each from training patterns to decision values of test patterns.

A readout is a function of coordinates (see `span`), the classes of the training stimuli, and
penalties; it returns decision values (penalty, test stimulus, class). The class of the largest
value is the prediction.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from .folds import assign_folds, groups_of_strata, splits
from .inputs import Labelled, whole_in_a_fold
from .span import RANK_TOLERANCE, Coordinates, coordinates

PENALTIES = tuple(float(p) for p in 10.0 ** np.arange(-4, 3))


def logistic(points: Coordinates, codes: np.ndarray, penalties: Sequence[float]) -> np.ndarray:
    """Return log odds of multinomial logistic regression.

    Minimises the sum of log losses plus penalty / 2 times the squared norm of the weights;
    intercepts are free. Differences between classes are log odds.
    """
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(tol=1e-6, max_iter=10_000, warm_start=True)
    found = []
    for penalty in penalties:
        model.set_params(C=1 / penalty).fit(points.train, codes)
        found.append(_a_column_a_class(model.decision_function(points.test)))
    return np.stack(found)


def ridge(points: Coordinates, codes: np.ndarray, penalties: Sequence[float]) -> np.ndarray:
    """Return predictions of ridge regression onto 1 for a class and -1 for the others.

    Minimises the sum of squared errors plus penalty times the squared norm of the weights;
    intercepts are free. One eigendecomposition serves all penalties.
    """
    targets = 2.0 * (codes[:, None] == np.arange(codes.max() + 1)) - 1
    return _ridge(points, targets, penalties)


def ridge_of_labelings(points: Coordinates, codes: np.ndarray, penalty: float) -> np.ndarray:
    """Return `ridge` of the same stimuli under many labels, from one eigendecomposition.

    Parameters
    ----------
    points : Coordinates
    codes : int array, shape (labeling, training stimulus)
    penalty : float

    Returns
    -------
    ndarray, shape (labeling, test stimulus, class)
    """
    classes = int(codes.max()) + 1
    targets = 2.0 * (codes.T[:, :, None] == np.arange(classes)) - 1
    decision = _ridge(points, targets.reshape(codes.shape[1], -1), [penalty])[0]
    return decision.reshape(len(decision), len(codes), classes).swapaxes(0, 1)


def _ridge(points: Coordinates, targets: np.ndarray, penalties: Sequence[float]) -> np.ndarray:
    """Return predictions (penalty, test stimulus, target) of targets (training stimulus, target).

    With X the centred training patterns and Z the test patterns, Z (X^T X + p)^-1 X^T T where
    there are fewer dimensions than stimuli, and the same as Z X^T (X X^T + p)^-1 T where not.
    """
    centre, level = points.train.mean(axis=0), targets.mean(axis=0)
    train, test, targets = points.train - centre, points.test - centre, targets - level
    if train.shape[1] < len(train):
        targets, square = train.T @ targets, train.T @ train
    else:
        test, square = test @ train.T, train @ train.T
    values, axes = np.linalg.eigh(square)
    known = values > RANK_TOLERANCE * values[-1]
    values, axes = values[known], axes[:, known]
    scores, loadings = test @ axes, axes.T @ targets
    return level + np.stack([(scores / (values + penalty)) @ loadings for penalty in penalties])


def lda(points: Coordinates, codes: np.ndarray, penalties: Sequence[float]) -> np.ndarray:
    """Return log odds of linear discriminant analysis with shrunk covariances.

    The covariance of each class is shrunk as Ledoit & Wolf (2004) choose, in the space of all
    channels, then averaged, weighed by the shares of classes. There are no penalties.
    """
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    if np.bincount(codes).max() < 2:
        raise ValueError(
            "a covariance needs two training stimuli of a class; readout='lda' has one. Use more "
            "stimuli or folds, or readout='ridge'"
        )
    estimator = LedoitWolfInSpan(points.channels)
    model = LinearDiscriminantAnalysis(solver="lsqr", covariance_estimator=estimator)
    model.fit(points.train, codes)
    return _a_column_a_class(model.decision_function(points.test))[None]


class LedoitWolfInSpan:
    """Ledoit & Wolf's covariance of patterns given in the space that they span.

    The estimate shrinks towards a multiple of the identity of all channels. Directions outside
    the span count there; everything else about them is zero.

    Parameters
    ----------
    channels : int
        Of the full space.
    """

    def __init__(self, channels: int) -> None:
        self.channels = channels

    def fit(self, points: np.ndarray) -> LedoitWolfInSpan:
        """Estimate `covariance_` from points (stimulus, dimension)."""
        centred = points - points.mean(axis=0)
        count, dimensions = centred.shape
        covariance = centred.T @ centred / count
        level = np.trace(covariance) / self.channels
        square = (covariance**2).sum()
        # Ledoit & Wolf (2004), lemma 3.2 to 3.4: d^2 and b^2, both times the number of channels.
        spread = square - self.channels * level**2
        error = ((centred**2).sum(axis=1) ** 2).mean() / count - square / count
        shrinkage = min(error / spread, 1.0) if spread > 0 else 1.0
        self.covariance_ = (1 - shrinkage) * covariance + shrinkage * level * np.eye(dimensions)
        return self


READOUTS: dict[str, Callable[[Coordinates, np.ndarray, Sequence[float]], np.ndarray]] = {
    "logistic": logistic,
    "ridge": ridge,
    "lda": lda,
}


@dataclass(frozen=True)
class Readout:
    """A readout and how its penalty is chosen.

    Attributes
    ----------
    name : str
        A key of `READOUTS`.
    penalties : tuple of float
        The strongest first; one is used as it is, and the best of several by accuracy in nested
        folds.
    folds : int
        At most as many nested folds; as many as the rarest class has groups if these are fewer.
    seed : int
    """

    name: str
    penalties: tuple[float, ...]
    folds: int
    seed: int


def readout_of(
    name: str, penalties: float | Sequence[float] | None, folds: int, seed: int
) -> Readout:
    """Return a checked readout; without penalties those of `PENALTIES`."""
    if name not in READOUTS:
        raise ValueError(f"no readout is called {name!r}; there are {', '.join(READOUTS)}")
    if name == "lda":
        if penalties is not None:
            raise ValueError("readout='lda' takes no penalties: its shrinkage is estimated")
        return Readout(name, (float("nan"),), folds, seed)
    given = np.atleast_1d(np.asarray(PENALTIES if penalties is None else penalties, dtype=float))
    if given.ndim > 1 or not given.size or not (np.isfinite(given) & (given > 0)).all():
        raise ValueError(f"penalties must be numbers above 0; got {penalties!r}")
    return Readout(name, tuple(sorted((float(p) for p in given), reverse=True)), folds, seed)


def read_out(
    stimuli: Labelled, train: np.ndarray, test: np.ndarray, readout: Readout
) -> tuple[np.ndarray, float]:
    """Return decision values (test, class) of a readout trained elsewhere, and its penalty.

    Standardisation, rotation and the choice of the penalty see the training stimuli alone.
    """
    return read_out_points(coordinates(stimuli.patterns, train, test), stimuli, train, readout)


def read_out_points(
    points: Coordinates, stimuli: Labelled, train: np.ndarray, readout: Readout
) -> tuple[np.ndarray, float]:
    """Return what `read_out` does from coordinates of the training and the test stimuli."""
    codes = stimuli.codes[train]
    penalty = readout.penalties[0]
    if len(readout.penalties) > 1:
        penalty = _best_penalty(points, codes, stimuli, train, readout)
    return READOUTS[readout.name](points, codes, [penalty])[0], penalty


def _best_penalty(
    points: Coordinates, codes: np.ndarray, stimuli: Labelled, train: np.ndarray, readout: Readout
) -> float:
    """Return the penalty of the highest accuracy in nested folds, the strongest among equals."""
    groups = np.unique(stimuli.groups[train], return_inverse=True)[1]
    counts = groups_of_strata(codes, groups)
    fold_of = None
    if counts.min() > 1:
        folds = min(readout.folds, int(counts.min()))
        fold_of = assign_folds(codes, groups, folds, np.random.default_rng(readout.seed))
    if fold_of is None or whole_in_a_fold(codes, fold_of) is not None:
        things = "group" if stimuli.grouped else "stimulus"
        rarest = stimuli.classes[counts.argmin()]
        raise ValueError(
            f"too few training stimuli to choose among penalties: class {rarest!s} has "
            f"{counts.min()} {things} to train on in a fold. Give a single penalty, or use more "
            "folds, stimuli or groups"
        )
    correct = np.zeros(len(readout.penalties))
    for inner_train, inner_test in splits(fold_of):
        parts = points.train[inner_train], points.train[inner_test]
        inside = Coordinates(*parts, points.channels)
        values = READOUTS[readout.name](inside, codes[inner_train], readout.penalties)
        correct += (values.argmax(axis=-1) == codes[inner_test]).sum(axis=-1)
    return readout.penalties[int(correct.argmax())]


def _a_column_a_class(decision: np.ndarray) -> np.ndarray:
    # With two classes scikit-learn gives the log odds of the second alone.
    if decision.ndim == 1:
        return np.stack([-decision / 2, decision / 2], axis=1)
    return decision
