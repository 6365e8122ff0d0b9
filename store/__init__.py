"""What is kept in PostgreSQL, and bundles in files. Every function takes a session and a tenant."""
