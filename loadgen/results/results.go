// Package results turns a file of Vegeta's results into what Vegeta's own
// commands make of it: the text report, the HDR histogram and the interactive plot.
//
// It knows the file and nothing of the load that wrote it.
package results

import (
	"fmt"
	"io"
	"os"

	vegeta "github.com/tsenart/vegeta/v12/lib"
	"github.com/tsenart/vegeta/v12/lib/plot"
)

// plotPoints is how many points Vegeta's own plot command keeps of each series.
const plotPoints = 4000

// Text writes Vegeta's text report of the results in the file at path.
func Text(w io.Writer, path string) error {
	m, err := metrics(path)
	if err != nil {
		return err
	}
	return vegeta.NewTextReporter(m).Report(w)
}

// HDR writes the latencies' percentiles in the format that HdrHistogram's plotter reads.
func HDR(w io.Writer, path string) error {
	m, err := metrics(path)
	if err != nil {
		return err
	}
	return vegeta.NewHDRHistogramPlotReporter(m).Report(w)
}

// Plot writes a self-contained HTML page with the latencies over time.
func Plot(w io.Writer, path, title string) error {
	p := plot.New(plot.Title(title), plot.Downsample(plotPoints), plot.Label(plot.ErrorLabeler))
	if err := each(path, p.Add); err != nil {
		return err
	}
	p.Close()
	if _, err := p.WriteTo(w); err != nil {
		return fmt.Errorf("plot %s: %w", path, err)
	}
	return nil
}

func metrics(path string) (*vegeta.Metrics, error) {
	m := &vegeta.Metrics{}
	if err := each(path, func(r *vegeta.Result) error { m.Add(r); return nil }); err != nil {
		return nil, err
	}
	m.Close()
	return m, nil
}

// each calls do with every result in the file at path.
func each(path string, do func(*vegeta.Result) error) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("open results: %w", err)
	}
	defer f.Close()
	if err := read(f, do); err != nil {
		return fmt.Errorf("read results %s: %w", path, err)
	}
	return nil
}

// read calls do with every result of a stream.
func read(src io.Reader, do func(*vegeta.Result) error) error {
	decode := vegeta.NewDecoder(src)
	for {
		var r vegeta.Result
		switch err := decode(&r); err {
		case nil:
		case io.EOF:
			return nil
		default:
			return err
		}
		if err := do(&r); err != nil {
			return err
		}
	}
}
