#!/bin/sh
# Run kubeadm init once. An interrupted run is continued: kubeadm's phases reuse existing files, only its preflight
# checks reject them. Nothing is deleted, so no data can be lost.
set -eu
# A run that lost its controller may still be at work on this host.
mkdir -p /run/maas
exec 9>/run/maas/kubeadm.lock
flock 9
[ ! -e /var/lib/maas/initialised ] || exit 0
set --
if [ -e /etc/kubernetes/manifests/etcd.yaml ] || [ -e /var/lib/etcd/member ]; then
    set -- --skip-phases=preflight
fi
if ! kubeadm init --config /etc/maas/kubernetes/kubeadm.yaml "$@"; then
    # If only the time was not enough, the API answers by now or soon, and a second run continues from there.
    [ -e /etc/kubernetes/admin.conf ] && [ -e /etc/kubernetes/manifests/kube-apiserver.yaml ] || exit 1
    tries=30
    until kubectl --kubeconfig /etc/kubernetes/admin.conf get --raw /readyz >/dev/null 2>&1; do
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || exit 1
        sleep 1
    done
    kubeadm init --config /etc/maas/kubernetes/kubeadm.yaml --skip-phases=preflight
fi
/usr/local/lib/maas/static-pods --record
touch /var/lib/maas/initialised
