// Command program is a Kubernetes KMS plugin for tests, on the service library of k8s.io/kms: version 2 and version 1
// on one socket. Its keys rest in a file in clear, and it does wrong whatever it is told over its control socket
// (e2e/kmsplugin/control): it guards nothing. e2e/kmsplugin starts it.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc"
	"k8s.io/kms/apis/v1beta1"
	v2 "k8s.io/kms/apis/v2"
	"k8s.io/kms/pkg/service"
)

func main() {
	listen := flag.String("listen", "", "the plugin's socket: a path or @name")
	control := flag.String("control", "", "the control socket: a path")
	state := flag.String("state", "", "the file of its keys and faults")
	key := flag.String("key", "key-1", "the id of the first key, when there is no file yet")
	stale := flag.String("stale", "remove", "a socket file that is there already: remove or fail")
	flag.Parse()
	if err := run(*listen, *control, *state, *key, *stale); err != nil {
		fmt.Fprintln(os.Stderr, "kmsplugin:", err)
		os.Exit(1)
	}
}

func run(listen, control, state, key, stale string) error {
	if listen == "" || control == "" || state == "" {
		return errors.New("-listen, -control and -state are needed")
	}
	p, err := open(state, key)
	if err != nil {
		return err
	}
	socket, err := listenOn(listen, stale)
	if err != nil {
		return err
	}
	controls, err := listenOn(control, "remove")
	if err != nil {
		return err
	}
	server := grpc.NewServer(grpc.UnaryInterceptor(p.intercept))
	v2.RegisterKeyManagementServiceServer(server, service.NewGRPCService(listen, time.Minute, v2Service{p}))
	v1beta1.RegisterKeyManagementServiceServer(server, v1Service{plugin: p})
	failed := make(chan error, 3)
	go func() { failed <- server.Serve(socket) }()
	go func() { failed <- http.Serve(controls, p.controls()) }()
	go func() { // the test's end of the pipe closes with the test, however that ends
		_, err := io.Copy(io.Discard, os.Stdin)
		server.Stop()
		failed <- err
	}()
	fmt.Println("ready")
	err = <-failed
	server.Stop()
	_ = socket.Close() // which has removed the socket file when it returns, whoever closed it first
	return err
}

// listenOn listens on a path or "@name". With stale "fail" a socket file that was left behind is in the way, as it is
// for the service library itself.
func listenOn(address, stale string) (net.Listener, error) {
	if stale == "remove" && !strings.HasPrefix(address, "@") {
		if err := os.Remove(address); err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
	}
	return net.Listen("unix", address)
}
