// Package certscmd is `keepgate-dp certs`: it makes a data plane's key on the data plane.
//
// The key never leaves the node: what goes to the control plane's side is a certificate request, so that
// nobody there holds what the node's local store is sealed with.
package certscmd

import (
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/keepgate/keepgate/shared/durable"
	"github.com/keepgate/keepgate/shared/mtls/privatekey"
)

const (
	keyName     = "cluster.key"
	requestName = "cluster.csr"
	maxName     = 64 // RFC 5280 appendix A.1, ub-common-name
)

// Command returns the `certs` command with its subcommands.
func Command() *cobra.Command {
	root := &cobra.Command{
		Use:   "certs",
		Short: "This node's certificate for the connection to the control plane",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.AddCommand(requestCommand())
	return root
}

func requestCommand() *cobra.Command {
	var dir, name, key string
	cmd := &cobra.Command{
		Use:   "request",
		Short: "Make this node's private key (EC P-256) and a certificate request for it",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if name == "" {
				var err error
				if name, err = os.Hostname(); err != nil {
					return fmt.Errorf("asking for this node's name: %w", err)
				}
			}
			return request(cmd, dir, name, key)
		},
	}
	cmd.Flags().StringVar(&dir, "dir", ".", "the folder for "+keyName+" and "+requestName)
	cmd.Flags().StringVar(&name, "name", "", "the name to suggest; whoever signs decides (default: the host's name)")
	cmd.Flags().StringVar(&key, "key", "", "use this private key, to renew a certificate, and make none")
	return cmd
}

func request(cmd *cobra.Command, dir, name, keyPath string) error {
	if name == "" || len(name) > maxName {
		return fmt.Errorf("--name %q: 1 to %d characters are allowed", name, maxName)
	}
	requestPath := filepath.Join(dir, requestName)
	if err := durable.Absent(requestPath); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	key, keyPath, err := keyFor(dir, keyPath)
	if err != nil {
		return err
	}
	encoded, err := privatekey.Request(key, name)
	if err != nil {
		return err
	}
	if err := durable.WriteFile(requestPath, 0o644, encoded); err != nil {
		return err
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return fmt.Errorf("encoding the public key: %w", err)
	}
	digest := sha256.Sum256(public)
	_, err = fmt.Fprintf(cmd.OutOrStdout(), `private key   %s (stays here)
request       %s
key SHA-256   %s

Take the request to where the CA is and sign it there:
  keepgate-cp certs sign %s --name %s
Then bring back the certificate, ca.crt and crl.pem, and set cluster_cert, cluster_cert_key, cluster_ca_cert and cluster_crl.
`, keyPath, requestPath, hex.EncodeToString(digest[:]), quoted(requestPath), quoted(name))
	return err
}

// quoted writes a word as a shell takes it.
func quoted(word string) string {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:@%+="
	if strings.Trim(word, plain) == "" {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// keyFor reads the key that is given, or makes one where none is.
func keyFor(dir, given string) (crypto.Signer, string, error) {
	if given != "" {
		key, err := privatekey.Read(given)
		return key, given, err
	}
	path := filepath.Join(dir, keyName)
	if err := durable.Absent(path); err != nil {
		return nil, "", fmt.Errorf("%w; to renew the certificate of that key: --key %s", err, path)
	}
	key, encoded, err := privatekey.New()
	if err != nil {
		return nil, "", err
	}
	encoded.Reveal(func(data []byte) { err = durable.WriteFile(path, 0o600, data) })
	return key, path, err
}
