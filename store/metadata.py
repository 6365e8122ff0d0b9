"""All tables with all their rules: whoever needs every one of them imports this."""

from store import audit_tables, identity_tables, rules, tables

METADATA = tables.Table.metadata
rules.attach(METADATA)

__all__ = ["METADATA", "audit_tables", "identity_tables", "tables"]
