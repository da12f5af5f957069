// Package load is a load as one command runs it, against any HTTP service: it
// reads targets, attacks them and leaves the report and the files behind.
//
// The programs that offer the command mount NewCommand; neither knows how a load
// is made. It knows no control API.
package load

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"

	"seatrial/loadgen/attack"
	"seatrial/loadgen/history"
	"seatrial/loadgen/profile"
	"seatrial/loadgen/results"
)

// The files of a load, beside attack.HistoryFile and attack.ResultsFile.
const (
	HDRFile         = "hdr.txt"           // percentiles from the real send times, as `vegeta report -type=hdrplot`
	HDRFromPlanFile = "hdr-from-plan.txt" // the same from the planned send times
	PlotFile        = "plot.html"         // Vegeta's interactive plot
	SummaryFile     = "summary.json"      // attack.Report
)

// ErrNotAchieved is returned when the load was sent more slowly than asked: its
// figures do not say what the target does under the asked load.
var ErrNotAchieved = errors.New("the asked rate was not achieved")

// Config is one load. Either TargetsFile or Task says what is sent.
type Config struct {
	TargetsFile string      // Vegeta's targets; "-" is Stdin
	Format      string      // of the targets: http or json
	Body        []byte      // for targets without one
	Header      http.Header // for every target
	Stdin       io.Reader

	Task        string // URL that is sent tasks: POST {"id","payload"}
	Prefix      string // of the tasks' ids; "" draws one
	Payload     int    // bytes
	RepeatRatio float64
	Seed        int64

	Name     string // of the load
	Profile  profile.Config
	Timeout  time.Duration
	Dir      string  // where the files go; it must not hold an older load
	Achieved float64 // share of the asked rate below which the load has failed

	Redirects    int
	MaxBody      int64
	MaxWorkers   uint64
	Insecure     bool // trust any certificate
	HTTP1        bool // never speak HTTP/2
	IgnoreLimits bool
}

// Run carries out the load, writes its files into c.Dir and prints Vegeta's text
// report and what it lacks to out. When ctx ends, the load ends early and
// everything is written all the same.
func Run(ctx context.Context, c Config, out io.Writer) (attack.Report, error) {
	p, err := profile.New(c.Profile)
	if err != nil {
		return attack.Report{}, fmt.Errorf("profile: %w", err)
	}
	targets, err := c.targets()
	if err != nil {
		return attack.Report{}, err
	}
	rep, attackErr := attack.Run(ctx, attack.Config{
		Name: c.Name, Profile: p, Targets: targets, Timeout: c.Timeout, Dir: c.Dir,
		Redirects: c.Redirects, MaxBody: c.MaxBody, MaxWorkers: c.MaxWorkers,
		TLS: &tls.Config{InsecureSkipVerify: c.Insecure}, HTTP2: !c.HTTP1, IgnoreLimits: c.IgnoreLimits,
	})
	if attackErr != nil && rep.Started.IsZero() {
		return rep, attackErr
	}
	err = errors.Join(writeFiles(c, rep), printReport(out, c.Dir, rep))
	if attackErr != nil {
		return rep, attackErr // the files were worth trying, but what they lack has this one reason
	}
	if err != nil {
		return rep, err
	}
	if rep.Achieved < c.Achieved {
		return rep, fmt.Errorf("%w: %.1f of %.1f requests/s", ErrNotAchieved, rep.AchievedRate, rep.AskedRate)
	}
	return rep, nil
}

// targets reads or makes what is sent.
func (c Config) targets() (attack.Targets, error) {
	switch {
	case c.Task != "" && c.TargetsFile != "":
		return attack.Targets{}, errors.New("targets: a file and a task URL are given, want one")
	case c.Task != "":
		prefix := c.Prefix
		if prefix == "" {
			prefix = "load-" + strings.ToLower(rand.Text()[:10])
		}
		return attack.Tasks{URL: c.Task, Prefix: prefix, Seed: c.Seed, Payload: c.Payload, Repeat: c.RepeatRatio}.Targets()
	case c.TargetsFile == "":
		return attack.Targets{}, errors.New("targets: neither a file nor a task URL is given")
	}
	name, src := c.TargetsFile, c.Stdin
	if name == "-" {
		name = "standard input"
	} else {
		f, err := os.Open(c.TargetsFile)
		if err != nil {
			return attack.Targets{}, fmt.Errorf("open targets: %w", err)
		}
		defer f.Close()
		src = f
	}
	list, err := readTargets(src, c.Format, c.Body, c.Header)
	if err != nil {
		return attack.Targets{}, fmt.Errorf("read targets from %s: %w", name, err)
	}
	return attack.Fixed(name, list)
}

