"""Pruning keys: the public names of `order`, `skipping` and `stats_keys` in one place."""

from __future__ import annotations

from deltalakedb.log.statistics.keys import StatsKeys, keys_from_stats, keys_of_few
from deltalakedb.log.statistics.order import NEG_INF, POS_INF, KeyBound, bounds_for, key_of
from deltalakedb.log.statistics.skipping import SkippingColumn, choose_skipping_columns

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
    "keys_of_few",
]
