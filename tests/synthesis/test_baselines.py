"""The match of Portilla & Simoncelli's statistics, and the adjustment of luminance."""

import importlib.util
from pathlib import Path

import pytest
import torch

import cnnperception as cp
from cnnperception.stimulus_sets import make_stimulus_set
from cnnperception.synthesis import baselines, noise_like

needs_plenoptic = pytest.mark.skipif(
    importlib.util.find_spec("plenoptic") is None, reason="plenoptic is not installed"
)


@needs_plenoptic
def test_the_match_has_the_statistics_of_its_image_and_not_its_pixels() -> None:
    image = cp.exemplar("grass", size=(64, 64))
    result = baselines.portilla_simoncelli(image, seed=2, evaluations=40)
    assert result.images.shape == image.shape
    assert torch.equal(result.image[0], result.image[1])
    model = cp.load_model("portilla-simoncelli", scales=3)
    noise = noise_like(image, (64, 64), 2)
    wanted, made, begun = (model.features(x, model.layers) for x in (image, result.images, noise))
    errors, first = (
        [float((found[n] - wanted[n]).norm() / wanted[n].norm()) for n in model.layers]
        for found in (made, begun)
    )
    assert max(errors) < 0.2
    assert sum(errors) < 0.1 * sum(first)
    luminances = [cp.images.luminance(x).flatten() for x in (image, result.images)]
    assert torch.corrcoef(torch.stack(luminances))[0, 1].abs() < 0.3
    again = baselines.portilla_simoncelli(image, seed=2, evaluations=40)
    assert torch.equal(again.images, result.images)


@needs_plenoptic
@pytest.mark.filterwarnings("ignore:the image did not come near")
def test_images_of_any_size_are_matched_and_too_small_ones_refused() -> None:
    image = cp.exemplar("coffee", size=(50, 70))
    result = baselines.portilla_simoncelli(image, evaluations=3)
    assert result.images.shape == image.shape
    assert result.provenance["size"] == [64, 80]
    assert result.provenance["model"]["scales"] == 2
    with pytest.raises(ValueError, match="15 x 40 pixels is too small"):
        baselines.portilla_simoncelli(image[..., :15, :40])


@pytest.mark.parametrize("side", [8, 16, 24, 31])
def test_an_image_too_small_for_two_scales_is_refused_before_work_begins(
    side: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def load(*_: object, **__: object) -> None:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr(baselines, "load_model", load)
    image = torch.rand((1, 3, side, 64), generator=torch.Generator().manual_seed(0))
    told = f"{side} x 64 pixels is too small .* two scales need 32 along each side"
    with pytest.raises(ValueError, match=told):
        baselines.portilla_simoncelli(image)
    kinds = ["exemplar", "portilla-simoncelli"]
    config = {"exemplars": ["brick"], "size": side, "models": [], "baselines": kinds}
    with pytest.raises(ValueError, match=f"{side} x {side} pixels is too small"):
        make_stimulus_set(config, tmp_path, device="cpu")
    assert not list(tmp_path.iterdir())


def test_a_pyramid_has_as_many_scales_as_fit_up_to_four() -> None:
    sides = (32, 55, 56, 64, 112, 256, 1024)
    assert [baselines.pyramid_scales(side, 1024) for side in sides] == [2, 2, 2, 3, 4, 4, 4]


@needs_plenoptic
@pytest.mark.filterwarnings("ignore:the image did not come near")
def test_the_smallest_image_with_two_scales_is_matched() -> None:
    image = cp.exemplar("brick", size=(32, 32))
    assert baselines.portilla_simoncelli(image, evaluations=2).images.shape == image.shape


def test_without_plenoptic_the_error_says_what_to_install(monkeypatch, tmp_path) -> None:
    find = importlib.util.find_spec
    without = {"plenoptic": None}
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: without[name] if name in without else find(name)
    )
    advice = r"needs plenoptic: pip install 'cnnperception\[portilla-simoncelli\]'"
    with pytest.raises(ImportError, match=advice):
        baselines.portilla_simoncelli(cp.exemplar("brick", size=(64, 64)))
    config = {"exemplars": ["brick"], "size": 64, "baselines": ["portilla-simoncelli"]}
    with pytest.raises(ImportError, match=advice):
        make_stimulus_set(config, tmp_path, device="cpu")
    assert not list(tmp_path.iterdir())


def test_what_lies_outside_is_told_before_it_is_clipped() -> None:
    image = torch.tensor([0.0, 0.5, 1.0]).view(1, 1, 1, 3).expand(1, 3, 1, 3)
    changed = baselines.relit(image, mean=0.75)
    torch.testing.assert_close(changed[0, 0, 0], torch.tensor([0.25, 0.75, 1.25]))
    torch.testing.assert_close(baselines.beyond(changed)[0, 0, 0], torch.tensor([0.0, 0.0, 0.25]))
    clipped, share = baselines.with_luminance(image, mean=0.75)
    assert float(clipped.max()) == 1
    assert share == pytest.approx(1 / 3)
