#!/bin/sh
# Completes Patroni's configuration, and starts it. Only the first pod of the set may create a database: others wait for it,
# so that a database which exists already is never left for an empty one.
set -eu
umask 077
configuration=/tmp/patroni
files=/etc/restaurant-database

# A killed server leaves its lock file with a process ID that another process has here. No server can be running: only
# this pod mounts the volume, and this is its first process.
rm -f "$PGDATA/postmaster.pid"

rm -rf "$configuration"
mkdir "$configuration"
cp "$files/patroni.yml" "$configuration/10-patroni.yml"
if [ "${PATRONI_NAME##*-}" = 0 ]; then
    cp "$files/bootstrap.yml" "$configuration/20-bootstrap.yml"
fi
# A quote within a quoted string is written twice, in YAML and in SQL.
password=$(sed "s/'/''/g" /run/secrets/restaurant-database/replication-password)

if [ -e "$PGDATA/PG_VERSION" ] && [ ! -e "$PGDATA/patroni.dynamic.json" ]; then
    # The database of a release with one server: Patroni connects as this user before it makes the server the primary.
    # The shell must not expand $$, which is a quote of PostgreSQL.
    # shellcheck disable=SC2016
    {
        echo 'DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '"'replicator'"') THEN CREATE ROLE replicator; END IF; END $$'
        echo "ALTER ROLE replicator LOGIN REPLICATION PASSWORD '$password'"
    } | postgres --single -D "$PGDATA" -c exit_on_error=on -c log_min_error_statement=panic \
        -c unix_socket_directories=/tmp postgres >/dev/null
fi

cat > "$configuration/30-secrets.yml" <<END
restapi:
  authentication: {username: patroni, password: '$password'}
postgresql:
  authentication:
    superuser: {username: postgres}
    replication: {username: replicator, password: '$password'}
    rewind: {username: rewinder, password: '$password'}
END
exec patroni "$configuration"
