#!/bin/sh
# Makes this host a node, once. What an interrupted join left is cleared away first.
set -eu
trap 'rm -f /run/maas/join.yaml' EXIT
if [ -e /etc/kubernetes/bootstrap-kubelet.conf ] || [ -e /etc/kubernetes/pki/ca.crt ]; then
    kubeadm reset --force >&2
fi
kubeadm join --config /run/maas/join.yaml
