"""Which models' layers have the representational geometry of inferior temporal cortex?

Every layer of every model against human and monkey IT on the 92 object images of Kriegeskorte et
al. (2008), with noise ceilings and tests; the files of the images and RDMs are given by --data:

    python analyses/it_geometry.py --data FOLDER [--quick] [--model vgg19 ...]
"""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from scipy.stats import rankdata

import cnnperception as cp
from cnnperception import evaluation, recipes
from cnnperception.figures import (
    layer_profile,
    mds_map,
    model_results,
    rdm_heatmaps,
    similarity_matrix,
)
from cnnperception.studies import (
    MORE_MODELS,
    Study,
    arguments,
    compared,
    load,
    paragraphs,
    study,
    with_interval,
)

# what it is called: (model, its layers, side of the images it is shown)
MODELS = {
    "VGG, trained": ("objects-vgg", ["pool*", "average"], 64),
    "VGG, self-supervised": ("objects-vgg:self-supervised", ["pool*", "average"], 64),
    "VGG, untrained": ("objects-vgg:none", ["pool*", "average"], 64),
    "VGG-19, untrained": ("vgg19:none", ["pool*", "fc6", "fc7"], 175),
    "HMAX": ("hmax", ["c1", "c2"], 175),
    "Neocognitron": ("neocognitron", ["uc1", "uc2", "uc3", "uc4"], 128),
    "random filters": ("random-filters", ["scale*"], 128),
    "V1": ("v1", ["scale*"], 128),
    "gist": ("gist", ["gist"], 175),
    "silhouette": ("silhouette", ["silhouette"], 64),
    "pixels": ("pixels", ["pixels"], 64),
}
SLOW = ("VGG-19, untrained",)  # left out by --quick
SIDE = 175  # of the images, which a further model is shown as they are
REFERENCES = {"animate or not": "animate", "face or not": "face", "six categories": "category"}
# Models of categories tie many pairs, which plain rank correlations favour or punish (Nili et
# al. 2014); rho-a does not (Schuett et al. 2023).
METHOD = "rho-a"
ALPHA = 0.05


def load_data(settings) -> tuple[cp.StimulusSet, xr.DataArray]:
    """Return the 92 images and the RDMs of IT, or end, saying what is missing."""
    try:
        stimuli, rdms = cp.datasets.load_92images(settings.data)
    except (OSError, ValueError) as error:
        raise SystemExit(f"{error}\nName the folder that holds the files by --data.") from error
    if len(evaluation.subjects_of(rdms)) < 2:
        raise SystemExit(
            f"the RDMs of the single subjects are missing: put {cp.datasets.HUMAN_FILE}, from "
            f"{cp.datasets.PUBLIC_PLACE}, into the folder named by --data"
        )
    return stimuli, rdms


def models(settings) -> dict[str, tuple[str, Sequence[str], int]]:
    """Return the models of the script, and those that were asked for besides."""
    shown = {name: row for name, row in MODELS.items() if not (settings.quick and name in SLOW)}
    return shown | {spec: (spec, *compared(spec, SIDE)) for spec in settings.model or []}


def layer_rdms(found: Study, settings, name: str, stimuli: cp.StimulusSet) -> xr.DataArray:
    """Return the RDM of each layer of a model, as `recipes.layer_rdms` does."""
    spec, layers, side = models(settings)[name]
    model = load(spec, settings.device)

    def compute() -> pd.DataFrame:
        activations = cp.extract(model, stimuli, layers, size=side, progress=True)
        rdms = recipes.activation_rdms(activations, name)
        return pd.DataFrame(rdms.to_numpy().T, columns=rdms["layer"].to_numpy())

    table = found.remember(
        "rdms",
        compute,
        weights=cp.models.fingerprint(model),
        layers=layers,
        side=side,
        images=[stimuli.sha256(index) for index in range(len(stimuli))],
    )
    return stacked(name, {layer: table[layer] for layer in table}, stimuli)


def references(stimuli: cp.StimulusSet) -> list[xr.DataArray]:
    """Return RDMs that say whether two images are of the same kind: 0 or 1."""
    found = []
    for name, column in REFERENCES.items():
        kinds = pd.get_dummies(stimuli.table[column].astype(str)).to_numpy(float)
        found.append(stacked(name, {column: cp.rsa.rdm(kinds, "euclidean") > 0}, stimuli))
    return found


