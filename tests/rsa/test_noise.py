import numpy as np
import pytest
import rsatoolbox.data.noise as reference
from hypothesis import given, settings
from hypothesis import strategies as st
from rsatoolbox.data import Dataset

from cnnperception import rsa

METHODS = ["shrinkage_diag", "shrinkage_eye", "diag", "full"]


def _noise(rows: int, channels: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(rows, channels)) @ rng.normal(size=(channels, channels)) + 3


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=15, deadline=None)
@given(
    rows=st.integers(4, 30),
    channels=st.integers(2, 12),
    dof=st.none() | st.integers(2, 9),
    seed=st.integers(0, 10**6),
)
def test_covariances_equal_rsatoolbox(method, rows, channels, dof, seed) -> None:
    noise = _noise(rows, channels, seed)
    expected = reference.cov_from_residuals(noise.copy(), dof=dof, method=method)
    ours = rsa.noise_covariance(noise, method, degrees_of_freedom=dof)
    np.testing.assert_allclose(ours, expected, rtol=1e-10, atol=1e-11 * np.abs(expected).max())


@pytest.mark.parametrize("method", METHODS)
def test_precision_from_unequal_repeats_equals_rsatoolbox(method: str) -> None:
    noise, stimuli = _noise(40, 6, 0), np.random.default_rng(1).integers(0, 5, 40)
    data = Dataset(noise, obs_descriptors={"stimulus": list(stimuli)})
    expected = reference.prec_from_unbalanced(data, "stimulus", method=method)
    rest, dof = rsa.residuals(noise, stimuli)
    ours = rsa.noise_precision(rest, method, degrees_of_freedom=dof)
    np.testing.assert_allclose(ours, expected, rtol=1e-9)


def test_shrinkage_makes_fewer_measurements_than_channels_invertible() -> None:
    noise = _noise(8, 20, 0)
    for method in ("shrinkage_diag", "shrinkage_eye"):
        precision = rsa.noise_precision(noise, method)
        covariance = rsa.noise_covariance(noise, method)
        np.testing.assert_allclose(precision @ covariance, np.eye(20), atol=1e-8)
    with pytest.raises(ValueError, match="no inverse"):
        rsa.noise_precision(noise, "full")


def test_bad_residuals_are_named() -> None:
    with pytest.raises(ValueError, match="no method is called 'shrink'"):
        rsa.noise_covariance(_noise(9, 3, 0), "shrink")
    with pytest.raises(ValueError, match="two measurements or more"):
        rsa.noise_covariance(np.ones((1, 3)))
    with pytest.raises(ValueError, match="leave out channel 1"):
        rsa.noise_covariance(_noise(9, 3, 0) * [1, 0, 1])
    with pytest.raises(ValueError, match="finite"):
        rsa.noise_covariance(_noise(9, 3, 0) * np.nan)
    with pytest.raises(ValueError, match="5 stimuli for 9"):
        rsa.residuals(_noise(9, 3, 0), range(5))
