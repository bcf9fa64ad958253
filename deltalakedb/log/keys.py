"""Pruning keys: the public names of `order`, `skipping` and `stats_keys` in one place."""

from __future__ import annotations

from deltalakedb.log.order import NEG_INF, POS_INF, KeyBound, bounds_for, key_of
from deltalakedb.log.skipping import SkippingColumn, choose_skipping_columns
from deltalakedb.log.stats_keys import StatsKeys, keys_from_stats

__all__ = [
    "NEG_INF",
    "POS_INF",
    "KeyBound",
    "SkippingColumn",
    "StatsKeys",
    "bounds_for",
    "choose_skipping_columns",
    "key_of",
    "keys_from_stats",
]
