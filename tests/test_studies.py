"""What the scripts in `analyses/` share, beside the page they become: images kept, intervals."""

import argparse
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from cnnperception import studies


def test_an_image_is_made_once_for_the_same_settings(tmp_path):
    found = studies.study("made", "", "", argparse.Namespace(output=tmp_path / "made"))
    calls = []

    def make():
        calls.append(1)
        image = torch.full((3, 4, 5), len(calls) / 5)
        return SimpleNamespace(image=image, finished=True, provenance={"seed": 0})

    first = found.remember_image("image", make, seed=0)
    assert first.shape == (1, 3, 4, 5)
    torch.testing.assert_close(first, torch.full((1, 3, 4, 5), 0.2), atol=1 / 255, rtol=0)
    assert found.remember_image("image", make, seed=0).equal(first)
    assert found.remember_image("image", make, seed=1).mean() > 0.3
    assert len(calls) == 2


def test_another_version_of_the_package_computes_anew(tmp_path, monkeypatch):
    found = studies.study("made", "", "", argparse.Namespace(output=tmp_path / "made"))
    assert found.remember("mean", lambda: pd.DataFrame({"mean": [1]}))["mean"].item() == 1
    assert found.remember("mean", lambda: pd.DataFrame({"mean": [2]}))["mean"].item() == 1
    monkeypatch.setattr(studies, "__version__", "next")
    assert found.remember("mean", lambda: pd.DataFrame({"mean": [2]}))["mean"].item() == 2


def test_an_interrupted_image_is_not_kept(tmp_path):
    found = studies.study("made", "", "", argparse.Namespace(output=tmp_path / "made"))
    half = SimpleNamespace(image=torch.zeros(3, 4, 4), finished=False, provenance={})
    with pytest.raises(KeyboardInterrupt):
        found.remember_image("image", lambda: half)
    assert not list(tmp_path.rglob("*.png"))


def test_intervals_are_of_the_means_of_units():
    rows = [("a", "p", 1.0), ("a", "p", 3.0), ("a", "q", 4.0), ("a", "r", 6.0), ("b", "p", 1.0)]
    table = pd.DataFrame(rows, columns=["model", "picture", "error"])
    found = studies.mean_intervals(table, ["model"], "picture", "error").set_index("model")
    # Of 2, 4 and 6: t of 2 degrees of freedom is 4.3027 at 97.5 %.
    assert found.loc["a", "error"] == 4
    assert found.loc["a", "upper"] == pytest.approx(4 + 4.30265 * 2 / 3**0.5, abs=1e-4)
    assert found.loc["a", "lower"] == pytest.approx(4 - 4.30265 * 2 / 3**0.5, abs=1e-4)
    assert found.loc["b", "error"] == 1
    assert np.isnan(found.loc["b", ["lower", "upper"]].astype(float)).all()
    assert studies.with_interval(*found.loc["b", ["error", "lower", "upper"]]) == "1.00"
    assert studies.with_interval(0.5, 0.25, 0.75) == "0.50 [0.25, 0.75]"
