{{/* The models as the other templates read them: complete, and refused where they cannot work. */}}

{{/* JSON list of the models. Settings: the global ones, then those of modelDefaults, then the entry's. */}}
{{- define "r3mes.models" -}}
{{- include "r3mes.refuse" . }}
{{- $models := list }}
{{- range .Values.models }}
{{- $model := deepCopy $.Values.modelDefaults }}
{{- include "r3mes.merge" (dict "into" $model "from" .) }}
{{- $config := deepCopy ($.Values.config | default dict) }}
{{- include "r3mes.merge" (dict "into" $config "from" ($model.config | default dict)) }}
{{- $_ := set $model "config" $config }}
{{- $own := .resources | default dict }}
{{- $_ := set $model "resources" ($model.resources | default dict) }}
{{- if gt (int $model.gpu.count) 0 }}
{{- $_ := set $model "resources" (deepCopy ($model.gpu.resources | default dict)) }}
{{- include "r3mes.merge" (dict "into" $model.resources "from" $own) }}
{{- end }}
{{- include "r3mes.refuseModel" (dict "root" $ "model" $model "entry" .) }}
{{- $models = append $models $model }}
{{- end }}
{{- toJson $models }}
{{- end }}

{{/* Change the map `into`: what `from` says wins, also when it is empty, 0 or false. */}}
{{- define "r3mes.merge" -}}
{{- range $key, $value := .from }}
{{- $there := get $.into $key }}
{{- if and (kindIs "map" $value) (kindIs "map" $there) }}
{{- include "r3mes.merge" (dict "into" $there "from" $value) }}
{{- else }}
{{- $_ := set $.into $key (kindIs "map" $value | ternary (deepCopy ($value | default dict)) $value) }}
{{- end }}
{{- end }}
{{- end }}

{{/* Whether a model may have more than one pod: without `replicas` an autoscaler says how many. */}}
{{- define "r3mes.several" -}}
{{- if or (kindIs "invalid" .replicas) (gt (int .replicas) 1) }}true{{ end }}
{{- end }}

{{/* What is wrong with the release as a whole. */}}
{{- define "r3mes.refuse" -}}
{{- $fullname := include "r3mes.fullname" . }}
{{- if not (regexMatch "^[a-z]" $fullname) }}
{{- fail (printf "%s: the name of a Service begins with a letter. Take another release name, or set fullnameOverride." $fullname) }}
{{- end }}
{{- if not .Values.models }}
{{- fail "models is empty: there would be nothing to serve." }}
{{- end }}
{{- $names := list }}
{{- range .Values.models }}
{{- if has .name $names }}
{{- fail (printf "models: the name %q stands twice; each model needs a name of its own." .name) }}
{{- end }}
{{- $names = append $names .name }}
{{- end }}
{{- range $key := list "ingress" "httpRoute" }}
{{- $way := get $.Values $key }}
{{- if $way.enabled }}
{{- if not (or $.Values.auth.existingSecret $.Values.auth.allowAnonymous) }}
{{- fail (printf "%s.enabled: the API would be open to everyone. Put keys into a Secret and set auth.existingSecret, or set auth.allowAnonymous to true." $key) }}
{{- end }}
{{- if not $way.hosts }}
{{- fail (printf "%s.enabled: %s.hosts is empty; name at least one, such as [{host: chat.example.org}]." $key $key) }}
{{- end }}
{{- $hosts := list }}
{{- range $way.hosts }}
{{- $host := .host | default "" }}
{{- if has $host $hosts }}
{{- fail (printf "%s.hosts: %q stands twice; a host leads to one model." $key $host) }}
{{- end }}
{{- $hosts = append $hosts $host }}
{{- if not .model }}
{{- if gt (len $names) 1 }}
{{- fail (printf "%s.hosts: %q names no model, and there are several: %s." $key $host (join ", " $names)) }}
{{- end }}
{{- else if not (has .model $names) }}
{{- fail (printf "%s.hosts: there is no model %q; models has %s." $key .model (join ", " $names)) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- if and .Values.httpRoute.enabled (not .Values.httpRoute.parentRefs) }}
{{- fail "httpRoute.enabled: httpRoute.parentRefs is empty; name the Gateway, such as [{name: public, namespace: gateways}]." }}
{{- end }}
{{- range $key := list "serviceMonitor" "podMonitor" "prometheusRule" "dashboard" }}
{{- include "r3mes.refuseLabels" (dict "where" (printf "%s.labels" $key) "own" (include "r3mes.labels" $) "labels" (get $.Values $key).labels) }}
{{- end }}
{{- if and .Values.serviceMonitor.enabled .Values.podMonitor.enabled }}
{{- fail "serviceMonitor.enabled and podMonitor.enabled: Prometheus would count everything twice; take one of them." }}
{{- end }}
{{- end }}

