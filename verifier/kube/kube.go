// Package kube is the testbed that runs in a Kubernetes cluster: the system is
// there already, and Chaos Mesh injects the experiments.
//
// It knows no trial and judges nothing: what it says of a fault is Chaos Mesh's
// word, and whether the system shows it is for the system's metrics to say.
package kube

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/chaos-mesh/chaos-mesh/api/v1alpha1"
	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/discovery"
	kubescheme "k8s.io/client-go/kubernetes/scheme"
	corev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"seatrial/verifier/kube/tunnel"
)

// Config says which cluster, and where in it what runs. Namespaces must not be
// empty.
type Config struct {
	Kubeconfig string // file; "" for $KUBECONFIG, ~/.kube/config or, in a pod, its service account
	Context    string // of the kubeconfig; "" for its current one

	Namespace          string // of the system
	ChaosMeshNamespace string // of Chaos Mesh
	// ChaosMeshVersion is what to believe where Chaos Mesh does not tell its
	// version; "" for nothing.
	ChaosMeshVersion string
	// Run is the id of the run (lease.ID): the label of every experiment.
	Run string
}

// Ask tells whether a PromQL query returns any sample.
type Ask func(ctx context.Context, query string) (bool, error)

// Testbed is a system in a cluster.
type Testbed struct {
	cfg      Config
	client   client.Client
	logs     corev1.PodsGetter
	dialer   *tunnel.Dialer
	versions map[string]string
	ask      Ask

	injectWithin, recoverWithin time.Duration // shorter in tests

	mu      sync.Mutex
	rights  map[right]bool  // that were granted
	kernels map[task]string // that were asked: "" for one that could, else the message that said that it cannot
}

// scheme has Kubernetes' own kinds and Chaos Mesh's.
func scheme() (*runtime.Scheme, error) {
	s := runtime.NewScheme()
	if err := errors.Join(kubescheme.AddToScheme(s), v1alpha1.AddToScheme(s)); err != nil {
		return nil, fmt.Errorf("know the kinds of Chaos Mesh: %w", err)
	}
	return s, nil
}

// The pace of requests to the API server: a trial asks some things four times a
// second, of several kinds.
const (
	requestsPerSecond = 50
	requestBurst      = 100
)

// Open connects to a cluster, and refuses one without a Chaos Mesh that may be used.
func Open(ctx context.Context, cfg Config) (*Testbed, error) {
	// Libraries log to stderr what the errors say anyway.
	klog.SetLogger(logr.Discard())
	log.SetLogger(logr.Discard())
	access, name, err := cfg.access()
	if err != nil {
		return nil, err
	}
	access.QPS, access.Burst = requestsPerSecond, requestBurst
	t, err := open(cfg, access)
	if err != nil {
		return nil, err
	}
	t.dialer.Inside = name == insideName
	return t, t.askVersions(ctx, name)
}

func open(cfg Config, access *rest.Config) (*Testbed, error) {
	s, err := scheme()
	if err != nil {
		return nil, err
	}
	c, err := client.New(access, client.Options{Scheme: s})
	if err != nil {
		return nil, fmt.Errorf("connect to the cluster at %s: %w", access.Host, err)
	}
	core, err := corev1.NewForConfig(access)
	if err != nil {
		return nil, fmt.Errorf("connect to the cluster at %s: %w", access.Host, err)
	}
	return &Testbed{
		cfg: cfg, client: c, logs: core, dialer: &tunnel.Dialer{Client: c, Config: access}, rights: map[right]bool{}, kernels: map[task]string{},
		injectWithin: injectWithin, recoverWithin: recoverWithin,
		ask: func(context.Context, string) (bool, error) { return true, nil },
	}, nil
}

// insideName is what the cluster is called that this process runs in.
const insideName = "in-cluster"

// access finds the API server and the right to use it, and the cluster's name for
// people.
func (c *Config) access() (*rest.Config, string, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = c.Kubeconfig
	if c.Kubeconfig == "" && c.Context == "" && os.Getenv(clientcmd.RecommendedConfigPathEnvVar) == "" {
		access, err := rest.InClusterConfig()
		if !errors.Is(err, rest.ErrNotInCluster) {
			return access, insideName, err
		}
	}
	loader := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{CurrentContext: c.Context})
	raw, err := loader.RawConfig()
	if err != nil {
		return nil, "", fmt.Errorf("read the kubeconfig: %w", err)
	}
	name := c.Context
	if name == "" {
		name = raw.CurrentContext
	}
	access, err := loader.ClientConfig()
	if err != nil {
		return nil, "", fmt.Errorf("no cluster to connect to; name one with --kubeconfig and --context: %w", err)
	}
	return access, name, nil
}

// Transport reaches the cluster's services; see tunnel.Dialer for the addresses.
func (t *Testbed) Transport() http.RoundTripper { return t.dialer.Transport() }

// Endpoints are the addresses, for Transport, of the ready pods of a Service that is
// given as SERVICE.NAMESPACE:PORT.
func (t *Testbed) Endpoints(ctx context.Context, service string) ([]string, error) {
	return t.dialer.Endpoints(ctx, service)
}

// Client is the client of the API server, which reads from no cache.
func (t *Testbed) Client() client.Client { return t.client }

// Judge lets Healthy ask Prometheus, too. Before, it looks at pods only.
func (t *Testbed) Judge(ask Ask) { t.ask = ask }

// Versions names the cluster, Kubernetes, Chaos Mesh and the image of every
// container of the system.
func (t *Testbed) Versions() map[string]string { return t.versions }

// askVersions asks everyone for a version.
func (t *Testbed) askVersions(ctx context.Context, name string) error {
	disco, err := discovery.NewDiscoveryClientForConfig(t.dialer.Config)
	if err != nil {
		return fmt.Errorf("connect to the cluster %s: %w", name, err)
	}
	server, err := disco.ServerVersion()
	if err != nil {
		return fmt.Errorf("ask the cluster %s for its version: %w", name, err)
	}
	mesh, err := t.chaosMesh(ctx)
	if err != nil {
		return err
	}
	pods, err := t.pods(ctx)
	if err != nil {
		return err
	}
	t.versions = images(pods)
	t.versions["cluster"], t.versions["kubernetes"], t.versions["chaos-mesh"] = name, server.GitVersion, mesh
	return nil
}
