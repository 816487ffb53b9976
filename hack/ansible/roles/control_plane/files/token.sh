#!/bin/sh
# Create a bootstrap token that is valid for an hour, and print the command to join with it: token SECONDS.
# Wait until the cluster information is signed with the token: kubeadm join would retry only after five seconds.
set -eu
export KUBECONFIG=/etc/kubernetes/admin.conf KUBECACHEDIR=/run/maas/kubectl
command=$(kubeadm token create --ttl 1h --print-join-command)
token=${command##*--token }
signature="{.data.jws-kubeconfig-${token%%.*}}"
tries=$(($1 * 5))
while [ -z "$(kubectl get configmap cluster-info --namespace kube-public --output "jsonpath=$signature")" ]; do
    tries=$((tries - 1))
    if [ "$tries" -le 0 ]; then
        echo "timed out after $1 s waiting for kube-controller-manager to sign the cluster information" >&2
        exit 1
    fi
    sleep 0.2
done
echo "$command"