func readTargets(src io.Reader, format string, body []byte, header http.Header) ([]vegeta.Target, error) {
	var targeter vegeta.Targeter
	switch format {
	case vegeta.HTTPTargetFormat, "":
		targeter = vegeta.NewHTTPTargeter(src, body, header)
	case vegeta.JSONTargetFormat:
		targeter = vegeta.NewJSONTargeter(src, body, header)
	default:
		return nil, fmt.Errorf("format %q is none of %s", format, strings.Join(vegeta.TargetFormats, ", "))
	}
	return vegeta.ReadAllTargets(targeter)
}

// writeFiles makes the files out of the two that the attack wrote.
func writeFiles(c Config, rep attack.Report) error {
	res := filepath.Join(c.Dir, attack.ResultsFile)
	summary, err := json.MarshalIndent(rep, "", "  ")
	if err != nil {
		return fmt.Errorf("encode %s: %w", SummaryFile, err)
	}
	title := c.Name
	if title == "" {
		title = "load"
	}
	return errors.Join(
		write(c.Dir, SummaryFile, func(w io.Writer) error { _, err := w.Write(append(summary, '\n')); return err }),
		write(c.Dir, HDRFile, func(w io.Writer) error { return results.HDR(w, res) }),
		write(c.Dir, HDRFromPlanFile, func(w io.Writer) error { return hdrFromPlan(w, c.Dir) }),
		write(c.Dir, PlotFile, func(w io.Writer) error { return results.Plot(w, res, title) }),
	)
}

// write makes a file out of what fill writes, whole or not at all.
func write(dir, name string, fill func(io.Writer) error) error {
	var b bytes.Buffer
	if err := fill(&b); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}

// hdrFromPlan reads the History: Vegeta's results do not know planned times.
func hdrFromPlan(w io.Writer, dir string) error {
	r, err := history.Open(filepath.Join(dir, attack.HistoryFile))
	if err != nil {
		return err
	}
	defer r.Close()
	m := &vegeta.Metrics{}
	for op, err := range r.All() {
		if err != nil {
			return err
		}
		m.Add(&vegeta.Result{Code: op.Code, Latency: op.End - op.Planned})
	}
	m.Close()
	return vegeta.NewHDRHistogramPlotReporter(m).Report(w)
}

func printReport(w io.Writer, dir string, rep attack.Report) error {
	if err := results.Text(w, filepath.Join(dir, attack.ResultsFile)); err != nil {
		return err
	}
	return printOpenLoop(w, rep)
}

// printOpenLoop prints what Vegeta's report cannot know.
func printOpenLoop(w io.Writer, r attack.Report) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintf(t, "Outcomes\t[accepted, refused, unknown]\t%d, %d, %d\n", r.Outcomes.Accepted, r.Outcomes.Refused, r.Outcomes.Unknown)
	fmt.Fprintf(t, "Open loop\t[asked, sent, asked/s, achieved/s, ratio]\t%d, %d, %.2f, %.2f, %.4f\n", r.Asked, r.Sent, r.AskedRate, r.AchievedRate, r.Achieved)
	fmt.Fprintf(t, "Behind plan\t[mean, 50, 90, 95, 99, max]\t%s\n", quantiles(r.Lag))
	fmt.Fprintf(t, "From plan\t[mean, 50, 90, 95, 99, max]\t%s\n", quantiles(r.FromPlan))
	for _, c := range sortedCauses(r.Causes) {
		fmt.Fprintf(t, "No answer\t[cause]\t%d x %s\n", r.Causes[c], c)
	}
	return t.Flush()
}

func quantiles(q attack.Quantiles) string {
	var texts []string
	for _, s := range []float64{q.Mean, q.P50, q.P90, q.P95, q.P99, q.Max} {
		texts = append(texts, time.Duration(s*float64(time.Second)).Round(time.Microsecond).String())
	}
	return strings.Join(texts, ", ")
}

func sortedCauses(causes map[string]uint64) []string {
	names := make([]string, 0, len(causes))
	for c := range causes {
		names = append(names, c)
	}
	slices.Sort(names)
	return names
}
