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

{{/*
The environment of every start of Calico's node agent: what runs before the network is there, and what stays.
*/}}
{{- define "calico.nodeEnv" -}}
- name: DATASTORE_TYPE
  value: kubernetes
- name: WAIT_FOR_DATASTORE
  value: "true"
- name: NODENAME
  valueFrom:
    fieldRef:
      fieldPath: spec.nodeName
- name: CLUSTER_TYPE
  value: k8s
# No BGP daemon: routes to other nodes' pods go through the VXLAN device alone.
- name: CALICO_NETWORKING_BACKEND
  value: vxlan
- name: IP
  value: autodetect
- name: IP_AUTODETECTION_METHOD
  value: {{ .Values.node.ipAutodetection | quote }}
# The pool is an object of the chart, see ippool.yaml.
- name: NO_DEFAULT_POOLS
  value: "true"
{{- if .Values.mtu }}
- name: FELIX_VXLANMTU
  value: {{ .Values.mtu | quote }}
{{- end }}
- name: FELIX_DEFAULTENDPOINTTOHOSTACTION
  value: ACCEPT
- name: FELIX_IPV6SUPPORT
  value: "false"
- name: FELIX_HEALTHENABLED
  value: "true"
- name: FELIX_LOGSEVERITYSCREEN
  value: {{ .Values.node.logSeverity }}
- name: CALICO_DISABLE_FILE_LOGGING
  value: "true"
# Without this every node reports to the vendor once a day.
- name: FELIX_USAGEREPORTINGENABLED
  value: "false"
{{- if .Values.node.metrics.enabled }}
- name: FELIX_PROMETHEUSMETRICSENABLED
  value: "true"
- name: FELIX_PROMETHEUSMETRICSPORT
  value: {{ .Values.node.metrics.port | quote }}
# The node's address inside the cluster and no other.
- name: FELIX_PROMETHEUSMETRICSHOST
  valueFrom:
    fieldRef:
      fieldPath: status.hostIP
{{- end }}
{{- with include "calico.apiServerEnv" . }}
{{- . | nindent 0 }}
{{- end }}
{{- end -}}
