"""Which layers of which models represent pictures alike?

Every layer of every model is compared with every other one on crops of photographs and on
rendered objects, by their RDMs and by debiased CKA, with intervals over pictures:

    python analyses/model_similarity.py [--quick] [--model vgg19 ...]
"""

import itertools
import warnings
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import xarray as xr
from scipy import stats

import cnnperception as cp
from cnnperception.demo import crops
from cnnperception.figures import interval_curves, layer_map, similarity_matrix
from cnnperception.objects import ObjectScenes
from cnnperception.recipes import activation_rdms, compare_models
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

VGG = ["conv*", "pool*", "average"]
# what it is called: (model, its layers, side of the images it is shown)
MODELS = {
    "VGG, trained": ("objects-vgg", VGG, 64),
    "VGG, self-supervised": ("objects-vgg:self-supervised", VGG, 64),
    "VGG, untrained": ("objects-vgg:none", VGG, 64),
    "HMAX": ("hmax", ["c1", "c2"], 128),
    "Neocognitron": ("neocognitron", ["uc1", "uc2", "uc3"], 128),
    "random filters": ("random-filters", ["scale*"], 128),
    "V1": ("v1", ["scale*"], 128),
    "gist": ("gist", ["gist"], 128),
    "pixels": ("pixels", ["pixels"], 64),
}
NETWORKS = ("VGG, trained", "VGG, self-supervised", "VGG, untrained")
UNTRAINED = NETWORKS[-1]
# With what the networks' layers are compared: layers whose similarities are averaged.
ANCHORS = {
    "HMAX C1": ("HMAX", "c1/"),
    "HMAX C2": ("HMAX", "c2/"),
    "Neocognitron UC3": ("Neocognitron", "uc3"),
    "V1": ("V1", "scale"),
}
EXEMPLARS = range(3000, 3040)  # of objects, that no network was trained on
METHOD = "spearman"
METRICS = ("correlation", "euclidean")
LABELS = {"RSA": "Spearman correlation of RDMs", "CKA": "debiased CKA"}
SIDE = 128
RESAMPLES = 1000


def pictures(objects: int, seed: int) -> cp.StimulusSet:
    """Return crops of photographs and pictures of objects; `group` is what they are of."""
    cut = crops(seed)
    drawn = ObjectScenes(
        SIDE, "medium", ("blank", "clutter"), exemplars=EXEMPLARS, seed=seed
    ).stimuli(range(objects))
    arrays = [(255 * np.asarray(array)).round().astype(np.uint8) for array in cut.sources]
    table = pd.DataFrame(
        {
            "kind": ["crops"] * len(cut) + ["objects"] * len(drawn),
            "group": [*cut.table["category"], *drawn.table["object"]],
        }
    )
    return cp.StimulusSet.from_arrays([*arrays, *drawn.sources], [*cut.ids, *drawn.ids], table)


def models(settings) -> dict[str, tuple[str, Sequence[str], int]]:
    """Return the models of the script, and those that were asked for besides."""
    return MODELS | {spec: (spec, *compared(spec, SIDE)) for spec in settings.model or []}


def layer_rdms(
    found: Study, settings, name: str, metric: str, stimuli: cp.StimulusSet
) -> xr.DataArray:
    """Return the RDM of each layer of a model; `model` and `layer` are coordinates."""
    spec, layers, side = models(settings)[name]
    model = load(spec, settings.device)

    def compute() -> pd.DataFrame:
        activations = cp.extract(model, stimuli, layers, size=side, progress=True)
        parts = {
            m: activation_rdms(activations, name, metric=m) for m in ("correlation", "euclidean")
        }
        return pd.concat(
            {
                m: pd.DataFrame(rdms.to_numpy().T, columns=rdms["layer"])
                for m, rdms in parts.items()
            },
            axis=1,
        ).pipe(lambda table: table.set_axis(["|".join(names) for names in table], axis=1))

    table = found.remember(
        "rdms",
        compute,
        weights=cp.models.fingerprint(model),
        layers=list(layers),
        side=side,
        images=[stimuli.sha256(index) for index in range(len(stimuli))],
    )
    chosen = [column for column in table if column.startswith(f"{metric}|")]
    rdms = cp.rsa.concat(
        {column: cp.rsa.condensed(table[column].to_numpy(), stimuli.ids) for column in chosen}
    )
    names = [column.partition("|")[2] for column in chosen]
    labels = {"rdm": [f"{name} {layer}" for layer in names], "layer": ("rdm", names)}
    return rdms.assign_coords({**labels, "model": ("rdm", [name] * len(names))})


