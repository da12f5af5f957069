//go:build linux

// Package bench measures what the virtual network costs: valkey-benchmark
// against a Valkey server through the switch, side by side with the same over
// loopback in a namespace.
//
// It knows nothing of the testbed.
package bench

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"time"

	"seatrial/deploy/local/vnet"
)

// Config says what to measure. The zero value of a number is its default.
type Config struct {
	Server    string // path of valkey-server
	Benchmark string // path of valkey-benchmark
	Requests  int    // of each kind with 50 clients, per round; default 100,000. A tenth with one client
	Rounds    int    // default 5; ratios are medians of the rounds
	Threads   int    // of the switch, see vnet.Config
}

// Figure is what valkey-benchmark said, as the median of the rounds.
type Figure struct {
	PerSecond float64       // requests a second
	Mean      time.Duration // of a request: clients that always wait, over PerSecond
	P50, P99  time.Duration // in steps of the benchmark's histogram, 8 µs
}

// Comparison is one workload on both ways.
type Comparison struct {
	Test     string // SET or GET
	Clients  int
	Loopback Figure
	Switch   Figure
	// Ratio is the median over the rounds of requests a second through the
	// switch over those on loopback in the same round.
	Ratio float64
	// PeakRatio compares the best round of each way. On a busy machine Ratio
	// flatters the switch, which as a third process gets a share of its own.
	PeakRatio float64
	// AddedP50 and AddedMean are medians over the rounds of the differences.
	AddedP50, AddedMean time.Duration
}

// Result is all that was measured.
type Result struct {
	Comparisons []Comparison
	// Ratio is the mean with 50 clients of the lower of both ratios, AddedP50
	// that of the added p50s with one client: throughput under load, latency
	// without. (With 50 clients that always wait, latency is but throughput
	// the other way round.)
	Ratio    float64
	AddedP50 time.Duration
	// AddedMean is the same of the means, which are not rounded to 8 µs.
	AddedMean time.Duration
}

var (
	serverAddr = netip.MustParseAddr("198.18.0.1")
	clientAddr = netip.MustParseAddr("198.18.0.2")
)

const port = 6379

// Run measures. It takes about Rounds times ten seconds, and needs root.
func Run(ctx context.Context, cfg Config) (res Result, err error) {
	cfg.defaults()
	n, err := vnet.New(vnet.Config{Threads: cfg.Threads})
	if err != nil {
		return res, err
	}
	defer func() { err = errors.Join(err, n.Close()) }()
	server, err := n.Attach("server", serverAddr)
	if err != nil {
		return res, err
	}
	client, err := n.Attach("client", clientAddr)
	if err != nil {
		return res, err
	}
	stop, err := startValkey(ctx, cfg.Server, server)
	if err != nil {
		return res, err
	}
	defer stop()
	for _, clients := range []int{50, 1} {
		rows := make(map[string][]row)
		for round := range cfg.Rounds {
			if err := compare(ctx, cfg, server, client, clients, round%2 == 1, rows); err != nil {
				return res, err
			}
		}
		for _, test := range slices.Sorted(maps.Keys(rows)) {
			res.add(test, clients, rows[test])
		}
	}
	res.finish()
	return res, nil
}

func (c *Config) defaults() {
	if c.Requests == 0 {
		c.Requests = 100_000
	}
	if c.Rounds == 0 {
		c.Rounds = 5
	}
}

