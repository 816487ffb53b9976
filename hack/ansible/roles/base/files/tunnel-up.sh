#!/bin/sh
# Give the address of a tunnel the scope `link`; OpenVPN runs it when it has set up the device. Packets that are masqueraded
# (pods that connect to a host, processes that connect to a Service) then get the address of the host, which is on the
# loopback device and valid on every tunnel, and not the address of this tunnel.
# shellcheck disable=SC2154  # OpenVPN sets these variables
set -eu
if [ -n "${ifconfig_netmask:-}" ]; then
    address="$ifconfig_local/$ifconfig_netmask"
else
    address="$ifconfig_local peer $ifconfig_remote/32"
fi
ip -4 address flush dev "$dev"
# shellcheck disable=SC2086  # several words
ip address add $address scope link dev "$dev"
