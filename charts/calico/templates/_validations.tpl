{{- /*
A cluster can have only one pod network. These templates look for another one before anything is installed. `lookup` finds
nothing without a cluster (helm template, GitOps): there, the value `existingNetwork` decides.
*/ -}}

{{- /*
Every other network in the cluster, as a JSON list of {name, evidence}. files/networks.yaml has the known ones.
Takes the chart's context.
*/ -}}
{{- define "calico.foreignNetworks" -}}
{{- $root := . -}}
{{- $known := .Files.Get "files/networks.yaml" | fromYaml -}}
{{- $found := list -}}
{{- range $set := (lookup "apps/v1" "DaemonSet" "" "").items -}}
  {{- range $known.daemonSets -}}
    {{- $matches := regexMatch (printf "^(%s)$" .daemonSet) $set.metadata.name -}}
    {{- if and $matches (not (include "maas.ownedByRelease" (dict "context" $root "object" $set))) -}}
      {{- $evidence := printf "DaemonSet %s/%s" $set.metadata.namespace $set.metadata.name -}}
      {{- $found = append $found (dict "name" .name "evidence" $evidence) -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- if .Capabilities.APIVersions.Has "operator.tigera.io/v1/Installation" -}}
  {{- range (lookup "operator.tigera.io/v1" "Installation" "" "").items -}}
    {{- $evidence := printf "Installation %s of the Tigera operator" .metadata.name -}}
    {{- $found = append $found (dict "name" "calico" "evidence" $evidence) -}}
  {{- end -}}
{{- end -}}
{{- range $node := (lookup "v1" "Node" "" "").items -}}
  {{- range $known.annotations -}}
    {{- if hasKey ($node.metadata.annotations | default dict) .annotation -}}
      {{- $evidence := printf "annotation %s on node %s" .annotation $node.metadata.name -}}
      {{- $found = append $found (dict "name" .name "evidence" $evidence) -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- $found | toJson -}}
{{- end -}}

{{- /* Fails and names the other networks. Takes (dict "context" $ "found" a list of {name, evidence}). */ -}}
{{- define "calico.refuseNetwork" -}}
{{- $lines := list "The cluster already has a pod network, and can have only one:" "" -}}
{{- range .found -}}
{{- $lines = append $lines (printf "    %s: %s" .name .evidence) -}}
{{- end -}}
{{- $lines = append ($lines | uniq) "" -}}
{{- if .context.Chart.IsRoot -}}
{{- $lines = append $lines "To keep it, do not install this chart." -}}
{{- else -}}
{{- $lines = concat $lines (list "To keep it, set:" "" (printf "    %s:" (include "maas.value.prefix" .context | trimSuffix ".")) "      enabled: false") -}}
{{- end -}}
{{- $path := include "maas.value.path" (dict "context" .context "path" "existingNetwork") -}}
{{- $lines = concat $lines (list "" "If it was removed and only left this behind, set:" "" (printf "    %s: none" $path)) -}}
{{- include "maas.fail" $lines -}}
{{- end -}}

{{- define "calico.validateNetwork" -}}
{{- if eq .Values.existingNetwork "auto" -}}
  {{- $found := include "calico.foreignNetworks" . | fromJsonArray -}}
  {{- if $found -}}
    {{- include "calico.refuseNetwork" (dict "context" . "found" $found) -}}
  {{- end -}}
{{- else if ne .Values.existingNetwork "none" -}}
  {{- $path := include "maas.value.path" (dict "context" . "path" "existingNetwork") -}}
  {{- $found := dict "name" .Values.existingNetwork "evidence" (printf "the value %s" $path) -}}
  {{- include "calico.refuseNetwork" (dict "context" . "found" (list $found)) -}}
{{- end -}}
{{- end -}}

{{- /* Fails for an IP pool that is not the cluster's pod subnet, or not the range that pods already have addresses of. */ -}}
{{- define "calico.validatePool" -}}
{{- $path := include "maas.value.path" (dict "context" . "path" "ipPool.cidr") -}}
{{- $cidr := .Values.ipPool.cidr -}}
{{- $length := splitList "/" $cidr | last | int -}}
{{- if gt $length (int .Values.ipPool.blockSize) -}}
{{- include "maas.fail" (list
  (printf "%s is %s, which is smaller than a block of addresses (/%d)." $path $cidr (int .Values.ipPool.blockSize))
  (printf "Use a shorter prefix, or set %s." (include "maas.value.path" (dict "context" . "path" "ipPool.blockSize")))
) -}}
{{- end -}}
{{- $host := 0 -}}
{{- range $index, $octet := splitList "/" $cidr | first | splitList "." -}}
  {{- $free := max 0 (sub (mul 8 (add1 $index)) $length) | min 8 | int -}}
  {{- $block := 1 -}}
  {{- range until $free -}}{{- $block = mul $block 2 -}}{{- end -}}
  {{- $host = add $host (mod (int $octet) $block) -}}
{{- end -}}
{{- if $host -}}
{{- include "maas.fail" (list
  (printf "%s is %s, whose address has bits beyond the prefix." $path $cidr)
  "Use the first address of the range, as in 10.91.0.0/16."
) -}}
{{- end -}}
{{- $config := dig "data" "ClusterConfiguration" "" (lookup "v1" "ConfigMap" "kube-system" "kubeadm-config") -}}
{{- $subnet := regexFind "podSubnet: *[0-9./]+" $config | trimPrefix "podSubnet:" | trim -}}
{{- if and $subnet (ne $subnet $cidr) -}}
{{- include "maas.fail" (list
  (printf "The cluster's pod subnet is %s, but %s is %s." $subnet $path $cidr)
  "Set:"
  ""
  (printf "    %s: %s" $path $subnet)
) -}}
{{- end -}}
{{- if .Capabilities.APIVersions.Has "crd.projectcalico.org/v1/IPPool" -}}
  {{- $current := dig "spec" "cidr" "" (lookup "crd.projectcalico.org/v1" "IPPool" "" "default-ipv4-ippool") -}}
  {{- if and $current (ne $current $cidr) -}}
  {{- include "maas.fail" (list
    (printf "Pods already have addresses in %s, but %s is %s." $current $path $cidr)
    "The range of an IP pool cannot change. Set:"
    ""
    (printf "    %s: %s" $path $current)
  ) -}}
  {{- end -}}
{{- end -}}
{{- end -}}
