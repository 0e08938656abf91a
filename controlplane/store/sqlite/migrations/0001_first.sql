-- +goose Up
-- Written from the marks in proto/keepgate/config/v1. Released migrations never change: what the schema
-- gains later comes as a migration of its own, and a test compares all of them together with the schema.

CREATE TABLE workspaces (
    id text PRIMARY KEY,
    workspace text NOT NULL,
    generation integer NOT NULL,
    "name" text,
    tags text,
    body text NOT NULL
) STRICT;
CREATE UNIQUE INDEX workspaces_name_key ON workspaces ("name");

CREATE TABLE ca_certificates (
    id text PRIMARY KEY,
    workspace text NOT NULL,
    generation integer NOT NULL,
    "cert_digest" text,
    tags text,
    body text NOT NULL
) STRICT;
CREATE UNIQUE INDEX ca_certificates_cert_digest_key ON ca_certificates ("cert_digest");

CREATE TABLE certificates (
    id text PRIMARY KEY,
    workspace text NOT NULL,
    generation integer NOT NULL,
    "key" text,
    "key_alt" text,
    tags text,
    body text NOT NULL,
    CONSTRAINT certificates_workspace_fkey FOREIGN KEY ("workspace") REFERENCES workspaces (id) DEFERRABLE INITIALLY DEFERRED
) STRICT;
CREATE INDEX certificates_workspace_idx ON certificates ("workspace", id);

CREATE TABLE cluster_trust (
    id text PRIMARY KEY,
    workspace text NOT NULL,
    generation integer NOT NULL,
    "name" text,
    "document" text,
    tags text,
    body text NOT NULL
) STRICT;
CREATE UNIQUE INDEX cluster_trust_name_key ON cluster_trust ("name");

CREATE TABLE consumer_groups (
    id text PRIMARY KEY,
    workspace text NOT NULL,
    generation integer NOT NULL,
    "name" text,
    tags text,
    body text NOT NULL,
    CONSTRAINT consumer_groups_workspace_fkey FOREIGN KEY ("workspace") REFERENCES workspaces (id) DEFERRABLE INITIALLY DEFERRED
) STRICT;
CREATE UNIQUE INDEX consumer_groups_name_key ON consumer_groups (workspace, "name");
CREATE INDEX consumer_groups_workspace_idx ON consumer_groups ("workspace", id);

CREATE TABLE consumers (
    id text PRIMARY KEY,
    workspace text NOT NULL,
    generation integer NOT NULL,
    "username" text,
    "custom_id" text,
    tags text,
    body text NOT NULL,
    CONSTRAINT consumers_workspace_fkey FOREIGN KEY ("workspace") REFERENCES workspaces (id) DEFERRABLE INITIALLY DEFERRED
) STRICT;
CREATE UNIQUE INDEX consumers_username_key ON consumers (workspace, "username");
CREATE UNIQUE INDEX consumers_custom_id_key ON consumers (workspace, "custom_id");
CREATE INDEX consumers_workspace_idx ON consumers ("workspace", id);

CREATE TABLE enrolments (
    id text PRIMARY KEY,
    workspace text NOT NULL,
    generation integer NOT NULL,
    "identity" text,
    "document" text,
    tags text,
    body text NOT NULL
) STRICT;
CREATE UNIQUE INDEX enrolments_identity_key ON enrolments ("identity");

CREATE TABLE environments (
    id text PRIMARY KEY,
    workspace text NOT NULL,
    generation integer NOT NULL,
    "name" text,
    "fingerprint_key" text,
    "previous_fingerprint_key" text,
    tags text,
    body text NOT NULL
) STRICT;
CREATE UNIQUE INDEX environments_name_key ON environments ("name");

CREATE TABLE join_tokens (
    id text PRIMARY KEY,
    workspace text NOT NULL,
    generation integer NOT NULL,
    "token_hash_fingerprint" text,
    "token_hash" text,
    "document" text,
    tags text,
    body text NOT NULL
) STRICT;
CREATE UNIQUE INDEX join_tokens_token_hash_key ON join_tokens ("token_hash_fingerprint");

