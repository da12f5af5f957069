package kube

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	core "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// maxLog is how much of one container's log a trial keeps, its end.
const maxLog = 1 << 20

// Logs writes what every container of the system logged since then into dir, a file
// POD.CONTAINER.log each, and POD.CONTAINER.previous.log of one that was restarted;
// and the namespace's events into events.txt. Logs of pods that are gone are gone
// with them.
func (t *Testbed) Logs(ctx context.Context, since time.Time, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	pods, err := t.pods(ctx)
	if err != nil {
		return err
	}
	errs := []error{t.events(ctx, since, filepath.Join(dir, "events.txt"))}
	for _, p := range pods {
		if p.Labels[appLabel] == "" {
			continue
		}
		for _, c := range p.Status.ContainerStatuses {
			file := filepath.Join(dir, p.Name+"."+c.Name)
			errs = append(errs, t.log(ctx, &p, c.Name, since, false, file+".log"))
			if last := c.LastTerminationState.Terminated; last != nil && last.FinishedAt.After(since) {
				errs = append(errs, t.log(ctx, &p, c.Name, since, true, file+".previous.log"))
			}
		}
	}
	return errors.Join(errs...)
}

// log writes one container's log. A container that has none (not started yet, or
// cleaned away) leaves no file, and is no error.
func (t *Testbed) log(ctx context.Context, pod *core.Pod, container string, since time.Time, previous bool, path string) error {
	from := meta.NewTime(since)
	stream, err := t.logs.Pods(pod.Namespace).GetLogs(pod.Name, &core.PodLogOptions{
		Container: container, Previous: previous, SinceTime: &from,
	}).Stream(ctx)
	if apierrors.IsBadRequest(err) || apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the log of %s/%s: %w", pod.Name, container, err)
	}
	defer stream.Close()
	var end tail
	if _, err := io.Copy(&end, stream); err != nil {
		return fmt.Errorf("read the log of %s/%s: %w", pod.Name, container, err)
	}
	if len(end.kept) == 0 {
		return nil
	}
	return os.WriteFile(path, end.bytes(), 0o644)
}

// tail keeps the last maxLog bytes that are written to it.
type tail struct{ kept []byte }

// Write never fails.
func (t *tail) Write(p []byte) (int, error) {
	t.kept = append(t.kept, p...)
	if len(t.kept) > 2*maxLog {
		t.kept = append([]byte(nil), t.bytes()...)
	}
	return len(p), nil
}

func (t *tail) bytes() []byte { return t.kept[max(0, len(t.kept)-maxLog):] }

// events writes the events of the namespace, oldest first.
func (t *Testbed) events(ctx context.Context, since time.Time, path string) error {
	var list core.EventList
	if err := t.client.List(ctx, &list, client.InNamespace(t.cfg.Namespace)); err != nil {
		return fmt.Errorf("list the events of namespace %s: %w", t.cfg.Namespace, err)
	}
	return os.WriteFile(path, []byte(eventLines(list.Items, since)), 0o644)
}

func eventLines(events []core.Event, since time.Time) string {
	events = slices.DeleteFunc(slices.Clone(events), func(e core.Event) bool { return eventTime(&e).Before(since) })
	slices.SortStableFunc(events, func(a, b core.Event) int { return eventTime(&a).Compare(eventTime(&b)) })
	var b strings.Builder
	for _, e := range events {
		o := e.InvolvedObject
		fmt.Fprintf(&b, "%s  %-7s  %-20s  %s %s  %s", eventTime(&e).UTC().Format(time.RFC3339), e.Type, e.Reason, o.Kind, o.Name, oneLine(e.Message))
		if e.Count > 1 {
			fmt.Fprintf(&b, "  (%d times)", e.Count)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// eventTime is when an event was last seen; there are three places for it.
func eventTime(e *core.Event) time.Time {
	return cmp.Or(e.LastTimestamp.Time, e.EventTime.Time, e.FirstTimestamp.Time, e.CreationTimestamp.Time)
}
