package harness

import (
	"fmt"
	"io"
	"net/http"
	"strings"
)

// Answer is a response, read whole.
type Answer struct {
	Status int
	Header http.Header
	Body   string
}

// client follows no redirect and keeps no connection: every request stands for itself.
var client = &http.Client{
	Timeout:       Patience,
	Transport:     &http.Transport{DisableKeepAlives: true},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// Get asks a URL. Headers come in pairs.
func Get(url string, headers ...string) (Answer, error) {
	return Do(http.MethodGet, url, "", headers...)
}

// Do sends one request. Headers come in pairs.
func Do(method, url, body string, headers ...string) (Answer, error) {
	request, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		return Answer{}, err
	}
	for i := 0; i+1 < len(headers); i += 2 {
		request.Header.Add(headers[i], headers[i+1])
		if strings.EqualFold(headers[i], "Host") {
			request.Host = headers[i+1]
		}
	}
	return Send(client, request)
}

// Send sends a request by a client of the caller's.
func Send(by *http.Client, request *http.Request) (Answer, error) {
	response, err := by.Do(request)
	if err != nil {
		return Answer{}, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return Answer{}, fmt.Errorf("reading the answer: %w", err)
	}
	return Answer{response.StatusCode, response.Header, string(body)}, nil
}

// MustGet asks the data plane's proxy for a path.
func (d *DataPlane) MustGet(path string, headers ...string) Answer {
	d.cluster.T.Helper()
	answer, err := Get("http://"+d.Proxy+path, headers...)
	if err != nil {
		d.cluster.T.Fatalf("GET %s at %s: %v", path, d.Name, err)
	}
	return answer
}

// Await waits until the proxy answers a path with a status.
func (d *DataPlane) Await(status int, path string, headers ...string) Answer {
	d.cluster.T.Helper()
	var answer Answer
	Eventually(d.cluster.T, fmt.Sprintf("%d for %s at %s", status, path, d.Name), func() string {
		var err error
		if answer, err = Get("http://"+d.Proxy+path, headers...); err != nil {
			return err.Error()
		}
		return wrong(answer.Status == status, "%d %s", answer.Status, answer.Body)
	})
	return answer
}
