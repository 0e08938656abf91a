// Package rest is HTTP as the Admin API speaks it: a table of paths, request bodies, answers, and how faults
// become Kong's error bodies.
//
// A [Handler] returns its answer or an error and never touches the response, so that one place writes
// headers, error bodies and the access log. What the paths mean is for controlplane/admin and the packages
// beside this one.
//
// Paths and queries may hold credentials (a key-auth key is an endpoint key). [Table.Loggable] and
// [LoggableQuery] are the only forms in which they may be written anywhere.
package rest
