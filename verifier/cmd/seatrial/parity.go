package main

import (
	"bytes"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"seatrial/verifier/parity"
)

func newParityCommand() *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use: "parity LOCAL_RUN KUBERNETES_RUN", Short: "compare what experiments did on the local testbed and on Kubernetes", Args: cobra.ExactArgs(2),
		Long: `parity reads the Evidence of two runs, one of each target, and prints as Markdown what each
experiment was seen to do: verdict, time to be in force, servers started anew, refused and failed
requests, latency, round trips, time to recover. What a run does not hold is said to be not
recorded, not injected or not run. It judges nothing.`,
		Example: `  seatrial parity reports/latest reports/cluster/latest --out docs/parity.md`,
		RunE: func(cmd *cobra.Command, args []string) error {
			var page bytes.Buffer
			if err := parity.Write(&page, args[0], args[1]); err != nil {
				return err
			}
			if out == "" {
				_, err := page.WriteTo(cmd.OutOrStdout())
				return err
			}
			if err := os.WriteFile(out, page.Bytes(), 0o644); err != nil {
				return fmt.Errorf("write the comparison: %w", err)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "write to `FILE` instead of standard output")
	return cmd
}
