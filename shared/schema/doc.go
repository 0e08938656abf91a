// Package schema derives from the protos what every entity and plugin configuration is: fields, kinds,
// defaults, checks, codecs, columns and secrets. It holds no entity and opens no seal: storing belongs to
// controlplane/store, sealing to controlplane/encryption, what spans several rows to controlplane/catalog.
//
// An entity is always its generated message. It enters as a [Document] (a JSON tree from a JSON, form or
// multipart body, or from a declarative file) through [Schema.Build], which fills in defaults, checks it and
// answers in Kong's words ([Violations]); it leaves as Kong's JSON ([Schema.Encode]), as a storage body
// ([Schema.EncodeStored]) or as the bytes a data plane receives ([Schema.Wire]).
//
// # Fields by visibility
//
//	shown      the Admin API reads and writes it, it is stored and sent
//	stored     the product's own: never shown or accepted; sent only when it is not encrypted
//	wire       filled on the way to a data plane, neither stored nor shown
//	transient  accepted, and shown where the message has it; neither stored nor sent. After Build
//	           Certificate.snis holds the names to bind, and whoever shows a certificate sets it again;
//	           Service.url and KeyauthCredential.ttl are consumed by Build.
//
// # Columns
//
// A row is a JSON body and columns: [Entity.Sealed] (one text column a top-level encrypted field, named as
// the field, never in the body), [Entity.Unique] (named as the field, `<field>_fingerprint` when the field is
// encrypted, `unique_<a>_<b>` for a set of fields) and [Entity.Foreign] (`<field>_id`).
//
// A plugin's configuration is held as the deterministic proto bytes of its message. The configuration of a
// plugin that this build does not know is held as its JSON text: no proto3 message begins with '{' (that
// would be a group), so the two are never mistaken for each other.
package schema
