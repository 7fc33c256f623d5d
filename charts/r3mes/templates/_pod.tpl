{{/* The pod of a model: (dict "root" $ "model" model). */}}

{{- define "r3mes.pod" -}}
{{- $model := .model }}
{{- $root := .root -}}
serviceAccountName: {{ include "r3mes.fullname" $root }}
automountServiceAccountToken: false
enableServiceLinks: false
terminationGracePeriodSeconds: {{ include "r3mes.grace" $model }}
securityContext:
  {{- include "r3mes.podSecurity" $root | nindent 2 }}
{{- with $root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $model.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- with $model.runtimeClassName }}
runtimeClassName: {{ . | quote }}
{{- end }}
{{- include "r3mes.nodes" $model }}
{{- with $model.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $model.topologySpreadConstraints }}
topologySpreadConstraints:
  {{- range . }}
  {{- $constraint := dict
    "labelSelector" (dict "matchLabels" (include "r3mes.selector" $ | fromYaml))
    "matchLabelKeys" (list "pod-template-hash") }}
  {{- range $key, $value := . }}{{ $_ := set $constraint $key $value }}{{ end }}
  - {{ toYaml $constraint | indent 4 | trim }}
  {{- end }}
{{- end }}
containers:
  - {{ include "r3mes.container" . | indent 4 | trim }}
volumes:
  {{- include "r3mes.volumes" . | nindent 2 }}
{{- end }}

{{/* JSON map of the pods' annotations. One of several may go where its node does; an only one may not. */}}
{{- define "r3mes.podAnnotations" -}}
{{- $annotations := dict }}
{{- if include "r3mes.several" . }}
{{- $_ := set $annotations "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes" "cache,shm,tmp" }}
{{- end }}
{{- include "r3mes.merge" (dict "into" $annotations "from" (.podAnnotations | default dict)) }}
{{- toJson $annotations }}
{{- end }}

{{/* Where pods may run that need the image of a model. */}}
{{- define "r3mes.nodes" }}
{{- with .nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- $tolerations := .tolerations | default list }}
{{- if gt (int .gpu.count) 0 }}
{{- $tolerations = concat $tolerations (.gpu.tolerations | default list) }}
{{- end }}
{{- with $tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "r3mes.container" -}}
{{- $model := .model }}
{{- $root := .root -}}
name: replica
image: {{ include "r3mes.image" $root }}
imagePullPolicy: {{ $root.Values.image.pullPolicy }}
args: [replica]
ports:
  - name: http
    containerPort: 8000
env:
  {{- with $model.env }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
  {{- range $name, $value := include "r3mes.env" . | fromJson }}
  - name: {{ $name }}
    value: {{ $value | quote }}
  {{- end }}
  {{- if and $model.source.hub.id $model.source.hub.tokenSecret.name }}
  - name: HF_TOKEN
    valueFrom:
      secretKeyRef:
        name: {{ $model.source.hub.tokenSecret.name | quote }}
        key: {{ $model.source.hub.tokenSecret.key | quote }}
  {{- end }}
startupProbe:
  httpGet:
    path: /startupz
    port: http
  periodSeconds: 5
  timeoutSeconds: 5
  failureThreshold: {{ divf $model.startup.budgetSeconds 5 | ceil | int }}
readinessProbe:
  httpGet:
    path: /readyz
    port: http
  periodSeconds: 2
  timeoutSeconds: 2
  failureThreshold: 2
livenessProbe:
  httpGet:
    path: /livez
    port: http
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
{{- with int $model.shutdown.preStopSeconds }}
lifecycle:
  preStop:
    {{- if semverCompare ">=1.30.0-0" $root.Capabilities.KubeVersion.Version }}
    sleep:
      seconds: {{ . }}
    {{- else }}
    exec:
      command: [sleep, {{ . | quote }}]
    {{- end }}
{{- end }}
terminationMessagePath: /dev/termination-log
terminationMessagePolicy: FallbackToLogsOnError
resources:
  {{- include "r3mes.resources" $model | nindent 2 }}
securityContext:
  {{- include "r3mes.containerSecurity" $root | nindent 2 }}
volumeMounts:
  - name: tmp
    mountPath: /tmp
  - name: cache
    mountPath: /cache
  - name: shm
    mountPath: /dev/shm
  {{- if or $model.source.pvc.claimName $model.source.oci.reference }}
  - name: model
    mountPath: /models
    readOnly: true
  {{- end }}
  {{- if $model.chatTemplate.configMap }}
  - name: template
    mountPath: /etc/r3mes/template
    readOnly: true
  {{- end }}
  {{- if $root.Values.auth.existingSecret }}
  - name: keys
    mountPath: /etc/r3mes/keys
    readOnly: true
  {{- end }}
{{- end }}

{{- define "r3mes.volumes" -}}
{{- $model := .model -}}
- name: tmp
  emptyDir:
    sizeLimit: 1Gi
- name: cache
  {{- if $model.cache.existingClaim }}
  persistentVolumeClaim:
    claimName: {{ $model.cache.existingClaim | quote }}
  {{- else }}
  emptyDir:
    sizeLimit: {{ $model.cache.size }}
  {{- end }}
- name: shm
  emptyDir:
    medium: Memory
    sizeLimit: {{ $model.shmSize | default (gt (int $model.gpu.count) 0 | ternary "2Gi" "64Mi") }}
{{- if $model.source.pvc.claimName }}
- name: model
  persistentVolumeClaim:
    claimName: {{ $model.source.pvc.claimName | quote }}
    readOnly: true
{{- else if $model.source.oci.reference }}
- name: model
  image:
    reference: {{ $model.source.oci.reference | quote }}
    pullPolicy: {{ $model.source.oci.pullPolicy }}
{{- end }}
{{- with $model.chatTemplate.configMap }}
- name: template
  configMap:
    name: {{ . | quote }}
    items:
      - key: {{ $model.chatTemplate.key | quote }}
        path: {{ $model.chatTemplate.key | quote }}
{{- end }}
{{- with .root.Values.auth.existingSecret }}
- name: keys
  secret:
    secretName: {{ . | quote }}
    defaultMode: 0440
{{- end }}
{{- end }}

{{/* Requests and limits, with the GPUs in both. */}}
{{- define "r3mes.resources" -}}
{{- $resources := deepCopy .resources }}
{{- if gt (int .gpu.count) 0 }}
{{- $count := int .gpu.count | toString }}
{{- $_ := set $resources "requests" (merge (dict .gpu.resourceName $count) ($resources.requests | default dict)) }}
{{- $_ := set $resources "limits" (merge (dict .gpu.resourceName $count) ($resources.limits | default dict)) }}
{{- end }}
{{- toYaml $resources }}
{{- end }}

{{- define "r3mes.grace" -}}
{{- $drain := dig "drain" "timeout_s" 90 .config }}
{{- .shutdown.gracePeriodSeconds | default (addf .shutdown.preStopSeconds $drain 15 | ceil) | int }}
{{- end }}
