// Package spelling finds the word that was meant by one that is unknown.
package spelling

// longest is what is compared; nobody mistypes a longer word.
const longest = 64

// Nearest returns the known word that is the fewest letters away, at most a third of the word's (one of a short word's); "" where
// none is so near.
func Nearest(word string, known []string) (best string) {
	if len(word) > longest {
		return ""
	}
	least := max(1, len(word)/3) + 1
	for _, candidate := range known {
		if n := edits(word, candidate, least); n < least {
			best, least = candidate, n
		}
	}
	return best
}

// edits counts the insertions, deletions and substitutions that turn a into b (Levenshtein distance). It may say least where they
// are more.
func edits(a, b string, least int) int {
	if abs(len(a)-len(b)) >= least {
		return least
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

func abs(n int) int { return max(n, -n) }
