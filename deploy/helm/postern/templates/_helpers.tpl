{{- define "postern.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "postern.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- else if contains (include "postern.name" .) .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "postern.name" .) | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "postern.selectorLabels" -}}
app.kubernetes.io/name: {{ include "postern.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "postern.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "postern.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- define "postern.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "postern.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "postern.image" -}}
{{- $repository := .Values.image.repository -}}
{{- with .Values.global.imageRegistry }}{{ $repository = printf "%s/%s" (trimSuffix "/" .) $repository }}{{ end -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" $repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" $repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{/* Whether policies come from the API server. */}}
{{- define "postern.watches" -}}
{{- if and (ne .Values.shape "store") (eq .Values.policies.source "kubernetes") }}true{{ end -}}
{{- end -}}

{{- define "postern.policiesConfigMap" -}}
{{- default (printf "%s-policies" (include "postern.fullname" .)) .Values.policies.existingConfigMap -}}
{{- end -}}

{{/* What Kubernetes' "restricted" standard asks of a container, and a root that nobody writes to. */}}
{{- define "postern.containerSecurityContext" -}}
allowPrivilegeEscalation: false
capabilities:
  drop: [ALL]
privileged: false
readOnlyRootFilesystem: true
runAsGroup: 65532
runAsNonRoot: true
runAsUser: 65532
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "postern.podSecurityContext" -}}
fsGroup: 65532
runAsGroup: 65532
runAsNonRoot: true
runAsUser: 65532
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{/* Settings that every shape has. */}}
{{- define "postern.args" -}}
- serve
{{- if eq .Values.shape "sidecar" }}
- --listen=unix:/run/postern/ext_authz.sock
- --labels-file=/etc/podinfo/labels
- --use-remote-address={{ .Values.sidecar.envoy.useRemoteAddress }}
{{- else }}
- --listen={{ .Values.bindAddress }}:9191
{{- with .Values.workload.namespace }}
- --namespace={{ . }}
{{- end }}
{{- with .Values.workload.labels }}
- --labels={{ range $i, $key := keys . | sortAlpha }}{{ if $i }},{{ end }}{{ $key }}={{ get $.Values.workload.labels $key }}{{ end }}
{{- end }}
{{- end }}
- --probes={{ .Values.bindAddress }}:8283
- --http-listen=off
{{- if eq .Values.shape "store" }}
- --store=/var/lib/postern
- --api={{ .Values.bindAddress }}:{{ .Values.store.api.port }}
{{- else if include "postern.watches" . }}
- --kube
{{- with .Values.policies.namespaces }}
- --kube-namespaces={{ join "," . }}
{{- end }}
{{- if eq .Values.shape "sidecar" }}
- --kube-status=false
{{- else if .Values.workload.pods }}
- --kube-workloads=true
- --workload-from=destination
{{- end }}
{{- else }}
- --policies=/etc/postern/policies
{{- end }}
{{- if .Values.management.enabled }}
{{- include "postern.managementArgs" . }}
{{- end }}
{{- if .Values.config }}
- --config=/etc/postern/config/postern.yaml
{{- end }}
{{- with .Values.extraArgs }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* The management API. Replicas of a Deployment would each have a certificate of an authority of its own,
which nobody could know. */}}
{{- define "postern.managementArgs" -}}
{{- with .Values.management }}
{{- if eq $.Values.shape "sidecar" }}{{ fail "management is for the shapes service and store: a sidecar serves its pod alone" }}{{ end }}
{{- if and (eq $.Values.shape "service") (not .tlsSecret) }}{{ fail "management.tlsSecret is needed: the name of a Secret with tls.crt and tls.key" }}{{ end }}
{{- if and .issuer (not .audiences) }}{{ fail "management.audiences is needed beside management.issuer: tokens that are meant for others are not for it" }}{{ end }}
- --management={{ $.Values.bindAddress }}:{{ .port }}
{{- if .tlsSecret }}
- --management-certificate=/etc/postern/management/tls.crt
- --management-key=/etc/postern/management/tls.key
{{- else }}
- --management-hosts={{ include "postern.fullname" $ }}.{{ $.Release.Namespace }}.svc
{{- end }}
{{- with .issuer }}
- --management-issuer={{ . }}
{{- end }}
{{- with .jwksUri }}
- --management-jwks-uri={{ . }}
{{- end }}
{{- with .audiences }}
- --management-audiences={{ join "," . }}
{{- end }}
{{- with .prometheusUrl }}
- --prometheus-url={{ . }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "postern.env" -}}
- name: POSTERN_LOG_FORMAT
  value: json
{{- if eq .Values.shape "sidecar" }}
- name: POSTERN_NAMESPACE
  valueFrom:
    fieldRef:
      fieldPath: metadata.namespace
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Plain HTTP on a port of its own, where nothing else is: the admin port stays on loopback. */}}
{{- define "postern.probes" -}}
startupProbe:
  httpGet: { path: /readyz, port: probes }
  periodSeconds: 1
  failureThreshold: 60
readinessProbe:
  httpGet: { path: /readyz, port: probes }
  periodSeconds: 5
livenessProbe:
  httpGet: { path: /livez, port: probes }
  periodSeconds: 10
{{- end -}}

