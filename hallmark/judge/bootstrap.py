"""The bootstrap that draws the groups of predictions, as the params of `compare` ask for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from hallmark.base.stats import ClusterBootstrap
from hallmark.task.predictions import Prediction

if TYPE_CHECKING:
    from hallmark.params.loader import Params


def bootstrap_of(rows: Sequence[Prediction], params: Params) -> ClusterBootstrap:
    """The bootstrap that draws the groups of these records."""
    settings = params.compare
    groups = [row.group for row in rows]
    return ClusterBootstrap(groups, confidence=settings.confidence, draws=settings.bootstrap_samples, seed=params.seed)
