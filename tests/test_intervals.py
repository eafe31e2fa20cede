"""Intervals: textbook figures, and whether they hold what they promise where rollouts are few."""

import numpy as np
import pytest

from longlive_env.intervals import (
    Estimate,
    Share,
    difference_of_means,
    difference_of_shares,
    mean,
    ratio_of_means,
)


def test_wilson_intervals() -> None:
    assert Share(8, 10).interval == pytest.approx((0.4902, 0.9433), abs=1e-4)  # the textbook's figures
    assert Share(0, 10).interval[0] == 0.0 and Share(10, 10).interval[1] == pytest.approx(1.0)
    assert Share.of(np.array([0.5, 1.0, 0.0])) == Share(1.5, 3)


@pytest.mark.parametrize("count", [6, 16])
def test_the_bootstrap_covers_the_truth_19_times_in_20(count: int) -> None:
    rng = np.random.default_rng(1)
    found = [mean(rng.normal(3.0, 1.0, count)).interval for _ in range(300)]
    covered = np.mean([low <= 3.0 <= high for low, high in found if low is not None])
    assert 0.91 <= covered <= 0.99


def test_a_ratio_of_means_is_not_the_mean_of_ratios() -> None:
    above, below = np.array([1.0, 1.0, 1.0, 9.0]), np.array([1.0, 1.0, 0.0, 4.0])
    found = ratio_of_means(above, below)
    assert found.value == pytest.approx(2.0)
    assert found.interval is not None and found.interval[0] <= 2.0 <= found.interval[1]


def test_few_rollouts_have_no_interval() -> None:
    assert mean(np.array([1.0, 2.0, 3.0])) == Estimate(2.0, None, 3)
    assert mean(np.array([1.0, 2.0, 3.0])).to_json() == {"value": 2.0, "interval": None, "count": 3}


def test_paired_shares() -> None:
    first = np.array([1.0] * 56 + [0.0] * 44)
    second = np.array([1.0] * 44 + [0.0] * 56)
    paired = difference_of_shares(first, second)
    shuffled = difference_of_shares(first, np.random.default_rng(0).permutation(second))
    assert paired.value == pytest.approx(-0.12) == shuffled.value
    assert paired.interval is not None and shuffled.interval is not None
    assert paired.interval[1] < 0 < shuffled.interval[1]  # pairs that agree leave less to chance
    unmoved = difference_of_shares(np.ones(16), np.ones(16))
    assert unmoved.interval is not None
    assert unmoved.interval[0] < -0.1 and unmoved.interval[1] > 0.1  # 16 rollouts prove little


@pytest.mark.parametrize("agreeing", [32, 48, 63, 64])
def test_pairs_that_all_agree_prove_no_more_than_their_number_does(agreeing: int) -> None:
    values = np.array([1.0] * agreeing + [0.0] * (64 - agreeing))
    found = difference_of_shares(values, values).interval
    assert found is not None and 0.02 < found[1] < 0.1 and found[0] == pytest.approx(-found[1], abs=0.01)
    nearly = values.copy()
    nearly[0] -= 1 / 65  # one block of one rollout
    close = difference_of_means(values, nearly).interval
    assert close is not None and close == pytest.approx(found, abs=0.01)


def test_means_that_all_shift_alike_differ_for_sure() -> None:
    first = np.linspace(0.9, 1.0, 16)
    second = first - np.linspace(0.08, 0.12, 16)
    found = difference_of_means(first, second)
    assert found.interval is not None and -0.12 < found.interval[0] < -0.1 < found.interval[1] < -0.08
    assert difference_of_means(first, first) == difference_of_shares(first, first)  # which has a width


def test_scaling_keeps_the_ends_in_order() -> None:
    assert Estimate(0.1, (0.0, 0.3), 8).scaled(-100).interval == (-30.0, 0.0)
    assert Estimate(1.2, (1.0, 1.5), 8).scaled(1, -1).value == pytest.approx(0.2)
