"""What every user of a SQL database shares: engines, sessions, tables, upserts, errors."""

from typing import Final

DRIVERS: Final = {
    "sqlite": "sqlite+aiosqlite",
    "postgresql": "postgresql+asyncpg",
    "postgres": "postgresql+asyncpg",
    "mysql": "mysql+asyncmy",
    "mariadb": "mysql+asyncmy",
}
"""The async driver for each scheme of a URL. It is here so that to ask for a scheme imports no SQLAlchemy."""
