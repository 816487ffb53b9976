{{- /* The Service's port: as given, else the engine's own. */ -}}
{{- define "dashboard.port" -}}
{{- .Values.service.port | default (ternary 443 80 (eq .Values.engine "kubernetes-dashboard")) -}}
{{- end -}}

{{- /* The Service of an engine. Takes (dict "context" $ "name" ... "port" the name of the port). */ -}}
{{- define "dashboard.service" -}}
{{- $service := .context.Values.service -}}
apiVersion: v1
kind: Service
metadata:
  name: {{ .name }}
  namespace: {{ include "maas.namespace" .context }}
  labels:
    {{- include "maas.labels" (dict "context" .context "name" .name) | nindent 4 }}
spec:
  type: {{ $service.type }}
  selector:
    {{- include "maas.selectorLabels" (dict "context" .context "name" .name) | nindent 4 }}
  ports:
    - name: {{ .port }}
      port: {{ include "dashboard.port" .context }}
      targetPort: {{ .port }}
      protocol: TCP
      appProtocol: {{ .port }}
      {{- with $service.nodePort }}
      nodePort: {{ . }}
      {{- end }}
{{- end -}}

{{- /* Rules of a role as a list. Roles build on each other; see roles/clusterroles.yaml. */ -}}
{{- define "dashboard.rules" -}}
viewer:
  - apiGroups: [""]
    resources:
      - configmaps
      - endpoints
      - events
      - limitranges
      - namespaces
      - nodes
      - persistentvolumeclaims
      - persistentvolumes
      - pods
      - pods/log
      - pods/status
      - podtemplates
      - replicationcontrollers
      - replicationcontrollers/scale
      - resourcequotas
      - serviceaccounts
      - services
    verbs: [get, list, watch]
  - apiGroups: [apps]
    resources: [controllerrevisions, daemonsets, deployments, deployments/scale, replicasets, replicasets/scale, statefulsets, statefulsets/scale]
    verbs: [get, list, watch]
  - apiGroups: [autoscaling]
    resources: [horizontalpodautoscalers]
    verbs: [get, list, watch]
  - apiGroups: [batch]
    resources: [cronjobs, jobs]
    verbs: [get, list, watch]
  - apiGroups: [policy]
    resources: [poddisruptionbudgets]
    verbs: [get, list, watch]
  - apiGroups: [networking.k8s.io]
    resources: [ingressclasses, ingresses, networkpolicies]
    verbs: [get, list, watch]
  - apiGroups: [gateway.networking.k8s.io]
    resources: [gatewayclasses, gateways, httproutes]
    verbs: [get, list, watch]
  - apiGroups: [discovery.k8s.io]
    resources: [endpointslices]
    verbs: [get, list, watch]
  - apiGroups: [events.k8s.io]
    resources: [events]
    verbs: [get, list, watch]
  - apiGroups: [storage.k8s.io]
    resources: [storageclasses, volumeattachments]
    verbs: [get, list, watch]
  - apiGroups: [scheduling.k8s.io]
    resources: [priorityclasses]
    verbs: [get, list, watch]
  - apiGroups: [apiextensions.k8s.io]
    resources: [customresourcedefinitions]
    verbs: [get, list, watch]
  - apiGroups: [metrics.k8s.io]
    resources: [nodes, pods]
    verbs: [get, list]
  - apiGroups: [monitoring.coreos.com]
    resources: [alertmanagers, podmonitors, probes, prometheuses, prometheusrules, scrapeconfigs, servicemonitors]
    verbs: [get, list, watch]
operator:
  # Restart, scale, run a job once more, look inside; what is deployed stays with those who deploy.
  - apiGroups: [""]
    resources: [pods]
    verbs: [delete]
  - apiGroups: [""]
    resources: [pods/eviction, pods/portforward]
    verbs: [create]
  - apiGroups: [apps]
    resources: [daemonsets, deployments, statefulsets]
    verbs: [patch]
  - apiGroups: [apps]
    resources: [deployments/scale, replicasets/scale, statefulsets/scale]
    verbs: [patch, update]
  - apiGroups: [autoscaling]
    resources: [horizontalpodautoscalers]
    verbs: [patch, update]
  - apiGroups: [batch]
    resources: [cronjobs]
    verbs: [patch]
  - apiGroups: [batch]
    resources: [jobs]
    verbs: [create, delete]
admin:
  # All of what lives in namespaces, its secrets and who may do what there; of the cluster's own, nodes can be drained.
  - apiGroups: [""]
    resources:
      - configmaps
      - endpoints
      - events
      - persistentvolumeclaims
      - pods
      - replicationcontrollers
      - secrets
      - serviceaccounts
      - services
    verbs: [create, delete, deletecollection, get, list, patch, update, watch]
  - apiGroups: [""]
    resources: [pods/attach, pods/exec, pods/portforward, services/proxy, pods/proxy]
    verbs: [create, get]
  - apiGroups: [""]
    resources: [serviceaccounts/token]
    verbs: [create]
  - apiGroups: [""]
    resources: [nodes]
    verbs: [patch]
  - apiGroups: [apps]
    resources: [daemonsets, deployments, replicasets, statefulsets]
    verbs: [create, delete, deletecollection, patch, update]
  - apiGroups: [autoscaling]
    resources: [horizontalpodautoscalers]
    verbs: [create, delete, deletecollection]
  - apiGroups: [batch]
    resources: [cronjobs, jobs]
    verbs: [create, delete, deletecollection, patch, update]
  - apiGroups: [policy]
    resources: [poddisruptionbudgets]
    verbs: [create, delete, deletecollection, patch, update]
  - apiGroups: [networking.k8s.io]
    resources: [ingresses, networkpolicies]
    verbs: [create, delete, deletecollection, patch, update]
  - apiGroups: [gateway.networking.k8s.io]
    resources: [httproutes]
    verbs: [create, delete, deletecollection, patch, update]
  - apiGroups: [monitoring.coreos.com]
    resources: [podmonitors, probes, prometheusrules, scrapeconfigs, servicemonitors]
    verbs: [create, delete, deletecollection, patch, update]
  - apiGroups: [rbac.authorization.k8s.io]
    resources: [rolebindings, roles]
    verbs: [create, delete, deletecollection, get, list, patch, update, watch]
{{- end -}}