{{/* A label that stands twice is refused by some readers, and one of a selector would lose the pods. */}}
{{- define "r3mes.refuseLabels" -}}
{{- range $name, $_ := .labels }}
{{- if hasKey ($.own | fromYaml) $name }}
{{- fail (printf "%s: %s is set by the chart." $.where $name) }}
{{- end }}
{{- end }}
{{- end }}

{{/* What is wrong with one model: (dict "root" $ "model" model "entry" what models says of it). */}}
{{- define "r3mes.refuseModel" -}}
{{- $model := .model }}
{{- $where := printf "model %s" $model.name }}
{{- if $model.autoscaling }}
{{- fail (printf "%s: autoscaling comes with the autoscaler, which this version does not have; set replicas." $where) }}
{{- end }}
{{- if gt (int $model.gpu.count) 1 }}
{{- fail (printf "%s: gpu.count is %d, but one GPU computes; the others would be idle. More GPUs serve as more replicas." $where (int $model.gpu.count)) }}
{{- end }}
{{- $name := include "r3mes.modelName" . }}
{{- if gt (len $name) 63 }}
{{- fail (printf "%s: the name %s has %d characters, and Kubernetes allows 63. Take a shorter release name, fullnameOverride or model name." $where $name (len $name)) }}
{{- end }}
{{- $sources := list }}
{{- if $model.source.bundled }}{{ $sources = append $sources "bundled" }}{{ end }}
{{- if $model.source.hub.id }}{{ $sources = append $sources "hub" }}{{ end }}
{{- if $model.source.pvc.claimName }}{{ $sources = append $sources "pvc" }}{{ end }}
{{- if $model.source.oci.reference }}{{ $sources = append $sources "oci" }}{{ end }}
{{- if gt (len $sources) 1 }}
{{- fail (printf "%s: source has %s; a model comes from one of them." $where (join " and " $sources)) }}
{{- end }}
{{- include "r3mes.refuseSource" (dict "where" $where "all" $model.source "own" (.entry.source | default dict) "none" (empty $sources)) }}
{{- include "r3mes.refuseGPU" (dict "where" $where "gpu" $model.gpu "resources" $model.resources) }}
{{- include "r3mes.refuseLabels" (dict "where" (printf "%s: podLabels" $where) "own" (include "r3mes.podLabels" .) "labels" $model.podLabels) }}
{{- if and $model.chatTemplate.configMap (dig "model" "chat_template" "" $model.config) }}
{{- fail (printf "%s: chatTemplate.configMap and config.model.chat_template are two templates; take one of them." $where) }}
{{- end }}
{{- if and $model.source.oci.reference (semverCompare "<1.31.0-0" .root.Capabilities.KubeVersion.Version) }}
{{- fail (printf "%s: source.oci needs image volumes, and Kubernetes %s has none: 1.31 is the first, with the feature gate ImageVolume." $where .root.Capabilities.KubeVersion.Version) }}
{{- end }}
{{- include "r3mes.refuseConfig" . }}
{{- include "r3mes.refuseEnv" . }}
{{- $least := addf $model.shutdown.preStopSeconds (dig "drain" "timeout_s" 90 $model.config) }}
{{- if and $model.shutdown.gracePeriodSeconds (lt (float64 $model.shutdown.gracePeriodSeconds) $least) }}
{{- fail (printf "%s: shutdown.gracePeriodSeconds is %d, but preStopSeconds and config.drain.timeout_s take %v; streams would be cut. Raise it, or leave it out." $where (int $model.shutdown.gracePeriodSeconds) $least) }}
{{- end }}
{{- end }}

