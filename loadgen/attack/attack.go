// Package attack is one run of an open-loop load: it drives Vegeta by a profile,
// says what every answer means, writes the History while it runs, and proves
// whether the asked rate was achieved.
//
// It knows no control API, no report format and nothing about the system behind
// the URL but the wire contract of Classify.
package attack

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"

	"seatrial/loadgen/history"
	"seatrial/loadgen/profile"
)

// The files that an attack writes into Config.Dir.
const (
	HistoryFile = "history"     // package history's format
	ResultsFile = "results.bin" // Vegeta's own encoding, without bodies and headers
)

// DefaultTimeout is how long a client waits for an answer unless told otherwise.
const DefaultTimeout = 10 * time.Second

// Config is one attack. Profile and Targets are required.
type Config struct {
	Name    string          // Vegeta's name of the attack; sent as X-Vegeta-Attack
	Profile profile.Profile // when to send
	Targets Targets         // what to send
	Timeout time.Duration   // patience for one answer; 0 is DefaultTimeout
	Dir     string          // where the files go; "" writes none

	// Begin is offset 0 of the profile; the zero time is now. Replicas that share a
	// load begin at one moment, so that their hits interleave as planned. One that
	// is told late catches up.
	Begin time.Time

	Metrics *Metrics // may be nil

	// Redirects is how many are followed; 0 follows none, and the 3xx is the answer.
	Redirects int
	MaxBody   int64 // bytes of an answer to keep while it is read; 0 is all
	TLS       *tls.Config
	HTTP2     bool

	// MaxWorkers caps the requests in flight. 0 does not, and so it must be for an
	// open loop: with a cap a slow target slows the load down. The Report shows it.
	MaxWorkers   uint64
	IgnoreLimits bool // send although ulimit -n may not suffice
}

func (c *Config) defaults() error {
	if c.Profile.Hits() == 0 {
		return errors.New("attack: the profile has no hits")
	}
	if len(c.Targets.hits) == 0 {
		return errors.New("attack: there are no targets")
	}
	if c.Timeout < 0 {
		return fmt.Errorf("attack: timeout %v is negative", c.Timeout)
	}
	if c.Timeout == 0 {
		c.Timeout = DefaultTimeout
	}
	if limit, ok := openFiles(); ok && !c.IgnoreLimits && c.MaxWorkers == 0 {
		return preflight(c.Profile, c.Timeout, limit)
	}
	return nil
}

// Attack is a load that was started. Its methods may be called concurrently.
type Attack struct {
	cfg       Config
	start     time.Time
	transport *transport
	vegeta    *vegeta.Attacker
	results   <-chan *vegeta.Result
	record    *record

	sent     atomic.Uint64
	outcomes [history.Unknown + 1]atomic.Uint64
	end      atomic.Int64 // offset at which sending ended, in ns; 0 while it goes on
	stopping atomic.Bool
	stop     chan struct{} // closed by Stop
	sleep    *time.Timer   // of the pacer's goroutine, as is alarm
	alarm    *alarm

	done   chan struct{} // closed when report and err are final
	report Report
	err    error
}

// Run carries out the attack. When ctx ends it stops sending, waits for the
// answers of what was sent, and returns the Report with Stopped set and no error.
func Run(ctx context.Context, cfg Config) (Report, error) {
	a, err := Start(cfg)
	if err != nil {
		return Report{}, err
	}
	defer context.AfterFunc(ctx, a.Stop)()
	return a.Wait()
}

// Start begins the attack and returns. Whoever starts it waits for it.
func Start(cfg Config) (*Attack, error) {
	if err := cfg.defaults(); err != nil {
		return nil, err
	}
	a := &Attack{cfg: cfg, stop: make(chan struct{}), done: make(chan struct{}), sleep: time.NewTimer(time.Hour)}
	a.transport = &transport{
		base:     newTransport(cfg),
		tasks:    cfg.Targets.tasks,
		timeout:  cfg.Timeout,
		number:   cfg.Profile.Number,
		failures: map[uint64]failure{},
	}
	files, err := createFiles(cfg.Dir)
	if err != nil {
		return nil, err
	}
	a.vegeta = vegeta.NewAttacker(a.options()...)
	a.start = beginning(cfg.Begin, time.Now())
	header := cfg.Targets.header
	header.Start = a.start
	if a.record, err = files.open(header); err != nil {
		return nil, err
	}
	a.alarm = newAlarm()
	cfg.Metrics.begin(a)
	a.results = a.vegeta.Attack(a.targeter(), pacer{a}, 0, cfg.Name)
	go a.collect()
	return a, nil
}

// beginning is begin, or now if that is zero, with now's monotonic clock.
func beginning(begin, now time.Time) time.Time {
	if begin.IsZero() {
		return now
	}
	return now.Add(begin.Sub(now))
}

func (a *Attack) options() []func(*vegeta.Attacker) {
	client := &http.Client{Transport: a.transport}
	opts := []func(*vegeta.Attacker){vegeta.Client(client)}
	redirects := a.cfg.Redirects
	if redirects == 0 {
		redirects = vegeta.NoFollow // Vegeta's 0 makes a redirect an error
	}
	opts = append(opts, vegeta.Redirects(redirects))
	if a.cfg.MaxBody > 0 {
		opts = append(opts, vegeta.MaxBody(a.cfg.MaxBody))
	}
	if a.cfg.MaxWorkers > 0 {
		opts = append(opts, vegeta.MaxWorkers(a.cfg.MaxWorkers), vegeta.Workers(a.cfg.MaxWorkers))
	}
	return opts
}

