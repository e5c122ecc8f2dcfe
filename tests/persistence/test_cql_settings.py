"""Addresses of a CQL cluster."""

from __future__ import annotations

import re

import pytest

from persistence.cql_settings import CqlSettings, keyspace_statement, parse


def test_defaults_are_for_a_cluster_in_production() -> None:
    assert parse("cql://db1") == CqlSettings(("db1",), 9042, "coppice", replication=3)


def test_everything_can_be_said() -> None:
    url = "cql://ann:p%40ss@db1:9043,db2:9043/chat?replication=2&dc=eu-west_1&scylla=1"
    settings = parse(url)
    assert settings == CqlSettings(
        ("db1", "db2"), 9043, "chat", "ann", "p@ss", "eu-west_1", 2, scylla=True
    )
    assert "p@ss" not in repr(settings) + str(settings)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://db1/chat", "begins with cql://"),
        ("cql://", "a host is missing"),
        ("cql://db1,,db2/chat", "a host is missing"),
        ("cql://db1:x/chat", "port is a number from 1 to 65535, not 'x'"),
        ("cql://db1:9042,db2:9043/chat", "one port"),
        ("cql://db1/Chat", "keyspace 'Chat'"),
        ("cql://db1/chat?replication=0", "replication is a number from 1 to 9, not '0'"),
        ("cql://db1/chat?scylla=yes", "scylla is a number from 0 to 1, not 'yes'"),
        ("cql://db1/chat?dc=a'b", 'dc "a\'b"'),
        ("cql://db1/chat?replicas=3", "replicas is no option"),
    ],
)
def test_what_is_wrong_is_named(url: str, words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        parse(url)


def test_one_switch_makes_the_keyspace_scyllas() -> None:
    plain, scylla = (keyspace_statement(parse(f"cql://db1/chat?scylla={n}")) for n in (0, 1))
    assert "tablets" not in plain
    assert scylla == plain + " AND tablets = {'enabled': false}"
    assert "'datacenter1': 3" in plain
