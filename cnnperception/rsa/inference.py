"""Models of RDMs evaluated on subjects' RDMs, with the uncertainty that sampling leaves."""

from __future__ import annotations

import json
import warnings
from collections.abc import Hashable, Mapping, Sequence
from importlib import metadata

import numpy as np
import torch
import xarray as xr

from . import folds
from .bootstrap import FACTORS, Resamples, draw_resamples, make_groups
from .flexible import Candidates, fit_weights
from .labels import select, stack, stimulus_ids
from .models import RDMModel, fixed
from .resampled import METHODS, Problem, similarities_to_subjects
from .results import result_table
from .uncertainty import Plan, Sampled, resampled_evaluations, without_resampling

BOOTSTRAPS = ("stimuli", "subjects", "both", "dual")
TESTS = ("t-test", "bootstrap", "wilcoxon")

Models = xr.DataArray | RDMModel | Mapping[str, xr.DataArray | RDMModel]
GroupLabels = Sequence[Hashable] | Mapping[str, Hashable]


def evaluate(
    models: Models,
    data: xr.DataArray,
    method: str = "corr",
    *,
    bootstrap: str | None = "both",
    n_boot: int = 1000,
    seed: int = 0,
    test: str = "t-test",
    confidence: float = 0.95,
    fisher_z: bool = False,
    stimulus_groups: GroupLabels | None = None,
    subject_groups: GroupLabels | None = None,
    stimulus_folds: int | None = None,
    subject_folds: int | None = None,
    n_cv: int = 2,
    resamples: Resamples | None = None,
    device: str | torch.device = "cpu",
    progress: bool = False,
) -> xr.Dataset:
    """Evaluate how similar models' RDMs are to subjects' RDMs, and test it.

    Parameters
    ----------
    models : DataArray (rdm, pair) or (pair,), RDMModel, or mapping of str to these
        Each RDM of a DataArray is a fixed model of its own. Flexible models are made by
        `selected`, `weighted` and `interpolated`.
    data : DataArray, dims (rdm, pair)
        One RDM a subject, aligned with the models' by stimulus id. Pairs of stimuli that are NaN
        in any RDM are left out of all, with a warning.
    method : str
        cosine, corr, spearman, rho-a, tau-a, tau-b (kendall), cosine_cov or corr_cov, as for
        `compare`.
    bootstrap : {"stimuli", "subjects", "both", "dual"} or None
        What is resampled, and so, to what population a result generalises. "both": at once, which
        is conservative; "dual": combined with either alone by the two-factor correction (Schuett
        et al. 2023), which is not. None: no resampling; uncertainty is that of the mean over
        subjects.
    n_boot : int
    seed : int
        Of the resamples and the folds.
    test : {"t-test", "bootstrap", "wilcoxon"}
        t-tests on the variances over resamples; shares of resamples; or, without bootstrap,
        Wilcoxon's signed-rank test over subjects. Against zero one-sided (wilcoxon: two-sided),
        between models and against the lower noise ceiling two-sided.
    confidence : float
        Of the intervals, by the t distribution or, with test="bootstrap", by quantiles.
    fisher_z : bool
        Average and test the inverse hyperbolic tangents of similarities; everything reported is
        then in these units.
    stimulus_groups, subject_groups : sequence or mapping from id, optional
        Labels of what is resampled, left out and held out together, such as categories or the
        sessions of a subject.
    stimulus_folds, subject_folds : int, optional
        For cross-validation within each resample; 1 holds nothing out. When left out, 2 to 5
        where a model is flexible, by how many there are, and 1 where all are fixed.
    n_cv : int
        Random assignments to folds in each resample; from two on, the variance they add is
        estimated and taken out.
    resamples : Resamples, optional
        To use in place of random ones.
    device : str or torch.device
    progress : bool

    Returns
    -------
    Dataset
        Dims model, other_model, bound (lower, upper) and sample: similarity (model,), the mean
        over resamples ("dual": of all three bootstraps); similarity_of_data (model,), without
        resampling (fixed models); variance, lower and upper (model,), the confidence interval;
        ceiling_lower, ceiling_upper; p_zero and p_ceiling (model,), p_pairs (model,
        other_model), each also adjusted for the number of tests, with _fdr and _holm;
        p_zero_best (model,), adjusted for having looked at the best model (maximum statistic);
        variance_pairs, variance_ceiling; evaluations (sample, model) and ceilings (sample,
        bound), the resamples themselves (without bootstrap: the subjects, or the means of groups
        of them). Settings and seed are attributes.

    Raises
    ------
    ValueError
        For RDMs of different stimuli, too few stimuli or subjects for what is asked, or settings
        that do not go together.

    Notes
    -----
    Equal to rsatoolbox on the same resamples, except: the variance of the noise ceiling counts
    also when subjects are resampled; p-values by resamples are (k + 1) / (N + 1), never above 1;
    a resample with a single subject has no noise ceiling, rather than one of 1; an RDM that does
    not vary in a resample has similarity 0 there, rather than NaN; groups count, not
    members, as what was sampled; both ceilings of held-out subjects are pooled over the tested
    pairs.
    """
    named = _named(models)
    problem, candidates, subjects, gaps = _problem(
        named, data, method, subject_groups, fisher_z, device
    )
    ids = stimulus_ids(data)
    groups = Sampled(
        make_groups(stimulus_groups, ids, "stimulus"),
        make_groups(subject_groups, subjects, "subject"),
    )
    k = _numbers_of_folds(named, groups, stimulus_folds, subject_folds, bootstrap)
    _check(bootstrap, test, method, groups, n_boot, n_cv, confidence, k)
    plan = Plan(problem, candidates, groups, k, n_cv, seed, progress)
    if bootstrap is None:
        found = without_resampling(plan)
    else:
        if resamples is None:
            factors = FACTORS if bootstrap in ("both", "dual") else (bootstrap,)
            resamples = draw_resamples(
                n_boot, len(groups.stimuli), len(groups.subjects), factors, seed
            )
        found = resampled_evaluations(plan, bootstrap, resamples)
    result = result_table(list(named), found, test, confidence)
    if not any(model.flexible for model in named.values()) and k == (1, 1):
        of_data = similarities_to_subjects(problem)
        of_data = np.arctanh(of_data) if fisher_z else of_data
        result["similarity_of_data"] = ("model", of_data.mean(axis=1))
    _warn_of_missing(result, groups)
    return result.assign_attrs(
        method=method,
        bootstrap=str(bootstrap),
        n_boot=len(resamples) if resamples is not None and bootstrap else 0,
        dropped_resamples=found.dropped,
        seed=seed,
        test=test,
        confidence=confidence,
        fisher_z=int(fisher_z),
        stimulus_folds=k[0],
        subject_folds=k[1],
        n_cv=n_cv if k != (1, 1) else 1,
        stimuli=len(ids),
        stimulus_groups=len(groups.stimuli),
        subjects=len(subjects),
        subject_groups=len(groups.subjects),
        pairs_left_out=gaps,
        models=json.dumps({name: model.kind for name, model in named.items()}),
        versions=json.dumps({name: metadata.version(name) for name in ("numpy", "scipy", "torch")}),
    )