CREATE TABLE keks (
    id text PRIMARY KEY,
    workspace text NOT NULL,
    generation integer NOT NULL,
    "name" text,
    "document" text,
    tags text,
    body text NOT NULL
) STRICT;
CREATE UNIQUE INDEX keks_name_key ON keks ("name");

CREATE TABLE licenses (
    id text PRIMARY KEY,
    workspace text NOT NULL,
    generation integer NOT NULL,
    "payload" text,
    tags text,
    body text NOT NULL
) STRICT;

CREATE TABLE rbac_users (
    id text PRIMARY KEY,
    workspace text NOT NULL,
    generation integer NOT NULL,
    "name" text,
    "token_hash_fingerprint" text,
    "token_hash" text,
    "authority" text,
    tags text,
    body text NOT NULL
) STRICT;
CREATE UNIQUE INDEX rbac_users_name_key ON rbac_users ("name");
CREATE UNIQUE INDEX rbac_users_token_hash_key ON rbac_users ("token_hash_fingerprint");

CREATE TABLE vaults (
    id text PRIMARY KEY,
    workspace text NOT NULL,
    generation integer NOT NULL,
    "prefix" text,
    tags text,
    body text NOT NULL,
    CONSTRAINT vaults_workspace_fkey FOREIGN KEY ("workspace") REFERENCES workspaces (id) DEFERRABLE INITIALLY DEFERRED
) STRICT;
CREATE UNIQUE INDEX vaults_prefix_key ON vaults (workspace, "prefix");
CREATE INDEX vaults_workspace_idx ON vaults ("workspace", id);

CREATE TABLE acls (
    id text PRIMARY KEY,
    workspace text NOT NULL,
    generation integer NOT NULL,
    "group" text,
    "consumer_id" text,
    tags text,
    body text NOT NULL,
    CONSTRAINT acls_workspace_fkey FOREIGN KEY ("workspace") REFERENCES workspaces (id) DEFERRABLE INITIALLY DEFERRED,
    CONSTRAINT acls_consumer_fkey FOREIGN KEY ("consumer_id") REFERENCES consumers (id) DEFERRABLE INITIALLY DEFERRED
) STRICT;
CREATE UNIQUE INDEX acls_consumer_group_key ON acls (workspace, coalesce("consumer_id", ''), "group");
CREATE INDEX acls_workspace_idx ON acls ("workspace", id);
CREATE INDEX acls_consumer_idx ON acls ("consumer_id", id);

CREATE TABLE basicauth_credentials (
    id text PRIMARY KEY,
    workspace text NOT NULL,
    generation integer NOT NULL,
    "username" text,
    "consumer_id" text,
    "password" text,
    "password_check" text,
    tags text,
    body text NOT NULL,
    CONSTRAINT basicauth_credentials_workspace_fkey FOREIGN KEY ("workspace") REFERENCES workspaces (id) DEFERRABLE INITIALLY DEFERRED,
    CONSTRAINT basicauth_credentials_consumer_fkey FOREIGN KEY ("consumer_id") REFERENCES consumers (id) DEFERRABLE INITIALLY DEFERRED
) STRICT;
CREATE UNIQUE INDEX basicauth_credentials_username_key ON basicauth_credentials (workspace, "username");
CREATE INDEX basicauth_credentials_workspace_idx ON basicauth_credentials ("workspace", id);
CREATE INDEX basicauth_credentials_consumer_idx ON basicauth_credentials ("consumer_id", id);

