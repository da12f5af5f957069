// Package bench is test support: a real kube-apiserver with a real etcd and Chaos
// Mesh's definitions, on loopback, in a temporary folder. Nothing else of a cluster
// runs: no controller, no scheduler, no kubelet, no Chaos Mesh. So objects are
// stored, validated, authorized and finalized as in a cluster, and what they should
// set in motion is up to the test.
//
// It must not know what is tested with it. It needs the binaries etcd and
// kube-apiserver in the folder SEATRIAL_CLUSTER_BIN, by default .deps/cluster/bin of
// this repository, and Chaos Mesh's module in the module cache; where one is missing
// it skips the test and says so.
package bench

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/chaos-mesh/chaos-mesh/api/v1alpha1"
	"github.com/go-logr/logr"
	core "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	kruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

// MustVariable is the environment variable that is 1 where the API server must be there, as after
// `make cluster-deps`. It is not SEATRIAL_MUST: to build an API server is too much for `make test`.
const MustVariable = "SEATRIAL_MUST_API_SERVER"

// token is the administrator's, of a server that only this machine can reach.
const token = "bench"

// Bench is an API server that runs.
type Bench struct {
	// Config is the administrator's. Copy it before a change, such as Impersonate.
	Config *rest.Config
	// Client is the administrator's, without a cache.
	Client client.Client
	// Dir holds what the servers write; etcd.log and kube-apiserver.log among it.
	Dir string
}

// shared is the one Bench of a test binary.
var shared struct {
	once  sync.Once
	bench *Bench
	stop  func()
	err   error
}

// errAbsent is why a test is skipped.
var errAbsent = errors.New("the bench needs what is not here")

// Main runs the tests of a package and stops the Bench that they started. A package
// that uses Start calls it from its TestMain.
func Main(m *testing.M) {
	log.SetLogger(logr.Discard()) // or the client's library asks for a logger, at length
	code := m.Run()
	if shared.stop != nil {
		shared.stop()
	}
	os.Exit(code)
}

// Start returns the Bench of this test binary, which the first call starts (some
// ten seconds). It skips the test, with the reason, where the binaries are not
// there, and with -short. With MustVariable set to 1, that they are not there is a failure.
func Start(t testing.TB) *Bench {
	t.Helper()
	if testing.Short() {
		t.Skip("-short: no API server")
	}
	shared.once.Do(func() { shared.bench, shared.stop, shared.err = start() })
	if errors.Is(shared.err, errAbsent) && os.Getenv(MustVariable) != "1" {
		t.Skip(shared.err)
	}
	if shared.err != nil {
		t.Fatalf("start the bench: %v", shared.err)
	}
	return shared.bench
}

// Namespace makes a namespace of a name not used before and returns it.
func (b *Bench) Namespace(t testing.TB) string {
	t.Helper()
	ns := &core.Namespace{ObjectMeta: meta.ObjectMeta{GenerateName: "bench-"}}
	if err := b.Client.Create(t.Context(), ns); err != nil {
		t.Fatalf("make a namespace: %v", err)
	}
	return ns.Name
}

// As is a client for another user, such as
// system:serviceaccount:seatrial-verifier:janitor.
func (b *Bench) As(t testing.TB, user string) client.Client {
	t.Helper()
	config := rest.CopyConfig(b.Config)
	config.Impersonate = rest.ImpersonationConfig{UserName: user}
	c, err := client.New(config, client.Options{Scheme: Scheme()})
	if err != nil {
		t.Fatalf("make a client for %s: %v", user, err)
	}
	return c
}

// Scheme knows the types of Kubernetes and of Chaos Mesh.
func Scheme() *kruntime.Scheme {
	s := kruntime.NewScheme()
	if err := errors.Join(scheme.AddToScheme(s), v1alpha1.AddToScheme(s)); err != nil {
		panic(err) // two types of one name: a mistake of this program
	}
	return s
}

// start starts etcd and kube-apiserver, and installs Chaos Mesh's definitions.
func start() (_ *Bench, stop func(), err error) {
	bin, err := binaries()
	if err != nil {
		return nil, nil, err
	}
	crds, err := definitions()
	if err != nil {
		return nil, nil, err
	}
	dir, err := os.MkdirTemp("", "seatrial-bench-")
	if err != nil {
		return nil, nil, err
	}
	procs := &processes{dir: dir}
	stop = func() { procs.end(); os.RemoveAll(dir) }
	defer func() {
		if err != nil {
			stop()
		}
	}()
	address, err := serve(procs, bin)
	if err != nil {
		return nil, nil, err
	}
	b := &Bench{Dir: dir, Config: &rest.Config{
		Host: "https://" + address, BearerToken: token, QPS: 200, Burst: 400,
		TLSClientConfig: rest.TLSClientConfig{Insecure: true}, // its certificate is of its own making, and this is loopback
	}}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if err := b.await(ctx, procs); err != nil {
		return nil, nil, err
	}
	return b, stop, b.install(ctx, crds)
}