def fit(
    model: RDMModel, data: xr.DataArray, method: str = "corr", *, device: str | torch.device = "cpu"
) -> xr.Dataset:
    """Fit a flexible model to all of the data.

    Parameters
    ----------
    model : RDMModel
    data : DataArray, dims (rdm, pair)
    method : str
        As for `evaluate`.
    device : str or torch.device

    Returns
    -------
    Dataset
        weights (rdm,), of length 1, and prediction (pair,), the weighted sum of its RDMs.
    """
    problem, candidates, _, _ = _problem({"model": model}, data, method, None, False, device)
    weights = fit_weights(problem, candidates)[0]
    rdms = select(model.rdms, stimulus_ids(data))
    of_rdms = xr.DataArray(weights, dims="rdm", coords={"rdm": rdms["rdm"]})
    return xr.Dataset({"weights": of_rdms, "prediction": xr.dot(of_rdms, rdms, dim="rdm")})


def _named(models: Models) -> dict[str, RDMModel]:
    if isinstance(models, RDMModel):
        models = {models.kind: models}
    if isinstance(models, xr.DataArray):
        stacked = stack(models, "0")
        names = [str(name) for name in stacked["rdm"].to_numpy()]
        if len(set(names)) < len(names):
            raise ValueError("models must have different names: the coordinate 'rdm' repeats one")
        models = {name: stacked[number] for number, name in enumerate(names)}
    if not isinstance(models, Mapping):
        raise ValueError(
            "models are a DataArray, a model of RDMs, or a mapping of names to these; got a "
            f"{type(models).__name__}"
        )
    if not models:
        raise ValueError("there are no models to evaluate")
    return {
        name: model if isinstance(model, RDMModel) else fixed(model)
        for name, model in models.items()
    }


