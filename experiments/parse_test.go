package experiments

import (
	"errors"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/chaos-mesh/chaos-mesh/api/v1alpha1"
)

// good is a manifest without mistakes, for tests to spoil.
const good = `apiVersion: chaos-mesh.org/v1alpha1
kind: NetworkChaos
metadata:
  name: slow
  namespace: seatrial
  annotations:
    seatrial.dev/in-force: up{pod=~"$victims"} == 0
spec:
  action: delay
  mode: one
  duration: 12s
  delay:
    latency: 50ms
  selector:
    labelSelectors: {app: worker}
`

const goodKill = `apiVersion: chaos-mesh.org/v1alpha1
kind: PodChaos
metadata:
  name: kill
  annotations:
    seatrial.dev/in-force: up == 0
spec:
  action: container-kill
  mode: one
  containerNames: [worker]
  selector:
    labelSelectors: {app: worker}
`

const goodStress = `apiVersion: chaos-mesh.org/v1alpha1
kind: StressChaos
metadata:
  name: stress
  annotations:
    seatrial.dev/in-force: up == 0
spec:
  mode: one
  duration: 5s
  stressors:
    cpu: {workers: 1}
  selector:
    labelSelectors: {app: worker}
`

// spoil replaces the first occurrence of each old text by the new one, given in
// pairs.
func spoil(t *testing.T, manifest string, pairs ...string) string {
	t.Helper()
	for i := 0; i+1 < len(pairs); i += 2 {
		if !strings.Contains(manifest, pairs[i]) {
			t.Fatalf("the manifest has no %q to replace", pairs[i])
		}
		manifest = strings.Replace(manifest, pairs[i], pairs[i+1], 1)
	}
	return manifest
}

func TestParseReadsWhatATestbedNeeds(t *testing.T) {
	e, err := Parse("slow.yaml", []byte(good))
	if err != nil {
		t.Fatal(err)
	}
	if e.Name != "slow" || e.Namespace != "seatrial" || e.File != "slow.yaml" || e.Kind != "NetworkChaos" ||
		e.Action != "delay" || e.Duration != 12*time.Second || e.OneShot || e.Repeat != (Repeat{}) ||
		e.InForce != `up{pod=~"$victims"} == 0` || len(e.NeedsKubernetes) != 0 || string(e.Raw) != good {
		t.Errorf("parsed %+v", e)
	}
	chaos := e.Object.(*v1alpha1.NetworkChaos)
	if chaos.Spec.Direction != v1alpha1.To || chaos.Spec.Delay.Jitter != "0ms" {
		t.Errorf("defaults of the webhook are missing: direction %q, jitter %q", chaos.Spec.Direction, chaos.Spec.Delay.Jitter)
	}
	if got := chaos.Spec.Selector.Namespaces; len(got) != 1 || got[0] != "seatrial" {
		t.Errorf("selector.namespaces %q, want the object's own", got)
	}
	if e.Span() != 12*time.Second {
		t.Errorf("span %s", e.Span())
	}
}

func TestParseReadsOneShotsAndRepetitions(t *testing.T) {
	e, err := Parse("kill.yaml", []byte(spoil(t, goodKill, "up == 0", "up == 0\n    seatrial.dev/repeat: 5s x 3")))
	if err != nil {
		t.Fatal(err)
	}
	if !e.OneShot || e.Duration != 0 || e.Repeat != (Repeat{5 * time.Second, 3}) || e.Span() != 10*time.Second {
		t.Errorf("one-shot %t, duration %s, repeat %+v, span %s", e.OneShot, e.Duration, e.Repeat, e.Span())
	}
}

