{{- /* KUBERNETES_SERVICE_HOST and _PORT, where they are not to be the ones the kubelet sets. */ -}}
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
The network configuration of each node; its installer fills in the words between double underscores. The API's address
stands here too, because the installer writes it with brackets into the kubeconfig, where Go takes them around an IPv6
address only: until the node agent has rewritten that file some seconds later, the plugin would refuse every pod.
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
