package app

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/keepgate/keepgate/controlplane/encryption"
	"github.com/keepgate/keepgate/controlplane/encryption/providerconfig"
	"github.com/keepgate/keepgate/controlplane/members"
	"github.com/keepgate/keepgate/shared/fault"
)

const settingProviders = "encryption_provider_config"

// readable refuses chains that do not read what the database holds. Without a file only values of a file are looked
// for: the keyring has its own rules.
func (v *providers) readable(ctx context.Context, config *providerconfig.Config, chains *encryption.Chains) error {
	count := v.plane.store.CountSealed
	if config != nil {
		count = v.tally.count // which also finds what is in clear
	}
	counts, err := count(ctx)
	if err != nil {
		return fmt.Errorf("counting rows by provider: %w", err)
	}
	exchanged, err := v.exchanged(ctx, config)
	if err != nil {
		return err
	}
	var missing []string
	for _, count := range counts {
		if count.Rows > 0 && exchanged[count.Key] {
			missing = append(missing, fmt.Sprintf("%d rows of %s were written by %s when that was the name of another key", count.Rows, count.Table, encryption.Describe(count.Key)))
			continue
		}
		if count.Rows == 0 || chains.Readable(count.Table, count.Key) || config == nil && !strings.HasPrefix(count.Key, "k8s:enc:") {
			continue
		}
		written := encryption.Describe(count.Key)
		line := fmt.Sprintf("%d rows of %s were written by %s", count.Rows, count.Table, written)
		if written.Provider == "identity" {
			line = fmt.Sprintf("%d rows of %s are in clear", count.Rows, count.Table)
		}
		missing = append(missing, line)
	}
	if len(missing) == 0 {
		return nil
	}
	slices.Sort(missing)
	if config == nil {
		return fault.Newf(fault.Denied, "app.Run", settingProviders, "it is empty, and no provider reads these: %s. Set it to the file that names their providers again",
			strings.Join(missing, "; "))
	}
	return fault.Newf(fault.Denied, "app.Run", settingProviders, "no provider of the file reads these: %s. Put their provider back, under the same name and with the same key, behind "+
		"the first of that table (identity for rows in clear); then run keepgate-cp keyring reencrypt, and take it out when keepgate-cp encryption status shows no rows of it",
		strings.Join(missing, "; "))
}

// record writes into the journal that a file comes into force.
func (v *providers) record(ctx context.Context, config *providerconfig.Config) error {
	if config == nil {
		return nil
	}
	return v.plane.peers.journal.Record(ctx, "encryption.providers", settingProviders, "hash", config.Hash)
}

// agreed refuses to write what a node that lives does not read, and to not read what such a node writes. This node's
// lease says already what it is about to do, so that of two nodes that change at once one sees the other.
func (v *providers) agreed(ctx context.Context, config *providerconfig.Config) error {
	if config == nil {
		return nil
	}
	say := v.says(config)
	blind, err := v.plane.peers.members.Blind(ctx, *say)
	if err != nil {
		return err
	}
	if len(blind) > 0 {
		return fault.Newf(fault.Conflict, "app.Run", settingProviders, "%s would not read what this node writes by the file (%s): give every node a file that names the new provider "+
			"in second place, and put it first when all have taken that", nodesOf(blind), differing(blind[0].Say, *say))
	}
	unread, err := v.plane.peers.members.Unread(ctx, *say)
	if err != nil {
		return err
	}
	if len(unread) > 0 {
		return fault.Newf(fault.Conflict, "app.Run", settingProviders, "this node would not read what %s writes (%s): leave its provider in the file until no node writes by it any more",
			nodesOf(unread), differing(*say, unread[0].Say))
	}
	return nil
}

func nodesOf(list []members.Member) string {
	names := make([]string, len(list))
	for i, m := range list {
		names[i] = fmt.Sprintf("control plane node %s on %s", m.Name, m.Hostname)
	}
	return strings.Join(names, ", ")
}

// differing names one thing that the reader does not read of what the writer writes.
func differing(reader, writer members.Say) string {
	for _, table := range slices.Sorted(maps.Keys(writer.Writes)) {
		if prefix := writer.Writes[table]; !reader.ReadsIn(table, prefix) {
			name := table
			if table == members.EveryTable {
				name = "other tables"
			}
			text := name + " by " + encryption.Describe(strings.TrimSuffix(shownPrefix(prefix), ":")).Provider + " " + shownPrefix(prefix)
			if slices.ContainsFunc(reader.Reads[table], func(other string) bool { return shownPrefix(other) == shownPrefix(prefix) }) {
				text += ", which is the name of another key there"
			}
			return text
		}
	}
	return "a table"
}

// kept refuses a file that does not read what this node writes right now: a write that has just been sealed would be
// lost to it.
func (v *providers) kept(config *providerconfig.Config) error {
	now, say := v.says(v.current()), v.says(config)
	for _, table := range v.options.Tables {
		if writer := now.Writes[table]; !say.ReadsIn(table, writer) {
			return fault.Newf(fault.Denied, "app.Reload", settingProviders, "the file lacks the provider that writes %s now (%s, with the key that it has now): put it second, and take it out with a later change",
				table, shownPrefix(writer))
		}
	}
	return nil
}

// shownPrefix is what a lease says of a provider, for people.
func shownPrefix(said string) string {
	prefix, _, _ := strings.Cut(said, checkSign)
	return prefix
}
