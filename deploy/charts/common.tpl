{{/*
What all charts of this folder share. Each has a link to this file among its templates.
"ctx" is always the chart's root context, "app" the label that Services, policies and
Experiments select by.
*/}}

{{/* Labels of a pod: the very ones that pods have on the local testbed. */}}
{{- define "seatrial.podLabels" -}}
app: {{ .app }}
app.kubernetes.io/name: {{ .app }}
app.kubernetes.io/part-of: seatrial
{{- end }}

{{/* Labels of every other object. */}}
{{- define "seatrial.labels" -}}
{{ include "seatrial.podLabels" . }}
app.kubernetes.io/instance: {{ .ctx.Release.Name }}
app.kubernetes.io/managed-by: {{ .ctx.Release.Service }}
helm.sh/chart: {{ .ctx.Chart.Name }}-{{ .ctx.Chart.Version }}
{{- end }}

{{- define "seatrial.metadata" -}}
name: {{ get . "name" | default .app }}
namespace: {{ .ctx.Release.Namespace }}
labels:
  {{- include "seatrial.labels" . | nindent 2 }}
{{- end }}

{{/* image: a digest wins over a tag; global.image has a registry and a tag for all charts. */}}
{{- define "seatrial.image" -}}
{{- $all := .ctx.Values.global.image -}}
{{- with $all.registry }}{{ . }}/{{ end }}{{ .image.repository -}}
{{- if .image.digest }}@{{ .image.digest }}{{ else }}:{{ .image.tag | default $all.tag | default .ctx.Chart.AppVersion }}{{ end }}
{{- end }}

