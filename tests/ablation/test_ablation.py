"""The networks of an ablation: the pictures they see, how they are trained and read out."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from cnnperception.ablation import (
    ALL_PICTURES,
    CNN,
    HMAX,
    PARTICULARS,
    Classifier,
    Network,
    Pictures,
    Scale,
    build,
    learn,
    read,
)
from cnnperception.ablation.learning import moved
from cnnperception.models.hierarchy import RectifiedUnits
from cnnperception.objects import CATEGORIES, ObjectScenes

SMALL = Scale(steps=6, batch=16, width=2, units=4, images=128)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Pictures:
    return Pictures(tmp_path_factory.mktemp("pictures"), SMALL)


def test_training_pictures_are_of_all_levels_in_turn(pictures: Pictures) -> None:
    pixels, cells = pictures.training
    assert pixels.shape == (96, 3, 64, 64)
    assert len(cells) == 96
    for start, level in ((0, "low"), (16, "medium"), (32, "high"), (48, "low")):
        scenes = ObjectScenes(64, level, ("blank", "clutter"), exemplars=range(200), seed=11)
        drawn = (255 * scenes.pictures(range(start, start + 16))).round().byte().numpy()
        assert np.array_equal(pixels[start : start + 16], drawn)


def test_what_is_tested_was_seen_by_no_one(pictures: Pictures) -> None:
    for seen, table, held in pictures.readout.values():
        assert len(seen.pixels) == len(table) == 128
        assert held.sum() == 64
        exemplars = [set(table["exemplar"][part]) for part in (held, ~held)]
        assert not exemplars[0] & exemplars[1]
        assert min(exemplars[0] | exemplars[1]) >= 2000
        assert list(table["category"][:16]) == list(CATEGORIES)


def test_pictures_that_are_kept_are_not_drawn_again(pictures, monkeypatch) -> None:
    def drawn(*arguments: object) -> None:
        raise AssertionError("drawn again")

    again = Pictures(pictures._folder, SMALL)
    expected = pictures.training
    monkeypatch.setattr(ObjectScenes, "pictures", drawn)
    assert np.array_equal(again.training.cells, expected.cells)


def test_c1_that_is_kept_gives_what_images_give(pictures: Pictures) -> None:
    model = build(Network(HMAX), pictures)
    classifier = Classifier(model, pictures).eval()
    seen = pictures.training.some(slice(8))
    assert classifier.inputs(seen).ndim == 2
    with torch.no_grad():
        kept = model.pool(classifier.grid(classifier.inputs(seen)))
        whole = model(torch.from_numpy(seen.pixels) / 255)
    torch.testing.assert_close(kept, whole, rtol=0, atol=0.005)


def test_hmax_is_read_out_as_it_is_built(pictures: Pictures) -> None:
    classifier, curve = learn(Network(HMAX), pictures, 1e-2)
    assert curve.empty
    built = build(Network(HMAX), pictures).state_dict()
    for name, value in classifier.model.state_dict().items():
        assert torch.equal(value, built[name]), name
    table = read(Network(HMAX), classifier, pictures)
    assert set(table["layer"]) == {"pooled", "positions"}
    assert len(table) == 2 * 2 * 64
    assert set(table["right"]) == {0, 1}


@pytest.mark.parametrize(
    ("network", "learnt"),
    [
        (Network(frozenset({"learnt"})), {"second"}),
        (Network(frozenset({"learnt", "convolved"})), {"first", "second"}),
        (Network(HMAX, ALL_PICTURES), set()),
        (Network(CNN, "random first stage"), {"second"}),
        (Network(frozenset({"learnt"}), "learnt, S1 too"), {"first", "second"}),
    ],
)
def test_training_changes_what_is_learnt_and_nothing_else(network, learnt, pictures) -> None:
    before = dict(build(network, pictures).named_parameters())
    classifier, curve = learn(network, pictures, 1e-2)
    assert curve["step"].iloc[-1] == SMALL.steps
    changed = {
        name.partition(".")[0]
        for name, value in classifier.model.named_parameters()
        if not torch.equal(value, before[name])
    }
    assert changed == learnt
    assert set(read(network, classifier, pictures)["layer"]) >= {"pooled", "own readout"}


def test_a_training_goes_on_from_its_checkpoint_to_the_same_weights(
    pictures: Pictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = Network(frozenset({"learnt", "rectified"}))
    straight, curve = learn(network, pictures, 1e-2)
    path = tmp_path / "network.checkpoint"
    inputs = Classifier.inputs

    def halting(self: Classifier, seen):
        if path.exists():
            raise KeyboardInterrupt
        return inputs(self, seen)

    monkeypatch.setattr(Classifier, "inputs", halting)
    with pytest.raises(KeyboardInterrupt):
        learn(network, pictures, 1e-2, checkpoint=path)
    monkeypatch.undo()
    resumed, again = learn(network, pictures, 1e-2, checkpoint=path)
    for name, value in straight.state_dict().items():
        torch.testing.assert_close(resumed.state_dict()[name], value, rtol=0, atol=0)
    pd.testing.assert_frame_equal(curve.drop(columns="seconds"), again.drop(columns="seconds"))


@pytest.mark.parametrize("particular", PARTICULARS)
def test_every_particular_network_answers(particular: str, pictures: Pictures) -> None:
    changes, _ = PARTICULARS[particular]
    model = build(Network(changes, particular), pictures)
    with torch.no_grad():
        units = model(torch.rand(2, 3, 64, 64))
    assert units.isfinite().all()
    assert units.std() > 0


@pytest.mark.parametrize(("blocks", "units"), [(1, 2), (2, 4), (3, 8)])
def test_a_vgg_of_fewer_convolutions_has_so_many(blocks, units, pictures) -> None:
    model = build(Network(CNN, f"{2 * blocks} convolutions"), pictures)
    assert len([m for m in model.modules() if isinstance(m, RectifiedUnits)]) == 2 * blocks
    assert model(torch.rand(1, 3, 64, 64)).shape == (1, units)


def test_in_grey_colour_is_not_seen(pictures: Pictures) -> None:
    model = build(Network(CNN, "in grey"), pictures)
    images = torch.rand(1, 3, 64, 64)
    weights = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
    grey = (images * weights).sum(dim=1, keepdim=True).expand(-1, 3, -1, -1)
    with torch.no_grad():
        torch.testing.assert_close(model(images), model(grey), rtol=1e-3, atol=1e-4)


def test_centres_are_nearer_to_patches_than_patches_are(pictures: Pictures) -> None:
    _, plain = (build(Network(HMAX, p), pictures) for p in ("centres of clusters", ""))
    centres = build(Network(HMAX, "centres of clusters"), pictures)
    with torch.no_grad():
        bands = plain.first(pictures.sample())
        # A Gaussian unit answers more often the nearer its patch is to what there is.
        distances = [
            1 - torch.cat([maps.flatten(2) for maps in units(bands)], dim=2).amax(dim=1).mean()
            for units in (plain.second.branches[0][0], centres.second.branches[0][0])
        ]
    assert distances[1] < distances[0]


def test_moved_pictures_hold_the_same_middle_somewhere() -> None:
    images = torch.rand(6, 3, 16, 16)
    found = moved(images, seed=0)
    assert torch.equal(found, moved(images, seed=0))
    middle = images[:, :, 4:12, 4:12]
    windows = torch.stack([found.flip(3), found]).unfold(3, 8, 1).unfold(4, 8, 1)
    same = (windows == middle[None, :, :, None, None]).flatten(5).all(dim=5).all(dim=2)
    assert same.flatten(2).any(dim=2).any(dim=0).all()
    assert same.flatten(2).any(dim=2).any(dim=1).all()


def test_unknown_particulars_are_refused(pictures: Pictures) -> None:
    with pytest.raises(ValueError, match="'blue' is none of patches of photographs"):
        build(Network(HMAX, "blue"), pictures)