CREATE TABLE consumer_group_consumers (
    id text PRIMARY KEY,
    workspace text NOT NULL,
    generation integer NOT NULL,
    "consumer_id" text,
    "consumer_group_id" text,
    tags text,
    body text NOT NULL,
    CONSTRAINT consumer_group_consumers_workspace_fkey FOREIGN KEY ("workspace") REFERENCES workspaces (id) DEFERRABLE INITIALLY DEFERRED,
    CONSTRAINT consumer_group_consumers_consumer_fkey FOREIGN KEY ("consumer_id") REFERENCES consumers (id) DEFERRABLE INITIALLY DEFERRED,
    CONSTRAINT consumer_group_consumers_consumer_group_fkey FOREIGN KEY ("consumer_group_id") REFERENCES consumer_groups (id) DEFERRABLE INITIALLY DEFERRED
) STRICT;
CREATE UNIQUE INDEX consumer_group_consumers_consumer_group_consumer_key ON consumer_group_consumers (workspace, coalesce("consumer_group_id", ''), coalesce("consumer_id", ''));
CREATE INDEX consumer_group_consumers_workspace_idx ON consumer_group_consumers ("workspace", id);
CREATE INDEX consumer_group_consumers_consumer_idx ON consumer_group_consumers ("consumer_id", id);
CREATE INDEX consumer_group_consumers_consumer_group_idx ON consumer_group_consumers ("consumer_group_id", id);

CREATE TABLE jwt_secrets (
    id text PRIMARY KEY,
    workspace text NOT NULL,
    generation integer NOT NULL,
    "key" text,
    "consumer_id" text,
    "secret" text,
    tags text,
    body text NOT NULL,
    CONSTRAINT jwt_secrets_workspace_fkey FOREIGN KEY ("workspace") REFERENCES workspaces (id) DEFERRABLE INITIALLY DEFERRED,
    CONSTRAINT jwt_secrets_consumer_fkey FOREIGN KEY ("consumer_id") REFERENCES consumers (id) DEFERRABLE INITIALLY DEFERRED
) STRICT;
CREATE UNIQUE INDEX jwt_secrets_key_key ON jwt_secrets (workspace, "key");
CREATE INDEX jwt_secrets_workspace_idx ON jwt_secrets ("workspace", id);
CREATE INDEX jwt_secrets_consumer_idx ON jwt_secrets ("consumer_id", id);

CREATE TABLE keyauth_credentials (
    id text PRIMARY KEY,
    workspace text NOT NULL,
    generation integer NOT NULL,
    "key_fingerprint" text,
    "consumer_id" text,
    "key" text,
    tags text,
    body text NOT NULL,
    CONSTRAINT keyauth_credentials_workspace_fkey FOREIGN KEY ("workspace") REFERENCES workspaces (id) DEFERRABLE INITIALLY DEFERRED,
    CONSTRAINT keyauth_credentials_consumer_fkey FOREIGN KEY ("consumer_id") REFERENCES consumers (id) DEFERRABLE INITIALLY DEFERRED
) STRICT;
CREATE UNIQUE INDEX keyauth_credentials_key_key ON keyauth_credentials (workspace, "key_fingerprint");
CREATE INDEX keyauth_credentials_workspace_idx ON keyauth_credentials ("workspace", id);
CREATE INDEX keyauth_credentials_consumer_idx ON keyauth_credentials ("consumer_id", id);

CREATE TABLE mtls_auth_credentials (
    id text PRIMARY KEY,
    workspace text NOT NULL,
    generation integer NOT NULL,
    "subject_name" text,
    "consumer_id" text,
    "ca_certificate_id" text,
    tags text,
    body text NOT NULL,
    CONSTRAINT mtls_auth_credentials_workspace_fkey FOREIGN KEY ("workspace") REFERENCES workspaces (id) DEFERRABLE INITIALLY DEFERRED,
    CONSTRAINT mtls_auth_credentials_consumer_fkey FOREIGN KEY ("consumer_id") REFERENCES consumers (id) DEFERRABLE INITIALLY DEFERRED,
    CONSTRAINT mtls_auth_credentials_ca_certificate_fkey FOREIGN KEY ("ca_certificate_id") REFERENCES ca_certificates (id) DEFERRABLE INITIALLY DEFERRED
) STRICT;
CREATE UNIQUE INDEX mtls_auth_credentials_subject_name_ca_certificate_key ON mtls_auth_credentials (workspace, "subject_name", coalesce("ca_certificate_id", ''));
CREATE INDEX mtls_auth_credentials_workspace_idx ON mtls_auth_credentials ("workspace", id);
CREATE INDEX mtls_auth_credentials_consumer_idx ON mtls_auth_credentials ("consumer_id", id);
CREATE INDEX mtls_auth_credentials_ca_certificate_idx ON mtls_auth_credentials ("ca_certificate_id", id);

