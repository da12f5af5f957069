//go:build linux

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// The tests here run the commands as users do, as processes of their own.

// repository is the root of the checkout, from this package's folder.
const repository = "../../.."

// builtIn is the folder of this test's own build, once there is one.
var builtIn string

func TestMain(m *testing.M) {
	code := m.Run()
	if builtIn != "" {
		os.RemoveAll(builtIn)
	}
	os.Exit(code)
}

// build builds every command into a folder that anybody may read and returns
// it. The repository's bin/ may be of another day.
var build = sync.OnceValues(func() (bin string, err error) {
	if builtIn, err = os.MkdirTemp("", "seatrial-bin-"); err != nil {
		return "", err
	}
	if err := os.Chmod(builtIn, 0o755); err != nil {
		return "", err
	}
	cmd := exec.Command("go", "build", "-ldflags", "-s -w -X main.version=v0.0.0-test", "-o", builtIn+"/",
		"./verifier/cmd/seatrial", "./loadgen/cmd/loadgen", "./services/cmd/api", "./services/cmd/worker", "./services/cmd/nats-exporter")
	cmd.Dir = repository
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return builtIn, nil
})

// commands returns the folder of the built commands.
func commands(t *testing.T) string {
	t.Helper()
	bin, err := build()
	if err != nil {
		t.Fatalf("build the commands: %v", err)
	}
	return bin
}

// dependencies returns the folder that `make deps` makes.
func dependencies(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs(filepath.Join(repository, ".deps"))
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// needTestbed skips a test that cannot have a real testbed.
func needTestbed(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("-short: no real testbed")
	}
	if os.Geteuid() != 0 {
		t.Skip("the local testbed needs root")
	}
	if _, err := os.Stat("/dev/net/tun"); err != nil {
		t.Skipf("the local testbed needs a TUN device: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dependencies(t), "bin", "nats-server")); err != nil {
		t.Skipf("the servers are not there, run `make deps`: %v", err)
	}
}
