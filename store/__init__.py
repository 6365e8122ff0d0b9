"""What is kept in PostgreSQL, and bundles in files. Every function takes a session and a tenant."""

from store import identity_tables as identity_tables  # so that the metadata is whole wherever it is asked for