func TestParseNamesEveryMistakeAtItsPlace(t *testing.T) {
	const many = "x.yaml:"
	for name, test := range map[string]struct {
		manifest string
		want     []string // each must be in the error, with its line
	}{
		"empty file":       {"", []string{"x.yaml:1: the file holds no object"}},
		"only a comment":   {"# nothing\n", []string{"x.yaml:1: the file holds no object"}},
		"no mapping":       {"- a\n", []string{"x.yaml:1: not an object"}},
		"no YAML":          {"a: [1\nb: 2\n", []string{"x.yaml:", "did not find expected"}},
		"two documents":    {good + "---\n" + goodKill, []string{"x.yaml:16: a second document begins here"}},
		"key given twice":  {spoil(t, good, "  mode: one", "  mode: one\n  mode: all"), []string{"x.yaml:11: ", `"mode"`}},
		"wrong apiVersion": {spoil(t, good, "/v1alpha1", "/v1"), []string{`x.yaml:1: apiVersion: "chaos-mesh.org/v1"; want chaos-mesh.org/v1alpha1`}},
		"no apiVersion":    {spoil(t, good, "apiVersion: chaos-mesh.org/v1alpha1\n", ""), []string{"apiVersion: missing; want chaos-mesh.org/v1alpha1"}},
		"unknown kind":     {spoil(t, good, "NetworkChaos", "NetworkChaso"), []string{`x.yaml:2: kind: "NetworkChaso" is no kind of Chaos Mesh's; did you mean NetworkChaos?`}},
		"kind of others":   {spoil(t, good, "NetworkChaos", "Deployment"), []string{`x.yaml:2: kind: "Deployment"`, "there are AWSChaos"}},
		"no name":          {spoil(t, good, "  name: slow\n", ""), []string{"x.yaml:3: metadata.name: missing"}},
		"bad name":         {spoil(t, good, "name: slow", "name: Slow_One"), []string{`x.yaml:4: metadata.name: "Slow_One"`}},
		"no spec":          {good[:strings.Index(good, "spec:")], []string{"spec: missing"}},
		"unknown field":    {spoil(t, good, "  duration: 12s", "  durations: 12s"), []string{"x.yaml:11: spec.durations: unknown field; did you mean duration?", `spec.duration: missing; a fault that lasts needs an end, such as "12s"`}},
		"unknown, nested":  {spoil(t, good, "latency: 50ms", "latency: 50ms\n    jiter: 1ms"), []string{"x.yaml:14: spec.delay.jiter: unknown field; did you mean jitter?"}},
		"unknown, far off": {spoil(t, good, "latency: 50ms", "latency: 50ms\n    wobble: 1ms"), []string{"there are correlation, jitter, latency, reorder"}},
		"wrong case":       {spoil(t, good, "labelSelectors", "labelselectors"), []string{"x.yaml:15: spec.selector.labelselectors: unknown field; did you mean labelSelectors?"}},
		"wrong type":       {spoil(t, good, "latency: 50ms", "latency: 50"), []string{"x.yaml:13: spec.delay.latency: a number where a string belongs; put it in quotes"}},
		"list for mapping": {spoil(t, good, "{app: worker}", "[app]"), []string{"x.yaml:15: spec.selector.labelSelectors: a list where a mapping belongs"}},
		"unknown action":   {spoil(t, good, "action: delay", "action: slow"), []string{`x.yaml:9: spec.action: "slow" is no action of a NetworkChaos; it does netem, delay, loss, duplicate, corrupt, partition, bandwidth`}},
		"no action":        {spoil(t, good, "  action: delay\n", ""), []string{"spec.action: missing; a NetworkChaos does netem"}},
		"action of others": {spoil(t, goodKill, "container-kill", "pod-burn"), []string{`x.yaml:8: spec.action: "pod-burn" is no action of a PodChaos; it does pod-kill, pod-failure, container-kill`}},
		"bad duration":     {spoil(t, good, "12s", "12 s"), []string{`x.yaml:11: spec.duration: "12 s" is not a duration above 0; want one such as "12s" or "1m30s"`}},
		"no unit":          {spoil(t, good, "12s", `"12"`), []string{`x.yaml:11: spec.duration: "12" is not a duration`}},
		"negative":         {spoil(t, good, "12s", "-12s"), []string{`x.yaml:11: spec.duration: "-12s"`}},
		"zero":             {spoil(t, good, "12s", "0s"), []string{`x.yaml:11: spec.duration: "0s"`}},
		"duration, empty":  {spoil(t, good, "12s", `""`), []string{`x.yaml:11: spec.duration: ""`}},
		"endless failure":  {spoil(t, goodKill, "container-kill", "pod-failure", "  containerNames: [worker]\n", ""), []string{"x.yaml:7: spec.duration: missing"}},
		"one-shot, lasts":  {spoil(t, goodKill, "  mode: one", "  mode: one\n  duration: 5s"), []string{"x.yaml:10: spec.duration: container-kill happens once and has no duration"}},
		"no selector":      {spoil(t, good, "  selector:\n    labelSelectors: {app: worker}\n", ""), []string{"x.yaml:8: spec.selector: missing or empty, which would match every pod"}},
		"empty selector":   {spoil(t, good, "{app: worker}", "{}"), []string{"x.yaml:14: spec.selector: missing or empty"}},
		"bad expression":   {spoil(t, good, "labelSelectors: {app: worker}", "expressionSelectors: [{key: app, operator: Is, values: [a]}]"), []string{"x.yaml:14: spec.selector: labelSelectors and expressionSelectors:", `"Is"`}},
		"bad label":        {spoil(t, good, "{app: worker}", "{app: a b}"), []string{"x.yaml:14: spec.selector: labelSelectors"}},
		"bad phase":        {spoil(t, good, "labelSelectors: {app: worker}", "podPhaseSelectors: [Runing]"), []string{"podPhaseSelectors", "want some of Pending, Running"}},
		"bad field":        {spoil(t, good, "labelSelectors: {app: worker}", "fieldSelectors: {metadata.uid: x}"), []string{`fieldSelectors: "metadata.uid" is not known`}},
		"no mode":          {spoil(t, good, "  mode: one\n", ""), []string{`x.yaml:8: spec.mode: mode ""; want one, all, fixed, fixed-percent or random-max-percent`}},
		"unknown mode":     {spoil(t, good, "mode: one", "mode: some"), []string{`x.yaml:10: spec.mode: mode "some"; want one, all`}},
		"no value":         {spoil(t, good, "mode: one", "mode: fixed"), []string{`spec.value: value "": mode fixed wants a number`}},
		"value too large":  {spoil(t, good, "mode: one", "mode: fixed-percent\n  value: \"101\""), []string{`x.yaml:11: spec.value: value "101": mode fixed-percent wants a percentage from 1 to 100`}},
		"idle value":       {spoil(t, good, "mode: one", "mode: one\n  value: \"2\""), []string{`x.yaml:11: spec.value: value "2" has no meaning with mode one`}},
		"target's mode":    {good + "  target: {mode: any, selector: {labelSelectors: {app: x}}}\n", []string{`x.yaml:16: spec.target.mode: mode "any"`}},
		"target, no selec": {good + "  target:\n    mode: all\n", []string{"x.yaml:16: spec.target.selector: missing or empty"}},
		"no containers":    {spoil(t, goodKill, "  containerNames: [worker]\n", ""), []string{"x.yaml:7: spec.containerNames: missing; container-kill wants the names"}},
		"empty container":  {spoil(t, goodKill, "[worker]", `[""]`), []string{"x.yaml:10: spec.containerNames: has an empty name"}},
		"idle containers":  {spoil(t, goodKill, "container-kill", "pod-kill"), []string{"x.yaml:10: spec.containerNames: has no meaning with pod-kill"}},
		"negative grace":   {spoil(t, goodKill, "container-kill", "pod-kill", "containerNames: [worker]", "gracePeriod: -1"), []string{"x.yaml:10: spec.gracePeriod: -1; want seconds"}},
		"idle grace":       {spoil(t, goodKill, "  mode: one", "  mode: one\n  gracePeriod: 3"), []string{"x.yaml:10: spec.gracePeriod: has no meaning with container-kill"}},
		"no parameters":    {spoil(t, good, "action: delay", "action: loss"), []string{"x.yaml:12: spec.delay: has no meaning with action loss", "spec.loss: missing; action loss wants loss"}},
		"idle parameters":  {spoil(t, good, "action: delay", "action: partition"), []string{"x.yaml:12: spec.delay: has no meaning with action partition"}},
		"bad latency":      {spoil(t, good, "50ms", "50 ms"), []string{`x.yaml:13: spec.delay.latency: "50 ms" is not a delay; want one number and one unit`}},
		"bad direction":    {spoil(t, good, "mode: one", "mode: one\n  direction: in"), []string{`x.yaml:11: spec.direction: "in"; want to, from or both`}},
		"from, no target":  {spoil(t, good, "mode: one", "mode: one\n  direction: from"), []string{"x.yaml:11: spec.direction: from needs a target"}},
		"bad behavior":     {spoil(t, good, "mode: one", "mode: one\n  partitionBehavior: ignore"), []string{`x.yaml:11: spec.partitionBehavior: "ignore"; want drop or reject`}},
		"idle behavior":    {spoil(t, good, "mode: one", "mode: one\n  partitionBehavior: drop"), []string{"x.yaml:11: spec.partitionBehavior: has no meaning with delay"}},
		"no stressors":     {spoil(t, goodStress, "  stressors:\n    cpu: {workers: 1}\n", ""), []string{"x.yaml:7: spec.stressors: missing; want cpu or memory"}},
		"no workers":       {spoil(t, goodStress, "workers: 1", "workers: 0"), []string{"x.yaml:11: spec.stressors.cpu.workers: 0; want a number from 1 to 8192"}},
		"too much load":    {spoil(t, goodStress, "workers: 1", "workers: 1, load: 101"), []string{"spec.stressors.cpu.load: 101; want a number from 0 to 100"}},
		"bad memory":       {spoil(t, goodStress, "cpu: {workers: 1}", "memory: {workers: 1, size: lots}"), []string{`spec.stressors.memory.size: "lots" is not a size`}},
		"no signature":     {spoil(t, good, `    seatrial.dev/in-force: up{pod=~"$victims"} == 0`+"\n", ""), []string{"x.yaml:6: metadata.annotations.seatrial.dev/in-force: missing; it is the PromQL that proves"}},
		"empty signature":  {spoil(t, good, `up{pod=~"$victims"} == 0`, `" "`), []string{"x.yaml:7: metadata.annotations.seatrial.dev/in-force: missing"}},
		"odd placeholder":  {spoil(t, good, "$victims", "$victim"), []string{"x.yaml:7: ", "unknown placeholder $victim; did you mean $victims?"}},
		"open bracket":     {spoil(t, good, `"} == 0`, `" == 0`), []string{"x.yaml:7: ", "'{' that is never closed"}},
		"closing bracket":  {spoil(t, good, "== 0", "== 0)"), []string{"x.yaml:7: ", "')' that closes nothing"}},
		"open string":      {spoil(t, good, `"} == 0`, `} == 0`), []string{"x.yaml:7: "}},
		"bool":             {spoil(t, good, "== 0", "== bool 0"), []string{"x.yaml:7: ", "bool modifier"}},
		"odd annotation":   {spoil(t, good, "  annotations:", "  annotations:\n    seatrial.dev/inforce: x"), []string{"x.yaml:7: metadata.annotations.seatrial.dev/inforce: unknown annotation; did you mean seatrial.dev/in-force?"}},
		"long summary":     {spoil(t, good, "  annotations:", "  annotations:\n    seatrial.dev/summary: \"a\\nb\""), []string{"x.yaml:7: ", "several lines"}},
		"empty victims":    {spoil(t, good, "  annotations:", "  annotations:\n    seatrial.dev/victims: \"\""), []string{"x.yaml:7: ", "empty; want a PromQL query"}},
		"victims' place":   {spoil(t, good, "  annotations:", "  annotations:\n    seatrial.dev/victims: up > $injected"), []string{"x.yaml:7: ", "unknown placeholder $injected; there are none"}},
		"bad repetition":   {spoil(t, goodKill, "  annotations:", "  annotations:\n    seatrial.dev/repeat: 3 times"), []string{`x.yaml:6: metadata.annotations.seatrial.dev/repeat: "3 times" is no repetition; want "<every> x <times>"`}},
		"repeat, lasting":  {spoil(t, good, "  annotations:", "  annotations:\n    seatrial.dev/repeat: 5s x 3"), []string{"x.yaml:7: ", "NetworkChaos delay lasts"}},
		"all at once": {spoil(t, good, "/v1alpha1", "/v2", "12s", "soon", "mode: one", "mode: two", "50ms", "fast", "up{", "$x{"),
			[]string{many + "1: apiVersion", many + "11: spec.duration", many + "10: spec.mode", many + "13: spec.delay.latency", many + "7: metadata.annotations"}},
		"webhook's word": {spoil(t, good, "NetworkChaos", "TimeChaos", "  action: delay\n", "", "  delay:\n    latency: 50ms\n", "  timeOffset: later\n"),
			[]string{"x.yaml:11: ", "timeOffset"}},
	} {
		t.Run(name, func(t *testing.T) {
			e, err := Parse("x.yaml", []byte(test.manifest))
			if err == nil {
				t.Fatalf("parsed without an error: %+v", e)
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the error lacks %q:\n%v", want, err)
				}
			}
			var mistakes Mistakes
			if !errors.As(err, &mistakes) || len(mistakes) == 0 || mistakes[0].Line < 1 {
				t.Errorf("no Mistakes with lines: %#v", err)
			}
		})
	}
}

