// Package kekcmd is `keepgate-cp kek`: the key-encryption keys of Kubernetes clusters, over the Admin API.
package kekcmd

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/keepgate/keepgate/controlplane/cli/adminclient"
)

const path = "/kms/keys"

const long = `A KEK is the key-encryption key of one Kubernetes cluster: keepgate-kms, beside each API server, has the seeds of
its API server wrapped under it. A certificate of role kms uses the KEK that its name begins with, before the first
dot: "prod.master-1" uses "prod".

    $ keepgate-cp kek create prod
    $ keepgate-cp certs issue prod.master-1 --role kms --dir certs`

// Command returns the `kek` command.
func Command() *cobra.Command {
	admin := &adminclient.Options{}
	cmd := &cobra.Command{Use: "kek", Short: "The keys of Kubernetes clusters: make, show, rotate and retire them", Long: long, Args: cobra.NoArgs, SilenceUsage: true}
	admin.Flags(cmd)
	cmd.AddCommand(create(admin), list(admin), show(admin), set(admin), rotate(admin), retire(admin), end(admin))
	return cmd
}

// kek is a KEK as the Admin API shows it.
type kek struct {
	Name        string
	KeyID       string `json:"key_id"`
	RotateEvery int64  `json:"rotate_every"`
	RotatesAt   int64  `json:"rotates_at"`
	Keys        []struct {
		KeyID      string `json:"key_id"`
		Generation uint64
		State      string
		CreatedAt  int64 `json:"created_at"`
		Age        int64
	}
	Warnings []string
	Problem  string
}

func create(admin *adminclient.Options) *cobra.Command {
	cmd := &cobra.Command{Use: "create NAME", Short: "make a KEK", Args: cobra.ExactArgs(1), SilenceUsage: true}
	every := cmd.Flags().String("rotate-every", "", "replace its key by itself, as 90d; objects still have to be rewritten by you")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		seconds, err := periodOf(*every)
		if err != nil {
			return err
		}
		var made kek
		if err := call(cmd, admin, "POST", path, map[string]any{"name": args[0], "rotate_every": seconds}, &made); err != nil {
			return err
		}
		say(cmd, "made KEK %s; its key is %s", shown(made.Name), shown(made.KeyID))
		return nil
	}
	return cmd
}

func set(admin *adminclient.Options) *cobra.Command {
	cmd := &cobra.Command{Use: "set NAME", Short: "set how often a KEK's key is replaced by itself", Args: cobra.ExactArgs(1), SilenceUsage: true}
	every := cmd.Flags().String("rotate-every", "", "as 90d; 0 is never")
	cobra.CheckErr(cmd.MarkFlagRequired("rotate-every")) // the flag is there, one line above
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		seconds, err := periodOf(*every)
		if err != nil {
			return err
		}
		return call(cmd, admin, "PATCH", at(args[0]), map[string]any{"rotate_every": seconds}, nil)
	}
	return cmd
}

func rotate(admin *adminclient.Options) *cobra.Command {
	return &cobra.Command{
		Use: "rotate NAME", Short: "have a new key replace the active one", Args: cobra.ExactArgs(1), SilenceUsage: true,
		Long: "Has a new key replace the active one, on every node at once and without a restart. The former key goes on unwrapping\n" +
			"until it is retired. Objects in etcd stay under it until they are rewritten, and from when that may be is printed.",
		RunE: func(cmd *cobra.Command, args []string) error {
			var made struct {
				KeyID       string `json:"key_id"`
				Former      string `json:"former_key_id"`
				RewriteFrom int64  `json:"rewrite_from"`
			}
			if err := call(cmd, admin, "POST", at(args[0])+"/rotate", nil, &made); err != nil {
				return err
			}
			from := time.Unix(made.RewriteFrom, 0)
			say(cmd, "new key     %s\n            %s", shown(made.KeyID), hashOf(made.KeyID))
			say(cmd, "former key  %s\n            %s", shown(made.Former), hashOf(made.Former))
			say(cmd, "\nRewrite the cluster's objects from %s on (in %s), and not before: until then an API server may\nstill write under the former key. "+
				"Every API server must show the new key's hash in\napiserver_envelope_encryption_key_id_hash_status_last_timestamp_seconds. Then:\n\n"+
				"  kubectl get secrets --all-namespaces -o json | kubectl replace -f -\n\n"+
				"When nothing is under the former key any more, backups included:\n\n  keepgate-cp kek retire %s %s --unused",
				from.UTC().Format(time.RFC3339), time.Until(from).Round(time.Second), shown(args[0]), shown(made.Former))
			return nil
		},
	}
}

