package kube

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"time"

	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"seatrial/experiments"
)

// Chaos Mesh's objects tell that something failed, its daemons' logs why.

// readyDaemons are Chaos Mesh's daemons that are ready, by node.
func (t *Testbed) readyDaemons(ctx context.Context) (map[string]core.Pod, error) {
	var pods core.PodList
	err := t.client.List(ctx, &pods, client.InNamespace(t.cfg.ChaosMeshNamespace), client.MatchingLabels{component: daemonPart})
	if err != nil {
		return nil, err
	}
	ready := map[string]core.Pod{}
	for _, p := range pods.Items {
		if unready(&p) == "" {
			ready[p.Spec.NodeName] = p
		}
	}
	return ready, nil
}

// errNoDaemon is for nodes on which Chaos Mesh cannot do anything.
var errNoDaemon = errors.New("no chaos-daemon is ready there")

// mostOfLog is how much of a daemon's log is read for a reason.
const mostOfLog = 4 << 20

// daemonErrors are the errors that the daemons logged since then about the pods of
// a round. It finds none where it may not look, or has no time: they are for the
// reader.
func (t *Testbed) daemonErrors(ctx context.Context, r *experiments.Resolution, since time.Time) []string {
	daemons, err := t.readyDaemons(ctx)
	if err != nil {
		return nil
	}
	var pods []string
	for _, p := range touched(r) {
		pods = append(pods, p.Namespace+"/"+p.Name)
	}
	from := meta.NewTime(since)
	var all []string
	for _, node := range nodesOf(r) {
		stream, err := t.logs.Pods(t.cfg.ChaosMeshNamespace).GetLogs(daemons[node].Name, &core.PodLogOptions{SinceTime: &from}).Stream(ctx)
		if err != nil {
			continue
		}
		text, err := io.ReadAll(io.LimitReader(stream, mostOfLog))
		stream.Close()
		if err == nil {
			all = append(all, errorsAbout(string(text), pods)...)
		}
	}
	return unique(all)
}

// errorsAbout finds in a daemon's log the errors about pods, given as
// namespace/name. A line ends in JSON, which says the pod and the error.
func errorsAbout(log string, pods []string) []string {
	var all []string
	for line := range strings.Lines(log) {
		_, tail, ok := strings.Cut(line, "\t{")
		if !ok || !strings.Contains(line, "\tERROR\t") {
			continue
		}
		var fields struct {
			Pod   string `json:"namespacedName"`
			Error string `json:"error"`
		}
		if json.Unmarshal([]byte("{"+tail), &fields) == nil && fields.Error != "" && slices.Contains(pods, fields.Pod) {
			all = append(all, oneLine(fields.Error))
		}
	}
	return unique(all)
}
