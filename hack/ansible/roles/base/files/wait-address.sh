#!/bin/sh
# Waits until this host has an IPv4 address: wait-address ADDRESS [SECONDS].
# A network device may be there long before its address is, and what binds to the address needs the address.
set -eu
address=$1
tries=$((${2:-60} * 5))
while [ -z "$(ip -4 -o address show to "$address/32")" ]; do
    tries=$((tries - 1))
    if [ "$tries" -le 0 ]; then
        echo "no device has the address $address after ${2:-60} s" >&2
        exit 1
    fi
    sleep 0.2
done
