package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os/signal"
	"syscall"
	"time"

	"github.com/chaos-mesh/chaos-mesh/api/v1alpha1"
	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/runtime"
	kubescheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"seatrial/verifier/janitor"
)

// janitorFlags say which cluster, and where in it to look.
type janitorFlags struct {
	kubeconfig, context, leaseNamespace, listen string
	namespaces                                  []string
}

func newJanitorCommand() *cobra.Command {
	var f janitorFlags
	cmd := &cobra.Command{
		Use: "janitor", Short: "remove the experiments of runs that are dead from a cluster, until it is told to end", Args: cobra.NoArgs,
		Long: `janitor looks every two seconds at the experiments that runs have left in a cluster, and at
the lease that a run renews while it lives. It removes every experiment that is labelled
seatrial/run=X while X does not hold the live lease, and nothing else: within 30 s of the death
of a run, by force where Chaos Mesh cannot take a fault back. Two may run at once.

It serves /metrics, /healthz (its loop turns) and /readyz (it sees the cluster), logs to
standard error, and writes an Event for everything that it removes.`,
		Example: `  seatrial janitor                        # in a pod, with its service account
  seatrial janitor --context staging --namespace seatrial,shop`,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd.Context(), cmd.ErrOrStderr()) },
	}
	fl := cmd.Flags()
	fl.StringVar(&f.kubeconfig, "kubeconfig", "", "`FILE` that says how to reach the cluster (default: $KUBECONFIG, ~/.kube/config or, in a pod, its service account)")
	fl.StringVar(&f.context, "context", "", "`NAME` of the kubeconfig's context (default: its current one)")
	fl.StringSliceVar(&f.namespaces, "namespace", []string{"seatrial"}, "`NAMES` of the namespaces with experiments")
	fl.StringVar(&f.leaseNamespace, "lease-namespace", "seatrial-verifier", "`NAME` of the namespace with the lease")
	fl.StringVar(&f.listen, "listen", "127.0.0.1:9095", "`ADDRESS` to serve metrics and health at")
	return cmd
}

func (f *janitorFlags) run(ctx context.Context, stderr io.Writer) error {
	klog.SetLogger(logr.Discard()) // libraries log what the errors say anyway
	log.SetLogger(logr.Discard())
	c, err := f.client()
	if err != nil {
		return err
	}
	j, err := janitor.New(janitor.Config{
		Client: c, Namespaces: f.namespaces, LeaseNamespace: f.leaseNamespace,
		Log: slog.New(slog.NewTextHandler(stderr, nil)),
	})
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	listener, err := net.Listen("tcp", f.listen)
	if err != nil {
		return fmt.Errorf("janitor: %w", err)
	}
	fmt.Fprintf(stderr, "janitor of %v, lease in %s, metrics at http://%s/metrics\n", f.namespaces, f.leaseNamespace, listener.Addr())
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { j.Run(ctx); return nil })
	group.Go(func() error { return serveUntil(ctx, listener, j.Handler()) })
	return group.Wait()
}

// client reaches the cluster, reading from no cache.
func (f *janitorFlags) client() (client.Client, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = f.kubeconfig
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{CurrentContext: f.context}).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("no cluster to connect to; name one with --kubeconfig and --context: %w", err)
	}
	config.QPS, config.Burst = 50, 100 // a look is some ten requests
	config.UserAgent = "seatrial-janitor/" + version
	scheme := runtime.NewScheme()
	if err := errors.Join(kubescheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		return nil, fmt.Errorf("know the kinds of Chaos Mesh: %w", err)
	}
	c, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		return nil, fmt.Errorf("connect to the cluster at %s: %w", config.Host, err)
	}
	return c, nil
}

// serveUntil serves HTTP until ctx ends, and lets requests that were begun end.
func serveUntil(ctx context.Context, l net.Listener, h http.Handler) error {
	server := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute}
	stopped := make(chan error, 1)
	go func() {
		<-ctx.Done()
		patience, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		stopped <- server.Shutdown(patience)
	}()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve at %s: %w", l.Addr(), err)
	}
	return <-stopped
}
