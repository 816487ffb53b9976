{{- /* KUBERNETES_SERVICE_HOST and _PORT, where the ones that the kubelet sets cannot be used. */ -}}
{{- define "calico.apiServerEnv" -}}
{{- with .Values.apiServer -}}
{{- if .host -}}
- name: KUBERNETES_SERVICE_HOST
  value: {{ .host | quote }}
- name: KUBERNETES_SERVICE_PORT
  value: {{ .port | quote }}
{{- end -}}
{{- end -}}
{{- end -}}

{{- /*
The CNI configuration of each node. The installer replaces the words between double underscores. The API server's address
is part of it, because the installer writes that address in brackets to the kubeconfig, and Go accepts brackets only around
an IPv6 address: the plugin would refuse every pod until the node agent rewrites the file some seconds later.
*/ -}}
{{- define "calico.networkConfig" -}}
{
  "name": "k8s-pod-network",
  "cniVersion": "0.3.1",
  "plugins": [
    {
      "type": "calico",
      "datastore_type": "kubernetes",
      "nodename": "__KUBERNETES_NODE_NAME__",
      "mtu": {{ .Values.mtu }},
      "log_level": {{ .Values.cni.logSeverity | quote }},
      "log_file_path": "/var/log/calico/cni/cni.log",
      "ipam": {"type": "calico-ipam"},
      "policy": {"type": "k8s"},
      "kubernetes": {
        "k8s_api_root": "https://__KUBERNETES_SERVICE_HOST__:__KUBERNETES_SERVICE_PORT__",
        "kubeconfig": "__KUBECONFIG_FILEPATH__"
      }
    },
    {
      "type": "portmap",
      "snat": true,
      "capabilities": {"portMappings": true}
    }
  ]
}
{{- end -}}

{{- /*
Shell commands that install the prepared CNI configuration on the host, each file at once, and the credentials before the
configuration that makes the node Ready. calico-node renews the credentials, so newer files stay. Two of these can run at
the same time.
*/ -}}
{{- define "calico.installConfiguration" -}}
cd /host/etc/cni/net.d
for file in calico-kubeconfig 10-calico.conflist; do
  [ ! "$file" -nt "/prepared/$file" ] || continue
  cp "/prepared/$file" "$file.$$"
  mv "$file.$$" "$file"
done
{{- end -}}