// targeter hands out requests in turn. Vegeta asks it exactly once a hit, when it sends.
func (a *Attack) targeter() vegeta.Targeter {
	next := vegeta.NewStaticTargeter(a.cfg.Targets.hits...)
	return func(t *vegeta.Target) error {
		a.sent.Add(1)
		return next(t)
	}
}

// Stop ends the sending; what was sent is still waited for. It may be called often.
func (a *Attack) Stop() {
	if a.stopping.CompareAndSwap(false, true) {
		a.endAt(time.Since(a.start))
		close(a.stop)
		a.vegeta.Stop()
	}
}

// endAt notes once when sending ended.
func (a *Attack) endAt(elapsed time.Duration) { a.end.CompareAndSwap(0, int64(elapsed)) }

// Done is closed when the attack is over and its files are closed.
func (a *Attack) Done() <-chan struct{} { return a.done }

// Wait waits until the attack is over. The error says that the record could not
// be written, in which case the load was ended; the Report is true all the same.
func (a *Attack) Wait() (Report, error) {
	<-a.done
	return a.report, a.err
}

// collect takes Vegeta's results until the last answer is in.
func (a *Attack) collect() {
	defer close(a.done)
	defer a.alarm.close()
	var tally tally
	var failed error
	for r := range a.results {
		op := a.op(r)
		tally.add(&op)
		a.outcomes[op.Outcome].Add(1)
		a.cfg.Metrics.observe(&op)
		if failed != nil {
			continue
		}
		if failed = a.record.add(&op, r); failed != nil {
			a.Stop()
		}
	}
	a.transport.base.(*http.Transport).CloseIdleConnections()
	a.cfg.Metrics.end(a)
	a.err = a.record.close(failed)
	a.report = a.summary(&tally)
}

// op makes an Op of a Result and strips the Result to what Vegeta's reports read.
func (a *Attack) op(r *vegeta.Result) history.Op {
	task := a.cfg.Targets.Task(a.cfg.Profile.Number(r.Seq))
	sent := r.Timestamp.Sub(a.start)
	op := history.Op{
		Task:    task,
		Planned: a.cfg.Profile.At(r.Seq),
		Sent:    sent,
		End:     sent + r.Latency,
		Code:    r.Code,
	}
	switch {
	case r.Code != 0:
		op.Outcome = Classify(r.Code, r.Headers)
		if a.cfg.Targets.tasks != nil {
			// Vegeta saw the request before the transport gave it a body.
			r.BytesOut = uint64(a.cfg.Targets.tasks.size(task))
		}
	default:
		if f, ok := a.transport.takeFailure(r.Seq); ok {
			op.Outcome, op.Cause = f.outcome, f.cause
		} else {
			// Vegeta gave up for a reason of its own, as after too many redirects.
			op.Outcome, op.Cause = history.Unknown, shorten(r.Error)
		}
	}
	r.Body, r.Headers = nil, nil
	return op
}

// files are open before the clock starts, so that opening them delays no hit.
type files struct{ history, results *os.File }

func createFiles(dir string) (files, error) {
	if dir == "" {
		return files{}, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return files{}, fmt.Errorf("create the load's folder: %w", err)
	}
	create := func(name string) (*os.File, error) {
		// Never over an older record: evidence is not lost by a second run.
		return os.OpenFile(filepath.Join(dir, name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	}
	h, err := create(HistoryFile)
	if err != nil {
		return files{}, fmt.Errorf("create the History: %w", err)
	}
	r, err := create(ResultsFile)
	if err != nil {
		return files{}, errors.Join(fmt.Errorf("create the results: %w", err), h.Close())
	}
	return files{h, r}, nil
}

// record is what an attack leaves on disk; the nil record leaves nothing.
type record struct {
	history *history.Writer
	results *os.File
	buffer  *bufio.Writer
	encode  vegeta.Encoder
}

func (f files) open(h history.Header) (*record, error) {
	if f.history == nil {
		return nil, nil
	}
	w, err := history.NewWriter(f.history, h)
	if err != nil {
		return nil, errors.Join(err, f.history.Close(), f.results.Close())
	}
	b := bufio.NewWriterSize(f.results, 64<<10)
	return &record{history: w, results: f.results, buffer: b, encode: vegeta.NewEncoder(b)}, nil
}

func (r *record) add(op *history.Op, res *vegeta.Result) error {
	if r == nil {
		return nil
	}
	if err := r.history.Append(op); err != nil {
		return err
	}
	return r.resultsError(r.encode(res))
}

// close ends both files and returns why they are not whole. After a failure the
// History gets no footer, and what closing says only repeats the failure.
func (r *record) close(failed error) error {
	if r == nil {
		return failed
	}
	if failed != nil {
		_, _, _ = r.history.Abandon(), r.buffer.Flush(), r.results.Close()
		return failed
	}
	return errors.Join(r.history.Close(), r.resultsError(r.buffer.Flush()), r.results.Close())
}

// resultsError names the file; a PathError does so already.
func (r *record) resultsError(err error) error {
	if _, named := errors.AsType[*fs.PathError](err); err == nil || named {
		return err
	}
	return fmt.Errorf("write %s: %w", r.results.Name(), err)
}