func TestParseTellsWhatOnlyKubernetesCan(t *testing.T) {
	head := func(kind string) string {
		return "apiVersion: chaos-mesh.org/v1alpha1\nkind: " + kind + "\nmetadata:\n  name: x\n  annotations: {seatrial.dev/in-force: up}\nspec:\n"
	}
	const pods = "  mode: one\n  selector: {labelSelectors: {app: api}}\n"
	for name, test := range map[string]struct{ manifest, want string }{
		"time":      {head("TimeChaos") + pods + "  duration: 5s\n  timeOffset: -10m\n", "kind TimeChaos"},
		"io":        {head("IOChaos") + pods + "  duration: 5s\n  action: latency\n  delay: 10ms\n  volumePath: /data\n  percent: 50\n", "kind IOChaos"},
		"dns":       {head("DNSChaos") + pods + "  duration: 5s\n  action: error\n  patterns: [a.example]\n", "kind DNSChaos"},
		"http":      {head("HTTPChaos") + pods + "  duration: 5s\n  target: Request\n  port: 80\n  abort: true\n", "kind HTTPChaos"},
		"kernel":    {head("KernelChaos") + pods + "  duration: 5s\n  failKernRequest: {failtype: 0}\n", "kind KernelChaos"},
		"jvm":       {head("JVMChaos") + pods + "  duration: 5s\n  action: gc\n", "kind JVMChaos"},
		"cloud":     {head("AWSChaos") + "  duration: 5s\n  action: ec2-stop\n  awsRegion: eu\n  ec2Instance: i-1\n", "kind AWSChaos"},
		"schedule":  {head("Schedule") + "  schedule: '@every 5s'\n  type: PodChaos\n  podChaos:\n    action: pod-kill\n    mode: one\n    selector: {labelSelectors: {app: api}}\n", "kind Schedule"},
		"workflow":  {head("Workflow") + "  entry: a\n  templates: [{name: a, templateType: Suspend, deadline: 5s}]\n", "kind Workflow"},
		"device":    {strings.Replace(good, "  mode: one", "  mode: one\n  device: eth1", 1), "spec.device and spec.targetDevice"},
		"outside":   {strings.Replace(good, "  mode: one", "  mode: one\n  externalTargets: [192.0.2.1]", 1), "spec.externalTargets"},
		"nodes":     {strings.Replace(good, "labelSelectors", "nodeSelectors", 1), "spec.selector.nodeSelectors"},
		"stress-ng": {strings.Replace(goodStress, "  stressors:\n    cpu: {workers: 1}", "  stressngStressors: --cpu 1", 1), "spec.stressngStressors"},
		"options":   {strings.Replace(goodStress, "workers: 1", "workers: 1, options: [--cpu-ops 5]", 1), "options of stress-ng in spec.stressors"},
		"grace":     {spoil(t, goodKill, "container-kill", "pod-kill", "containerNames: [worker]", "gracePeriod: 3"), "spec.gracePeriod"},
		"remote":    {strings.Replace(goodKill, "  mode: one", "  mode: one\n  remoteCluster: b", 1), "spec.remoteCluster"},
	} {
		t.Run(name, func(t *testing.T) {
			e, err := Parse("x.yaml", []byte(test.manifest))
			if err != nil {
				t.Fatal(err)
			}
			if len(e.NeedsKubernetes) != 1 || e.NeedsKubernetes[0] != test.want {
				t.Errorf("needs Kubernetes for %q, want %q", e.NeedsKubernetes, test.want)
			}
		})
	}
}

