package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"seatrial/verifier/shelf"
)

func newShelfCommand() *cobra.Command {
	var reports, listen string
	cmd := &cobra.Command{
		Use: "serve", Short: "serve a folder of reports, and the newest results as Prometheus metrics", Args: cobra.NoArgs,
		Long: `serve shows the runs of a folder: an index at /, their files below /runs/, the newest report at
/latest, and at /metrics the results of each target's newest run. What a run writes is seen at the
next request. A verdict.json that cannot be read is told in the index and in the metrics.

Whoever reaches ADDRESS can read everything in the folder.`,
		Example: `  seatrial serve
  seatrial serve --reports /reports --listen :8080`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return serveShelf(cmd.Context(), reports, listen, cmd.ErrOrStderr())
		},
	}
	cmd.Flags().StringVar(&reports, "reports", "reports", "folder `DIR` with the reports of runs, each in one of its own")
	cmd.Flags().StringVar(&listen, "listen", "127.0.0.1:8095", "`ADDRESS` to serve at")
	return cmd
}

func newPruneCommand() *cobra.Command {
	var reports string
	var keep int
	cmd := &cobra.Command{
		Use: "prune", Short: "remove old runs from a folder of reports", Args: cobra.NoArgs,
		Long: `prune removes the folders of all runs but the newest, by the time at which they started. A run that
has no verdict is removed when it has not changed for a week. Anything else in the folder stays.`,
		Example: "  seatrial prune --reports /reports --keep 30",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if keep < 1 {
				return fmt.Errorf("--keep %d: at least one run is kept", keep)
			}
			s, err := shelf.Open(reports)
			if err != nil {
				return err
			}
			defer s.Close()
			removed, err := s.Prune(keep, time.Now())
			for _, name := range removed {
				fmt.Fprintln(cmd.OutOrStdout(), "removed", name)
			}
			return err
		},
	}
	cmd.Flags().StringVar(&reports, "reports", "reports", "folder `DIR` with the reports of runs, each in one of its own")
	cmd.Flags().IntVar(&keep, "keep", 30, "`NUMBER` of runs with a verdict that stay")
	return cmd
}

func newAwaitCommand() *cobra.Command {
	var within time.Duration
	cmd := &cobra.Command{
		Use: "await URL...", Short: "wait until URLs answer with 200 OK", Args: cobra.MinimumNArgs(1),
		Long: `await asks each URL twice a second until it answers with 200 OK, and says what it said last when
it does not. It is what "helm test" runs in an image without a shell.`,
		Example: "  seatrial await --within 1m http://reports/healthz http://janitor:9095/readyz",
		RunE: func(cmd *cobra.Command, urls []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), within)
			defer cancel()
			for _, url := range urls {
				if err := await(ctx, url); err != nil {
					return err
				}
				fmt.Fprintln(cmd.OutOrStdout(), url, "answers")
			}
			return nil
		},
	}
	cmd.Flags().DurationVar(&within, "within", time.Minute, "`TIME` for all of them")
	return cmd
}

// await asks a URL until it answers with 200 OK, or ctx ends.
func await(ctx context.Context, url string) error {
	asker := &http.Client{Timeout: 5 * time.Second}
	ask := func() error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		res, err := asker.Do(req)
		if err != nil {
			return err
		}
		defer res.Body.Close()
		if text, _ := io.ReadAll(io.LimitReader(res.Body, 300)); res.StatusCode != http.StatusOK {
			return fmt.Errorf("%s: %s: %s", url, res.Status, bytes.TrimSpace(text))
		}
		return nil
	}
	var said error
	for {
		err := ask()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("time is up: %w", cmp.Or(said, err))
		}
		said = err
		select {
		case <-ctx.Done():
		case <-time.After(500 * time.Millisecond):
		}
	}
}

func serveShelf(ctx context.Context, reports, listen string, stderr io.Writer) error {
	s, err := shelf.Open(reports)
	if err != nil {
		return err
	}
	defer s.Close()
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	listener, err := net.Listen("tcp", listen)
	if err != nil {
		return fmt.Errorf("serve: %w", err)
	}
	fmt.Fprintf(stderr, "reports of %s at http://%s/\n", reports, listener.Addr())
	return serveUntil(ctx, listener, s.Handler(slog.New(slog.NewTextHandler(stderr, nil))))
}
