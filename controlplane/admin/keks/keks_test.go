package keks_test

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/keepgate/keepgate/controlplane/admin/keks"
	"github.com/keepgate/keepgate/controlplane/admin/rest"
)

// A key that a Kubernetes cluster depends on is changed by the callers alone who may have secrets.
func TestOthersChangeNothing(t *testing.T) {
	t.Parallel()
	table := rest.NewTable()
	keks.New(nil).Mount(table) // asked for anything, it would panic
	for _, call := range []string{
		"POST /kms/keys", "PATCH /kms/keys/prod", "DELETE /kms/keys/prod", "POST /kms/keys/prod/rotate", "POST /kms/keys/prod/prod.1.00/retire",
	} {
		method, path, _ := strings.Cut(call, " ")
		found, ok := table.Find(path)
		if !ok || found.Handler(method) == nil {
			t.Fatalf("%s is not served", call)
		}
		request := rest.NewRequest(httptest.NewRecorder(), httptest.NewRequest(method, path, strings.NewReader("{}")), found)
		_, err := found.Handler(method)(request)
		if answer, _ := rest.Of(err); err == nil || answer.Status != 403 {
			t.Errorf("%s: %d, %v", call, answer.Status, err)
		}
	}
}
