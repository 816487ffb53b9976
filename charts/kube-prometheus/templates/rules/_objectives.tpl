{{- /*
The rule groups of a service level objective, as entries of a YAML list. The rates of its events are recorded every minute;
the ratios of longer windows are computed from these few series, and the longest only every two minutes.
Takes (dict "name" its name "slo" its values).
*/ -}}
{{- define "kube-prometheus.objective" -}}
{{- $labels := dict "slo" .name -}}
{{- $all := printf "sum by (cluster) (rate(%s[5m]))" .slo.all -}}
{{- /* No good event at all may be no series at all. */ -}}
{{- $good := printf "sum by (cluster) (rate(%s[5m])) or 0 * %s" .slo.good $all -}}
{{- $recorded := printf "{slo=%q}" .name -}}
{{- $ratio := "1 - sum_over_time(slo:good_events:rate5m%[1]s[%[2]s]) / (sum_over_time(slo:all_events:rate5m%[1]s[%[2]s]) > 0)" -}}
{{- $window := .slo.window | default "14d" -}}
{{- $constant := "0 * slo:all_events:rate5m%s + %s" -}}
{{- $short := list
  (dict "record" "slo:defined:info" "expr" "vector(1)")
  (dict "record" "slo:all_events:rate5m" "expr" $all)
  (dict "record" "slo:good_events:rate5m" "expr" $good)
  (dict "record" "slo:objective:ratio" "expr" (printf $constant $recorded (printf "%v / 100" .slo.objective)))
  (dict "record" "slo:window:days" "expr" (printf $constant $recorded (trimSuffix "d" $window)))
  (dict "record" "slo:error_ratio:rate5m"
    "expr" (printf "1 - slo:good_events:rate5m%[1]s / (slo:all_events:rate5m%[1]s > 0)" $recorded))
-}}
{{- range $range := list "30m" "1h" "2h" "6h" -}}
{{- $short = append $short (dict "record" (printf "slo:error_ratio:rate%s" $range) "expr" (printf $ratio $recorded $range)) -}}
{{- end -}}
{{- $long := list -}}
{{- range $range := list "1d" "3d" -}}
{{- $long = append $long (dict "record" (printf "slo:error_ratio:rate%s" $range) "expr" (printf $ratio $recorded $range)) -}}
{{- end -}}
{{- $long = append $long (dict "record" "slo:error_ratio:window" "expr" (printf $ratio $recorded $window)) -}}
{{- $long = append $long (dict "record" "slo:error_budget_remaining:ratio"
  "expr" (printf "1 - slo:error_ratio:window%[1]s / (1 - slo:objective:ratio%[1]s)" $recorded)) -}}
{{- $groups := list -}}
{{- range $suffix, $rules := dict "" $short "-long" $long -}}
{{- $labeled := list -}}
{{- range $rules -}}{{- $labeled = append $labeled (set . "labels" $labels) -}}{{- end -}}
{{- $interval := ternary "2m" "1m" (eq $suffix "-long") -}}
{{- $groups = append $groups (dict "name" (printf "slo-%s%s" $.name $suffix) "interval" $interval "rules" $labeled) -}}
{{- end -}}
{{- toYaml $groups -}}
{{- end -}}
