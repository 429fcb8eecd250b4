"""The study of the tests' validity: rates by hand, worlds as they are meant, a remembered run."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analyses import rsa_validity

COLUMNS = ["bootstrap", "share", "p_zero", "p_pairs", "similarity", "of_data", "lower", "upper"]


def test_rates_are_shares_of_experiments_beside_their_binomial_interval() -> None:
    rows = [("dual", 0.0, 0.01 if k < 2 else 0.5, 0.5, 0.0, 0.0, -0.1, 0.1) for k in range(40)]
    rows[5] = ("dual", 0.0, 0.5, 0.04, 0.0, 0.0, 0.05, 0.1)  # the models differ; 0 is not inside
    rates = rsa_validity.summary(pd.DataFrame(rows, columns=COLUMNS)).set_index("what")
    assert rates["rate"].to_dict() == {
        "two equal models differ": 1 / 40,
        "interval misses": 1 / 40,
        "unrelated model above zero": 2 / 40,
    }
    # Of 40 at 5 %, 0 to 5 have 95 %.
    assert rates[["interval_low", "interval_high"]].drop_duplicates().to_numpy().tolist() == [
        [0.0, 5 / 40]
    ]


@pytest.mark.parametrize("related", [False, True])
def test_without_what_is_there_by_chance_models_are_unrelated_or_equal(related: bool) -> None:
    rng = np.random.default_rng(0)
    models, population = rng.random((2, 45)), rng.random((400, 45))
    population = population + 0.5 * models[0]
    rest = population - rsa_validity.chance_part(models, population, related=related)
    similarity = [np.mean([np.corrcoef(m, one)[0, 1] for one in rest]) for m in models]
    assert similarity[0] == pytest.approx(similarity[1], abs=1e-6)
    assert (similarity[0] > 0.2) if related else (abs(similarity[0]) < 1e-6)


@pytest.mark.parametrize("bootstrap", rsa_validity.DRAWN)
def test_what_is_resampled_is_drawn_anew_and_nothing_else(
    bootstrap: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rsa_validity, "POPULATION", 60)
    (one, seen), (other, again) = rsa_validity.experiments(bootstrap, 0.5, 2, 0, 8)
    assert one.shape == (2, 28)
    assert seen.shape == (rsa_validity.SUBJECTS, 28)
    assert np.array_equal(one, other) == ("stimuli" not in rsa_validity.DRAWN[bootstrap])
    assert not np.array_equal(seen, again)


def test_a_run_goes_on_with_the_worlds_that_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "rsa_validity"
    options = [
        "--bootstrap",
        "dual",
        "--experiments",
        "2",
        "--stimuli",
        "8",
        "--n-boot",
        "20",
        "--processes",
        "1",
    ]
    monkeypatch.setattr(sys, "argv", ["script", *options, "--output", str(output)])
    rsa_validity.main()
    rates = pd.read_csv(output / "rates.csv")
    assert rates["bootstrap"].eq("dual").all()
    assert len(rates) == 5
    assert f"of {len(rates)} rates lie in the interval" in capsys.readouterr().out
    kept = sorted((tmp_path / ".cache" / "rsa_validity").iterdir())
    assert [file.name.rsplit("-", 1)[0] for file in kept] == ["dual-0", "dual-0.5"]
    table = pd.read_csv(kept[0])
    table.assign(p_zero=0.0).to_csv(kept[0], index=False)
    rsa_validity.main()
    again = pd.read_csv(output / "rates.csv").set_index(["what", "share"])["rate"]
    assert again["unrelated model above zero", 0.0] == 1.0