// startValkey starts a server that keeps nothing and waits until it answers.
func startValkey(ctx context.Context, path string, p *vnet.Port) (stop func(), err error) {
	cmd := exec.Command(path, "--bind", "0.0.0.0", "--port", strconv.Itoa(port),
		"--save", "", "--appendonly", "no", "--protected-mode", "no", "--daemonize", "no")
	cmd.Dir = os.TempDir()
	if err := p.Start(cmd, nil); err != nil {
		return nil, err
	}
	stop = func() {
		cmd.Process.Kill()
		cmd.Wait()
	}
	deadline := time.Now().Add(10 * time.Second)
	for {
		conn, err := p.DialContext(ctx, "tcp4", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			conn.Close()
			return stop, nil
		}
		if ctx.Err() != nil || time.Now().After(deadline) {
			stop()
			return nil, fmt.Errorf("wait for %s: %w", path, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// row is one test in one round.
type row struct{ loopback, across Figure }

// compare runs one round, one way right after the other, and adds to rows by
// test. Which is first alternates, so that a slow moment of the machine favours
// neither.
func compare(ctx context.Context, cfg Config, server, client *vnet.Port, clients int, swap bool, rows map[string][]row) error {
	requests := cfg.Requests
	if clients == 1 {
		requests /= 10
	}
	type way struct {
		from *vnet.Port
		host string
		got  []measured
	}
	loopback := &way{from: server, host: "127.0.0.1"}
	across := &way{from: client, host: serverAddr.String()}
	order := []*way{loopback, across}
	if swap {
		slices.Reverse(order)
	}
	for _, w := range order {
		var err error
		if w.got, err = benchmark(ctx, cfg.Benchmark, w.from, w.host, clients, requests); err != nil {
			return err
		}
	}
	if len(loopback.got) != len(across.got) {
		return fmt.Errorf("%s measured %d tests on loopback, %d through the switch", cfg.Benchmark, len(loopback.got), len(across.got))
	}
	for i, m := range loopback.got {
		r := row{m.Figure, across.got[i].Figure}
		for _, f := range []*Figure{&r.loopback, &r.across} {
			f.Mean = time.Duration(float64(clients) / f.PerSecond * float64(time.Second))
		}
		rows[m.test] = append(rows[m.test], r)
	}
	return nil
}

// measured is one line of valkey-benchmark.
type measured struct {
	test string
	Figure
}

func benchmark(ctx context.Context, path string, from *vnet.Port, host string, clients, requests int) ([]measured, error) {
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(ctx, path, "-h", host, "-p", strconv.Itoa(port), "-t", "set,get",
		"-c", strconv.Itoa(clients), "-n", strconv.Itoa(requests), "--csv")
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := from.Start(cmd, nil); err != nil {
		return nil, err
	}
	if err := cmd.Wait(); err != nil {
		return nil, fmt.Errorf("%s from %s to %s: %w: %s", path, from.Name(), net.JoinHostPort(host, strconv.Itoa(port)), err, errs.Bytes())
	}
	return parseCSV(out.Bytes())
}

// parseCSV reads "test","rps","avg","min","p50","p95","p99","max", with
// latencies in milliseconds.
func parseCSV(b []byte) ([]measured, error) {
	lines, err := csv.NewReader(bytes.NewReader(b)).ReadAll()
	if err != nil {
		return nil, fmt.Errorf("read the benchmark's answer: %w", err)
	}
	var all []measured
	for i, line := range lines {
		if i == 0 || len(line) < 8 {
			continue
		}
		var values [7]float64
		for j := range values {
			if values[j], err = strconv.ParseFloat(line[j+1], 64); err != nil {
				return nil, fmt.Errorf("read the benchmark's answer: %w", err)
			}
		}
		ms := func(v float64) time.Duration { return time.Duration(v * float64(time.Millisecond)) }
		all = append(all, measured{line[0], Figure{PerSecond: values[0], P50: ms(values[3]), P99: ms(values[5])}})
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("the benchmark measured nothing: %q", b)
	}
	return all, nil
}

func (r *Result) add(test string, clients int, rows []row) {
	c := Comparison{Test: test, Clients: clients}
	pick := func(get func(row) float64) float64 {
		values := make([]float64, len(rows))
		for i, r := range rows {
			values[i] = get(r)
		}
		slices.Sort(values)
		return values[len(values)/2]
	}
	figure := func(side func(row) Figure) Figure {
		return Figure{
			PerSecond: pick(func(r row) float64 { return side(r).PerSecond }),
			Mean:      time.Duration(pick(func(r row) float64 { return float64(side(r).Mean) })),
			P50:       time.Duration(pick(func(r row) float64 { return float64(side(r).P50) })),
			P99:       time.Duration(pick(func(r row) float64 { return float64(side(r).P99) })),
		}
	}
	c.Loopback = figure(func(r row) Figure { return r.loopback })
	c.Switch = figure(func(r row) Figure { return r.across })
	c.Ratio = pick(func(r row) float64 { return r.across.PerSecond / r.loopback.PerSecond })
	best := func(side func(row) Figure) (most float64) {
		for _, r := range rows {
			most = max(most, side(r).PerSecond)
		}
		return most
	}
	c.PeakRatio = best(func(r row) Figure { return r.across }) / best(func(r row) Figure { return r.loopback })
	c.AddedP50 = time.Duration(pick(func(r row) float64 { return float64(r.across.P50 - r.loopback.P50) }))
	c.AddedMean = time.Duration(pick(func(r row) float64 { return float64(r.across.Mean - r.loopback.Mean) }))
	r.Comparisons = append(r.Comparisons, c)
}

func (r *Result) finish() {
	var many, one int
	for _, c := range r.Comparisons {
		if c.Clients == 1 {
			r.AddedP50 += c.AddedP50
			r.AddedMean += c.AddedMean
			one++
		} else {
			r.Ratio += min(c.Ratio, c.PeakRatio)
			many++
		}
	}
	r.Ratio /= float64(max(1, many))
	r.AddedP50 /= time.Duration(max(1, one))
	r.AddedMean /= time.Duration(max(1, one))
}

// String is a table.
func (r Result) String() string {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%-18s %12s %12s %7s %7s %12s %12s %10s %11s\n", "", "loopback/s", "switch/s", "ratio", "peak", "p50 loopback", "p50 switch", "added p50", "added mean")
	for _, c := range r.Comparisons {
		fmt.Fprintf(&b, "%-18s %12.0f %12.0f %7.3f %7.3f %12v %12v %10v %11v\n",
			fmt.Sprintf("%s, %d clients", c.Test, c.Clients), c.Loopback.PerSecond, c.Switch.PerSecond, c.Ratio, c.PeakRatio, c.Loopback.P50, c.Switch.P50, c.AddedP50, c.AddedMean.Round(100*time.Nanosecond))
	}
	fmt.Fprintf(&b, "ratio with 50 clients %.3f, added p50 with 1 client %v (mean %v)\n", r.Ratio, r.AddedP50, r.AddedMean.Round(100*time.Nanosecond))
	return b.String()
}
