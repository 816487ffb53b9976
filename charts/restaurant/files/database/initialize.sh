#!/bin/sh
# Makes the database on the first start, and gives the application's user the Secret's password on every start, so
# that a changed Secret takes effect with a restart. Runs before the server, on the same volume.
set -eu
umask 077

# One SQL command a line, as the single-user server reads them; the first that fails ends it.
single_user() {
    postgres --single -D "$1" -c exit_on_error=on -c log_min_error_statement=panic postgres >/dev/null
}

role() {
    password=$(sed "s/'/''/g" /run/secrets/restaurant-database/password)
    # Not expanded by the shell: $$ is PostgreSQL's own quote.
    # shellcheck disable=SC2016
    printf 'DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '"'%s'"') THEN CREATE ROLE %s LOGIN; END IF; END $$\n' \
        "$DATABASE_USER" "$DATABASE_USER"
    printf "ALTER ROLE %s PASSWORD '%s'\n" "$DATABASE_USER" "$password"
}

if [ ! -e "$PGDATA/PG_VERSION" ]; then
    # Made beside its place and moved there when complete: a start that was cut short leaves nothing half-made.
    rm -rf "$PGDATA.new"
    initdb --pgdata="$PGDATA.new" --username=postgres --auth-local=peer --auth-host=scram-sha-256 \
        --encoding=UTF8 --locale=C.UTF-8 --data-checksums --no-instructions
    {
        role
        echo "CREATE DATABASE $DATABASE_NAME OWNER $DATABASE_USER"
    } | single_user "$PGDATA.new"
    mv "$PGDATA.new" "$PGDATA"
else
    # A server that was killed leaves its lock, which names process 1: that is this shell here, and looks alive.
    # No server can be running: the volume is this pod's, and its server starts after this script.
    rm -f "$PGDATA/postmaster.pid"
    role | single_user "$PGDATA"
fi
