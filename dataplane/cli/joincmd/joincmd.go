// Package joincmd is `keepgate-dp join`: it makes this node a member of a cluster by a join token.
package joincmd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/keepgate/keepgate/dataplane/enrol"
	"github.com/keepgate/keepgate/dataplane/tunnel"
	"github.com/keepgate/keepgate/shared/enrolment"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/mtls/trust"
	"github.com/keepgate/keepgate/shared/process"
	"github.com/keepgate/keepgate/shared/secret"
	"github.com/keepgate/keepgate/shared/secretfile"
	"github.com/keepgate/keepgate/shared/settings"
	"github.com/keepgate/keepgate/shared/settings/dpsettings"
	"github.com/keepgate/keepgate/shared/version"
)

const long = `Makes this node a data plane of a cluster. On the control plane somebody runs

  keepgate-cp fleet invite --environment prod

and hands over the line that it prints; it is run here, once, as the user whom keepgate-dp runs as:

  keepgate-dp join --control-plane cp.example:8005 --token kgj1.…

The private key is made here and never leaves this machine. The token says which authority the control plane has to be
of: a node that cannot prove that is not told the token. The control plane decides the environment and, unless the
token leaves that open, the name. What comes of it lies in <prefix>/cluster (cluster_enrolment); keepgate-dp uses it
wherever cluster_cert is not set, renews it by itself, and erases it when this node is shut out.

Every user of a machine can see the arguments of its processes. A token works once and not for long; to keep it off
the command line all the same, use --token-file, with - for what is piped in:

  keepgate-dp join --control-plane cp.example:8005 --token-file - < token

Through a proxy: --proxy http://proxy.example:3128, or proxy_server and cluster_use_proxy in keepgate.conf, where a
password belongs. Settings are read as by keepgate-dp run.`

const maxToken = 4 << 10

// arguments are what this command is told beside the settings.
type arguments struct {
	nodes                         []string
	token, tokenFile, name, proxy string
	again                         bool
}

// Command returns the `join` command.
func Command() (*cobra.Command, error) {
	var a arguments
	var s dpsettings.DataPlane
	cmd := &cobra.Command{
		Use: "join --control-plane HOST:PORT[,…] --token TOKEN", Short: "Become a data plane of a cluster, by a join token", Long: long,
		Args: cobra.NoArgs, SilenceUsage: true,
	}
	flags, err := settings.Bind(cmd, &s)
	set := cmd.Flags()
	set.StringSliceVar(&a.nodes, "control-plane", nil, "nodes of the control plane, as host:port (default: cluster_control_plane)")
	set.StringVar(&a.token, "token", "", "the token, as keepgate-cp fleet invite prints it")
	set.StringVar(&a.tokenFile, "token-file", "", "a file that holds the token and that only its owner can read; - for the standard input")
	set.StringVar(&a.name, "name", "", "what this node is called, where the token leaves that open (default: the host's name)")
	set.StringVar(&a.proxy, "proxy", "", "reach the control plane through this proxy, http://host:port or https://host:port")
	set.BoolVar(&a.again, "again", false, "replace an enrolment that is still alive")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if _, err := flags.Load(cmd.Context()); err != nil {
			return err
		}
		return join(cmd, s, a)
	}
	return cmd, err
}

func join(cmd *cobra.Command, s dpsettings.DataPlane, a arguments) error {
	if trust.Mode(s.Cluster.MTLS) == trust.Shared {
		return errors.New("cluster_mtls is shared: every node has the same certificate then, and nobody joins. Copy it here, or use cluster_mtls = pki on both planes")
	}
	token, err := readToken(cmd.InOrStdin(), a)
	if err != nil {
		return err
	}
	if len(a.nodes) == 0 {
		a.nodes = s.Cluster.ControlPlane
	}
	for _, node := range a.nodes {
		if _, port, err := net.SplitHostPort(node); err != nil || port == "" {
			return fmt.Errorf("--control-plane: %q is not host:port, as cp.example:8005", node)
		}
	}
	dial, err := dialler(s, a.proxy)
	if err != nil {
		return err
	}
	hostname, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("asking for the host name: %w", err)
	}
	result, err := enrol.At(s.Cluster.Enrolment).Join(cmd.Context(), enrol.Wish{
		Token: token, Nodes: a.nodes, Dial: dial, Name: a.name, Hostname: hostname, Version: version.Text, Again: a.again,
	})
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%s; run this as the user whom keepgate-dp runs as, and with the same --prefix", fault.Text(err))
	}
	if err != nil {
		return errors.New(fault.Text(err))
	}
	return report(cmd, s, a, result)
}

