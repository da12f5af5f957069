package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
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
