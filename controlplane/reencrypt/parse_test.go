package reencrypt

import (
	"os"
	"testing"
)

// FuzzParse: whatever rests in the database is refused or read, and what is read is written the same way again.
func FuzzParse(f *testing.F) {
	golden, err := os.ReadFile("testdata/job.golden")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(golden))
	f.Add(`{"version":1}`)
	f.Add(`{"version":1,"tables":[{"unreadable":[null]}],"speed":1e308,"rate":-1}`)
	f.Fuzz(func(t *testing.T, text string) {
		s, err := parse(text)
		if err != nil {
			return
		}
		again, err := parse(s.text())
		if err != nil || again.text() != s.text() {
			t.Fatalf("%s is read differently again (%v)", s.text(), err)
		}
		_ = s.progress()
	})
}
