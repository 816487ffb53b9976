#!/bin/sh
# Makes this host a node, once. What an interrupted join left would stop the next one.
set -eu
trap 'rm -f /run/maas/join.yaml' EXIT
systemctl stop kubelet.service
rm -f /etc/kubernetes/bootstrap-kubelet.conf /etc/kubernetes/pki/ca.crt
mkdir -p /etc/kubernetes/manifests  # the kubelet minds when it is missing
kubeadm join --config /run/maas/join.yaml
