{{- /*
Who may connect to whom: the one table from which every NetworkPolicy of the release and docs/policies.md are made.

The same file lies in the umbrella and in each subchart; the umbrella's is the original and `maas generate` copies it.
A flow between two components of one chart is allowed by that chart, at both ends. A flow between two charts is allowed
by the umbrella, which alone knows both namespaces.

components
  chart      the chart that they are part of
  values     the path where their networkPolicy stands in the chart's values, "." for the chart itself; without it the pods have
             no policy (they use their node's network, where policies do not reach, or run once in a test)
  instance   their label app.kubernetes.io/instance, where it is not the release's name
  namespace  `release` where they are in the release's own and not in the chart's
  why        for those without a policy
flows
  from, to   a component, or one of
               anyone      whatever can reach the pod network: users, Ingress controllers, the API server's calls
               anywhere    every address, where the user's configuration decides
               dns         the cluster's name service
               api-server  the Kubernetes API
               nodes       the nodes' own addresses
  port       a container's port by name, or a number; none is every port. `value: PATH` takes it from the chart's values
  when       only where the chart's value at `path` is `is`; `not empty` is any but the empty one
  why        what it is for
*/ -}}
{{- define "maas.flows" -}}
components:
  calico-kube-controllers: {chart: calico, values: kubeControllers}
  headlamp: {chart: dashboard, values: headlamp}
  kubernetes-dashboard: {chart: dashboard, values: kubernetesDashboard}
  dashboard-test: {chart: dashboard, namespace: release, why: The release's own test runs once.}
  metrics-server: {chart: kube-prometheus, values: metricsServer}
  prometheus-operator: {chart: kube-prometheus, values: prometheusOperator}
  prometheus: {chart: kube-prometheus, values: prometheus}
  alertmanager: {chart: kube-prometheus, values: alertmanager}
  grafana: {chart: kube-prometheus, values: grafana}
  kube-state-metrics: {chart: kube-prometheus, values: kubeStateMetrics}
  keda-operator: {chart: kube-prometheus, values: keda.operator}
  keda-metrics-apiserver: {chart: kube-prometheus, values: keda.metricsApiServer}
  node-exporter: {chart: kube-prometheus, why: It uses its node's network.}
  restaurant: {chart: restaurant, values: "."}
  restaurant-seed: {chart: restaurant, values: "."}
  restaurant-database: {chart: restaurant, values: "."}
  restaurant-database-metrics: {chart: restaurant, values: "."}
  restaurant-test: {chart: restaurant, namespace: release, why: The release's own test runs once.}
flows:
  - {from: calico-kube-controllers, to: api-server, why: Reads nodes and frees their addresses.}

  - {from: anyone, to: headlamp, port: http, why: People with a browser.}
  - {from: dashboard-test, to: headlamp, port: http, why: Looks whether the page is served.}
  - {from: headlamp, to: api-server, why: Everything that it shows.}
  - {from: headlamp, to: dns, why: Finds the identity provider.}
  - {from: headlamp, to: anywhere, port: 443, when: {path: headlamp.oidc.existingSecret, is: not empty}, why: The identity provider.}
  - {from: anyone, to: kubernetes-dashboard, port: https, why: People with a browser.}
  - {from: dashboard-test, to: kubernetes-dashboard, port: https, why: Looks whether the page is served.}
  - {from: kubernetes-dashboard, to: api-server, why: Everything that it shows.}

  - {from: anyone, to: metrics-server, port: https, why: The API server asks for metrics.}
  - {from: metrics-server, to: api-server, why: Lists nodes and checks who asks.}
  - {from: metrics-server, to: nodes, port: 10250, why: Asks the kubelets.}
  - {from: metrics-server, to: dns, why: Resolves nodes that are known by name.}

  - {from: prometheus-operator, to: api-server, why: Watches the custom resources and makes what they ask for.}
  - {from: prometheus, to: prometheus-operator, port: http, why: Collects its metrics.}
  - {from: prometheus, to: anywhere, why: Collects from whatever a monitor of any namespace names, and writes to other stores.}
  - {from: anyone, to: prometheus, port: web, why: People, through an Ingress or the API server.}
  - {from: prometheus, to: prometheus, port: web, why: Collects its own metrics.}
  - {from: prometheus, to: prometheus, port: reloader-web, why: Collects the metrics of its config-reloader.}
  - {from: grafana, to: prometheus, port: web, why: Queries of the dashboards.}
  - {from: anyone, to: alertmanager, port: web, why: People, through an Ingress or the API server.}
  - {from: prometheus, to: alertmanager, port: web, why: Alerts, and its metrics.}
  - {from: prometheus, to: alertmanager, port: reloader-web, why: Collects the metrics of its config-reloader.}
  - {from: alertmanager, to: alertmanager, port: mesh-tcp, why: The pods agree on who tells people.}
  - {from: alertmanager, to: alertmanager, port: mesh-udp, protocol: UDP, why: The pods agree on who tells people.}
  - {from: alertmanager, to: anywhere, why: Receivers are where the configuration says.}
  - {from: anyone, to: grafana, port: http, why: People.}
  - {from: prometheus, to: grafana, port: http, why: Collects its metrics.}
  - {from: grafana, to: alertmanager, port: web, why: Shows alerts and silences.}
  - {from: grafana, to: dns, why: Finds Prometheus and Alertmanager.}
  - {from: grafana, to: anywhere, port: 443, when: {path: grafana.oidc.enabled, is: "true"}, why: The provider that people log in through.}
  - {from: kube-state-metrics, to: api-server, why: Watches the objects it tells about.}
  - {from: prometheus, to: kube-state-metrics, port: http, why: Collects what it tells about objects.}
  - {from: prometheus, to: kube-state-metrics, port: telemetry, why: Collects its own metrics.}
  - {from: prometheus, to: metrics-server, port: https, why: Collects its metrics.}
  - {from: keda-operator, to: api-server, why: Makes autoscalers out of ScaledObjects.}
  - {from: keda-operator, to: dns, why: Finds Prometheus.}
  - {from: keda-operator, to: prometheus, port: web, why: Queries of the ScaledObjects.}
  - {from: anyone, to: keda-metrics-apiserver, port: https, why: The API server asks for metrics.}
  - {from: keda-metrics-apiserver, to: api-server, why: Checks who asks.}
  - {from: keda-metrics-apiserver, to: dns, why: Finds keda-operator.}
  - {from: keda-metrics-apiserver, to: keda-operator, port: metrics-service, why: Takes the metrics that are asked for.}
  - {from: prometheus, to: keda-operator, port: http, why: Collects its metrics.}
  - {from: prometheus, to: keda-metrics-apiserver, port: http, why: Collects its metrics.}
  - {from: prometheus, to: calico-kube-controllers, port: metrics, why: Collects its metrics.}
  - {from: prometheus, to: restaurant, port: probes, why: Collects its metrics.}
  - {from: prometheus, to: restaurant-database-metrics, port: metrics, why: Collects the database's metrics.}

  - {from: anyone, to: restaurant, port: http, why: Guests and staff.}
  - {from: restaurant-test, to: restaurant, port: http, why: Places an order and reads it back.}
  - {from: restaurant, to: dns, why: Finds its database.}
  - {from: restaurant, to: restaurant-database, port: postgresql, when: {path: database.type, is: postgresql}, why: Orders.}
  - {from: restaurant, to: anywhere, port: {value: database.external.port}, when: {path: database.type, is: external}, why: A database elsewhere.}
  - {from: restaurant-database-metrics, to: dns, why: Finds the database.}
  - {from: restaurant-database-metrics, to: restaurant-database, port: postgresql, when: {path: database.type, is: postgresql}, why: Asks it how it is.}
  - {from: restaurant-seed, to: dns, why: Finds the database.}
  - {from: restaurant-seed, to: restaurant-database, port: postgresql, when: {path: database.type, is: postgresql}, why: Fills an empty menu.}
  - {from: restaurant-seed, to: anywhere, port: {value: database.external.port}, when: {path: database.type, is: external}, why: A database elsewhere.}
{{- end -}}

{{- /* The selector of a component's pods. Takes (dict "context" $ "name" ... "flows" the table). */ -}}
{{- define "maas.flowSelector" -}}
podSelector:
  matchLabels:
    app.kubernetes.io/name: {{ .name }}
    app.kubernetes.io/instance: {{ (get .flows.components .name).instance | default .context.Release.Name }}
{{- end -}}

{{- /*
One end of a flow as the peers of a rule, a YAML list; empty for every address.
Takes (dict "context" $ "name" the peer "flows" the table "namespace" where it is, empty for the policy's own).
*/ -}}
{{- define "maas.flowPeers" -}}
{{- $component := get .flows.components .name -}}
{{- if $component -}}
{{- $namespace := ternary .context.Release.Namespace .namespace (eq ($component.namespace | default "") "release") -}}
- {{ include "maas.flowSelector" . | nindent 2 | trim }}
  {{- with $namespace }}
  namespaceSelector:
    matchLabels:
      kubernetes.io/metadata.name: {{ . }}
  {{- end }}
{{- else if eq .name "api-server" -}}
{{- range .context.Values.global.apiServer.addresses -}}
- {ipBlock: {cidr: {{ . }}}}
{{ end -}}
{{- end -}}
{{- end -}}

{{- /* The ports of a flow, a YAML list; empty for every port. Takes (dict "context" "values" the chart's "flow" "peer"). */ -}}
{{- define "maas.flowPorts" -}}
{{- $port := .flow.port -}}
{{- if kindIs "map" $port -}}
{{- $port = include "maas.flowValue" (dict "values" .values "path" $port.value) -}}
{{- end -}}
{{- if eq .peer "dns" -}}
- {port: 53, protocol: UDP}
- {port: 53, protocol: TCP}
{{- else if eq .peer "api-server" -}}
{{- range .context.Values.global.apiServer.ports -}}
- {port: {{ . }}, protocol: TCP}
{{ end -}}
{{- else if $port -}}
- {port: {{ $port }}, protocol: {{ .flow.protocol | default "TCP" }}}
{{- end -}}
{{- end -}}

{{- /* A value by its path. Takes (dict "values" ... "path" "a.b"). */ -}}
{{- define "maas.flowValue" -}}
{{- $found := .values -}}
{{- range splitList "." .path -}}
{{- $found = get $found . -}}
{{- end -}}
{{- $found -}}
{{- end -}}

{{- /* Whether a flow is wanted with a chart's values: "true" or nothing. Takes (dict "flow" ... "values" the chart's). */ -}}
{{- define "maas.flowWanted" -}}
{{- if .flow.when -}}
{{- $value := include "maas.flowValue" (dict "values" .values "path" .flow.when.path) -}}
{{- if or (eq $value (toString .flow.when.is)) (and $value (eq .flow.when.is "not empty")) -}}true{{- end -}}
{{- else -}}
true
{{- end -}}
{{- end -}}

{{- /*
A component's NetworkPolicy from the table, with what the user adds.
Takes (dict "context" $ "name" the component "values" the component's) and optionally
  "objectName"   the policy's name, where it is not the component's
  "anyone"       peers in the place of anyone
*/ -}}
{{- define "maas.networkPolicy" -}}
{{- if .values.networkPolicy.enabled -}}
{{- $flows := include "maas.flows" .context | fromYaml -}}
{{- $chart := .context.Chart.Name -}}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: {{ .objectName | default .name }}
  namespace: {{ include "maas.namespace" .context }}
  labels:
    {{- include "maas.labels" (dict "context" .context "name" .name) | nindent 4 }}
spec:
  {{- include "maas.flowSelector" (dict "context" .context "name" .name "flows" $flows) | nindent 2 }}
  policyTypes: [Ingress, Egress]
  {{- $ingress := list -}}
  {{- $egress := list -}}
  {{- range $flow := $flows.flows -}}
  {{- range $side := list "from" "to" -}}
    {{- $peer := get $flow $side -}}
    {{- $known := get $flows.components $peer | default dict -}}
    {{- if and (eq $.name (get $flow (ternary "to" "from" (eq $side "from")))) (eq $chart ($known.chart | default $chart)) -}}
    {{- if include "maas.flowWanted" (dict "flow" $flow "values" $.context.Values) -}}
      {{- $peers := include "maas.flowPeers" (dict "context" $.context "name" $peer "flows" $flows "namespace" "") | fromYamlArray -}}
      {{- if eq $peer "anyone" -}}{{- $peers = $.anyone | default list -}}{{- end -}}
      {{- $rule := include "maas.flowRule" (dict "context" $.context "values" $.context.Values "flow" $flow "peer" $peer "peers" $peers "side" $side) | fromYaml -}}
      {{- if eq $side "from" -}}{{- $ingress = append $ingress $rule -}}{{- else -}}{{- $egress = append $egress $rule -}}{{- end -}}
    {{- end -}}
    {{- end -}}
  {{- end -}}
  {{- end -}}
  {{- with concat $ingress .values.networkPolicy.ingress }}
  ingress:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with concat $egress .values.networkPolicy.egress }}
  egress:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}
{{- end -}}

{{- /* One rule of a policy. Takes (dict "context" "values" "flow" "peer" "peers" list "side" from or to). */ -}}
{{- define "maas.flowRule" -}}
{{- $rule := dict -}}
{{- with include "maas.flowPorts" . | fromYamlArray -}}{{- $_ := set $rule "ports" . -}}{{- end -}}
{{- with .peers -}}{{- $_ := set $rule $.side . -}}{{- end -}}
{{- toYaml $rule -}}
{{- end -}}
