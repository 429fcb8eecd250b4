"""Cross-validated linear decoding of one set of patterns, or of every layer of a model."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from .. import runtime
from .folds import splits
from .inputs import Labelled, column, draw_folds, held_out, labelled
from .readouts import Readout, read_out, readout_of
from .scores import summary


def decode(
    patterns: Any,
    labels: Any,
    *,
    readout: str = "logistic",
    groups: Any = None,
    folds: int = 5,
    penalties: float | Sequence[float] | None = None,
    test_on: Any = None,
    resamples: int = 1000,
    seed: int = 0,
) -> xr.Dataset:
    """Return how well a linear readout tells the classes of stimuli it was not trained on.

    Channels are standardised by the training stimuli of a fold, and divided by the square root
    of their number, so that a penalty means the same for few and for many. Where channels
    outnumber training stimuli, patterns are rotated into what the training patterns span, which
    changes no prediction.

    Parameters
    ----------
    patterns : array, Tensor or DataArray, shape (stimulus, ...)
        Flattened to (stimulus, channel).
    labels : sequence of length stimulus, or str
        The class of each stimulus; a str names a coordinate of `patterns`. A DataArray with a
        coordinate `stimulus`, and a Series whose index are ids of stimuli, are put in the order
        of the patterns; as are groups and test_on.
    readout : {"logistic", "ridge", "lda"}
        Multinomial logistic regression with an L2 penalty; ridge regression onto 1 and -1; linear
        discriminant analysis with covariances shrunk as Ledoit & Wolf (2004) choose.
    groups : sequence of length stimulus, or str, optional
        Stimuli of a group (views of an object, say) are never both trained on and tested.
    folds : int
        Stratified by class as far as groups allow.
    penalties : float or sequence of float, optional
        The best of several is chosen in folds nested in the training stimuli, the strongest among
        equals. 1e-4 to 100 when left out; none for "lda".
    test_on : sequence of bool of length stimulus, or str, optional
        Stimuli held out: one readout is trained on all others and tested on these, of which alone
        the result tells. The only folds then are the nested ones.
    resamples : int
        Bootstrap samples of the groups (without groups, stimuli) for the intervals.
    seed : int
        Of the folds and the resamples.

    Returns
    -------
    Dataset
        `accuracy`, `balanced_accuracy` (the mean over classes), `accuracy_interval` and
        `balanced_accuracy_interval` (bound; 95 %), `d_prime` (class; against all others,
        log-linear correction), `pairwise_d_prime` (class, other; of a choice between the two)
        and its mean, `mean_pairwise_d_prime`, `confusion` (true, predicted), `prediction`,
        `label` and `fold_of` (stimulus), `decision` (stimulus, class), `fold_accuracy` and
        `penalty` (fold), `chance` (of always naming the commonest class) and `balanced_chance`.
        Intervals are of the trained readouts on other such stimuli. They leave out what training
        on others would change, and are too narrow for the accuracy to expect of another such
        cross-validation: 86 % of them held it in a simulation of 24 objects, 89 % of 96; with
        `test_on`, 93 % held that of the one readout on new objects. The attributes hold the
        settings.

    Raises
    ------
    ValueError
        For patterns that are not finite, labels or groups that are missing, of other stimuli or
        do not fit in number, one class only, a class with fewer members or groups than folds, or
        one that a fold cannot be trained on; for a class or a group that `test_on` divides
        wrongly.
    """
    chosen = readout_of(readout, penalties, folds, seed)
    check_resamples(resamples)
    stimuli = labelled(patterns, labels, groups)
    if test_on is None:
        fold_of = draw_folds(stimuli, folds, np.random.default_rng(seed))
    else:
        fold_of = held_out(stimuli, column(patterns, test_on, "test_on", stimuli.ids))
    decision, used = cross_validate(stimuli, fold_of, chosen)
    tested = np.flatnonzero(fold_of >= 0)
    decision, fold_of, codes = decision[tested], fold_of[tested], stimuli.codes[tested]
    predicted = decision.argmax(axis=1)
    groups_tested = stimuli.groups[tested]
    result = summary(codes, decision, stimuli.classes, groups_tested, resamples, seed).assign(
        decision=(("stimulus", "class"), decision),
        prediction=("stimulus", stimuli.classes[predicted]),
        label=("stimulus", stimuli.classes[codes]),
        fold_of=("stimulus", fold_of),
        fold_accuracy=("fold", fold_accuracies(codes, predicted, fold_of)),
        penalty=("fold", used),
    )
    names = [stimuli.ids[place] for place in tested]
    result = result.assign_coords(stimulus=names, fold=np.arange(len(used)))
    return result.assign_attrs(settings(stimuli, chosen), resamples=resamples)


def decode_layers(
    activations: xr.DataTree | Mapping[str, Any],
    labels: Any,
    *,
    readout: str = "logistic",
    groups: Any = None,
    folds: int = 5,
    penalties: float | Sequence[float] | None = None,
    test_on: Any = None,
    resamples: int = 1000,
    seed: int = 0,
    progress: bool = False,
) -> xr.Dataset:
    """Return `decode` of every layer, in the same folds.

    Parameters
    ----------
    activations : DataTree as `extract` returns, or mapping of str to patterns
        Layers are read one at a time.
    labels, readout, groups, folds, penalties, test_on, resamples, seed
        As `decode` takes them; labels, groups and test_on may be columns of the stimulus table.
    progress : bool

    Returns
    -------
    Dataset
        The variables of `decode`, each along `layer` too.

    Raises
    ------
    ValueError
        As `decode`, naming the layer.
    """
    layers = _layers(activations)
    found = []
    for name in runtime.progress(layers, "layers decoded", show=progress, total=len(layers)):
        try:
            result = decode(
                layers[name],
                labels,
                readout=readout,
                groups=groups,
                folds=folds,
                penalties=penalties,
                test_on=test_on,
                resamples=resamples,
                seed=seed,
            )
        except ValueError as error:
            raise ValueError(f"layer {name!r}: {error}") from error
        found.append(result)
    # What labels and folds are depends on the stimuli, which have to be the same in all layers.
    joined = xr.concat(found, dim="layer", join="exact", combine_attrs="override")
    return joined.assign_coords(layer=list(layers))


def cross_validate(
    stimuli: Labelled, fold_of: np.ndarray, readout: Readout
) -> tuple[np.ndarray, np.ndarray]:
    """Return decision values (stimulus, class) of the stimuli left out, and penalties (fold,).

    Stimuli that are never tested have NaN.
    """
    decision = np.full((len(stimuli), len(stimuli.classes)), np.nan)
    used = []
    for train, test in splits(fold_of):
        decision[test], penalty = read_out(stimuli, train, test, readout)
        used.append(penalty)
    return decision, np.asarray(used)


def fold_accuracies(codes: np.ndarray, predicted: np.ndarray, fold_of: np.ndarray) -> np.ndarray:
    """Return the accuracy in each fold."""
    return np.bincount(fold_of, codes == predicted) / np.bincount(fold_of)


def settings(stimuli: Labelled, readout: Readout) -> dict[str, Any]:
    """Return what a result came from, in the types that netCDF can hold."""
    return {
        "readout": readout.name,
        "penalties": list(readout.penalties),
        "folds": readout.folds,
        "grouped": int(stimuli.grouped),
        "seed": readout.seed,
        "stimuli": len(stimuli),
        "channels": stimuli.patterns.shape[1],
        "versions": json.dumps(runtime.versions()),
    }


def check_resamples(resamples: int) -> None:
    """Raise for a number of bootstrap samples below 1."""
    if resamples < 1:
        raise ValueError(f"resamples must be at least 1; got {resamples}")


def _layers(activations: xr.DataTree | Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(activations, xr.DataTree):
        layers = {
            node.path.strip("/"): node["activations"]
            for node in activations.subtree
            if "activations" in node.data_vars
        }
    else:
        layers = dict(activations)
    if not layers:
        raise ValueError("there are no layers to decode")
    return layers
