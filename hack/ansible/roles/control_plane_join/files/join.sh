#!/bin/sh
# Join this host as a control plane: join-control-plane. kubeadm adds its etcd as a learner, which votes only once it has
# the data. What an interrupted run left is removed first; it was no member yet. A member whose data is lost joins again
# with its etcd alone: its node, its certificates and its pods stay.
set -eu
# A run that lost its controller may still be at work on this host.
mkdir -p /run/maas
exec 9>/run/maas/kubeadm.lock
flock 9
again=
if [ -e /var/lib/maas/initialised ]; then
    [ ! -e /var/lib/etcd/member/wal ] || exit 0
    again=yes
fi
trap 'rm -f /run/maas/join.yaml' EXIT

# The containers that the kubelet started from static pods, which would keep the ports.
stop() {
    for name in "$@"; do
        for id in $(crictl ps --quiet --name "^$name\$"); do
            crictl stop --timeout 20 "$id" >/dev/null
        done
    done
}

if [ -n "$again" ]; then
    rm -f /etc/kubernetes/manifests/etcd.yaml
    stop etcd
    rm -rf /var/lib/etcd
    # A kubelet that has not reached an API server since its start starts no static pod a second time, and that of this
    # host is not ready. The address of the API leads to another one.
    server=$(sed -n 's/^ *server: //p' /etc/kubernetes/admin.conf)
    sed -i "s#server: .*#server: $server#" /etc/kubernetes/kubelet.conf
    systemctl restart kubelet.service
    kubeadm join phase etcd-join --config /run/maas/join.yaml
    exit 0
fi
systemctl stop kubelet.service
rm -f /etc/kubernetes/*.conf /etc/kubernetes/manifests/*.yaml
stop kube-apiserver kube-controller-manager kube-scheduler etcd
rm -rf /var/lib/etcd
mkdir -p /etc/kubernetes/manifests
if ! kubeadm join --config /run/maas/join.yaml; then
    # If only the time was not enough, the API server of this host is ready by now or soon.
    [ -e /etc/kubernetes/kubelet.conf ] && [ -e /etc/kubernetes/manifests/etcd.yaml ] || exit 1
    tries=30
    until kubectl --kubeconfig /etc/kubernetes/kubelet.conf get --raw /readyz >/dev/null 2>&1; do
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || exit 1
        sleep 1
    done
    kubeadm join phase control-plane-join all --config /run/maas/join.yaml
fi
/usr/local/lib/maas/static-pods --record
touch /var/lib/maas/initialised
