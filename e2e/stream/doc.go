// Package stream holds the tests of the link between the planes: the real publisher over a real database on
// one side, the real uplink over a real local store on the other, and TLS with real certificates between them.
package stream
