"""Servers that tests (and benchmarks) start for themselves: PostgreSQL, MariaDB, S3."""
