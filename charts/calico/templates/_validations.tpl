{{- /*
A cluster takes one pod network. These look for another one before anything is installed; each refusal says what was
found and which value to set. `lookup` finds nothing where there is no cluster to ask (helm template, GitOps): there
`existingNetwork` decides.
*/ -}}

{{- /* Networks by the name of their DaemonSet, the regular expression must match all of it. */ -}}
{{- define "calico.knownNetworks" -}}
- {name: antrea, daemonSet: "antrea-agent"}
- {name: aws-vpc-cni, daemonSet: "aws-node"}
- {name: azure-cni, daemonSet: "azure-cns|azure-cni-networkmonitor"}
- {name: calico, daemonSet: "calico-node|rke2-calico.*"}
- {name: canal, daemonSet: "canal|rke2-canal"}
- {name: cilium, daemonSet: "cilium|anetd"}
- {name: flannel, daemonSet: "kube-flannel(-ds.*)?"}
- {name: kindnet, daemonSet: "kindnet"}
- {name: kube-ovn, daemonSet: "kube-ovn-cni"}
- {name: kube-router, daemonSet: "kube-router"}
- {name: ovn-kubernetes, daemonSet: "ovnkube-node.*"}
- {name: weave, daemonSet: "weave-net"}
{{- end -}}

{{- /* Networks by an annotation they leave on nodes: some run inside the kubelet's process and have no DaemonSet. */ -}}
{{- define "calico.knownAnnotations" -}}
- {name: flannel, annotation: "flannel.alpha.coreos.com/backend-type"}
- {name: cilium, annotation: "network.cilium.io/ipv4-pod-cidr"}
- {name: cilium, annotation: "io.cilium.network.ipv4-pod-cidr"}
- {name: antrea, annotation: "node.antrea.io/mac-address"}
- {name: ovn-kubernetes, annotation: "k8s.ovn.org/node-subnets"}
{{- end -}}

{{- /* Every foreign network found in the cluster as a JSON list of {name, evidence}. */ -}}
{{- define "calico.foreignNetworks" -}}
{{- $root := . -}}
{{- $found := list -}}
{{- $known := include "calico.knownNetworks" . | fromYamlArray -}}
{{- range $set := (lookup "apps/v1" "DaemonSet" "" "").items -}}
  {{- range $known -}}
    {{- if and (regexMatch (printf "^(%s)$" .daemonSet) $set.metadata.name) (not (include "maas.ownedByRelease" (dict "context" $root "object" $set))) -}}
      {{- $found = append $found (dict "name" .name "evidence" (printf "DaemonSet %s/%s" $set.metadata.namespace $set.metadata.name)) -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- if .Capabilities.APIVersions.Has "operator.tigera.io/v1/Installation" -}}
  {{- range (lookup "operator.tigera.io/v1" "Installation" "" "").items -}}
    {{- $found = append $found (dict "name" "calico" "evidence" (printf "Installation %s of the Tigera operator" .metadata.name)) -}}
  {{- end -}}
{{- end -}}
{{- $annotations := include "calico.knownAnnotations" . | fromYamlArray -}}
{{- range $node := (lookup "v1" "Node" "" "").items -}}
  {{- range $annotations -}}
    {{- if hasKey ($node.metadata.annotations | default dict) .annotation -}}
      {{- $found = append $found (dict "name" .name "evidence" (printf "annotation %s on node %s" .annotation $node.metadata.name)) -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- $found | toJson -}}
{{- end -}}

{{- /* The refusal. Takes (dict "context" $ "found" list of {name, evidence}). */ -}}
{{- define "calico.refuseNetwork" -}}
{{- $lines := list -}}
{{- range .found -}}
{{- $lines = append $lines (printf "    %s: %s" .name .evidence) -}}
{{- end -}}
{{- $keep := ternary "Keep it and do not install this chart." "Keep it and leave Calico off:\n\n    calico:\n      enabled: false\n" .context.Chart.IsRoot -}}
{{- fail (printf "\n\nThe cluster has a pod network already, and can have only one:\n\n%s\n\n%s\nIf that is only what a removed network left behind, say so:\n\n    %s: none\n" ($lines | uniq | join "\n") $keep (include "maas.valuePath" (dict "context" .context "path" "existingNetwork"))) -}}
{{- end -}}

{{- define "calico.validateNetwork" -}}
{{- if eq .Values.existingNetwork "auto" -}}
  {{- $found := include "calico.foreignNetworks" . | fromJsonArray -}}
  {{- if $found -}}
    {{- include "calico.refuseNetwork" (dict "context" . "found" $found) -}}
  {{- end -}}
{{- else if ne .Values.existingNetwork "none" -}}
  {{- include "calico.refuseNetwork" (dict "context" . "found" (list (dict "name" .Values.existingNetwork "evidence" (printf "the value %s" (include "maas.valuePath" (dict "context" . "path" "existingNetwork")))))) -}}
{{- end -}}
{{- end -}}

{{- /* Pods' addresses: those the cluster was made for, and never others later. */ -}}
{{- define "calico.validatePool" -}}
{{- $path := include "maas.valuePath" (dict "context" . "path" "ipPool.cidr") -}}
{{- $cidr := .Values.ipPool.cidr -}}
{{- $config := dig "data" "ClusterConfiguration" "" (lookup "v1" "ConfigMap" "kube-system" "kubeadm-config") -}}
{{- $subnet := regexFind "podSubnet: *[0-9./]+" $config | trimPrefix "podSubnet:" | trim -}}
{{- if and $subnet (ne $subnet $cidr) -}}
{{- fail (printf "\n\nThe cluster was made for pods in %s, but %s is %s.\nSet:\n\n    %s: %s\n" $subnet $path $cidr $path $subnet) -}}
{{- end -}}
{{- if .Capabilities.APIVersions.Has "crd.projectcalico.org/v1/IPPool" -}}
  {{- $current := dig "spec" "cidr" "" (lookup "crd.projectcalico.org/v1" "IPPool" "" "default-ipv4-ippool") -}}
  {{- if and $current (ne $current $cidr) -}}
  {{- fail (printf "\n\nPods have addresses in %s; a pool's range cannot change under them, but %s is %s.\nSet:\n\n    %s: %s\n" $current $path $cidr $path $current) -}}
  {{- end -}}
{{- end -}}
{{- end -}}
