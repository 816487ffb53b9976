#!/bin/sh
# Run kubeadm join. Files of an interrupted run would make kubeadm fail, so they are removed first.
set -eu
trap 'rm -f /run/maas/join.yaml' EXIT
systemctl stop kubelet.service
rm -f /etc/kubernetes/bootstrap-kubelet.conf /etc/kubernetes/pki/ca.crt
mkdir -p /etc/kubernetes/manifests  # the kubelet logs errors if it is missing
kubeadm join --config /run/maas/join.yaml
