"""A synthesis does not wait for its device, by tensors that claim to be on a GPU and hold nothing.

Where a number would have to be known, such a tensor raises; where two devices meet, too.
"""

import itertools

import pytest
import torch
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

import cnnperception as cp
from cnnperception.statistics import gram
from cnnperception.synthesis import (
    Level,
    Objective,
    PixelTerm,
    Term,
    minimise,
    run,
    solver,
    synthesize,
)
from cnnperception.synthesis.objective import out_of_range

LAYERS = ["normalised1", "scale3"]


class Transfers(TorchDispatchMode):
    """Counts the copies from one device to another that the program waits for."""

    def __init__(self):
        super().__init__()
        self.waited: list[str] = []
        self.convolved: set[torch.dtype] = set()

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        keywords = keywords or {}
        result = function(*arguments, **keywords)
        if function == torch.ops.aten.convolution.default:
            self.convolved.add(result.dtype)
        if function == torch.ops.aten._to_copy.default:
            moved = result.device != arguments[0].device
            later = keywords.get("non_blocking") and result.device.type == "cuda"
            if moved and not later:
                self.waited.append(f"{arguments[0].device} to {result.device}")
        return result


@pytest.fixture
def objective(monkeypatch):
    """Return an objective on a GPU of pretence, whose mode is on during the test."""
    model = cp.load_model("random-filters", device="cpu")
    # Its engine has no queue for a GPU that is not there.
    monkeypatch.setattr(
        torch.autograd, "grad", lambda outputs, inputs, *_: (torch.zeros_like(inputs),)
    )
    monkeypatch.setattr(solver, "_finite", lambda evaluation: evaluation)
    with FakeTensorMode() as mode:
        for module in model.modules():
            for table in (module._parameters, module._buffers):
                for name, tensor in table.items():
                    if tensor is not None:
                        moved = mode.from_tensor(tensor).to("cuda")
                        if isinstance(tensor, torch.nn.Parameter):
                            moved = torch.nn.Parameter(moved, requires_grad=False)
                        table[name] = moved
        source = torch.rand((1, 3, 64, 64), device="cuda")
        features = model.features(source, LAYERS)
        terms = [Term(layer, layer, gram, gram(features[layer])) for layer in LAYERS]
        yield Objective(model, terms, [PixelTerm("range", out_of_range)])


def test_the_solver_never_waits(objective):
    start = torch.rand((2, 3, 64, 64), device="cuda")
    with Transfers() as transfers:
        states = list(itertools.islice(minimise(objective, start), 8))
    assert states[-1].images.device == start.device
    assert transfers.waited == []


def test_what_waits_is_noticed(objective):
    start = torch.rand((1, 3, 64, 64), device="cuda")
    with Transfers() as transfers:
        _, _, terms = objective(start)
        terms.cpu()
        objective.terms[0].target.new_tensor([1.0, 2.0])
    assert transfers.waited == ["cuda:0 to cpu", "cpu to cuda:0"]
    with pytest.raises(DataDependentOutputException):
        bool(terms.sum() > 0)


@pytest.mark.parametrize("precision", ["float32", "mixed"])
def test_a_synthesis_waits_for_nothing_between_its_first_evaluations(
    objective, precision, monkeypatch
):
    # Autocast knows that there is no GPU.
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda kind: precision == "mixed")
    monkeypatch.setattr(run, "has_room_for_anchor", lambda *_: True)
    start = torch.rand((1, 3, 64, 64), device="cuda")
    seen = []

    def watch(moment):
        seen.append(list(transfers.waited))
        if len(seen) == 8:
            raise RuntimeError("seen enough")

    with Transfers() as transfers, pytest.raises(RuntimeError, match="seen enough"):
        synthesize(
            lambda index: objective,
            [Level((64, 64), 30)],
            start,
            {},
            watch=watch,
            memory=2**30,
            precision=precision,
        )
    assert seen[-1] == []
    assert (torch.bfloat16 in transfers.convolved) == (precision == "mixed")
