package harness

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
)

// Admin is a client of one Admin API.
type Admin struct {
	t    T
	base string
}

// Document is a JSON object.
type Document = map[string]any

// URL is the address of a path.
func (a *Admin) URL(path string) string { return a.base + path }

// Try sends a request with a JSON body; nil sends none.
func (a *Admin) Try(method, path string, body any, headers ...string) (Answer, error) {
	text := ""
	if body != nil {
		encoded, err := json.Marshal(body)
		if err != nil {
			return Answer{}, err
		}
		text, headers = string(encoded), append(headers, "Content-Type", "application/json")
	}
	return Do(method, a.base+path, text, headers...)
}

// Do sends a request and returns the JSON object of the answer, which must have the status.
func (a *Admin) Do(status int, method, path string, body any, headers ...string) Document {
	a.t.Helper()
	answer, err := a.Try(method, path, body, headers...)
	if err != nil {
		a.t.Fatalf("%s %s: %v", method, path, err)
	}
	return a.read(status, method+" "+path, answer)
}

// Form sends a form, as `curl -d` does, and expects a status.
func (a *Admin) Form(status int, method, path string, form url.Values, headers ...string) Document {
	a.t.Helper()
	answer, err := Do(method, a.base+path, form.Encode(), append(headers, "Content-Type", "application/x-www-form-urlencoded")...)
	if err != nil {
		a.t.Fatalf("%s %s: %v", method, path, err)
	}
	return a.read(status, method+" "+path, answer)
}

// TryPush sends a declarative file in YAML.
func (a *Admin) TryPush(yaml string) (Answer, error) {
	return Do(http.MethodPost, a.base+"/config", yaml, "Content-Type", "text/yaml")
}

// Push applies a declarative file in YAML.
func (a *Admin) Push(yaml string) Document {
	a.t.Helper()
	answer, err := a.TryPush(yaml)
	if err != nil {
		a.t.Fatalf("POST /config: %v", err)
	}
	if answer.Status != http.StatusOK && answer.Status != http.StatusCreated {
		a.t.Fatalf("POST /config: %d %s", answer.Status, answer.Body)
	}
	return a.read(answer.Status, "POST /config", answer)
}

func (a *Admin) read(status int, what string, answer Answer) Document {
	a.t.Helper()
	if answer.Status != status {
		a.t.Fatalf("%s: %d %s, want %d", what, answer.Status, answer.Body, status)
	}
	if strings.TrimSpace(answer.Body) == "" {
		return nil
	}
	var document Document
	if err := json.Unmarshal([]byte(answer.Body), &document); err != nil {
		a.t.Fatalf("%s answered no JSON object: %v\n%s", what, err, answer.Body)
	}
	return document
}

// DataPlanes is the list of what each node holds.
func (a *Admin) DataPlanes() ([]Document, error) {
	answer, err := a.Try(http.MethodGet, "/clustering/data-planes", nil)
	if err != nil {
		return nil, err
	}
	var page struct{ Data []Document }
	if err := json.Unmarshal([]byte(answer.Body), &page); err != nil {
		return nil, err
	}
	return page.Data, nil
}
