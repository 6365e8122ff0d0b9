"""All tables: whoever needs every one of them imports this."""

from store import audit_tables, identity_tables, tables

METADATA = tables.Table.metadata

__all__ = ["METADATA", "audit_tables", "identity_tables", "tables"]
