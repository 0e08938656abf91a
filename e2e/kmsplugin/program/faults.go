package main

//lint:file-ignore SA1019 version 1 of the protocol is deprecated, and still spoken by plugins that have to be moved away from

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"os"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"k8s.io/kms/apis/v1beta1"
	v2 "k8s.io/kms/apis/v2"

	"github.com/keepgate/keepgate/e2e/kmsplugin/control"
)

var errForeign = status.Error(codes.InvalidArgument, "this plugin did not encrypt that")

// intercept counts a call and does with it what holds for every method: hang, die, refuse, wait.
func (p *plugin) intercept(ctx context.Context, request any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	method := methodOf(info.FullMethod)
	p.count(ctx, method)
	for {
		p.mu.Lock()
		faults, changed := p.saved.Faults, p.changed
		p.mu.Unlock()
		if faults.Die[method] {
			os.Exit(3)
		}
		if refusal, ok := faults.Refuse[method]; ok {
			return nil, status.Error(codes.Code(refusal.Code), refusal.Message+echo(refusal.Echo, request))
		}
		if !faults.Hang[method] {
			return handleAfter(ctx, faults.Delay[method], func() (any, error) { return handle(ctx, request) })
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func handleAfter(ctx context.Context, delay time.Duration, handle func() (any, error)) (any, error) {
	select {
	case <-time.After(delay):
		return handle()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *plugin) count(ctx context.Context, method control.Method) {
	seen := metadata.ValueFromIncomingContext(ctx, ":authority")
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls[method]++
	for _, authority := range seen {
		if !slices.Contains(p.authorities, authority) {
			p.authorities = append(p.authorities, authority)
		}
	}
}

func methodOf(full string) control.Method {
	name := full[strings.LastIndexByte(full, '/')+1:]
	if strings.HasPrefix(full, "/v1beta1.") {
		name = "v1." + name
	}
	return control.Method(name)
}

// echo is what a careless plugin says: what it was to encrypt.
func echo(form string, request any) string {
	var plaintext []byte
	switch r := request.(type) {
	case *v2.EncryptRequest:
		plaintext = r.Plaintext
	case *v1beta1.EncryptRequest:
		plaintext = r.Plain
	}
	switch form {
	case "raw":
		return strings.ToValidUTF8(string(plaintext), "?")
	case "hex":
		return hex.EncodeToString(plaintext)
	case "base64":
		return base64.StdEncoding.EncodeToString(plaintext)
	}
	return ""
}

func wantVersion(version string) error {
	if version != "v1beta1" {
		return status.Errorf(codes.InvalidArgument, "version %q is not v1beta1", version)
	}
	return nil
}

func or(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}
