package main

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// client keeps no connection, so that each request stands for itself.
var client = &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

// answer is a response, read whole. Its headers are left out of the story.
type answer struct {
	status int
	line   string // the status line
	body   string
}

func (a answer) String() string {
	return a.line + "\n…\n" + strings.TrimSpace(a.body)
}

func send(request *http.Request) (answer, error) {
	response, err := client.Do(request)
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return answer{response.StatusCode, response.Proto + " " + response.Status, string(body)}, err
}

// knock asks the gate for /hello, with a key or without.
func (d *demo) knock(key string) (answer, error) {
	request, err := http.NewRequest(http.MethodGet, "http://"+address(d.ports.proxy)+"/hello", http.NoBody)
	if err != nil {
		return answer{}, err
	}
	if key != "" {
		request.Header.Set("apikey", key)
	}
	return send(request)
}

// expect knocks, shows the same as a curl line with the answer, and wants a status.
func (d *demo) expect(status int, key string) error {
	d.out.command(d.curl(key))
	got, err := d.knock(key)
	if err != nil {
		return fmt.Errorf("asking the gate: %w", err)
	}
	d.out.output(got.String())
	if got.status != status {
		return fmt.Errorf("the gate answered %d, not %d", got.status, status)
	}
	return nil
}

func (d *demo) curl(key string) string {
	header := ""
	if key != "" {
		header = " -H 'apikey: " + key + "'"
	}
	return "curl -i" + header + " http://" + address(d.ports.proxy) + "/hello"
}

// adminURL is the flag that the commands need where the Admin API is not at its default.
func (d *demo) adminURL() string {
	if d.ports.admin == defaultAdmin {
		return ""
	}
	return " --admin-url http://" + address(d.ports.admin)
}

// ask gets from the Admin API and shows nothing.
func (d *demo) ask(path string) (answer, error) {
	request, err := http.NewRequestWithContext(d.ctx, http.MethodGet, "http://"+address(d.ports.admin)+path, http.NoBody)
	if err != nil {
		return answer{}, err
	}
	return send(request)
}

// admin posts a form to the Admin API, or gets where form is nil, and shows the same as a curl line.
func (d *demo) admin(path string, form url.Values) (answer, error) {
	target, data := "http://"+address(d.ports.admin)+path, ""
	method := http.MethodGet
	for name := range form {
		method, data = http.MethodPost, data+" -d "+name+"="+form.Get(name)
	}
	d.out.command("curl -s" + data + " " + target)
	request, err := http.NewRequestWithContext(d.ctx, method, target, strings.NewReader(form.Encode()))
	if err != nil {
		return answer{}, err
	}
	if form != nil {
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	got, err := send(request)
	if err != nil {
		return answer{}, fmt.Errorf("asking the Admin API: %w", err)
	}
	d.out.output(got.body)
	if got.status >= 300 {
		return answer{}, fmt.Errorf("the Admin API answered %s", got)
	}
	return got, nil
}
