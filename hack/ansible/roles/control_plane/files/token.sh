#!/bin/sh
# Makes a token that is good for some minutes, and prints the command to join with it.
# A node that asks before the cluster's public information is signed with the token asks again only five seconds later
# (kubeadm's retry interval), so the signature is waited for here.
set -eu
export KUBECONFIG=/etc/kubernetes/admin.conf KUBECACHEDIR=/run/maas/kubectl
command=$(kubeadm token create --ttl 15m --print-join-command)
token=${command##*--token }
signature="{.data.jws-kubeconfig-${token%%.*}}"
tries=50
while [ -z "$(kubectl get configmap cluster-info --namespace kube-public --output "jsonpath=$signature")" ]; do
    tries=$((tries - 1))
    if [ "$tries" -le 0 ]; then
        echo "kube-controller-manager did not sign the cluster's public information with the new token" >&2
        exit 1
    fi
    sleep 0.2
done
echo "$command"
