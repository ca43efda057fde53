"""P-values against scipy and published critical values."""

from __future__ import annotations

import math

import numpy as np
import pytest

from millrace.core.errors import InvalidInput
from millrace.statistics.tests import chi2_from_counts, ks_p_value, upper_p_value


def test_ks_at_the_published_five_percent_point() -> None:
    # c(0.05) = 1.358 in the tables for large samples: d = c sqrt((n + m) / nm)
    assert ks_p_value(1.358 * (2 / 1000) ** 0.5, 1000, 1000) == pytest.approx(0.05, abs=1e-4)


def test_ks_agrees_with_scipys_asymptotic_formula() -> None:
    from scipy.stats import ks_2samp

    rng = np.random.default_rng(0)
    a, b = rng.normal(0, 1, 5000), rng.normal(0.04, 1, 5000)
    theirs = ks_2samp(a, b, method="asymp")
    assert ks_p_value(theirs.statistic, 5000, 5000) == pytest.approx(theirs.pvalue, rel=0.1)


def test_ks_of_nothing_and_of_everything() -> None:
    assert ks_p_value(0.0, 10, 10) == 1.0
    assert ks_p_value(1.0, 1000, 1000) < 1e-100
    with pytest.raises(InvalidInput, match="KS distance"):
        ks_p_value(0.1, 0, 10)


def test_chi_squared_agrees_with_scipy_where_no_cell_is_small() -> None:
    from scipy.stats import chi2_contingency

    table = [[30, 50, 20], [45, 35, 40]]
    theirs = chi2_contingency(table, correction=False)
    ours = chi2_from_counts(*table)
    assert (ours.statistic, ours.p_value, ours.degrees) == pytest.approx((theirs.statistic, theirs.pvalue, theirs.dof))


def test_small_cells_are_pooled_first() -> None:
    from scipy.stats import chi2_contingency

    pooled = chi2_contingency([[100, 60, 9], [80, 90, 5]], correction=False)
    ours = chi2_from_counts([4, 100, 3, 60, 2, 0], [1, 80, 2, 90, 2, 0])
    assert (ours.statistic, ours.degrees) == pytest.approx((pooled.statistic, 2))


def test_a_pool_that_is_still_small_takes_in_the_smallest_other() -> None:
    from scipy.stats import chi2_contingency

    ours = chi2_from_counts([2, 50, 20], [1, 30, 50])
    theirs = chi2_contingency([[22, 50], [51, 30]], correction=False)
    assert (ours.statistic, ours.degrees) == pytest.approx((theirs.statistic, 1))


def test_too_little_to_test_is_no_evidence() -> None:
    assert chi2_from_counts([3, 1], [1, 2]).p_value == 1.0
    assert chi2_from_counts([30], [20]).degrees == 0


def test_without_drift_five_percent_are_called_significant() -> None:
    rng = np.random.default_rng(1)
    shares = [0.4, 0.3, 0.2, 0.05, 0.03, 0.02]
    called = [
        chi2_from_counts(rng.multinomial(5000, shares), rng.multinomial(300, shares)).p_value < 0.05 for _ in range(600)
    ]
    assert 0.03 < np.mean(called) < 0.075


@pytest.mark.parametrize("skewness", [0.0, 1e-4, 0.05, 0.3, 1.5])
@pytest.mark.parametrize("z", [-3.0, 0.0, 2.0, 5.0, 30.0])
def test_the_upper_tail_of_a_skewed_mean_is_pearsons(z: float, skewness: float) -> None:
    from scipy.stats import norm, pearson3

    theirs = norm.sf(z) if skewness < 1e-3 else pearson3.sf(z, skewness)
    assert upper_p_value(z, skewness) == pytest.approx(float(theirs), rel=1e-6, abs=1e-300)


def test_a_skewed_mean_goes_over_its_limit_as_often_as_it_should() -> None:
    draws = np.random.default_rng(0).exponential(size=(60_000, 30)).mean(axis=1)
    p_values = [upper_p_value(float(z), 2 / math.sqrt(30)) for z in (draws - 1) * math.sqrt(30)]
    assert np.mean(np.array(p_values) < 1e-3) == pytest.approx(1e-3, abs=4e-4)