def stacked(name: str, layers: Mapping[str, pd.Series], stimuli: cp.StimulusSet) -> xr.DataArray:
    """Return condensed RDMs by layer as (rdm, pair), named by model and layer."""
    rdms = cp.rsa.concat(
        {
            f"{name} {layer}": cp.rsa.condensed(np.asarray(values, float), stimuli.ids)
            for layer, values in layers.items()
        }
    )
    return rdms.assign_coords(model=("rdm", [name] * len(layers)), layer=("rdm", list(layers)))


def against_monkey(
    rdms: list[xr.DataArray], human: xr.DataArray, monkey: xr.DataArray, settings
) -> xr.Dataset:
    """Return how similar every layer, and human IT, are to the mean RDM of monkey IT."""
    every = {str(n): one[i] for one in rdms for i, n in enumerate(one["rdm"].to_numpy())}
    return one_subject({"human IT": human, **every}, monkey, METHOD, settings)


def one_subject(named, data: xr.DataArray, method: str, settings) -> xr.Dataset:
    """Return an evaluation over resampled images on one RDM, which has no noise ceiling."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*noise ceiling")
        return cp.rsa.evaluate(
            named, data, method, bootstrap="stimuli", n_boot=n_boot(settings), seed=settings.seed
        )


def n_boot(settings) -> int:
    """Return the number of resamples."""
    return settings.n_boot or (100 if settings.quick else 400)


def profile(result: xr.Dataset, rdms: list[xr.DataArray], data: str) -> pd.DataFrame:
    """Return a row for each layer: its similarity and interval."""
    table = evaluation.table_of(result)
    rows = [
        {"model": model, "layer": layer, "data": data, **table.loc[name].to_dict()}
        for one in rdms
        for name, model, layer in zip(
            one["rdm"].to_numpy(), one["model"].to_numpy(), one["layer"].to_numpy(), strict=True
        )
    ]
    return pd.DataFrame(rows)


def best_layers(layers: pd.DataFrame) -> dict[str, str]:
    """Return the layer of each model that is most similar to human IT."""
    best = layers.loc[layers.groupby("model", sort=False)["similarity"].idxmax()]
    return dict(zip(best["model"], best["layer"], strict=True))


def rdms_of(rdms: list[xr.DataArray], layers: Mapping[str, str]) -> dict[str, xr.DataArray]:
    """Return the RDM of one layer of each model."""
    found = {}
    for one in rdms:
        name = str(one["model"][0].item())
        number = one["layer"].to_numpy().tolist().index(layers[name])
        found[name] = one[number].drop_vars(["rdm", "model", "layer"])
    return found


def single_subjects(
    chosen: Mapping[str, xr.DataArray], monkey: xr.DataArray, subjects: xr.DataArray
) -> pd.DataFrame:
    """Return how similar each subject is to the others, to all, to monkey IT and to models."""
    named = cp.rsa.concat({"monkey IT": monkey, **chosen})
    # As for the noise ceiling: RDMs are pooled as ranks, the scale on which they are compared.
    ranks = rankdata(subjects.to_numpy(), axis=1)
    pooled = {"other subjects": ranks.sum(axis=0) - ranks, "all subjects": ranks.sum(axis=0)}
    table = {
        name: np.diag(
            cp.rsa.compare(subjects.to_numpy(), np.broadcast_to(pool, ranks.shape), METHOD)
        )
        for name, pool in pooled.items()
    }
    of_models = pd.DataFrame(cp.rsa.compare(subjects, named, METHOD), columns=named["rdm"])
    names = pd.Index(subjects["subject"].to_numpy().astype(str), name="subject")
    return pd.DataFrame(table).join(of_models).set_index(names)


def main() -> None:
    settings = arguments(
        __doc__,
        "it_geometry",
        data={
            "type": Path,
            "help": "folder of the files of the 92 images; fetched once when left out",
        },
        model=MORE_MODELS,
        n_boot={"type": int, "help": "resamples; 400, or 100 with --quick"},
        thumbnails={"action": "store_true", "help": "also draw maps that show the images"},
    )
    found = study(
        "it_geometry",
        "The geometry of inferior temporal cortex",
        "Which models' layers represent 92 object images as human and monkey IT do?",
        settings,
    )
    stimuli, data = load_data(settings)
    human, monkey = (data.sel(rdm=f"{species} IT", drop=True) for species in ("human", "monkey"))
    subjects = evaluation.subjects_of(data)
    rdms = [layer_rdms(found, settings, name, stimuli) for name in models(settings)]
    kinds = references(stimuli)
    results = evaluation.evaluate_layers(
        [*rdms, *kinds],
        subjects,
        method=METHOD,
        n_boot=n_boot(settings),
        seed=settings.seed,
        progress=True,
    )
    monkeys = against_monkey(rdms, human, monkey, settings)
    layers = profile(results["layers"], [*rdms, *kinds], "human IT")
    in_monkey = profile(monkeys, rdms, "monkey IT")
    best = best_layers(layers)
    chosen = rdms_of([*rdms, *kinds], best)
    of_subjects = single_subjects(chosen, monkey, subjects)
    found.table("layers", pd.concat([layers, in_monkey], ignore_index=True))
    found.table("models", evaluation.table_of(results["models"]).reset_index())
    found.table("pairs", evaluation.pairs_of(results["models"]))
    found.table("subjects", of_subjects.reset_index())
    draw(found, results, layers, in_monkey, of_subjects)
    named = {"human IT": human, "monkey IT": monkey}
    named |= {f"{name}: {best[name]}": chosen[name] for name in models(settings)}
    draw_rdms(found, stimuli, named, settings)
    shows = paragraphs(
        between_species(human, monkey, settings),
        ceilings(results, of_subjects),
        ranking(results["models"], best),
        by_monkey(in_monkey, monkeys),
        tests(results["models"]),
    )
    found.conclude(in_short(results["models"]), shows, LIMITS)


def draw(found, results, layers, in_monkey, of_subjects) -> None:
    """Write the figures of similarities."""
    found.figure(
        "models",
        model_results(
            evaluation.corrected(results["models"]), alpha=ALPHA, label=f"{METHOD} with human IT"
        ),
        "Similarity of each model to the RDMs of four subjects' IT, by its best layer, chosen on "
        "other images and subjects than it is tested on, with 95 % intervals over images. Stars, "
        "triangles and icicles: tests at a false discovery rate of 5 %.",
    )
    ceiling = tuple(float(results["layers"][f"ceiling_{end}"]) for end in ("lower", "upper"))
    of_models = layers[~layers["model"].isin(REFERENCES)]
    found.figure(
        "layers_human",
        layer_profile(of_models, ceiling, label=f"{METHOD} with human IT"),
        "Every layer against human IT, with 95 % intervals over images.",
    )
    found.figure(
        "layers_monkey",
        layer_profile(in_monkey, label=f"{METHOD} with monkey IT"),
        "Every layer against the mean RDM of monkey IT, with 95 % intervals over images.",
    )
    found.figure(
        "subjects",
        similarity_matrix(of_subjects.T, label=METHOD),
        "Each subject's IT against the pooled RDM of the others (whose mean is the lower noise "
        "ceiling) and of all (the upper), against monkey IT, and against each model's best layer.",
    )


def draw_rdms(
    found: Study, stimuli: cp.StimulusSet, named: dict[str, xr.DataArray], settings
) -> None:
    """Write RDMs by name and, where asked for, maps of the images, which then show them."""
    categories = stimuli.table["category"].tolist()
    found.figure(
        "rdms",
        rdm_heatmaps(cp.rsa.concat(named), categories, columns=5),
        "RDMs of IT and of each model's best layer, in percentiles: dark pairs are alike.",
    )
    if not settings.thumbnails:
        return
    pictures = [stimuli.image(index, size=48)[0] for index in range(len(stimuli))]
    for name, rdm in named.items():
        found.figure(
            "map_" + name.split(":")[0].replace(" ", "_").replace(",", ""),
            mds_map(cp.rsa.concat({name: rdm})[0], pictures, categories),
            f"The {len(stimuli)} images as {name} places them: near means alike.",
        )


def in_short(result: xr.Dataset) -> str:
    """Return the answer in a sentence."""
    table = evaluation.table_of(result).sort_values("similarity", ascending=False)
    own = table.drop(index=list(REFERENCES))
    kind = table.loc[list(REFERENCES), "similarity"].idxmax()
    return (
        f"Of the models, {own.index[0]} is nearest to the geometry of human IT, at "
        f"{own['similarity'].iloc[0]:.2f} ({METHOD}), HMAX at {own.loc['HMAX', 'similarity']:.2f} "
        f"and the network trained on objects at {own.loc['VGG, trained', 'similarity']:.2f}, where "
        f"the noise ceiling begins at {float(result['ceiling_lower']):.2f}; that an image is "
        f"{kind} alone gives {table.loc[kind, 'similarity']:.2f}."
    )


def between_species(human: xr.DataArray, monkey: xr.DataArray, settings) -> str:
    """Return what human and monkey IT have in common."""
    said = []
    for method in ("corr", METHOD):
        pair = one_subject({"human IT": human}, monkey, method, settings)
        plain = float(cp.rsa.compare(human, monkey, method)[0, 0])
        low, high = float(pair["lower"][0]), float(pair["upper"][0])
        label = evaluation.LABELS[method]
        said.append(f"{label} {with_interval(plain, low, high)}")
    return f"The mean RDMs of human and monkey IT agree: {', '.join(said)}."


def ceilings(results: Mapping[str, xr.Dataset], of_subjects: pd.DataFrame) -> str:
    """Return the noise ceilings, and how well each subject is told by the others."""
    bounds = {
        key: " to ".join(f"{float(result[f'ceiling_{end}']):.2f}" for end in ("lower", "upper"))
        for key, result in results.items()
    }
    single = ", ".join(f"{value:.2f}" for value in of_subjects["other subjects"])
    return (
        f"The noise ceiling of human IT is {bounds['layers']}, and {bounds['models']} on the "
        f"smaller parts that models are tested on; each subject's similarity to the others is "
        f"{single}."
    )


def ranking(result: xr.Dataset, best: dict[str, str]) -> str:
    """Return each model's similarity to human IT, and what it is above and below."""
    table = evaluation.table_of(result).sort_values("similarity", ascending=False)
    values = ", ".join(
        f"{name} ({best[name]}) {_similarity(row)}"
        for name, row in table.iterrows()
        if name not in REFERENCES
    )
    kinds = ", ".join(f"{name} {table.loc[name, 'similarity']:.3f}" for name in REFERENCES)
    own = table.drop(index=list(REFERENCES))
    zero = own.index[own["p_zero_fdr"] >= ALPHA].tolist()
    reach = table.index[table["p_ceiling_fdr"] >= ALPHA].tolist()
    return paragraphs(
        f"Models by a layer chosen on other images and subjects (in brackets that of all): "
        f"{values}.",
        f"Models of categories alone: {kinds}.",
        f"Not above zero: {', '.join(zero)}." if zero else "All are above zero.",
        f"Not below the noise ceiling: {', '.join(reach)} alone."
        if reach
        else "All are below the noise ceiling.",
        _pairs(result, "VGG, trained"),
        _pairs(result, "HMAX"),
    )


