package shelf

import (
	_ "embed"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"seatrial/verifier/verdict"
)

//go:embed index.gohtml
var indexText string

var index = template.Must(template.New("index").Funcs(template.FuncMap{
	"word": word,
	"time": func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05") },
	"took": func(seconds float64) string {
		return time.Duration(seconds * float64(time.Second)).Round(time.Second).String()
	},
	"count": count,
}).Parse(indexText))

// count says how many scenarios of a run had which verdict.
func count(r Run) string {
	n := map[verdict.Status]int{}
	for _, s := range r.Verdict.Scenarios {
		n[s.Status]++
	}
	var parts []string
	for _, s := range statuses {
		if n[s] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n[s], s))
		}
	}
	if missed := len(r.Verdict.NotRun); missed > 0 {
		parts = append(parts, fmt.Sprintf("%d not run", missed))
	}
	return strings.Join(parts, ", ")
}

// Handler serves the index at /, the runs' files below /runs/, the newest run's
// report at /latest, /metrics, and /healthz, which fails when the folder cannot be
// read. Only GET and HEAD are answered.
func (s *Shelf) Handler(log *slog.Logger) http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(s)
	files := http.StripPrefix("/runs", http.FileServerFS(s.root.FS()))
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) { s.index(w, log) })
	mux.HandleFunc("GET /latest", func(w http.ResponseWriter, r *http.Request) { s.latest(w, r) })
	mux.HandleFunc("GET /healthz", s.health)
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError}))
	mux.Handle("GET /runs/", guard(files))
	return mux
}

// policy lets a report use what it brings along, and nothing else: evidence holds
// texts of the system under trial.
const policy = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src 'self' data:; form-action 'none'; frame-ancestors 'none'"

// guard answers nothing that is hidden, and no text as a page by guess.
func guard(files http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for part := range strings.SplitSeq(r.URL.Path, "/") {
			if strings.HasPrefix(part, ".") {
				http.NotFound(w, r)
				return
			}
		}
		if ext := path.Ext(r.URL.Path); ext == ".md" || ext == ".log" || ext == ".yaml" || ext == ".ndjson" || ext == ".feature" {
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		}
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Content-Security-Policy", policy)
		files.ServeHTTP(w, r)
	})
}

func (s *Shelf) index(w http.ResponseWriter, log *slog.Logger) {
	runs, err := s.Runs()
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Security-Policy", policy)
	if err := index.Execute(w, runs); err != nil {
		log.Warn("write the index", "error", err)
	}
}

// latest leads to the report of the newest run that has one.
func (s *Shelf) latest(w http.ResponseWriter, r *http.Request) {
	runs, err := s.Runs()
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	for _, run := range runs {
		if run.Verdict != nil && run.Report {
			target := url.URL{Path: "/runs/" + run.Folder + "/report.html"}
			http.Redirect(w, r, target.String(), http.StatusFound)
			return
		}
	}
	http.Error(w, "no run has a report yet", http.StatusNotFound)
}

func (s *Shelf) health(w http.ResponseWriter, _ *http.Request) {
	if _, err := s.Runs(); err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ok")
}