CREATE TABLE services (
    id text PRIMARY KEY,
    workspace text NOT NULL,
    generation integer NOT NULL,
    "name" text,
    "client_certificate_id" text,
    tags text,
    body text NOT NULL,
    CONSTRAINT services_workspace_fkey FOREIGN KEY ("workspace") REFERENCES workspaces (id) DEFERRABLE INITIALLY DEFERRED,
    CONSTRAINT services_client_certificate_fkey FOREIGN KEY ("client_certificate_id") REFERENCES certificates (id) DEFERRABLE INITIALLY DEFERRED
) STRICT;
CREATE UNIQUE INDEX services_name_key ON services (workspace, "name");
CREATE INDEX services_workspace_idx ON services ("workspace", id);
CREATE INDEX services_client_certificate_idx ON services ("client_certificate_id", id);

CREATE TABLE snis (
    id text PRIMARY KEY,
    workspace text NOT NULL,
    generation integer NOT NULL,
    "name" text,
    "certificate_id" text,
    tags text,
    body text NOT NULL,
    CONSTRAINT snis_workspace_fkey FOREIGN KEY ("workspace") REFERENCES workspaces (id) DEFERRABLE INITIALLY DEFERRED,
    CONSTRAINT snis_certificate_fkey FOREIGN KEY ("certificate_id") REFERENCES certificates (id) DEFERRABLE INITIALLY DEFERRED
) STRICT;
CREATE UNIQUE INDEX snis_name_key ON snis ("name");
CREATE INDEX snis_workspace_idx ON snis ("workspace", id);
CREATE INDEX snis_certificate_idx ON snis ("certificate_id", id);

CREATE TABLE upstreams (
    id text PRIMARY KEY,
    workspace text NOT NULL,
    generation integer NOT NULL,
    "name" text,
    "client_certificate_id" text,
    tags text,
    body text NOT NULL,
    CONSTRAINT upstreams_workspace_fkey FOREIGN KEY ("workspace") REFERENCES workspaces (id) DEFERRABLE INITIALLY DEFERRED,
    CONSTRAINT upstreams_client_certificate_fkey FOREIGN KEY ("client_certificate_id") REFERENCES certificates (id) DEFERRABLE INITIALLY DEFERRED
) STRICT;
CREATE UNIQUE INDEX upstreams_name_key ON upstreams (workspace, "name");
CREATE INDEX upstreams_workspace_idx ON upstreams ("workspace", id);
CREATE INDEX upstreams_client_certificate_idx ON upstreams ("client_certificate_id", id);

CREATE TABLE routes (
    id text PRIMARY KEY,
    workspace text NOT NULL,
    generation integer NOT NULL,
    "name" text,
    "service_id" text,
    tags text,
    body text NOT NULL,
    CONSTRAINT routes_workspace_fkey FOREIGN KEY ("workspace") REFERENCES workspaces (id) DEFERRABLE INITIALLY DEFERRED,
    CONSTRAINT routes_service_fkey FOREIGN KEY ("service_id") REFERENCES services (id) DEFERRABLE INITIALLY DEFERRED
) STRICT;
CREATE UNIQUE INDEX routes_name_key ON routes (workspace, "name");
CREATE INDEX routes_workspace_idx ON routes ("workspace", id);
CREATE INDEX routes_service_idx ON routes ("service_id", id);

