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

{{- /* The network configuration of each node; its installer fills in the words between double underscores. */ -}}
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
      "kubernetes": {"kubeconfig": "__KUBECONFIG_FILEPATH__"}
    },
    {
      "type": "portmap",
      "snat": true,
      "capabilities": {"portMappings": true}
    }
  ]
}
{{- end -}}
