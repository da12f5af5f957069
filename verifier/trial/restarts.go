package trial

import (
	"context"
	"math"
	"strconv"
	"strings"
	"time"
)

// lives are queries that count, by pod, how often a server was started between the injection
// and now: $span is the time since shortly before it, $since that moment in Unix time. A
// pod that was not there before counts as one. Exporters beside a server do not count;
// Valkey's derives the start from the uptime, to a second or so, and tells the last one only.
var lives = []string{
	`sum by (pod) (changes(process_start_time_seconds{job=~"api|worker"}[$span]) or changes(nats_server_start_time_seconds{job="nats"}[$span])) > 0`,
	`count by (pod) ((last_over_time(process_start_time_seconds{job=~"api|worker"}[$span]) unless process_start_time_seconds offset $span) or
(last_over_time(nats_server_start_time_seconds{job="nats"}[$span]) unless nats_server_start_time_seconds offset $span))`,
	`count by (pod) (last_over_time(redis_start_time_seconds{job="valkey"}[$span]) > $since)`,
}

// noteRestarts records which servers were started anew since the injection; nothing when
// there was none, or when Prometheus does not say.
func (r *run) noteRestarts(ctx context.Context) {
	if r.rec.InjectAt.IsZero() {
		return
	}
	now := time.Now()
	all := map[string]int{}
	for _, query := range livesSince(r.rec.InjectAt, now) {
		vector, err := r.Metrics.Vector(ctx, query, now)
		if err != nil {
			return
		}
		for _, s := range vector {
			if pod := s.Labels["pod"]; pod != "" {
				all[pod] += int(math.Round(s.Value))
			}
		}
	}
	r.rec.Restarts = all
}

// livesSince returns the queries for what was started from an injection up to now.
func livesSince(injected, now time.Time) []string {
	since := injected.Add(-2 * time.Second)
	span := int(math.Ceil(now.Sub(since).Seconds()))
	var all []string
	for _, query := range lives {
		all = append(all, strings.NewReplacer("$span", strconv.Itoa(span)+"s", "$since", strconv.FormatInt(since.Unix(), 10)).Replace(query))
	}
	return all
}
