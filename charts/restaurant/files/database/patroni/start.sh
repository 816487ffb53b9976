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
# A quote within a quoted string of YAML is written twice.
password=$(sed "s/'/''/g" /run/secrets/restaurant-database/replication-password)
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
