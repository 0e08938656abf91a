// Package kubernetes holds the scenarios of keepgate-kms with a real Kubernetes API server: k8s.io/sample-apiserver, which
// reads --encryption-provider-config as kube-apiserver does, etcd, and kubectl.
//
// Building those takes minutes, so the scenarios are behind the build constraint "kubernetes" and `make e2e-kubernetes`
// runs them; `make test` runs those without an API server (e2e/kms*_test.go).
package kubernetes
