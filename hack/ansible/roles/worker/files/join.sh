#!/bin/sh
# Run kubeadm join. Files of an interrupted run would make kubeadm fail, so they are removed first.
set -eu
# A run that lost its controller may still be at work on this host.
mkdir -p /run/maas
exec 9>/run/maas/kubeadm.lock
flock 9
[ ! -e /etc/kubernetes/kubelet.conf ] || exit 0
trap 'rm -f /run/maas/join.yaml' EXIT
systemctl stop kubelet.service
rm -f /etc/kubernetes/bootstrap-kubelet.conf /etc/kubernetes/pki/ca.crt
mkdir -p /etc/kubernetes/manifests  # the kubelet logs errors if it is missing
if ! kubeadm join --config /run/maas/join.yaml; then
    # If only the time was not enough, the kubelet has its certificate by now or soon.
    systemctl --quiet is-active kubelet.service || exit 1
    tries=30
    until [ -e /etc/kubernetes/kubelet.conf ]; do
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || exit 1
        sleep 1
    done
    rm -f /etc/kubernetes/bootstrap-kubelet.conf
fi
