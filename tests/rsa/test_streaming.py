"""RDMs computed tile by tile into a file."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
import xarray as xr

from cnnperception import rsa
from cnnperception.rsa import streaming


def stored(tmp_path, stimuli=23, shape=(5, 4, 3), seed=0):
    values = np.random.default_rng(seed).normal(size=(stimuli, *shape)).astype(np.float32) + 2
    array = xr.DataArray(
        values,
        dims=("stimulus", "channel", "y", "x"),
        coords={"stimulus": [f"p{i}" for i in range(stimuli)]},
        name="activations",
    )
    path = tmp_path / "activations.zarr"
    array.to_dataset().to_zarr(path, encoding={"activations": {"chunks": (4, *shape)}})
    return xr.open_zarr(path, chunks=None)["activations"], array


@pytest.mark.parametrize("metric", streaming.METRICS)
@pytest.mark.parametrize("block", [1, 500, 3000, 2**31])
def test_it_equals_the_rdm_in_memory_whatever_the_blocks(tmp_path, metric, block, monkeypatch):
    lazy, array = stored(tmp_path)
    monkeypatch.setattr(streaming, "_PIECE_BYTES", 800)
    found = rsa.stream_rdm(lazy, tmp_path / "rdm", metric, block_bytes=block)
    expected = rsa.rdm(array, metric)
    np.testing.assert_allclose(found["dissimilarity"], expected, atol=1e-12)
    labelled = rsa.condensed(found["dissimilarity"].to_numpy(), found["stimulus"].to_numpy())
    np.testing.assert_array_equal(labelled["stimulus_b"], expected["stimulus_b"])
    assert found.attrs["metric"] == metric


def test_a_killed_run_goes_on_to_the_same_bytes(tmp_path):
    stored(tmp_path, stimuli=60)
    script = (
        "import sys, time, xarray as xr\n"
        "from cnnperception import rsa\n"
        "from cnnperception.rsa import streaming\n"
        "tile = streaming._tile\n"
        "streaming._tile = lambda *a: (time.sleep(0.1), tile(*a))[1]\n"
        "a = xr.open_zarr(sys.argv[1], chunks=None)['activations']\n"
        "rsa.stream_rdm(a, sys.argv[2], block_bytes=5000)\n"
    )
    target = tmp_path / "rdm"
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / "activations.zarr"), str(target)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    done = 0
    while done < 5:
        time.sleep(0.05)
        assert process.poll() is None
        if (target / streaming.STATUS).exists():
            done = len(json.loads((target / streaming.STATUS).read_text())["done"])
    process.send_signal(signal.SIGKILL)
    process.wait()
    with pytest.raises(ValueError, match="not finished"):
        rsa.open_rdm(target)
    known = json.loads((target / streaming.STATUS).read_text())["done"]
    lazy = xr.open_zarr(tmp_path / "activations.zarr", chunks=None)["activations"]
    computed = []
    original = streaming._tile
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(streaming, "_tile", lambda *a: computed.append(1) or original(*a))
        found = rsa.stream_rdm(lazy, target, block_bytes=5000)
    whole = rsa.stream_rdm(lazy, tmp_path / "whole", block_bytes=5000)
    assert len(computed) + len(known) == len(
        json.loads((tmp_path / "whole" / streaming.STATUS).read_text())["done"]
    )
    np.testing.assert_array_equal(found["dissimilarity"], whole["dissimilarity"])


def test_a_finished_rdm_is_opened_and_another_is_refused(tmp_path, monkeypatch):
    lazy, array = stored(tmp_path)
    first = rsa.stream_rdm(lazy, tmp_path / "rdm")
    monkeypatch.setattr(streaming, "_tile", None)  # not called again
    again = rsa.stream_rdm(lazy, tmp_path / "rdm")
    np.testing.assert_array_equal(first["dissimilarity"], again["dissimilarity"])
    with pytest.raises(ValueError, match="something else \\(another metric\\)"):
        rsa.stream_rdm(lazy, tmp_path / "rdm", "euclidean")
    with pytest.raises(ValueError, match="another sample"):
        rsa.stream_rdm(array + 1, tmp_path / "rdm")


def test_no_more_than_two_blocks_of_stimuli_are_read_at_a_time(tmp_path):
    lazy, _ = stored(tmp_path)
    sizes = []

    class Watched:
        shape, dtype = lazy.shape, lazy.dtype

        def __len__(self):
            return self.shape[0]

        def __getitem__(self, part):
            sizes.append(part.stop - part.start if part.stop else 1)
            return lazy[part]

    rsa.stream_rdm(Watched(), tmp_path / "rdm", block_bytes=2 * 4 * 60 * 3)
    assert max(sizes) == 3


def test_bad_inputs_are_named(tmp_path):
    _, array = stored(tmp_path)
    broken = array.copy()
    broken[7, 0, 0, 0] = np.nan
    with pytest.raises(ValueError, match="'p7' has values that are not finite"):
        rsa.stream_rdm(broken, tmp_path / "rdm")
    with pytest.raises(ValueError, match="cannot stream 'poisson'"):
        rsa.stream_rdm(array, tmp_path / "x", "poisson")
    with pytest.raises(ValueError, match="two stimuli"):
        rsa.stream_rdm(array[:1], tmp_path / "x")
    with pytest.raises(ValueError, match="unique"):
        rsa.stream_rdm(array, tmp_path / "x", stimulus_ids=["a"] * 23)
    with pytest.raises(ValueError, match="2 stimulus ids"):
        rsa.stream_rdm(array, tmp_path / "x", stimulus_ids=["a", "b"])
    with pytest.raises(FileNotFoundError, match="no RDM"):
        rsa.open_rdm(tmp_path / "nowhere")
    silent = array.copy()
    silent[3] = 1.1
    with pytest.warns(UserWarning, match="'p3' has a constant pattern"):
        rsa.stream_rdm(silent, tmp_path / "silent")


def test_a_changed_row_in_the_middle_is_seen(tmp_path):
    values = np.random.default_rng(0).normal(size=(20, 30))
    rsa.stream_rdm(values, tmp_path / "rdm")
    values[9] += 1
    with pytest.raises(ValueError, match="something else"):
        rsa.stream_rdm(values, tmp_path / "rdm")


def test_tensors_are_taken_and_stimuli_must_come_first(tmp_path):
    array = xr.DataArray(
        np.random.default_rng(0).normal(size=(6, 9)),
        dims=("stimulus", "unit"),
        coords={"stimulus": list("abcdef")},
    )
    found = rsa.stream_rdm(torch.as_tensor(array.to_numpy()), tmp_path / "rdm")
    np.testing.assert_allclose(found["dissimilarity"], rsa.rdm(array), atol=1e-12)
    labelled = rsa.condensed(found["dissimilarity"], found["stimulus"])
    assert rsa.stimulus_ids(labelled) == list("012345")
    with pytest.raises(ValueError, match=r"must be \(stimulus, ...\)"):
        rsa.stream_rdm(array.T, tmp_path / "turned")
