"""Pixels, silhouette, V1, gist and Portilla-Simoncelli statistics; their signature on IT."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import skimage.color
import skimage.data
import torch
from scipy.io import loadmat
from scipy.stats import spearmanr

from cnnperception.models import HMAX, V1, Gist, Pixels, PortillaSimoncelli, Silhouette
from cnnperception.models.baselines.gist import transfer_functions
from cnnperception.models.baselines.pixels import lab
from cnnperception.models.interface import VisionModel

IMAGES = (
    Path(__file__).parents[3] / "shared/data/92images/Kriegeskorte_Neuron2008_supplementalData.mat"
)
has_plenoptic = importlib.util.find_spec("plenoptic") is not None
needs_plenoptic = pytest.mark.skipif(not has_plenoptic, reason="plenoptic is not installed")


def _grating(side, wavelength, degrees, phase=0.0, contrast=1.0):
    """Bars at an angle anticlockwise from horizontal, (1, 3, side, side) about a mean of 1/2."""
    row, column = np.mgrid[:side, :side] - (side - 1) / 2
    angle = np.deg2rad(degrees)
    across = row * np.cos(angle) + column * np.sin(angle)
    wave = 0.5 + 0.5 * contrast * np.cos(2 * np.pi * across / wavelength + phase)
    return torch.from_numpy(wave).expand(1, 3, side, side)


def _photograph(height=128, width=128):
    picture = skimage.data.chelsea()[40 : 40 + height, 90 : 90 + width] / 255
    return torch.from_numpy(picture).permute(2, 0, 1)[None]


MODELS = [
    Pixels,
    lambda: Pixels(space="lab"),
    Silhouette,
    V1,
    Gist,
    pytest.param(PortillaSimoncelli, marks=needs_plenoptic),
]


@pytest.mark.parametrize("make", MODELS)
def test_every_baseline_keeps_the_protocol_and_passes_gradients(make):
    model = make()
    assert isinstance(model, VisionModel)
    images = _photograph().float().requires_grad_()
    found = model.features(images, model.layers)
    assert list(found) == list(model.layers)
    assert all(len(value) == 1 for value in found.values())
    sum(value.sum() for value in found.values()).backward()
    assert images.grad.isfinite().all()
    assert images.grad.abs().max() > 0
    with pytest.raises(ValueError, match="is not in"):
        model.features(images, ["conv1"])
    with pytest.raises(ValueError, match="shape"):
        model.features(images[0], model.layers)


@pytest.mark.parametrize("make", MODELS)
def test_a_batch_gives_what_its_images_give_alone(make):
    model = make()
    images = torch.cat([_photograph(), 1 - _photograph(), _photograph().flip(3)]).float()
    together = model.features(images, model.layers)
    alone = model.features(images[1:2], model.layers)
    for name, value in alone.items():
        torch.testing.assert_close(together[name][1:2], value, rtol=1e-4, atol=1e-4)


# Pixels


def test_pixels_are_the_image():
    images = _photograph()
    assert Pixels().features(images, ["pixels"])["pixels"] is images


def test_lab_equals_scikit_image():
    images = _photograph()
    images[0, :, :5, :40] = torch.linspace(0, 0.06, 40).double()
    expected = skimage.color.rgb2lab(images[0].permute(1, 2, 0).numpy())
    np.testing.assert_allclose(lab(images)[0].permute(1, 2, 0), expected, atol=1e-2)


def test_lab_has_finite_gradients_at_black_and_white():
    images = torch.stack([torch.zeros(3, 4, 4), torch.ones(3, 4, 4)]).requires_grad_()
    lab(images).sum().backward()
    assert images.grad.isfinite().all()
    with pytest.raises(ValueError, match="space must be 'rgb' or 'lab'"):
        Pixels(space="hsv")


# Silhouette


@pytest.mark.parametrize("ground", [0.5, 0.0, 0.9])
def test_silhouette_is_where_the_object_is_whatever_its_colour(ground):
    row, column = np.mgrid[:60, :80]
    disc = torch.from_numpy((row - 30) ** 2 + (column - 35) ** 2 < 15**2)
    for colour in ((1.0, 0.2, 0.1), (0.4, 0.6, 0.3)):
        images = torch.full((1, 3, 60, 80), ground)
        images[0, :, disc] = torch.tensor(colour)[:, None]
        found = Silhouette().features(images, ["silhouette"])["silhouette"]
        torch.testing.assert_close(found[0, 0].round(), disc.float())
        assert (found - found.round()).abs().max() < 0.01


# V1


def test_v1_cells_prefer_their_orientation_and_wavelength():
    model = V1()
    for scale in range(3):
        for channel in range(8):
            images = _grating(128, 4 * 2**scale, 22.5 * channel)
            found = model.features(images, model.layers)
            middle = torch.stack(
                [v[0, :, v.shape[2] // 2, v.shape[3] // 2] for v in found.values()]
            )
            assert divmod(int(middle.argmax()), 8) == (scale, channel)


def test_v1_complex_cells_do_not_see_phase_or_polarity():
    model = V1()
    responses = torch.stack(
        [
            model.features(_grating(96, 8, 45, phase), ["scale2"])["scale2"][0, :, 20:28, 20:28]
            for phase in np.linspace(0, np.pi, 5)
        ]
    )
    strongest = responses[:, 2]
    assert strongest.std(dim=0).max() < 0.02 * strongest.mean()


def test_v1_energy_of_a_fitting_grating_is_its_squared_contrast():
    for contrast in (0.1, 0.5, 1.0):
        model = V1(scales=1, contrast=1e3)
        response = model.features(_grating(64, 4, 90, contrast=contrast), ["scale1"])["scale1"]
        assert 1e6 * response[0, 4, 32, 32] == pytest.approx(contrast**2, rel=0.01)


def test_v1_responses_saturate_and_a_crossing_grating_suppresses_them():
    model = V1()
    weak, strong = _grating(96, 8, 0, contrast=0.3) - 0.5, _grating(96, 8, 0) - 0.5
    mask = _grating(96, 8, 90, contrast=0.5) - 0.5

    def response(pattern):
        return model.features(0.5 + pattern, ["scale2"])["scale2"][0, 0, 24, 24]

    assert response(strong) < 1.5 * response(weak)
    assert response(weak + mask) < 0.6 * response(weak)


def test_v1_does_not_lose_precision_to_autocasting():
    images = torch.rand((1, 3, 48, 48), generator=torch.Generator().manual_seed(0))
    model = V1()
    wanted = model.features(images, model.layers)
    with torch.autocast("cpu", torch.bfloat16):
        found = model.features(images, model.layers)
    for layer, value in wanted.items():
        torch.testing.assert_close(found[layer], value)


def test_v1_of_a_uniform_image_is_silent():
    found = V1().features(torch.full((1, 3, 64, 64), 0.7), ["scale1", "scale4"])
    assert all(value.abs().max() < 1e-6 for value in found.values())


def test_v1_refuses_too_small_images_and_impossible_options():
    with pytest.raises(ValueError, match="too small for the 4 scales"):
        V1().features(torch.rand(1, 3, 10, 10), ["scale1"])
    with pytest.raises(ValueError, match="positive contrast"):
        V1(contrast=0)


# Gist


def test_gist_has_512_values_whatever_the_image():
    for height, width in ((128, 128), (100, 160), (300, 260)):
        images = torch.rand(2, 3, height, width)
        assert Gist().features(images, ["gist"])["gist"].shape == (2, 512)


def test_gist_filters_peak_where_they_should():
    filters = transfer_functions(4, 8, (256, 256))
    for index, kernel in enumerate(filters):
        scale, orientation = divmod(index, 8)
        row, column = np.unravel_index(int(kernel.argmax()), kernel.shape)
        vertical, horizontal = (np.fft.fftfreq(256)[i] for i in (row, column))
        assert np.hypot(vertical, horizontal) == pytest.approx(0.3 / 1.85**scale, abs=0.01)
        angle = np.arctan2(vertical, horizontal) + np.pi * orientation / 8
        assert abs(np.angle(np.exp(1j * angle))) < 0.1


def test_gist_tells_where_and_in_which_orientation_the_energy_is():
    images = torch.full((1, 3, 256, 256), 0.5).double()
    images[..., :128, :128] = _grating(128, 1.85 / 0.3, 90)
    found = Gist().features(images, ["gist"])["gist"].view(4, 8, 4, 4)
    inside = found[:, :, :2, :2].mean(dim=(2, 3))
    assert inside.argmax() == 1 * 8 + 0
    assert inside.max() > 3 * found[1, 0, 2:, 2:].mean()


def test_gist_hardly_changes_with_contrast():
    images = _photograph(256, 256)
    a, b = (Gist().features(x, ["gist"])["gist"] for x in (images, 0.25 + 0.5 * images))
    assert torch.corrcoef(torch.cat([a, b]))[0, 1] > 0.95


def test_gist_refuses_impossible_options():
    with pytest.raises(ValueError, match="a grid of 1 to side / 8 cells"):
        Gist(grid=0)


# Portilla & Simoncelli


@needs_plenoptic
def test_texture_statistics_are_plenoptics_group_by_group():
    import plenoptic

    images = _photograph(128, 128).float()
    ours = PortillaSimoncelli()
    found = ours.features(images, ours.layers)
    grey = torch.einsum("bchw,c->bhw", images, torch.tensor([0.299, 0.587, 0.114]))[:, None]
    model = plenoptic.models.PortillaSimoncelli((128, 128), 4, 4, 7)
    expected = model.convert_to_dict(model(grey))
    assert sum(value.shape[1] for value in found.values()) == 710
    for name, value in found.items():
        reference = expected[name][expected[name].isfinite()]
        torch.testing.assert_close(value.flatten(), reference, rtol=1e-4, atol=1e-5)


@needs_plenoptic
def test_texture_statistics_take_any_size_and_refuse_what_has_none():
    model = PortillaSimoncelli()
    images = _photograph(135, 141)
    found = model.features(images, ["magnitude_std"])["magnitude_std"]
    cropped = model.features(images[..., 3:131, 6:134], ["magnitude_std"])["magnitude_std"]
    torch.testing.assert_close(found, cropped)
    with pytest.raises(ValueError, match="no contrast"):
        model.features(torch.full((1, 3, 128, 128), 0.5), ["pixel_statistics"])
    with pytest.raises(ValueError, match="which needs 112 at least"):
        model.features(torch.rand(1, 3, 100, 128), ["pixel_statistics"])


def test_missing_plenoptic_is_said(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match="pip install 'cnnperception\\[portilla-simoncelli\\]'"):
        PortillaSimoncelli()


# The signature on inferior temporal cortex


@pytest.mark.skipif(not IMAGES.exists(), reason=f"{IMAGES.name} is not at hand")
@torch.inference_mode()
def test_c2_is_nearer_to_human_it_than_v1_and_pixels_but_not_near():
    content = loadmat(IMAGES, struct_as_record=False, squeeze_me=True)
    pictures = np.stack([stimulus.image for stimulus in content["stimuli_92objs"]])
    images = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255
    human = next(rdm.RDM for rdm in content["RDMs_mIT_hIT_fig1"] if "hIT" in rdm.name)

    def similarity(model, layers):
        parts = [model.features(part, layers) for part in images.split(23)]
        responses = torch.cat(
            [torch.cat([v.flatten(1) for v in part.values()], dim=1) for part in parts]
        )
        dissimilarity = 1 - np.corrcoef(responses.numpy())
        return spearmanr(dissimilarity[np.triu_indices(92, 1)], human).statistic

    c2 = similarity(HMAX(), ["c2"])
    assert 0.05 < c2 < 0.25
    assert c2 > similarity(V1(), V1().layers)
    assert c2 > similarity(Pixels(), ["pixels"])