// readToken takes the token from where it was said to be.
func readToken(stdin io.Reader, a arguments) (enrolment.Token, error) {
	var text []byte
	var err error
	switch {
	case a.token != "" && a.tokenFile != "":
		return enrolment.Token{}, errors.New("give --token or --token-file, not both")
	case a.token == "" && a.tokenFile == "":
		return enrolment.Token{}, errors.New("give the token that keepgate-cp fleet invite printed: with --token, or with --token-file")
	case a.token != "":
		text = []byte(a.token)
	case a.tokenFile == "-":
		text, err = io.ReadAll(io.LimitReader(stdin, maxToken))
	default:
		text, _, err = secretfile.Read(a.tokenFile, maxToken)
	}
	if err != nil {
		return enrolment.Token{}, fmt.Errorf("reading the token: %w", err)
	}
	defer clear(text)
	return enrolment.ParseToken(strings.TrimSpace(string(text)))
}

func dialler(s dpsettings.DataPlane, proxy string) (enrol.Dial, error) {
	use, server := s.Cluster.UseProxy, s.Cluster.ProxyServer
	if proxy != "" {
		use, server = true, secret.Take([]byte(proxy))
	}
	dial, err := tunnel.Through(use, server, s.Upstream.Roots, !s.Cluster.ProxyVerify)
	if err != nil || dial != nil {
		return dial, err
	}
	straight := new(net.Dialer)
	return func(ctx context.Context, address string) (net.Conn, error) {
		return straight.DialContext(ctx, "tcp", address)
	}, nil
}

// report says what came of it and what to do next.
func report(cmd *cobra.Command, s dpsettings.DataPlane, a arguments, r enrol.Result) error {
	out, told := cmd.OutOrStdout(), cmd.ErrOrStderr()
	fmt.Fprintf(out, "joined as    %s\ncertificate  serial %s, until %s; renewed by itself when two thirds of that are over\nkept in      %s\n",
		r.Identity, r.Identity.Serial, r.Identity.NotAfter.UTC().Format(time.RFC3339), absolute(s.Cluster.Enrolment))
	if r.Replaced {
		fmt.Fprintln(out, "\nThis replaces the certificate from before.")
	}
	line := fmt.Sprintf("--prefix %s --cluster-control-plane %s", quoted(absolute(s.Process.Prefix)), quoted(strings.Join(a.nodes, ",")))
	if conf := cmd.Flag("conf"); conf.Changed {
		line = "--conf " + quoted(absolute(conf.Value.String())) + " " + line
	}
	problem, name := wrongName(s, r)
	if problem != "" {
		fmt.Fprintln(told, "warning:", problem)
	}
	if name = cmp.Or(name, s.Cluster.ServerName); name != "" {
		line += " --cluster-server-name " + quoted(name)
	}
	if s.Cluster.Cert != "" {
		fmt.Fprintf(told, "warning: cluster_cert is set, to %s, and comes first: unset cluster_cert, cluster_cert_key, cluster_ca_cert and cluster_crl to use what this node joined with\n", s.Cluster.Cert)
	}
	does, verb := "Start it", "run"
	place := process.Place{Prefix: absolute(s.Process.Prefix), Name: "keepgate-dp"}
	if status, err := process.Look(place); err == nil && status.Running {
		does, verb = "It runs, and goes on as what it was. Restart it, with whatever other settings it has (--conf, flags)", "restart"
	}
	_, err := fmt.Fprintf(out, "\n%s:\n  keepgate-dp %s %s\n", does, verb, line)
	return err
}

// quoted is a word that a shell takes as it is.
func quoted(word string) string {
	plain := func(r rune) bool {
		return unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("/._-:,@%+=", r)
	}
	if word != "" && !strings.ContainsFunc(word, func(r rune) bool { return !plain(r) }) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// absolute is a path that means the same in every folder, as far as that can be told.
func absolute(path string) string {
	if whole, err := filepath.Abs(path); err == nil {
		return whole
	}
	return path
}

// wrongName says why the link to the node that was joined by would be refused, and which name would do.
func wrongName(s dpsettings.DataPlane, r enrol.Result) (problem, name string) {
	if len(r.TLS.PeerCertificates) == 0 {
		return "", ""
	}
	host, _, _ := net.SplitHostPort(r.Node) // it was looked at before
	if s.Cluster.ServerName != "" {
		host = s.Cluster.ServerName
	}
	leaf := r.TLS.PeerCertificates[0]
	if leaf.VerifyHostname(host) == nil {
		return "", ""
	}
	names := leaf.DNSNames
	for _, ip := range leaf.IPAddresses {
		names = append(names, ip.String())
	}
	if len(names) > 0 {
		name = names[0]
	}
	return fmt.Sprintf("the certificate of %s is for %s, and not for %s: set cluster_server_name to one of these, or the link will be refused", r.Node, strings.Join(names, ", "), host), name
}
