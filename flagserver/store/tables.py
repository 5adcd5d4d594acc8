"""The tables. Values that only Rampgate reads are JSON text; what is searched or guarded has a column of its own."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    text,
)

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    }
)

_NUMBER = BigInteger().with_variant(Integer, "sqlite")
"""SQLite numbers rows by itself only where the primary key is an INTEGER."""

versions = Table(
    "versions",
    metadata,
    Column("name", String(200), primary_key=True),
    Column("version", BigInteger, nullable=False),
)
"""One row for each environment (``env:<name>``) and one for the keys: it rises with every change."""

flags = Table(
    "flags",
    metadata,
    Column("environment", String(100), primary_key=True),
    Column("key", String(200), primary_key=True),
    Column("kind", String(20), nullable=False),
    Column("document", Text, nullable=False),
    Column("stable_name", String(100)),
    Column("stable_version", Text),
    Column("idle_name", String(100)),
    Column("idle_version", Text),
    Column("updated_at", Float(53), nullable=False),
    Column("lists", Text),
)

segments = Table(
    "segments",
    metadata,
    Column("environment", String(100), primary_key=True),
    Column("name", String(100), primary_key=True),
    Column("users", Text, nullable=False),
    Column("rule", Text),
    Column("updated_at", Float(53), nullable=False),
)

force_keys = Table(
    "force_keys",
    metadata,
    Column("environment", String(100), primary_key=True),
    Column("key", String(64), nullable=False),
    Column("made_at", Float(53), nullable=False),
)
"""The key in clear text: apps verify tester tokens with it. It opens nothing but a version that is up."""

rollouts = Table(
    "rollouts",
    metadata,
    Column("number", _NUMBER, primary_key=True, autoincrement=True),
    Column("id", String(40), nullable=False, unique=True),
    Column("environment", String(100), nullable=False),
    Column("flag", String(200), nullable=False),
    Column("key", String(300), nullable=False),
    Column("version", Text, nullable=False),
    Column("plan", Text, nullable=False),
    Column("canary_name", String(100), nullable=False),
    Column("stable_name", String(100), nullable=False),
    Column("stable_version", Text),
    Column("asked_by", Text, nullable=False),
    Column("sha", String(100)),
    Column("repository", String(300)),
    Column("pull_request", Integer),
    Column("run_url", Text),
    Column("config", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("phase", String(20), nullable=False),
    Column("active", Boolean, nullable=False),
    Column("needs_hands", Boolean, nullable=False),
    Column("refuses_version", Boolean, nullable=False),
    Column("next_deadline", Float(53)),
    Column("fence", Integer, nullable=False),
    Column("clear_at", Float(53), nullable=False),
    Column("created_at", Float(53), nullable=False),
    Column("attempt_at", Float(53), nullable=False),
    Column("updated_at", Float(53), nullable=False),
    Column("superseded_by", String(40)),
    Column("hash_key", String(64)),
    Column("allowed_by", Text),
    Column("repository_id", String(40)),
    ForeignKeyConstraint(["environment", "flag"], ["flags.environment", "flags.key"], ondelete="CASCADE"),
    Index("ix_rollouts_key", "environment", "flag", "key", unique=True),
    Index("ix_rollouts_next_deadline", "next_deadline"),
    Index("ix_rollouts_environment", "environment", "number"),
    Index("ix_rollouts_sha", "sha"),
    Index("ix_rollouts_pull_request", "repository", "pull_request"),
    Index("ix_rollouts_needs_hands", "needs_hands", "active"),
    Index(
        "ix_rollouts_active",
        "environment",
        "flag",
        unique=True,
        sqlite_where=text("active"),
        postgresql_where=text("active"),
    ),
)
"""``active``: not finished; a flag has at most one of these. ``refuses_version`` is kept once the rollout regressed
or was aborted, whatever ended it afterwards; ``allowed_by`` is who lifted that. ``clear_at``: from then on no client
can still be on its canary.
"""

rollout_events = Table(
    "rollout_events",
    metadata,
    Column("rollout", String(40), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("event_id", String(200)),
    Column("at", Float(53), nullable=False),
    Column("actor", Text, nullable=False),
    Column("event", Text, nullable=False),
    Column("verb", String(20), nullable=False),
    Column("phase", String(20), nullable=False),
    Column("step", Integer, nullable=False),
    Column("share", Integer, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("because", Text, nullable=False),
    Column("actions", Text, nullable=False),
    Column("refusal", Text),
    Column("state", Text),
    ForeignKeyConstraint(["rollout"], ["rollouts.id"], ondelete="CASCADE"),
    Index("ix_rollout_events_event_id", "rollout", "event_id", unique=True),
)
"""The history. ``state`` is kept where ``event_id`` is: the first answer, for repeats."""

telemetry = Table(
    "telemetry",
    metadata,
    Column("environment", String(100), primary_key=True),
    Column("flag", String(200), primary_key=True),
    Column("rollout", String(40), primary_key=True),
    Column("attempt", Integer, primary_key=True),
    Column("variant", String(200), primary_key=True),
    Column("bucket", BigInteger, primary_key=True),
    Column("requests", BigInteger, nullable=False),
    Column("errors", BigInteger, nullable=False),
    Column("exposures", BigInteger, nullable=False),
    Index("ix_telemetry_rollout", "rollout", "attempt", "variant"),
    Index("ix_telemetry_bucket", "bucket"),
    Index("ix_telemetry_minute", "environment", "flag", "bucket"),
)
"""Counts by minute (``bucket``: epoch seconds). Outside a rollout ``rollout`` is empty and ``attempt`` 0."""

latencies = Table(
    "latencies",
    metadata,
    Column("environment", String(100), primary_key=True),
    Column("flag", String(200), primary_key=True),
    Column("rollout", String(40), primary_key=True),
    Column("attempt", Integer, primary_key=True),
    Column("variant", String(200), primary_key=True),
    Column("bucket", BigInteger, primary_key=True),
    Column("below_ms", Float(53), primary_key=True),
    Column("requests", BigInteger, nullable=False),
    Index("ix_latencies_bucket", "bucket"),
)
"""How many requests ended within (the bound before, ``below_ms``]; the last bound stands for no bound."""

telemetry_users = Table(
    "telemetry_users",
    metadata,
    Column("environment", String(100), primary_key=True),
    Column("flag", String(200), primary_key=True),
    Column("rollout", String(40), primary_key=True),
    Column("attempt", Integer, primary_key=True),
    Column("variant", String(200), primary_key=True),
    Column("bucket", BigInteger, primary_key=True),
    Column("sketch", LargeBinary),
    Column("hashes", LargeBinary),
    Column("active_users", BigInteger, nullable=False),
    Column("affected_users", BigInteger, nullable=False),
    Column("whole", Boolean, nullable=False),
    Index("ix_telemetry_users_rollout", "rollout", "attempt", "variant"),
    Index("ix_telemetry_users_bucket", "bucket"),
)
"""Distinct users by minute. ``sketch`` and ``hashes`` are emptied once the minute is over; ``whole`` is false where a
client could not say who its users were."""

telemetry_batches = Table(
    "telemetry_batches",
    metadata,
    Column("environment", String(100), primary_key=True),
    Column("batch", String(100), primary_key=True),
    Column("client", String(200), nullable=False),
    Column("at", Float(53), nullable=False),
    Column("dropped", BigInteger, nullable=False),
    Index("ix_telemetry_batches_at", "environment", "at"),
)

keys = Table(
    "keys",
    metadata,
    Column("selector", String(40), primary_key=True),
    Column("verifier", String(64), nullable=False),
    Column("role", String(20), nullable=False),
    Column("environment", String(100)),
    Column("name", String(200), nullable=False),
    Column("created_at", Float(53), nullable=False),
    Column("created_by", Text, nullable=False),
    Column("revoked_at", Float(53)),
    Column("expires_at", Float(53)),
    Column("last_used_at", Float(53)),
    Column("replaces", String(40)),
    Column("origins", Text),
)
"""``verifier`` is the SHA-256 of the key's secret; ``environment`` is empty for all of them; ``replaces`` is the key
whose successor it is; ``origins`` are the web origins of a client key, a JSON list."""

trust_policies = Table(
    "trust_policies",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("environment", String(100), nullable=False),
    Column("document", Text, nullable=False),
    Column("created_at", Float(53), nullable=False),
    Column("created_by", Text, nullable=False),
    Column("updated_at", Float(53), nullable=False),
)

sessions = Table(
    "sessions",
    metadata,
    Column("selector", String(40), primary_key=True),
    Column("verifier", String(64), nullable=False),
    Column("policy", String(40), nullable=False),
    Column("environment", String(100), nullable=False),
    Column("role", String(20), nullable=False),
    Column("grant", Text, nullable=False),
    Column("rollout", String(40)),
    Column("created_at", Float(53), nullable=False),
    Column("until", Float(53), nullable=False),
    Column("ends_at", Float(53), nullable=False),
    Column("revoked_at", Float(53)),
    Index("ix_sessions_until", "until"),
    Index("ix_sessions_policy", "policy"),
)
"""Sessions of jobs. ``rollout`` is the one that it steers, once it does."""

spent_tokens = Table(
    "spent_tokens",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("until", Float(53), nullable=False),
    Index("ix_spent_tokens_until", "until"),
)
"""Hashes of the ids of tokens that were exchanged, for as long as they could be used again."""

logins = Table(
    "logins",
    metadata,
    Column("verifier", String(64), primary_key=True),
    Column("identity", String(80), nullable=False),
    Column("name", String(100), nullable=False),
    Column("began_at", Float(53), nullable=False),
    Column("ends_at", Float(53), nullable=False),
    Index("ix_logins_ends_at", "ends_at"),
)
"""People at the dashboard. ``verifier`` is the SHA-256 of the cookie's secret; ``identity`` says whose key it was."""

