// Package declarative reads and writes declarative files, format 3.0: YAML or JSON, entities nested or flat.
// It checks everything that a file can say by itself and names every problem with line and field, all at once;
// what needs the database (who else has this name, what changes) is controlplane/catalog's.
//
// # Consumer groups
//
// Who is in a group is said below the consumer (groups: [{name: gold}]), below the group (consumers: [{username: al}]) or,
// in flat files, in a list of its own (consumer_group_consumers).
//
// # Identity
//
// An entity without an id gets one that is the same in every run: the UUID version 5 (RFC 9562 §5.5) of its key
// in the name space of its table, which is the UUID version 5 of the table's name in the root name space
// fd02801f-0957-4a15-a55a-c8d9606f30b5. Its key is the first of these that it has:
//
//   - the endpoint key ("name", "username"); where that is not unique by itself, followed by ":" and the ids of
//     its cascading parents (targets)
//   - the fields that are unique together, foreign keys by id, joined by ":" (plugins)
//   - the first other unique field (a consumer's custom_id, a CA certificate's digest)
//   - "content:" and the hex SHA-256 of the entity without id, times, tags and encrypted fields, followed by
//     ":#2" for the second entity of the same content and so on (routes without a name, certificates)
//
// No id is made of an encrypted field: a name-based UUID is one round of SHA-1, the id is shown to upstreams and
// written to logs, and a weak key could be guessed from it. A key-auth key therefore gets its parents' ids and
// its position among the parents' keys; who applies the file finds a row with the same key by its fingerprint
// ([Entity.Derived]).
package declarative
