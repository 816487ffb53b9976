#!/bin/sh
# Starts the control plane, once. A start that was interrupted left nothing worth keeping: it is cleared away first.
set -eu
if [ -e /etc/kubernetes/manifests/kube-apiserver.yaml ] || [ -e /etc/kubernetes/admin.conf ]; then
    kubeadm reset --force >&2
fi
kubeadm init --config /etc/maas/kubernetes/kubeadm.yaml
touch /var/lib/maas/initialised
