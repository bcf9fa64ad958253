"""Commits are found by their tokens alone.

A server that hasn't counted rows yet took the index on versions for that question, and read all
commits of the table.

Revision ID: 0004
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import context, op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


_INDEX = "dl_commits_version"


def upgrade() -> None:
    schema = sa.inspect(context.config.attributes["connection"])
    # Where all is only printed, the table is yet to be made, with that index.
    is_there = "dl_commits" in schema.get_table_names()
    if not is_there or _INDEX in {index["name"] for index in schema.get_indexes("dl_commits")}:
        op.drop_index(_INDEX, "dl_commits")
