//go:build h2spec

package http2spec_test

import (
	"encoding/xml"
	"fmt"
	"strings"
)

// read reads a report of h2spec (JUnit's form) as what is wrong with each case.
func read(text []byte) (map[string]string, error) {
	var report struct {
		Suites []struct {
			Cases []struct {
				Section string  `xml:"package,attr"`
				Title   string  `xml:"classname,attr"`
				Failure *string `xml:"failure"`
				Error   *string `xml:"error"`
				Skipped *string `xml:"skipped"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	if err := xml.Unmarshal(text, &report); err != nil {
		return nil, err
	}
	results := map[string]string{}
	for _, suite := range report.Suites {
		for _, c := range suite.Cases {
			name := c.Section + " " + c.Title
			if _, twice := results[name]; twice {
				return nil, fmt.Errorf("two cases are called %s", name)
			}
			problem := ""
			switch {
			case c.Failure != nil:
				problem = "fails: " + strings.TrimSpace(*c.Failure)
			case c.Error != nil:
				problem = "fails: " + strings.TrimSpace(*c.Error)
			case c.Skipped != nil:
				problem = "was skipped"
			}
			results[name] = problem
		}
	}
	return results, nil
}
