package doctor_test

import (
	"encoding/pem"
	"testing"
	"time"

	"github.com/keepgate/keepgate/shared/mtls/mtlstest"
)

// served is a server's certificate in a mistake.
func served(pair mtlstest.Pair, above ...*mtlstest.CA) (func(*bench) []byte, []byte) {
	chain := append([]byte{}, pair.CertPEM...)
	for _, ca := range above {
		chain = append(chain, ca.PEM...)
	}
	return func(*bench) []byte { return chain }, pair.KeyPEM
}

func mistakes(t *testing.T, b *bench) []mistake {
	t.Helper()
	const (
		issueServer = "keepgate-cp certs issue localhost --role server"
		renewServer = "renew it: keepgate-cp certs renew FILE where its authority is, then SELECT pg_reload_conf()"
		clock       = "set the clock of this machine (timedatectl); if it is right, that of the machine that issued the certificate, and issue it anew"
		control     = "keepgate-cp certs issue NAME --role control-plane"
	)
	now := time.Now()
	day := 24 * time.Hour
	old := b.middle.Issue(t, clientLeaf("kong", now.Add(-time.Minute)))
	eve := b.middle.Issue(t, clientLeaf("eve", time.Time{}))
	stranger := b.other.Issue(t, clientLeaf("kong", time.Time{}))
	dataPlane := b.cluster.Issue(t, mtlstest.Leaf{NotAfter: now.Add(100 * day)})
	withMiddle := func(pair mtlstest.Pair) []byte { return append(append([]byte{}, pair.CertPEM...), b.middle.PEM...) }
	oldCert, oldKey := b.file(t, "old.crt", withMiddle(old), 0o644), b.file(t, "old.key", old.KeyPEM, 0o600)
	open := b.file(t, "open.key", b.middle.Issue(t, clientLeaf("kong", time.Time{})).KeyPEM, 0o644)
	foreign := b.file(t, "foreign.key", eve.KeyPEM, 0o600)
	staleList := b.file(t, "stale.crl", append(b.middle.CRL(t, 1, now.Add(-time.Hour)), b.root.CRL(t, 1, now.Add(day))...), 0o644)
	staleCluster := b.file(t, "stale-cluster.crl", b.cluster.CRL(t, 1, now.Add(-time.Hour)), 0o644)
	revoked := b.middle.Issue(t, serverLeaf(mtlstest.Leaf{}))
	revokedList := b.file(t, "revoked.crl", append(b.middle.CRL(t, 2, now.Add(day), revoked), b.root.CRL(t, 1, now.Add(day))...), 0o644)
	busy := anyPort(t)
	twin := mtlstest.NewCA(t, "root") // another key
	block, _ := pem.Decode(eve.KeyPEM)
	block.Type = "ENCRYPTED PRIVATE KEY"
	locked := b.file(t, "locked.key", pem.EncodeToMemory(block), 0o600)
	block, _ = pem.Decode(eve.CertPEM)
	der := b.file(t, "eve.der", block.Bytes, 0o644)
	none := map[string]string{"pg_ssl_cert": "", "pg_ssl_cert_key": ""}

	list := []mistake{
		{
			name: "expired client certificate", set: map[string]string{"pg_ssl_cert": oldCert, "pg_ssl_cert_key": oldKey},
			step: "client dates", fact: `pg_ssl_cert: "kong" expired`, mend: "renew it: keepgate-cp certs issue NAME --role client",
		},
		{
			name: "key of another certificate", set: map[string]string{"pg_ssl_cert_key": foreign},
			step: "client key", fact: "is not the key of", mend: "set pg_ssl_cert_key to the key that " + b.dir + "/client.crt was made with, or have a certificate made for this key",
		},
		{
			name: "key that everybody can read", set: map[string]string{"pg_ssl_cert_key": open},
			step: "client key", fact: "others can read the private key " + open + " (mode 0644)", mend: "chmod 600 " + open,
		},
		{
			name: "key file not there", set: map[string]string{"pg_ssl_cert_key": b.dir + "/none.key"},
			step: "client key", fact: "no such file", mend: "put the private key of " + b.dir + "/client.crt there, or mend pg_ssl_cert_key",
		},
		{
			name: "server without TLS", plain: true, rules: "host all all 127.0.0.1/32 scram-sha-256",
			step: "TLS offered", fact: "the server offers no TLS", mend: "set ssl = on, ssl_cert_file and ssl_key_file in the server's postgresql.conf",
		},
		{
			name: "wrong password", set: map[string]string{"pg_password": "wrong-" + "guess"},
			step: "login", fact: "password authentication failed", mend: "mend pg_password (or its file), or the role's password; under clientcert=verify-full the common name of pg_ssl_cert has to be the role, too",
		},
		{
			name: "unknown role", set: map[string]string{"pg_user": "nobody"}, rules: "hostssl all all all trust",
			step: "login", fact: "does not exist", mend: `CREATE ROLE "nobody" LOGIN, with a password where one is asked for, or mend pg_user`,
		},
		{
			name: "nothing listens at pg_ro_host", set: map[string]string{"pg_ro_host": "localhost", "pg_ro_port": closedPort(t)},
			step: "TCP", fact: "nothing listens at localhost", mend: "start PostgreSQL there, let it listen (listen_addresses, port in postgresql.conf), or mend pg_ro_host and pg_ro_port",
		},
		{
			name: "unknown role of pg_ro_host", set: map[string]string{"pg_ro_host": "localhost", "pg_ro_user": "nobody"}, rules: "hostssl all all all trust",
			step: "login", fact: "does not exist", mend: `CREATE ROLE "nobody" LOGIN, with a password where one is asked for, or mend pg_ro_user`,
		},
		{
			name: "role that may not log in", set: map[string]string{"pg_user": "asleep"}, rules: "hostssl all all all trust",
			step: "login", fact: "not permitted to log in", mend: `ALTER ROLE "asleep" LOGIN, or mend pg_user`,
		},
		{
			name: "no connection left", set: map[string]string{"pg_user": "crowded"}, rules: "hostssl all all all trust",
			step: "login", fact: "too many connections", mend: "raise max_connections in its postgresql.conf (or the role's or the database's CONNECTION LIMIT), or lower pg_pool_size of every node",
		},
		{
			name: "password asked for, none set", set: map[string]string{"pg_password": ""},
			step: "login", fact: "password authentication failed", mend: "the server asks for a password and none is set: write it into a file of mode 0600 and set pg_password_file",
		},
		{
			name: "client certificate of another role, and a password", rules: "hostssl all all all scram-sha-256 clientcert=verify-full",
			set:  map[string]string{"pg_ssl_cert": b.file(t, "eve-too.crt", withMiddle(eve), 0o644), "pg_ssl_cert_key": foreign},
			step: "login", fact: "password authentication failed", mend: `the common name of pg_ssl_cert is "eve", and under clientcert=verify-full it has to be pg_user ("kong"); else mend pg_password or its file`,
		},
		{
			name: "an authority of the same name trusted", set: map[string]string{"ssl_trusted_certificate": b.file(t, "twin-root.crt", twin.PEM, 0o644)},
			step: "chain received", fact: `"root" is not trusted`, mend: `the certificate of "root" in ssl_trusted_certificate has another key than the one that issued this, an older or newer one: put that one there`,
		},
		{
			name: "key with a passphrase", set: map[string]string{"pg_ssl_cert_key": locked},
			step: "client key", fact: "is locked with a passphrase", mend: "take it off, since nobody types it at a start: (umask 077; openssl pkey -in " + locked + " -out key.open) && mv key.open " + locked,
		},
		{
			name: "certificate in DER form", set: map[string]string{"pg_ssl_cert": der},
			step: "client certificate", fact: "there is no certificate in PEM form", mend: "it is there in DER form: openssl x509 -inform DER -in " + der + " -out FILE, and set pg_ssl_cert to that",
		},
		{
			name: "certificate and key swapped", set: map[string]string{"pg_ssl_cert": b.dir + "/client.key", "pg_ssl_cert_key": b.dir + "/client.crt"},
			step: "client certificate", fact: "there is no certificate in PEM form", mend: "that is a private key: set pg_ssl_cert to its certificate (pg_ssl_cert and pg_ssl_cert_key may be swapped)",
		},
		{
			name: "missing database", set: map[string]string{"pg_database": "nothere"},
			step: "login", fact: `database "nothere" does not exist`, mend: `CREATE DATABASE "nothere" OWNER "kong", or mend pg_database`,
		},
		{
			name: "missing privilege", set: map[string]string{"pg_user": "limited"},
			step: "privileges", fact: "may not make tables in schema public", mend: `GRANT USAGE, CREATE ON SCHEMA "public" TO "limited" (as a superuser, in that database)`,
		},
		{
			name: "no schema, and no right to make one", set: map[string]string{"pg_user": "limited", "pg_schema": "gate"},
			step: "privileges", fact: "there is no schema gate", mend: `CREATE SCHEMA "gate" AUTHORIZATION "limited" (as a superuser, in that database)`,
		},
		{
			name: "port closed", set: map[string]string{"pg_port": closedPort(t)},
			step: "TCP", fact: "nothing listens at localhost:", mend: "start PostgreSQL there, let it listen (listen_addresses, port in postgresql.conf), or mend pg_host and pg_port",
		},
		{
			name: "unknown name", set: map[string]string{"pg_host": "nosuch.invalid"},
			step: "DNS", fact: "nosuch.invalid is not known", mend: "mend pg_host, or let DNS or /etc/hosts know nosuch.invalid",
		},
		{
			name: "list of revoked certificates out of date", set: map[string]string{"pg_ssl_crl_file": staleList},
			step: "revocation lists", fact: `the list of "middle" is out of date`, mend: "fetch a newer list from that authority into " + staleList,
		},
		{
			name: "client certificate demanded", set: none, rules: "hostssl all all all cert",
			step: "login", fact: "requires a valid client certificate", mend: "the server demands a client certificate: set pg_ssl_cert and pg_ssl_cert_key",
		},
		{
			name: "client certificate of another role", rules: "hostssl all all all cert",
			set:  map[string]string{"pg_ssl_cert": b.file(t, "eve.crt", withMiddle(eve), 0o644), "pg_ssl_cert_key": foreign},
			step: "login", fact: "certificate authentication failed", mend: "the common name of pg_ssl_cert has to be pg_user, or a map of the server's pg_ident.conf has to lead from one to the other",
		},
		{
			name: "client certificate of an authority the server does not know",
			set:  map[string]string{"pg_ssl_cert": b.file(t, "stranger.crt", stranger.CertPEM, 0o644), "pg_ssl_cert_key": b.file(t, "stranger.key", stranger.KeyPEM, 0o600)},
			step: "login", fact: "unknown certificate authority", mend: "the server does not know who issued pg_ssl_cert: its ssl_ca_file needs that authority, and pg_ssl_cert whatever stands between the two",
		},
		{
			name: "no line in pg_hba.conf", rules: "hostssl other all all scram-sha-256",
			step: "login", fact: "no pg_hba.conf entry", mend: "the server's pg_hba.conf has no line for this role, database and address",
		},
		{
			name: "chain longer than ssl_verify_depth", set: map[string]string{"ssl_verify_depth": "0"},
			step: "chain received", fact: "ssl_verify_depth allows 0", mend: "raise ssl_verify_depth to the number of intermediate certificates",
		},

		{
			name: "certificate of the wrong role", set: map[string]string{"cluster_cert": b.file(t, "dp.crt", dataPlane.CertPEM, 0o644), "cluster_cert_key": b.file(t, "dp.key", dataPlane.KeyPEM, 0o600)},
			step: "role", fact: "a certificate of role data-plane", mend: "issue one: " + control,
		},
		{
			name: "cluster certificate of another authority", set: map[string]string{"cluster_ca_cert": b.file(t, "other.crt", b.other.PEM, 0o644), "cluster_crl": ""},
			step: "authority", fact: "is not of an authority in", mend: `set cluster_ca_cert to the certificate of "cluster", or have a certificate issued by the authority that is there`,
		},
		{
			name: "the cluster's list out of date", set: map[string]string{"cluster_crl": staleCluster},
			step: "CRL", fact: `the list of "cluster" is out of date`, mend: "have it written anew (keepgate-cp certs crl, where the authority is) and copy it to " + staleCluster,
		},
		{
			name: "socket taken", set: map[string]string{"status_listen": busy},
			step: "status_listen", fact: "another program has " + busy, mend: "stop it (ss -ltnp shows which), or change status_listen",
		},
	}
	add := func(m mistake, pair mtlstest.Pair, above ...*mtlstest.CA) {
		m.chain, m.key = served(pair, above...)
		list = append(list, m)
	}
	add(mistake{
		name: "wrong CA", set: none, step: "chain received", fact: `issued by "other"`,
		mend: `if "other" is an intermediate authority, append its certificate to the server's ssl_cert_file; else add that of "other" to ssl_trusted_certificate`,
	},
		b.other.Issue(t, serverLeaf(mtlstest.Leaf{})))
	add(mistake{
		name: "wrong CA, its root sent along", step: "chain received", fact: `"other" is not trusted`,
		mend: `add the certificate of "other" to ssl_trusted_certificate, if that is whom you trust`,
	},
		b.other.Issue(t, serverLeaf(mtlstest.Leaf{})), b.other)
	add(mistake{
		name: "missing intermediate", set: none, step: "chain received", fact: `issued by "middle"`,
		mend: `if "middle" is an intermediate authority, append its certificate to the server's ssl_cert_file; else add that of "middle" to ssl_trusted_certificate`,
	},
		b.middle.Issue(t, serverLeaf(mtlstest.Leaf{})))
	add(mistake{
		name: "missing intermediate, which our own chain has", step: "chain received", fact: `does not send the intermediate certificate "middle"`,
		mend: `append the certificate of "middle" to the server's ssl_cert_file`,
	},
		b.middle.Issue(t, serverLeaf(mtlstest.Leaf{})))
	add(mistake{
		name: "wrong host name", step: "names", fact: `is for "db.example" and not for "localhost"`,
		mend: "set pg_host to a name that the certificate is for, or issue the server one for it: " + issueServer,
	},
		b.middle.Issue(t, serverLeaf(mtlstest.Leaf{DNS: []string{"db.example"}})), b.middle)
	add(mistake{name: "clock: not valid yet", step: "dates", fact: "is valid from", mend: clock},
		b.middle.Issue(t, serverLeaf(mtlstest.Leaf{NotBefore: now.Add(time.Hour)})), b.middle)
	add(mistake{name: "expired server certificate", step: "dates", fact: "expired", mend: renewServer},
		b.middle.Issue(t, serverLeaf(mtlstest.Leaf{NotAfter: now.Add(-time.Minute)})), b.middle)
	add(mistake{name: "authority renewed after the server's certificate had ended", step: "dates", fact: "expired", mend: renewServer},
		b.middle.Issue(t, serverLeaf(mtlstest.Leaf{NotBefore: now.Add(-48 * time.Hour), NotAfter: now.Add(-25 * time.Hour)})), b.middle)
	add(mistake{
		name: "revoked server certificate", set: map[string]string{"pg_ssl_crl_file": revokedList}, step: "revocation", fact: "was revoked",
		mend: "issue the server another certificate: " + issueServer,
	}, revoked, b.middle)
	client := clientLeaf("localhost", time.Time{})
	client.DNS = []string{"localhost"}
	add(mistake{
		name: "server with a client's certificate", step: "chain received", fact: "not for servers",
		mend: "issue it one that is: keepgate-cp certs issue HOST --role server",
	}, b.middle.Issue(t, client), b.middle)
	return list
}
