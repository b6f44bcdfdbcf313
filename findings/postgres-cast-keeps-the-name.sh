#!/usr/bin/env bash
# PostgreSQL 16.2 (PyPI pgserver 0.1.4) beside SQLite 3 (Python's own).
#
# `SELECT CAST(id AS text) FROM letters ORDER BY id`, with numbers as ids. One expects the rows in the
# order of the numbers. Seen: SQLite gives 1, 2, 10, and PostgreSQL 1, 10, 2. There the column of a
# cast has the name of the column that is cast, and ORDER BY prefers a column of the result to one of
# the table. A program that reads a table page by page like that misses rows and reads others twice.
# `ORDER BY letters.id` sorts numbers on both.
# Fails when that changes. Needs Python 3 with venv.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet pgserver==0.1.4 'psycopg[binary]==3.2.10'
cat >look.py <<'PY'
import sqlite3
import sys

import pgserver
import psycopg

WAYS = ("id", "letters.id")


def ask(run):
    run("CREATE TABLE letters (id integer PRIMARY KEY)")
    run("INSERT INTO letters VALUES (1), (2), (10)")
    rows = [run(f"SELECT CAST(id AS text) FROM letters ORDER BY {way}").fetchall() for way in WAYS]
    return [[row[0] for row in found] for found in rows]


sqlite = ask(sqlite3.connect(":memory:").execute)
server = pgserver.get_server(sys.argv[1])
with psycopg.connect(server.get_uri()) as connection:
    version = connection.execute("SHOW server_version").fetchone()[0]
    postgres = ask(connection.execute)
server.cleanup()
for name, found in (("SQLite " + sqlite3.sqlite_version, sqlite), ("PostgreSQL " + version, postgres)):
    print(name, *(f"ORDER BY {way}: {order}" for way, order in zip(WAYS, found)), sep="; ")
assert sqlite == [["1", "2", "10"], ["1", "2", "10"]], "it has changed"
assert postgres == [["1", "10", "2"], ["1", "2", "10"]], "it has changed"
PY
venv/bin/python look.py "$work/data"
