from pathlib import Path

import pytest
import torch
from torch import Tensor

import cnnperception as cp
from cnnperception.models import fingerprint

timm = pytest.importorskip("timm")


def _images(side: int = 64) -> Tensor:
    return torch.rand((2, 3, side, side), generator=torch.Generator().manual_seed(0))


def test_features_are_those_of_timm() -> None:
    model = cp.load_model("timm/resnet18", weights=None, seed=3, device="cpu")
    torch.manual_seed(3)
    reference = timm.create_model("resnet18").eval()
    mean, deviation = (
        (torch.tensor(reference.pretrained_cfg[k])[:, None, None]) for k in ("mean", "std")
    )
    with torch.no_grad():
        expected = reference((_images() - mean) / deviation)
    ours = model.features(_images(), ["layer4", "fc"])
    assert model.name == "timm/resnet18"
    assert ours["layer4"].shape == (2, 512, 2, 2)
    assert (ours["fc"] - expected).norm() < 1e-4 * expected.norm()


@pytest.mark.parametrize(
    ("name", "layer", "shape"),
    [
        ("vit_tiny_patch16_224", "blocks.0", (192, 197, 1)),
        ("swin_tiny_patch4_window7_224", "layers.1", (192, 28, 28)),
        ("swinv2_cr_tiny_ns_224", "stages.0", (96, 56, 56)),
    ],
)
def test_channels_are_the_second_axis(name: str, layer: str, shape: tuple[int, ...]) -> None:
    model = cp.load_model(f"timm/{name}", weights=None, device="cpu")
    assert model.image_size == 224
    with torch.no_grad():
        assert model.features(_images(224), [layer])[layer].shape[1:] == shape
    assert layer in model.recommended["compare"]
    with pytest.raises(ValueError, match="224 x 224 pixels and no other"):
        model.features(_images(), [layer])


def test_a_state_dict_from_a_file_is_used(tmp_path: Path) -> None:
    drawn = cp.load_model("timm/resnet18", weights=None, seed=1, device="cpu")
    path = tmp_path / "resnet18.pth"
    torch.save(drawn.network.state_dict(), path)
    model = cp.load_model("timm/resnet18", weights=path, device="cpu")
    expected = drawn.features(_images(), ["layer3"])["layer3"]
    assert torch.equal(model.features(_images(), ["layer3"])["layer3"], expected)
    assert model.provenance["weights"] == "resnet18.pth"
    assert fingerprint(model) != fingerprint(drawn)
    torch.save({"conv1.weight": torch.zeros(3)}, path)
    with pytest.raises(ValueError, match="do not fit timm/resnet18"):
        cp.load_model("timm/resnet18", weights=path, device="cpu")


def test_unknown_names_and_failed_downloads_are_explained(monkeypatch) -> None:
    with pytest.raises(ValueError, match="no network called 'resnt18'; did you mean resnet18"):
        cp.load_model("timm/resnt18", device="cpu")

    def offline(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(OSError, match=r"weights of timm/resnet18 could not be loaded: no route"):
        cp.load_model("timm/resnet18", device="cpu")
