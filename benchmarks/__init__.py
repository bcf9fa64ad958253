"""Benchmarks: synthetic Delta logs, floors, delta-rs and the report."""
