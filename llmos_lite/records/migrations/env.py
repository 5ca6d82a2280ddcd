"""Alembic's environment: it gets the open connection from `records.schema`, or from `alembic.ini` by hand."""

from __future__ import annotations

from alembic import context

from llmos_lite.records.tables import Table

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Table.metadata,
    render_as_batch=True,
    compare_type=True,
)
with context.begin_transaction():
    context.run_migrations()
