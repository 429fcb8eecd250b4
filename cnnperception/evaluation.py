"""Models evaluated on the RDMs of subjects: results, tables, figures and sections of a report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from functools import partial

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.figure import Figure

from . import figures, rsa
from .report import Picture, Section, Table

# For the dual bootstrap to be the default.
FEWEST_SUBJECTS = 6

LABELS = {
    "spearman": "Spearman correlation",
    "corr": "Pearson correlation",
    "rho-a": "rho-a",
    "tau-a": "Kendall's tau-a",
    "tau-b": "Kendall's tau-b",
    "cosine": "cosine",
    "cosine_cov": "whitened cosine",
    "corr_cov": "whitened correlation",
}


NO_SUBJECTS = (
    "Models were not tested: none of the data's RDMs is a single subject's. (One whose coordinate "
    "subject is empty is the mean of several.)"
)


def subjects_of(data: xr.DataArray) -> xr.DataArray:
    """Return those of the data's RDMs that are single subjects'.

    Parameters
    ----------
    data : DataArray, dims (rdm, pair)
        Where it has a coordinate `subject` along rdm, RDMs with an empty one are means of several
        subjects and left out; without it, every RDM is a subject's.
    """
    if "subject" not in data.coords:
        return data
    return data.isel(rdm=np.flatnonzero(data["subject"].to_numpy() != ""))


def evaluate_layers(
    rdms: Sequence[xr.DataArray],
    subjects: xr.DataArray,
    *,
    method: str = "spearman",
    bootstrap: str | None = "auto",
    n_boot: int = 1000,
    seed: int = 0,
    progress: bool = False,
) -> dict[str, xr.Dataset]:
    """Evaluate every layer, and every model by its best layer, on subjects' RDMs.

    Parameters
    ----------
    rdms : sequence of DataArray
        One a model, as `recipes.layer_rdms` gives.
    subjects : DataArray, dims (rdm, pair)
    method, bootstrap, n_boot, seed, progress
        As for `rsa.evaluate`; "auto" is "dual" with six subjects or more. With fewer it is
        "stimuli": so few degrees of freedom show next to nothing, and results that are said to
        hold for these subjects are worth more than none.

    Returns
    -------
    dict of str to Dataset
        "layers": each a fixed model. "models": each selects its best layer on some stimuli and
        subjects and is tested on others, so that having a choice is no advantage; where there are
        stimuli enough to split.

    Raises
    ------
    ValueError
        When there are no subjects, or two models or two RDMs have the same name.
    """
    if not subjects.sizes["rdm"]:
        raise ValueError("there is no RDM of a subject to evaluate models on")
    _check_distinct([str(one["model"][0].item()) for one in rdms], "models")
    _check_distinct([str(name) for one in rdms for name in one["rdm"].to_numpy()], "RDMs")
    if bootstrap == "auto":
        bootstrap = "dual" if subjects.sizes["rdm"] >= FEWEST_SUBJECTS else "stimuli"
    evaluate = partial(
        rsa.evaluate,
        data=subjects,
        method=method,
        bootstrap=bootstrap,
        n_boot=n_boot,
        seed=seed,
        progress=progress,
    )
    layers = {
        str(name): one[number] for one in rdms for number, name in enumerate(one["rdm"].to_numpy())
    }
    found = {"layers": evaluate(layers)}
    stimuli = len(rsa.stimulus_ids(subjects))
    choices = {
        str(one["model"][0].item()): rsa.selected(one) if one.sizes["rdm"] > 1 else rsa.fixed(one)
        for one in rdms
    }
    if any(model.flexible for model in choices.values()) and stimuli >= 12:
        found["models"] = evaluate(choices)
    return found


def _check_distinct(names: Sequence[str], what: str) -> None:
    for name, times in Counter(names).items():
        if times > 1:
            raise ValueError(f"{times} {what} are called {name!r}; give them names that differ")


def corrected(result: xr.Dataset, correction: str = "fdr") -> xr.Dataset:
    """Return a result whose p-values are those corrected for the number of tests."""
    names = [name for name in ("p_zero", "p_ceiling", "p_pairs") if name in result]
    return result.assign({name: result[f"{name}_{correction}"] for name in names})


def table_of(result: xr.Dataset) -> pd.DataFrame:
    """Return a row a model: its similarity, interval, and the p-values that are its own."""
    wanted = ["similarity", "lower", "upper", "p_zero", "p_zero_fdr", "p_zero_holm"]
    wanted += ["p_zero_best", "p_ceiling", "p_ceiling_fdr", "p_ceiling_holm"]
    present = [name for name in wanted if name in result]
    frame: pd.DataFrame = result[present].reset_coords(drop=True).to_dataframe()
    return frame


def pairs_of(result: xr.Dataset) -> pd.DataFrame:
    """Return a row a pair of models: the difference and its p-values."""
    similarity = result["similarity"].to_numpy()
    names = result["model"].to_numpy()
    rows, columns = np.triu_indices(len(names), 1)
    frame = pd.DataFrame(
        {
            "model": names[rows],
            "other_model": names[columns],
            "difference": similarity[rows] - similarity[columns],
        }
    )
    for name in ("p_pairs", "p_pairs_fdr", "p_pairs_holm"):
        if name in result:
            frame[name] = result[name].to_numpy()[rows, columns]
    return frame


def evaluation_section(
    results: dict[str, xr.Dataset], rdms: Sequence[xr.DataArray]
) -> tuple[Section, dict[str, Figure]]:
    """Return the section of a report on an evaluation, and its figures by file name.

    Where there are no results, the section says why.
    """
    if not results:
        return Section(_TITLE, NO_SUBJECTS), {}
    groups: dict[Hashable, Hashable] = {
        str(name): str(one["model"][0].item()) for one in rdms for name in one["rdm"].to_numpy()
    }
    drawn: dict[str, Figure] = {}
    pictures, tables = [], []
    for key, result in results.items():
        label = LABELS.get(result.attrs["method"], result.attrs["method"])
        drawn[f"evaluation_{key}"] = figures.model_results(
            corrected(result), groups if key == "layers" else None, label=label
        )
        pictures.append(Picture(drawn[f"evaluation_{key}"], CAPTIONS[key]))
        tables.append(Table(_readable(table_of(result)), f"{CAPTIONS[key]} {_settings(result)}"))
    return Section(_TITLE, _text(results["layers"]), pictures, tables), drawn


_TITLE = "Tests against subjects"
CAPTIONS = {
    "layers": "Similarity of each layer to the subjects' RDMs.",
    "models": "Each model by its best layer, chosen on other stimuli and subjects than tested.",
}


def _text(result: xr.Dataset) -> str:
    attrs = result.attrs
    resampled = {
        "stimuli": "stimuli were resampled: results generalise to other stimuli",
        "subjects": "subjects were resampled: results generalise to other subjects",
        "both": "stimuli and subjects were resampled: results generalise to others of both",
        "dual": "stimuli and subjects were resampled, with the two-factor correction: results "
        "generalise to others of both",
        "None": "nothing was resampled: results generalise to other subjects",
    }[attrs["bootstrap"]]
    return (
        f"{attrs['subjects']} subjects, {attrs['stimuli']} stimuli; {resampled}. Bars are means, "
        f"lines {attrs['confidence']:.0%} confidence intervals; tests are at a false discovery "
        "rate of 5 %."
    )


def _readable(table: pd.DataFrame) -> pd.DataFrame:
    """Return similarities to three decimals and p-values to two digits."""
    shown = {
        name: table[name].map("{:.2g}".format if name.startswith("p_") else "{:.3f}".format)
        for name in table.columns
    }
    return pd.DataFrame(shown, index=table.index)


def _settings(result: xr.Dataset) -> str:
    attrs = result.attrs
    parts = [f"{attrs['n_boot']} resamples", f"seed {attrs['seed']}", attrs["test"]]
    if attrs["stimulus_folds"] * attrs["subject_folds"] > 1:
        parts.append(
            f"{attrs['stimulus_folds']} folds of stimuli by {attrs['subject_folds']} of subjects"
        )
    return f"({', '.join(parts)}.)"
