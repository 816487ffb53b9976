#!/bin/sh
# Creates the database on the first start, and sets the password of the application's user from the Secret on every
# start, so that a changed Secret takes effect with a restart. Runs before the server, on the same volume.
set -eu
umask 077

# Reads one SQL command per line and stops at the first error.
single_user() {
    postgres --single -D "$1" -c exit_on_error=on -c log_min_error_statement=panic postgres >/dev/null
}

role() {
    password=$(sed "s/'/''/g" /run/secrets/restaurant-database/password)
    # The shell must not expand $$, which is a quote of PostgreSQL.
    # shellcheck disable=SC2016
    printf 'DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '"'%s'"') THEN CREATE ROLE %s LOGIN; END IF; END $$\n' \
        "$DATABASE_USER" "$DATABASE_USER"
    printf "ALTER ROLE %s PASSWORD '%s'\n" "$DATABASE_USER" "$password"
}

if [ -e "$PGDATA/patroni.dynamic.json" ]; then
    echo "This volume belongs to a database with 3 replicas. Another server may have newer data, so it cannot be run alone." >&2
    echo "Set database.postgresql.replicas to 3 again." >&2
    exit 1
fi
if [ ! -e "$PGDATA/PG_VERSION" ]; then
    # Created in a temporary directory and renamed when complete, so that an interrupted start can be repeated.
    rm -rf "$PGDATA.new"
    initdb --pgdata="$PGDATA.new" --username=postgres --auth-local=peer --auth-host=scram-sha-256 \
        --encoding=UTF8 --locale=C.UTF-8 --data-checksums --no-instructions
    {
        role
        echo "CREATE DATABASE $DATABASE_NAME OWNER $DATABASE_USER"
    } | single_user "$PGDATA.new"
    mv "$PGDATA.new" "$PGDATA"
else
    # A killed server leaves its lock file with process ID 1, which is this shell here: the server would seem to run.
    # No server can be running: only this pod mounts the volume, and its server starts after this script.
    rm -f "$PGDATA/postmaster.pid"
    role | single_user "$PGDATA"
fi
