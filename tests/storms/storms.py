"""The storms at full size: each in batches, of which continuous integration plays one."""

from __future__ import annotations

from tests.storms.batch import Storm

BATCHES = 20
STORMS = (
    Storm("workers", "a worker is killed", "workers", runs=50, strikes=5),
    Storm("rolling", "a worker is asked to stop", "workers gently", runs=25, strikes=5),
    Storm("temporal", "the Temporal server is killed", "temporal", runs=25, strikes=1),
    Storm("postgres", "PostgreSQL is stopped immediately", "database", runs=40, strikes=10),
    Storm("postgres_commits", "a commit to PostgreSQL is cut", "commits", runs=20, strikes=10),
    Storm("mariadb", "MariaDB is killed", "database", runs=40, strikes=10, database="mariadb"),
    Storm("mariadb_commits", "a commit to MariaDB is cut", "commits", runs=20, strikes=10, database="mariadb"),
    Storm("nats", "NATS is killed or stopped", "nats", runs=25, strikes=5),
)
