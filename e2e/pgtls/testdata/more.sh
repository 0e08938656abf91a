# Beside an intermediate tree: certificates with names, of other names, out of time, revoked, and of somebody else.
cat > ca.cnf <<CNF
[ca]
default_ca = own
[own]
database = index.txt
default_md = sha256
default_crl_days = 30
crlnumber = crlnumber
crl_extensions = listed
policy = any
new_certs_dir = .
rand_serial = yes
unique_subject = no
[listed]
authorityKeyIdentifier = keyid
[any]
commonName = supplied
CNF
cp ca.cnf root.cnf
sed -i 's/index.txt/index-root.txt/' root.cnf
sed '/^crl/d' ca.cnf > v1.cnf
echo 01 > crlnumber
: > index.txt
: > index-root.txt
issue() { # name, common name, then further options of openssl x509
  name=$1; cn=$2; shift 2
  openssl req -new -utf8 -nodes -subj "/CN=$cn" -config /etc/ssl/openssl.cnf -keyout $name.key -out $name.csr
  openssl x509 -req -in $name.csr -days 365 -CA intermediate.crt -CAkey intermediate.key -CAcreateserial -out $name.crt "$@"
}
echo 'subjectAltName = DNS:dbhost.yourdomain.com, IP:127.0.0.1' > san.cnf
echo 'subjectAltName = DNS:other.yourdomain.com' > othersan.cnf
issue server-san something.else -extfile san.cnf
issue server-othersan dbhost.yourdomain.com -extfile othersan.cnf
issue server-othercn other.yourdomain.com
issue server-revoked dbhost.yourdomain.com
issue client-eve eve
issue client-map gate-1.example
issue client-revoked kong
for who in server client; do
  openssl ca -config ca.cnf -batch -cert intermediate.crt -keyfile intermediate.key -in $who.csr -startdate 20200101000000Z -enddate 20210101000000Z -notext -out $who-expired.crt
  cp $who.key $who-expired.key
  openssl ca -config ca.cnf -cert intermediate.crt -keyfile intermediate.key -revoke $who-revoked.crt
done
openssl ca -config ca.cnf -cert intermediate.crt -keyfile intermediate.key -gencrl -out crl-intermediate.pem
openssl ca -config v1.cnf -cert intermediate.crt -keyfile intermediate.key -gencrl -out crl-v1.pem
openssl ca -config root.cnf -cert root.crt -keyfile root.key -gencrl -out crl-root.pem
cat crl-intermediate.pem crl-root.pem > crl.pem
openssl ca -config ca.cnf -cert intermediate.crt -keyfile intermediate.key -gencrl -crl_lastupdate 20200101000000Z -crl_nextupdate 20200201000000Z -out crl-old.pem
cat crl-root.pem >> crl-old.pem
openssl req -new -x509 -utf8 -nodes -subj "/CN=stranger" -config /etc/ssl/openssl.cnf -extensions v3_ca -days 3650 -keyout stranger.key -out stranger.crt
openssl req -new -utf8 -nodes -subj "/CN=kong" -config /etc/ssl/openssl.cnf -keyout client-stranger.key -out client-stranger.csr
openssl x509 -req -in client-stranger.csr -days 365 -CA stranger.crt -CAkey stranger.key -CAcreateserial -out client-stranger.crt