func retire(admin *adminclient.Options) *cobra.Command {
	cmd := &cobra.Command{
		Use: "retire NAME KEY_ID", Short: "destroy a former key", Args: cobra.ExactArgs(2), SilenceUsage: true,
		Long: "Destroys the material of a former key. What is still under it is lost, and the control plane cannot see what is: check\n" +
			"first that no object in etcd names the key_id,\n\n" +
			"  etcdctl get --prefix /registry/ --print-value-only | grep -a -c KEY_ID\n\n" +
			"that apiserver_envelope_encryption_key_id_hash_total no longer grows for its hash (kek show) on any API server, and\n" +
			"that you need no backup of etcd from before.",
	}
	unused := cmd.Flags().Bool("unused", false, "your word that nothing is under it")
	early := cmd.Flags().Bool("early", false, "also before objects can have been rewritten")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if !*unused {
			return errors.New("what is under the key is lost with it: see `keepgate-cp kek retire --help` for how to check that nothing is, and then say --unused")
		}
		err := call(cmd, admin, "POST", at(args[0])+"/"+url.PathEscape(args[1])+"/retire", map[string]any{"unused": true, "early": *early}, nil)
		if err == nil {
			say(cmd, "%s is retired: its material is destroyed", shown(args[1]))
		}
		return err
	}
	return cmd
}

func end(admin *adminclient.Options) *cobra.Command {
	cmd := &cobra.Command{
		Use: "end NAME", Short: "destroy all keys of a KEK, of a cluster that is no more", Args: cobra.ExactArgs(1), SilenceUsage: true,
	}
	unused := cmd.Flags().Bool("unused", false, "your word that nothing is under any of its keys")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if !*unused {
			return errors.New("what is under its keys is lost with them; say --unused when the cluster and its backups are no more")
		}
		err := call(cmd, admin, "DELETE", at(args[0]), map[string]any{"unused": true}, nil)
		if err == nil {
			say(cmd, "KEK %s has ended: the material of all its keys is destroyed", shown(args[0]))
		}
		return err
	}
	return cmd
}

func at(name string) string { return path + "/" + url.PathEscape(name) }

// hashOf is how an API server's metrics name a key.
func hashOf(keyID string) string {
	sum := sha256.Sum256([]byte(keyID))
	return "sha256:" + hex.EncodeToString(sum[:])
}

// ageOf is a time in the two largest units.
func ageOf(seconds int64) string {
	if days := seconds / 86400; days > 0 && seconds%86400 < 3600 {
		return fmt.Sprintf("%dd", days)
	} else if days > 0 {
		return fmt.Sprintf("%dd%dh", days, seconds%86400/3600)
	}
	return (time.Duration(seconds) * time.Second).String()
}

// periodOf reads a duration that may be in days.
func periodOf(text string) (seconds int64, err error) {
	if text == "" || text == "0" {
		return 0, nil
	}
	if days, ok := strings.CutSuffix(text, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		if err != nil {
			return 0, fmt.Errorf("--rotate-every %q is no period as 90d or 2160h", text)
		}
		return int64(n) * 86400, nil
	}
	period, err := time.ParseDuration(text)
	if err != nil || period < 0 {
		return 0, fmt.Errorf("--rotate-every %q is no period as 90d or 2160h", text)
	}
	return int64(period / time.Second), nil
}

func call(cmd *cobra.Command, admin *adminclient.Options, method, path string, body map[string]any, into any) error {
	client, err := admin.Open()
	if err != nil {
		return err
	}
	var text []byte
	contentType := ""
	if body != nil {
		contentType = "application/json"
		if text, err = json.Marshal(body); err != nil {
			return err
		}
	}
	return client.Call(cmd.Context(), method, path, contentType, text, into)
}

// shown is a text without what a terminal or the table would take for a command.
func shown(text string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, text)
}

func say(cmd *cobra.Command, format string, args ...any) {
	_, _ = fmt.Fprintf(cmd.OutOrStdout(), format+"\n", args...) // a closed pipe ends the process anyway
}
