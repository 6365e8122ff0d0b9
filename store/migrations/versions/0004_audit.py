"""The audit trail"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

FIRST = "0" * 64


def upgrade() -> None:
    def said(name: str, *path: str) -> sa.Column:
        rule = f"(content::jsonb #>> '{{{','.join(path)}}}')"
        return sa.Column(name, sa.Text(), sa.Computed(rule, persisted=True), nullable=True)

    op.create_table(
        "audit",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("previous", sa.Text(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        said("actor", "actor"),
        said("action", "action"),
        said("category", "category"),
        said("outcome", "outcome"),
        said("subject", "subject"),
        said("subject_id", "subject_id"),
        said("trace", "origin", "trace"),
        sa.PrimaryKeyConstraint("tenant", "sequence", "at", name=op.f("audit_pkey")),
        postgresql_partition_by="RANGE (at)",
    )
    for column in ("actor", "category", "subject_id", "trace"):
        op.create_index(op.f(f"audit_tenant_{column}_sequence_idx"), "audit", ["tenant", column, "sequence"])
    op.create_table(
        "audit_heads",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("hash", sa.Text(), server_default=FIRST, nullable=False),
        sa.Column("dropped", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("dropped_hash", sa.Text(), server_default=FIRST, nullable=False),
        sa.CheckConstraint("sequence >= dropped AND dropped >= 0", name=op.f("audit_heads_order_check")),
        sa.PrimaryKeyConstraint("tenant", name=op.f("audit_heads_pkey")),
    )
    op.execute("CREATE SCHEMA audit_months")
    # A month is made by the first entry that needs it; two at once meet in the exception.
    op.execute(
        """
        CREATE FUNCTION audit_month(moment timestamptz) RETURNS void
        LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
        DECLARE
            first timestamp := date_trunc('month', moment AT TIME ZONE 'UTC');
            name text := 'audit_' || to_char(first, 'YYYY_MM');
        BEGIN
            IF to_regclass('audit_months.' || name) IS NULL THEN
                EXECUTE format('CREATE TABLE audit_months.%I PARTITION OF public.audit FOR VALUES FROM (%L) TO (%L)',
                    name, first AT TIME ZONE 'UTC', (first + interval '1 month') AT TIME ZONE 'UTC');
            END IF;
        EXCEPTION WHEN duplicate_table OR unique_violation THEN
            NULL;
        END $$
        """
    )
    op.execute("REVOKE ALL ON FUNCTION audit_month(timestamptz) FROM PUBLIC")
    op.execute(
        """
        CREATE FUNCTION audit_append(entries text[]) RETURNS bigint
        LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
        DECLARE
            whose text := current_setting('hotswap.tenant', true);
            head audit_heads;
            entry text;
            moment timestamptz;
            digest text;
        BEGIN
            IF coalesce(whose, '') = '' THEN
                RAISE EXCEPTION 'no tenant is set';
            END IF;
            INSERT INTO audit_heads (tenant) VALUES (whose) ON CONFLICT DO NOTHING;
            SELECT * INTO head FROM audit_heads WHERE tenant = whose FOR UPDATE;
            FOREACH entry IN ARRAY entries LOOP
                moment := clock_timestamp();
                PERFORM audit_month(moment);
                head.sequence := head.sequence + 1;
                digest := encode(sha256(convert_to(concat_ws(E'\\n', head.hash, whose, head.sequence,
                    (extract(epoch FROM moment) * 1000000)::bigint, entry), 'UTF8')), 'hex');
                INSERT INTO audit (tenant, sequence, at, content, previous, hash)
                VALUES (whose, head.sequence, moment, entry, head.hash, digest);
                head.hash := digest;
            END LOOP;
            UPDATE audit_heads SET sequence = head.sequence, hash = head.hash WHERE tenant = whose;
            RETURN head.sequence;
        END $$
        """
    )
    op.execute("REVOKE ALL ON FUNCTION audit_append(text[]) FROM PUBLIC")
    op.execute("GRANT EXECUTE ON FUNCTION audit_append(text[]) TO hotswap_application")
    op.execute(
        """
        CREATE FUNCTION audit_stays() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION 'the audit trail is append-only' USING ERRCODE = 'insufficient_privilege';
        END $$
        """
    )
    op.execute(
        "CREATE TRIGGER audit_stays BEFORE UPDATE OR DELETE ON audit"
        " FOR EACH ROW EXECUTE FUNCTION audit_stays()"
    )
    op.execute(
        "CREATE TRIGGER audit_stays_whole BEFORE TRUNCATE ON audit"
        " FOR EACH STATEMENT EXECUTE FUNCTION audit_stays()"
    )
