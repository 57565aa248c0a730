"""What a database holds, told so that two can be compared: rows, hashes, ledger, vectors.

Plain SQL on a connection of its own: the tables of all apps, as they are, whoever owns them.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import sql

SEARCHES = 20
NEAREST = 10

# What makes rows read alike wherever they are read.
_SETTINGS = """
SET TimeZone = 'UTC'; SET DateStyle = 'ISO, YMD'; SET IntervalStyle = 'postgres';
SET bytea_output = 'hex'; SET extra_float_digits = 1; SET search_path = public, pg_catalog;
SET statement_timeout = 0; SET lock_timeout = 0; SET idle_in_transaction_session_timeout = 0;
"""
_TABLES = """
SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind = 'r' AND n.nspname NOT IN ('pg_catalog', 'information_schema')
   AND n.nspname NOT LIKE 'pg\\_%'
   AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')
 ORDER BY 1, 2
"""
_VECTORS = """
SELECT n.nspname, c.relname, a.attname
  FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
  JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_type t ON t.oid = a.atttypid
 WHERE c.relkind = 'r' AND t.typname IN ('vector', 'halfvec') AND NOT a.attisdropped
   AND EXISTS (SELECT 1 FROM pg_attribute i WHERE i.attrelid = c.oid AND i.attname = 'id')
 ORDER BY 1, 2, 3
"""
# A sum does not depend on the order of rows, so nothing is sorted and nothing leaves the server.
_DIGEST = """
SELECT count(*), coalesce(sum(('x' || left(h, 16))::bit(64)::bigint::numeric), 0),
       coalesce(sum(('x' || right(h, 16))::bit(64)::bigint::numeric), 0)
  FROM (SELECT md5(t::text) AS h FROM {table} t) hashed
"""


@contextmanager
def session(parameters: dict[str, Any]) -> Iterator["psycopg.Connection[Any]"]:
    """A connection that reads everything in one unchanging snapshot."""
    plain = {
        name: value
        for name, value in parameters.items()
        if name not in {"cursor_factory", "context", "prepare_threshold", "options"}
    }
    with psycopg.connect(**plain, autocommit=True) as connection:
        connection.execute(_SETTINGS)
        connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        yield connection
        connection.execute("ROLLBACK")


def names(connection: "psycopg.Connection[Any]") -> list[str]:
    """`schema.table` of each table that is not an extension's own."""
    return [f"{schema}.{name}" for schema, name in connection.execute(_TABLES).fetchall()]


def tables(connection: "psycopg.Connection[Any]") -> dict[str, dict[str, Any]]:
    """`schema.table` → {rows, hash}."""
    found = {}
    for schema, name in connection.execute(_TABLES).fetchall():
        query = sql.SQL(_DIGEST).format(table=sql.Identifier(schema, name))
        row = connection.execute(query).fetchone()
        rows, left, right = row or (0, 0, 0)
        digest = hashlib.sha256(f"{rows}:{left}:{right}".encode()).hexdigest()
        found[f"{schema}.{name}"] = {"rows": rows, "hash": digest}
    return found


def migrations(connection: "psycopg.Connection[Any]") -> list[str]:
    rows = connection.execute("SELECT app || '.' || name FROM django_migrations ORDER BY id")
    return [str(row[0]) for row in rows.fetchall()]


def ledger_head(connection: "psycopg.Connection[Any]") -> dict[str, Any]:
    row = connection.execute(
        "SELECT seq, hash FROM guardian_event WHERE seq IS NOT NULL ORDER BY seq DESC LIMIT 1"
    ).fetchone()
    return {"seq": row[0], "hash": row[1]} if row else {"seq": 0, "hash": ""}


def embedding_models(connection: "psycopg.Connection[Any]") -> list[str]:
    """The names under which vectors are kept, of each table that has both."""
    found: set[str] = set()
    for schema, name, _ in connection.execute(_VECTORS).fetchall():
        columns = connection.execute(
            "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attname = 'model'",
            [f'"{schema}"."{name}"'],
        ).fetchall()
        if columns:
            query = sql.SQL("SELECT DISTINCT model FROM {}").format(sql.Identifier(schema, name))
            found |= {str(row[0]) for row in connection.execute(query).fetchall()}
    return sorted(found)


def searches(connection: "psycopg.Connection[Any]") -> list[dict[str, Any]]:
    """Twenty searches by rows' own vectors, spread over the table, with their ten nearest."""
    places = connection.execute(_VECTORS).fetchall()
    found = []
    for schema, name, column in places:
        query = sql.SQL(
            "SELECT id::text FROM {} WHERE {} IS NOT NULL ORDER BY md5(id::text)"
        ).format(sql.Identifier(schema, name), sql.Identifier(column))
        keys = connection.execute(query + sql.SQL(" LIMIT %s"), [SEARCHES]).fetchall()
        for (key,) in keys:
            asked = {"table": f"{schema}.{name}", "column": column, "key": key}
            found.append({**asked, "nearest": nearest(connection, **asked)})
    return found[:SEARCHES]


def nearest(
    connection: "psycopg.Connection[Any]", *, table: str, column: str, key: str
) -> list[str]:
    """The ten rows nearest to a row's vector, by an exact scan: an index may leave one out."""
    where = sql.Identifier(*table.split(".", 1))
    query = sql.SQL(
        "SELECT t.id::text FROM {table} t,"
        " (SELECT {column} AS v FROM {table} WHERE id::text = %s OFFSET 0) asked"
        " WHERE t.{column} IS NOT NULL ORDER BY (t.{column} <=> asked.v) + 0, t.id LIMIT %s"
    ).format(table=where, column=sql.Identifier(column))
    return [str(row[0]) for row in connection.execute(query, [key, NEAREST]).fetchall()]
