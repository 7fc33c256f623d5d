{{/* What the restricted Pod Security level asks for, and a read-only root beyond it: the root context. */}}

{{- define "r3mes.podSecurity" -}}
runAsNonRoot: true
{{- with .Values.security.user }}
runAsUser: {{ . }}
runAsGroup: {{ . }}
fsGroup: {{ . }}
{{- end }}
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "r3mes.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: {{ .Values.security.readOnlyRoot }}
capabilities:
  drop: [ALL]
{{- end }}
