#!/bin/sh
# Run kubeadm init once. An interrupted run is continued: kubeadm's phases reuse existing files, only its preflight
# checks reject them. Nothing is deleted, so no data can be lost.
set -eu
set --
if [ -e /etc/kubernetes/manifests/etcd.yaml ] || [ -e /var/lib/etcd/member ]; then
    set -- --skip-phases=preflight
fi
kubeadm init --config /etc/maas/kubernetes/kubeadm.yaml "$@"
touch /var/lib/maas/initialised