def _problem(
    named: Mapping[str, RDMModel],
    data: xr.DataArray,
    method: str,
    subject_groups: GroupLabels | None,
    fisher_z: bool,
    device: str | torch.device,
) -> tuple[Problem, list[Candidates], list[str], int]:
    """Return the problem, whose rows are of which model, the subjects and the pairs left out."""
    if method not in METHODS:
        raise ValueError(f"cannot evaluate by {method!r}; there are {', '.join(METHODS)}")
    data = stack(data, "data")
    ids = stimulus_ids(data)
    rows = np.concatenate([_aligned(name, model.rdms, ids) for name, model in named.items()])
    values = data.transpose("rdm", "pair").to_numpy().astype(np.float64)
    present = ~(np.isnan(rows).any(axis=0) | np.isnan(values).any(axis=0))
    gaps = int((~present).sum())
    if gaps:
        warnings.warn(
            f"{gaps} of {len(present)} pairs of stimuli are NaN in an RDM and left out of all",
            stacklevel=3,
        )
    if present.sum() < 3:
        raise ValueError("fewer than three pairs of stimuli are known in all RDMs")
    candidates, first = [], 0
    for model in named.values():
        last = first + model.rdms.sizes["rdm"]
        candidates.append(Candidates(first, last, model.fit))
        first = last
    subjects = _subject_names(data)
    groups = make_groups(subject_groups, subjects, "subject")
    pairs = np.stack(np.triu_indices(len(ids), 1))[:, present]
    as_tensor = {"dtype": torch.float64, "device": device}
    problem = Problem(
        torch.as_tensor(rows[:, present], **as_tensor),  # type: ignore[arg-type]
        torch.as_tensor(values[:, present], **as_tensor),  # type: ignore[arg-type]
        torch.as_tensor(pairs, device=device),
        len(ids),
        torch.as_tensor(groups.indicator(), **as_tensor),  # type: ignore[arg-type]
        method,
        fisher_z,
    )
    return problem, candidates, subjects, gaps


def _aligned(name: str, rdms: xr.DataArray, ids: list[str]) -> np.ndarray:
    own = stimulus_ids(rdms)
    if set(own) != set(ids):
        only = sorted(set(own) ^ set(ids))[0]
        raise ValueError(
            f"model {name!r} and the data are of different stimuli: {only!r} is in one alone"
        )
    values: np.ndarray = select(rdms, ids).transpose("rdm", "pair").to_numpy()
    return values.astype(np.float64)


def _subject_names(data: xr.DataArray) -> list[str]:
    if "rdm" in data.coords:
        return [str(name) for name in data["rdm"].to_numpy()]
    return [str(number) for number in range(data.sizes["rdm"])]


def _numbers_of_folds(
    named: Mapping[str, RDMModel],
    groups: Sampled,
    stimulus_folds: int | None,
    subject_folds: int | None,
    bootstrap: str | None,
) -> tuple[int, int]:
    flexible = any(model.flexible for model in named.values())
    share = folds.DRAWN if bootstrap else 1.0
    if stimulus_folds is None:
        stimulus_folds = (
            folds.default_stimulus_folds(share * len(groups.stimuli)) if flexible else 1
        )
    if subject_folds is None:
        several = flexible and len(groups.subjects) > 1
        subject_folds = folds.default_subject_folds(share * len(groups.subjects)) if several else 1
    return stimulus_folds, subject_folds


def _check(
    bootstrap: str | None,
    test: str,
    method: str,
    groups: Sampled,
    n_boot: int,
    n_cv: int,
    confidence: float,
    k: tuple[int, int],
) -> None:
    if bootstrap is not None and bootstrap not in BOOTSTRAPS:
        raise ValueError(
            f"bootstrap must be None or one of {', '.join(BOOTSTRAPS)}; got {bootstrap!r}"
        )
    if test not in TESTS:
        raise ValueError(f"no test is called {test!r}; there are {', '.join(TESTS)}")
    if test == "wilcoxon" and (bootstrap is not None or k != (1, 1)):
        raise ValueError(
            "test='wilcoxon' is over subjects and fixed models: it needs bootstrap=None"
        )
    if test == "bootstrap" and bootstrap is None:
        raise ValueError("test='bootstrap' needs a bootstrap")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be between 0 and 1; got {confidence}")
    if bootstrap is not None and n_boot < 2:
        raise ValueError(f"n_boot must be 2 or more; got {n_boot}")
    if min(*k, n_cv) < 1:
        raise ValueError("stimulus_folds, subject_folds and n_cv must be 1 or more")
    if len(groups.stimuli) < 3:
        raise ValueError(f"there are {len(groups.stimuli)} stimuli; inference needs three or more")
    if bootstrap in ("subjects", "both", "dual") and len(groups.subjects) < 2:
        raise ValueError(
            f"bootstrap={bootstrap!r} needs two subjects or more; with one, use bootstrap='stimuli'"
        )
    if k[1] > len(groups.subjects):
        raise ValueError(f"{len(groups.subjects)} subjects cannot be split into {k[1]} folds")
    if 3 * k[0] > len(groups.stimuli):
        raise ValueError(
            f"{k[0]} folds of stimuli need {3 * k[0]} stimuli or more; "
            f"there are {len(groups.stimuli)}"
        )


def _warn_of_missing(result: xr.Dataset, groups: Sampled) -> None:
    if np.isnan(float(result["ceiling_lower"])):
        warnings.warn(
            "the noise ceiling, and the test against it, are NaN: there is one subject (or group "
            "of them), and nobody is left to predict it"
            if len(groups.subjects) < 2
            else "the noise ceiling is NaN: no resample holds two subjects",
            stacklevel=3,
        )
