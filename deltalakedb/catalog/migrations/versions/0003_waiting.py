"""Appends that wait for whoever commits next to their table: group commit across processes.

Revision ID: 0003
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import context, op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    dialect = context.config.attributes["dialect"]
    connection = context.config.attributes["connection"]
    if "dl_waiting" in sa.inspect(connection).get_table_names():
        return
    op.create_table(
        "dl_waiting",
        sa.Column("table_key", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("waiting_name", sa.String(36), primary_key=True),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column(
            "body",
            sa.LargeBinary().with_variant(sa.LargeBinary(length=2**32 - 1), "mysql", "mariadb"),
            nullable=False,
        ),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        **dialect.table_options(connection),
    )
