"""Shares and means over rollouts with their 95 % intervals; a rollout is one trial, however long it is.

Shapes: R rollouts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

Z = 1.959964  # 97.5 % of a normal distribution is below this
DRAWS = 4000
FEWEST_CHANGED = 8  # rollouts that differ; a bootstrap over fewer says little
FEWEST = 4  # rollouts; fewer say nothing about their spread


@dataclass(frozen=True)
class Share:
    """A share with its 95 % Wilson interval; `count` is the number of independent trials."""

    successes: float
    count: int

    @classmethod
    def of(cls, values: npt.NDArray[Any]) -> Share:
        """The mean of values [R] in [0, 1], such as the share of each rollout's blocks.

        No variable in [0, 1] varies more than one that is 0 or 1, so the interval is at worst too wide.
        """
        return cls(float(values.sum()), len(values))

    @property
    def share(self) -> float:
        """Successes per trial."""
        return self.successes / self.count

    @property
    def interval(self) -> tuple[float, float]:
        """Lower and upper end."""
        n, p = self.count, self.share
        centre = (p + Z * Z / (2 * n)) / (1 + Z * Z / n)
        half = Z / (1 + Z * Z / n) * (p * (1 - p) / n + Z * Z / (4 * n * n)) ** 0.5
        return max(0.0, centre - half), min(1.0, centre + half)

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        low, high = self.interval
        return {
            "share": round(self.share, 4),
            "interval": [round(low, 4), round(high, 4)],
            "count": self.count,
        }


@dataclass(frozen=True)
class Estimate:
    """A figure over `count` rollouts with its 95 % interval, which is None if there are too few."""

    value: float
    interval: tuple[float, float] | None
    count: int

    def scaled(self, factor: float, offset: float = 0.0) -> Estimate:
        """The figure and its interval times `factor`, plus `offset`."""
        ends = None if self.interval is None else sorted(factor * end + offset for end in self.interval)
        return Estimate(factor * self.value + offset, (ends[0], ends[1]) if ends else None, self.count)

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        interval = None if self.interval is None else [round(end, 4) for end in self.interval]
        return {"value": round(self.value, 4), "interval": interval, "count": self.count}


def mean(values: FloatArray) -> Estimate:
    """The mean of rollouts [R]; see `ratio_of_means`."""
    return ratio_of_means(values, np.ones(len(values)))


def ratio_of_means(above: FloatArray, below: FloatArray) -> Estimate:
    """The mean of `above` over that of `below`, both [R], with a bootstrap interval over rollouts.

    Plain percentiles of a bootstrap are too narrow for few rollouts. They are widened by as much as the
    interval for the mean of as many normal values widens when their variance is unknown.
    """
    count = len(above)
    value = _ratio(above.mean(), below.mean())
    if count < FEWEST:
        return Estimate(float(value), None, count)
    rows = np.random.default_rng(0).integers(count, size=(DRAWS, count))
    drawn = _ratio(above[rows].mean(axis=1), below[rows].mean(axis=1))
    tail = NormalDist().cdf(-((count / (count - 1)) ** 0.5) * _student(count - 1))
    low, high = np.quantile(drawn, [tail, 1 - tail])
    return Estimate(float(value), (float(low), float(high)), count)


def difference_of_means(first: FloatArray, second: FloatArray) -> Estimate:
    """Second minus first of two means over the same rollouts, both [R] in [0, 1].

    The interval is a bootstrap's over the differences. If few rollouts differ, it would be almost empty, so
    it is at least that of shares.
    """
    differences = second - first
    means = mean(differences)
    if np.count_nonzero(np.abs(differences) > 1e-9) >= FEWEST_CHANGED or means.interval is None:
        return means
    shares = difference_of_shares(first, second)
    assert shares.interval is not None
    ends = [*means.interval, *shares.interval]
    return Estimate(means.value, (min(ends), max(ends)), means.count)


def difference_of_shares(first: FloatArray, second: FloatArray) -> Estimate:
    """Second minus first of two shares over the same rollouts, both [R] in [0, 1].

    The interval is Newcombe's for paired shares (1998, method 10), made of the two Wilson intervals and a
    correlation that is corrected for continuity. It has a width even if no rollout changes, which says little
    when there are few.
    """
    one, two = Share.of(first), Share.of(second)
    (low1, high1), (low2, high2) = one.interval, two.interval
    p1, p2 = one.share, two.share
    spread = first.std() * second.std()
    together = float(((first - p1) * (second - p2)).mean())
    together = max(0.0, together - 0.5 / one.count) if together > 0 else together
    phi = together / spread if spread > 1e-12 else 0.0
    below = _distance(p2 - low2, high1 - p1, phi)
    above = _distance(high2 - p2, p1 - low1, phi)
    return Estimate(p2 - p1, (p2 - p1 - below, p2 - p1 + above), one.count)


def _distance(a: float, b: float, correlation: float) -> float:
    return math.sqrt(max(0.0, a * a - 2 * correlation * a * b + b * b))


def _ratio(above: Any, below: Any) -> Any:
    return above / np.maximum(below, 1e-9)


def _student(freedom: int) -> float:
    """The 97.5 % quantile of Student's t, by its expansion around the normal one (for 3 degrees: 3.16)."""
    z = Z
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    quantile: float = z + first / freedom + second / freedom**2 + third / freedom**3
    return quantile
