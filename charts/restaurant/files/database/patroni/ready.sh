#!/bin/sh
# Ready is a primary, and a replica that follows it. While no server of the set has a database yet, a pod without one is
# ready too: then the pod with the database of a release with one server is the next to be updated, and starts the set.
set -eu
api=http://127.0.0.1:8008
wget -q -O /dev/null "$api/readiness" && exit 0
[ ! -e "$PGDATA/PG_VERSION" ]
members=$(wget -q -O - "$api/cluster")
case $members in
    *'"role": "leader"'*) exit 1 ;;
esac
