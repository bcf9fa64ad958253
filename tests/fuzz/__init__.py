"""Damaged logs: they end in a result or in one clear error, never in a raw one or a dead process.

`make fuzz` tries as many as one likes; `make test` some seconds of them.
"""
