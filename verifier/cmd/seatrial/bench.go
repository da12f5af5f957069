//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"seatrial/deploy/local"
	vnetbench "seatrial/deploy/local/vnet/bench"
	loadbench "seatrial/loadgen/bench"
	checkbench "seatrial/verifier/check/bench"
	"seatrial/verifier/evidence"
)

// figure is one line of the table, and one element of bench.json.
type figure struct {
	Name     string `json:"name"`
	Aim      string `json:"aim"`
	Measured string `json:"measured"`
	Status   string `json:"status"` // met or short
}

func newFigure(name, aim, measured string, met bool) figure {
	status := "short"
	if met {
		status = "met"
	}
	return figure{name, aim, measured, status}
}

// benchFlags say where the table goes, and where a finished suite is.
type benchFlags struct {
	localFlags
	out, reports string
}

func newBenchCommand() *cobra.Command {
	var f benchFlags
	cmd := &cobra.Command{
		Use: "bench", Short: "measure what seatrial promises of its own speed", Args: cobra.NoArgs,
		Long: `bench measures each figure side by side with what it is compared to, in one run.
The figures of the whole suite are read from the newest report.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return confined(cmd, fmt.Sprintf("bench-%d", os.Getpid()), func(ctx context.Context, name string) error {
				return f.run(ctx, name, cmd.OutOrStdout())
			})
		},
	}
	f.localFlags.register(cmd)
	cmd.Flags().StringVar(&f.out, "out", "reports/bench.json", "file for the figures as JSON")
	cmd.Flags().StringVar(&f.reports, "reports", "reports", "folder with the newest report of the whole suite")
	return cmd
}

// run measures everything; what cannot be measured is short, and says why.
func (f *benchFlags) run(ctx context.Context, name string, out io.Writer) error {
	cfg, err := f.config(name, 1)
	if err != nil {
		return err
	}
	var all []figure
	for _, part := range []struct {
		name, aim string
		measure   func() ([]figure, error)
	}{
		{"achieved / asked rate at 2,000/s", ">= 0.999", func() ([]figure, error) { return achievedRate(ctx) }},
		{"highest sustained rate / Vegeta's library alone", ">= 0.9", func() ([]figure, error) { return sustainedRatio(ctx) }},
		{"10,000,000 Ops judged", "<= 10 s, <= 1 GiB", judgeSpeed},
		{"valkey-benchmark through the switch / loopback", ">= 0.7", func() ([]figure, error) { return switchSpeed(ctx, cfg) }},
		{"end to end / raw JetStream, up to ready", ">= 0.8", func() ([]figure, error) { return systemSpeed(ctx, cfg, out) }},
		{"whole suite", "<= 30 min; >= 100,000 accepted; 0 lost; 0 duplicated", func() ([]figure, error) { return suiteFigures(f.reports) }},
		{"fresh clone to a finished suite, cold caches", "<= 40 min", func() ([]figure, error) { return coldFigure(f.reports) }},
	} {
		fmt.Fprintf(out, "measuring: %s\n", part.name)
		figures, err := part.measure()
		if err != nil {
			figures = []figure{newFigure(part.name, part.aim, "not measured: "+err.Error(), false)}
		}
		all = append(all, figures...)
		if ctx.Err() != nil {
			return fmt.Errorf("interrupted: %w", ctx.Err())
		}
	}
	if err := printFigures(out, all); err != nil {
		return err
	}
	return evidence.SaveJSON(f.out, all)
}

func printFigures(out io.Writer, all []figure) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "\nFIGURE\tAIM\tMEASURED\tSTATUS")
	for _, f := range all {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", f.Name, f.Aim, f.Measured, f.Status)
	}
	return w.Flush()
}

func achievedRate(ctx context.Context) ([]figure, error) {
	ratio, err := loadbench.AchievedRate(ctx)
	return []figure{newFigure("achieved / asked rate, 2,000/s for 30 s, stub on the same cores", ">= 0.999", fmt.Sprintf("%.4f", ratio), ratio >= 0.999)}, err
}

func sustainedRatio(ctx context.Context) ([]figure, error) {
	ratio, err := loadbench.SustainedRatio(ctx)
	return []figure{newFigure("highest sustained rate with the History / Vegeta's library without it", ">= 0.9", fmt.Sprintf("%.3f", ratio), ratio >= 0.9)}, err
}

func judgeSpeed() ([]figure, error) {
	seconds, peak, err := checkbench.Bench(10_000_000)
	mib := float64(peak) / (1 << 20)
	return []figure{newFigure("10,000,000 Ops judged", "<= 10 s, <= 1 GiB", fmt.Sprintf("%.1f s, %.0f MiB", seconds, mib), seconds <= 10 && mib <= 1024)}, err
}

func switchSpeed(ctx context.Context, cfg local.Config) ([]figure, error) {
	r, err := vnetbench.Run(ctx, vnetbench.Config{
		Server: filepath.Join(cfg.Deps, "bin", "valkey-server"), Benchmark: filepath.Join(cfg.Deps, "bin", "valkey-benchmark"),
	})
	return []figure{
		newFigure("valkey-benchmark through the switch / loopback, 50 clients", ">= 0.7", fmt.Sprintf("%.2f", r.Ratio), r.Ratio >= 0.7),
		newFigure("added p50 of the switch, 1 client", "<= 60 µs", fmt.Sprintf("%v in steps of 8 µs (mean %v)", r.AddedP50, r.AddedMean.Round(100*time.Nanosecond)), r.AddedP50 <= 60*time.Microsecond),
	}, err
}

// systemSpeed brings the testbed up, which is a figure, and compares the whole
// path with JetStream alone.
func systemSpeed(ctx context.Context, cfg local.Config, out io.Writer) ([]figure, error) {
	begun := time.Now()
	bed, err := local.Up(ctx, cfg, func(string) {})
	if err != nil {
		return nil, err
	}
	defer bed.Down()
	up := time.Since(begun)
	end, raw, ratio, err := compareWithJetStream(ctx, bed, out)
	return []figure{
		newFigure(fmt.Sprintf("accepted tasks/s end to end / raw JetStream publishes/s, %d clients", publishers), ">= 0.8",
			fmt.Sprintf("%.2f (%.0f/s, %.0f/s)", ratio, end, raw), ratio >= 0.8),
		newFigure("up to ready, warm", "<= 10 s", fmt.Sprintf("%.1f s", up.Seconds()), up <= 10*time.Second),
	}, err
}

func suiteFigures(reports string) ([]figure, error) {
	var r evidence.Run
	if err := evidence.LoadJSON(filepath.Join(reports, "latest", evidence.VerdictFile), &r); err != nil {
		return nil, errors.Join(errors.New("run `make chaos-suite` first"), err)
	}
	accepted, lost, twice := 0, 0, 0
	for _, s := range r.Scenarios {
		accepted, lost, twice = accepted+s.Accepted, lost+s.Lost, twice+s.Duplicated
	}
	return []figure{
		newFigure(fmt.Sprintf("whole suite (%s, %d scenarios, %s)", r.Run, len(r.Scenarios), r.Status), "<= 30 min",
			fmt.Sprintf("%.1f min", r.Seconds/60), r.Seconds <= 30*60),
		newFigure("whole suite: tasks accepted, lost, duplicated", ">= 100,000; 0; 0",
			fmt.Sprintf("%d; %d; %d", accepted, lost, twice), accepted >= 100_000 && lost == 0 && twice == 0),
	}, nil
}

// coldFigure reads what `make bench-cold` measured: a clone, an empty Go cache
// and no .deps, which one run of bench cannot have.
func coldFigure(reports string) ([]figure, error) {
	var cold struct {
		Seconds float64   `json:"seconds"`
		At      time.Time `json:"at"`
	}
	if err := evidence.LoadJSON(filepath.Join(reports, "cold.json"), &cold); err != nil {
		return nil, errors.Join(errors.New("run `make bench-cold` first"), err)
	}
	return []figure{newFigure("fresh clone to a finished suite, cold caches ("+cold.At.Format(time.DateOnly)+")", "<= 40 min",
		fmt.Sprintf("%.1f min", cold.Seconds/60), cold.Seconds <= 40*60)}, nil
}
