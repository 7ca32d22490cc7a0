"""The table of `SqlStore`, the same in each database: session ids compare by their bytes."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, LargeBinary, MetaData, Table
from sqlalchemy.dialects import mysql

from anabranch.context.stores.protocol import MAX_SESSION_ID_BYTES
from anabranch.sql.exact_text import ExactText

METADATA: Final = MetaData()
CONTEXTS: Final = Table(
    "anabranch_contexts",
    METADATA,
    Column("session_id", ExactText(MAX_SESSION_ID_BYTES, MAX_SESSION_ID_BYTES), primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("packed", LargeBinary().with_variant(mysql.LONGBLOB(), "mysql"), nullable=False),
    Column("expires_at", BigInteger, index=True),
    mysql_engine="InnoDB",
)
"""`packed` is the context's MessagePack, `expires_at` in Unix milliseconds by the writer's clock."""
