"""Sections of a report on a comparison: what they show, and what they say they leave out."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from cnnperception import comparison_report, rsa

IDS = [f"picture{i}" for i in range(6)]


def make_rdm(*undefined: int, name: str = "net top") -> xr.DataArray:
    """Return an RDM in which some stimuli have no dissimilarity to any other."""
    matrix = rsa.square(rsa.rdm(np.random.default_rng(0).random((6, 20))))
    for place in undefined:
        matrix[place] = matrix[:, place] = np.nan
    np.fill_diagonal(matrix, 0)
    return rsa.condensed(matrix, IDS).assign_coords(rdm=name)


def make_pictures() -> list[np.ndarray]:
    return [np.full((4, 4, 3), place / 5) for place in range(6)]


def colours_on(figure) -> list[float]:
    return sorted(round(float(image.get_array()[0, 0, 0]) * 5) for image in figure.axes[0].images)


@pytest.mark.parametrize("undefined", [(), (3,), (0, 5), (1, 2, 3, 4)])
def test_stimuli_without_dissimilarities_are_left_out_and_no_others(undefined) -> None:
    kept = comparison_report.comparable(make_rdm(*undefined))
    assert kept == [name for place, name in enumerate(IDS) if place not in undefined]


def test_of_one_undefined_pair_one_stimulus_is_left_out() -> None:
    rdm = make_rdm()
    rdm[0] = np.nan
    assert comparison_report.comparable(rdm) == ["picture1", *IDS[2:]]


def test_a_map_leaves_out_what_has_no_place_and_says_so() -> None:
    rdms = [make_rdm(), make_rdm(2, name="other top")]
    section, drawn = comparison_report.maps_section(rdms, make_pictures(), list("aabbcc"))
    assert list(drawn) == ["map_net_top", "map_other_top"]
    whole, partly = section.pictures
    assert "Without" not in whole.caption
    assert "Without picture2, whose dissimilarities" in partly.caption
    assert colours_on(drawn["map_net_top"]) == [0, 1, 2, 3, 4, 5]
    assert colours_on(drawn["map_other_top"]) == [0, 1, 3, 4, 5]
    assert not section.text


def test_too_few_stimuli_make_a_sentence_instead_of_a_map() -> None:
    rdms = [make_rdm(0, 1, 2, 3), make_rdm(name="other top")]
    section, drawn = comparison_report.maps_section(rdms, make_pictures(), None)
    assert list(drawn) == ["map_other_top"]
    assert len(section.pictures) == 1
    assert "There is no map of net top" in section.text


def test_rdms_of_models_with_names_alike_have_figures_of_their_own() -> None:
    models = [
        rsa.concat({f"{name} top": make_rdm()}).assign_coords(
            model=("rdm", [name]), layer=("rdm", ["top"])
        )
        for name in ("net", "net (2)", "timm/net")
    ]
    parts = comparison_report.rdm_sections(models, None)
    assert [file for _, drawn in parts for file in drawn] == [
        "rdms_net",
        "rdms_net_2",
        "rdms_timm-net",
    ]
