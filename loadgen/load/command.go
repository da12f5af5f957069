package load

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"seatrial/loadgen/attack"
	"seatrial/loadgen/profile"
)

const long = `Send requests at a planned rate, whatever the target does, and report.

The loop is open: a slow target does not slow the load down, and latency is
reported from the planned send time beside Vegeta's own. What was asked and what
was achieved are compared; a load that fell short fails.

Targets are in Vegeta's http or json format. Rates that are not steady are given
by --profile, a file or JSON:
  {"kind":"ramp","from":10,"to":500,"duration":"1m"}
  {"kind":"spike","base":50,"peak":1000,"at":"10s","for":"5s","duration":"30s"}
  {"kind":"diurnal","mean":200,"amplitude":150,"period":"1m","duration":"3m"}

Ctrl-C ends the load early; the report and all files are written all the same.`

// example does not name the program: two of them mount the command.
const example = `  echo "GET http://127.0.0.1:8080/" | ... --rate 100 --duration 10s
  ... --targets targets.txt --profile ramp.yaml --output run1
  ... --task http://127.0.0.1:8080/task --rate 200 --duration 30s`

// flags are the command's, before they are a Config.
type flags struct {
	config   Config
	profile  string
	rate     float64
	duration time.Duration
	bodyFile string
	headers  []string
}

// NewCommand returns the command that runs one load.
func NewCommand() *cobra.Command {
	f := &flags{}
	cmd := &cobra.Command{
		Use:          "load",
		Short:        "load any HTTP service open-loop and report",
		Long:         long,
		Example:      example,
		Args:         cobra.NoArgs,
		SilenceUsage: true,
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return f.run(cmd) }
	f.define(cmd)
	return cmd
}

func (f *flags) define(cmd *cobra.Command) {
	c, fl := &f.config, cmd.Flags()
	fl.SortFlags = false
	fl.StringVarP(&c.TargetsFile, "targets", "t", "", "file of targets; - or nothing is standard input")
	fl.StringVar(&c.Format, "format", "http", "format of the targets: http or json")
	fl.StringVar(&f.bodyFile, "body", "", "file with the body of targets that have none")
	fl.StringArrayVarP(&f.headers, "header", "H", nil, "\"Name: value\" for every target; may be repeated")
	fl.StringVar(&c.Task, "task", "", "URL to send tasks to instead: POST {\"id\",\"payload\"}")
	fl.StringVar(&c.Prefix, "prefix", "", "prefix of the tasks' ids (default: drawn at random)")
	fl.IntVar(&c.Payload, "payload-bytes", 256, "length of a task's payload")
	fl.Float64Var(&c.RepeatRatio, "repeat-ratio", 0, "share of requests that repeat an earlier task's id on purpose")
	fl.Int64Var(&c.Seed, "seed", 1, "seed of payloads and repeats")
	fl.Float64VarP(&f.rate, "rate", "r", 50, "requests per second")
	fl.DurationVarP(&f.duration, "duration", "d", 10*time.Second, "how long to send")
	fl.StringVarP(&f.profile, "profile", "p", "", "profile instead of a rate: a YAML or JSON file, or JSON itself")
	fl.DurationVar(&c.Timeout, "timeout", attack.DefaultTimeout, "patience for one answer")
	fl.StringVarP(&c.Dir, "output", "o", "", "folder for the files (default: load-<time>)")
	fl.StringVar(&c.Name, "name", "load", "name of the load")
	fl.Float64Var(&c.Achieved, "achieved", 0.95, "fail below this share of the asked rate; 0 never does")
	fl.IntVar(&c.Redirects, "redirects", 10, "redirects to follow")
	fl.Int64Var(&c.MaxBody, "max-body", 0, "bytes of an answer to keep in memory (0: all)")
	fl.Uint64Var(&c.MaxWorkers, "max-workers", 0, "cap on requests in flight (0: none); with a cap the loop is not open")
	fl.BoolVar(&c.Insecure, "insecure", false, "accept any TLS certificate")
	fl.BoolVar(&c.HTTP1, "http1", false, "never speak HTTP/2")
	fl.BoolVar(&c.IgnoreLimits, "ignore-limits", false, "send although ulimit -n may not suffice")
}

func (f *flags) run(cmd *cobra.Command) error {
	c := f.config
	if c.TargetsFile == "" && c.Task == "" {
		c.TargetsFile = "-"
	}
	c.Stdin = cmd.InOrStdin()
	if c.Dir == "" {
		c.Dir = "load-" + time.Now().Format("20060102-150405")
	}
	if err := errors.Join(f.readProfile(cmd, &c), f.readBody(&c), f.readHeaders(&c)); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	defer context.AfterFunc(ctx, func() {
		stop() // a second interrupt ends the program at once
		fmt.Fprintln(cmd.ErrOrStderr(), "ending the load; waiting for the answers of what was sent")
	})()
	_, err := Run(ctx, c, cmd.OutOrStdout())
	if _, statErr := os.Stat(c.Dir); statErr == nil {
		fmt.Fprintf(cmd.ErrOrStderr(), "files: %s\n", c.Dir)
	}
	return err
}

func (f *flags) readProfile(cmd *cobra.Command, c *Config) error {
	if f.profile == "" {
		c.Profile = profile.Config{Kind: profile.Steady, Rate: f.rate, Duration: profile.Duration(f.duration)}
		return nil
	}
	if cmd.Flags().Changed("rate") {
		return errors.New("--rate and --profile are both given, want one")
	}
	text, name := []byte(f.profile), "--profile"
	if !strings.HasPrefix(strings.TrimSpace(f.profile), "{") {
		name = f.profile
		var err error
		if text, err = os.ReadFile(f.profile); err != nil {
			return fmt.Errorf("read profile: %w", err)
		}
	}
	if err := yaml.UnmarshalStrict(text, &c.Profile); err != nil {
		return fmt.Errorf("read profile %s: %w", name, err)
	}
	if c.Profile.Duration == 0 || cmd.Flags().Changed("duration") {
		c.Profile.Duration = profile.Duration(f.duration)
	}
	return nil
}

func (f *flags) readBody(c *Config) (err error) {
	if f.bodyFile != "" {
		if c.Body, err = os.ReadFile(f.bodyFile); err != nil {
			return fmt.Errorf("read body: %w", err)
		}
	}
	return nil
}

func (f *flags) readHeaders(c *Config) error {
	c.Header = http.Header{}
	for _, h := range f.headers {
		name, value, ok := strings.Cut(h, ":")
		if name = strings.TrimSpace(name); !ok || name == "" {
			return fmt.Errorf("--header %q is not \"Name: value\"", h)
		}
		c.Header.Add(name, strings.TrimSpace(value))
	}
	return nil
}
