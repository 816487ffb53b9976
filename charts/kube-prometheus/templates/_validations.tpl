{{- /* Fails for what the schema cannot check. Each message names the value to set. */ -}}
{{- define "kube-prometheus.validate" -}}
{{- include "kube-prometheus.validateVersions" . -}}
{{- include "kube-prometheus.validateKeda" . -}}
{{- include "kube-prometheus.validateOperator" . -}}
{{- include "kube-prometheus.validateReceivers" . -}}
{{- include "kube-prometheus.validateLogin" . -}}
{{- include "kube-prometheus.validateCertificates" . -}}
{{- include "kube-prometheus.validateStorage" . -}}
{{- include "kube-prometheus.validateViewer" . -}}
{{- include "kube-prometheus.validateProbes" . -}}
{{- include "kube-prometheus.validateSnmp" . -}}
{{- include "kube-prometheus.validateScrapeTargets" . -}}
{{- include "kube-prometheus.validateSlos" . -}}
{{- include "kube-prometheus.validateTeams" . -}}
{{- range $name := list "prometheus" "alertmanager" "grafana" "perses" -}}
{{- with get $.Values $name -}}
{{- if ternary .enabled (eq $.Values.dashboards.engine $name) (hasKey . "enabled") -}}
{{- include "maas.exposure.validate" (dict "context" $ "values" . "path" (printf "%s." $name) "name" $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- /*
Fails for a Secret that does not exist, or that lacks a key: the pod that mounts it would wait forever.
Takes (dict "context" $ "secret" its name "key" the key "path" path of the value "what" what needs it), and optionally
"namespace".
*/ -}}
{{- define "kube-prometheus.validateSecret" -}}
{{- $path := include "maas.value.path" (dict "context" .context "path" .path) -}}
{{- $namespace := .namespace | default (include "maas.namespace" .context) -}}
{{- $name := .secret | default "NAME" -}}
{{- $create := printf "    kubectl -n %s create secret generic %s --from-file=%s=FILE" $namespace $name .key -}}
{{- if not .secret -}}
{{- include "maas.fail" (list
  (printf "%s needs a Secret, because its credentials do not belong in values." .what)
  (printf "Create one and set %s to its name:" $path)
  ""
  $create
) -}}
{{- end -}}
{{- if include "maas.cluster.reachable" . -}}
  {{- $current := lookup "v1" "Secret" $namespace .secret -}}
  {{- if and (not $current) (not (lookup "v1" "Namespace" "" $namespace)) -}}
  {{- include "maas.fail" (list
    (printf "%s needs the Secret %s in the namespace %s, which only the first installation creates (%s)." .what .secret $namespace $path)
    "Install without it, create the Secret, and upgrade with it:"
    ""
    $create
  ) -}}
  {{- end -}}
  {{- if not $current -}}
  {{- include "maas.fail" (list
    (printf "%s needs the Secret %s, which does not exist in the namespace %s (%s)." .what .secret $namespace $path)
    "Create it first:"
    ""
    $create
  ) -}}
  {{- end -}}
  {{- if not (hasKey ($current.data | default dict) .key) -}}
  {{- $keys := keys ($current.data | default dict) | sortAlpha | join ", " | default "none" -}}
  {{- include "maas.fail" (list
    (printf "%s needs the key %s in the Secret %s (%s)." .what .key .secret $path)
    (printf "The Secret has these keys: %s." $keys)
  ) -}}
  {{- end -}}
{{- end -}}
{{- end -}}

{{- /*
Fails for a second prometheus-operator: an operator reconciles the objects of every namespace, so the two would undo each
other's changes. Also fails for CRDs that are older than the operator: the API server would drop fields silently.
*/ -}}
{{- define "kube-prometheus.validateOperator" -}}
{{- $root := . -}}
{{- $path := include "maas.value.path" (dict "context" . "path" "prometheusOperator.enabled") -}}
{{- if .Values.prometheusOperator.enabled -}}
{{- range (lookup "apps/v1" "Deployment" "" "").items -}}
  {{- $name := get (.metadata.labels | default dict) "app.kubernetes.io/name" -}}
  {{- if and (hasSuffix "prometheus-operator" $name) (not (include "maas.ownedByRelease" (dict "context" $root "object" .))) -}}
  {{- include "maas.fail" (list
    (printf "The cluster already has a prometheus-operator, %s/%s, which watches all namespaces." .metadata.namespace .metadata.name)
    "To keep it, set:"
    ""
    (printf "    %s: false" $path)
    ""
    "It then also manages the Prometheus of this chart."
  ) -}}
  {{- end -}}
{{- end -}}
{{- $own := include "kube-prometheus.version" .Values.prometheusOperator | trimPrefix "v" -}}
{{- $crd := lookup "apiextensions.k8s.io/v1" "CustomResourceDefinition" "" "prometheuses.monitoring.coreos.com" -}}
{{- $version := get (dig "metadata" "annotations" dict $crd) "operator.prometheus.io/version" -}}
{{- if and $version (semverCompare (printf ">%s" $version) $own) -}}
  {{- $owner := dig "metadata" "managedFields" list $crd | first | default dict -}}
  {{- include "maas.fail" (list
    (printf "The Prometheus Operator CRDs in this cluster are version %s (managed by %s)," $version ($owner.manager | default "an unknown client"))
    (printf "but this chart ships operator %s. Helm does not upgrade CRDs; apply the newer ones first:" $own)
    ""
    "    helm show crds CHART | kubectl apply --server-side --force-conflicts -f -"
    ""
    "or leave them to their owner and set:"
    ""
    (printf "    %s: false" $path)
  ) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- /*
Fails for a second provider of external metrics, because a cluster can have only one. Also fails when KEDA would be removed
before its ScaledObjects: only KEDA removes their finalizer, so they could never be deleted.
*/ -}}
{{- define "kube-prometheus.validateKeda" -}}
{{- $path := include "maas.value.path" (dict "context" . "path" "keda.enabled") -}}
{{- if .Values.keda.enabled -}}
  {{- $current := lookup "apiregistration.k8s.io/v1" "APIService" "" "v1beta1.external.metrics.k8s.io" -}}
  {{- if and $current (not (include "maas.ownedByRelease" (dict "context" . "object" $current))) -}}
  {{- include "maas.fail" (list
    (printf "%s already serves the external metrics API, but %s is true." (include "maas.apiService.backend" $current) $path)
    "A cluster can have only one provider. To keep it, set:"
    ""
    (printf "    %s: false" $path)
    ""
    "If it is KEDA, it also serves the ScaledObjects of this release."
  ) -}}
  {{- end -}}
{{- else if .Capabilities.APIVersions.Has "keda.sh/v1alpha1/ScaledObject" -}}
  {{- $own := lookup "apps/v1" "Deployment" (include "maas.namespace" .) "keda-operator" -}}
  {{- $held := list -}}
  {{- if and $own (include "maas.ownedByRelease" (dict "context" . "object" $own)) -}}
  {{- range (lookup "keda.sh/v1alpha1" "ScaledObject" "" "").items -}}
    {{- $held = append $held (printf "    kubectl -n %s delete scaledobject %s" .metadata.namespace .metadata.name) -}}
  {{- end -}}
  {{- end -}}
  {{- if $held -}}
  {{- include "maas.fail" (list
    (printf "%s is false, but the cluster still has ScaledObjects." $path)
    "Only KEDA removes their finalizer, so without it they could never be deleted. Delete them first"
    (printf "(the restaurant's with an upgrade that sets %srestaurant.autoscaling.saturation.enabled: false):" (include "maas.value.prefix" . | trimSuffix "kube-prometheus."))
    ""
    (join "\n" $held)
    ""
    "or set:"
    ""
    (printf "    %s: true" $path)
  ) -}}
  {{- end -}}
{{- end -}}
{{- end -}}

{{- /* Fails for a tag that does not tell the version of the program, where the version is needed. */ -}}
{{- define "kube-prometheus.validateVersions" -}}
{{- range $name := list "prometheusOperator" "prometheus" "alertmanager" -}}
{{- with get $.Values $name -}}
{{- if and .enabled (not (include "kube-prometheus.version" .)) -}}
{{- $path := include "maas.value.path" (dict "context" $ "path" $name) -}}
{{- include "maas.fail" (list
  (printf "The tag of %s.image is %q, which is not a version such as v1.2.3." $path .image.tag)
  "What the chart configures depends on the version of the program in the image. Set:"
  ""
  (printf "    %s.version: VERSION" $path)
) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "kube-prometheus.validateReceivers" -}}
{{- $root := . -}}
{{- $prefix := include "maas.value.prefix" . -}}
{{- with .Values.alertmanager -}}
{{- if .enabled -}}
  {{- if and .existingSecret (or .receivers .deadMansSwitch.existingSecret) -}}
  {{- include "maas.fail" (list
    (printf "%salertmanager.existingSecret is the whole configuration of Alertmanager," $prefix)
    "so receivers and deadMansSwitch have no effect beside it. Keep one of them:"
    ""
    (printf "    %salertmanager.existingSecret: \"\"" $prefix)
    (printf "    %salertmanager.receivers: []" $prefix)
  ) -}}
  {{- end -}}
  {{- $types := include "kube-prometheus.receiverTypes" . | fromYaml -}}
  {{- $seen := list "nobody" "dead-mans-switch" -}}
  {{- range $index, $receiver := .receivers -}}
    {{- $secret := dict "context" $root "secret" (.existingSecret | default "") "key" (.key | default (get $types .type).key) -}}
    {{- $_ := set $secret "path" (printf "alertmanager.receivers[%d].existingSecret" $index) -}}
    {{- include "kube-prometheus.validateSecret" (set $secret "what" (printf "The receiver %s" .name)) -}}
    {{- if has .name $seen -}}
    {{- include "maas.fail" (list
      (printf "The name of the receiver %s is already used (%salertmanager.receivers)." .name $prefix)
      "Give it another name."
    ) -}}
    {{- end -}}
    {{- $seen = append $seen .name -}}
  {{- end -}}
  {{- with .deadMansSwitch -}}
  {{- if .existingSecret -}}
    {{- $secret := dict "context" $root "secret" .existingSecret "key" .key "what" "The dead man's switch" -}}
    {{- include "kube-prometheus.validateSecret" (set $secret "path" "alertmanager.deadMansSwitch.existingSecret") -}}
  {{- end -}}
  {{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "kube-prometheus.validateLogin" -}}
{{- $prefix := include "maas.value.prefix" . -}}
{{- with .Values.grafana -}}
{{- if and (eq $.Values.dashboards.engine "grafana") .oidc.enabled -}}
  {{- range $key := list "clientId" "existingSecret" "authUrl" "tokenUrl" -}}
    {{- if not (get $.Values.grafana.oidc $key) -}}
    {{- include "maas.fail" (list
      (printf "Grafana's login with OpenID Connect needs %sgrafana.oidc.%s." $prefix $key)
      "Set it, or disable the login:"
      ""
      (printf "    %sgrafana.oidc.enabled: false" $prefix)
    ) -}}
    {{- end -}}
  {{- end -}}
  {{- if not (or .externalUrl .ingress.hosts) -}}
  {{- include "maas.fail" (list
    "The identity provider redirects users back to Grafana, whose URL is unknown."
    "Set:"
    ""
    (printf "    %sgrafana.externalUrl: https://grafana.example.org/" $prefix)
  ) -}}
  {{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "kube-prometheus.validateCertificates" -}}
{{- $titles := dict "prometheus" "Prometheus" "alertmanager" "Alertmanager" "nodeExporter" "node-exporter" "kubeStateMetrics" "kube-state-metrics" -}}
{{- range $name, $title := $titles -}}
  {{- $component := get $.Values $name -}}
  {{- $namespace := ternary (include "kube-prometheus.nodeExporterNamespace" $) (include "maas.namespace" $) (eq $name "nodeExporter") -}}
  {{- if and $component.enabled $component.tls.existingSecret -}}
    {{- range $key := list "tls.crt" "tls.key" "ca.crt" -}}
    {{- $secret := dict "context" $ "secret" $component.tls.existingSecret "key" $key "namespace" $namespace "what" $title -}}
    {{- include "kube-prometheus.validateSecret" (set $secret "path" (printf "%s.tls.existingSecret" $name)) -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- end -}}

{{- define "kube-prometheus.validateStorage" -}}
{{- $volumes := list -}}
{{- range $name := list "prometheus" "alertmanager" -}}
  {{- with get $.Values $name -}}
  {{- if and .enabled .storage.enabled -}}
  {{- $set := printf "%s-%s" $name (include "kube-prometheus.name" $) -}}
  {{- $claims := list -}}
  {{- range until (int .replicas) -}}{{- $claims = append $claims (printf "%s-db-%s-%d" $set $set .) -}}{{- end -}}
  {{- $volume := dict "storage" .storage "path" (printf "%s.storage" $name) "of" $name -}}
  {{- $volumes = append $volumes (merge $volume (dict "statefulSet" $set "claims" $claims "operator" true)) -}}
  {{- end -}}
  {{- end -}}
{{- end -}}
{{- with .Values.grafana -}}
{{- if and (eq $.Values.dashboards.engine "grafana") .storage.enabled -}}
{{- $volumes = append $volumes (dict "storage" .storage "path" "grafana.storage" "of" "grafana" "claim" "grafana") -}}
{{- end -}}
{{- end -}}
{{- include "maas.storage.validate" (dict "context" . "volumes" $volumes) -}}
{{- end -}}

{{- define "kube-prometheus.validateViewer" -}}
{{- $prefix := include "maas.value.prefix" . -}}
{{- if and (eq .Values.dashboards.engine "perses") (not .Values.prometheus.enabled) -}}
{{- include "maas.fail" (list
  "The viewer of the dashboards shows the Prometheus of this release, which is disabled."
  "Set one of:"
  ""
  (printf "    %sprometheus.enabled: true" $prefix)
  (printf "    %sdashboards.engine: none" $prefix)
) -}}
{{- end -}}
{{- end -}}

{{- /* Fails for a target that does not fit the type of its probe, and for what a probe of this type does not have. */ -}}
{{- define "kube-prometheus.validateProbes" -}}
{{- $prefix := include "maas.value.prefix" . -}}
{{- $forms := dict
  "http" (dict "pattern" "^https?://[^/]+" "what" "a URL such as https://shop.example.org/")
  "tcp" (dict "pattern" "^([^:/]+|\\[[0-9a-fA-F:.]+\\]):[0-9]+$" "what" "a host and port such as mail.example.org:25")
  "dns" (dict "pattern" "^([^:/]+|\\[[0-9a-fA-F:.]+\\])(:[0-9]+)?$" "what" "a name server such as 192.0.2.53")
  "ping" (dict "pattern" "^[^/]+$" "what" "a host such as router.example.org")
-}}
{{- $belongs := dict "status" "http" "content" "http" "tls" "tcp" "query" "dns" "recordType" "dns" -}}
{{- range $name, $probe := .Values.probes.targets -}}
{{- $type := .type | default "http" -}}
{{- $form := get $forms $type -}}
{{- $path := printf "%sprobes.targets.%s" $prefix $name -}}
{{- if not (regexMatch $form.pattern .target) -}}
{{- include "maas.fail" (list
  (printf "%s.target is %s, but a probe of type %s needs %s." $path .target $type $form.what)
) -}}
{{- end -}}
{{- if and (eq $type "dns") (not .query) -}}
{{- include "maas.fail" (list
  (printf "%s asks the name server %s for nothing. Set the name that it must know:" $path .target)
  ""
  (printf "    %s.query: www.example.org" $path)
) -}}
{{- end -}}
{{- range $option, $owner := $belongs -}}
{{- if and (hasKey $probe $option) (ne $owner $type) -}}
{{- include "maas.fail" (list
  (printf "%s.%s is for probes of type %s, and this one is of type %s." $path $option $owner $type)
) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- /* Fails for a device whose login or module does not exist, and for options of a login that its version does not have. */ -}}
{{- define "kube-prometheus.validateSnmp" -}}
{{- $prefix := include "maas.value.prefix" . -}}
{{- $known := .Files.Get "files/snmp-modules.yaml" | fromYaml -}}
{{- range $name, $login := .Values.snmp.logins -}}
{{- $path := printf "snmp.logins.%s" $name -}}
{{- $level := .securityLevel | default "authPriv" -}}
{{- range $option := list "securityLevel" "authProtocol" "privacyProtocol" -}}
{{- $unused := or (and (eq $option "authProtocol") (eq $level "noAuthNoPriv")) (and (eq $option "privacyProtocol") (ne $level "authPriv")) -}}
{{- if and (hasKey $login $option) (or (ne (int $login.version) 3) $unused) -}}
{{- include "maas.fail" (list
  (printf "%s%s.%s has no effect: this login uses %s." $prefix $path $option (ternary (printf "the security level %s" $level)
    (printf "version %d of SNMP, which neither encrypts nor authenticates" (int $login.version)) (eq (int $login.version) 3)))
) -}}
{{- end -}}
{{- end -}}
{{- range $key := include "kube-prometheus.snmpKeys" $login | fromYaml -}}
{{- include "kube-prometheus.validateSecret" (dict "context" $ "secret" $login.existingSecret "key" $key
  "path" (printf "%s.existingSecret" $path) "what" (printf "The login %s" $name)) -}}
{{- end -}}
{{- end -}}
{{- range $name, $device := .Values.snmp.targets -}}
{{- $path := printf "%ssnmp.targets.%s" $prefix $name -}}
{{- if not (hasKey $.Values.snmp.logins .login) -}}
{{- include "maas.fail" (list
  (printf "%s.login is %s, which is not in %ssnmp.logins. Set its Secret:" $path .login $prefix)
  ""
  (printf "    %ssnmp.logins.%s: {version: 3, existingSecret: NAME}" $prefix .login)
) -}}
{{- end -}}
{{- range .modules -}}
{{- if not (hasKey $known .) -}}
{{- include "maas.fail" (list
  (printf "%s.modules has %s, which is no module. Use %s." $path . (keys $known | sortAlpha | join ", "))
) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- /* Fails for a window that Prometheus does not keep the samples of: the error budget would be that of less time. */ -}}
{{- define "kube-prometheus.validateSlos" -}}
{{- $prefix := include "maas.value.prefix" . -}}
{{- if and .Values.slos.statusPage (or (not .Values.slos.enabled) (ne .Values.dashboards.engine "perses")) -}}
{{- include "maas.fail" (list
  (printf "%sslos.statusPage is a page of the viewer of the dashboards, which shows objectives. Set:" $prefix)
  ""
  (printf "    %sdashboards.engine: perses" $prefix)
  (printf "    %sslos.enabled: true" $prefix)
) -}}
{{- end -}}
{{- $hours := dict "h" 1 "d" 24 "w" 168 "y" 8760 -}}
{{- $retention := .Values.prometheus.retention -}}
{{- if and .Values.slos.enabled (regexMatch "^[0-9]+[hdwy]$" $retention) -}}
{{- $kept := mul (regexFind "^[0-9]+" $retention) (get $hours (regexFind "[hdwy]$" $retention)) -}}
{{- range $name, $slo := .Values.slos.objectives -}}
{{- $window := .window | default "14d" -}}
{{- if gt (mul (trimSuffix "d" $window) 24) $kept -}}
{{- include "maas.fail" (list
  (printf "%sslos.objectives.%s has a window of %s, but Prometheus keeps samples for %s." $prefix $name $window $retention)
  "Set a shorter window, or keep the samples longer:"
  ""
  (printf "    %sprometheus.retention: %s" $prefix $window)
) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- /*
Fails for settings of a scraped program that have no effect or cannot work, and for Secrets that do not exist: the operator
would reject the object, and only an alert would report it.
*/ -}}
{{- define "kube-prometheus.validateScrapeTargets" -}}
{{- $prefix := include "maas.value.prefix" . -}}
{{- $jobs := list "alertmanager" "apiserver" "blackbox-exporter" "calico-kube-controllers" "calico-node" "config-reloader" "coredns" "etcd"
  "grafana" "kube-controller-manager" "kube-proxy" "kube-scheduler" "kube-state-metrics" "kubelet" "metrics-server"
  "perses" "probe" "prometheus" "prometheus-operator" "snmp" "snmp-exporter" -}}
{{- range $name, $target := .Values.scrapeTargets -}}
{{- $path := printf "scrapeTargets.%s" $name -}}
{{- if has $name $jobs -}}
{{- include "maas.fail" (list
  (printf "%s%s: the job %s is a component of the cluster, and its alerts would mix both." $prefix $path $name)
  "Give it another name."
) -}}
{{- end -}}
{{- if and .tls (ne (.scheme | default "http") "https") -}}
{{- include "maas.fail" (list
  (printf "%s%s.tls has no effect without encryption. Set" $prefix $path)
  ""
  (printf "    %s%s.scheme: https" $prefix $path)
) -}}
{{- end -}}
{{- if and .authentication (not .existingSecret) -}}
{{- include "maas.fail" (list
  (printf "%s%s.authentication needs the credentials, in a Secret:" $prefix $path)
  ""
  (printf "    %s%s.existingSecret: NAME" $prefix $path)
) -}}
{{- end -}}
{{- with .existingSecret -}}
{{- range $key := ternary (list "username" "password") (list "token") (eq ($target.authentication | default "bearer") "basic") -}}
{{- include "kube-prometheus.validateSecret" (dict "context" $ "secret" $target.existingSecret "key" $key
  "path" (printf "%s.existingSecret" $path) "what" (printf "The target %s" $name)) -}}
{{- end -}}
{{- end -}}
{{- with dig "tls" "existingSecret" "" $target -}}
{{- include "kube-prometheus.validateSecret" (dict "context" $ "secret" . "key" "ca.crt"
  "path" (printf "%s.tls.existingSecret" $path) "what" (printf "The certificate of the target %s" $name)) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- /*
Fails for a team whose namespace belongs to the platform or to somebody else, for one without members, and for a login that
shows every namespace to everyone.
*/ -}}
{{- define "kube-prometheus.validateTeams" -}}
{{- $path := include "maas.value.path" (dict "context" . "path" "teams.namespaces") -}}
{{- $platform := list "default" "kube-system" "kube-public" "kube-node-lease" .Release.Namespace
  (include "maas.namespace" .) (include "kube-prometheus.nodeExporterNamespace" .) -}}
{{- $platform = concat $platform .Values.teams.trustedNamespaces -}}
{{- range $namespace, $team := .Values.teams.namespaces -}}
{{- if has $namespace $platform -}}
{{- include "maas.fail" (list
  (printf "%s.%s: the namespace %s belongs to the platform or is trusted, so it is not limited to itself." $path $namespace $namespace)
  "Give the team another namespace."
) -}}
{{- end -}}
{{- if not (or $team.view $team.edit) -}}
{{- include "maas.fail" (list
  (printf "%s.%s has no members. Set:" $path $namespace)
  ""
  (printf "    %s.%s.edit.users: [NAME]" $path $namespace)
) -}}
{{- end -}}
{{- if and (hasKey $team "podSecurity") (not (dig "create" true $team)) -}}
{{- include "maas.fail" (list
  (printf "%s.%s.podSecurity has no effect on a namespace that exists. Label it yourself:" $path $namespace)
  ""
  (printf "    kubectl label namespace %s pod-security.kubernetes.io/enforce=%s" $namespace $team.podSecurity)
) -}}
{{- end -}}
{{- range $key, $_ := $team.quota -}}
{{- if and (hasPrefix "count/" $key) (hasSuffix ".monitoring.coreos.com" $key) -}}
{{- include "maas.fail" (list
  (printf "%s.%s.quota has %s, which %s.%s.limits sets." $path $namespace $key $path $namespace)
) -}}
{{- end -}}
{{- end -}}
{{- $current := lookup "v1" "Namespace" "" $namespace -}}
{{- if and $current (dig "create" true $team) (not (include "maas.ownedByRelease" (dict "context" $ "object" $current))) -}}
{{- include "maas.fail" (list
  (printf "%s.%s: the namespace %s exists and does not belong to this release. To use it as it is, set:" $path $namespace $namespace)
  ""
  (printf "    %s.%s.create: false" $path $namespace)
) -}}
{{- end -}}
{{- if and (include "maas.cluster.reachable" $) (not $current) (not (dig "create" true $team)) -}}
{{- include "maas.fail" (list
  (printf "%s.%s: the namespace %s does not exist. Create it first:" $path $namespace $namespace)
  ""
  (printf "    kubectl create namespace %s" $namespace)
) -}}
{{- end -}}
{{- if and (not (dig "create" true $team)) $current -}}
{{- $level := dig "metadata" "labels" "pod-security.kubernetes.io/enforce" "privileged" $current -}}
{{- if eq $level "privileged" -}}
{{- include "maas.fail" (list
  (printf "%s.%s: the namespace %s allows privileged pods, which reach every namespace through their node. Limit it first:" $path $namespace $namespace)
  ""
  (printf "    kubectl label namespace %s pod-security.kubernetes.io/enforce=baseline --overwrite" $namespace)
) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and .Values.teams.namespaces (eq .Values.dashboards.engine "grafana") .Values.grafana.oidc.enabled -}}
{{- $prefix := include "maas.value.prefix" . -}}
{{- include "maas.fail" (list
  (printf "Grafana shows all namespaces to everyone who logs in, so it does not fit %s. Set one of:" $path)
  ""
  (printf "    %sdashboards.engine: perses" $prefix)
  (printf "    %sgrafana.oidc.enabled: false" $prefix)
) -}}
{{- end -}}
{{- end -}}
