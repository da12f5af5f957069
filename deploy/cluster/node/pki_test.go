//go:build linux

package node

import (
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestPKI(t *testing.T) {
	dir := t.TempDir()
	admin, err := writePKI(dir, "https://127.0.0.1:4711")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(admin), `server: "https://127.0.0.1:4711"`) {
		t.Errorf("the administrator's kubeconfig leads elsewhere:\n%s", admin)
	}
	roots := x509.NewCertPool()
	roots.AddCert(certificate(t, dir, "ca.crt"))
	for _, tt := range []struct {
		file, host string
		usage      x509.ExtKeyUsage
		valid      bool
	}{
		{"apiserver.crt", "127.0.0.1", x509.ExtKeyUsageServerAuth, true},
		{"apiserver.crt", serviceAddress, x509.ExtKeyUsageServerAuth, true},
		{"apiserver.crt", "kubernetes.default.svc", x509.ExtKeyUsageServerAuth, true},
		{"apiserver.crt", "elsewhere.example", x509.ExtKeyUsageServerAuth, false},
		{"kubelet-server.crt", Address, x509.ExtKeyUsageServerAuth, true},
		{"apiserver-kubelet.crt", "", x509.ExtKeyUsageClientAuth, true},
		{"apiserver-kubelet.crt", "", x509.ExtKeyUsageServerAuth, false},
		{"front-proxy.crt", "", x509.ExtKeyUsageClientAuth, false}, // of the other authority
	} {
		_, err := certificate(t, dir, tt.file).Verify(x509.VerifyOptions{Roots: roots, DNSName: tt.host, KeyUsages: []x509.ExtKeyUsage{tt.usage}})
		if (err == nil) != tt.valid {
			t.Errorf("%s for %q: valid is %t, want %t (%v)", tt.file, tt.host, err == nil, tt.valid, err)
		}
	}
	if got := certificate(t, dir, "ca.crt"); !got.IsCA {
		t.Error("the authority is none")
	}
	for _, file := range []string{"ca.key", "admin.conf"} {
		info, err := os.Stat(filepath.Join(dir, file))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v; want it readable by its owner only", file, info, err)
		}
	}
}

func certificate(t *testing.T, dir, file string) *x509.Certificate {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, file))
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(data)
	if block == nil {
		t.Fatalf("%s holds no PEM", file)
	}
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
