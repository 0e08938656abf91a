package fleetcmd

import (
	"bytes"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/keepgate/keepgate/controlplane/certs"
	"github.com/keepgate/keepgate/controlplane/cli/adminclient"
)

func authorityCreate(admin *adminclient.Options) *cobra.Command {
	cmd := &cobra.Command{
		Use: "create", Short: "Have the CA in a folder certify an authority of the control plane's own, which certifies data planes from then on",
		Long: "Ask the running control plane to make the key of an edge authority, have the CA in the folder sign its certificate, and hand\n" +
			"that back. The key does not leave the control plane, and ca.key does not leave this machine. The certificate says that data\n" +
			"planes alone are certified by it: nobody who steals the key makes a control plane of it.\n\n" +
			"A command that was interrupted is just run again. The authority before signs no more; what it signed stays good, and is\n" +
			"renewed below the new one as it ends, or at once when the CA is another one.",
		Example: "  keepgate-cp fleet authority create --dir certs",
		Args:    cobra.NoArgs, SilenceUsage: true,
	}
	dir := cmd.Flags().String("dir", "certs", "the folder of the CA that signs (keepgate-cp certs)")
	days := cmd.Flags().Int("days", 365, "how long the edge authority is valid; what it certifies ends with it")
	force := cmd.Flags().Bool("force", false, "do not wait for nodes that do not believe the CA yet")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if *days < 2 || *days > 3650 {
			return fmt.Errorf("--days %d: 2 to 3650 are allowed", *days)
		}
		client, err := admin.Open()
		if err != nil {
			return err
		}
		return create(cmd, client, *dir, time.Duration(*days)*24*time.Hour, *force)
	}
	return cmd
}

func create(cmd *cobra.Command, client *adminclient.Client, dir string, valid time.Duration, force bool) (err error) {
	folder, err := certs.Open(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, folder.Close()) }()
	var asked struct{ Name, Request string }
	by := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: folder.Certificate().Raw})
	if err := tell(cmd, client, "/request", map[string]any{"certificate": string(by), "force": force}, &asked); err != nil {
		return err
	}
	issued, err := folder.SignEdge([]byte(asked.Request), valid)
	if err != nil {
		return err
	}
	var shown authorities
	if err := tell(cmd, client, "/install", map[string]any{"certificates": string(issued.CertPEM), "force": force}, &shown); err != nil {
		return err
	}
	out := cmd.OutOrStdout()
	_, _ = fmt.Fprintf(out, "%s certifies data planes, until %s\n", asked.Name, issued.Identity.NotAfter.UTC().Format(time.RFC3339))
	for _, notice := range issued.Notices {
		_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "note: %s\n", notice)
	}
	for _, r := range shown.Authorities {
		if r.State == "trusted" && len(r.Needing) > 0 && len(shown.Edges) > 1 { // nothing is replaced by the first
			_, _ = fmt.Fprintf(out, "%.*s is needed until these have certificates of another one: %s\n", shownDigits, r.Fingerprint, strings.Join(r.Needing, ", "))
		}
	}
	return nil
}

// tell sends JSON.
func tell(cmd *cobra.Command, client *adminclient.Client, path string, body map[string]any, into any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("writing the request: %w", err)
	}
	return client.Call(cmd.Context(), "POST", authoritiesPath+path, "application/json", text, into)
}

func authorityTrust(admin *adminclient.Options) *cobra.Command {
	cmd := &cobra.Command{
		Use: "trust FILE", Short: "Have everybody believe another CA beside the present one",
		Long: "Have all control plane nodes and all data planes believe the CA in FILE beside those that they believe. It certifies nobody by\n" +
			"that. \"list\" shows who does not believe it yet.\n\n" +
			"Its list of revoked certificates goes with it, the file crl.pem beside FILE unless --crl says otherwise. With a newer list,\n" +
			"or a newer certificate of the same CA, give it again.",
		Example: "  keepgate-cp fleet authority trust certs-2/ca.crt",
		Args:    cobra.ExactArgs(1), SilenceUsage: true,
	}
	crl := cmd.Flags().String("crl", "", "the CA's list of revoked certificates (default: crl.pem beside FILE, where there is one)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		certificates, lists, err := bundleOf(args[0], *crl)
		if err != nil {
			return err
		}
		client, err := admin.Open()
		if err != nil {
			return err
		}
		var shown authorities
		if err := tell(cmd, client, "", map[string]any{"certificates": certificates, "lists": lists}, &shown); err != nil {
			return err
		}
		return shown.print(cmd)
	}
	return cmd
}

const maxBundle = 1 << 20

// bundleOf reads a CA's certificate, the root above it too where it stands below one, and its list.
func bundleOf(path, crl string) (certificates, lists string, err error) {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		path = certs.PathsIn(path).CA
	}
	beside := certs.PathsIn(filepath.Dir(path))
	if filepath.Base(path) == "ca.crt" {
		path = beside.CA // with the root above it, where there is one
	}
	if certificates, err = readText(path); err != nil {
		return "", "", err
	}
	if crl == "" {
		if _, err := os.Stat(beside.CRL); err != nil {
			return certificates, "", nil
		}
		crl = beside.CRL
	}
	lists, err = readText(crl)
	return certificates, lists, err
}

func readText(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() || info.Size() > maxBundle {
		return "", fmt.Errorf("%s is no file of at most %d bytes", path, maxBundle)
	}
	data, err := os.ReadFile(path)
	if err == nil && bytes.Contains(data, []byte("PRIVATE KEY-----")) { // nothing of it leaves this machine
		clear(data)
		return "", fmt.Errorf("%s holds a private key, which stays where it is: name the certificate beside it, as ca.crt", path)
	}
	return string(data), err
}

func authorityRetire(admin *adminclient.Options) *cobra.Command {
	cmd := &cobra.Command{
		Use: "retire FINGERPRINT", Short: "Have nobody believe a CA any more",
		Long: "Have nobody believe the CA any more whose fingerprint begins like that, not even where its file is still in cluster_ca_cert.\n" +
			"That is refused while the CA signs, while a control plane node or a data plane has a certificate of it alone, and while\n" +
			"somebody does not believe the next one yet. A data plane that is not coming back counts until its\n" +
			"certificate ends; --force does not wait for it, and cuts off whoever still needs the CA.",
		Example: "  keepgate-cp fleet authority list\n  keepgate-cp fleet authority retire 5f3a9c0142d7e6b8",
		Args:    cobra.ExactArgs(1), SilenceUsage: true,
	}
	force := cmd.Flags().Bool("force", false, "cut off whoever still needs the CA")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		client, err := admin.Open()
		if err != nil {
			return err
		}
		var shown authorities
		if err := tell(cmd, client, "/"+url.PathEscape(args[0])+"/retire", map[string]any{"force": *force}, &shown); err != nil {
			return err
		}
		return shown.print(cmd)
	}
	return cmd
}

func authorityEnd(admin *adminclient.Options) *cobra.Command {
	cmd := &cobra.Command{
		Use: "end", Short: "Destroy the key of the edge authority, so that no data plane joins or renews",
		Long: "Destroy the key of the edge authority. Nobody is certified by it any more; what it certified is believed until that ends, and whom\n" +
			"the planes believe stays. Before the database is decrypted for good: the key never rests in clear. \"create\" makes another one.",
		Args: cobra.NoArgs, SilenceUsage: true,
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		client, err := admin.Open()
		if err != nil {
			return err
		}
		var shown authorities
		if err := tell(cmd, client, "/end", map[string]any{}, &shown); err != nil {
			return err
		}
		return shown.print(cmd)
	}
	return cmd
}
