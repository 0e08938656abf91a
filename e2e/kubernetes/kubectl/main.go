//go:build ignore

// Command kubectl is Kubernetes' own, for the lines of the runbook that the scenarios run.
//
// Its modules are those of .tools/kubernetes.mod and not the project's, hence the build constraint: `make e2e-kubernetes`
// builds it by the name of its file.
package main

import (
	"os"

	"k8s.io/component-base/cli"
	"k8s.io/kubectl/pkg/cmd"
)

func main() { os.Exit(cli.Run(cmd.NewDefaultKubectlCommand())) }
