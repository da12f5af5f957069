package node

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// lifetime of every certificate: a cluster is made anew at each start.
const lifetime = 30 * 24 * time.Hour

// pair is a certificate with its key, both as PEM.
type pair struct{ cert, key []byte }

// authority signs certificates.
type authority struct {
	pair
	parsed *x509.Certificate
	signer *ecdsa.PrivateKey
}

// who says what a certificate is for. A nil hosts makes a client's.
type who struct {
	name, group string
	hosts       []string
}

func newAuthority(name string) (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make the key of %s: %w", name, err)
	}
	t := template(who{name: name})
	t.IsCA, t.BasicConstraintsValid = true, true
	t.KeyUsage, t.ExtKeyUsage = x509.KeyUsageCertSign|x509.KeyUsageDigitalSignature, nil
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("sign %s: %w", name, err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("read %s back: %w", name, err)
	}
	p, err := encode(der, key)
	return &authority{p, parsed, key}, err
}

// issue makes a certificate.
func (a *authority) issue(w who) (pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return pair{}, fmt.Errorf("make the key of %s: %w", w.name, err)
	}
	der, err := x509.CreateCertificate(rand.Reader, template(w), a.parsed, key.Public(), a.signer)
	if err != nil {
		return pair{}, fmt.Errorf("sign the certificate of %s: %w", w.name, err)
	}
	return encode(der, key)
}

func template(w who) *x509.Certificate {
	serial, _ := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120)) // rand.Reader never errs
	t := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: w.name},
		NotBefore:    time.Now().Add(-time.Hour), // clocks may be set back
		NotAfter:     time.Now().Add(lifetime),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	if w.group != "" {
		t.Subject.Organization = []string{w.group}
	}
	if w.hosts != nil {
		t.ExtKeyUsage = append(t.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
	}
	for _, h := range w.hosts {
		if ip := net.ParseIP(h); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
			continue
		}
		t.DNSNames = append(t.DNSNames, h)
	}
	return t
}

func encode(der []byte, key *ecdsa.PrivateKey) (pair, error) {
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return pair{}, fmt.Errorf("encode a key: %w", err)
	}
	return pair{
		cert: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		key:  pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}),
	}, nil
}

// kubeconfig lets a client in at server.
func (a *authority) kubeconfig(server string, client pair) []byte {
	b64 := base64.StdEncoding.EncodeToString
	return fmt.Appendf(nil, `apiVersion: v1
kind: Config
current-context: seatrial
contexts: [{name: seatrial, context: {cluster: seatrial, user: seatrial}}]
clusters: [{name: seatrial, cluster: {server: %q, certificate-authority-data: %s}}]
users: [{name: seatrial, user: {client-certificate-data: %s, client-key-data: %s}}]
`, server, b64(a.cert), b64(client.cert), b64(client.key))
}

// writePKI fills a folder with everything that the cluster's programs show each
// other, and returns the kubeconfig for the outside, at server.
func writePKI(dir, server string) (admin []byte, err error) {
	ca, err := newAuthority("seatrial-ca")
	if err != nil {
		return nil, err
	}
	front, err := newAuthority("seatrial-front-proxy-ca")
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{"ca.crt": ca.cert, "ca.key": ca.key, "front-proxy-ca.crt": front.cert}
	certificates := map[string]struct {
		by *authority
		of who
	}{
		"apiserver": {ca, who{name: "kube-apiserver", hosts: []string{"127.0.0.1", Address, serviceAddress, Name,
			"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"}}},
		"apiserver-kubelet": {ca, who{name: "kube-apiserver-kubelet-client", group: "system:masters"}},
		"kubelet-server":    {ca, who{name: "system:node:" + Name, hosts: []string{Address, Name}}},
		"front-proxy":       {front, who{name: "front-proxy-client"}},
		"service-account":   {ca, who{name: "service-accounts"}},
	}
	for name, c := range certificates {
		p, err := c.by.issue(c.of)
		if err != nil {
			return nil, err
		}
		files[name+".crt"], files[name+".key"] = p.cert, p.key
	}
	for file, w := range map[string]who{
		"admin":              {name: "seatrial-admin", group: "system:masters"},
		"controller-manager": {name: "system:kube-controller-manager"},
		"scheduler":          {name: "system:kube-scheduler"},
		"kubelet":            {name: "system:node:" + Name, group: "system:nodes"},
		"kube-proxy":         {name: "system:kube-proxy"},
	} {
		p, err := ca.issue(w)
		if err != nil {
			return nil, err
		}
		files[file+".conf"] = ca.kubeconfig("https://"+Address+":6443", p)
		if file == "admin" {
			admin = ca.kubeconfig(server, p)
		}
	}
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			return nil, fmt.Errorf("write %s: %w", name, err)
		}
	}
	return admin, nil
}
