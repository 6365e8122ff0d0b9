"""All tables with all their rules: whoever needs every one of them imports this."""

from store import rules, tables
from store.tables import audit, identity

METADATA = tables.Table.metadata
rules.attach(METADATA)

__all__ = ["METADATA", "audit", "identity", "tables"]