audit = Table(
    "audit",
    metadata,
    Column("number", _NUMBER, primary_key=True, autoincrement=True),
    Column("at", Float(53), nullable=False),
    Column("actor", Text, nullable=False),
    Column("action", String(60), nullable=False),
    Column("environment", String(100)),
    Column("subject", Text, nullable=False),
    Column("before", Text),
    Column("after", Text),
    Column("why", Text),
    Column("key", String(40)),
    Column("request", String(64)),
    Column("run", Text),
    Column("via", String(200)),
    Column("flag", String(200)),
    Column("rollout", String(40)),
    Column("hash", String(64)),
    Index("ix_audit_at", "at"),
    Index("ix_audit_flag", "environment", "flag"),
    Index("ix_audit_rollout", "rollout"),
)
"""Append-only: triggers refuse to change a row, or to delete one above the floor that retention raises."""

locks = Table(
    "locks",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("key", String(200), unique=True),
    Column("name", String(100)),
    Column("environment", String(100)),
    Column("flag", String(200)),
    Column("reason", Text, nullable=False),
    Column("by", Text, nullable=False),
    Column("since", Float(53), nullable=False),
    Column("until", Float(53)),
    Column("created_at", Float(53), nullable=False),
)
"""Those that hold or will; ended ones are cleared away, and the audit log has them all."""

queue = Table(
    "queue",
    metadata,
    Column("environment", String(100), primary_key=True),
    Column("flag", String(200), primary_key=True),
    Column("key", String(300), primary_key=True),
    Column("version", Text, nullable=False),
    Column("by", Text, nullable=False),
    Column("repository", String(300)),
    Column("pull_request", Integer),
    Column("ref", String(300)),
    Column("run_url", Text),
    Column("since", Float(53), nullable=False),
    Column("asked_at", Float(53), nullable=False),
    Column("replaced_by", Text),
    Column("repository_id", String(40)),
)
"""Who waits for a flag. A place lapses when its gate no longer asks."""

followers = Table(
    "followers",
    metadata,
    Column("environment", String(100), primary_key=True),
    Column("name", String(100), primary_key=True),
    Column("instance", String(100), nullable=False),
    Column("flags", Text, nullable=False),
    Column("since", Float(53), nullable=False),
    Column("seen_at", Float(53), nullable=False),
)
"""Who goes on with rollouts that a job hands over. A follower that says nothing lapses."""
