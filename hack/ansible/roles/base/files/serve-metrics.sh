#!/bin/sh
# Answer an HTTP request on standard input with the metrics of this host; a socket unit runs it for each connection.
set -eu
end=$(printf '\r')
# Without the rest of the request, closing the connection would reset it before the client has read the answer.
while IFS= read -r line && [ -n "$line" ] && [ "$line" != "$end" ]; do :; done
printf 'HTTP/1.0 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\n\r\n'
cat "${1:-/var/lib/maas/metrics/openvpn.prom}"
