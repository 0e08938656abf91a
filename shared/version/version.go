// Package version is the one place that says which version this source is.
package version

// Text is the version, as it is shown to clients, data planes and people.
const Text = "0.1.0"

// Kong is the version of Kong whose contracts the Admin API and the plugins keep.
const Kong = "3.8.1"