def coordinates(rdm: xr.DataArray) -> np.ndarray:
    """Return patterns whose squared Euclidean distances are an RDM (Torgerson 1952)."""
    squares = cp.rsa.square(rdm)
    means = squares.mean(axis=0)
    products = -(squares - means - means[:, None] + means.mean()) / 2
    values, vectors = np.linalg.eigh(products)
    return vectors * np.sqrt(values.clip(min=0))


def anchor(rdms: xr.DataArray, name: str) -> np.ndarray:
    """Return which layers an anchor has."""
    model, start = ANCHORS[name]
    starts = [str(layer).startswith(start) for layer in rdms["layer"].to_numpy()]
    return np.flatnonzero((rdms["model"].to_numpy() == model) & starts)


def of_networks(rdms: xr.DataArray, settings) -> np.ndarray:
    """Return which layers are compared with anchors: pooling layers and what was asked for."""
    pools = [str(layer).startswith(("pool", "average")) for layer in rdms["layer"].to_numpy()]
    more = np.isin(rdms["model"].to_numpy(), settings.model or [])
    return np.flatnonzero(np.isin(rdms["model"].to_numpy(), NETWORKS) & pools | more)


def by_rdms(
    layers: xr.DataArray, anchors: xr.DataArray, groups: Sequence[str], seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean similarity of each layer's RDM to those of an anchor, and its covariance.

    By the bootstrap over groups of pictures.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*noise ceiling")
        result = cp.rsa.evaluate(
            layers,
            anchors,
            METHOD,
            bootstrap="stimuli",
            n_boot=RESAMPLES,
            stimulus_groups=list(groups),
            seed=seed,
        )
    return result["similarity_of_data"].to_numpy(), np.cov(result["evaluations"].to_numpy().T)


def by_kernels(
    layers: xr.DataArray, anchors: xr.DataArray, groups: Sequence[str], seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean debiased CKA of each layer with those of an anchor, and its covariance.

    By the jackknife over groups of pictures: the estimate leaves out what each picture has in
    common with itself, which a resample with repeated pictures would bring back.
    """
    of_layers, of_anchors = ([coordinates(one) for one in some] for some in (layers, anchors))

    def similarity(kept: np.ndarray) -> np.ndarray:
        rows, columns = (
            {str(number): patterns[kept] for number, patterns in enumerate(some)}
            for some in (of_layers, of_anchors)
        )
        return cp.similarity.similarity_matrix(rows, columns).to_numpy().mean(axis=1)

    labels = np.asarray(groups)
    left_out = np.stack([similarity(labels != group) for group in np.unique(labels)])
    covariance = np.cov(left_out.T, ddof=0) * (len(left_out) - 1)
    return similarity(np.full(len(labels), True)), covariance


MEASURES = {"RSA": ("correlation", by_rdms), "CKA": ("euclidean", by_kernels)}


def with_intervals(table: pd.DataFrame, covariance: np.ndarray, groups: int) -> pd.DataFrame:
    """Add intervals, and by how much a layer leads the untrained network's same layer."""
    reach = stats.t.ppf(0.975, groups - 1)
    half = reach * np.sqrt(covariance.diagonal())
    table = table.assign(lower=table["similarity"] - half, upper=table["similarity"] + half)
    untrained = table.index[table["model"] == UNTRAINED]
    twins = table["layer"].map(dict(zip(table["layer"][untrained], untrained, strict=True)))
    rows = table.index[twins.notna() & (table["model"] != UNTRAINED)]
    others = twins[rows].astype(int).to_numpy()
    lead = table["similarity"].to_numpy()[rows] - table["similarity"].to_numpy()[others]
    variance = covariance[rows, rows] + covariance[others, others] - 2 * covariance[rows, others]
    bounds = {"lead": lead, "lead_lower": lead - reach * np.sqrt(variance)}
    bounds["lead_upper"] = 2 * lead - bounds["lead_lower"]
    return table.join(pd.DataFrame(bounds, index=rows))


def anchored(rdms: Mapping[str, xr.DataArray], stimuli: cp.StimulusSet, settings) -> pd.DataFrame:
    """Return how similar networks' layers are to each anchor, on all pictures and each kind."""
    kinds = stimuli.table["kind"].to_numpy()
    parts = []
    for kind in ("all", *dict.fromkeys(kinds)):
        kept = np.flatnonzero((kinds == kind) | (kind == "all"))
        ids, groups = [stimuli.ids[i] for i in kept], stimuli.table["group"].iloc[kept]
        for (measure, (metric, compare)), name in itertools.product(MEASURES.items(), ANCHORS):
            every = cp.rsa.select(rdms[metric], ids)
            layers = every[of_networks(every, settings)]
            bare = [
                one.drop_vars(["model", "layer"]) for one in (layers, every[anchor(every, name)])
            ]
            similarity, covariance = compare(*bare, groups.tolist(), settings.seed)
            table = pd.DataFrame(
                {"pictures": kind, "measure": measure, "anchor": name}, range(len(layers))
            )
            table["model"], table["layer"] = layers["model"].to_numpy(), layers["layer"].to_numpy()
            table["similarity"] = similarity
            parts.append(with_intervals(table, covariance, groups.nunique()))
    return pd.concat(parts, ignore_index=True)


def closest(table: pd.DataFrame) -> pd.DataFrame:
    """Return how similar the two most similar layers of each two models are."""
    names = list(dict.fromkeys(table.index.get_level_values("model")))
    most = [[table.loc[a, b].to_numpy().max() for b in names] for a in names]
    return pd.DataFrame(most, names, names)


def neighbours(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return for each layer the most similar one of another model, by each measure."""
    rows = []
    for measure, table in tables.items():
        owner = table.index.get_level_values("model").to_numpy()
        others = table.mask(owner[:, None] == owner[None])
        for (model, layer), values in others.iterrows():
            other, nearest = values.idxmax()
            row = {"measure": measure, "model": model, "layer": layer, "other_model": other}
            rows.append({**row, "nearest": nearest, "similarity": values.max()})
    return pd.DataFrame(rows)


def main() -> None:
    settings = arguments(
        __doc__,
        "model_similarity",
        model=MORE_MODELS,
        objects={"type": int, "help": "pictures of objects; 96, or 32 with --quick"},
    )
    found = study(
        "model_similarity",
        "Layers that represent pictures alike",
        "Which layers of which models represent pictures alike, and does training bring a network "
        "nearer to HMAX?",
        settings,
    )
    stimuli = pictures(settings.objects or (32 if settings.quick else 96), settings.seed)
    named = models(settings)
    rdms = {
        metric: xr.concat(
            [layer_rdms(found, settings, name, metric, stimuli) for name in named], dim="rdm"
        )
        for metric in METRICS
    }
    of_rdms, _ = compare_models([rdms["correlation"]], method=METHOD)
    patterns = {str(n): coordinates(one) for n, one in enumerate(rdms["euclidean"])}
    of_kernels = cp.similarity.similarity_matrix(patterns).to_numpy()
    tables = {"RSA": of_rdms, "CKA": pd.DataFrame(of_kernels, of_rdms.index, of_rdms.columns)}
    near, leads = neighbours(tables), anchored(rdms, stimuli, settings)
    for measure, table in tables.items():
        found.table(f"layers_{measure.lower()}", flat(table))
    found.table("nearest", near)
    found.table("anchors", leads)
    draw(found, tables, leads, len(stimuli))
    found.conclude(
        in_short(leads),
        paragraphs(
            agreement(tables, stimuli),
            *(nearest_of(near, model) for model in ("HMAX", "Neocognitron", "VGG, trained")),
            *(towards(leads, name) for name in ("HMAX C1", "HMAX C2")),
        ),
        LIMITS,
    )


def flat(table: pd.DataFrame) -> pd.DataFrame:
    """Return similarities with the names of rows and columns as texts, to be written."""
    names = [f"{model} {layer}" for model, layer in table.index]
    return (
        pd.DataFrame(table.to_numpy(), columns=names)
        .assign(layer=names)
        .set_index("layer")
        .reset_index()
    )


def draw(found: Study, tables: Mapping[str, pd.DataFrame], leads: pd.DataFrame, count: int) -> None:
    """Write the figures."""
    for measure, table in tables.items():
        short, label = measure.lower(), LABELS[measure]
        found.figure(
            f"layers_{short}",
            similarity_matrix(table, label=label),
            f"Every layer with every layer on {count} pictures: {label}.",
        )
        found.figure(
            f"map_{short}",
            layer_map(table, label=label),
            f"Layers placed by multidimensional scaling of 1 - {label}, each model's from its "
            "first layer to its last: near means alike.",
        )
        found.figure(
            f"models_{short}",
            similarity_matrix(closest(table), label=label),
            f"The most similar pair of layers of each two models: {label}.",
        )
        rows = leads[(leads["measure"] == measure) & (leads["pictures"] == "all")]
        found.figure(
            f"anchors_{short}",
            interval_curves(
                rows.rename(columns={"similarity": label}),
                x="layer",
                y=label,
                curve="model",
                panel="anchor",
                columns=2,
            ),
            f"How similar the networks' layers are to the layers of other models ({label}, the "
            "mean over these layers), with 95 % intervals over pictures.",
        )


def in_short(leads: pd.DataFrame, layer: str = "pool4") -> str:
    """Return the answer in a sentence."""
    said = []
    for name in ("HMAX C1", "HMAX C2"):
        rows = leads[(leads["anchor"] == name) & (leads["layer"] == layer)]
        every = rows[(rows["pictures"] == "all") & (rows["measure"] == "RSA")].set_index("model")
        trained, untrained = (every.loc[NETWORKS[i], "similarity"] for i in (0, -1))
        verdict = _verdict(rows[rows["model"] == NETWORKS[0]])
        said.append(
            f"{untrained:.2f} without training and {trained:.2f} with it for {name}, which is "
            f"{verdict}"
        )
    return (
        f"The similarity of the network's {layer} to HMAX (RSA) is {'; '.join(said)}, by two "
        "measures and parts of the pictures."
    )


def agreement(tables: Mapping[str, pd.DataFrame], stimuli: cp.StimulusSet) -> str:
    """Return how far the two measures agree on which layers are alike."""
    pairs = np.triu_indices(len(tables["RSA"]), 1)
    ranks = stats.spearmanr(*(table.to_numpy()[pairs] for table in tables.values())).statistic
    kinds = stimuli.table["kind"].value_counts(sort=False)
    counts = " and ".join(f"{count} {kind}" for kind, count in kinds.items())
    return (
        f"{len(tables['RSA'])} layers were compared on {counts}, by RSA ({LABELS['RSA']}) and by "
        f"debiased CKA, whose values correlate with {ranks:.2f} over {len(pairs[0])} pairs of "
        "layers (Spearman)."
    )


def nearest_of(near: pd.DataFrame, model: str) -> str:
    """Return the nearest layers of other models to a model's deepest layer, by both measures."""
    of_model = near[near["model"] == model]
    last = of_model["layer"].iloc[-1]
    said = [
        f"{row['other_model']} {row['nearest']} ({row['measure']} {row['similarity']:.2f})"
        for _, row in of_model[of_model["layer"] == last].iterrows()
    ]
    return f"Nearest to {model} {last} are {' and '.join(said)}."


def towards(leads: pd.DataFrame, name: str, layer: str = "pool4") -> str:
    """Return whether training moves a network's layer towards an anchor or away from it."""
    rows = leads[(leads["anchor"] == name) & (leads["layer"] == layer)]
    every = rows[(rows["pictures"] == "all") & (rows["measure"] == "RSA")].set_index("model")
    values = ", ".join(
        f"{model} {with_interval(row['similarity'], row['lower'], row['upper'])}"
        for model, row in every.loc[list(NETWORKS)].iterrows()
    )
    trained = rows[rows["model"] == NETWORKS[0]]
    places = {"all": "", "objects": " on objects alone", "crops": " on crops alone"}
    differences = ", ".join(
        f"{with_interval(row['lead'], row['lead_lower'], row['lead_upper'], '+.2f')} by "
        f"{row['measure']}{places[row['pictures']]}"
        for _, row in trained.iterrows()
    )
    return paragraphs(
        f"The similarity of {layer} to {name} is, by RSA, {values}.",
        f"The trained network's less the untrained one's is {differences}: {_verdict(trained)}.",
    )


def _verdict(rows: pd.DataFrame) -> str:
    """Return to which of the networks an anchor is nearer, by all comparisons together."""
    nearer = {
        "the untrained": int((rows["lead_upper"] < 0).sum()),
        "the trained": int((rows["lead_lower"] > 0).sum()),
    }
    said = [f"nearer to {which} one in {count}" for which, count in nearer.items() if count]
    open_ones = len(rows) - sum(nearer.values())
    said += [f"undecided in {open_ones}"] if open_ones else []
    return f"{' and '.join(said)} of these {len(rows)} comparisons"


LIMITS = (
    "Similarities depend on the pictures: some show rendered objects, such as one of the networks "
    "was trained on, some are crops of ten photographs, from which another learnt, and that the "
    "two kinds differ is part of what all models have in common. Each model was shown images of "
    "the side that suits it, 64 or 128 pixels. The closest pair of layers favours models with many "
    "layers. Intervals are over pictures (groups of one object or photograph, by the bootstrap for "
    "RSA and the jackknife for CKA); each network is one training from one seed."
)


if __name__ == "__main__":
    main()
