"""Published data sets that go straight into the comparison of models with brains."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from . import rsa
from .stimuli import StimulusSet

IMAGES_FILE = "Kriegeskorte_Neuron2008_supplementalData.mat"
HUMAN_FILE = "92_brainRDMs.mat"
PUBLIC_PLACE = "https://raw.githubusercontent.com/rsagroup/rsatoolbox/main/demos/92imageData/"
SHA256 = {
    IMAGES_FILE: "06f21214399a5d43dc264eed19a7f4b8daf11c8622a59eec3e106064ce5e3504",
    HUMAN_FILE: "1743f90a15e895798a94318649e80e1123a7e5943a1703fa1dd7c31ea5780b7c",
}


def fetch_92images(folder: str | os.PathLike[str] | None = None) -> Path:
    """Fetch the files of `load_92images` from their public place, once.

    Parameters
    ----------
    folder : path-like, optional
        Where to keep them; the user's cache folder when left out.

    Returns
    -------
    Path
        The folder. Files that are there and have the known SHA-256 are not fetched again.

    Raises
    ------
    ConnectionError
        When they cannot be fetched.
    ValueError
        When what comes is not what is known; nothing is kept of it.
    """
    import pooch
    from requests.exceptions import RequestException

    place = Path(folder) if folder is not None else Path(pooch.os_cache("cnnperception"))
    files = pooch.create(place, PUBLIC_PLACE, registry=dict(SHA256), retry_if_failed=2)
    for name in SHA256:
        try:
            files.fetch(name)
        except RequestException as error:
            raise ConnectionError(
                f"{PUBLIC_PLACE}{name} cannot be fetched ({error}); put the file into a folder "
                "yourself and give that to load_92images"
            ) from error
    return place


def load_92images(
    folder: str | os.PathLike[str] | None = None,
) -> tuple[StimulusSet, xr.DataArray]:
    """Load the 92 images of Kriegeskorte et al. (2008) and RDMs of inferior temporal cortex.

    Parameters
    ----------
    folder : path-like, optional
        Holds `Kriegeskorte_Neuron2008_supplementalData.mat` and, for the single human subjects,
        `92_brainRDMs.mat`: both are in the demos of rsatoolbox (demos/92imageData), from where
        `fetch_92images` fetches them when left out.

    Returns
    -------
    stimuli : StimulusSet
        175 x 175 pixels; the table has the columns category (human body, human face, animal
        body, animal face, natural object, artificial object), animate, face.
    rdms : DataArray, dims (rdm, pair)
        "human IT" and "monkey IT" (group means; 1 - Pearson correlation), and "human IT subject
        1" ... (means over sessions) where the second file is present. The coordinate `subject`
        along rdm is empty for the group means.

    Raises
    ------
    FileNotFoundError, ValueError
        When the first file is missing or holds something else.
    """
    path = fetch_92images() if folder is None else Path(folder)
    path = path if path.suffix == ".mat" else path / IMAGES_FILE
    content = _load(path, ("stimuli_92objs", "RDMs_mIT_hIT_fig1", "categoryVectors"))
    labels = [str(label) for label in content["categoryLabels"]]
    members = pd.DataFrame(content["categoryVectors"].astype(bool), columns=labels)
    objects = content["stimuli_92objs"]
    ids = [f"object{number:02d}" for number in range(1, len(objects) + 1)]
    table = pd.DataFrame(
        {
            "stimulus_id": ids,
            "category": [_category(row) for _, row in members.iterrows()],
            "animate": members["animate"].to_numpy(),
            "face": members["face"].to_numpy(),
        }
    )
    pictures = np.stack([item.image for item in objects])
    stimuli = StimulusSet.from_arrays(pictures, ids=ids, table=table)
    groups = {
        ("human IT" if "hIT" in r.name else "monkey IT"): r.RDM
        for r in content["RDMs_mIT_hIT_fig1"]
    }
    groups = dict(sorted(groups.items()))
    subjects = [""] * len(groups)
    humans = path.parent / HUMAN_FILE
    if humans.exists():
        sessions = _load(humans, ("RDMs",))["RDMs"]
        for number, subject in enumerate(sessions, start=1):
            mean = np.mean([session.RDM for session in subject], axis=0, dtype=float)
            groups[f"human IT subject {number}"] = mean[np.triu_indices(len(mean), 1)]
            subjects.append(f"subject {number}")
    rdms = rsa.concat(
        {name: rsa.condensed(np.asarray(values, float), ids) for name, values in groups.items()}
    )
    return stimuli, rdms.assign_coords(subject=("rdm", subjects))


def _category(member: pd.Series) -> str:
    if member["animate"]:
        return f"{'human' if member['human'] else 'animal'} {'face' if member['face'] else 'body'}"
    return "natural object" if member["natObj"] else "artificial object"


def _load(path: Path, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    from scipy.io import loadmat

    if not path.exists():
        raise FileNotFoundError(
            f"{path} does not exist; it is in the public repository rsagroup/rsatoolbox on GitHub "
            "under demos/92imageData"
        )
    try:
        content: dict[str, np.ndarray] = loadmat(path, struct_as_record=False, squeeze_me=True)
    except (ValueError, NotImplementedError, OSError) as error:
        raise ValueError(f"{path} cannot be read as a MATLAB file: {error}") from error
    missing = [name for name in names if name not in content]
    if missing:
        raise ValueError(
            f"{path} has no variable {missing[0]!r}; it is not the file it is named after"
        )
    return content
