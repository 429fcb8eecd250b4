import itertools

import pandas as pd
import pytest

from analyses import texture_layers

EXEMPLARS = ("brick", "gravel")
OFFSET = {"brick": 0.0, "gravel": 0.3}  # what an exemplar adds to every error is no difference


def _table(errors: dict[str, list[float]]) -> pd.DataFrame:
    """Return the table of networks whose errors, with all layers, differ so from seed to seed."""
    rows = []
    for exemplar, (network, its) in itertools.product(EXEMPLARS, errors.items()):
        for deepest, seed in itertools.product(("conv1_1", "pool3"), range(len(its))):
            error = 0.9 if deepest == "conv1_1" else its[seed] + OFFSET[exemplar]
            shared = {"exemplar": exemplar, "network": network, "deepest": deepest}
            numbers = {"parameters": 300, "seed": seed, "unmatched": 0.01, "floor": 0.1}
            rows.append({**shared, **numbers, "error": error})
    return pd.DataFrame(rows)


def test_networks_that_seeds_do_not_tell_apart_are_named_together():
    table = _table(
        {
            "trained": [0.40, 0.42, 0.41, 0.43],
            "self-supervised": [0.10, 0.14, 0.12, 0.09],
            "untrained": [0.11, 0.12, 0.10, 0.13],
        }
    )
    farther = texture_layers.beyond(texture_layers.errors_of(table, "last"), "self-supervised")
    assert list(farther["network"]) == ["trained"]
    # Paired by seed: 0.30, 0.28, 0.29, 0.34, whose t of 3 degrees of freedom is 3.1824 at 97.5 %.
    differences = pd.Series([0.30, 0.28, 0.29, 0.34])
    half = 3.182446 * differences.std() / 2
    assert farther["difference"].item() == pytest.approx(differences.mean())
    assert farther["lower"].item() == pytest.approx(differences.mean() - half, abs=1e-6)
    text = texture_layers.in_short(table)
    assert "the self-supervised one (0.26) and the untrained one (0.27), which the seeds" in text
    assert text.endswith("stay farthest with the trained one (0.56).")
    shown = texture_layers.shows(table)
    assert "trained 0.9 [0.9, 0.9]" in shown
    assert "brick, gravel" in shown


def test_a_network_that_is_nearer_for_every_seed_is_named_alone():
    table = _table({"a": [0.20, 0.24, 0.22], "b": [0.10, 0.14, 0.12]})
    assert "with the b one (0.27) and stay farthest with the a one (0.37)." in (
        texture_layers.in_short(table)
    )


def test_of_a_single_seed_nothing_is_said_to_be_farther():
    text = texture_layers.in_short(_table({"a": [0.2], "b": [0.1]}))
    assert text.endswith("which the seeds do not tell apart: none stays farther.")
    assert "[" not in texture_layers.shows(_table({"a": [0.2], "b": [0.1]}))
