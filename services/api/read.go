package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"seatrial/services/task"
)

const (
	readWait   = 2 * time.Second
	exportWait = 2 * time.Minute
)

// taskBody is the wire form of one Task; what is not known yet is left out.
type taskBody struct {
	ID         string     `json:"id"`
	Status     task.State `json:"status"`
	Result     string     `json:"result,omitempty"`
	Worker     string     `json:"worker,omitempty"`
	AcceptedAt *time.Time `json:"accepted_at,omitempty"`
	DoneAt     *time.Time `json:"done_at,omitempty"`
	Deliveries int        `json:"deliveries,omitempty"`
}

func (a *API) getTask(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	if !task.ValidID(id) {
		notFound("with such an id").write(w)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), readWait)
	defer cancel()
	report, ok, err := a.find(ctx, id)
	switch {
	case err != nil:
		a.log.Warn("task not read", "error", err)
		unreadable("read task " + id + ": no answer in time; try again").write(w)
	case !ok:
		notFound(id).write(w)
	default:
		writeJSON(w, bodyOf(report))
	}
}

// find looks for a record, then among the waiting Tasks, then for a record
// again: the Task may have been done between the first two looks.
func (a *API) find(ctx context.Context, id string) (task.Report, bool, error) {
	report, ok, err := a.records.Get(ctx, id)
	if err != nil || ok {
		return report, ok, err
	}
	since, waiting, err := a.ledger.Waiting(ctx, id)
	if err != nil {
		return task.Report{}, false, err
	}
	if waiting {
		return task.Report{ID: id, State: task.Accepted, AcceptedAt: since}, true, nil
	}
	return a.records.Get(ctx, id)
}

func bodyOf(r task.Report) taskBody {
	return taskBody{r.ID, r.State, r.Result, r.Worker, known(r.AcceptedAt), known(r.DoneAt), r.Deliveries}
}

// known gives times in microseconds, as they are stored.
func known(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC().Truncate(time.Microsecond)
	return &t
}

// exportLine is one recorded Task of GET /tasks.
type exportLine struct {
	ID         string     `json:"id"`
	Status     task.State `json:"status"`
	Effects    int        `json:"effects"`
	AcceptedAt *time.Time `json:"accepted_at,omitempty"`
	DoneAt     *time.Time `json:"done_at,omitempty"`
	Worker     string     `json:"worker"`
}

type exportEnd struct {
	End   bool `json:"end"`
	Count int  `json:"count"`
}

// getTasks writes its status with the first record. What fails before is a
// problem; what fails after cuts the stream, which then has no last line.
func (a *API) getTasks(w http.ResponseWriter, r *http.Request) {
	prefix := r.URL.Query().Get("prefix")
	if !task.ValidPrefix(prefix) {
		p := invalid(http.StatusBadRequest, "prefix", "prefix: want at most 128 characters of A-Z, a-z, 0-9, _ and -")
		p.Outcome = ""
		p.write(w)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), exportWait)
	defer cancel()
	out, count := json.NewEncoder(w), 0
	err := a.records.Export(ctx, prefix, func(t task.Report) error {
		if count == 0 {
			w.Header().Set("Content-Type", "application/x-ndjson")
		}
		count++
		return out.Encode(exportLine{t.ID, t.State, t.Effects, known(t.AcceptedAt), known(t.DoneAt), t.Worker})
	})
	if err == nil {
		w.Header().Set("Content-Type", "application/x-ndjson")
		_ = out.Encode(exportEnd{true, count})
		return
	}
	a.log.Warn("export cut", "after", count, "error", err)
	if count == 0 {
		unreadable("export tasks: the store cannot be read now; try again").write(w)
		return
	}
	// Close the connection instead of ending the body, so that it cannot be
	// taken for a whole one.
	panic(http.ErrAbortHandler)
}

type statsBody struct {
	Keys      int64 `json:"valkey_keys_count"`
	Backlog   int   `json:"queue_backlog_length"`
	Processed int64 `json:"worker_processed_count"`
}

func (a *API) getStats(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), readWait)
	defer cancel()
	keys, processed, err := a.records.Counts(ctx)
	backlog, err2 := a.ledger.Backlog(ctx)
	if err := errors.Join(err, err2); err != nil {
		a.log.Warn("stats not read", "error", err)
		unreadable("read stats: the store or the queue did not answer in time; try again").write(w)
		return
	}
	writeJSON(w, statsBody{keys, backlog, processed})
}

func writeJSON(w http.ResponseWriter, body any) {
	w.Header()["Content-Type"] = jsonType
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(body)
}
