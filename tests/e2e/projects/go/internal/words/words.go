// Package words counts what is in a text.
package words

import (
	"bufio"
	"io"
	"strings"
)

// Count is what was found: lines, words and bytes, and how often each word came.
type Count struct {
	Lines, Words, Bytes int
	Each                map[string]int
}

// Of reads r to its end.
func Of(r io.Reader) (Count, error) {
	c := Count{Each: map[string]int{}}
	s := bufio.NewScanner(r)
	for s.Scan() {
		c.Lines++
		c.Bytes += len(s.Text()) + 1
		for _, w := range strings.Fields(s.Text()) {
			c.Words++
			c.Each[w]++
		}
	}
	return c, s.Err()
}
