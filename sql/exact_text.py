"""Text that is equal where its bytes are, in each database."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Dialect, String
from sqlalchemy.dialects import mysql
from sqlalchemy.types import TypeDecorator, TypeEngine


class ExactText(TypeDecorator[str]):
    """Text compared by its bytes. MySQL keeps the bytes: its text types ignore case, accents or trailing spaces.

    `max_bytes` is what MySQL reserves: 3,072 at most for a key.
    """

    impl = String
    cache_ok = True

    def __init__(self, length: int, max_bytes: int) -> None:
        super().__init__(length)
        self._length = length
        self._max_bytes = max_bytes

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """The column's type in one database."""
        if dialect.name == "mysql":
            return dialect.type_descriptor(mysql.VARBINARY(self._max_bytes))
        collation = "C" if dialect.name == "postgresql" else None
        return dialect.type_descriptor(String(self._length, collation=collation))

    def process_bind_param(self, value: str | None, dialect: Dialect) -> Any:
        """What is sent."""
        return value.encode() if dialect.name == "mysql" and value is not None else value

    def process_result_value(self, value: Any, dialect: Dialect) -> str | None:
        """What came back."""
        return bytes(value).decode() if isinstance(value, bytes | bytearray) else value
