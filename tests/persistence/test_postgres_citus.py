"""The script for Citus, as far as a server without Citus can tell.

`create_distributed_table` is replaced by a function that checks what Citus' documentation demands
and notes the call: the column exists, every unique index has it, and tables that are to be together
have columns of one type and collation.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import pytest

from persistence import postgres
from tests.persistence.test_postgres_plans import KEYS
from tests.servers.postgres import PostgresServer

SCRIPT = (Path(postgres.__file__).parent / "citus.sql").read_text()

CITUS = """
    CREATE TABLE distributed (name regclass PRIMARY KEY, key text, type oid, collation_ oid);
    CREATE FUNCTION create_distributed_table(
        named regclass, key text, colocate_with text DEFAULT 'default'
    ) RETURNS void LANGUAGE plpgsql AS $$
    DECLARE
        own pg_attribute;
    BEGIN
        SELECT * INTO STRICT own FROM pg_attribute WHERE attrelid = named AND attname = key;
        IF EXISTS (SELECT FROM pg_index i WHERE i.indrelid = named AND i.indisunique
                AND own.attnum <> ALL (i.indkey)) THEN
            RAISE 'a unique index of % is without %', named, key;
        END IF;
        IF colocate_with NOT IN ('none', 'default') AND NOT EXISTS (SELECT FROM distributed d
                WHERE d.name = colocate_with::regclass AND d.type = own.atttypid
                AND d.collation_ = own.attcollation) THEN
            RAISE '% cannot be with %', named, colocate_with;
        END IF;
        INSERT INTO distributed VALUES (named, key, own.atttypid, own.attcollation);
    END $$
"""


@pytest.fixture
def coordinator(postgres: PostgresServer) -> str:
    (url,) = postgres.create()
    database = urlsplit(url).path[1:]
    postgres.execute(CITUS, database)
    return database


def test_every_table_with_a_key_is_distributed_by_it(
    postgres: PostgresServer, coordinator: str
) -> None:
    postgres.execute(SCRIPT, coordinator)
    found = postgres.execute("SELECT name::text, key FROM distributed", coordinator)
    assert sorted(found) == sorted(KEYS.items())


def test_every_other_table_is_one_that_stays(postgres: PostgresServer, coordinator: str) -> None:
    found = postgres.execute(
        "SELECT tablename FROM pg_tables WHERE schemaname = 'public'", coordinator
    )
    others = {name for (name,) in found} - KEYS.keys()
    assert others == {"migrations", "placement", "distributed"}


def test_nothing_refers_across_keys(postgres: PostgresServer, coordinator: str) -> None:
    foreign_keys = "SELECT conname FROM pg_constraint WHERE contype = 'f'"
    assert postgres.execute(foreign_keys, coordinator) == []
