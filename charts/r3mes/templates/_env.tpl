{{/* The environment of a replica. */}}

{{/* JSON map of variables: the Settings of the model and what the chart decides. */}}
{{- define "r3mes.env" -}}
{{- $model := .model }}
{{- $env := dict }}
{{- range $section, $fields := $model.config }}
{{- if kindIs "map" $fields }}
{{- range $field, $value := $fields }}
{{- include "r3mes.setEnv" (dict "env" $env "name" (printf "R3MES_%s__%s" $section $field) "value" $value) }}
{{- end }}
{{- else }}
{{- include "r3mes.setEnv" (dict "env" $env "name" (printf "R3MES_%s" $section) "value" $fields) }}
{{- end }}
{{- end }}
{{- $own := dict
  "R3MES_SERVER__PORT" "8000"
  "R3MES_TERMINATION_LOG" "/dev/termination-log"
  "R3MES_MODEL__SOURCE" (include "r3mes.source" $model)
  "HOME" "/tmp"
  "TMPDIR" "/tmp"
  "XDG_CACHE_HOME" "/cache"
  "HF_HOME" "/cache/hf"
  "TORCHINDUCTOR_CACHE_DIR" "/cache/inductor"
  "TRITON_CACHE_DIR" "/cache/triton"
  "CUDA_CACHE_PATH" "/cache/cuda" }}
{{- if $model.source.hub.id }}
{{- with $model.source.hub.revision }}{{ $_ := set $own "R3MES_MODEL__REVISION" . }}{{ end }}
{{- with $model.source.hub.endpoint }}{{ $_ := set $own "HF_ENDPOINT" . }}{{ end }}
{{- else }}
{{- $_ := set $own "HF_HUB_OFFLINE" "1" }}
{{- end }}
{{- if .root.Values.auth.existingSecret }}
{{- $_ := set $own "R3MES_API_KEYS_FILE" (printf "/etc/r3mes/keys/%s" .root.Values.auth.secretKey) }}
{{- end }}
{{- with $model.chatTemplate.configMap }}
{{- $_ := set $own "R3MES_MODEL__CHAT_TEMPLATE" (printf "/etc/r3mes/template/%s" $model.chatTemplate.key) }}
{{- end }}
{{- $unlessSet := dict "R3MES_SERVER__HOST" "0.0.0.0" }}
{{- if gt (int $model.gpu.count) 0 }}{{ $_ := set $unlessSet "R3MES_MODEL__DEVICE" "cuda" }}{{ end }}
{{- if or $model.source.pvc.claimName $model.source.oci.reference }}{{ $_ := set $unlessSet "R3MES_MODEL__NAME" $model.name }}{{ end }}
{{- merge $own $env $unlessSet | toJson }}
{{- end }}

{{/* Numbers are written as JSON, for a template writes a million as 1e+06. */}}
{{- define "r3mes.setEnv" -}}
{{- if not (kindIs "invalid" .value) }}
{{- $_ := set .env (upper .name) (kindIs "string" .value | ternary .value (toJson .value)) }}
{{- end }}
{{- end }}

{{/* What R3MES_MODEL__SOURCE is for a model. */}}
{{- define "r3mes.source" -}}
{{- if .source.hub.id }}
{{- .source.hub.id }}
{{- else if .source.pvc.claimName }}
{{- printf "/models/%s" (trimAll "/" .source.pvc.path) | trimSuffix "/" }}
{{- else if .source.oci.reference }}
{{- printf "/models/%s" (trimAll "/" .source.oci.path) | trimSuffix "/" }}
{{- else -}}
bundled
{{- end }}
{{- end }}
