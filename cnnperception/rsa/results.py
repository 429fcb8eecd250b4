"""The table of an evaluation: similarities, intervals, noise ceilings and tests."""

from __future__ import annotations

import numpy as np
import xarray as xr
from scipy import stats

from . import hypothesis_tests
from .uncertainty import Found

ADJUSTMENTS = {"fdr": hypothesis_tests.adjust_fdr, "holm": hypothesis_tests.adjust_holm}


def result_table(names: list[str], found: Found, test: str, confidence: float) -> xr.Dataset:
    samples, ceilings = found.evaluations[0].models, found.evaluations[0].ceilings
    similarity = np.mean([e.models.mean(axis=0) for e in found.evaluations], axis=0)
    every = np.concatenate([e.ceilings for e in found.evaluations])
    of_samples = "sample" if len(samples) == len(ceilings) else "subject"
    of_bounds = np.full(2, np.nan)
    if np.isfinite(every).any():
        of_bounds = np.nanmean(every, axis=0)
    result = xr.Dataset(
        {
            "similarity": ("model", similarity),
            "ceiling_lower": of_bounds[0],
            "ceiling_upper": of_bounds[1],
            "evaluations": ((of_samples, "model"), samples),
            "ceilings": (("sample", "bound"), ceilings),
        },
        coords={"model": names, "other_model": names, "bound": ["lower", "upper"]},
    )
    if found.variances is None:
        return result
    known = found.variances
    result["variance"] = ("model", known.models)
    result["variance_pairs"] = (("model", "other_model"), known.pairs)
    result["variance_ceiling"] = (("model", "bound"), known.ceilings)
    _add_intervals(result, test, confidence, found.degrees_of_freedom)
    _add_tests(result, test, found.degrees_of_freedom)
    return result.assign_attrs(degrees_of_freedom=found.degrees_of_freedom)


def _add_intervals(result: xr.Dataset, test: str, confidence: float, freedom: int) -> None:
    tail = (1 - confidence) / 2
    if test == "bootstrap":
        bounds = np.quantile(result["evaluations"].to_numpy(), [tail, 1 - tail], axis=0)
    else:
        margin = stats.t.ppf(1 - tail, freedom) * np.sqrt(np.maximum(result["variance"], 0))
        bounds = np.stack([result["similarity"] - margin, result["similarity"] + margin])
    result["lower"], result["upper"] = ("model", bounds[0]), ("model", bounds[1])


def _add_tests(result: xr.Dataset, test: str, freedom: int) -> None:
    samples = result["evaluations"].to_numpy()
    similarity = result["similarity"].to_numpy()
    differences = similarity[:, None] - similarity[None]
    to_ceiling = similarity - float(result["ceiling_lower"])
    pairwise = samples[:, :, None] - samples[:, None]
    if test == "t-test":
        variance = {name: result[name].to_numpy() for name in ("variance", "variance_pairs")}
        p_zero = hypothesis_tests.t_test(similarity, variance["variance"], freedom, one_sided=True)
        p_pairs = hypothesis_tests.t_test(
            differences, variance["variance_pairs"], freedom, one_sided=False
        )
        p_ceiling = hypothesis_tests.t_test(
            to_ceiling, result["variance_ceiling"].to_numpy()[:, 0], freedom, one_sided=False
        )
    elif test == "bootstrap":
        lower = result["ceilings"].to_numpy()[:, :1]
        known = np.isfinite(lower[:, 0])
        p_zero = hypothesis_tests.bootstrap_above_zero(samples)
        p_pairs = hypothesis_tests.bootstrap_two_sided(pairwise)
        p_ceiling = hypothesis_tests.bootstrap_two_sided((samples - lower)[known])
    else:
        p_zero = hypothesis_tests.wilcoxon(samples.T)
        p_pairs = hypothesis_tests.wilcoxon(pairwise.transpose(1, 2, 0))
        p_ceiling = hypothesis_tests.wilcoxon(samples.T - float(result["ceiling_lower"]))
    np.fill_diagonal(p_pairs, 1.0)
    _add_adjusted(result, "p_zero", p_zero)
    _add_adjusted(result, "p_ceiling", p_ceiling)
    _add_adjusted_pairs(result, p_pairs)
    if "sample" in result["evaluations"].dims:
        result["p_zero_best"] = (
            "model",
            hypothesis_tests.maximum_statistic(samples, similarity, result["variance"].to_numpy()),
        )


def _add_adjusted(result: xr.Dataset, name: str, p: np.ndarray) -> None:
    result[name] = ("model", p)
    for suffix, adjust in ADJUSTMENTS.items():
        result[f"{name}_{suffix}"] = ("model", adjust(p))


def _add_adjusted_pairs(result: xr.Dataset, p: np.ndarray) -> None:
    """Add p-values of pairs, each pair counted once."""
    result["p_pairs"] = (("model", "other_model"), p)
    rows, columns = np.triu_indices(len(p), 1)
    for suffix, adjust in ADJUSTMENTS.items():
        adjusted = np.ones_like(p)
        adjusted[rows, columns] = adjusted[columns, rows] = adjust(p[rows, columns])
        result[f"p_pairs_{suffix}"] = (("model", "other_model"), adjusted)
