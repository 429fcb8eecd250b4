import importlib.util
import json

import pytest
import torch
from torchvision import models as torchvision_models

import cnnperception as cp
from cnnperception.models import VisionModel


def test_every_embedded_model_and_classification_network_is_listed() -> None:
    table = cp.list_models()
    assert list(table.columns) == ["name", "description"]
    assert table["name"].is_unique
    assert (table["description"].str.len() > 0).all()
    names = set(table["name"])
    assert {"random-filters", "hmax", "pixels"} <= names
    assert set(torchvision_models.list_models(module=torchvision_models)) <= names
    assert not {name for name in names if "rcnn" in name or "quantized" in name}


@pytest.mark.parametrize("name", ["random-filters", "pixels", "squeezenet1_1"])
def test_a_loaded_model_keeps_the_interface(name: str) -> None:
    options = {"weights": None} if name == "squeezenet1_1" else {}
    model = cp.load_model(name, device="cpu", **options)
    assert isinstance(model, VisionModel)
    assert model.name == name
    assert json.loads(json.dumps(dict(model.provenance))) == model.provenance
    assert {layer for layers in model.recommended.values() for layer in layers} <= set(model.layers)
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())
    images = torch.rand((1, 3, 64, 64), requires_grad=True)
    response = model.features(images, [model.layers[0]])[model.layers[0]]
    assert response.requires_grad


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("vgg-19", {}, "no model is called 'vgg-19'; did you mean vgg19"),
        ("hmaxx", {}, "did you mean hmax"),
        ("%", {}, "`cnnperception models` lists all of them"),
        ("random-filters", {"poolings": "avg"}, "random-filters takes no such option.*poolings"),
        ("vgg19", {"weight": None}, "vgg19 takes no such option.*weight"),
        ("pixels", {"device": "tpu9"}, "unknown device 'tpu9'"),
    ],
)
def test_what_does_not_exist_is_named(name: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        cp.load_model(name, **{"device": "cpu", **options})


def test_without_timm_the_message_says_how_to_get_it(monkeypatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "timm" else found(name)
    )
    with pytest.raises(ImportError, match=r"pip install 'cnnperception\[timm\]'"):
        cp.load_model("timm/resnet18", device="cpu")
