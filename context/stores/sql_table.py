"""The table of `SqlStore`, the same in each database: session ids compare by their bytes."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import BigInteger, Column, Dialect, LargeBinary, MetaData, String, Table
from sqlalchemy.dialects import mysql
from sqlalchemy.types import TypeDecorator, TypeEngine

from context.stores.protocol import MAX_SESSION_ID_BYTES


class _SessionId(TypeDecorator[str]):
    """Text compared by its bytes. MySQL keeps the bytes: its text types ignore case, accents or trailing spaces."""

    impl = String(MAX_SESSION_ID_BYTES)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name == "mysql":
            return dialect.type_descriptor(mysql.VARBINARY(MAX_SESSION_ID_BYTES))
        collation = "C" if dialect.name == "postgresql" else None
        return dialect.type_descriptor(String(MAX_SESSION_ID_BYTES, collation=collation))

    def process_bind_param(self, value: str | None, dialect: Dialect) -> Any:
        return value.encode() if dialect.name == "mysql" and value is not None else value

    def process_result_value(self, value: Any, dialect: Dialect) -> str | None:
        return bytes(value).decode() if isinstance(value, bytes | bytearray) else value


METADATA: Final = MetaData()
CONTEXTS: Final = Table(
    "anabranch_contexts",
    METADATA,
    Column("session_id", _SessionId, primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("packed", LargeBinary().with_variant(mysql.LONGBLOB(), "mysql"), nullable=False),
    Column("expires_at", BigInteger, index=True),
)
"""`packed` is the context's MessagePack, `expires_at` in Unix milliseconds by the writer's clock."""
