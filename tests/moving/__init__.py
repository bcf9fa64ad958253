"""Tests of moving tables between their logs and the catalog."""