func TestLoadTellsTheMistakesOfAllFiles(t *testing.T) {
	_, err := Load(fstest.MapFS{
		"a.yaml":    {Data: []byte(good)},
		"b.yml":     {Data: []byte(spoil(t, good, "12s", "soon"))},
		"c.yaml":    {Data: []byte("kind: Pod\n")},
		"README.md": {Data: []byte("not a manifest")},
		"sub/d.yml": {Data: []byte("not read")},
	})
	if err == nil {
		t.Fatal("loaded")
	}
	for _, want := range []string{
		`b.yml:4: metadata.name: the name "slow" is taken by a.yaml`, `b.yml:11: spec.duration: "soon"`, `c.yaml:1: kind: "Pod"`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error lacks %q:\n%v", want, err)
		}
	}
	if strings.Contains(err.Error(), "README") || strings.Contains(err.Error(), "sub") {
		t.Errorf("files that are no manifests were read:\n%v", err)
	}
}

func TestLoadWantsAManifest(t *testing.T) {
	if _, err := Load(fstest.MapFS{"README.md": {}}); err == nil || !strings.Contains(err.Error(), "no manifest") {
		t.Errorf("error %v", err)
	}
	if _, err := Load(broken{}); err == nil || !strings.Contains(err.Error(), "list manifests") {
		t.Errorf("error %v", err)
	}
}

type broken struct{}

func (broken) Open(string) (fs.File, error) { return nil, fs.ErrPermission }

func TestGetSuggestsNames(t *testing.T) {
	set, err := Load(fstest.MapFS{"a.yaml": {Data: []byte(good)}, "b.yaml": {Data: []byte(goodKill)}})
	if err != nil {
		t.Fatal(err)
	}
	if e, err := set.Get("slow"); err != nil || e.Name != "slow" {
		t.Errorf("got %v, %v", e, err)
	}
	for name, want := range map[string]string{
		"slwo":      `no experiment is named "slwo"; there are kill, slow`,
		"slo":       `no experiment is named "slo"; did you mean slow?`,
		"Slow":      `did you mean slow?`,
		"partition": `there are kill, slow`,
	} {
		if _, err := set.Get(name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Get(%q): %v, want %q", name, err, want)
		}
	}
}