def _pairs(result: xr.Dataset, name: str) -> str:
    """Return which models one is better than, which it is worse than, and which are neither."""
    pairs = evaluation.pairs_of(result)
    mirrored = pairs.rename(columns={"model": "other_model", "other_model": "model"})
    both = pd.concat([pairs, mirrored.assign(difference=-pairs["difference"])])
    rows = both[(both["model"] == name) & ~both["other_model"].isin(REFERENCES)]
    apart = rows["p_pairs_fdr"] < ALPHA
    kinds = {
        "better than": rows[apart & (rows["difference"] > 0)],
        "worse than": rows[apart & (rows["difference"] < 0)],
        "not told apart from": rows[~apart],
    }
    listed = [
        f"{kind} {', '.join(some['other_model'])}" for kind, some in kinds.items() if len(some)
    ]
    return f"{name} is {'; '.join(listed)}."


def _similarity(row: pd.Series) -> str:
    return with_interval(row["similarity"], row["lower"], row["upper"], ".3f")


def by_monkey(table: pd.DataFrame, result: xr.Dataset) -> str:
    """Return the layers that are most similar to monkey IT."""
    first = table.sort_values("similarity", ascending=False).head(3)
    listed = ", ".join(
        f"{row['model']} {row['layer']} {_similarity(row)}" for _, row in first.iterrows()
    )
    human = result.sel(model="human IT")
    return (
        f"With monkey IT, layers reach at most: {listed}; human IT has "
        f"{float(human['similarity']):.3f} there."
    )


def tests(result: xr.Dataset) -> str:
    """Return what was resampled and how it was tested."""
    return (
        f"Similarity is {METHOD} of correlation distances, the mean over "
        f"{result.attrs['subjects']} subjects; intervals of 95 % and tests, at a false discovery "
        f"rate of 5 %, are by {result.attrs['n_boot']} resamples of {result.attrs['stimuli']} "
        "images; those against zero are one-sided."
    )


LIMITS = (
    "Images were resampled, subjects were not: with four, results hold for these subjects. The "
    "92 images are objects on a uniform background, half of them animate, so that any model that "
    "keeps the two apart does well; silhouettes profit from the background. The networks that come "
    "along did not learn to name photographs: the trained one saw rendered objects of sixteen "
    "categories, without people or faces, in pictures of 64 pixels; --model vgg19 adds one that "
    "did. Layers were "
    "taken as they are, not reweighted to fit, which would raise every model."
)


if __name__ == "__main__":
    main()