{{- define "seatrial.container" -}}
image: {{ include "seatrial.image" . | quote }}
imagePullPolicy: {{ .ctx.Values.global.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
{{- end }}

{{/*
What every pod's spec has in common. Service links are off because a Service called
"nats" would set NATS_PORT, which the start scripts read.
*/}}
{{- define "seatrial.hardened" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile:
    type: RuntimeDefault
{{- with .ctx.Values.global.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end }}

{{/* What the spec of a workload's pod begins with. */}}
{{- define "seatrial.pod" -}}
serviceAccountName: {{ .app }}
{{ include "seatrial.hardened" . }}
topologySpreadConstraints:
  {{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
  - maxSkew: 1
    topologyKey: {{ . }}
    whenUnsatisfiable: {{ if eq . "kubernetes.io/hostname" }}{{ $.ctx.Values.global.spread }}{{ else }}ScheduleAnyway{{ end }}
    labelSelector:
      matchLabels:
        app: {{ $.app }}
    {{- with get $ "revision" }}
    matchLabelKeys: [{{ . }}]
    {{- end }}
  {{- end }}
{{- end }}

{{/* Who and where a pod is, as on the local testbed. */}}
{{- define "seatrial.identity" -}}
- name: POD_NAME
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
- name: POD_IP
  valueFrom:
    fieldRef:
      fieldPath: status.podIP
- name: SEATRIAL_POD
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
{{- end }}

{{/* PEERS of three pods, as the start scripts want them. */}}
{{- define "seatrial.peers" -}}
{{- $app := . -}}
{{- range $n := until 3 }}{{ if $n }},{{ end }}{{ $app }}-{{ $n }}={{ $app }}-{{ $n }}.{{ $app }}{{ end }}
{{- end }}

{{/* A new version replaces the old one only while it proves to work. */}}
{{- define "seatrial.rollout" -}}
revisionHistoryLimit: 5
progressDeadlineSeconds: 120
minReadySeconds: 5
strategy:
  type: RollingUpdate
  rollingUpdate:
    maxUnavailable: 0
    maxSurge: 1
{{- end }}

{{/* Settings of a service, by the names of services/README.md without SEATRIAL_. */}}
{{- define "seatrial.settings" -}}
apiVersion: v1
kind: ConfigMap
metadata:
  {{- include "seatrial.metadata" . | nindent 2 }}
data:
  {{- range $name, $value := .ctx.Values.settings }}
  SEATRIAL_{{ upper $name }}: {{ if kindIs "slice" $value }}{{ join "," $value | quote }}{{ else }}{{ $value | toString | quote }}{{ end }}
  {{- end }}
{{- if .ctx.Values.valkeyAuth.password }}
---
apiVersion: v1
kind: Secret
metadata:
  {{- include "seatrial.metadata" (dict "app" .app "name" (printf "%s-valkey" .app) "ctx" .ctx) | nindent 2 }}
type: Opaque
stringData:
  SEATRIAL_VALKEY_PASSWORD: {{ .ctx.Values.valkeyAuth.password | quote }}
  SEATRIAL_VALKEY_SENTINEL_PASSWORD: {{ .ctx.Values.valkeyAuth.sentinelPassword | quote }}
{{- end }}
{{- end }}

{{- define "seatrial.settingsFrom" -}}
envFrom:
  - configMapRef:
      name: {{ .app }}
  {{- with .ctx.Values.valkeyAuth.existingSecret }}
  - secretRef:
      name: {{ . }}
  {{- else }}
  {{- if .ctx.Values.valkeyAuth.password }}
  - secretRef:
      name: {{ .app }}-valkey
  {{- end }}
  {{- end }}
{{- end }}

{{/* What guards every workload: an identity without rights, a disruption budget, scraping. */}}
{{- define "seatrial.guards" -}}
apiVersion: v1
kind: ServiceAccount
metadata:
  {{- include "seatrial.metadata" . | nindent 2 }}
automountServiceAccountToken: false
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  {{- include "seatrial.metadata" . | nindent 2 }}
spec:
  maxUnavailable: 1
  # A pod that does not work must not keep a node from being drained.
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels:
      app: {{ .app }}
{{- with .ctx.Values.global.monitoring }}
{{- if .enabled }}
---
apiVersion: monitoring.coreos.com/v1
kind: ServiceMonitor
metadata:
  name: {{ $.app }}
  namespace: {{ $.ctx.Release.Namespace }}
  labels:
    {{- include "seatrial.labels" $ | nindent 4 }}
    {{- with .labels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  # The label "job" of every sample, which alerts and experiments name, is the label "app".
  jobLabel: app
  selector:
    matchLabels:
      app: {{ $.app }}
  endpoints:
    - port: {{ $.metrics }}
      path: /metrics
      interval: {{ .interval }}
      scrapeTimeout: {{ .interval }}
{{- end }}
{{- end }}
{{- end }}

{{- define "seatrial.autoscaler" -}}
{{- with .ctx.Values.autoscaling }}
{{- if .enabled }}
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  {{- include "seatrial.metadata" $ | nindent 2 }}
spec:
  scaleTargetRef:
    apiVersion: apps/v1
    kind: Deployment
    name: {{ $.app }}
  minReplicas: {{ .min }}
  maxReplicas: {{ .max }}
  metrics:
    - type: Resource
      resource:
        name: cpu
        target:
          type: Utilization
          averageUtilization: {{ .cpuPercent }}
  # Up at once, by as many as there are; down slowly, so that a lull costs nothing.
  behavior:
    scaleUp:
      stabilizationWindowSeconds: 0
      selectPolicy: Max
      policies:
        - {type: Percent, value: 100, periodSeconds: 15}
        - {type: Pods, value: 2, periodSeconds: 15}
    scaleDown:
      stabilizationWindowSeconds: 300
      selectPolicy: Min
      policies:
        - {type: Pods, value: 1, periodSeconds: 60}
{{- end }}
{{- end }}
{{- end }}

{{/*
A pod of `helm test`: "args" are what its image is started with, "script" is a ConfigMap that it reads
below /etc/seatrial. Network policies know it by its label "app".
*/}}
{{- define "seatrial.test" -}}
apiVersion: v1
kind: Pod
metadata:
  {{- include "seatrial.metadata" . | nindent 2 }}
  annotations:
    helm.sh/hook: test
    helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
spec:
  {{- include "seatrial.hardened" . | nindent 2 }}
  restartPolicy: Never
  activeDeadlineSeconds: 120
  terminationGracePeriodSeconds: 1
  containers:
    - name: ask
      {{- include "seatrial.container" . | nindent 6 }}
      args:
        {{- toYaml .args | nindent 8 }}
      resources:
        requests: {cpu: 10m, memory: 32Mi}
        limits: {memory: 128Mi}
      {{- with get . "script" }}
      volumeMounts:
        - {name: script, mountPath: /etc/seatrial, readOnly: true}
  volumes:
    - name: script
      configMap:
        name: {{ . }}
      {{- end }}
{{- end }}

{{/*
The pod of `helm test` for one chart: tries a shell's command on each of "at", which it finds in
$at, until it succeeds. Without a command of the chart's own that is to fetch a page.
*/}}
{{- define "seatrial.asks" -}}
{{- $try := get . "try" | default "timeout 5 wget -q -O - $at" -}}
{{- $script := printf "for at; do until %s; do sleep 1; done; echo \"$at answers\"; done" $try -}}
{{- include "seatrial.test" (dict "name" (printf "%s-test" .app) "app" "seatrial-test" "image" .image
  "args" (concat (list "-c" $script "test") .at) "ctx" .ctx) }}
{{- end }}
