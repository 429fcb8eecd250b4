import pytest
import torch

import cnnperception as cp
from cnnperception.models import RandomFilters, receptive_field


def _images(side: int = 64, seed: int = 0, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.rand(
        (2, 3, side, side), generator=torch.Generator().manual_seed(seed), dtype=dtype
    )


def test_filters_have_zero_mean_and_unit_norm() -> None:
    weights = RandomFilters(channels=30).filters.weight.flatten(1)
    torch.testing.assert_close(weights.sum(dim=1), torch.zeros(30), atol=1e-5, rtol=0)
    torch.testing.assert_close(weights.norm(dim=1), torch.ones(30))


def test_a_uniform_image_drives_no_filter() -> None:
    features = RandomFilters().features(torch.full((1, 3, 64, 64), 0.7), ["scale1", "scale4"])
    for response in features.values():
        assert response[:, :96].abs().max() < 1e-5
        torch.testing.assert_close(response[:, 96:], torch.full_like(response[:, 96:], 0.7))


def test_each_octave_halves_the_map() -> None:
    model = RandomFilters(scales=4)
    features = model.features(_images(), model.layers)
    assert [features[f"scale{i}"].shape[-1] for i in range(1, 5)] == [64, 32, 16, 8]
    assert features["scale3"].shape[1] == 99
    assert features["normalised3"].shape[1] == 96


def test_the_seed_decides_the_filters_and_leaves_the_global_state_alone() -> None:
    state = torch.random.get_rng_state()
    first, again, other = RandomFilters(seed=1), RandomFilters(seed=1), RandomFilters(seed=2)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(first.filters.weight, again.filters.weight)
    assert not torch.equal(first.filters.weight, other.filters.weight)


def test_coarser_octaves_than_asked_for_are_not_computed() -> None:
    model = RandomFilters()
    runs = []
    model.blur.register_forward_hook(lambda *_: runs.append(1))
    model.features(_images(), ["scale2"])
    assert len(runs) == 1


def test_normalised_responses_hardly_depend_on_contrast() -> None:
    model = RandomFilters()
    images = _images()
    strong = model.features(images, ["normalised1"])["normalised1"]
    weak = model.features(0.5 + (images - 0.5) / 2, ["normalised1"])["normalised1"]
    assert (strong - weak).abs().mean() < 0.1 * strong.abs().mean()


@pytest.mark.parametrize("layer", ["scale1", "scale3"])
def test_stated_receptive_fields_equal_those_measured_by_gradients(layer: str) -> None:
    model = RandomFilters(scales=3)
    stated = model.receptive_fields[layer]
    model.receptive_fields = {}
    assert receptive_field(model, layer) == stated


def test_gradients_equal_finite_differences() -> None:
    model = RandomFilters(scales=2, channels=6).double()
    images = _images(8, dtype=torch.float64).requires_grad_()

    def both(x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(model.features(x, ["scale2", "normalised1"]).values())

    assert torch.autograd.gradcheck(both, (images,))


def test_bad_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="scales=0"):
        RandomFilters(scales=0)
    with pytest.raises(ValueError, match="not in random-filters"):
        cp.load_model("random-filters", device="cpu").features(_images(), ["scale9"])


def test_images_too_small_for_an_octave_are_refused_and_smaller_ones_of_finer_layers_seen() -> None:
    model = RandomFilters(scales=4, channels=4)
    thin = torch.rand((1, 3, 3, 64))
    with pytest.raises(ValueError, match="3 x 64 pixels are too small for octave 4.*of 8 or more"):
        model.features(thin, ["scale1", "scale4"])
    assert model.features(thin, ["scale2"])["scale2"].shape[2:] == (1, 32)
    copies = model.copies((3, 64))
    assert copies.shape == (3, 64)
    # Of every line the padded pixels are copies: 3 + 6 and, twice as large, 1 + 6 of them.
    assert float(copies.sum()) == pytest.approx((9 + 2 * 7) / 2 * (70 + 2 * 38) / 2)
