"""Which SQL statements control their transaction or their session."""

from __future__ import annotations

import pytest

from anabranch.graph.kinds.sql_control import controls


@pytest.mark.parametrize(
    ("query", "control"),
    [
        ("commit", "COMMIT"),
        ("/* done */ Commit;", "COMMIT"),
        ("-- done\ncommit work", "COMMIT"),
        ("# done\ncommit", "COMMIT"),
        ("; ;commit", "COMMIT"),
        ("/*!50000 commit */", "COMMIT"),
        ("/*M! rollback */", "ROLLBACK"),
        ("commit prepared 'x", "COMMIT"),
        ("begin", "BEGIN"),
        ("begin immediate", "BEGIN"),
        ("start transaction", "START"),
        ("END", "END"),
        ("abort", "ABORT"),
        ("rollback to savepoint a", "ROLLBACK"),
        ("savepoint a", "SAVEPOINT"),
        ("release a", "RELEASE"),
        ("prepare transaction 'x'", "PREPARE"),
        ("prepare p from 'commit'", "PREPARE"),
        ("execute p", "EXECUTE"),
        ("xa end 'x'", "XA"),
        ("set autocommit = 0", "SET AUTOCOMMIT"),
        ("set @@session.autocommit = 1", "SET AUTOCOMMIT"),
        ("set transaction isolation level serializable", "SET TRANSACTION"),
        ("set session transaction read only", "SET TRANSACTION"),
        ("set session characteristics as transaction read only", "SET TRANSACTION"),
        ("lock tables t write", "LOCK TABLES"),
        ("lock table t read", "LOCK TABLES"),
        ("unlock tables", "UNLOCK"),
        ("begin not atomic insert into t values (1); commit; end", "COMMIT"),
        ("attach database 'x' as y", "ATTACH"),
        ("detach y", "DETACH"),
        ("use other", "USE"),
        ("select load_extension('x')", "LOAD_EXTENSION"),
        ("pragma user_version = 3", "PRAGMA"),
        ("pragma main.journal_mode(wal)", "PRAGMA"),
        ("PRAGMA foreign_keys=off", "PRAGMA"),
        ("pragma wal_checkpoint", "PRAGMA"),
        ("pragma table_info(t)", None),
        ("pragma main.table_info(t)", None),
        ("pragma user_version", None),
        ("begin not atomic insert into t values (1); end", None),
        ("select 1", None),
        ("select 'commit'", None),
        ("select a as commit from t", None),
        ("insert into t values ('; commit')", None),
        ("create trigger r after insert on t begin delete from u; end", None),
        ("set @now = 'autocommit'", None),
        ("set role reader", None),
        ("set local app.tenant = 'a'", None),
        ("set constraints all deferred", None),
        ("lock table t in exclusive mode", None),
        ("call p()", None),
        ("do $$ begin delete from t; end $$", None),
        ("", None),
        ("select 'without an end", None),
    ],
)
def test_control_is_seen_in_whatever_dialect_it_is_one(query: str, control: str | None) -> None:
    assert controls(query) == control