{{/* What says something of a source that the model does not have. The defaults speak of several models,
     and their mirror and token perhaps of none. */}}
{{- define "r3mes.refuseSource" -}}
{{- $needs := dict "pvc.path" "pvc.claimName" "oci.path" "oci.reference" }}
{{- $needs = merge $needs (dict "hub.revision" "hub.id" "hub.endpoint" "hub.id" "hub.tokenSecret.name" "hub.id") }}
{{- range $path, $needed := $needs }}
{{- $said := include "r3mes.at" (list $.own $path) }}
{{- if and $.none (not (has $path (list "hub.endpoint" "hub.tokenSecret.name"))) }}
{{- $said = include "r3mes.at" (list $.all $path) }}
{{- end }}
{{- if and $said (not (include "r3mes.at" (list $.all $needed))) }}
{{- fail (printf "%s: source.%s says nothing without source.%s." $.where $path $needed) }}
{{- end }}
{{- end }}
{{- end }}

{{/* The text at a dotted path of a map, empty where there is none: (list map path). */}}
{{- define "r3mes.at" -}}
{{- $found := first . }}
{{- range $key := splitList "." (last .) }}
{{- if kindIs "map" $found }}{{ $found = get $found $key }}{{ else }}{{ $found = "" }}{{ end }}
{{- end }}
{{- $found | default "" }}
{{- end }}

{{/* GPUs that the pod would get and the chart would not know of, or the other way round. */}}
{{- define "r3mes.refuseGPU" -}}
{{- range $kind := list "requests" "limits" }}
{{- $asked := get (get $.resources $kind | default dict) $.gpu.resourceName | toString }}
{{- if and $asked (ne $asked (int $.gpu.count | toString)) }}
{{- fail (printf "%s: resources.%s asks for %s %s, and gpu.count is %d. Leave it out there and set gpu.count." $.where $kind $asked $.gpu.resourceName (int $.gpu.count)) }}
{{- end }}
{{- end }}
{{- end }}

{{/* Variables that have another place: a name that stands twice in a container confuses an upgrade. */}}
{{- define "r3mes.refuseEnv" -}}
{{- $model := .model }}
{{- $set := include "r3mes.env" . | fromJson }}
{{- if $model.source.hub.tokenSecret.name }}{{ $_ := set $set "HF_TOKEN" "" }}{{ end }}
{{- range $model.env }}
{{- if hasPrefix "R3MES_" .name }}
{{- fail (printf "model %s: env has %s; settings of R3MES belong in config." $model.name .name) }}
{{- end }}
{{- if hasKey $set .name }}
{{- fail (printf "model %s: env has %s, which is there already." $model.name .name) }}
{{- end }}
{{- $_ := set $set .name "" }}
{{- end }}
{{- end }}

{{/* Settings that the chart decides from other values. */}}
{{- define "r3mes.refuseConfig" -}}
{{- $instead := dict
  "api_keys" "auth.existingSecret"
  "api_keys_file" "auth.existingSecret"
  "termination_log" "nothing: the pod's termination message is always written"
  "model.source" "source of the model"
  "model.revision" "source.hub.revision of the model"
  "server.port" "service.port" }}
{{- range $path, $value := $instead }}
{{- $parts := splitList "." $path }}
{{- $section := get $.model.config (first $parts) }}
{{- $set := hasKey $.model.config (first $parts) }}
{{- if gt (len $parts) 1 }}
{{- $set = and (kindIs "map" $section) (hasKey ($section | default dict) (last $parts)) }}
{{- end }}
{{- if $set }}
{{- fail (printf "model %s: config.%s is set by the chart. Use %s." $.model.name $path $value) }}
{{- end }}
{{- end }}
{{- end }}
