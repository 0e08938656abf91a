package settings

import (
	"slices"
	"strings"
)

// planeKeys lists the names of all settings of both binaries, so that one file and one environment can serve
// both: a name that the other binary knows is neither a mistake nor worth a warning. It stands here as a
// literal because the two planes' declarations do not see each other; a test holds it to them.
const planeKeys = `
admin_allowed_hosts admin_allowed_origins admin_listen admin_ssl_cert admin_ssl_cert_key
admin_token_file allow_debug_header audit_heads_path cluster_ca_cert cluster_cert cluster_cert_key
cluster_cert_key_previous cluster_control_plane cluster_crl cluster_data_plane_purge_delay
cluster_dp_labels cluster_listen cluster_server_name database db_update_frequency
declarative_config_encryption_mode enforce_rbac error_default_type header_names headers
keyring_blob_path keyring_decrypt_all keyring_enabled keyring_encrypt_license keyring_local_key_file
keyring_migrate_plaintext keyring_private_key keyring_private_key_file keyring_public_key
keyring_recovery_public_key keyring_reveal_generated keyring_strategy license_data license_data_file
license_path local_store log_format log_level lua_ssl_trusted_certificate lua_ssl_verify_depth
nats_ca_cert nats_cert nats_cert_key nats_cluster_advertise nats_cluster_listen nats_cluster_routes
nats_credentials_file nats_nkey_file nats_url nginx_http_client_body_timeout
nginx_http_client_header_timeout nginx_http_client_max_body_size nginx_http_keepalive_timeout
nginx_http_large_client_header_buffers nginx_http_send_timeout peer_ca_cert peer_cert peer_cert_key
peer_crl pg_database pg_host pg_password pg_password_file pg_port pg_schema pg_ssl pg_ssl_cert
pg_ssl_cert_key pg_ssl_required pg_ssl_verify pg_ssl_version pg_timeout pg_user port_maps prefix
proxy_access_log proxy_drain_timeout proxy_error_log proxy_http1_engine proxy_listen
proxy_min_body_rate real_ip_header real_ip_recursive router_flavor sqlite_path ssl_cert ssl_cert_key
ssl_cipher_suite ssl_protocols ssl_session_timeout ssl_trusted_certificate ssl_verify_depth
status_listen trusted_ips upstream_keepalive_idle_timeout upstream_keepalive_max_requests
upstream_keepalive_pool_size
`

func otherPlane() []string { return strings.Fields(planeKeys) }

func isOtherPlane(name string) bool { return slices.Contains(otherPlane(), name) }
