# Certificates that vouch for themselves, for tests.
openssl req -new -x509 -utf8 -nodes -subj "/CN=dbhost.yourdomain.com" -config /etc/ssl/openssl.cnf -days 365 -keyout server.key -out server.crt
chmod og-rwx server.key
openssl req -new -x509 -utf8 -nodes -subj "/CN=kong" -config /etc/ssl/openssl.cnf -days 365 -keyout client.key -out client.crt
chmod og-rwx client.key
cat client.crt > chain.crt
cat server.crt > trusted.crt