CREATE TABLE targets (
    id text PRIMARY KEY,
    workspace text NOT NULL,
    generation integer NOT NULL,
    "target" text,
    "upstream_id" text,
    tags text,
    body text NOT NULL,
    CONSTRAINT targets_workspace_fkey FOREIGN KEY ("workspace") REFERENCES workspaces (id) DEFERRABLE INITIALLY DEFERRED,
    CONSTRAINT targets_upstream_fkey FOREIGN KEY ("upstream_id") REFERENCES upstreams (id) DEFERRABLE INITIALLY DEFERRED
) STRICT;
CREATE UNIQUE INDEX targets_upstream_target_key ON targets (workspace, coalesce("upstream_id", ''), "target");
CREATE INDEX targets_workspace_idx ON targets ("workspace", id);
CREATE INDEX targets_upstream_idx ON targets ("upstream_id", id);

CREATE TABLE plugins (
    id text PRIMARY KEY,
    workspace text NOT NULL,
    generation integer NOT NULL,
    "instance_name" text,
    "name" text,
    "route_id" text,
    "service_id" text,
    "consumer_id" text,
    "consumer_group_id" text,
    tags text,
    body text NOT NULL,
    CONSTRAINT plugins_workspace_fkey FOREIGN KEY ("workspace") REFERENCES workspaces (id) DEFERRABLE INITIALLY DEFERRED,
    CONSTRAINT plugins_route_fkey FOREIGN KEY ("route_id") REFERENCES routes (id) DEFERRABLE INITIALLY DEFERRED,
    CONSTRAINT plugins_service_fkey FOREIGN KEY ("service_id") REFERENCES services (id) DEFERRABLE INITIALLY DEFERRED,
    CONSTRAINT plugins_consumer_fkey FOREIGN KEY ("consumer_id") REFERENCES consumers (id) DEFERRABLE INITIALLY DEFERRED,
    CONSTRAINT plugins_consumer_group_fkey FOREIGN KEY ("consumer_group_id") REFERENCES consumer_groups (id) DEFERRABLE INITIALLY DEFERRED
) STRICT;
CREATE UNIQUE INDEX plugins_instance_name_key ON plugins (workspace, "instance_name");
CREATE UNIQUE INDEX plugins_name_route_service_consumer_consumer_group_key ON plugins (workspace, "name", coalesce("route_id", ''), coalesce("service_id", ''), coalesce("consumer_id", ''), coalesce("consumer_group_id", ''));
CREATE INDEX plugins_workspace_idx ON plugins ("workspace", id);
CREATE INDEX plugins_route_idx ON plugins ("route_id", id);
CREATE INDEX plugins_service_idx ON plugins ("service_id", id);
CREATE INDEX plugins_consumer_idx ON plugins ("consumer_id", id);
CREATE INDEX plugins_consumer_group_idx ON plugins ("consumer_group_id", id);

CREATE TABLE cache_purges (
    id text PRIMARY KEY,
    workspace text NOT NULL,
    generation integer NOT NULL,
    "plugin_id" text,
    tags text,
    body text NOT NULL,
    CONSTRAINT cache_purges_workspace_fkey FOREIGN KEY ("workspace") REFERENCES workspaces (id) DEFERRABLE INITIALLY DEFERRED,
    CONSTRAINT cache_purges_plugin_fkey FOREIGN KEY ("plugin_id") REFERENCES plugins (id) DEFERRABLE INITIALLY DEFERRED
) STRICT;
CREATE INDEX cache_purges_workspace_idx ON cache_purges ("workspace", id);
CREATE INDEX cache_purges_plugin_idx ON cache_purges ("plugin_id", id);

