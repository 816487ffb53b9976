#!/bin/sh
# A plugin of netfilter-persistent, after those that replace all rules: add the rules of MaaS again.
set -eu
case ${1:-} in
    start) [ ! -x /usr/local/lib/maas/firewall ] || /usr/local/lib/maas/firewall up ;;
esac
