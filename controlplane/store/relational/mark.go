package relational

import (
	"fmt"
	"strings"

	"github.com/keepgate/keepgate/controlplane/record"
)

// The store knows of sealed text only its mark.

// bodyMarks adds the marks of the sealed strings in a JSON text. Most strings of a body are no secrets, so that what is
// no sealed value of a known form counts for nothing.
func bodyMarks(body []byte, found map[string]bool) {
	for text := range record.SealedIn(body) {
		if mark := record.MarkOf(text); record.PrefixOf(mark) != mark {
			found[mark] = true
		}
	}
}

// mark is record.MarkOf of a column, as an expression; null where the column is.
func (d *Dialect) mark(column string) string {
	var b strings.Builder
	write := func(format string, a ...any) { fmt.Fprintf(&b, format, a...) }
	starts := func(with string) string { return fmt.Sprintf("substr(%s, 1, %d) = '%s'", column, len(with), with) }
	write("CASE WHEN %s AND substr(%s, %d, 1) = '-'", starts(record.KeyringPrefix), column, len(record.KeyringPrefix)+record.KeyIDLength+1)
	write(" THEN substr(%s, %d, %d)", column, len(record.KeyringPrefix)+1, record.KeyIDLength)
	write(" WHEN %s THEN '$ke$' WHEN substr(%s, 1, 8) <> 'k8s:enc:' THEN ''", starts("$ke$"), column)
	for _, prefix := range []string{record.KMS2Prefix, record.AESGCMPrefix, record.KMS1Prefix, record.AESCBCPrefix, record.SecretboxPrefix} {
		n := len(prefix)
		name := fmt.Sprintf("%s(substr(%s, %d, %d), ':')", d.Position, column, n+1, record.MaxProviderName+1) // of the colon behind it
		if prefix == record.KMS2Prefix {
			end := fmt.Sprintf("%d + %s", n+record.KeyIDLength, name)
			write(" WHEN %s AND %s > 1 AND length(%s) >= %s THEN substr(%s, 1, %s)", starts(prefix), name, column, end, column, end)
			continue
		}
		write(" WHEN %s AND %s > 1 THEN substr(%s, 1, %d + %s)", starts(prefix), name, column, n-1, name)
	}
	write(" WHEN %s IS NOT NULL THEN 'k8s:enc:' END", column)
	return b.String()
}
