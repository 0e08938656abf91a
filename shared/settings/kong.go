package settings

import (
	"slices"
	"strings"
)

// kongOnly reports whether a key is one of Kong's that Keepgate has no use for: what tunes nginx, Lua or
// the parts of Kong that Keepgate does not have, or not yet. Such keys warn, in our own file too, so that an
// existing kong.conf can be renamed and kept. Families stand here by their prefix only where Keepgate has no
// key that begins like it; elsewhere a misspelt key would pass as one of Kong's. Those whose loss would go
// unnoticed and matter, [promises] refuses first.
func kongOnly(key string) bool {
	for _, family := range []string{
		"nginx_", "lua_", "pg_iam_", "wasm", "portal_", "admin_gui_", "tracing_", "opentelemetry_", "vitals",
		"smtp_", "vault_aws_", "vault_azure_", "vault_gcp_", "vault_hcv_approle_", "cluster_telemetry_", "cluster_fallback_config_", "analytics_", "konnect_",
		"resolver_", "error_template_", "audit_log", "stream_", "worker_", "pluginserver_",
		"request_debug", "db_cache_", "admin_emails_", "request_timeout_", "event_hooks_",
	} {
		if strings.HasPrefix(key, family) {
			return true
		}
	}
	return slices.Contains([]string{
		"role", "plugins", "vaults", "anonymous_reports", "node_id", "mem_cache_size",
		"proxy_stream_access_log", "proxy_stream_error_log",
		"admin_access_log", "admin_error_log", "admin_ssl_enabled", "status_access_log", "status_error_log",
		"status_ssl_cert", "status_ssl_cert_key", "ssl_ciphers", "ssl_session_tickets", "ssl_session_cache_size",
		"ssl_prefer_server_ciphers", "ssl_dhparam", "headers_upstream", "pg_max_concurrent_queries",
		"pg_semaphore_timeout", "pg_backlog", "pg_ro_max_concurrent_queries", "pg_ro_semaphore_timeout",
		"pg_ro_keepalive_timeout", "pg_ro_backlog", "db_update_propagation",
		"db_resurrect_ttl",
		"cluster_max_payload", "cluster_rpc", "declarative_config", "declarative_config_string",
		"fips", "untrusted_lua",
		"untrusted_lua_sandbox_requires", "untrusted_lua_sandbox_environment", "legacy_worker_events",
		"dns_cache_size", "dns_no_sync", "upstream_keepalive", "route_validation_strategy", "custom_plugins_enabled",
	}, key)
}
