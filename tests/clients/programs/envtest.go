// A suite's life as controller-runtime's envtest has it, with nothing but Go's own library: certificates of its own,
// programs started with its flags and polled until they are healthy, requests with a client certificate over HTTPS,
// a watch, and the end by SIGTERM. The folder of the programs is the argument.
package main

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"syscall"
	"time"
)

const startSeconds = 20

type object = map[string]interface{}

type pair struct {
	key  *rsa.PrivateKey
	cert *x509.Certificate
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func issue(template *x509.Certificate, authority *pair) *pair {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	must(err)
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Minute), time.Now().Add(time.Hour)
	parent, signer := template, key
	if authority != nil {
		parent, signer = authority.cert, authority.key
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	must(err)
	cert, err := x509.ParseCertificate(raw)
	must(err)
	return &pair{key, cert}
}

func newAuthority() *pair {
	usage := x509.KeyUsageKeyEncipherment | x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign
	return issue(&x509.Certificate{
		Subject:  pkix.Name{CommonName: "envtest-environment", Organization: []string{"envtest"}},
		KeyUsage: usage, IsCA: true, BasicConstraintsValid: true,
	}, nil)
}

func (p *pair) certPEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.cert.Raw})
}

func (p *pair) keyPEM() []byte {
	raw, err := x509.MarshalPKCS8PrivateKey(p.key)
	must(err)
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw})
}

func freePort() int {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port
}

func hasFlag(program, flag string) bool {
	help, err := exec.Command(program, "--help").Output()
	must(err)
	return regexp.MustCompile(`(?m)^\s*--` + flag + `\b`).Match(help)
}

func start(program, health string, arguments ...string) *exec.Cmd {
	command := exec.Command(program, arguments...)
	command.Stderr = os.Stderr
	must(command.Start())
	insecure := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	for deadline := time.Now().Add(startSeconds * time.Second); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		if answer, err := insecure.Get(health); err == nil {
			answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				return command
			}
		}
	}
	panic(program + " did not become healthy in time")
}

func stop(command *exec.Cmd) {
	must(command.Process.Signal(syscall.SIGTERM))
	must(command.Wait())
}

type client struct {
	http *http.Client
	url  string
}

func (c *client) ask(method, path string, body object) object {
	data, err := json.Marshal(body)
	must(err)
	request, err := http.NewRequest(method, c.url+path, bytes.NewReader(data))
	must(err)
	request.Header.Set("Content-Type", "application/json")
	answer, err := c.http.Do(request)
	must(err)
	defer answer.Body.Close()
	read, err := io.ReadAll(answer.Body)
	must(err)
	if answer.StatusCode >= 300 {
		panic(fmt.Sprintf("%s %s: %d %s", method, path, answer.StatusCode, read))
	}
	var found object
	must(json.Unmarshal(read, &found))
	return found
}

func (c *client) firstEvent(path string) object {
	answer, err := c.http.Get(c.url + path)
	must(err)
	defer answer.Body.Close()
	line, err := bufio.NewReader(answer.Body).ReadBytes('\n')
	must(err)
	var found object
	must(json.Unmarshal(line, &found))
	return found
}

func main() {
	assets := os.Args[1]
	folder, err := os.MkdirTemp("", "k8s_test_framework_")
	must(err)
	defer os.RemoveAll(folder)
	serving, clients, accounts := newAuthority(), newAuthority(), newAuthority()
	server := issue(&x509.Certificate{
		Subject:  pkix.Name{CommonName: "localhost", Organization: []string{"envtest"}},
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.ParseIP("127.0.0.1")},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, serving)
	admin := issue(&x509.Certificate{
		Subject:  pkix.Name{CommonName: "admin", Organization: []string{"system:masters"}},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, clients)
	for name, content := range map[string][]byte{
		"apiserver.crt": server.certPEM(), "apiserver.key": server.keyPEM(),
		"sa-signer.crt": accounts.certPEM(), "sa-signer.key": accounts.keyPEM(),
		"client-cert-auth-ca.crt": clients.certPEM(),
	} {
		must(os.WriteFile(filepath.Join(folder, name), content, 0o640))
	}

	etcd, apiserver := filepath.Join(assets, "etcd"), filepath.Join(assets, "kube-apiserver")
	etcdURL := fmt.Sprintf("http://127.0.0.1:%d", freePort())
	port := freePort()
	url := fmt.Sprintf("https://127.0.0.1:%d", port)
	flags := []string{
		"--advertise-client-urls=" + etcdURL, "--data-dir=" + filepath.Join(folder, "etcd"),
		"--listen-client-urls=" + etcdURL, fmt.Sprintf("--listen-peer-urls=http://127.0.0.1:%d", freePort()),
	}
	if hasFlag(etcd, "unsafe-no-fsync") {
		flags = append(flags, "--unsafe-no-fsync=true")
	}
	if hasFlag(apiserver, "insecure-port") {
		panic("a server of before 1.24")
	}
	began := time.Now()
	store := start(etcd, etcdURL+"/health", flags...)
	defer stop(store)
	running := start(apiserver, url+"/healthz",
		"--allow-privileged=true", "--authorization-mode=RBAC", "--bind-address=127.0.0.1", "--cert-dir="+folder,
		"--client-ca-file="+filepath.Join(folder, "client-cert-auth-ca.crt"),
		"--disable-admission-plugins=ServiceAccount", "--etcd-servers="+etcdURL, fmt.Sprintf("--secure-port=%d", port),
		"--service-account-issuer="+url+"/", "--service-account-key-file="+filepath.Join(folder, "sa-signer.crt"),
		"--service-account-signing-key-file="+filepath.Join(folder, "sa-signer.key"),
		"--service-cluster-ip-range=10.0.0.0/24")
	defer stop(running)
	fmt.Println("ready after", time.Since(began).Round(100*time.Millisecond))

	roots := x509.NewCertPool()
	roots.AddCert(serving.cert)
	c := &client{&http.Client{Transport: &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{
		RootCAs:      roots,
		Certificates: []tls.Certificate{{Certificate: [][]byte{admin.cert.Raw}, PrivateKey: admin.key}},
	}}}, url}

	maps := "/api/v1/namespaces/default/configmaps"
	made := c.ask("POST", maps, object{"metadata": object{"name": "settings"}, "data": object{"colour": "blue"}})
	version := made["metadata"].(object)["resourceVersion"].(string)
	c.ask("PUT", maps+"/settings", object{"metadata": object{"name": "settings"}, "data": object{"colour": "red"}})
	event := c.firstEvent(maps + "?watch=true&resourceVersion=" + version)
	fmt.Println("watched", event["type"], event["object"].(object)["data"].(object)["colour"])
	account := "/api/v1/namespaces/default/serviceaccounts"
	c.ask("POST", account, object{"metadata": object{"name": "robot"}})
	token := c.ask("POST", account+"/robot/token", object{"spec": object{}})["status"].(object)["token"].(string)
	review := object{"spec": object{"token": token}}
	answered := c.ask("POST", "/apis/authentication.k8s.io/v1/tokenreviews", review)["status"].(object)
	fmt.Println("token of", answered["user"].(object)["username"])
}