{{- define "postern.volumeMounts" -}}
{{- if eq .Values.shape "sidecar" }}
- name: postern-socket
  mountPath: /run/postern
- name: postern-podinfo
  mountPath: /etc/podinfo
  readOnly: true
{{- end }}
{{- if eq .Values.shape "store" }}
- name: store
  mountPath: /var/lib/postern
{{- with .Values.store.authSecret }}
- name: auth
  mountPath: /etc/postern/auth
  readOnly: true
{{- end }}
{{- else if not (include "postern.watches" .) }}
- name: postern-policies
  mountPath: /etc/postern/policies
  readOnly: true
{{- end }}
{{- if and .Values.management.enabled .Values.management.tlsSecret }}
- name: management-tls
  mountPath: /etc/postern/management
  readOnly: true
{{- end }}
{{- if .Values.config }}
- name: postern-config
  mountPath: /etc/postern/config
  readOnly: true
{{- end }}
{{- with .Values.pod.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "postern.volumes" -}}
{{- if eq .Values.shape "sidecar" }}
# Shared with Envoy: owned by the group of both, so that the socket's mode 0660 lets it in.
- name: postern-socket
  emptyDir: { medium: Memory, sizeLimit: 1Mi }
- name: postern-podinfo
  downwardAPI:
    items:
    - path: labels
      fieldRef: { fieldPath: metadata.labels }
{{- end }}
{{- if eq .Values.shape "store" }}
{{- with .Values.store.authSecret }}
- name: auth
  secret: { secretName: {{ . | quote }}, defaultMode: 288 } # 0440
{{- end }}
{{- else if not (include "postern.watches" .) }}
- name: postern-policies
  configMap: { name: {{ include "postern.policiesConfigMap" . | quote }} }
{{- end }}
{{- if and .Values.management.enabled .Values.management.tlsSecret }}
- name: management-tls
  secret: { secretName: {{ .Values.management.tlsSecret | quote }}, defaultMode: 288 } # 0440
{{- end }}
{{- if .Values.config }}
- name: postern-config
  configMap: { name: {{ printf "%s-config" (include "postern.fullname" .) | quote }} }
{{- end }}
{{- with .Values.pod.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* The container, without what makes it a sidecar. */}}
{{- define "postern.container" -}}
name: postern
image: {{ include "postern.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
args:
{{ include "postern.args" . }}
env:
{{ include "postern.env" . }}
ports:
{{- if ne .Values.shape "sidecar" }}
- { name: grpc, containerPort: 9191 }
{{- end }}
- { name: probes, containerPort: 8283 }
{{- if eq .Values.shape "store" }}
- { name: api, containerPort: {{ .Values.store.api.port }} }
{{- end }}
{{- if .Values.management.enabled }}
- { name: management, containerPort: {{ .Values.management.port }} }
{{- end }}
{{ include "postern.probes" . }}
{{- if and (ne .Values.shape "sidecar") (gt (int .Values.drainSeconds) 0) }}
lifecycle:
  preStop:
    sleep: { seconds: {{ .Values.drainSeconds }} }
{{- end }}
resources:
  {{- toYaml .Values.resources | nindent 2 }}
securityContext:
  {{- include "postern.containerSecurityContext" . | nindent 2 }}
{{- with include "postern.volumeMounts" . | trim }}
volumeMounts:
{{ . }}
{{- end }}
{{- end -}}

{{/* As an item of initContainers: started before the pod's other containers and ended after them. For
charts that put it into pods of their own. */}}
{{- define "postern.sidecar" -}}
{{ include "postern.container" . }}
restartPolicy: Always
{{- end -}}

{{/* What every pod has beside its containers. */}}
{{- define "postern.podSettings" -}}
serviceAccountName: {{ include "postern.serviceAccountName" . }}
automountServiceAccountToken: {{ if include "postern.watches" . }}true{{ else }}false{{ end }}
# Variables for services of the namespace could be taken for settings.
enableServiceLinks: false
terminationGracePeriodSeconds: {{ .Values.terminationGracePeriodSeconds }}
securityContext:
  {{- include "postern.podSecurityContext" . | nindent 2 }}
{{- with .Values.global.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.pod.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- with .Values.pod.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.pod.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.pod.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- if .Values.pod.topologySpreadConstraints }}
topologySpreadConstraints:
  {{- toYaml .Values.pod.topologySpreadConstraints | nindent 2 }}
{{- else if ne .Values.shape "store" }}
topologySpreadConstraints:
- maxSkew: 1
  topologyKey: kubernetes.io/hostname
  whenUnsatisfiable: ScheduleAnyway
  labelSelector:
    matchLabels:
      {{- include "postern.selectorLabels" . | nindent 6 }}
{{- end }}
{{- with include "postern.volumes" . | trim }}
volumes:
{{ . }}
{{- end }}
{{- end -}}

{{- define "postern.podAnnotations" -}}
{{- if .Values.metrics.annotations }}
prometheus.io/scrape: "true"
prometheus.io/port: "8283"
prometheus.io/path: /metrics
{{- end }}
{{- if .Values.config }}
# A changed setting needs a restart; changed policies do not.
checksum/config: {{ toYaml .Values.config | sha256sum }}
{{- end }}
{{- with .Values.pod.annotations }}
{{ toYaml . }}
{{- end }}
{{- end -}}