CREATE TABLE key_value_maps (
    id text PRIMARY KEY,
    workspace text NOT NULL,
    generation integer NOT NULL,
    "name" text,
    "environment_id" text,
    "service_id" text,
    "route_id" text,
    "plugin_id" text,
    tags text,
    body text NOT NULL,
    CONSTRAINT key_value_maps_workspace_fkey FOREIGN KEY ("workspace") REFERENCES workspaces (id) DEFERRABLE INITIALLY DEFERRED,
    CONSTRAINT key_value_maps_environment_fkey FOREIGN KEY ("environment_id") REFERENCES environments (id) DEFERRABLE INITIALLY DEFERRED,
    CONSTRAINT key_value_maps_service_fkey FOREIGN KEY ("service_id") REFERENCES services (id) DEFERRABLE INITIALLY DEFERRED,
    CONSTRAINT key_value_maps_route_fkey FOREIGN KEY ("route_id") REFERENCES routes (id) DEFERRABLE INITIALLY DEFERRED,
    CONSTRAINT key_value_maps_plugin_fkey FOREIGN KEY ("plugin_id") REFERENCES plugins (id) DEFERRABLE INITIALLY DEFERRED
) STRICT;
CREATE UNIQUE INDEX key_value_maps_name_environment_service_route_plugin_key ON key_value_maps (workspace, "name", coalesce("environment_id", ''), coalesce("service_id", ''), coalesce("route_id", ''), coalesce("plugin_id", ''));
CREATE INDEX key_value_maps_workspace_idx ON key_value_maps ("workspace", id);
CREATE INDEX key_value_maps_environment_idx ON key_value_maps ("environment_id", id);
CREATE INDEX key_value_maps_service_idx ON key_value_maps ("service_id", id);
CREATE INDEX key_value_maps_route_idx ON key_value_maps ("route_id", id);
CREATE INDEX key_value_maps_plugin_idx ON key_value_maps ("plugin_id", id);

CREATE TABLE key_value_entries (
    id text PRIMARY KEY,
    workspace text NOT NULL,
    generation integer NOT NULL,
    "key" text,
    "map_id" text,
    "value" text,
    tags text,
    body text NOT NULL,
    CONSTRAINT key_value_entries_workspace_fkey FOREIGN KEY ("workspace") REFERENCES workspaces (id) DEFERRABLE INITIALLY DEFERRED,
    CONSTRAINT key_value_entries_map_fkey FOREIGN KEY ("map_id") REFERENCES key_value_maps (id) DEFERRABLE INITIALLY DEFERRED
) STRICT;
CREATE UNIQUE INDEX key_value_entries_map_key_key ON key_value_entries (workspace, coalesce("map_id", ''), "key");
CREATE INDEX key_value_entries_workspace_idx ON key_value_entries ("workspace", id);
CREATE INDEX key_value_entries_map_idx ON key_value_entries ("map_id", id);

CREATE TABLE revision (
    id integer PRIMARY KEY CHECK (id = 1),
    number integer NOT NULL
) STRICT;

CREATE TABLE changes (
    revision integer PRIMARY KEY,
    at integer NOT NULL,
    batch text NOT NULL,
    refs text NOT NULL
) STRICT;

CREATE TABLE meta (
    name text PRIMARY KEY,
    value text NOT NULL
) STRICT;

CREATE TABLE keyring_keys (
    id text PRIMARY KEY,
    ring text NOT NULL,
    state text NOT NULL,
    created_at integer NOT NULL,
    activated_at integer NOT NULL,
    check_value blob NOT NULL,
    recovery blob NOT NULL,
    wrapped blob NOT NULL,
    signature blob NOT NULL
) STRICT;

CREATE TABLE data_planes (
    id text PRIMARY KEY,
    organisation text NOT NULL,
    environment text NOT NULL,
    seen integer NOT NULL,
    body text NOT NULL
) STRICT;

CREATE TABLE control_planes (
    id text PRIMARY KEY,
    at integer NOT NULL,
    body text NOT NULL
) STRICT;

CREATE TABLE audit_entries (
    node text NOT NULL,
    sequence integer NOT NULL,
    at integer NOT NULL,
    body text NOT NULL,
    hash blob NOT NULL,
    PRIMARY KEY (node, sequence)
) STRICT;
CREATE INDEX audit_entries_at_idx ON audit_entries (at, node, sequence);
INSERT INTO revision (id, number) VALUES (1, 0);
