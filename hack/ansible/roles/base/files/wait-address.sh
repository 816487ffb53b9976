#!/bin/sh
# Wait until this host has an IPv4 address: wait-address ADDRESS [SECONDS].
# A network device can exist long before it has its address, which programs need to listen on it.
set -eu
address=$1
tries=$((${2:-60} * 5))
while [ -z "$(ip -4 -o address show to "$address/32")" ]; do
    tries=$((tries - 1))
    if [ "$tries" -le 0 ]; then
        echo "timed out after ${2:-60} s waiting for the address $address" >&2
        exit 1
    fi
    sleep 0.2
done
