{{/* Names and labels. Nothing is cut off: a name that is too long is refused. */}}

{{- define "r3mes.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride }}
{{- else if contains .Chart.Name .Release.Name }}
{{- .Release.Name }}
{{- else }}
{{- printf "%s-%s" .Release.Name .Chart.Name }}
{{- end }}
{{- end }}

{{/* Of the objects of one model: (dict "root" $ "model" model). */}}
{{- define "r3mes.modelName" -}}
{{ include "r3mes.fullname" .root }}-{{ .model.name }}
{{- end }}

{{/* What the selectors of the release's pods have in common. */}}
{{- define "r3mes.releaseLabels" -}}
app.kubernetes.io/name: {{ .Chart.Name | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{- define "r3mes.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{ include "r3mes.releaseLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{/* Of the pods of one model, and of no other release or model. */}}
{{- define "r3mes.selector" -}}
{{ include "r3mes.releaseLabels" .root }}
app.kubernetes.io/component: model
r3mes.io/model: {{ .model.name | quote }}
{{- end }}

{{/* That the pods of a model have whatever podLabels says. */}}
{{- define "r3mes.podLabels" -}}
{{ include "r3mes.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
{{- end }}

{{- define "r3mes.modelLabels" -}}
{{ include "r3mes.labels" .root }}
app.kubernetes.io/component: model
r3mes.io/model: {{ .model.name | quote }}
{{- end }}

{{- define "r3mes.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}
{{- end }}
