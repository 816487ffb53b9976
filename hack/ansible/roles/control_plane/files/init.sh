#!/bin/sh
# Starts the control plane, once. A start that was interrupted goes on: kubeadm's phases take what is there, and only
# its preflight minds that something is. Nothing is cleared away, so no data can be lost here.
set -eu
set --
if [ -e /etc/kubernetes/manifests/etcd.yaml ] || [ -e /var/lib/etcd/member ]; then
    set -- --skip-phases=preflight
fi
kubeadm init --config /etc/maas/kubernetes/kubeadm.yaml "$@"
touch /var/lib/maas/initialised