// serve starts the two servers and returns the API server's address.
func serve(procs *processes, bin string) (address string, err error) {
	var ports [3]int
	for i := range ports {
		if ports[i], err = freePort(); err != nil {
			return "", err
		}
	}
	at := func(i int) string { return "http://127.0.0.1:" + strconv.Itoa(ports[i]) }
	dir := procs.dir
	key, tokens := filepath.Join(dir, "accounts.key"), filepath.Join(dir, "tokens.csv")
	if err := errors.Join(writeKey(key), os.WriteFile(tokens, []byte(token+",admin,admin,system:masters\n"), 0o600)); err != nil {
		return "", err
	}
	err = procs.start(filepath.Join(bin, "etcd"), "--data-dir="+filepath.Join(dir, "etcd"), "--unsafe-no-fsync",
		"--listen-client-urls="+at(0), "--advertise-client-urls="+at(0), "--listen-peer-urls="+at(1),
		"--initial-advertise-peer-urls="+at(1), "--initial-cluster=default="+at(1))
	if err != nil {
		return "", err
	}
	err = procs.start(filepath.Join(bin, "kube-apiserver"), "--etcd-servers="+at(0), "--bind-address=127.0.0.1",
		"--advertise-address=127.0.0.1", "--secure-port="+strconv.Itoa(ports[2]), "--cert-dir="+filepath.Join(dir, "certificates"),
		"--authorization-mode=RBAC", "--token-auth-file="+tokens, "--service-cluster-ip-range=198.19.0.0/20",
		"--service-account-issuer=https://bench", "--service-account-key-file="+key, "--service-account-signing-key-file="+key,
		// Accounts are made by a controller, which does not run.
		"--disable-admission-plugins=ServiceAccount", "--endpoint-reconciler-type=none")
	return fmt.Sprintf("127.0.0.1:%d", ports[2]), err
}

// await waits until the API server serves.
func (b *Bench) await(ctx context.Context, procs *processes) error {
	web, err := rest.HTTPClientFor(b.Config)
	if err != nil {
		return err
	}
	for {
		// Ready is who has made what every cluster has, such as everyone's right to ask
		// what there is.
		if err = ready(ctx, web, b.Config.Host); err == nil {
			b.Client, err = client.New(b.Config, client.Options{Scheme: Scheme()})
			return err
		}
		if name := procs.ended(); name != "" {
			return fmt.Errorf("%s ended: %s", name, tail(filepath.Join(b.Dir, name+".log")))
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the API server did not serve in time: %w", err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func ready(ctx context.Context, web *http.Client, host string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, host+"/readyz", nil)
	if err != nil {
		return err
	}
	res, err := web.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("it is not ready: %s", res.Status)
	}
	return nil
}

// tail is the end of a log.
func tail(path string) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return string(data[max(0, len(data)-2000):])
}

// root is this repository's folder.
func root() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..", "..")
}

// binaries is the folder with etcd and kube-apiserver.
func binaries() (string, error) {
	dir := os.Getenv("SEATRIAL_CLUSTER_BIN")
	if dir == "" {
		dir = filepath.Join(root(), ".deps", "cluster", "bin")
	}
	for _, name := range []string{"etcd", "kube-apiserver"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			return "", fmt.Errorf("%w: %w (make cluster-deps builds it; SEATRIAL_CLUSTER_BIN names another folder)", errAbsent, err)
		}
	}
	return dir, nil
}

// definitions is the folder with Chaos Mesh's CustomResourceDefinitions.
func definitions() (string, error) {
	cmd := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/chaos-mesh/chaos-mesh")
	cmd.Dir = filepath.Join(root(), "deploy", "cluster", "modules", "chaos-mesh")
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=readonly", "GOWORK=off")
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%w: Chaos Mesh's module: %w", errAbsent, err)
	}
	module := string(out)
	if len(module) > 0 {
		module = module[:len(module)-1] // the line's end
	}
	dir := filepath.Join(module, "helm", "chaos-mesh", "crds")
	if _, err := os.Stat(dir); module == "" || errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("%w: Chaos Mesh's module is not in the module cache (make cluster-deps fetches it)", errAbsent)
	}
	return dir, nil
}

func freePort() (int, error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// writeKey writes a new key, with which the API server signs accounts' tokens.
func writeKey(path string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return err
	}
	return os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), 0o600)
}

// EnsureNamespace makes the namespace name unless it is there.
func (b *Bench) EnsureNamespace(t testing.TB, name string) {
	t.Helper()
	err := b.Client.Create(t.Context(), &core.Namespace{ObjectMeta: meta.ObjectMeta{Name: name}})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatalf("make the namespace %s: %v", name, err)
	}
}
